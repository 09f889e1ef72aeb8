/* The directory: to which agent and connection the scope half of a cache key belongs, in one
 * configuration. Entries of the cache know no more of these than that half, so that they stay small.
 * Counted, immutable; any thread. */
#ifndef TOKENHOP_TOKEN_DIRECTORY_H
#define TOKENHOP_TOKEN_DIRECTORY_H

#include "tokenhop/config/model.h"

struct th_directory;

struct th_directory_place {
    uint8_t scope[16]; /* th_broker_scope() of both */
    const struct th_config_agent *agent;
    const struct th_config_connection *connection; /* or a variant of it */
};

/* Holds the configuration. */
int th_directory_new(struct th_config *config, struct th_directory **ret_directory) TH_MUST;
struct th_directory *th_directory_ref(struct th_directory *directory);
struct th_directory *th_directory_unref(struct th_directory *directory); /* NULL is fine */

/* NULL: the scope is of another configuration. A NULL directory is fine. */
const struct th_directory_place *th_directory_find(const struct th_directory *directory,
                                                   const uint8_t scope[16]);
struct th_config *th_directory_config(const struct th_directory *directory); /* borrowed */

#endif
