/* The policy: which rule decides on a request to a connection. Pure functions of the rules and what is known of
 * the request; any thread.
 *
 * Rules go in order, and the first that matches decides. At a connection that any rule concerns (it names it,
 * or names none), what no rule matches is denied; at every other, all is allowed. Rules of a dry run decide
 * nothing: the list is gone through once without them, and once with them for what would be.
 *
 * Of the subject token a rule may ask claims. What they say is believed as soon as it denies, as who lies
 * there only harms himself; what it allows holds only with a credential that was got for that very token, as
 * the authorization server then has vouched for it (R14). Of a token that cannot be read (it is opaque, or
 * there is none), a rule that allows by claims matches nothing, and one that denies by claims matches. */
#ifndef TOKENHOP_GATE_POLICY_H
#define TOKENHOP_GATE_POLICY_H

#include <jansson.h>

#include "tokenhop/config/policy.h"

#define TH_POLICY_WORDS (TH_POLICY_RULES_MAX / 64)

enum th_policy_subject {
    TH_POLICY_SUBJECT_READ,    /* `holds` says which rules' claims hold */
    TH_POLICY_SUBJECT_OPAQUE,  /* it has no claims, or there is none */
    TH_POLICY_SUBJECT_UNKNOWN, /* still to come: what some claims might allow is not denied */
};

/* What a subject token is to the rules: bits by their index, of those whose claims hold. */
struct th_policy_claims {
    enum th_policy_subject subject;
    uint64_t holds[TH_POLICY_WORDS];
};

struct th_policy_request {
    const struct th_config_caller *caller; /* NULL: the listener asks nobody */
    const struct th_config_agent *agent;
    const struct th_config_connection *connection;
    struct th_str method;
    struct th_str path;
    int64_t wall_ms;
    const struct th_policy_claims *claims; /* NULL: no rule asks any of this connection's */
};

enum th_policy_result {
    TH_POLICY_UNCONCERNED, /* no rule is for this connection: allowed */
    TH_POLICY_ALLOWED,
    TH_POLICY_DENIED,
    TH_POLICY_AMBIGUOUS /* the destination may see another method or path than a rule does: to be refused */
};

struct th_policy_verdict {
    enum th_policy_result result;
    const struct th_policy_rule *rule; /* that decided; NULL: none matched */
    /* With the rules of a dry run it would be denied, though it is not. */
    bool would_deny;
    const struct th_policy_rule *dry_rule; /* that would; NULL: none would match */
};

void th_policy_decide(const struct th_config_view *view, const struct th_policy_request *request,
                      struct th_policy_verdict *ret_verdict);

/* Why a rule does not match: the first of its conditions that fails, in the order of asking. */
enum th_policy_miss {
    TH_POLICY_MATCHES,
    TH_POLICY_OTHER_CONNECTION,
    TH_POLICY_OTHER_CALLER,
    TH_POLICY_OTHER_AGENT,
    TH_POLICY_OTHER_METHOD,
    TH_POLICY_OTHER_PATH,
    TH_POLICY_OTHER_SCOPES,
    TH_POLICY_OTHER_TIME,
    TH_POLICY_OTHER_CLAIMS,
    TH_POLICY_IN_TWO_WAYS /* it is neither: the whole request is to be refused */
};
enum th_policy_miss th_policy_judge(const struct th_config_view *view,
                                    const struct th_policy_rule *rule,
                                    const struct th_policy_request *request);

/* Of what a rule asks of the token, what fails first. */
enum th_policy_claim_miss {
    TH_POLICY_CLAIMS_HOLD,
    TH_POLICY_ISSUER_FAILS,
    TH_POLICY_CHAIN_FAILS,
    TH_POLICY_ACTORS_FAIL,
    TH_POLICY_CLAIM_FAILS /* *ret_claim is its index */
};
enum th_policy_claim_miss th_policy_judge_claims(const struct th_policy_rule *rule,
                                                 const json_t *claims, size_t *ret_claim);

void th_policy_read_claims(const struct th_config_view *view, const json_t *claims,
                           struct th_policy_claims *ret_claims);
/* The same of a whole token. 0, or TH_E_NOMEM. */
int th_policy_read_token(const struct th_config_view *view, struct th_str token,
                         struct th_policy_claims *ret_claims) TH_MUST;

/* What was read of tokens lately, so that a token in use is not taken apart for every request; by the SHA-256
 * of the whole token, and for one view: another configuration has another. One thread. */
struct th_policy_memo;
struct th_policy_memo *th_policy_memo_new(void); /* NULL when memory is short */
struct th_policy_memo *th_policy_memo_free(struct th_policy_memo *memo); /* NULL is fine */
/* `memo` NULL is fine. *ret_claims is the memo's, or filled `room`; borrowed until the next call. */
int th_policy_memo_read(struct th_policy_memo *memo, const struct th_config_view *view,
                        const uint8_t digest[32], struct th_str token,
                        struct th_policy_claims *room,
                        const struct th_policy_claims **ret_claims) TH_MUST;

#endif
