/* The metrics, as Prometheus reads them: the table's, and what is known here alone. */
#include <stdio.h>

#include "admin_private.h"

static void add_gauge(struct th_buf *out, const char *name, const char *help, int64_t value)
{
    th_buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %lld\n", name, help, name, name,
                  (long long)value);
}

/* Text format 0.0.4: in a label's value backslash, quote and line feed are escaped. */
static void add_label(struct th_buf *out, struct th_str value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '\n')
            th_buf_printf(out, "\\n");
        else if (c == '\\' || c == '"')
            th_buf_printf(out, "\\%c", c);
        else
            th_buf_add_char(out, c);
    }
}

static void add_breaker(void *arg, const struct th_breaker_shown *shown)
{
    struct th_buf *out = arg;
    th_buf_printf(out, "tokenhop_breaker_state{endpoint=\"");
    add_label(out, shown->endpoint);
    th_buf_printf(out, "\"} %d\n", (int)shown->state);
}

/* One series a server that has granted something: users have none, they are without bound. */
struct quota_row {
    const char *name, *help;
    uint64_t (*get)(const struct th_quota_shown *shown);
};

struct quota_page {
    struct th_buf *out;
    const struct quota_row *row;
};

static uint64_t get_exchanges(const struct th_quota_shown *shown)
{
    return shown->exchanges;
}

static uint64_t get_most(const struct th_quota_shown *shown)
{
    return shown->most;
}

static uint64_t get_warned(const struct th_quota_shown *shown)
{
    return shown->warned;
}

static uint64_t get_limit(const struct th_quota_shown *shown)
{
    return shown->limit;
}

static const struct quota_row quota_rows[] = {
    {"tokenhop_month_exchanges", "Exchanges that the server has granted in this month (UTC)",
     get_exchanges},
    {"tokenhop_month_user_exchanges_most", "Of these, those of the user who had most", get_most},
    {"tokenhop_month_users_warned", "Users who have reached the quota's warning in this month",
     get_warned},
    {"tokenhop_quota_user_exchanges", "Exchanges a user and month, as configured; 0: not said",
     get_limit},
};

static void add_quota(void *arg, const struct th_quota_shown *shown)
{
    const struct quota_page *page = arg;
    th_buf_printf(page->out, "%s{authorization_server=\"", page->row->name);
    add_label(page->out, shown->server);
    th_buf_printf(page->out, "\"} %llu\n", (unsigned long long)page->row->get(shown));
}

static void add_quotas(struct th_buf *out, struct th_quotas *quotas)
{
    for (size_t i = 0; i < TH_COUNT_OF(quota_rows); i++) {
        struct quota_page page = {out, &quota_rows[i]};
        th_buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", page.row->name, page.row->help,
                      page.row->name);
        th_quotas_show(quotas, add_quota, &page);
    }
}

/* --- callers and agents --- */

struct account_row {
    const char *name; /* after tokenhop_caller_ or tokenhop_agent_ */
    const char *type, *help;
    uint64_t (*get)(const struct th_account_figures *figures);
    bool of_agents;
};

struct account_page {
    struct th_buf *out;
    const struct account_row *row;
    enum th_account_kind kind;
    const char *prefix;
};

static uint64_t get_requests(const struct th_account_figures *figures)
{
    return figures->requests;
}

static uint64_t get_connections(const struct th_account_figures *figures)
{
    return figures->connections;
}

static uint64_t get_waiting(const struct th_account_figures *figures)
{
    return figures->waiting;
}

static uint64_t get_account_exchanges(const struct th_account_figures *figures)
{
    return figures->exchanges;
}

static const struct account_row account_rows[] = {
    {"requests_total", "counter", "Requests of a caller that has a name", get_requests, false},
    {"connections", "gauge", "Client connections that count for a limit of connections",
     get_connections, true},
    {"waiting", "gauge", "Requests that wait for an exchange", get_waiting, true},
    {"exchanges", "gauge", "Exchanges under way", get_account_exchanges, true},
    {"refused_total", "counter", "What was refused at a limit of its own, by the limit", NULL,
     true},
};

static void add_account(void *arg, enum th_account_kind kind, struct th_str name,
                        const struct th_account_figures *figures)
{
    const struct account_page *page = arg;

    if (kind != page->kind)
        return;
    for (size_t i = 0; i < (page->row->get != NULL ? 1 : TH_BOUND_COUNT); i++) {
        th_buf_printf(page->out, "tokenhop_%s_%s{%s=\"", page->prefix, page->row->name,
                      page->prefix);
        add_label(page->out, name);
        if (page->row->get == NULL)
            th_buf_printf(page->out, "\",limit=\"%s",
                          th_account_bound_name((enum th_account_bound)i));
        th_buf_printf(page->out, "\"} %llu\n",
                      (unsigned long long)(page->row->get != NULL ? page->row->get(figures)
                                                                  : figures->refused[i]));
    }
}

static void add_accounts(struct th_buf *out, struct th_accounts *accounts)
{
    static const char *const prefixes[] = {
        [TH_ACCOUNT_CALLER] = "caller", [TH_ACCOUNT_AGENT] = "agent"};

    for (size_t i = 0; i < TH_COUNT_OF(account_rows) * TH_ACCOUNT_KINDS; i++) {
        struct account_page page = {.out = out,
                                    .row = &account_rows[i / TH_ACCOUNT_KINDS],
                                    .kind = (enum th_account_kind)(i % TH_ACCOUNT_KINDS)};
        page.prefix = prefixes[page.kind];
        if (page.kind == TH_ACCOUNT_AGENT && !page.row->of_agents)
            continue;
        th_buf_printf(out, "# HELP tokenhop_%s_%s %s\n# TYPE tokenhop_%s_%s %s\n", page.prefix,
                      page.row->name, page.row->help, page.prefix, page.row->name, page.row->type);
        th_accounts_show(accounts, add_account, &page);
    }
}

static int64_t count_shadows(const struct th_config_view *config)
{
    int64_t n = 0;

    for (size_t i = 0; i < config->n_connections; i++)
        n += config->connections[i].shadow != TH_SHADOW_OFF;
    return n;
}

int th_route_metrics(struct th_admin_request *request, struct th_admin_answer *answer)
{
    struct th_admin *admin = request->admin;
    struct th_buf *out = &answer->body;
    struct th_admin_health health;

    answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
    th_admin_look(admin, &health);
    pthread_mutex_lock(&admin->lock);
    struct th_admin_loaded loaded = admin->loaded;
    pthread_mutex_unlock(&admin->lock);
    th_metrics_write_prometheus(admin->metrics, out);
    add_gauge(out, "tokenhop_workers", "Workers", (int64_t)health.n_workers);
    add_gauge(out, "tokenhop_workers_running", "Workers whose loop has turned in the last 10 s",
              (int64_t)health.n_running);
    add_gauge(out, "tokenhop_draining", "1 while no more connections are taken", health.draining);
    add_gauge(out, "tokenhop_configuration_loaded_timestamp_seconds",
              "When the configuration in force was loaded, since 1970",
              loaded.loaded_wall_ms / 1000);
    add_gauge(out, "tokenhop_configuration_refused",
              "1 when the last reload was refused and the configuration before is still in force",
              loaded.refused_wall_ms != 0);
    add_gauge(out, "tokenhop_connections_in_shadow",
              "Connections that are in shadow: nothing is enforced there",
              count_shadows(th_config_get(request->config)));
    th_buf_printf(out, "# HELP tokenhop_breaker_state Token endpoints that have failed: 0 closed, "
                       "1 open (at rest), 2 probing, 3 recovering\n"
                       "# TYPE tokenhop_breaker_state gauge\n");
    th_breakers_show(admin->breakers, add_breaker, out);
    add_quotas(out, th_broker_quotas(admin->broker));
    add_accounts(out, th_broker_accounts(admin->broker));
    return 0;
}
