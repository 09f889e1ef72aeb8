/* The world of one scenario: one or two workers with all that hangs on them, put together as
 * cli/service.c does it, but with a clock that is turned, a simulated network and a scripted
 * authorization server. One thread; nothing runs but inside world_settle() and world_pass(). */
#ifndef TOKENHOP_TESTS_SCENARIO_WORLD_H
#define TOKENHOP_TESTS_SCENARIO_WORLD_H

#include "network.h"
#include "server.h"
#include "tokenhop/observe/metrics.h"
#include "tokenhop/observe/writer.h"
#include "tokenhop/proxy/proxy.h"

#define WORLD_PLACES_MAX 2
#define WORLD_PROBES 2
#define WORLD_PROBE_UNKNOWN                                                                        \
    1 /* in place of a status: the probe's server was asked what it does not know */
/* Longer than any limit of a configuration that a scenario has: what still waits then waits for ever. */
#define WORLD_LONG_MS ((int64_t)40 * 60 * 1000)

/* Made once a process: the agents' key, and the folder that its file lies in. */
struct world_home {
    char folder[64];
    struct th_key *key;
};
void world_home_init(struct world_home *home);
/* A file in it, of mode 0600, in the place of another of that name. */
bool world_home_write(const struct world_home *home, const char *name, struct th_str text);
/* Removes what a script has written there. */
void world_home_tidy(const struct world_home *home);
void world_home_fini(struct world_home *home);

struct world_place {
    struct th_worker *worker;
    struct fake_fetcher fetcher;
    struct th_exchanger *exchanger;
    struct th_broker_desk *broker_desk;
    struct th_access_log *access_log;
    struct th_proxy_desk *desk;
    bool drained;
};

/* What can be made to fail of what the proxy does, where the build can: its allocations (-Dfail_alloc=true), its calls of
 * libraries (-Dfail_calls=true). */
enum world_fault { WORLD_ALLOCATION, WORLD_CALL, WORLD_FAULTS };

struct world {
    const struct world_home *home;
    struct th_clock clock;
    struct fake_network network;
    struct tokens tokens;
    struct server server;
    struct peer *clients; /* oldest first */
    struct world_place places[WORLD_PLACES_MAX];
    size_t n_places;
    struct th_config *config;
    struct th_metrics *metrics;
    struct th_log *log;
    struct th_writer *writer;
    struct th_writer_file *access_file;
    struct th_broker *broker;
    struct th_breakers *breakers;
    struct th_dpop_keys *dpop_keys;
    struct th_grants *grants;
    struct th_proxy *proxy;
    int log_fd, access_fd; /* in memory */
    size_t fds_before;
    unsigned long checks_before;
    unsigned long n_done[WORLD_FAULTS]; /* by the proxy, since the beginning; 0 where not counted */
    unsigned long fail_nth[WORLD_FAULTS]; /* of these: fails; 0: none */
    bool fault_lasts;                     /* calls: from then on, whenever the same is called */
    bool had_faults;                      /* something was to fail, and is not any more */
    bool has_failed;                      /* some call did */
    bool started;
    bool origins_told_tokens; /* an origin has sent one to a client: then a client may have it */
    unsigned probes[WORLD_PROBES]; /* world_close(): the statuses; 0: no answer */
    bool is_probed;                /* wanted */
    bool is_malformed;             /* world_close(): some client has got what is no answer */
    struct bytes complaint;        /* what must hold and did not; empty: nothing */
};

/* The default configuration, its one connection, names and addresses: README.md. */
json_t *world_default_config(void);

void world_init(struct world *world, const struct world_home *home);
/* False with the reason in `complaint`. */
bool world_start(struct world *world, const json_t *config);
/* Lets go of everything, whatever state it is in; checks that no descriptor is left. */
void world_fini(struct world *world);

/* Turns the workers and moves the peers' bytes until nothing moves any more. False: it never comes to rest. */
bool world_settle(struct world *world);
/* Turns the clock, halting wherever a timer is due. */
void world_pass(struct world *world, int64_t ms);
struct peer *world_connect(struct world *world, const char *name, size_t place, size_t listener,
                           bool tcp, const struct th_address *original);
bool world_reload(struct world *world, const json_t *config);
void world_purge(struct world *world);
void world_drain(struct world *world, int64_t deadline_ms);
bool world_is_drained(const struct world *world);
/* A subject token as the organisation's server issues it to `name`. Owns `changes`; may be NULL. */
struct token *world_add_subject(struct world *world, const char *name, json_t *changes);

/* After the script: nobody does anything any more, and time passes; then everybody leaves. What must hold in every scenario
 * is checked on the way. */
void world_close(struct world *world);
/* Whether something of the proxy's was to fail: then it may have run short, but for what must hold even so. */
static inline bool world_has_faults(const struct world *world)
{
    return world->had_faults || world->fail_nth[WORLD_ALLOCATION] > 0 ||
           world->fail_nth[WORLD_CALL] > 0;
}
/* Everything is well again: a new client asks for open.test, and for agent2.test as a user that was not seen before. */
void world_probe(struct world *world, unsigned ret_statuses[WORLD_PROBES]);
/* What has been written: log, access log, metrics. */
void world_read_written(struct world *world, struct bytes *ret_text);
void world_complain(struct world *world, const char *format, ...) TH_PRINTF(2, 3);

#endif
