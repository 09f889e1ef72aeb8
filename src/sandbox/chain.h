/* The chain of actors: `act` of RFC 8693, 4.1, nested (reference 4.6). */
#ifndef TOKENHOP_SRC_SANDBOX_CHAIN_H
#define TOKENHOP_SRC_SANDBOX_CHAIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "registry.h"
#include "tokenhop/base/error.h"

/* NULL is: no chain. Every entry is an object with a string `sub`. */
bool th_chain_is_well_formed(const json_t *act);
size_t th_chain_length(const json_t *act);
/* `actor` put before the chain `inner` (NULL: `actor` alone). A new reference, or NULL. */
json_t *th_chain_extend(const struct th_registry_client *actor, const json_t *inner) TH_MUST;
bool th_chain_contains(const json_t *act, const char *client_id);
/* ["wlp...", "0oa..."], outermost first. A new reference. */
json_t *th_chain_list(const json_t *act) TH_MUST;

#endif
