/* The rules of `policy`: who may do what as whom. Part of the snapshot (model.h); immutable, any thread. */
#ifndef TOKENHOP_CONFIG_POLICY_H
#define TOKENHOP_CONFIG_POLICY_H

#include "tokenhop/config/model.h"

#define TH_POLICY_RULES_MAX 256
#define TH_POLICY_WEEK_MINUTES (7 * 24 * 60)

/* What a claim of the subject token must be. */
enum th_policy_test {
    TH_POLICY_EQUALS,   /* the one value itself */
    TH_POLICY_CONTAINS, /* it, or a list that has it */
    TH_POLICY_ANY_OF    /* the same of any of several */
};

struct th_policy_claim {
    struct th_str text;         /* as configured */
    const struct th_str *steps; /* names of members, the outermost first; each ends in NUL */
    size_t n_steps;
    /* `scope` is one text, whose words are parted by spaces (RFC 8693, 4.2). */
    bool is_words;
    enum th_policy_test test;
    const struct th_str *values; /* numbers and booleans as JSON writes them */
    size_t n_values;
};

/* One rule. It matches a request for which everything holds that it says; what it does not say holds for
 * all. Sets are bits by the index of the caller, agent or connection in the view; NULL: all. */
struct th_policy_rule {
    struct th_str name; /* or "policy[2]", by its place in the file */
    uint32_t index;
    bool allows;
    bool is_dry; /* `dry_run`, or policy_mode: its word is only written down */
    struct th_str reason;
    const char *refusal; /* with a rule that denies: what the answer says */
    const uint64_t *callers;
    const uint64_t *agents;
    const uint64_t *connections;
    const struct th_str *methods;
    size_t n_methods;
    const struct th_str *paths; /* at the origin; each with what is below it, on whole segments */
    size_t n_paths;
    const struct th_str *scopes; /* all of them are among the connection's */
    size_t n_scopes;
    const uint8_t *minutes; /* bits: minutes of the week from Monday 00:00 UTC; NULL: always */
    struct th_str time_text;
    /* Of the subject token: */
    const struct th_policy_claim *claims; /* all of them hold */
    size_t n_claims;
    const struct th_str *issuers;
    size_t n_issuers;
    int max_chain; /* actors in `act`, nested ones too; -1: as many as there are */
    const struct th_str *any_actors; /* one of the chain is one of these; n 0: not asked */
    size_t n_any_actors;
    const struct th_str *only_actors; /* the whole chain is of these; n 0: not asked */
    size_t n_only_actors;
    bool asks_claims; /* any of these is asked */
};

/* What the policy is to a connection, as bits. */
enum th_policy_concern {
    TH_POLICY_CONCERNS = 1, /* a rule names it or names none: what no rule allows is denied */
    TH_POLICY_TRIES = 2,    /* the same, with those of a dry run */
    TH_POLICY_ASKS_CLAIMS = 4
};

static inline bool th_policy_set_has(const uint64_t *set, size_t index)
{
    return set == NULL || (set[index / 64] >> index % 64 & 1) != 0;
}

/* Whether every request that `rule` matches is matched by `by` too. It may say no where it is so, never yes
 * where it is not. */
bool th_policy_rule_is_covered(const struct th_config_view *view, const struct th_policy_rule *rule,
                               const struct th_policy_rule *by);

#endif
