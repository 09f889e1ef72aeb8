/* tokenhop explain: which rule of the policy decides, and why each before it does not. */
#include <stdio.h>
#include <time.h>

#include "explain.h"
#include "options.h"
#include "show.h"
#include "tokenhop/base/clock.h"
#include "tokenhop/cli/command.h"

/* --- arguments --- */

/* Seconds may be left out. */
static bool read_time(const char *text, int64_t *ret_ms)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S%z", &tm);

    if (end == NULL) {
        tm = (struct tm){0};
        end = strptime(text, "%Y-%m-%dT%H:%M%z", &tm);
    }
    if (end == NULL || *end != '\0')
        return false;
    int64_t ahead = tm.tm_gmtoff; /* which timegm() forgets */
    *ret_ms = ((int64_t)timegm(&tm) - ahead) * 1000;
    return true;
}

int th_explain_policy_read(const char *claims_file, const char *at,
                           struct th_explain_policy *ret_policy)
{
    json_error_t error;

    *ret_policy = (struct th_explain_policy){.wall_ms = th_clock_wall_ms(&th_clock_system)};
    if (at != NULL && !read_time(at, &ret_policy->wall_ms))
        return th_options_refuse("explain", "--at is no time; write it as 2026-01-31T09:30:00Z");
    if (claims_file == NULL)
        return TH_EXIT_FINE;
    ret_policy->claims = json_load_file(claims_file, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(ret_policy->claims))
        return TH_EXIT_FINE;
    json_decref(ret_policy->claims);
    return th_options_refuse("explain",
                             "the file of --claims is not one JSON object: line %d, "
                             "column %d",
                             error.line, error.column);
}

/* --- conditions --- */

static void show_list(const char *before, const struct th_str *texts, size_t n)
{
    fputs(before, stdout);
    for (size_t i = 0; i < n; i++) {
        fputs(i > 0 ? ", " : "", stdout);
        th_show_text(stdout, texts[i]);
    }
}

static const char *test_text(enum th_policy_test test)
{
    switch (test) {
    case TH_POLICY_EQUALS:
        return "equals";
    case TH_POLICY_CONTAINS:
        return "contains";
    case TH_POLICY_ANY_OF:
        return "has any of";
    }
    return "";
}

static void show_claim(const struct th_policy_claim *claim)
{
    putchar('"');
    th_show_text(stdout, claim->text);
    printf("\" %s ", test_text(claim->test));
    show_list("", claim->values, claim->n_values);
}

/* All that a rule asks of the token. */
static void show_claims(const struct th_policy_rule *rule)
{
    const char *parting = "";

    if (rule->n_issuers > 0) {
        show_list("iss is ", rule->issuers, rule->n_issuers);
        parting = "; ";
    }
    if (rule->max_chain >= 0) {
        printf("%sat most %d actors", parting, rule->max_chain);
        parting = "; ";
    }
    if (rule->n_any_actors > 0) {
        fputs(parting, stdout);
        show_list("an actor is ", rule->any_actors, rule->n_any_actors);
        parting = "; ";
    }
    if (rule->n_only_actors > 0) {
        fputs(parting, stdout);
        show_list("all actors are of ", rule->only_actors, rule->n_only_actors);
        parting = "; ";
    }
    for (size_t i = 0; i < rule->n_claims; i++) {
        fputs(parting, stdout);
        show_claim(&rule->claims[i]);
        parting = "; ";
    }
}

static void show_claim_miss(const struct th_policy_rule *rule, const json_t *claims)
{
    size_t at = 0;

    switch (th_policy_judge_claims(rule, claims, &at)) {
    case TH_POLICY_ISSUER_FAILS:
        show_list("the token is not issued by ", rule->issuers, rule->n_issuers);
        break;
    case TH_POLICY_CHAIN_FAILS:
        printf("more than %d actors", rule->max_chain);
        break;
    case TH_POLICY_ACTORS_FAIL:
        fputs("other actors", stdout);
        break;
    case TH_POLICY_CLAIM_FAILS:
        fputs("not so: ", stdout);
        show_claim(&rule->claims[at]);
        break;
    case TH_POLICY_CLAIMS_HOLD:
        break;
    }
}

static void show_miss(const struct th_policy_rule *rule, const struct th_policy_request *request,
                      enum th_policy_miss miss, const json_t *claims)
{
    switch (miss) {
    case TH_POLICY_OTHER_CONNECTION:
        fputs("for other connections", stdout);
        break;
    case TH_POLICY_OTHER_CALLER:
        fputs(request->caller != NULL ? "for other callers"
                                      : "for callers, and this listener asks for none",
              stdout);
        break;
    case TH_POLICY_OTHER_AGENT:
        fputs("for other agents", stdout);
        break;
    case TH_POLICY_OTHER_METHOD:
        show_list("another method: ", rule->methods, rule->n_methods);
        break;
    case TH_POLICY_OTHER_PATH:
        show_list("another path: ", rule->paths, rule->n_paths);
        break;
    case TH_POLICY_OTHER_SCOPES:
        show_list("the connection does not ask for all of ", rule->scopes, rule->n_scopes);
        break;
    case TH_POLICY_OTHER_TIME:
        fputs("another time: ", stdout);
        th_show_text(stdout, rule->time_text);
        break;
    case TH_POLICY_OTHER_CLAIMS:
        if (claims != NULL)
            show_claim_miss(rule, claims);
        else
            fputs("the subject token's claims decide", stdout);
        break;
    case TH_POLICY_IN_TWO_WAYS:
        fputs("the destination may read the method or path in two ways, and one of them is the "
              "rule's",
              stdout);
        break;
    case TH_POLICY_MATCHES:
        fputs(rule->allows ? "allows" : "denies", stdout);
        break;
    }
}

/* --- rules --- */

/* Whether the rule decides by what is not said: the claims, without which all else holds. */
static bool depends(const struct th_config_view *view, const struct th_policy_rule *rule,
                    const struct th_policy_request *request, const json_t *claims)
{
    struct th_policy_claims all = {.subject = TH_POLICY_SUBJECT_READ};
    struct th_policy_request lucky = *request;

    memset(all.holds, 0xff, sizeof all.holds);
    lucky.claims = &all;
    return rule->asks_claims && claims == NULL &&
           th_policy_judge(view, rule, &lucky) == TH_POLICY_MATCHES;
}

static void show_rule(const struct th_config_view *view, const struct th_policy_rule *rule,
                      const struct th_policy_request *request, bool decides, const json_t *claims)
{
    bool is_open = depends(view, rule, request, claims);

    printf("    %c %.*s%s: ",
           decides   ? '*'
           : is_open ? '?'
                     : '-',
           TH_STR_ARGS(rule->name), rule->is_dry ? " (dry run)" : "");
    if (is_open) {
        printf("%s, if of the subject token ", rule->allows ? "allows" : "denies");
        show_claims(rule);
    } else {
        show_miss(rule, request, th_policy_judge(view, rule, request), claims);
    }
    putchar('\n');
}

/* Those up to the one that decides for certain; what follows it is not asked. True where one before that depends
 * on claims that are not said. */
static bool show_rules(const struct th_config_view *view, const struct th_policy_request *request,
                       const json_t *claims)
{
    bool any_open = false, is_decided = false, concerned = false;

    for (size_t i = 0; i < view->n_policy && !is_decided; i++) {
        const struct th_policy_rule *rule = &view->policy[i];
        enum th_policy_miss miss = th_policy_judge(view, rule, request);
        bool is_open = depends(view, rule, request, claims);
        is_decided = !is_open && !rule->is_dry &&
                     (miss == TH_POLICY_MATCHES || miss == TH_POLICY_IN_TWO_WAYS);
        concerned |= !rule->is_dry && miss != TH_POLICY_OTHER_CONNECTION;
        any_open |= is_open && !rule->is_dry;
        show_rule(view, rule, request, is_decided, claims);
    }
    if (!is_decided && concerned)
        puts(
            "    * (default): denies what no rule matches, as there are rules for this connection");
    return any_open;
}

static int tell(const struct th_policy_verdict *verdict, bool depends_on_claims)
{
    if (verdict->would_deny && !depends_on_claims)
        printf("    in the dry run it would be denied, by \"%.*s\"\n",
               verdict->dry_rule != NULL ? (int)verdict->dry_rule->name.len : 9,
               verdict->dry_rule != NULL ? verdict->dry_rule->name.ptr : "(default)");
    switch (verdict->result) {
    case TH_POLICY_DENIED:
        if (verdict->rule != NULL && verdict->rule->reason.len > 0)
            th_show_value("  reason: ", verdict->rule->reason);
        return TH_E_POLICY_DENIED;
    case TH_POLICY_AMBIGUOUS:
        return TH_E_BAD_TARGET;
    case TH_POLICY_ALLOWED:
        if (depends_on_claims)
            puts("    so it depends on the subject token: --claims FILE says what is in it");
        else if (verdict->rule->asks_claims)
            puts("    if the authorization server has vouched for these claims, by exchanging the "
                 "token");
        break;
    case TH_POLICY_UNCONCERNED:
        break;
    }
    return 0;
}

int th_explain_policy(const struct th_config_view *view, const struct th_policy_request *request,
                      const struct th_explain_policy *policy)
{
    const uint8_t concerns =
        view->n_policy > 0 ? view->policy_concerns[request->connection->index] : 0;
    struct th_policy_claims claims = {.subject = TH_POLICY_SUBJECT_UNKNOWN};
    struct th_policy_request asked = *request;
    struct th_policy_verdict verdict;

    if (view->n_policy == 0)
        return 0;
    if ((concerns & TH_POLICY_CONCERNS) == 0)
        puts("  policy: no rule is for this connection, so it allows");
    if ((concerns & TH_POLICY_TRIES) == 0)
        return 0;
    if (policy->claims != NULL)
        th_policy_read_claims(view, policy->claims, &claims);
    asked.claims = &claims;
    th_policy_decide(view, &asked, &verdict);
    if ((concerns & TH_POLICY_CONCERNS) != 0)
        puts("  policy");
    bool any_open = show_rules(view, &asked, policy->claims);
    return tell(&verdict, any_open);
}
