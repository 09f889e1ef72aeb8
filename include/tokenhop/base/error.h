/* Errors as values.
 *
 * A function that can fail returns int: 0, or a negative TH_E_* of errors.def. What is positive is
 * a condition that the one function documents. The table gives each error everything that follows
 * from it: the answer's status and code, the metric's label, the log field, Proxy-Status.
 *
 * Where a person must mend something, the function also fills a struct th_errinfo: what is wrong,
 * where, and how to mend it. It never holds a token, key or secret. A function either logs or
 * returns an error, never both.
 *
 * Any thread may call; nothing here allocates. */
#ifndef TOKENHOP_BASE_ERROR_H
#define TOKENHOP_BASE_ERROR_H

#include <stdbool.h>

#define TH_MUST __attribute__((warn_unused_result))
#define TH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum th_error_index {
    TH_ERROR_INDEX_NONE,
#define X(symbol, ...) TH_ERROR_INDEX_##symbol,
#include "tokenhop/base/errors.def"
#undef X
    TH_ERROR_COUNT
};

enum th_error {
    TH_OK = 0,
#define X(symbol, ...) TH_E_##symbol = -TH_ERROR_INDEX_##symbol,
#include "tokenhop/base/errors.def"
#undef X
    /* Not an error: nothing to be had now, an event will tell. Never leaves the room that saw it.
     */
    TH_AGAIN = -1000
};

struct th_error_row {
    const char *name;         /* "SUBJECT_MISSING", for logs of developers */
    const char *code;         /* "subject_token_missing" */
    const char *proxy_status; /* RFC 9209, 2.3 */
    const char *title;
    int status; /* HTTP */
    bool retryable;
};

/* The row of a TH_E_*; any other number gets the row of INTERNAL. Never NULL. */
const struct th_error_row *th_error_get(int error);

/* The error that a system call's errno stands for while talking to an origin. */
int th_error_from_origin_errno(int err);

struct th_errinfo {
    int error;
    char what[256];
    char where[256];
    char mend[256];
};

/* Fills *reterr (which may be NULL) and returns `error`, so that a caller can write
 *     return th_errinfo_set(reterr, TH_E_IO, path, "chmod 600 it", "others can read %s", path);
 * `where` and `mend` may be NULL. */
int th_errinfo_set(struct th_errinfo *reterr, int error, const char *where, const char *mend,
                   const char *what, ...) TH_PRINTF(5, 6);

#endif
