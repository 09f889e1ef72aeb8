/* Passwords as a file keeps them so that they cannot be had back from it: hashes of crypt(5), which take long to make
 * on purpose, and digests of what a machine made at random, which need not. One stands on a line:
 *
 *     # team-a, from March on
 *     $y$j9T$...
 *     sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b
 *
 * Here are the forms, which of them are strong enough, and the work. No error text quotes a line. Any thread. */
#ifndef TOKENHOP_BASE_PASSWORD_H
#define TOKENHOP_BASE_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/secret.h"

#define TH_PASSWORD_MIN 8         /* characters, or rather bytes */
#define TH_PASSWORD_MAX 511       /* what crypt(3) takes (CRYPT_MAX_PASSPHRASE_SIZE and its NUL) */
#define TH_PASSWORD_DIGEST_LEN 71 /* of "sha256:" and the digits */
#define TH_PASSWORD_MEND "make one: tokenhop password"

/* What a file holds is told by its first character that is no white space: '$', '#' or "sha256:" begin one with
 * hashes, and anything else one with the password itself, which therefore begins with none of them. */
bool th_password_is_hashed(struct th_str text);
/* Cuts the next line off that is neither empty nor a comment, without the white space around it. False: there is
 * none. *line counts all lines; 0 before the first call. */
bool th_password_next_line(struct th_str *text, unsigned *line, struct th_str *ret_line);

/* What is wrong with a line; constant text, NULL when it can be used: it is well-formed to its last character, no
 * weaker than it may be, and its work is bounded (th_password_verify()). */
const char *th_password_find_fault(struct th_str line);
/* Of a line without fault: whether it is a digest, which is held against that of a password (below) and never
 * given to th_password_verify(). */
bool th_password_is_digest(struct th_str line);
/* The line, in small letters, of that password. */
void th_password_digest(struct th_str password, char ret_line[TH_PASSWORD_DIGEST_LEN + 1]);

/* Why the password cannot be one: too short or long, a control character (RFC 7617, 2), no UTF-8 (RFC 7617, 2.1).
 * Constant text, or NULL. */
const char *th_password_find_flaw(struct th_str password);

/* Whether the password is the one of `line`, which has no fault; compared in constant time. Takes from some
 * milliseconds to about a second and up to 128 MiB of memory: not on a worker. What cannot be one is not; of
 * bcrypt, which would not look beyond 72 bytes, neither is what is longer. 0, or TH_E_NOMEM: it is not known. */
int th_password_verify(const struct th_secret *line, struct th_str password,
                       bool *ret_is_right) TH_MUST;
/* A line for that password, which has no flaw: yescrypt, with a salt of its own. Takes as long. TH_E_NOMEM. */
int th_password_make(struct th_str password, struct th_secret **ret_line) TH_MUST;

#endif
