#include "tokenhop/oauth/breaker.h"

#include <pthread.h>

#include "tokenhop/base/list.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/base/ref.h"

enum state {
    CLOSED = TH_BREAKER_STATE_CLOSED,
    OPEN = TH_BREAKER_STATE_OPEN,
    PROBING = TH_BREAKER_STATE_PROBING,
    RECOVERING = TH_BREAKER_STATE_RECOVERING
};

struct breaker {
    struct th_list link; /* breakers->list, the one tried last in front */
    char *endpoint;
    size_t endpoint_len;
    enum state state;
    uint64_t generation;
    unsigned n_failures; /* in a row, while CLOSED */
    int64_t rest_ms;     /* the last one, without jitter; 0: none since it was CLOSED */
    int64_t until_ms;    /* OPEN: the rest's end; RECOVERING: its end */
    unsigned limit;      /* of tries at once, while PROBING or RECOVERING */
    unsigned n_under_way;
};

struct th_breakers {
    struct th_ref ref;
    atomic_size_t n; /* written under the lock; read without it to see that there is none */
    pthread_mutex_t lock;
    struct th_list list;
};

int th_breakers_new(struct th_breakers **ret_breakers)
{
    struct th_breakers *breakers = th_calloc(1, sizeof *breakers);
    if (breakers == NULL)
        return TH_E_NOMEM;
    th_ref_init(&breakers->ref);
    atomic_init(&breakers->n, 0);
    th_list_init(&breakers->list);
    TH_REQUIRE(pthread_mutex_init(&breakers->lock, NULL) == 0);
    *ret_breakers = breakers;
    return 0;
}

struct th_breakers *th_breakers_ref(struct th_breakers *breakers)
{
    th_ref_take(&breakers->ref);
    return breakers;
}

static void breaker_free(struct breaker *breaker)
{
    if (breaker != NULL) {
        th_free(breaker->endpoint);
        th_free(breaker);
    }
}

struct th_breakers *th_breakers_unref(struct th_breakers *breakers)
{
    if (breakers == NULL || !th_ref_release(&breakers->ref))
        return NULL;
    while (!th_list_is_empty(&breakers->list))
        breaker_free(TH_LIST_ENTRY(th_list_pop_front(&breakers->list), struct breaker, link));
    pthread_mutex_destroy(&breakers->lock);
    th_free(breakers);
    return NULL;
}

static bool are_none(struct th_breakers *breakers)
{
    return atomic_load_explicit(&breakers->n, memory_order_relaxed) == 0;
}

/* Under the lock, as all below. */
static struct breaker *find(struct th_breakers *breakers, struct th_str endpoint)
{
    TH_LIST_EACH(item, &breakers->list) {
        struct breaker *breaker = TH_LIST_ENTRY(item, struct breaker, link);
        if (th_str_equal((struct th_str){breaker->endpoint, breaker->endpoint_len}, endpoint)) {
            th_list_remove(&breaker->link);
            th_list_push_front(&breakers->list, &breaker->link);
            return breaker;
        }
    }
    return NULL;
}

static struct breaker *breaker_new(struct th_str endpoint)
{
    struct breaker *breaker = th_calloc(1, sizeof *breaker);
    char *copy = th_malloc(endpoint.len + 1);
    if (breaker == NULL || copy == NULL) {
        th_free(copy);
        th_free(breaker);
        return NULL;
    }
    memcpy(copy, endpoint.ptr, endpoint.len);
    copy[endpoint.len] = '\0';
    breaker->endpoint = copy;
    breaker->endpoint_len = endpoint.len;
    return breaker;
}

/* Takes `breaker` in. Returns one that was forgotten for it, or NULL. */
static struct breaker *add(struct th_breakers *breakers, struct breaker *breaker)
{
    struct breaker *forgotten = NULL;
    th_list_push_front(&breakers->list, &breaker->link);
    if (atomic_load_explicit(&breakers->n, memory_order_relaxed) == TH_BREAKERS_MAX) {
        forgotten = TH_LIST_ENTRY(breakers->list.prev, struct breaker, link);
        th_list_remove(&forgotten->link);
    } else {
        atomic_fetch_add_explicit(&breakers->n, 1, memory_order_relaxed);
    }
    return forgotten;
}

static void close_for_good(struct breaker *breaker)
{
    breaker->state = CLOSED;
    breaker->n_failures = 0;
    breaker->rest_ms = 0;
}

static void open_for(struct breaker *breaker, int64_t retry_after_ms, int64_t now_ms)
{
    int64_t rest_ms = TH_BREAKER_REST_MS;
    if (breaker->rest_ms > 0)
        rest_ms = breaker->rest_ms < TH_BREAKER_REST_MAX_MS / 2 ? breaker->rest_ms * 2
                                                                : TH_BREAKER_REST_MAX_MS;
    breaker->rest_ms = rest_ms;
    if (retry_after_ms > TH_BREAKER_RETRY_AFTER_MAX_MS)
        retry_after_ms = TH_BREAKER_RETRY_AFTER_MAX_MS;
    if (rest_ms < retry_after_ms)
        rest_ms = retry_after_ms;
    breaker->state = OPEN;
    breaker->generation++;
    breaker->until_ms = now_ms + rest_ms + rest_ms * (1 + th_random_below(100)) / 1000;
}

/* PROBING or RECOVERING. */
static int64_t enter_counted(struct breaker *breaker, struct th_breaker_pass *ret_pass)
{
    if (breaker->n_under_way >= breaker->limit)
        return TH_BREAKER_TURNED_AWAY_MS;
    breaker->n_under_way++;
    *ret_pass = (struct th_breaker_pass){breaker->generation, true};
    return 0;
}

static int64_t enter(struct breaker *breaker, int64_t now_ms, struct th_breaker_pass *ret_pass)
{
    if (breaker->state == RECOVERING && now_ms >= breaker->until_ms)
        close_for_good(breaker);
    switch (breaker->state) {
    case CLOSED:
        *ret_pass = (struct th_breaker_pass){breaker->generation, false};
        return 0;
    case OPEN:
        if (now_ms < breaker->until_ms)
            return breaker->until_ms - now_ms;
        breaker->state = PROBING;
        breaker->generation++;
        breaker->limit = 1;
        breaker->n_under_way = 0;
        return enter_counted(breaker, ret_pass);
    case PROBING:
    case RECOVERING:
        return enter_counted(breaker, ret_pass);
    }
    return 0;
}

int64_t th_breakers_enter(struct th_breakers *breakers, struct th_str endpoint, int64_t now_ms,
                          struct th_breaker_pass *ret_pass)
{
    *ret_pass = (struct th_breaker_pass){0};
    if (are_none(breakers))
        return 0;
    pthread_mutex_lock(&breakers->lock);
    struct breaker *breaker = find(breakers, endpoint);
    int64_t wait_ms = breaker != NULL ? enter(breaker, now_ms, ret_pass) : 0;
    pthread_mutex_unlock(&breakers->lock);
    return wait_ms;
}

static enum th_breaker_event note_alive(struct breaker *breaker, int64_t now_ms)
{
    switch (breaker->state) {
    case CLOSED:
        breaker->n_failures = 0;
        break;
    case PROBING:
        breaker->state = RECOVERING;
        breaker->limit = 2;
        breaker->until_ms = now_ms + TH_BREAKER_RECOVERY_MS;
        return TH_BREAKER_CLOSED;
    case RECOVERING:
        if (breaker->limit++ >= TH_BREAKER_RECOVERED)
            close_for_good(breaker);
        break;
    case OPEN: /* an opening makes every pass stale */
        break;
    }
    return TH_BREAKER_SAME;
}

static enum th_breaker_event note_failure(struct breaker *breaker, bool asks,
                                          int64_t retry_after_ms, int64_t now_ms)
{
    enum state before = breaker->state;
    if (before == CLOSED && ++breaker->n_failures < TH_BREAKER_FAILURES && !asks)
        return TH_BREAKER_SAME;
    open_for(breaker, retry_after_ms, now_ms);
    return before == PROBING ? TH_BREAKER_SAME : TH_BREAKER_OPENED;
}

static enum th_breaker_event leave(struct breaker *breaker, const struct th_breaker_pass *pass,
                                   enum th_breaker_verdict verdict, int64_t retry_after_ms,
                                   int64_t now_ms)
{
    if (pass->generation != breaker->generation)
        return TH_BREAKER_SAME;
    if (pass->is_counted && breaker->state != CLOSED)
        breaker->n_under_way--;
    switch (verdict) {
    case TH_BREAKER_UNTRIED:
        break; /* a probe's place is free for the next */
    case TH_BREAKER_ALIVE:
        return note_alive(breaker, now_ms);
    case TH_BREAKER_FAILED:
    case TH_BREAKER_ASKS:
        return note_failure(breaker, verdict == TH_BREAKER_ASKS, retry_after_ms, now_ms);
    }
    return TH_BREAKER_SAME;
}

enum th_breaker_event th_breakers_leave(struct th_breakers *breakers, struct th_str endpoint,
                                        const struct th_breaker_pass *pass,
                                        enum th_breaker_verdict verdict, int64_t retry_after_ms,
                                        int64_t now_ms)
{
    bool is_failure = verdict == TH_BREAKER_FAILED || verdict == TH_BREAKER_ASKS;
    if (!is_failure && are_none(breakers))
        return TH_BREAKER_SAME;
    /* Beforehand, as nothing is allocated under the lock. Without memory it is not noted. */
    struct breaker *spare = is_failure ? breaker_new(endpoint) : NULL, *forgotten = NULL;
    enum th_breaker_event event = TH_BREAKER_SAME;
    pthread_mutex_lock(&breakers->lock);
    struct breaker *breaker = find(breakers, endpoint);
    if (breaker == NULL && spare != NULL) {
        breaker = spare;
        spare = NULL;
        forgotten = add(breakers, breaker);
    }
    if (breaker != NULL)
        event = leave(breaker, pass, verdict, retry_after_ms, now_ms);
    pthread_mutex_unlock(&breakers->lock);
    breaker_free(spare);
    breaker_free(forgotten);
    return event;
}

void th_breakers_show(struct th_breakers *breakers, th_breaker_show_fn *fn, void *arg)
{
    pthread_mutex_lock(&breakers->lock);
    TH_LIST_EACH(item, &breakers->list) {
        const struct breaker *breaker = TH_LIST_ENTRY(item, struct breaker, link);
        const char *query = memchr(breaker->endpoint, '?', breaker->endpoint_len);
        struct th_breaker_shown shown = {
            .endpoint = {breaker->endpoint, query != NULL ? (size_t)(query - breaker->endpoint)
                                                          : breaker->endpoint_len},
            .state = (enum th_breaker_state)breaker->state,
        };
        fn(arg, &shown);
    }
    pthread_mutex_unlock(&breakers->lock);
}
