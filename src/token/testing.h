/* For the tests of this room: workers on a turned clock, and exchanges that end when the test
 * says. */
#ifndef TOKENHOP_SRC_TOKEN_TESTING_H
#define TOKENHOP_SRC_TOKEN_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "broker_private.h"

#define N_DESKS 4
#define WALL_MS INT64_C(1800000000000)

/* One exchange that was begun. */
struct th_exchange {
    struct th_list link;
    struct th_exchange_request request;
    char subject[64];
    char rejected[64]; /* "": none */
    bool revokes;      /* that, and nothing else */
    th_exchange_fn *fn;
    void *arg;
    struct office *office;
};

/* Stands for the exchanger of a worker. */
struct office {
    struct th_list running;
    int start_error; /* what the next start returns; 0: it begins */
    unsigned n_started, n_cancelled;
};
extern const struct th_exchange_ops office_ops;

struct th_exchange *office_oldest(struct office *office);
/* Ends one by calling its function. `token`: what is issued, or NULL with result->error set. */
void office_end(struct th_exchange *exchange, const struct th_exchange_result *result,
                const char *token);
void office_end_all(struct office *office, const struct th_exchange_result *result,
                    const char *token);
struct th_exchange_result result_of_token(int64_t lifetime_ms); /* subject's end unknown */
struct th_exchange_result result_of_error(int error);

/* A broker, its workers and desks, all on the test's thread. */
struct house {
    struct th_clock clock;
    struct th_metrics *metrics;
    struct th_broker *broker;
    struct th_worker *workers[N_DESKS];
    struct office offices[N_DESKS];
    struct th_broker_desk *desks[N_DESKS];
};

struct th_broker_options usual_options(const struct th_clock *clock);
void house_open(struct house *house, const struct th_broker_options *options); /* NULL: usual */
void house_close(struct house *house); /* desks that are NULL have been freed by the test */
void house_turn(struct house *house, int64_t by_ms); /* the clock, then each worker once */
struct th_broker_figures house_count(const struct house *house);

/* Who asks, and what came of it. */
struct asker {
    struct th_broker_waiter waiter; /* first */
    unsigned n_told;
    int error; /* of the refusal that it was told of */
    int64_t retry_after_ms;
    char value[128];                  /* of the credential that it was told of or given */
    struct th_credential *credential; /* kept until asker_forget() */
    const struct th_config_connection *connection; /* that it asks for; may be NULL */
    enum th_cache_state state;
};

struct th_broker_request request_of(const char *scope, const char *subject);
/* Asks desk `at`; what is there at once is noted in the asker. */
int ask(struct house *house, unsigned at, const char *scope, const char *subject,
        struct asker *asker);
void asker_forget(struct asker *asker);
/* Asks, ends the exchange with a token of that lifetime, forgets. */
void fill(struct house *house, const char *scope, const char *subject, const char *token,
          int64_t lifetime_ms);

#endif
