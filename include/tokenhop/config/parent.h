/* Parent proxies: which one, if any, a destination is reached through. First match wins; nobody else is
 * asked, the environment least of all (R12). Constant data; any thread. */
#ifndef TOKENHOP_CONFIG_PARENT_H
#define TOKENHOP_CONFIG_PARENT_H

#include "tokenhop/config/model.h"

/* What is on the machine itself (loopback addresses, localhost) is only for entries that name it: for a
 * parent it would be another machine.
 *
 * `carries` says for whom: TH_PARENT_CARRIES_ORIGINS or TH_PARENT_CARRIES_SERVERS. The host without
 * brackets, in any case of letters. NULL: reached directly. */
const struct th_config_parent *th_config_find_parent(const struct th_config_view *view,
                                                     enum th_parent_carries carries, bool is_https,
                                                     struct th_str host, uint16_t port);

/* Whether connections that were made through one may serve where the other is configured. NULL is
 * one as well: none. */
bool th_config_parent_is_alike(const struct th_config_parent *a, const struct th_config_parent *b);

/* Names of clouds' metadata services: a parent resolves the name, so that no address can be judged here
 * (R8). */
bool th_config_parent_refuses(struct th_str host);

#endif
