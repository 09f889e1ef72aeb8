/* The whole service, put together: what workers share, the workers with everything of theirs, and
 * their threads. Made and ended on the main thread. Private to the room. */
#ifndef TOKENHOP_CLI_SERVICE_H
#define TOKENHOP_CLI_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/config/model.h"
#include "tokenhop/observe/log.h"

struct th_service;
struct th_admin;
struct th_activation;

/* Everything but the threads: when it returns, all listeners are bound. On failure reterr says
 * what. `config_path` is for people. `activation`: the sockets that were handed over, which are claimed;
 * NULL: none. */
int th_service_new(struct th_config *config, const char *config_path,
                   struct th_activation *activation, struct th_service **ret_service,
                   struct th_errinfo *reterr) TH_MUST;
int th_service_start(struct th_service *service, struct th_errinfo *reterr) TH_MUST;
/* Goes over to a new configuration; what it cannot change while running (listeners, workers, cache
 * bounds) is logged and stays. The caller keeps its reference. */
int th_service_reload(struct th_service *service, struct th_config *config) TH_MUST;
/* For the metrics: one was made, or refused. */
void th_service_count_reload(struct th_service *service, bool succeeded);
/* Opens log files anew, after they were rotated. */
void th_service_reopen_logs(struct th_service *service);
/* Begins to drain; th_service_is_drained() tells when all workers have nothing left. */
void th_service_drain(struct th_service *service);
bool th_service_is_drained(const struct th_service *service);
/* Afterwards: begins to revoke the credentials that are kept, if the configuration says so, within
 * timeouts.revoke; th_service_is_revoked() tells when that is over, one way or the other. */
void th_service_revoke(struct th_service *service);
bool th_service_is_revoked(const struct th_service *service);
/* About once a second: what the logs have held back. */
void th_service_tick(struct th_service *service);
/* That in force; borrowed until the next reload. */
const struct th_config *th_service_config(const struct th_service *service);
/* NULL: none is configured. */
struct th_admin *th_service_admin(struct th_service *service);
struct th_log *th_service_log(struct th_service *service);
/* Stops the threads, whatever runs, and frees all. NULL is fine. */
struct th_service *th_service_free(struct th_service *service);

#endif
