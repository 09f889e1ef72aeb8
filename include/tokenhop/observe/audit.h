/* The audit log: one JSON line a decision, so that it can be told later who acted for whom, where, with
 * what leave. Decisions from the cache are decisions too; `cache` tells them
 * apart.
 *
 * One th_audit_log per worker, used by its thread only; lines are gathered and handed to the writer
 * as those of the access log are. No token is part of a record: one appears as its fingerprint
 * (th_secret_fingerprint), and what was issued by its `jti`. */
#ifndef TOKENHOP_OBSERVE_AUDIT_H
#define TOKENHOP_OBSERVE_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"
#include "tokenhop/observe/access.h"

struct th_audit_log;

/* What would have become of a request to a connection in shadow, which went on as it came. */
enum th_audit_shadow {
    TH_AUDIT_NO_SHADOW,      /* it is what has become of it */
    TH_AUDIT_WOULD_GRANT,    /* a credential */
    TH_AUDIT_WOULD_WIDEN,    /* likewise, and it can do more than the caller's own token */
    TH_AUDIT_WOULD_EXCHANGE, /* an exchange, of which it is not known how it would have ended */
    TH_AUDIT_WOULD_DENY, /* the policy would have denied it, or the connection is not for the agent */
    TH_AUDIT_WOULD_REFUSE /* refused for another reason */
};
#define TH_AUDIT_SHADOWS 6
/* "would_grant" and so on; of NO_SHADOW NULL. */
const char *th_audit_shadow_name(enum th_audit_shadow shadow);

/* One request to a token endpoint. */
struct th_audit_leg {
    struct th_str name; /* what it was to yield: "id_jag", "access_token" ... */
    struct th_str server;
    unsigned status;     /* of the answer; 0: none came */
    int64_t duration_us; /* negative: left out */
    int error;           /* 0: it succeeded */
};

#define TH_AUDIT_MAX_ACTORS 16 /* written; how many there were is written too */
#define TH_AUDIT_MAX_LEGS 8

/* Everything is borrowed for the call. Empty strings and fields marked so are left out. */
struct th_audit_record {
    int64_t wall_ms;
    int error; /* 0: the delegation was granted; else the TH_E_* for which it was refused or failed
                */
    bool would_deny;   /* neither: a dry run of the policy would have refused it for `error` */
    bool is_forwarded; /* where `error` is 0: nothing was delegated, it was let through unmatched */
    enum th_audit_shadow shadow;
    struct th_str reason; /* in shadow: why, for people */

    /* who */
    struct th_str listener, client, caller, agent;
    struct th_str subject;                      /* fingerprint of the subject token */
    struct th_str subject_issuer, subject_name; /* its iss and sub */
    bool subject_verified;                      /* whether its signature was checked */
    const struct th_str *actors;                /* subs of its act chain, the latest first */
    size_t n_actors;
    size_t n_all_actors; /* how many the chain has, where that is more; else 0 */

    /* what for */
    struct th_str connection, resource, audience;
    struct th_str scopes; /* asked for; separated by spaces */
    struct th_str method, host;

    /* how it ended */
    enum th_cache_state cache;
    struct th_str rule;              /* the policy rule that decided, where one did */
    struct th_str oauth_error;       /* of the authorization server */
    struct th_str issued_id;         /* jti of what was issued, where it tells one */
    struct th_str issued_scopes;     /* granted, where the server tells them */
    struct th_str issued_audience;   /* parted by spaces, where it tells any */
    struct th_str widened_scopes;    /* in shadow: of these, those that the caller's token lacks */
    struct th_str widened_audience;  /* in shadow: likewise */
    int64_t issued_until_wall_ms;    /* its expiry; negative: unknown, left out */
    const struct th_audit_leg *legs; /* those of this decision; none from the cache */
    size_t n_legs;
    int64_t duration_us; /* of the decision; negative: left out */
    struct th_str trace_id;
};

/* `file` NULL: a log that writes nothing. `is_strict`: nothing is done on the strength of a line before that is
 * written. NULL when memory is short. */
struct th_audit_log *th_audit_log_new(struct th_writer_file *file, bool is_strict) TH_MUST;
struct th_audit_log *th_audit_log_free(struct th_audit_log *log); /* flushes; NULL is fine */

/* Lines that are lost leave one of their own behind, {"time":...,"result":"lost","lines":N}. A NULL log writes
 * nothing. */
void th_audit_write(struct th_audit_log *log, const struct th_audit_record *record);

/* Whoever waits for lines of a strict log, before anything is done on the strength of them. Zeroed but for `fn`, and
 * where it was when the lines were written. */
struct th_audit_wait {
    void (*fn)(struct th_audit_wait *wait); /* by th_audit_settle(): none is pending any more */
    struct th_audit_log *log;
    unsigned n_pending;
    bool is_lost; /* one of them was */
};
/* As th_audit_write(), and th_audit_outcome() tells when it is written: of any but a strict log, at once. TH_E_AUDIT:
 * it is lost. */
int th_audit_write_first(struct th_audit_log *log, const struct th_audit_record *record,
                         struct th_audit_wait *wait) TH_MUST;
/* 0: all are written; TH_AGAIN; or TH_E_AUDIT. */
int th_audit_outcome(const struct th_audit_wait *wait) TH_MUST;
/* Does not wait any more. `withdraws`: nor are lines written that are not yet. */
void th_audit_leave(struct th_audit_wait *wait, bool withdraws);
/* Looks which lines are settled. `fn` is told, on the writer's thread and as th_writer_watch_set() says, that it is
 * time for that; NULL: any more. */
void th_audit_settle(struct th_audit_log *log);
void th_audit_log_watch(struct th_audit_log *log, void (*fn)(void *arg), void *arg);

/* Hands over what was gathered; the worker calls it some times a second. */
void th_audit_flush(struct th_audit_log *log);
/* Lines lost here as memory was short, or at the writer's full queue. Owner's thread; NULL is fine. */
uint64_t th_audit_dropped(const struct th_audit_log *log);

#endif
