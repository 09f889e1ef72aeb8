/* The policy's rules: names become sets, the rest is taken over. */
#include <stdio.h>

#include "policy.h"
#include "tokenhop/config/nearest.h"

const struct th_str *th_build_texts(struct th_loader *loader, const struct th_raw_list *raw,
                                    size_t *ret_n)
{
    struct th_str *texts = th_loader_alloc(loader, raw->n, sizeof *texts);
    *ret_n = 0;
    for (size_t i = 0; texts != NULL && i < raw->n; i++) {
        if (raw->items[i].ptr != NULL)
            texts[(*ret_n)++] = raw->items[i];
    }
    return texts;
}

/* --- sets of names --- */

struct kind {
    const char *key;
    const char *text;
    size_t (*count)(const struct th_config_view *view);
    struct th_str (*name)(const struct th_config_view *view, size_t index);
};

static size_t count_callers(const struct th_config_view *view)
{
    return view->n_callers;
}
static struct th_str name_caller(const struct th_config_view *view, size_t index)
{
    return view->callers[index].name;
}
static size_t count_agents(const struct th_config_view *view)
{
    return view->n_agents;
}
static struct th_str name_agent(const struct th_config_view *view, size_t index)
{
    return view->agents[index].name;
}
static size_t count_connections(const struct th_config_view *view)
{
    return view->n_connections;
}
static struct th_str name_connection(const struct th_config_view *view, size_t index)
{
    return view->connections[index].name;
}

static const struct kind callers_kind = {"caller", "caller", count_callers, name_caller};
static const struct kind agents_kind = {"agent", "agent", count_agents, name_agent};
static const struct kind connections_kind = {"connection", "connection", count_connections,
                                             name_connection};

static void report_unknown(struct th_loader *l, const struct kind *kind, struct th_str wanted,
                           uint32_t place)
{
    const struct th_config_view *view = &l->config->view;
    struct th_nearest nearest;
    char mend[200];
    th_nearest_init(&nearest, wanted);
    for (size_t i = 0; i < kind->count(view); i++)
        th_nearest_offer(&nearest, kind->name(view, i));
    if (nearest.best.len > 0)
        snprintf(mend, sizeof mend, "did you mean \"%.*s\"?", TH_STR_ARGS(nearest.best));
    else if (kind->count(view) > 0)
        snprintf(mend, sizeof mend, "one there is: \"%.*s\"", TH_STR_ARGS(kind->name(view, 0)));
    else
        snprintf(mend, sizeof mend, "there are none at all");
    th_loader_report(l, place, mend, "there is no %s of this name", kind->text);
}

static size_t find_name(const struct th_config_view *view, const struct kind *kind,
                        struct th_str name)
{
    size_t i = 0;
    while (i < kind->count(view) && !th_str_equal(kind->name(view, i), name))
        i++;
    return i;
}

static const uint64_t *build_set(struct th_loader *l, const struct kind *kind,
                                 const struct th_raw_list *raw, uint32_t place)
{
    const struct th_config_view *view = &l->config->view;
    size_t n = kind->count(view);
    if (raw->n == 0)
        return NULL;
    uint64_t *set = th_loader_alloc(l, n / 64 + 1, sizeof *set);
    for (size_t i = 0; set != NULL && i < raw->n; i++) {
        if (raw->items[i].ptr == NULL)
            continue;
        size_t at = find_name(view, kind, raw->items[i]);
        if (at == n)
            report_unknown(l, kind, raw->items[i], th_loader_item(l, place, kind->key, i));
        else
            set[at / 64] |= (uint64_t)1 << at % 64;
    }
    return set;
}

/* --- methods and paths --- */

static const char *method_mistake(struct th_str method, const char **ret_mend)
{
    static const char *const usual[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    *ret_mend = "write its name as requests have it: \"POST\"";
    for (size_t i = 0; i < method.len; i++) {
        char c = method.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!is_alnum && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return "this is not the name of a method";
    }
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        struct th_str name = th_str_of(usual[i]);
        if (th_str_equal_nocase(method, name) && !th_str_equal(method, name))
            return "methods are in capital letters, and no other way of writing one is the same";
    }
    *ret_mend = "leave it out";
    if (th_str_equal(method, TH_STR("TRACE")))
        return "TRACE never reaches a connection";
    if (th_str_equal(method, TH_STR("CONNECT")))
        return "rules are asked for each request inside of a tunnel, not for the tunnel";
    return NULL;
}

static void build_methods(struct th_loader *l, const struct th_raw_policy_rule *raw,
                          struct th_policy_rule *rule)
{
    rule->methods = th_build_texts(l, &raw->methods, &rule->n_methods);
    for (size_t i = 0; i < raw->methods.n; i++) {
        const char *mend, *what = NULL;
        if (raw->methods.items[i].ptr != NULL)
            what = method_mistake(raw->methods.items[i], &mend);
        if (what != NULL)
            th_loader_report(l, th_loader_item(l, raw->head.place, "methods", i), mend, "%s", what);
    }
}

/* As requests mostly have them (RFC 3986, 6.2.2.1); in what is the snapshot's own copy. */
static void raise_encodings(char *path)
{
    for (; *path != '\0'; path++) {
        for (int i = 1; *path == '%' && i <= 2 && path[i] != '\0'; i++) {
            if (path[i] >= 'a' && path[i] <= 'f')
                path[i] = (char)(path[i] - 'a' + 'A');
        }
    }
}

static void build_paths(struct th_loader *l, const struct th_raw_policy_rule *raw,
                        struct th_policy_rule *rule)
{
    rule->paths = th_build_texts(l, &raw->paths, &rule->n_paths);
    for (size_t i = 0; i < rule->n_paths; i++)
        raise_encodings((char *)(uintptr_t)rule->paths[i].ptr);
    for (size_t i = 0; i < rule->n_paths; i++) {
        if (strchr(rule->paths[i].ptr, ';') != NULL || strstr(rule->paths[i].ptr, "%3B") != NULL)
            th_loader_report(l, th_loader_item(l, raw->head.place, "paths", i),
                             "leave out ';' and what follows it in the segment",
                             "some destinations take what follows ';' for a parameter, and no part "
                             "of the path");
    }
}

/* --- the rules --- */

static void build_names(struct th_loader *l, const struct th_raw_policy_rule *raw,
                        struct th_policy_rule *rule, size_t index)
{
    const char *text = NULL;
    rule->index = (uint32_t)index;
    rule->name = raw->head.name;
    if (rule->name.ptr == NULL) {
        text = th_arena_printf(l->arena, "policy[%zu]", index);
        l->nomem |= text == NULL;
        rule->name = th_str_of(text);
    }
    rule->reason = raw->reason;
    rule->refusal = raw->reason.ptr != NULL
                        ? raw->reason.ptr
                        : th_arena_printf(l->arena, "the policy's rule \"%.*s\" denies it",
                                          TH_STR_ARGS(rule->name));
    l->nomem |= rule->refusal == NULL;
}

static void check_name(struct th_loader *l, const struct th_policy_rule *rules, size_t index,
                       uint32_t place)
{
    for (size_t i = 0; i < index; i++) {
        if (th_str_equal(rules[i].name, rules[index].name))
            th_loader_report(l, th_loader_member(l, place, "name"), "give it another name",
                             "two rules have the name \"%.*s\"", TH_STR_ARGS(rules[i].name));
    }
}

static void build_rule(struct th_loader *l, const struct th_raw_policy_rule *raw,
                       struct th_policy_rule *rule)
{
    uint32_t place = raw->head.place;
    rule->allows = raw->allows != 0;
    rule->is_dry = raw->dry_run || l->raw.policy_mode != 0;
    rule->callers = build_set(l, &callers_kind, &raw->callers, place);
    rule->agents = build_set(l, &agents_kind, &raw->agents, place);
    rule->connections = build_set(l, &connections_kind, &raw->connections, place);
    build_methods(l, raw, rule);
    build_paths(l, raw, rule);
    rule->scopes = th_build_texts(l, &raw->scopes, &rule->n_scopes);
    th_build_times(l, raw, rule);
    th_build_claims(l, raw, rule);
    if (rule->allows && raw->reason.ptr != NULL)
        th_loader_report(l, th_loader_member(l, place, "reason"), "leave it out",
                         "a rule that allows refuses nobody, and has no reason to tell");
}

static void tell_connections(struct th_loader *l, const struct th_policy_rule *rules, size_t n)
{
    size_t n_connections = l->config->view.n_connections;
    uint8_t *concerns = th_loader_alloc(l, n_connections, 1);
    for (size_t c = 0; concerns != NULL && c < n_connections; c++) {
        for (size_t i = 0; i < n; i++) {
            if (!th_policy_set_has(rules[i].connections, c))
                continue;
            concerns[c] |= TH_POLICY_TRIES;
            l->config->view.has_dry_policy |= rules[i].is_dry;
            if (!rules[i].is_dry)
                concerns[c] |= TH_POLICY_CONCERNS;
            if (rules[i].asks_claims)
                concerns[c] |= TH_POLICY_ASKS_CLAIMS;
        }
    }
    l->config->view.policy_concerns = concerns;
}

void th_build_policy(struct th_loader *loader)
{
    const struct th_raw_policy_rule *raw = loader->raw.policy.items;
    size_t n = loader->raw.policy.n, n_before = loader->mistakes->count;
    struct th_policy_rule *rules = th_loader_alloc(loader, n, sizeof *rules);
    bool *is_bad = th_loader_alloc(loader, n, sizeof *is_bad);
    if (rules == NULL || is_bad == NULL)
        return;
    for (size_t i = 0; i < n; i++) {
        size_t before = loader->mistakes->count;
        build_names(loader, &raw[i], &rules[i], i);
        check_name(loader, rules, i, raw[i].head.place);
        build_rule(loader, &raw[i], &rules[i]);
        is_bad[i] = loader->mistakes->count > before;
    }
    tell_connections(loader, rules, n);
    /* What is not made for some other mistake is unknown here for no fault of the rules. */
    if (!loader->nomem && n_before == 0)
        th_policy_check(loader, raw, rules, is_bad, n);
    loader->config->view.policy = rules;
    loader->config->view.n_policy = n;
}
