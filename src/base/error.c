#include "tokenhop/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const struct th_error_row rows[TH_ERROR_COUNT] = {
#define X(symbol, code_, status_, proxy_status_, retryable_, title_)                               \
    [TH_ERROR_INDEX_##symbol] = {.name = #symbol,                                                  \
                                 .code = code_,                                                    \
                                 .proxy_status = proxy_status_,                                    \
                                 .title = title_,                                                  \
                                 .status = status_,                                                \
                                 .retryable = retryable_},
#include "tokenhop/base/errors.def"
#undef X
};

const struct th_error_row *th_error_get(int error)
{
    if (error >= 0 || error <= -TH_ERROR_COUNT)
        return &rows[TH_ERROR_INDEX_INTERNAL];
    return &rows[-error];
}

int th_error_from_origin_errno(int err)
{
    switch (err) {
    case ECONNREFUSED:
    case ENOENT: /* a unix socket that nobody serves */
        return TH_E_ORIGIN_REFUSED;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENOTCONN:
        return TH_E_ORIGIN_CLOSED;
    case ETIMEDOUT:
        return TH_E_ORIGIN_CONNECT_TIMEOUT;
    case ENOMEM:
    case ENOBUFS:
        return TH_E_NOMEM;
    case EMFILE:
    case ENFILE:
    case EADDRNOTAVAIL: /* no local port is left */
    case EAGAIN:        /* of connect(): likewise */
        return TH_E_OVERLOADED;
    case EBADF:
    case EFAULT:
    case EINVAL:
    case ENOTSOCK:
        return TH_E_INTERNAL;
    default: /* EHOSTUNREACH, ENETUNREACH, EACCES of a packet filter, and what the kernel adds */
        return TH_E_ORIGIN_UNREACHABLE;
    }
}

int th_errinfo_set(struct th_errinfo *reterr, int error, const char *where, const char *mend,
                   const char *what, ...)
{
    if (reterr == NULL)
        return error;
    reterr->error = error;
    /* Too long a text is cut: it is for a person. */
    va_list args;
    va_start(args, what);
    (void)vsnprintf(reterr->what, sizeof reterr->what, what, args);
    va_end(args);
    (void)snprintf(reterr->where, sizeof reterr->where, "%s", where != NULL ? where : "");
    (void)snprintf(reterr->mend, sizeof reterr->mend, "%s", mend != NULL ? mend : "");
    return error;
}
