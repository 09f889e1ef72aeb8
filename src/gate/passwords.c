#include "tokenhop/gate/passwords.h"

#include <openssl/crypto.h>
#include <pthread.h>

#include "password_memo.h"
#include "password_rate.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/password.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/observe/metrics.h"

/* There are as many right ones as lines in use, so that this bounds what nobody should have. */
#define MAX_RIGHT 16384
#define MAX_WRONG 4096
/* Questions that wait for a hash to be worked on: in all, and of one peer. */
#define MAX_WAITING 256
#define MAX_WAITING_OF_PEER 64
#define PASSWORD_KEPT ((size_t)TH_PASSWORD_MAX + 1)

/* Whoever types errs a few times; a client that has the wrong one asks the same again, which costs nothing. */
static const struct th_password_bound bound_of_user = {.burst = 5, .period_ms = 2000};
/* Many callers may be behind one address. */
static const struct th_password_bound bound_of_peer = {.burst = 20, .period_ms = 500};

struct th_passwords {
    pthread_mutex_t lock;
    unsigned max_running, n_running;
    size_t n_waiting;
    struct th_list running, waiting; /* flights */
    uint64_t turn;                   /* of the flight that began last */
    struct th_password_memo right, wrong;
    struct th_password_rates rates;
};

/* A question that is worked on, or will be. From submit to `done` its job is the helpers'. */
struct flight {
    struct th_job job;
    struct th_list link; /* running or waiting */
    struct th_passwords *passwords;
    struct th_worker *worker; /* of who asked first */
    struct th_list waiters;
    uint8_t key[32];
    uint64_t peer, user; /* whose mistake it will be: ids of rates */
    uint64_t turn;
    bool is_running;
    struct th_config *config;
    const struct th_config_passwords *hashes;
    bool is_stand_in;
    struct th_secret *password;
    struct th_password_answer answer;
};

/* On its worker's thread, and with the flight under the lock. When the flight ends it is posted, and is the
 * worker's until it is done. */
struct th_password_waiter {
    struct th_job job;
    struct th_list link;   /* of the flight; else on no list, or on that of those to be told */
    struct flight *flight; /* NULL: it has ended */
    struct th_passwords *passwords;
    struct th_worker *worker;
    th_password_fn *fn; /* NULL: it was let go of */
    void *arg;
    struct th_password_answer answer;
};

int th_passwords_new(unsigned max_running, struct th_passwords **ret_passwords)
{
    struct th_passwords *passwords = th_calloc(1, sizeof *passwords);

    if (passwords == NULL)
        return TH_E_NOMEM;
    TH_REQUIRE(max_running > 0 && pthread_mutex_init(&passwords->lock, NULL) == 0);
    passwords->max_running = max_running;
    th_list_init(&passwords->running);
    th_list_init(&passwords->waiting);
    th_password_memo_init(&passwords->right, MAX_RIGHT);
    th_password_memo_init(&passwords->wrong, MAX_WRONG);
    th_password_rates_init(&passwords->rates);
    *ret_passwords = passwords;
    return 0;
}

struct th_passwords *th_passwords_free(struct th_passwords *passwords)
{
    if (passwords == NULL)
        return NULL;
    TH_REQUIRE(th_list_is_empty(&passwords->running) && th_list_is_empty(&passwords->waiting));
    th_password_memo_fini(&passwords->right);
    th_password_memo_fini(&passwords->wrong);
    pthread_mutex_destroy(&passwords->lock);
    th_free(passwords);
    return NULL;
}

void th_passwords_keep(struct th_passwords *passwords, const struct th_config_view *config)
{
    pthread_mutex_lock(&passwords->lock);
    th_password_memo_keep(&passwords->right, config);
    th_password_memo_clear(&passwords->wrong);
    pthread_mutex_unlock(&passwords->lock);
}

void th_passwords_count(struct th_passwords *passwords, struct th_passwords_figures *ret_figures)
{
    pthread_mutex_lock(&passwords->lock);
    *ret_figures = (struct th_passwords_figures){.running = passwords->n_running,
                                                 .waiting = passwords->n_waiting,
                                                 .right = passwords->right.n,
                                                 .wrong = passwords->wrong.n};
    pthread_mutex_unlock(&passwords->lock);
}

/* --- flights --- */

static void flight_free(struct flight *flight)
{
    TH_REQUIRE(th_list_is_empty(&flight->waiters));
    th_secret_unref(flight->password);
    th_config_unref(flight->config);
    th_wipe(flight->key, sizeof flight->key);
    th_free(flight);
}

/* Before there is work: whether there must be none. */
static bool is_limited(struct th_passwords *passwords, uint64_t peer, uint64_t user, int64_t now_ms,
                       struct th_password_answer *ret_answer)
{
    bool is_news_user = false, is_news_peer = false;
    int64_t user_ms =
        th_password_rate_wait(&passwords->rates, user, &bound_of_user, now_ms, &is_news_user);
    int64_t peer_ms =
        th_password_rate_wait(&passwords->rates, peer, &bound_of_peer, now_ms, &is_news_peer);

    if (user_ms == 0 && peer_ms == 0)
        return false;
    *ret_answer = (struct th_password_answer){.error = TH_E_CALLER_LIMIT,
                                              .is_news = is_news_user || is_news_peer,
                                              .wait_ms = user_ms > peer_ms ? user_ms : peer_ms};
    return true;
}

/* Under the lock: it has ended, and who waited is to be told. */
static void end(struct flight *flight, struct th_list *told)
{
    th_list_remove(&flight->link);
    TH_LIST_EACH(item, &flight->waiters) {
        struct th_password_waiter *waiter = TH_LIST_ENTRY(item, struct th_password_waiter, link);
        waiter->flight = NULL;
        waiter->answer = flight->answer;
        flight->answer.is_news = false; /* one is enough */
    }
    th_list_splice_back(told, &flight->waiters);
}

/* Without the lock. Who is let go of meanwhile stays until it is done. */
static void tell(struct th_list *told)
{
    struct th_list *item;

    while ((item = th_list_pop_front(told)) != NULL) {
        struct th_password_waiter *waiter = TH_LIST_ENTRY(item, struct th_password_waiter, link);
        th_worker_post_job(waiter->worker, &waiter->job);
    }
}

/* The flight whose turn is next: a peer's first one before any other's second. */
static struct flight *find_next(struct th_passwords *passwords)
{
    struct flight *next = NULL;

    TH_LIST_EACH(item, &passwords->waiting) {
        struct flight *flight = TH_LIST_ENTRY(item, struct flight, link);
        if (next == NULL || flight->turn < next->turn)
            next = flight;
    }
    return next;
}

/* Under the lock: as much as may be. */
static void start(struct th_passwords *passwords, struct th_list *told)
{
    struct flight *flight;

    while (passwords->n_running < passwords->max_running &&
           (flight = find_next(passwords)) != NULL) {
        int64_t now_ms = th_clock_monotonic_ms(flight->worker->clock);
        passwords->n_waiting--;
        passwords->turn = flight->turn;
        /* Others of the same may have been wrong while it waited. */
        bool is_over = is_limited(passwords, flight->peer, flight->user, now_ms, &flight->answer);
        if (!is_over) {
            th_list_remove(&flight->link);
            th_list_push_back(&passwords->running, &flight->link);
            passwords->n_running++;
            flight->is_running = true;
            /* From here on it is a helper's, which writes the answer, unless it was not taken. */
            int error = th_helpers_submit(flight->worker->helpers, flight->worker, &flight->job);
            if (error < 0) {
                flight->answer.error = error;
                passwords->n_running--;
                is_over = true;
            }
        }
        if (is_over) {
            end(flight, told);
            flight_free(flight);
        }
    }
}

static void conclude(struct flight *flight)
{
    struct th_passwords *passwords = flight->passwords;
    int64_t now_ms = th_clock_monotonic_ms(flight->worker->clock);
    int error = flight->answer.error;
    struct th_list told;

    th_list_init(&told);
    pthread_mutex_lock(&passwords->lock);
    if (error == 0)
        th_password_memo_add(&passwords->right, flight->key, flight->answer.digest);
    if (error == TH_E_CALLER) {
        th_password_memo_add(&passwords->wrong, flight->key, flight->answer.digest);
        th_password_rate_charge(&passwords->rates, flight->user, &bound_of_user, now_ms);
        th_password_rate_charge(&passwords->rates, flight->peer, &bound_of_peer, now_ms);
    }
    passwords->n_running--;
    end(flight, &told);
    start(passwords, &told);
    pthread_mutex_unlock(&passwords->lock);
    tell(&told);
}

/* On a helper's thread. Against all of them, so that it takes the same time whichever it is. */
static void work(struct th_job *job)
{
    struct flight *flight = TH_CONTAINER_OF(job, struct flight, job);
    struct th_str password = th_secret_expose(flight->password);
    int error = TH_E_CALLER;

    for (size_t i = 0; i < flight->hashes->n; i++) {
        const struct th_config_password *line = &flight->hashes->items[i];
        bool is_right;
        int failed = th_password_verify(line->hash, password, &is_right);
        if (failed < 0 && error != 0)
            error = failed;
        if (is_right && !flight->is_stand_in && error != 0) {
            error = 0;
            memcpy(flight->answer.digest, line->digest, sizeof flight->answer.digest);
        }
    }
    flight->answer.error = error;
    conclude(flight);
}

static void on_flight_done(struct th_job *job)
{
    struct flight *flight = TH_CONTAINER_OF(job, struct flight, job);

    if (job->skipped) {
        flight->answer.error = TH_E_DRAINING;
        conclude(flight);
    } else if (job->worker->metrics != NULL) {
        th_metrics_count(job->worker->metrics, TH_METRIC_PASSWORDS_HASHED);
    }
    flight_free(flight);
}

/* --- who asks --- */

static void on_waiter_done(struct th_job *job)
{
    struct th_password_waiter *waiter = TH_CONTAINER_OF(job, struct th_password_waiter, job);
    struct th_password_answer answer = waiter->answer;
    th_password_fn *fn = waiter->fn;
    void *arg = waiter->arg;

    th_free(waiter);
    if (fn != NULL)
        fn(arg, &answer);
}

static int make_key(const struct th_password_question *question, uint8_t ret_key[32])
{
    const struct th_str pieces[] = {
        {(const char *)question->hashes->version, sizeof question->hashes->version},
        question->user,
        question->password,
        {question->is_stand_in ? "n" : "", question->is_stand_in},
    };

    return th_secret_digest(pieces, TH_COUNT_OF(pieces), ret_key);
}

static struct flight *find_in(struct th_list *flights, const uint8_t key[32])
{
    struct flight *found = NULL;

    TH_LIST_EACH(item, flights) {
        struct flight *flight = TH_LIST_ENTRY(item, struct flight, link);
        if (CRYPTO_memcmp(flight->key, key, sizeof flight->key) == 0)
            found = flight;
    }
    return found;
}

/* Start-time fair queueing (Goyal and others, 1996), where each question costs the same: a new peer is on a level with
 * what begins now, and each further question of the same is one turn later. False: too many wait. */
static bool find_turn(const struct th_passwords *passwords, uint64_t peer, uint64_t *ret_turn)
{
    size_t n_of_peer = 0;

    *ret_turn = passwords->turn;
    TH_LIST_EACH(item, &passwords->running)
        if (TH_LIST_ENTRY(item, struct flight, link)->peer == peer)
            *ret_turn = passwords->turn + 1;
    TH_LIST_EACH(item, &passwords->waiting) {
        const struct flight *other = TH_LIST_ENTRY(item, struct flight, link);
        if (other->peer != peer)
            continue;
        n_of_peer++;
        if (other->turn >= *ret_turn)
            *ret_turn = other->turn + 1;
    }
    return passwords->n_waiting < MAX_WAITING && n_of_peer < MAX_WAITING_OF_PEER;
}

static struct flight *flight_new(struct th_passwords *passwords, struct th_worker *worker,
                                 const struct th_password_question *question, const uint8_t key[32])
{
    struct flight *flight = th_calloc(1, sizeof *flight);

    if (flight == NULL)
        return NULL;
    *flight = (struct flight){.job = {.work = work, .done = on_flight_done},
                              .passwords = passwords,
                              .worker = worker,
                              .hashes = question->hashes,
                              .is_stand_in = question->is_stand_in,
                              .config = th_config_ref(question->config)};
    th_list_init(&flight->waiters);
    memcpy(flight->key, key, sizeof flight->key);
    /* As much as tells that it is too long: whoever asks has shown nothing yet, and locked memory is short. */
    size_t len = question->password.len < PASSWORD_KEPT ? question->password.len : PASSWORD_KEPT;
    flight->password = th_secret_new(question->password.ptr, len);
    if (flight->password == NULL) {
        flight_free(flight);
        return NULL;
    }
    return flight;
}

/* Under the lock. True: *ret_answer is the answer. */
static bool is_known(struct th_passwords *passwords, const uint8_t key[32],
                     struct th_password_answer *ret_answer)
{
    ret_answer->error = 0;
    if (th_password_memo_find(&passwords->right, key, ret_answer->digest))
        return true;
    ret_answer->error = TH_E_CALLER;
    return th_password_memo_find(&passwords->wrong, key, ret_answer->digest);
}

/* Under the lock: the flight of the question, which may be a new one; NULL: *ret_answer says why not. */
static struct flight *board(struct th_passwords *passwords, struct th_worker *worker,
                            const struct th_password_question *question, const uint8_t key[32],
                            struct th_password_answer *ret_answer)
{
    struct flight *flight = find_in(&passwords->running, key);

    if (flight == NULL)
        flight = find_in(&passwords->waiting, key);
    if (flight != NULL)
        return flight;
    struct th_str name = question->user.ptr != NULL ? question->user : TH_STR("");
    uint64_t peer = th_password_rate_id(&passwords->rates, &question->peer, TH_STR_NONE);
    uint64_t user = th_password_rate_id(&passwords->rates, &question->peer, name);
    uint64_t turn;
    if (is_limited(passwords, peer, user, worker->now_ms, ret_answer))
        return NULL;
    ret_answer->error = TH_E_OVERLOADED;
    if (!find_turn(passwords, peer, &turn))
        return NULL;
    ret_answer->error = TH_E_NOMEM;
    flight = flight_new(passwords, worker, question, key);
    if (flight == NULL)
        return NULL;
    flight->peer = peer;
    flight->user = user;
    flight->turn = turn;
    th_list_push_back(&passwords->waiting, &flight->link);
    passwords->n_waiting++;
    return flight;
}

static struct th_password_waiter *waiter_new(struct th_passwords *passwords,
                                             struct th_worker *worker, th_password_fn *fn,
                                             void *arg)
{
    struct th_password_waiter *waiter = th_calloc(1, sizeof *waiter);

    if (waiter != NULL)
        *waiter = (struct th_password_waiter){.job = {.done = on_waiter_done},
                                              .passwords = passwords,
                                              .worker = worker,
                                              .fn = fn,
                                              .arg = arg};
    return waiter;
}

bool th_passwords_ask(struct th_passwords *passwords, struct th_worker *worker,
                      const struct th_password_question *question, th_password_fn *fn, void *arg,
                      struct th_password_answer *ret_answer, struct th_password_waiter **ret_waiter)
{
    uint8_t key[32];
    struct th_list told;

    *ret_answer = (struct th_password_answer){.error = make_key(question, key)};
    if (ret_answer->error < 0)
        return true;
    pthread_mutex_lock(&passwords->lock);
    bool is_answered = is_known(passwords, key, ret_answer);
    pthread_mutex_unlock(&passwords->lock);
    if (is_answered)
        return true;
    struct th_password_waiter *waiter = waiter_new(passwords, worker, fn, arg);
    if (waiter == NULL || worker->helpers == NULL) {
        th_free(waiter);
        ret_answer->error = waiter == NULL ? TH_E_NOMEM : TH_E_OVERLOADED;
        return true;
    }
    th_list_init(&told);
    pthread_mutex_lock(&passwords->lock);
    /* It may have become known meanwhile. */
    is_answered = is_known(passwords, key, ret_answer);
    if (!is_answered)
        waiter->flight = board(passwords, worker, question, key, ret_answer);
    if (waiter->flight != NULL) {
        th_list_push_back(&waiter->flight->waiters, &waiter->link);
        *ret_waiter = waiter;
        start(passwords, &told);
    } else {
        th_free(waiter);
        is_answered = true;
    }
    pthread_mutex_unlock(&passwords->lock);
    tell(&told);
    return is_answered;
}

void th_passwords_leave(struct th_password_waiter *waiter)
{
    if (waiter == NULL)
        return;
    struct th_passwords *passwords = waiter->passwords;
    struct flight *unneeded = NULL;

    pthread_mutex_lock(&passwords->lock);
    struct flight *flight = waiter->flight;
    if (flight != NULL) {
        th_list_remove(&waiter->link);
        if (th_list_is_empty(&flight->waiters) && !flight->is_running) {
            th_list_remove(&flight->link);
            passwords->n_waiting--;
            unneeded = flight;
        }
    }
    waiter->fn = NULL;
    pthread_mutex_unlock(&passwords->lock);
    if (flight != NULL)
        th_free(waiter);
    if (unneeded != NULL)
        flight_free(unneeded);
}
