/* The policy's evaluation: each condition by itself, and rules at random against the plainest way to say what
 * they mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tokenhop/base/check.h"
#include "tokenhop/gate/policy.h"

#define N_AGENTS 3
#define N_CALLERS 4
#define N_CONNECTIONS 4
#define N_RULES 6

static const struct th_str scopes[] = {TH_STR("a"), TH_STR("b"), TH_STR("c")};
static struct th_config_agent agents[N_AGENTS];
static const struct th_config_caller callers[N_CALLERS] = {
    {.agent = &agents[0]}, {.agent = &agents[0]}, {.agent = &agents[1]}, {.agent = &agents[2]}};
/* The first asks for no scope, the last for three. */
static const struct th_config_connection connections[N_CONNECTIONS] = {
    {.index = 0, .scopes = scopes, .n_scopes = 0},
    {.index = 1, .scopes = scopes, .n_scopes = 1},
    {.index = 2, .scopes = scopes, .n_scopes = 2},
    {.index = 3, .scopes = scopes, .n_scopes = 3}};
static const struct th_str methods[] = {TH_STR("GET"), TH_STR("POST"), TH_STR("DELETE")};
static const struct th_str rule_paths[] = {TH_STR("/"),    TH_STR("/a"),     TH_STR("/a/"),
                                           TH_STR("/a/b"), TH_STR("/a/b/c"), TH_STR("/b")};
static const struct th_str paths[] = {TH_STR("/"),   TH_STR("/a"),       TH_STR("/a/b"),
                                      TH_STR("/ab"), TH_STR("/a/b/c/d"), TH_STR("/b/a"),
                                      TH_STR("/c")};
static const struct th_str issuers[] = {TH_STR("https://i1"), TH_STR("https://i2")};
static const struct th_str names[] = {TH_STR("x"), TH_STR("y"), TH_STR("z")};

static const char *const claim_texts[] = {
    "{}",
    "{\"iss\":\"https://i1\",\"g\":[\"x\",\"y\"],\"s\":\"x\"}",
    "{\"iss\":\"https://i2\",\"g\":\"x\",\"s\":\"y\",\"act\":{\"sub\":\"x\"}}",
    "{\"iss\":\"https://i1\",\"g\":[\"z\"],\"act\":{\"sub\":\"x\",\"act\":{\"sub\":\"y\"}}}",
    "{\"g\":[],\"s\":[\"x\"],\"act\":{\"sub\":\"z\",\"act\":{\"act\":{\"sub\":\"x\"}}}}",
    "{\"g\":{\"x\":1},\"s\":\"z\",\"act\":\"x\"}",
    "{\"g\":[\"x\",\"y\",\"z\"],\"s\":\"x y\",\"act\":null}",
};
#define N_CLAIMS TH_COUNT_OF(claim_texts)
static json_t *claims[N_CLAIMS];

/* --- at random --- */

static uint64_t seed = 20260101;

static unsigned any(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % n;
}

/* What a rule of the test points into. */
struct rule_room {
    uint64_t callers, agents, connections;
    struct th_str methods[2], paths[2], scopes[2], issuers[2], any_actors[2], only_actors[2];
    struct th_policy_claim claims[2];
    struct th_str steps[2];
    struct th_str values[2][2];
    uint8_t minutes[TH_POLICY_WEEK_MINUTES / 8];
};

static const uint64_t *any_set(uint64_t *room, unsigned n)
{
    if (any(2) == 0)
        return NULL;
    *room = 1 + any((1u << n) - 1);
    return room;
}

static const struct th_str *any_texts(struct th_str room[2], const struct th_str *of, unsigned n_of,
                                      unsigned odds, size_t *ret_n)
{
    *ret_n = any(odds) == 0 ? 1 + any(2) : 0;
    for (size_t i = 0; i < *ret_n; i++)
        room[i] = of[any(n_of)];
    return room;
}

static void any_claim(struct rule_room *room, size_t i)
{
    struct th_policy_claim *claim = &room->claims[i];

    room->steps[i] = any(2) == 0 ? TH_STR("g") : TH_STR("s");
    claim->steps = &room->steps[i];
    claim->n_steps = 1;
    claim->test = (enum th_policy_test)any(3);
    claim->values = room->values[i];
    claim->n_values = claim->test == TH_POLICY_ANY_OF ? 1 + any(2) : 1;
    for (size_t k = 0; k < 2; k++)
        room->values[i][k] = names[any(TH_COUNT_OF(names))];
}

static void any_rule(struct th_policy_rule *rule, struct rule_room *room, uint32_t index)
{
    memset(room, 0, sizeof *room);
    *rule = (struct th_policy_rule){.index = index, .allows = any(2) == 0, .is_dry = any(5) == 0};
    rule->callers = any_set(&room->callers, N_CALLERS);
    rule->agents = any_set(&room->agents, N_AGENTS);
    rule->connections = any_set(&room->connections, N_CONNECTIONS);
    rule->methods = any_texts(room->methods, methods, TH_COUNT_OF(methods), 3, &rule->n_methods);
    rule->paths = any_texts(room->paths, rule_paths, TH_COUNT_OF(rule_paths), 3, &rule->n_paths);
    rule->scopes = any_texts(room->scopes, scopes, TH_COUNT_OF(scopes), 4, &rule->n_scopes);
    rule->issuers = any_texts(room->issuers, issuers, TH_COUNT_OF(issuers), 6, &rule->n_issuers);
    rule->any_actors = any_texts(room->any_actors, names, 3, 6, &rule->n_any_actors);
    rule->only_actors = any_texts(room->only_actors, names, 3, 6, &rule->n_only_actors);
    rule->max_chain = any(5) == 0 ? (int)any(3) : -1;
    rule->claims = room->claims;
    rule->n_claims = any(3) == 0 ? 1 + any(2) : 0;
    for (size_t i = 0; i < rule->n_claims; i++)
        any_claim(room, i);
    if (any(4) == 0) { /* some days of the week */
        unsigned days = 1 + any(127);
        for (unsigned m = 0; m < TH_POLICY_WEEK_MINUTES; m++)
            room->minutes[m / 8] |= (uint8_t)((days >> m / 1440 & 1) << m % 8);
        rule->minutes = room->minutes;
    }
    rule->asks_claims = rule->n_claims > 0 || rule->n_issuers > 0 || rule->max_chain >= 0 ||
                        rule->n_any_actors > 0 || rule->n_only_actors > 0;
}

struct random_request {
    struct th_policy_request request;
    struct th_policy_claims claims;
    const json_t *json; /* NULL: opaque, or unknown */
    unsigned day;       /* 0: Monday */
};

static void any_request(const struct th_config_view *view, struct random_request *r)
{
    *r = (struct random_request){0};
    size_t caller = any(N_CALLERS + 1);
    r->request.caller = caller < N_CALLERS ? &callers[caller] : NULL;
    r->request.agent = caller < N_CALLERS ? callers[caller].agent : &agents[any(N_AGENTS)];
    r->request.connection = &connections[any(N_CONNECTIONS)];
    r->request.method = methods[any(TH_COUNT_OF(methods))];
    r->request.path = paths[any(TH_COUNT_OF(paths))];
    r->day = any(7);
    /* 2026-11-23 was a Monday */
    r->request.wall_ms = INT64_C(1795392000000) + r->day * INT64_C(86400000) + any(86400000);
    size_t at = any(N_CLAIMS + 1);
    r->claims.subject = TH_POLICY_SUBJECT_OPAQUE;
    if (at < N_CLAIMS) {
        r->json = claims[at];
        th_policy_read_claims(view, claims[at], &r->claims);
    }
    r->request.claims = &r->claims;
}

/* --- the plainest way --- */

static bool among(const struct th_str *texts, size_t n, const char *text)
{
    bool found = false;
    for (size_t i = 0; i < n && text != NULL; i++)
        found |= texts[i].len == strlen(text) && strncmp(texts[i].ptr, text, texts[i].len) == 0;
    return found;
}

/* A list that has it may be taken for the value, and an object for anything: by who denies alone. */
static bool plain_claim(const struct th_policy_rule *rule, const struct th_policy_claim *claim,
                        const json_t *json)
{
    const json_t *value = json_object_get(json, claim->steps[0].ptr);
    if (json_is_object(value))
        return !rule->allows;
    if (json_is_string(value))
        return among(claim->values, claim->n_values, json_string_value(value));
    bool found = false;
    bool looks_in = claim->test != TH_POLICY_EQUALS || !rule->allows;
    for (size_t i = 0; looks_in && i < json_array_size(value); i++)
        found |= among(claim->values, claim->n_values, json_string_value(json_array_get(value, i)));
    return found;
}

static bool plain_claims(const struct th_policy_rule *rule, const json_t *json)
{
    const char *chain[8];
    int n = 0;
    bool fine = true, is_met = false;
    const json_t *act = json_object_get(json, "act");
    for (; act != NULL && !json_is_null(act); act = json_object_get(act, "act")) {
        const char *sub = json_string_value(json_object_get(act, "sub"));
        chain[n++] = sub != NULL ? sub : "";
    }
    for (int i = 0; i < n; i++) {
        is_met |= among(rule->any_actors, rule->n_any_actors, chain[i]);
        fine &= rule->n_only_actors == 0 || among(rule->only_actors, rule->n_only_actors, chain[i]);
    }
    fine &= is_met || rule->n_any_actors == 0;
    fine &= rule->max_chain < 0 || n <= rule->max_chain;
    fine &= rule->n_issuers == 0 ||
            among(rule->issuers, rule->n_issuers, json_string_value(json_object_get(json, "iss")));
    for (size_t i = 0; i < rule->n_claims; i++)
        fine &= plain_claim(rule, &rule->claims[i], json);
    return fine;
}

static bool plain_path(const struct th_policy_rule *rule, struct th_str path)
{
    bool found = rule->n_paths == 0;
    for (size_t i = 0; i < rule->n_paths; i++) {
        char wanted[16], has[24];
        snprintf(wanted, sizeof wanted, "%.*s", TH_STR_ARGS(rule->paths[i]));
        snprintf(has, sizeof has, "%.*s", TH_STR_ARGS(path));
        if (wanted[strlen(wanted) - 1] != '/')
            strcat(wanted, "/");
        if (has[strlen(has) - 1] != '/')
            strcat(has, "/");
        found |= strncmp(has, wanted, strlen(wanted)) == 0;
    }
    return found;
}

static bool plain_match(const struct th_policy_rule *rule, const struct random_request *r)
{
    const struct th_policy_request *q = &r->request;
    bool fine = true;
    if (rule->connections != NULL)
        fine &= *rule->connections >> q->connection->index & 1;
    if (rule->callers != NULL)
        fine &= q->caller != NULL && (*rule->callers >> (q->caller - callers) & 1);
    if (rule->agents != NULL)
        fine &= *rule->agents >> (q->agent - agents) & 1;
    fine &= rule->n_methods == 0 || among(rule->methods, rule->n_methods, q->method.ptr);
    fine &= plain_path(rule, q->path);
    for (size_t i = 0; i < rule->n_scopes; i++) /* "a", "b", "c" */
        fine &= (size_t)(rule->scopes[i].ptr[0] - 'a') < q->connection->n_scopes;
    if (rule->minutes != NULL)
        fine &= rule->minutes[r->day * 180] != 0;
    if (rule->asks_claims)
        fine &= r->json != NULL ? plain_claims(rule, r->json) : !rule->allows;
    return fine;
}

/* 1 allowed, 0 denied, -1 unconcerned */
static int plain_decide(const struct th_policy_rule *rules, const struct random_request *r,
                        bool dry, const struct th_policy_rule **ret_rule)
{
    int found = -1;
    *ret_rule = NULL;
    for (size_t i = 0; i < N_RULES; i++) {
        const struct th_policy_rule *rule = &rules[i];
        if (rule->is_dry && !dry)
            continue;
        if (rule->connections == NULL || (*rule->connections >> r->request.connection->index & 1))
            found = 0;
        if (plain_match(rule, r)) {
            *ret_rule = rule;
            return rule->allows;
        }
    }
    return found;
}

/* --- the properties --- */

struct world {
    struct th_config_view view;
    struct th_policy_rule rules[N_RULES];
    struct rule_room rooms[N_RULES];
    uint8_t concerns[N_CONNECTIONS];
};

static void tell_concerns(struct world *w)
{
    memset(w->concerns, 0, sizeof w->concerns);
    w->view.has_dry_policy = false;
    for (size_t i = 0; i < w->view.n_policy; i++) {
        w->view.has_dry_policy |= w->rules[i].is_dry;
        for (size_t c = 0; c < N_CONNECTIONS; c++)
            if (th_policy_set_has(w->rules[i].connections, c))
                w->concerns[c] |= TH_POLICY_TRIES | (w->rules[i].is_dry ? 0 : TH_POLICY_CONCERNS);
    }
}

static void begin_world(struct world *w)
{
    w->view = (struct th_config_view){.agents = agents,
                                      .n_agents = N_AGENTS,
                                      .callers = callers,
                                      .n_callers = N_CALLERS,
                                      .connections = connections,
                                      .n_connections = N_CONNECTIONS,
                                      .policy = w->rules,
                                      .n_policy = N_RULES,
                                      .policy_concerns = w->concerns};
}

static void any_world(struct world *w)
{
    begin_world(w);
    for (uint32_t i = 0; i < N_RULES; i++)
        any_rule(&w->rules[i], &w->rooms[i], i);
    tell_concerns(w);
}

static void test_as_the_plainest_way(void **state)
{
    static struct world w;
    unsigned n_of[3] = {0}, n_would = 0;

    for (unsigned run = 0; run < 4000; run++) {
        any_world(&w);
        for (unsigned i = 0; i < 40; i++) {
            struct random_request r;
            struct th_policy_verdict verdict;
            const struct th_policy_rule *rule, *dry_rule;
            any_request(&w.view, &r);
            int plain = plain_decide(w.rules, &r, false, &rule);
            int dry = plain_decide(w.rules, &r, true, &dry_rule);
            th_policy_decide(&w.view, &r.request, &verdict);
            assert_int_equal(verdict.result, plain < 0    ? TH_POLICY_UNCONCERNED
                                             : plain == 0 ? TH_POLICY_DENIED
                                                          : TH_POLICY_ALLOWED);
            assert_ptr_equal(verdict.rule, rule);
            assert_int_equal(verdict.would_deny, plain != 0 && dry == 0);
            if (verdict.would_deny)
                assert_ptr_equal(verdict.dry_rule, dry_rule);
            n_of[plain + 1]++;
            n_would += verdict.would_deny;
        }
    }
    /* each has been seen, and not by accident */
    assert_true(n_of[0] > 100 && n_of[1] > 10000 && n_of[2] > 10000 && n_would > 1000);
}

/* Whatever is covered is never matched but where what covers it matches too. */
static void test_covered_is_never_reached(void **state)
{
    static struct world w;
    unsigned n_covered = 0, n_matched = 0;

    for (unsigned run = 0; run < 30000; run++) {
        any_world(&w);
        for (uint32_t i = 1; i < N_RULES; i++) {
            assert_true(th_policy_rule_is_covered(&w.view, &w.rules[i], &w.rules[i]));
            if (!th_policy_rule_is_covered(&w.view, &w.rules[i], &w.rules[i - 1]))
                continue;
            n_covered++;
            for (unsigned k = 0; k < 60; k++) {
                struct random_request r;
                any_request(&w.view, &r);
                if (th_policy_judge(&w.view, &w.rules[i], &r.request) != TH_POLICY_MATCHES)
                    continue;
                n_matched++;
                assert_int_equal(th_policy_judge(&w.view, &w.rules[i - 1], &r.request),
                                 TH_POLICY_MATCHES);
            }
        }
    }
    assert_true(n_covered > 200 && n_matched > 500);
}

/* What is denied before the token is known is denied whatever it says. */
static void test_denied_without_the_token(void **state)
{
    static struct world w;
    unsigned n_denied = 0;

    for (unsigned run = 0; run < 4000; run++) {
        struct random_request r;
        struct th_policy_verdict verdict;
        any_world(&w);
        any_request(&w.view, &r);
        r.claims.subject = TH_POLICY_SUBJECT_UNKNOWN;
        th_policy_decide(&w.view, &r.request, &verdict);
        if (verdict.result != TH_POLICY_DENIED)
            continue;
        n_denied++;
        for (size_t at = 0; at <= N_CLAIMS; at++) {
            r.claims = (struct th_policy_claims){.subject = TH_POLICY_SUBJECT_OPAQUE};
            if (at < N_CLAIMS)
                th_policy_read_claims(&w.view, claims[at], &r.claims);
            th_policy_decide(&w.view, &r.request, &verdict);
            assert_int_equal(verdict.result, TH_POLICY_DENIED);
        }
    }
    assert_true(n_denied > 500);
}

static int parse_claims(void **state)
{
    for (size_t i = 0; i < N_CLAIMS; i++) {
        claims[i] = json_loads(claim_texts[i], 0, NULL);
        assert_non_null(claims[i]);
    }
    return 0;
}

static int drop_claims(void **state)
{
    for (size_t i = 0; i < N_CLAIMS; i++)
        json_decref(claims[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_plainest_way),
        cmocka_unit_test(test_covered_is_never_reached),
        cmocka_unit_test(test_denied_without_the_token),
    };
    return cmocka_run_group_tests(tests, parse_claims, drop_claims);
}
