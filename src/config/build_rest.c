/* Egress, unmatched, and the sections that need no more than a look. */
#include <sched.h>
#include <unistd.h>

#include "loader.h"
#include "text.h"

static void build_egress(struct th_loader *l)
{
    const struct th_raw_list *raw = &l->raw.egress.allow;
    struct th_config_network *allow = th_loader_alloc(l, raw->n, sizeof(*allow));
    uint32_t place = th_loader_member(l, 0, "egress");
    size_t used = 0;
    for (size_t i = 0; allow != NULL && i < raw->n; i++) {
        struct th_errinfo info = {0};
        if (raw->items[i].ptr == NULL)
            continue;
        if (th_text_to_network(raw->items[i], &allow[used], &info) < 0)
            th_loader_report_info(l, th_loader_item(l, place, "allow", i), &info);
        else
            used++;
    }
    l->config->view.egress.allow = allow;
    l->config->view.egress.n_allow = used;
}

static void build_connect_ports(struct th_loader *l)
{
    const struct th_raw_list *raw = &l->raw.egress.connect_ports;
    struct th_config_ports *ports = th_loader_alloc(l, raw->n, sizeof(*ports));
    size_t used = 0;
    for (size_t i = 0; ports != NULL && i < raw->n; i++) {
        struct th_errinfo info = {0}; /* what was wrong was reported when it was read */
        if (raw->items[i].ptr != NULL && th_text_to_ports(raw->items[i], &ports[used], &info) == 0)
            used++;
    }
    l->config->view.egress.connect_ports = ports;
    l->config->view.egress.n_connect_ports = used;
}

static void build_unmatched(struct th_loader *l)
{
    const struct th_raw_rule *raw = l->raw.unmatched.rules.items;
    size_t n = l->raw.unmatched.rules.n;
    struct th_config_unmatched_rule *rules = th_loader_alloc(l, n, sizeof(*rules));
    for (size_t i = 0; rules != NULL && i < n; i++) {
        struct th_errinfo info = {0};
        rules[i].action = (enum th_unmatched_action)raw[i].action;
        if (raw[i].url.ptr == NULL)
            continue;
        int r = th_config_parse_pattern(l->arena, raw[i].url, &rules[i].pattern, &info);
        if (r == TH_E_NOMEM)
            l->nomem = true;
        else if (r < 0)
            th_loader_report_info(l, th_loader_member(l, raw[i].head.place, "url"), &info);
    }
    l->config->view.unmatched = (enum th_unmatched_action)l->raw.unmatched.choice;
    l->config->view.unmatched_rules = rules;
    l->config->view.n_unmatched_rules = rules != NULL ? n : 0;
}

/* Those that this process may run on, which in a container can be fewer than the machine has. */
static uint64_t count_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        return (uint64_t)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint64_t)online : 1;
}

void th_build_rest(struct th_loader *loader)
{
    struct th_config_view *view = &loader->config->view;
    const struct th_raw_root *raw = &loader->raw;
    build_egress(loader);
    build_connect_ports(loader);
    build_unmatched(loader);
    view->origin = raw->origin;
    view->origin.ca_file =
        th_build_ca_file(loader, raw->origin.ca_file, th_loader_member(loader, 0, "origin"), NULL);
    view->origin.crl_file =
        th_build_crl_file(loader, raw->origin.crl_file, th_loader_member(loader, 0, "origin"));
    view->cache = raw->cache;
    view->timeouts = raw->timeouts;
    view->revoke_on_exit = raw->revoke_on_exit;
    view->revoke_on_removal = raw->revoke_on_removal;
    view->limits = raw->limits;
    view->files = raw->files;
    view->process = raw->process;
    view->hardening.seccomp = (enum th_config_seccomp)raw->hardening.seccomp;
    view->hardening.landlock = raw->hardening.landlock;
    view->log = raw->log;
    if (!th_str_equal(raw->log.access_file, TH_STR("-")))
        view->log.access_file = th_loader_file(loader, raw->log.access_file);
    if (!th_str_equal(raw->log.audit_file, TH_STR("-")))
        view->log.audit_file = th_loader_file(loader, raw->log.audit_file);
    view->workers = raw->workers != 0 ? raw->workers : count_cores();
    if (raw->cache.margin_ms >= raw->cache.max_lifetime_ms) {
        uint32_t place = th_loader_member(loader, 0, "cache");
        th_loader_report(loader, th_loader_member(loader, place, "margin"),
                         "make it smaller than \"max_lifetime\"",
                         "with this margin no credential would ever be kept");
    }
}
