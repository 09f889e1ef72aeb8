#include "tokenhop/oauth/parents.h"

#include "tokenhop/config/parent.h"

void th_oauth_choose_parent(void *arg, bool is_https, struct th_str host, uint16_t port,
                            struct th_fetch_proxy *ret_proxy)
{
    struct th_config *const *config = arg;
    const struct th_config_parent *parent = th_config_find_parent(
        th_config_get(*config), TH_PARENT_CARRIES_SERVERS, is_https, host, port);

    if (parent == NULL)
        return;
    *ret_proxy = (struct th_fetch_proxy){.host = parent->host,
                                         .port = parent->port,
                                         .is_https = parent->is_https,
                                         .ca_file = parent->ca_file,
                                         .authorization = parent->authorization};
}
