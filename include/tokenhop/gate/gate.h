/* The gate: what a request may do, decided before anything is spent on it: normal form of the
 * target, connection, subject token, unmatched rules. The egress rules follow when the address is
 * known. No I/O, no allocation. */
#ifndef TOKENHOP_GATE_GATE_H
#define TOKENHOP_GATE_GATE_H

#include "tokenhop/gate/route.h"
#include "tokenhop/gate/seen.h"
#include "tokenhop/http/message.h"

enum th_gate_action {
    TH_GATE_REFUSE,     /* `error` and `detail` say why */
    TH_GATE_CREDENTIAL, /* to the connection, with a credential: got for the subject token, or of the
                           configuration (TH_TYPE_STATIC) */
    TH_GATE_PASSTHROUGH, /* to the connection, with the Authorization field that the caller sent */
    TH_GATE_PUBLIC,  /* to the connection, without a credential: a public path, or without_subject:
                        forward */
    TH_GATE_FORWARD, /* unmatched, and allowed to go on as it is */
    TH_GATE_ANSWER   /* Max-Forwards has come to 0: answered here */
};

struct th_gate_decision {
    enum th_gate_action action;
    int error;
    const char *detail;          /* constant text for the problem body */
    struct th_route route;       /* with CREDENTIAL, PASSTHROUGH and PUBLIC */
    struct th_str subject_token; /* with CREDENTIAL, if the connection takes one: borrowed from the
                                    head or the configuration; else empty */
    const struct th_config_connection
        *beside;             /* with FORWARD: a connection in shadow that is not for
                                                  this agent, to which it is as if it were not there */
    bool drop_authorization; /* what the caller sent there must not go on */
    bool is_named;           /* with FORWARD: a rule of `unmatched` names the destination, not by
                                    a wildcard: it may be where an authorization server is (R27) */
    bool is_public_path;     /* with PUBLIC: it is of the connection's public paths */
};

/* `head` is a request in absolute-form whose target is `url`. */
void th_gate_decide(const struct th_config_view *config, const struct th_routes *routes,
                    const struct th_seen *seen, const struct th_config_agent *agent,
                    const struct th_head *head, const struct th_url *url,
                    struct th_gate_decision *ret_decision);

enum th_gate_tunnel {
    TH_GATE_TUNNEL_REFUSE, /* `error` and `detail` say why */
    TH_GATE_TUNNEL_SERVE, /* what comes through is HTTP, and each request is decided on by itself */
    TH_GATE_TUNNEL_PLAIN  /* unmatched, and allowed to go on as it is: bytes, not looked into */
};

struct th_gate_connect {
    enum th_gate_tunnel action;
    int error;
    const char *detail; /* constant text for the problem body */
    bool intercept;     /* with SERVE: TLS inside is for a connection */
    bool is_named;      /* with PLAIN: as th_gate_decision has it */
};

/* What becomes of a CONNECT to `authority` (its scheme and path do not count). A list of `unmatched`
 * is asked for https:// at that host and port; a rule with a path cannot be held there: it denies
 * the whole, and forwards nothing. */
void th_gate_decide_connect(const struct th_config_view *config, const struct th_routes *routes,
                            bool can_intercept, const struct th_url *authority,
                            struct th_gate_connect *ret_decision);

/* What the caller is told then. */
extern const char th_gate_named_only[];

/* R27: whether a configured authorization server is at the URL's host and port. */
bool th_gate_is_authorization_server(const struct th_config_view *config, const struct th_url *url);

/* The subject token of the Authorization field: 0; TH_E_SUBJECT_MISSING; TH_E_SUBJECT_MALFORMED
 * (another scheme, not token68); TH_E_BAD_REQUEST (several fields). */
int th_gate_subject(const struct th_head *head, struct th_str *ret_token,
                    const char **ret_detail) TH_MUST;

#endif
