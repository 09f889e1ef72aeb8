/* What a token endpoint answers (R13; reference, section 8). One table says what each error means
 * here; another, which causes their descriptions betray. The texts are ours: of the server's own words
 * only those are shown that can hold no token. */
#ifndef TOKENHOP_SRC_OAUTH_TOKEN_ENDPOINT_H
#define TOKENHOP_SRC_OAUTH_TOKEN_ENDPOINT_H

#include <jansson.h>

#include "tokenhop/base/secret.h"
#include "tokenhop/net/fetch.h"
#include "tokenhop/oauth/exchange.h"
#include "tokenhop/oauth/plan.h"
#include "tokenhop/oauth/values.h"

#define TH_ANSWER_ACCESS_TOKEN_MAX ((size_t)64 * 1024)
#define TH_ANSWER_EXPIRES_ABSENT (-1)
#define TH_ANSWER_EXPIRES_MAX_MS ((int64_t)365 * 24 * 3600 * 1000)
#define TH_ANSWER_SAYS " (it says: " /* in `why`, before the server's own words */

struct th_token_answer {
    int error;                /* 0, TH_E_* */
    json_t *object;           /* owned; NULL when the answer was none */
    struct th_secret *token;  /* owned; NULL where the leg yields values */
    struct th_values *values; /* owned; NULL where the leg yields a token */
    int64_t expires_in_ms;    /* TH_ANSWER_EXPIRES_ABSENT; 0: must not be kept */
    bool is_dpop;             /* by its token_type, the token is bound to a key */
    bool is_invalid_grant;    /* what was presented is stale, which a leg before can mend */
    char oauth_error[64];
    char why[200]; /* what happened and how to mend it */
    char interaction_uri[512];
    char challenge[TH_CHALLENGE_MAX]; /* parameters for WWW-Authenticate: Bearer; empty: none */
    int64_t retry_after_ms;           /* -1: none */
    /* By a Retry-After. The reset of a rate limit alone is none: that may be one user's limit. */
    bool asks_for_rest;
};

/* Fills all of it. `issuer` is the server's, for what it may send a user to. */
void th_token_answer_read(const struct th_fetch_response *response, const struct th_plan_leg *leg,
                          struct th_str issuer, struct th_token_answer *ret_answer);
void th_token_answer_fini(struct th_token_answer *answer); /* zeroed is fine */

/* The readers that plans name. */
void th_token_answer_read_token(const struct th_plan_leg *leg, struct th_token_answer *answer);
/* The object of a vaulted secret or service account (reference, 5, 6): strings are kept, nulls dropped,
 * other kinds refused; and what a header field could not hold. */
void th_token_answer_read_values(const struct th_plan_leg *leg, struct th_token_answer *answer);

/* Parts of the above, each with a file of its own. */

/* Whether the answer names a type that the leg wants; fills error and why if not. */
bool th_token_answer_check_type(const struct th_plan_leg *leg, struct th_token_answer *answer);

/* An answer with an error in it, or no good status: fills error, oauth_error, why. */
void th_token_error_read(int status, struct th_token_answer *answer);
/* After that: what the error demands of the user, in answer->challenge; of claims, also error. */
void th_token_error_challenge(struct th_token_answer *answer);
/* Whether a user may be sent there: https at the host of the issuer (or the issuer's own origin, where that
 * is cleartext, as on loopback), printable, short enough. */
bool th_token_error_uri_is_fine(struct th_str uri, struct th_str issuer);

#endif
