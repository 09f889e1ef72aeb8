/* Secrets: tokens, keys, passwords. They live in memory of their own, which is kept out of core
 * dumps (MADV_DONTDUMP) and wiped when freed. There is no function that prints one, and their type
 * is not one that a log call takes.
 *
 * Immutable and counted: ref/unref from any thread. The bytes are followed by a NUL that does not
 * count, for libraries that want a string. */
#ifndef TOKENHOP_BASE_SECRET_H
#define TOKENHOP_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

struct th_secret;

/* Copies `len` bytes (at most 1 MiB). NULL when memory is short. */
struct th_secret *th_secret_new(const void *bytes, size_t len) TH_MUST;
/* Joins up to 8 pieces to one secret, so that "Bearer " and a token are never joined elsewhere. */
struct th_secret *th_secret_join(const struct th_str *pieces, size_t count) TH_MUST;
struct th_secret *th_secret_ref(struct th_secret *secret);
struct th_secret *th_secret_unref(struct th_secret *secret); /* NULL is fine; returns NULL */
static inline void th_secret_unrefp(struct th_secret **secret)
{
    th_secret_unref(*secret);
}

/* Borrows the bytes, to hand them to a socket or a cipher; valid while the secret is held. */
struct th_str th_secret_expose(const struct th_secret *secret);
size_t th_secret_len(const struct th_secret *secret);
bool th_secret_equal(const struct th_secret *a, const struct th_secret *b); /* constant time */
/* Constant time in the content; the length is not hidden. */
bool th_secret_equal_bytes(const void *a, const void *b, size_t len);

/* Reads a file of at most `max` bytes, without its last line feed if `trim`. TH_E_IO when it is not
 * a regular file, or others than its owner may read, write or execute it (R16). Blocking: not on a
 * worker. */
#define TH_SECRET_MEND_DENIED                                                                       \
    "it must be readable for the user that tokenhop runs as (process.user); a folder that held no " \
    "file of the configuration at start takes a restart (hardening.landlock)"
int th_secret_read_file(const char *path, size_t max, bool trim, struct th_secret **ret_secret,
                        struct th_errinfo *reterr) TH_MUST;

/* A keyed fingerprint for logs: 12 hexadecimal digits and a NUL of HMAC-SHA-256 with a key made at
 * process start, so that equal tokens are recognised within one run and none can be guessed. All
 * dashes when memory is short. */
#define TH_FINGERPRINT_LEN 12
void th_secret_fingerprint(const void *bytes, size_t len, char ret_text[TH_FINGERPRINT_LEN + 1]);

/* A keyed digest, by which secrets are found in memory that has none of them: HMAC-SHA-256 of all pieces, each
 * of which counts as itself, with another key made at process start. TH_E_NOMEM. */
int th_secret_digest(const struct th_str *pieces, size_t count, uint8_t ret_digest[32]) TH_MUST;

/* Bytes now held in secrets, for metrics and the tests of leaks. */
size_t th_secret_bytes_held(void);

#endif
