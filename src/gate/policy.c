#include "tokenhop/gate/policy.h"

#include "tokenhop/gate/route.h"

/* --- what the request is --- */

/* Case counts (RFC 9110, 9.1), but some destinations raise letters: what only they would take for a method that
 * the rule names must not walk around it. */
static enum th_policy_miss judge_method(const struct th_policy_rule *rule, struct th_str method)
{
    if (rule->n_methods == 0 || th_str_is_among(rule->methods, rule->n_methods, method))
        return TH_POLICY_MATCHES;
    for (size_t i = 0; i < rule->n_methods; i++)
        if (th_str_equal_nocase(rule->methods[i], method))
            return TH_POLICY_IN_TWO_WAYS;
    return TH_POLICY_OTHER_METHOD;
}

/* As the request has it, and as a destination may read it: decoded, or also without the parameters that some
 * strip from segments (RFC 3986, 3.3) and in letters of any case. All must agree, or a rule could be walked
 * around. */
static enum th_policy_miss judge_path(const struct th_policy_rule *rule, struct th_str path)
{
    bool as_is = rule->n_paths == 0, decoded = as_is, lenient = as_is;

    for (size_t i = 0; i < rule->n_paths; i++) {
        as_is |= th_config_path_covers(rule->paths[i], path);
        decoded |= th_route_path_matches_decoded(rule->paths[i], path, false);
        lenient |= th_route_path_matches_decoded(rule->paths[i], path, true);
    }
    if (as_is != decoded || as_is != lenient)
        return TH_POLICY_IN_TWO_WAYS;
    return as_is ? TH_POLICY_MATCHES : TH_POLICY_OTHER_PATH;
}

static bool asks_scopes(const struct th_policy_rule *rule,
                        const struct th_config_connection *connection)
{
    for (size_t i = 0; i < rule->n_scopes; i++)
        if (!th_str_is_among(connection->scopes, connection->n_scopes, rule->scopes[i]))
            return false;
    return true;
}

/* 1970 began on a Thursday. */
static bool is_in_time(const struct th_policy_rule *rule, int64_t wall_ms)
{
    int64_t minute = wall_ms / 60000 - (wall_ms % 60000 < 0) + INT64_C(3) * 24 * 60;
    int64_t of_week = minute % TH_POLICY_WEEK_MINUTES;

    if (rule->minutes == NULL)
        return true;
    if (of_week < 0)
        of_week += TH_POLICY_WEEK_MINUTES;
    return (rule->minutes[of_week / 8] >> of_week % 8 & 1) != 0;
}

static bool do_claims_hold(const struct th_policy_rule *rule, const struct th_policy_claims *claims)
{
    if (!rule->asks_claims)
        return true;
    if (claims == NULL || claims->subject == TH_POLICY_SUBJECT_OPAQUE)
        return !rule->allows;
    if (claims->subject == TH_POLICY_SUBJECT_UNKNOWN)
        return rule->allows;
    return (claims->holds[rule->index / 64] >> rule->index % 64 & 1) != 0;
}

enum th_policy_miss th_policy_judge(const struct th_config_view *view,
                                    const struct th_policy_rule *rule,
                                    const struct th_policy_request *request)
{
    const struct th_config_caller *caller = request->caller;

    if (!th_policy_set_has(rule->connections, request->connection->index))
        return TH_POLICY_OTHER_CONNECTION;
    if (rule->callers != NULL &&
        (caller == NULL || !th_policy_set_has(rule->callers, (size_t)(caller - view->callers))))
        return TH_POLICY_OTHER_CALLER;
    if (!th_policy_set_has(rule->agents, (size_t)(request->agent - view->agents)))
        return TH_POLICY_OTHER_AGENT;
    enum th_policy_miss miss = judge_method(rule, request->method);
    if (miss == TH_POLICY_OTHER_METHOD)
        return miss;
    enum th_policy_miss path = judge_path(rule, request->path);
    if (path == TH_POLICY_OTHER_PATH)
        return path;
    if (miss != TH_POLICY_MATCHES || path != TH_POLICY_MATCHES)
        return TH_POLICY_IN_TWO_WAYS;
    if (!asks_scopes(rule, request->connection))
        return TH_POLICY_OTHER_SCOPES;
    if (!is_in_time(rule, request->wall_ms))
        return TH_POLICY_OTHER_TIME;
    return do_claims_hold(rule, request->claims) ? TH_POLICY_MATCHES : TH_POLICY_OTHER_CLAIMS;
}

static enum th_policy_result decide(const struct th_config_view *view,
                                    const struct th_policy_request *request, bool with_dry,
                                    const struct th_policy_rule **ret_rule)
{
    unsigned bit = with_dry ? TH_POLICY_TRIES : TH_POLICY_CONCERNS;

    *ret_rule = NULL;
    if ((view->policy_concerns[request->connection->index] & bit) == 0)
        return TH_POLICY_UNCONCERNED;
    for (size_t i = 0; i < view->n_policy; i++) {
        const struct th_policy_rule *rule = &view->policy[i];
        if (rule->is_dry && !with_dry)
            continue;
        enum th_policy_miss miss = th_policy_judge(view, rule, request);
        if (miss == TH_POLICY_IN_TWO_WAYS) {
            *ret_rule = rule;
            return TH_POLICY_AMBIGUOUS;
        }
        if (miss == TH_POLICY_MATCHES) {
            *ret_rule = rule;
            return rule->allows ? TH_POLICY_ALLOWED : TH_POLICY_DENIED;
        }
    }
    return TH_POLICY_DENIED;
}

void th_policy_decide(const struct th_config_view *view, const struct th_policy_request *request,
                      struct th_policy_verdict *ret_verdict)
{
    enum th_policy_result dry;

    *ret_verdict = (struct th_policy_verdict){.result = TH_POLICY_UNCONCERNED};
    if (view->n_policy == 0 ||
        (view->policy_concerns[request->connection->index] & TH_POLICY_TRIES) == 0)
        return;
    ret_verdict->result = decide(view, request, false, &ret_verdict->rule);
    if (!view->has_dry_policy || ret_verdict->result == TH_POLICY_DENIED ||
        ret_verdict->result == TH_POLICY_AMBIGUOUS)
        return;
    dry = decide(view, request, true, &ret_verdict->dry_rule);
    ret_verdict->would_deny = dry == TH_POLICY_DENIED || dry == TH_POLICY_AMBIGUOUS;
    if (!ret_verdict->would_deny)
        ret_verdict->dry_rule = NULL;
}
