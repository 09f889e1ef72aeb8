/* The access log: one JSON line a hop. One th_access_log per worker, used by its thread only; it
 * gathers lines and hands them to the writer 32 KiB at a time, or when it is flushed.
 *
 * No token is part of a record: queries are dropped, as they may hold one, and a subject appears as
 * its fingerprint only (th_secret_fingerprint). */
#ifndef TOKENHOP_OBSERVE_ACCESS_H
#define TOKENHOP_OBSERVE_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

struct th_access_log;
struct th_writer_file;

/* How a hop came by its credential. */
enum th_cache_state {
    TH_CACHE_NONE,      /* the hop needed none */
    TH_CACHE_HIT,       /* found */
    TH_CACHE_MISS,      /* an exchange was made for it */
    TH_CACHE_JOINED,    /* it waited for an exchange that another hop had begun */
    TH_CACHE_REFRESHED, /* found, and renewed ahead of its expiry in the background */
    TH_CACHE_NEGATIVE,  /* a refusal was remembered */
    TH_CACHE_RETRIED,   /* the destination refused the first one with 401, a second was got */
    TH_CACHE_STATE_COUNT
};

const char *th_cache_state_name(enum th_cache_state state); /* "none", "hit" ... */

/* Everything is borrowed for the call. Empty strings and fields marked so are left out. */
struct th_access_record {
    int64_t wall_ms; /* when the request's head was complete */
    int64_t duration_us;
    int64_t exchange_us;   /* waited for a credential; negative: not at all, left out */
    int64_t first_byte_us; /* until the response's head came; negative: none, left out */
    unsigned worker;
    struct th_str listener;
    struct th_str client; /* address and port */
    struct th_str caller;
    struct th_str agent;
    struct th_str connection;
    struct th_str method;
    struct th_str scheme;
    struct th_str host;       /* with the port where it is not the scheme's */
    struct th_str path;       /* written without what follows '?' or '#', at most 1 KiB of it */
    struct th_str user_agent; /* at most 256 bytes are written */
    unsigned http_major, http_minor; /* of the client side; 0.0: left out */
    unsigned status;                 /* 0: none was sent */
    int error;                       /* a TH_E_*: its code and symbol are written; 0: left out */
    enum th_cache_state cache;
    struct th_str origin; /* address connected to */
    bool origin_reused;
    bool tunnel;                                           /* CONNECT, not looked into */
    bool request_complete;                                 /* read whole from the client */
    bool response_complete;                                /* written whole to the client */
    uint64_t client_in, client_out, origin_in, origin_out; /* bytes, heads included */
    struct th_str trace_id;
    struct th_str subject; /* fingerprint */
};

/* `file` NULL: a log that writes nothing. NULL when memory is short. */
struct th_access_log *th_access_log_new(struct th_writer_file *file) TH_MUST;
struct th_access_log *th_access_log_free(struct th_access_log *log); /* flushes; NULL is fine */

/* A NULL log writes nothing. */
void th_access_write(struct th_access_log *log, const struct th_access_record *record);
/* Hands over what was gathered; the worker calls it some times a second. */
void th_access_flush(struct th_access_log *log);
/* Lines lost here as memory was short, or at the writer's full queue. Owner's thread. */
uint64_t th_access_dropped(const struct th_access_log *log);

#endif
