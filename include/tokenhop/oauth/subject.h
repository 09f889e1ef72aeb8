/* The subject token, looked at without trusting it: which type to name in leg 1 (reference, section
 * 3, "Telling them apart"), when it ends, and for the audit who it speaks of. Any thread. */
#ifndef TOKENHOP_OAUTH_SUBJECT_H
#define TOKENHOP_OAUTH_SUBJECT_H

#include "tokenhop/base/error.h"
#include "tokenhop/config/model.h"

#define TH_SUBJECT_TEXT_MAX 128

struct th_subject {
    bool is_jwt;
    enum th_subject_type type;     /* never AUTO */
    int64_t expires_wall_ms;       /* -1: it does not say */
    char iss[TH_SUBJECT_TEXT_MAX]; /* cut to size, printable; for logs */
    char sub[TH_SUBJECT_TEXT_MAX];
    unsigned chain;      /* how many actors `act` nests */
    bool agent_in_chain; /* this agent's client id is among them */
    bool bound;          /* `cnf` */
};

/* Whether `token` is token68 (RFC 6750, 2.1) and at most 64 KiB. */
bool th_subject_is_token68(struct th_str token);

/* 0; TH_E_SUBJECT_MALFORMED (an ID-JAG, not token68); TH_E_SUBJECT_EXPIRED at `wall_ms`;
 * TH_E_SUBJECT_AUDIENCE for an ID token that is neither the agent's nor a linked client's:
 * reterr->what names the expected audience, never the token; TH_E_NOMEM. */
int th_subject_inspect(struct th_str token, const struct th_config_agent *agent,
                       enum th_subject_type configured, int64_t wall_ms,
                       struct th_subject *ret_subject, struct th_errinfo *reterr) TH_MUST;

#endif
