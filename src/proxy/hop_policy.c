/* The policy asked about a request, once the gate knows its connection. */
#include "hop.h"
#include "target.h"

static const char by_default[] = "no rule of the policy allows this request";
static const char two_ways[] =
    "a rule of the policy looks at the method and path, which the destination may read in another "
    "way (letters in another case or encoded, parameters)";

/* What is known of the subject token. NULL, and no error: no rule asks. */
static int read_claims(struct th_hop *hop, struct th_policy_claims *room,
                       const struct th_policy_claims **ret_claims)
{
    const struct th_config_view *view = hop->use->snapshot->view;
    const struct th_gate_decision *decision = &hop->decision;

    *ret_claims = NULL;
    if ((view->policy_concerns[decision->route.connection->index] & TH_POLICY_ASKS_CLAIMS) == 0)
        return 0;
    *ret_claims = room;
    *room = (struct th_policy_claims){.subject = decision->action == TH_GATE_REFUSE
                                                     ? TH_POLICY_SUBJECT_UNKNOWN
                                                     : TH_POLICY_SUBJECT_OPAQUE};
    if (!hop->subject_known)
        return 0;
    if (hop->use->memo == NULL)
        hop->use->memo = th_policy_memo_new(); /* without, it is read each time */
    return th_policy_memo_read(hop->use->memo, view, hop->key.subject, decision->subject_token,
                               room, ret_claims);
}

static void count(const struct th_hop *hop, const struct th_policy_rule *rule,
                  enum th_metric_policy result)
{
    const struct th_snapshot *snapshot = hop->use->snapshot;

    if (snapshot->rule_rows != NULL)
        th_metrics_count_policy(
            hop->desk->metrics,
            snapshot->rule_rows[rule != NULL ? rule->index : snapshot->view->n_policy], result);
}

static int note_dry_run(struct th_hop *hop)
{
    const struct th_policy_rule *rule = hop->verdict.dry_rule;

    count(hop, rule, TH_METRIC_POLICY_WOULD_DENY);
    TH_LOG(hop->desk->worker->log, TH_LEVEL_INFO, "policy.would_deny",
           "A rule of a dry run would have refused a request",
           TH_LOG_STR("rule", rule != NULL ? rule->name : TH_STR("(default)")),
           TH_LOG_STR("connection", hop->decision.route.connection->name),
           TH_LOG_STR("agent", hop->agent->name));
    return th_hop_audit_dry_run(hop);
}

/* Whether the policy is asked. It is not about public paths, which bear no credential and ask for no token,
 * nor about what no connection is met by, and what goes nowhere. Where the token lacks, a rule that denies
 * whatever it says goes before asking for it. */
static bool is_concerned(const struct th_hop *hop)
{
    const struct th_gate_decision *decision = &hop->decision;

    switch (decision->action) {
    case TH_GATE_CREDENTIAL:
    case TH_GATE_PASSTHROUGH:
        return true;
    case TH_GATE_PUBLIC:
        return !decision->is_public_path;
    case TH_GATE_REFUSE:
        return decision->route.scope != NULL && (decision->error == TH_E_SUBJECT_MISSING ||
                                                 decision->error == TH_E_SUBJECT_MALFORMED);
    case TH_GATE_ANSWER: /* to a data plane it is no answer, but leave to go on */
        return th_target_is_question(hop) && decision->route.connection != NULL &&
               !decision->is_public_path;
    case TH_GATE_FORWARD:
        break;
    }
    return false;
}

static int refuse(struct th_hop *hop, int error, const char *detail)
{
    hop->decision.action = TH_GATE_REFUSE;
    hop->decision.error = error;
    hop->detail = detail;
    return error;
}

static int decide(struct th_hop *hop, const struct th_config_connection *variant,
                  struct th_policy_verdict *ret_verdict)
{
    struct th_policy_claims room;
    struct th_policy_request request = {.caller = hop->caller,
                                        .agent = hop->agent,
                                        .connection = variant,
                                        .method = th_target_method(hop),
                                        .path = hop->url.path,
                                        .wall_ms = th_clock_wall_ms(hop->desk->worker->clock)};
    int error = read_claims(hop, &room, &request.claims);
    if (error == 0)
        th_policy_decide(hop->use->snapshot->view, &request, ret_verdict);
    return error;
}

bool th_hop_policy_permits(struct th_hop *hop, const struct th_config_connection *variant)
{
    struct th_policy_verdict verdict;

    if (hop->use->snapshot->view->n_policy == 0)
        return true;
    if (decide(hop, variant, &verdict) < 0 ||
        (verdict.result != TH_POLICY_ALLOWED && verdict.result != TH_POLICY_UNCONCERNED))
        return false;
    hop->asked = variant; /* a decision of its own, and recorded as such */
    hop->verdict = verdict;
    if (verdict.result == TH_POLICY_ALLOWED)
        count(hop, verdict.rule, TH_METRIC_POLICY_ALLOWED);
    return !verdict.would_deny || note_dry_run(hop) == 0;
}

/* 0, or the error that it is denied with, and *ret_detail; a denial is counted as `denied`. */
static int judge(struct th_hop *hop, enum th_metric_policy denied, const char **ret_detail)
{
    const struct th_config_connection *connection = hop->decision.route.connection;
    struct th_policy_verdict *verdict = &hop->verdict;

    *ret_detail = NULL;
    int error = decide(hop, hop->asked != NULL ? hop->asked : connection, verdict);
    if (error < 0)
        return error;
    switch (verdict->result) {
    case TH_POLICY_AMBIGUOUS:
        *ret_detail = two_ways;
        return TH_E_BAD_TARGET;
    case TH_POLICY_DENIED:
        count(hop, verdict->rule, denied);
        *ret_detail = verdict->rule != NULL ? verdict->rule->refusal : by_default;
        return TH_E_POLICY_DENIED;
    case TH_POLICY_ALLOWED:
        if (hop->decision.action != TH_GATE_REFUSE)
            count(hop, verdict->rule, TH_METRIC_POLICY_ALLOWED);
        break;
    case TH_POLICY_UNCONCERNED:
        break;
    }
    return 0;
}

int th_hop_ask_policy(struct th_hop *hop)
{
    const char *detail;

    if (!is_concerned(hop))
        return 0;
    int error = judge(hop, TH_METRIC_POLICY_DENIED, &detail);
    if (error == 0 && hop->verdict.would_deny && hop->decision.action != TH_GATE_REFUSE)
        error = note_dry_run(hop);
    return error < 0 ? refuse(hop, error, detail) : 0;
}

int th_hop_try_policy(struct th_hop *hop, const char **ret_detail)
{
    *ret_detail = NULL;
    if (hop->use->snapshot->view->n_policy == 0 || !is_concerned(hop))
        return 0;
    int error = judge(hop, TH_METRIC_POLICY_WOULD_DENY, ret_detail);
    /* What cannot be written down keeps nobody from going on. */
    if (error == 0 && hop->verdict.would_deny && hop->decision.action != TH_GATE_REFUSE)
        (void)(note_dry_run(hop) < 0);
    return error;
}
