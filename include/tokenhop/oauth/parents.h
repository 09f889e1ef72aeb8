/* Authorization servers behind parent proxies: what a fetcher is told by th_fetcher_set_proxies(). The worker's
 * thread only. */
#ifndef TOKENHOP_OAUTH_PARENTS_H
#define TOKENHOP_OAUTH_PARENTS_H

#include "tokenhop/config/model.h"
#include "tokenhop/net/fetch.h"

/* `arg`: the address of a struct th_config *, the one that holds now. */
void th_oauth_choose_parent(void *arg, bool is_https, struct th_str host, uint16_t port,
                            struct th_fetch_proxy *ret_proxy);

#endif
