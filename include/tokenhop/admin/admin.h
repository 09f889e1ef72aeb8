/* The admin listener: where a running tokenhop is looked at (status, connections, cache, metrics,
 * probes) and steered (purge, revoke, reload, drain, log level). HTTP on a unix socket or an address,
 * on a thread and loop of its own, so that no worker waits for whoever asks, and whoever asks gets an
 * answer when workers are busy. It speaks the house's own HTTP: strict, bounded in heads, bodies,
 * connections and time. No token, key or secret is ever part of an answer.
 *
 * What only the main thread may do (reload, drain) is handed to it as a command: it waits on
 * th_admin_command_fd(), takes what there is, does it and answers.
 *
 * Made, started, stopped and freed on the main thread. Others may call where it is said. */
#ifndef TOKENHOP_ADMIN_ADMIN_H
#define TOKENHOP_ADMIN_ADMIN_H

#include "tokenhop/config/load.h"
#include "tokenhop/config/model.h"
#include "tokenhop/net/worker.h"
#include "tokenhop/observe/metrics.h"
#include "tokenhop/token/broker.h"
#include "tokenhop/token/revoker.h"

struct th_admin;
struct th_breakers;

/* All of it outlives the admin's thread (until th_admin_stop()); the workers may go before
 * th_admin_free(). */
struct th_admin_options {
    struct th_config *config; /* that was loaded; a reference is taken. Has an admin address */
    const char *config_path;  /* for people */
    struct th_metrics *metrics;
    struct th_broker *broker;
    struct th_revoker *revoker;
    struct th_breakers *breakers;
    struct th_grants *grants; /* emptied with the cache; NULL: none are kept */
    struct th_log *log;
    struct th_worker *const *workers; /* borrowed for the call: those whose loops are watched */
    size_t n_workers;
};

/* Binds and listens; nobody is answered before th_admin_start(). */
int th_admin_new(const struct th_admin_options *options, struct th_admin **ret_admin,
                 struct th_errinfo *reterr) TH_MUST;
int th_admin_start(struct th_admin *admin, struct th_errinfo *reterr) TH_MUST;
/* Ends the thread and removes the socket: before the workers are freed, as it posts to them. */
void th_admin_stop(struct th_admin *admin); /* NULL is fine */
/* After the workers are freed, whose mailboxes may hold messages about it. NULL is fine. */
struct th_admin *th_admin_free(struct th_admin *admin);

/* --- commands --- */

enum th_admin_verb { TH_ADMIN_RELOAD, TH_ADMIN_DRAIN };

struct th_admin_command {
    enum th_admin_verb verb;
    uint64_t asker; /* who waits for the answer */
};

int th_admin_command_fd(const struct th_admin *admin); /* readable while there are commands */
bool th_admin_take_command(struct th_admin *admin, struct th_admin_command *ret_command);
/* `error`: 0, or why it was not done; `mistakes` of a configuration that was refused, else NULL. */
void th_admin_answer(struct th_admin *admin, const struct th_admin_command *command, int error,
                     const struct th_config_mistakes *mistakes);

/* What was asked of the kernel, for the status; before th_admin_start(). `seccomp`: a literal: "on", "log",
 * "off". `landlock`: the version in force; 0: none. */
void th_admin_note_hardening(struct th_admin *admin, const char *seccomp, unsigned landlock);

/* --- what has changed --- */

/* A reload was tried, whoever asked for it. `config`: the one now in force; NULL: the one before still
 * is. */
void th_admin_note_reload(struct th_admin *admin, struct th_config *config, size_t n_mistakes);
void th_admin_note_drain(struct th_admin *admin);

#endif
