/* Sealed lines: each line of a file carries its number and the digest of the line before, so that what
 * was changed, taken out, put in or reordered afterwards shows. A line is a JSON object; what seals it are its
 * last two members:
 *
 *     {"time":"...", ... ,"seq":42,"prev":"5f2c...64 hex digits..."}
 *
 * `prev` is the SHA-256 of the whole line before, without its line feed; of line 1, 64 zeros. A file that
 * was rotated away is followed by one that goes on where it ended. Who can write the file can also make a
 * new chain of his own: compare the last digest with one that was kept elsewhere.
 *
 * One thread at a time. */
#ifndef TOKENHOP_OBSERVE_SEAL_H
#define TOKENHOP_OBSERVE_SEAL_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/buf.h"
#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

#define TH_SEAL_DIGEST_LEN 64 /* hex digits */
#define TH_SEAL_LINE_MAX ((size_t)1024 * 1024)
#define TH_SEAL_ROOM ((size_t)128) /* that a seal adds to a line */
/* `prev` of line 1 */
#define TH_SEAL_NOTHING "0000000000000000000000000000000000000000000000000000000000000000"

struct th_seal {
    uint64_t number; /* of the last line; 0: none yet */
    char digest[TH_SEAL_DIGEST_LEN + 1];
};

void th_seal_init(struct th_seal *seal);

/* Adds `lines` to `out`, each sealed: whole lines, JSON objects of at least one member. TH_E_NOMEM, also where
 * the library makes no digest, and the seal is as it was. */
int th_seal_lines(struct th_seal *seal, struct th_str lines, struct th_buf *out) TH_MUST;

/* What a file's last whole line says: goes on from there. An empty file, or one whose last line is not
 * sealed, begins anew. *ret_is_torn: it does not end with a line feed. `fd`, a regular file to read, cannot be:
 * TH_E_IO; `path` is what it is called. */
int th_seal_resume(struct th_seal *seal, int fd, const char *path, bool *ret_is_torn,
                   struct th_errinfo *reterr) TH_MUST;

/* What seals a line. */
struct th_seal_read {
    uint64_t number;
    struct th_str previous; /* the digest of the line before */
};
/* False: it is no line that was sealed, byte for byte as one is written: no control byte, whole UTF-8. */
bool th_seal_read(struct th_str line, struct th_seal_read *ret_read) TH_MUST;
bool th_seal_is_digest(struct th_str text) TH_MUST;

enum th_seal_fault {
    TH_SEAL_WHOLE,
    TH_SEAL_UNSEALED,  /* not a line that was sealed; torn, perhaps */
    TH_SEAL_MISSING,   /* lines before it are gone */
    TH_SEAL_RESTARTED, /* a chain begins here that knows nothing of the one before */
    TH_SEAL_REORDERED, /* its number is not above the one before */
    TH_SEAL_CHANGED,   /* it, or the line before, is not what it was */
    TH_SEAL_UNCHECKED  /* the library made no digest of it: nothing is known */
};

/* Whether `line` (without its line feed) follows the last one; takes note of it in any case where it is
 * sealed and could be checked. The first line that a new seal is shown follows whatever it says, unless its number is
 * 1. */
enum th_seal_fault th_seal_check(struct th_seal *seal, struct th_str line);

#endif
