/* Which rule of the policy leaves nothing to another. */
#include <string.h>

#include "tokenhop/config/policy.h"

static struct th_str without_slash(struct th_str path)
{
    if (path.len > 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    return path;
}

/* Of lists of which one must be met, where an empty one asks nothing. */
static bool is_within(const struct th_str *texts, size_t n, const struct th_str *of, size_t n_of)
{
    if (n_of == 0)
        return true;
    for (size_t i = 0; i < n; i++) {
        if (!th_str_is_among(of, n_of, texts[i]))
            return false;
    }
    return n > 0;
}

static bool is_set_within(const uint64_t *set, const uint64_t *of, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (th_policy_set_has(set, i) && !th_policy_set_has(of, i))
            return false;
    }
    return true;
}

/* A request without a caller is in no set of callers but the one of all. */
static bool are_callers_within(const struct th_config_view *view, const struct th_policy_rule *rule,
                               const struct th_policy_rule *by)
{
    return by->callers == NULL ||
           (rule->callers != NULL && is_set_within(rule->callers, by->callers, view->n_callers));
}

/* A caller acts as its agent and no other. */
static bool are_agents_within(const struct th_config_view *view, const struct th_policy_rule *rule,
                              const struct th_policy_rule *by)
{
    if (by->agents == NULL || is_set_within(rule->agents, by->agents, view->n_agents))
        return true;
    for (size_t i = 0; rule->callers != NULL && i < view->n_callers; i++) {
        const struct th_config_caller *caller = &view->callers[i];
        if (th_policy_set_has(rule->callers, i) &&
            !th_policy_set_has(by->agents, (size_t)(caller->agent - view->agents)))
            return false;
    }
    return rule->callers != NULL;
}

static bool are_paths_within(const struct th_policy_rule *rule, const struct th_policy_rule *by)
{
    static const struct th_str all = {"/", 1};
    const struct th_str *paths = rule->n_paths > 0 ? rule->paths : &all;
    size_t n = rule->n_paths > 0 ? rule->n_paths : 1;
    for (size_t i = 0; by->n_paths > 0 && i < n; i++) {
        bool is_covered = false;
        for (size_t k = 0; k < by->n_paths && !is_covered; k++)
            is_covered = th_config_path_covers(by->paths[k], without_slash(paths[i]));
        if (!is_covered)
            return false;
    }
    return true;
}

/* All of the scopes of `by` are among those that `rule` asks for. */
static bool are_scopes_within(const struct th_policy_rule *rule, const struct th_policy_rule *by)
{
    for (size_t i = 0; i < by->n_scopes; i++) {
        if (!th_str_is_among(rule->scopes, rule->n_scopes, by->scopes[i]))
            return false;
    }
    return true;
}

static bool is_time_within(const struct th_policy_rule *rule, const struct th_policy_rule *by)
{
    if (by->minutes == NULL)
        return true;
    for (size_t i = 0; i < TH_POLICY_WEEK_MINUTES / 8; i++) {
        unsigned minutes = rule->minutes != NULL ? rule->minutes[i] : 0xff;
        if ((minutes & ~(unsigned)by->minutes[i]) != 0)
            return false;
    }
    return true;
}

static bool is_same_claim(const struct th_policy_claim *a, const struct th_policy_claim *b)
{
    if (a->n_steps != b->n_steps)
        return false;
    for (size_t i = 0; i < a->n_steps; i++) {
        if (!th_str_equal(a->steps[i], b->steps[i]))
            return false;
    }
    return true;
}

/* What holds of a claim because `known` does: a value that it is, it also has. */
static bool follows(const struct th_policy_claim *claim, const struct th_policy_claim *known)
{
    if (!is_same_claim(claim, known))
        return false;
    if (claim->test == TH_POLICY_EQUALS && known->test != TH_POLICY_EQUALS)
        return false;
    return is_within(known->values, known->n_values, claim->values, claim->n_values);
}

static bool are_claims_within(const struct th_policy_rule *rule, const struct th_policy_rule *by)
{
    for (size_t i = 0; i < by->n_claims; i++) {
        bool does_follow = false;
        for (size_t k = 0; k < rule->n_claims && !does_follow; k++)
            does_follow = follows(&by->claims[i], &rule->claims[k]);
        if (!does_follow)
            return false;
    }
    return by->max_chain < 0 || (rule->max_chain >= 0 && rule->max_chain <= by->max_chain);
}

static bool is_subject_within(const struct th_policy_rule *rule, const struct th_policy_rule *by)
{
    if (!by->asks_claims)
        return true;
    /* Of a token that cannot be read, a rule that denies believes the worst, and one that allows nothing. */
    if (by->allows && !(rule->allows && rule->asks_claims))
        return false;
    return are_claims_within(rule, by) &&
           is_within(rule->issuers, rule->n_issuers, by->issuers, by->n_issuers) &&
           is_within(rule->any_actors, rule->n_any_actors, by->any_actors, by->n_any_actors) &&
           is_within(rule->only_actors, rule->n_only_actors, by->only_actors, by->n_only_actors);
}

bool th_policy_rule_is_covered(const struct th_config_view *view, const struct th_policy_rule *rule,
                               const struct th_policy_rule *by)
{
    return is_set_within(rule->connections, by->connections, view->n_connections) &&
           are_callers_within(view, rule, by) && are_agents_within(view, rule, by) &&
           is_within(rule->methods, rule->n_methods, by->methods, by->n_methods) &&
           are_paths_within(rule, by) && are_scopes_within(rule, by) && is_time_within(rule, by) &&
           is_subject_within(rule, by);
}
