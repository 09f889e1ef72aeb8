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
    th_buf_printf(out, "# HELP tokenhop_breaker_state Token endpoints that have failed: 0 closed, "
                       "1 open (at rest), 2 probing, 3 recovering\n"
                       "# TYPE tokenhop_breaker_state gauge\n");
    th_breakers_show(admin->breakers, add_breaker, out);
    return 0;
}
