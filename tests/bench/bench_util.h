/* What the programs of the speed comparison share: time, sockets, giving up, and the tokens.
 *
 * These programs play the client, the destination and the authorization servers around a proxy that
 * is being measured. They are one thread each, trust their input no more than a test must, and end
 * with a message as soon as something is not as expected: a number from a run that went wrong is
 * worse than none.
 *
 * Tokens are derived from an index alone, so that the load generator (which sends subject tokens),
 * the authorization server (which issues access tokens) and the origin (which checks them) agree
 * without talking to each other. */
#ifndef BENCH_UTIL_H
#define BENCH_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Names that appear in tokens and in the configuration of the proxies (see the options of
 * bench_as, which takes none of them: they are fixed so that ports may change between runs). */
#define BENCH_ORG_ISSUER "https://org.bench.example"
#define BENCH_CUSTOM_ISSUER "https://org.bench.example/oauth2/bench"
#define BENCH_AGENT_ID "wlpbench0000000000001"
#define BENCH_AGENT_RESOURCE "https://agent1.bench.example"
#define BENCH_TARGET_RESOURCE "https://agent2.bench.example"
#define BENCH_SCOPE "chat.read"

#define BENCH_SUBJECT_MAX 1024 /* room for any subject token; they are about 900 bytes */
#define BENCH_ACCESS_LEN 480   /* every access token has exactly this length */
#define BENCH_IDJAG_MAX 2048
#define BENCH_INDEX_MAX 9999999 /* seven digits: every token of a kind has the same length */

/* Prints to stderr and exits with status 1. */
void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* malloc and realloc that never return NULL. */
void *bench_alloc(size_t size);
void *bench_realloc(void *p, size_t size);

/* CLOCK_MONOTONIC: the same clock in every process of the machine, so that the origin's send times
 * can be compared with the load generator's receive times. */
uint64_t bench_now_ns(void);

/* Listens on 127.0.0.1; port 0 takes a free one. Non-blocking. */
int bench_listen(uint16_t port, uint16_t *ret_port);

/* Connects to 127.0.0.1 and waits until that is done (on loopback: at once). rcvbuf of 0 leaves the
 * system's. -1 with errno on failure. */
int bench_connect(uint16_t port, int rcvbuf);

/* Raises the limit of open files as far as allowed; dies when fewer than `need` result. */
void bench_need_files(unsigned need);

/* Parses a decimal option value; dies with the option's name otherwise. */
uint64_t bench_parse_number(const char *option, const char *text, uint64_t max);

/* The tokens. Each writes a NUL-terminated string and returns its length. */
size_t bench_subject_token(uint64_t index, char ret_token[BENCH_SUBJECT_MAX]);
size_t bench_access_token(uint64_t index, char ret_token[BENCH_ACCESS_LEN + 1]);
/* now: seconds since 1970; the assertion is good for 300 s from then. serial makes its jti fresh. */
size_t bench_idjag_token(uint64_t index, int64_t now, uint64_t serial,
                         char ret_token[BENCH_IDJAG_MAX]);

/* Reads the index back out of a subject token or ID-JAG. false: not one of ours. */
bool bench_token_index(const char *token, size_t len, uint64_t *ret_index);

#endif
