/* Listeners: where they are, and whom their callers act as. */
#include "loader.h"
#include "text.h"

static bool same_address(const struct th_config_listener *a, const struct th_config_listener *b)
{
    return a->address_len > 0 && a->address_len == b->address_len &&
           memcmp(&a->address, &b->address, a->address_len) == 0;
}

static void check_listener(struct th_loader *l, const struct th_config_listener *listeners,
                           size_t i, uint32_t place)
{
    for (size_t j = 0; j < i; j++) {
        if (listeners[i].name.ptr != NULL && th_str_equal(listeners[i].name, listeners[j].name))
            th_loader_report(l, th_loader_member(l, place, "name"), "give it another name",
                             "two listeners have the name \"%.*s\"",
                             TH_STR_ARGS(listeners[i].name));
        if (same_address(&listeners[i], &listeners[j]))
            th_loader_report(l, th_loader_member(l, place, "address"), "choose another port",
                             "the listeners \"%.*s\" and \"%.*s\" have the same address",
                             TH_STR_ARGS(listeners[j].name), TH_STR_ARGS(listeners[i].name));
    }
}

void th_build_listeners(struct th_loader *loader)
{
    const struct th_raw_listener *raw = loader->raw.listeners.items;
    size_t n = loader->raw.listeners.n;
    struct th_config_listener *listeners = th_loader_alloc(loader, n, sizeof(*listeners));
    for (size_t i = 0; listeners != NULL && i < n; i++, raw++) {
        struct th_errinfo info = {0};
        uint32_t place = raw->head.place;
        listeners[i].name = raw->head.name;
        listeners[i].address_text = raw->address;
        listeners[i].mode = (enum th_listener_mode)raw->mode;
        listeners[i].is_https = raw->scheme != 0;
        listeners[i].original = (enum th_original)raw->original;
        if (raw->agent.ptr != NULL)
            listeners[i].agent =
                th_build_find_agent(loader, raw->agent, th_loader_member(loader, place, "agent"));
        else if (loader->raw.callers.n == 0)
            th_loader_report(loader, place,
                             "name the agent that its callers act as, or add callers",
                             "the listener has no \"agent\", and there are no callers that could "
                             "prove who they are");
        if (raw->address.ptr != NULL && th_text_to_address(raw->address, &listeners[i].address,
                                                           &listeners[i].address_len, &info) < 0)
            th_loader_report_info(loader, th_loader_member(loader, place, "address"), &info);
        check_listener(loader, listeners, i, place);
    }
    loader->config->view.listeners = listeners;
    loader->config->view.n_listeners = listeners != NULL ? n : 0;
}
