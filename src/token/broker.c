#include "broker_private.h"
#include "tokenhop/base/mem.h"

int th_broker_new(const struct th_broker_options *options, struct th_broker **ret_broker)
{
    struct th_broker *broker = th_calloc(1, sizeof *broker);
    if (broker == NULL)
        return TH_E_NOMEM;
    broker->margin_ms = options->margin_ms;
    broker->max_lifetime_ms = options->max_lifetime_ms;
    broker->max_waiting = options->max_waiting;
    broker->clock = options->clock != NULL ? options->clock : &th_clock_system;
    TH_REQUIRE(pthread_mutex_init(&broker->directory_lock, NULL) == 0);
    broker->no_memory = th_refusal_new(TH_E_NOMEM, -1);
    broker->stopped = th_refusal_new(TH_E_EXCHANGE_DOWN, -1);
    int error = th_cache_init(&broker->cache, options->max_entries, options->max_bytes);
    if (error == 0)
        error = th_quotas_new(broker->clock, 0, &broker->quotas);
    if (error == 0)
        error = th_accounts_new(&broker->accounts);
    if (error == 0 && (broker->no_memory == NULL || broker->stopped == NULL))
        error = TH_E_NOMEM;
    if (error != 0) {
        th_broker_free(broker);
        return error;
    }
    *ret_broker = broker;
    return 0;
}

struct th_broker *th_broker_free(struct th_broker *broker)
{
    if (broker == NULL)
        return NULL;
    TH_REQUIRE(atomic_load_explicit(&broker->n_desks, memory_order_acquire) == 0);
    th_cache_fini(&broker->cache);
    th_refusal_unref(broker->no_memory);
    th_refusal_unref(broker->stopped);
    th_quotas_free(broker->quotas);
    th_accounts_free(broker->accounts);
    th_directory_unref(broker->directory);
    pthread_mutex_destroy(&broker->directory_lock);
    th_free(broker);
    return NULL;
}

static bool take_place(atomic_uint_least64_t *count, uint64_t max)
{
    if (atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < max)
        return true;
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    return false;
}

static void give_place_back(atomic_uint_least64_t *count)
{
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
}

/* One request's look at the cache, and what it found. */
struct visit {
    struct th_broker_desk *desk;
    const struct th_broker_request *request;
    struct th_broker_waiter *waiter;
    struct th_cache_shard *shard;
    uint64_t hash;
    int64_t now_ms;
    bool may_refresh;
    bool has_shares; /* asked for, as they may take a lock of their own */
    struct th_account_share shares[TH_ACCOUNT_KINDS];
    struct th_share_refused refused;
    /* Made beforehand, as nothing is allocated under the lock; what is used is taken from here. */
    struct th_cache_entry *entry;
    struct th_flight *flight;
    struct th_broker_party *party;
    /* Found */
    struct th_credential *credential;
    struct th_refusal *refusal;
    struct th_flight *started;
    struct th_cache_waste waste;
};

enum verdict {
    SERVE,   /* credential */
    REFRESH, /* credential, and `started` is to be started */
    JOIN,    /* the waiter waits */
    START,   /* the waiter waits, and `started` is to be started */
    REFUSE,  /* refusal */
    FULL,
    LIMITED, /* `refused`: by a share */
    LACKING, /* something must be made beforehand: nothing has changed */
    SHORT    /* of memory, inside the table */
};

static enum verdict serve(struct visit *v, struct th_cache_entry *entry, enum verdict verdict)
{
    entry->touched = true;
    v->credential = th_credential_ref(entry->credential);
    return verdict;
}

/* The waiter's place has been taken. */
static enum verdict wait_for(struct visit *v, struct th_flight *flight, enum verdict verdict)
{
    struct th_broker_party *party = th_party_find(flight, v->desk);
    if (party == NULL) {
        party = th_take(&v->party);
        th_list_push_back(&flight->parties, &party->link);
    }
    th_party_add(party, v->waiter);
    return verdict;
}

static enum verdict join(struct visit *v, struct th_flight *flight)
{
    struct th_broker *broker = v->desk->broker;
    if ((!v->has_shares && v->request->shares != NULL) ||
        (v->party == NULL && th_party_find(flight, v->desk) == NULL))
        return LACKING;
    if (!th_shares_take_waiting(broker, v->shares, v->waiter->accounts, &v->refused))
        return LIMITED;
    if (!take_place(&broker->n_waiting, broker->max_waiting)) {
        th_shares_give_waiting(v->waiter->accounts);
        return FULL;
    }
    return wait_for(v, flight, JOIN);
}

/* Puts the flight on the entry, which is put into the table if it is not there. */
static int board(struct visit *v, struct th_cache_entry *entry)
{
    struct th_flight *flight = v->flight;
    flight->shard = v->shard;
    if (entry == NULL) {
        int error = th_cache_add(v->shard, v->entry, v->hash, &v->request->key, flight);
        if (error == 0)
            flight->entry = th_take(&v->entry);
        return error;
    }
    struct th_cache_holding holding = {.flight = flight, .setback = entry->of.setback};
    flight->entry = entry;
    flight->setback = holding.setback;
    th_cache_move(v->shard, entry, TH_ENTRY_PENDING, &holding, &v->waste);
    return 0;
}

static enum verdict take_shares(struct visit *v)
{
    struct th_broker *broker = v->desk->broker;

    if (!th_shares_take_waiting(broker, v->shares, v->waiter->accounts, &v->refused))
        return LIMITED;
    if (th_shares_take_exchange(broker, v->shares, v->now_ms, v->flight->accounts, &v->refused))
        return START;
    th_shares_give_waiting(v->waiter->accounts);
    return LIMITED;
}

/* `entry`: NULL, or READY but expired, or FAILED. */
static enum verdict start(struct visit *v, struct th_cache_entry *entry)
{
    struct th_broker *broker = v->desk->broker;
    if (v->flight == NULL || v->party == NULL || (entry == NULL && v->entry == NULL))
        return LACKING;
    enum verdict verdict = take_shares(v);
    if (verdict != START)
        return verdict;
    verdict = FULL;
    if (take_place(&broker->n_flights, broker->max_waiting)) {
        if (take_place(&broker->n_waiting, broker->max_waiting)) {
            if (board(v, entry) == 0) {
                v->started = th_take(&v->flight);
                return wait_for(v, v->started, START);
            }
            verdict = SHORT;
            give_place_back(&broker->n_waiting);
        }
        give_place_back(&broker->n_flights);
    }
    th_shares_undo_exchange(v->shares, v->flight->accounts);
    th_shares_give_waiting(v->waiter->accounts);
    return verdict;
}

static enum verdict refresh(struct visit *v, struct th_cache_entry *entry)
{
    struct th_broker *broker = v->desk->broker;
    if (v->flight == NULL)
        return LACKING;
    if (!take_place(&broker->n_flights, broker->max_waiting))
        return serve(v, entry, SERVE);
    struct th_flight *flight = v->started = th_take(&v->flight);
    struct th_cache_holding holding = {
        .credential = entry->credential,
        .flight = flight,
        .setback = entry->of.setback,
    };
    flight->is_renewal = true;
    flight->shard = v->shard;
    flight->entry = entry;
    flight->setback = entry->of.setback;
    th_cache_move(v->shard, entry, TH_ENTRY_REFRESHING, &holding, &v->waste);
    return serve(v, entry, REFRESH);
}

static bool is_expired(const struct visit *v, const struct th_cache_entry *entry)
{
    return entry->credential->expires_ms <= v->now_ms;
}

static bool is_due(const struct visit *v, const struct th_cache_entry *entry)
{
    return entry->credential->refresh_ms <= v->now_ms && v->may_refresh &&
           (entry->of.setback == NULL || entry->of.setback->again_ms <= v->now_ms);
}

static enum verdict look_refreshing(struct visit *v, struct th_cache_entry *entry)
{
    struct th_flight *flight = entry->of.flight;
    if (!is_expired(v, entry))
        return serve(v, entry, SERVE);
    struct th_cache_holding holding = {.flight = flight};
    th_cache_move(v->shard, entry, TH_ENTRY_PENDING, &holding, &v->waste);
    return join(v, flight);
}

static enum verdict look_failed(struct visit *v, struct th_cache_entry *entry)
{
    struct th_setback *setback = entry->of.setback;
    if (setback->refusal == NULL || setback->again_ms <= v->now_ms)
        return start(v, entry);
    v->refusal = th_refusal_ref(setback->refusal);
    return REFUSE;
}

/* Under the shard's lock. */
static enum verdict look(struct visit *v)
{
    struct th_cache_entry *entry = th_cache_find(v->shard, v->hash, &v->request->key);
    enum th_entry_state state = entry != NULL ? entry->state : TH_ENTRY_ABSENT;
    switch (state) {
    case TH_ENTRY_ABSENT:
        return start(v, NULL);
    case TH_ENTRY_PENDING:
        return join(v, entry->of.flight);
    case TH_ENTRY_READY:
        if (is_expired(v, entry))
            return start(v, entry);
        return is_due(v, entry) ? refresh(v, entry) : serve(v, entry, SERVE);
    case TH_ENTRY_REFRESHING:
        return look_refreshing(v, entry);
    case TH_ENTRY_FAILED:
        return look_failed(v, entry);
    case TH_ENTRY_STATE_COUNT:
        break;
    }
    (void)TH_CHECK_FAILS(state != TH_ENTRY_STATE_COUNT);
    return FULL;
}

static enum verdict visit(struct visit *v)
{
    pthread_mutex_lock(&v->shard->lock);
    enum verdict verdict = look(v);
    pthread_mutex_unlock(&v->shard->lock);
    return verdict;
}

/* All that any verdict may need: which one it will be is known only under the lock. */
static bool prepare(struct visit *v)
{
    if (v->request->shares != NULL)
        v->request->shares(v->request->shares_arg, v->shares);
    v->has_shares = true;
    v->entry = th_calloc(1, sizeof *v->entry);
    v->flight = th_flight_new(v->desk);
    v->party = th_party_new(v->desk, v->shard);
    return v->entry != NULL && v->flight != NULL && v->party != NULL;
}

static void leave_no_trace(struct visit *v)
{
    th_free(v->entry);
    th_flight_free(v->flight);
    th_party_free(v->party);
    th_cache_waste_empty(&v->waste);
}

/* Looks again with what was lacking. Without memory for a renewal, the credential is served. */
static enum verdict visit_prepared(struct visit *v)
{
    v->may_refresh = prepare(v);
    enum verdict verdict = visit(v);
    return verdict == LACKING ? SHORT : verdict;
}

/* The renewal could not be begun: unless it says that the subject is refused, it will be tried
 * again. */
static int begin_refresh(struct visit *v, int64_t deadline_ms)
{
    int error = th_flight_start(v->started, v->request, deadline_ms, NULL, &v->refusal);
    if (error != 0 && th_failure_get(error)->withdraws) {
        v->credential = th_credential_unref(v->credential);
        return error;
    }
    v->refusal = th_refusal_unref(v->refusal);
    return 0;
}

static int begin(struct visit *v, int64_t deadline_ms)
{
    int error = th_flight_start(v->started, v->request, deadline_ms, v->waiter, &v->refusal);
    return error == 0 ? TH_AGAIN : error;
}

static int conclude(struct visit *v, enum verdict verdict, int64_t deadline_ms,
                    enum th_cache_state *ret_state)
{
    struct th_metrics_shard *metrics = v->desk->worker->metrics;
    switch (verdict) {
    case SERVE:
        *ret_state = TH_CACHE_HIT;
        th_metrics_count(metrics, TH_METRIC_CACHE_HITS);
        return 0;
    case REFRESH:
        *ret_state = TH_CACHE_REFRESHED;
        th_metrics_count(metrics, TH_METRIC_CACHE_HITS);
        th_metrics_count(metrics, TH_METRIC_CACHE_REFRESHES);
        return begin_refresh(v, deadline_ms);
    case JOIN:
        *ret_state = TH_CACHE_JOINED;
        th_metrics_count(metrics, TH_METRIC_CACHE_JOINED);
        return TH_AGAIN;
    case START:
        *ret_state = TH_CACHE_MISS;
        th_metrics_count(metrics, TH_METRIC_CACHE_MISSES);
        return begin(v, deadline_ms);
    case REFUSE:
        *ret_state = TH_CACHE_NEGATIVE;
        th_metrics_count(metrics, TH_METRIC_CACHE_NEGATIVE);
        return v->refusal->error;
    case FULL:
        *ret_state = TH_CACHE_MISS;
        return TH_E_EXCHANGE_QUEUE;
    case LIMITED:
        *ret_state = TH_CACHE_MISS;
        th_account_note_refusal(v->refused.account, v->refused.bound);
        v->refusal =
            th_broker_limited(v->refused.account, v->refused.bound, v->refused.retry_after_ms);
        return TH_E_CALLER_LIMIT;
    case LACKING:
    case SHORT:
        break;
    }
    *ret_state = TH_CACHE_MISS;
    return TH_E_NOMEM;
}

int th_broker_get(struct th_broker_desk *desk, const struct th_broker_request *request,
                  int64_t deadline_ms, struct th_broker_waiter *waiter,
                  struct th_credential **ret_credential, enum th_cache_state *ret_state,
                  struct th_refusal **ret_refusal)
{
    struct th_cache *cache = &desk->broker->cache;
    uint64_t hash = th_cache_hash(cache, &request->key);
    struct visit v = {
        .desk = desk,
        .request = request,
        .waiter = waiter,
        .shard = th_cache_shard(cache, hash),
        .hash = hash,
        .now_ms = desk->worker->now_ms,
        .may_refresh = true,
    };
    TH_ASSERT(!waiter->waiting);
    *ret_credential = NULL;
    *ret_refusal = NULL;
    th_cache_waste_init(&v.waste);
    enum verdict verdict = visit(&v);
    if (TH_LIKELY(verdict == SERVE)) {
        *ret_credential = v.credential;
        return conclude(&v, verdict, deadline_ms, ret_state);
    }
    if (verdict == LACKING)
        verdict = visit_prepared(&v);
    int error = conclude(&v, verdict, deadline_ms, ret_state);
    leave_no_trace(&v);
    *ret_credential = v.credential;
    *ret_refusal = v.refusal;
    return error;
}

/* Whether the entry serves the credential; *ret_setback is where what went wrong with it is
 * noted. */
static bool find_serving(struct th_cache_entry *entry, const struct th_credential *credential,
                         struct th_setback ***ret_setback)
{
    if (entry == NULL || entry->credential != credential)
        return false;
    *ret_setback =
        entry->state == TH_ENTRY_REFRESHING ? &entry->of.flight->setback : &entry->of.setback;
    return true;
}

/* Returns the credential that the setback held before, to be given back when the lock is off. */
static struct th_credential *note_rejection(struct th_setback *setback,
                                            const struct th_credential *credential, int64_t now_ms)
{
    struct th_credential *before = NULL;
    if (credential->revoke_if_rejected) {
        before = setback->rejected;
        setback->rejected = th_credential_ref((struct th_credential *)credential);
    }
    setback->again_ms = 0;
    setback->rejected_ms = now_ms;
    if (setback->forget_ms < now_ms + TH_REJECTED_MS)
        setback->forget_ms = now_ms + TH_REJECTED_MS;
    return before;
}

/* Under the shard's lock. `spare`: a setback to be used if there is none, NULL without memory. */
static bool reject(struct th_cache_shard *shard, struct th_cache_entry *entry,
                   const struct th_credential *credential, int64_t now_ms,
                   struct th_setback **spare, struct th_credential **ret_before,
                   struct th_cache_waste *waste)
{
    struct th_setback **place;
    struct th_cache_holding holding = {0};
    if (!find_serving(entry, credential, &place))
        return true;
    struct th_setback *setback = *place != NULL ? *place : th_take(spare);
    if (setback == NULL) {
        /* Not remembered, so nothing would end the asking again. */
        if (entry->state == TH_ENTRY_READY)
            th_cache_move(shard, entry, TH_ENTRY_ABSENT, NULL, waste);
        return false;
    }
    if (th_setback_was_rejected(setback, now_ms))
        return false;
    *ret_before = note_rejection(setback, credential, now_ms);
    if (entry->state == TH_ENTRY_REFRESHING) {
        holding.flight = entry->of.flight;
        holding.flight->setback = setback;
        th_cache_move(shard, entry, TH_ENTRY_PENDING, &holding, waste);
    } else {
        holding.setback = setback;
        th_cache_move(shard, entry, TH_ENTRY_FAILED, &holding, waste);
    }
    return true;
}

bool th_broker_reject(struct th_broker_desk *desk, const struct th_cache_key *key,
                      const struct th_credential *credential)
{
    struct th_cache *cache = &desk->broker->cache;
    uint64_t hash = th_cache_hash(cache, key);
    struct th_cache_shard *shard = th_cache_shard(cache, hash);
    struct th_setback *spare = th_calloc(1, sizeof *spare);
    struct th_credential *before = NULL;
    struct th_cache_waste waste;
    th_cache_waste_init(&waste);
    pthread_mutex_lock(&shard->lock);
    bool again = reject(shard, th_cache_find(shard, hash, key), credential, desk->worker->now_ms,
                        &spare, &before, &waste);
    pthread_mutex_unlock(&shard->lock);
    th_credential_unref(before);
    th_cache_waste_empty(&waste);
    th_setback_free(spare);
    return again;
}

void th_broker_count(const struct th_broker *broker, struct th_broker_figures *ret_figures)
{
    *ret_figures = (struct th_broker_figures){
        .entries = atomic_load_explicit(&broker->cache.n_entries, memory_order_relaxed),
        .bytes = atomic_load_explicit(&broker->cache.n_bytes, memory_order_relaxed),
        .pending = atomic_load_explicit(&broker->n_flights, memory_order_relaxed),
        .waiting = atomic_load_explicit(&broker->n_waiting, memory_order_relaxed),
        .lost = atomic_load_explicit(&broker->n_lost, memory_order_relaxed),
    };
}

struct th_quotas *th_broker_quotas(struct th_broker *broker)
{
    return broker->quotas;
}
