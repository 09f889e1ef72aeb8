#include "broker_private.h"
#include "tokenhop/base/mem.h"

struct th_broker_party *th_party_new(struct th_broker_desk *desk, struct th_cache_shard *shard)
{
    struct th_broker_party *party = th_calloc(1, sizeof *party);
    if (party == NULL)
        return NULL;
    party->handle = th_handle_new(desk->worker->handles, party);
    if (party->handle == 0) {
        th_free(party);
        return NULL;
    }
    party->desk = desk;
    party->shard = shard;
    th_list_init(&party->waiters);
    th_list_push_back(&desk->parties, &party->desk_link);
    return party;
}

struct th_broker_party *th_party_free(struct th_broker_party *party)
{
    if (party != NULL) {
        th_handle_drop(party->desk->worker->handles, party->handle);
        th_list_remove(&party->desk_link);
        th_free(party);
    }
    return NULL;
}

struct th_broker_party *th_party_find(const struct th_flight *flight,
                                      const struct th_broker_desk *desk)
{
    for (struct th_list *it = flight->parties.next; it != &flight->parties; it = it->next) {
        struct th_broker_party *party = TH_LIST_ENTRY(it, struct th_broker_party, link);
        if (party->desk == desk)
            return party;
    }
    return NULL;
}

void th_party_add(struct th_broker_party *party, struct th_broker_waiter *waiter)
{
    waiter->desk = party->desk;
    waiter->party = party;
    waiter->waiting = true;
    th_list_push_back(&party->waiters, &waiter->link);
    th_metrics_count(party->desk->worker->metrics, TH_METRIC_EXCHANGE_WAITERS);
}

/* The waiter's place is another's now. */
static void waiter_unlink(struct th_broker_waiter *waiter)
{
    struct th_broker_desk *desk = waiter->desk;
    TH_REQUIRE(waiter->waiting && desk != NULL);
    th_list_remove(&waiter->link);
    waiter->waiting = false;
    waiter->party = NULL;
    waiter->desk = NULL;
    atomic_fetch_sub_explicit(&desk->broker->n_waiting, 1, memory_order_relaxed);
    th_shares_give_waiting(waiter->accounts);
    th_metrics_add(desk->worker->metrics, TH_METRIC_EXCHANGE_WAITERS, -1);
}

/* Off the flight, if it still hangs there. */
static void party_retire(struct th_broker_party *party)
{
    pthread_mutex_lock(&party->shard->lock);
    th_list_remove(&party->link);
    pthread_mutex_unlock(&party->shard->lock);
    th_party_free(party);
}

void th_broker_leave(struct th_broker_waiter *waiter)
{
    if (!waiter->waiting)
        return;
    struct th_broker_party *party = waiter->party;
    waiter_unlink(waiter);
    if (party != NULL && th_list_is_empty(&party->waiters))
        party_retire(party);
}

void th_party_deliver(struct th_broker_party *party, struct th_credential *credential,
                      struct th_refusal *refusal)
{
    struct th_list told;
    /* The party goes first: what the functions do (ask again, leave for others) must not meet it.
     */
    TH_LIST_EACH(it, &party->waiters)
        TH_LIST_ENTRY(it, struct th_broker_waiter, link)->party = NULL;
    th_list_init(&told);
    th_list_splice_back(&told, &party->waiters);
    th_party_free(party);
    while (!th_list_is_empty(&told)) {
        struct th_broker_waiter *waiter = TH_LIST_ENTRY(told.next, struct th_broker_waiter, link);
        waiter_unlink(waiter);
        waiter->fn(waiter, credential, refusal);
    }
}

enum { IS_CREDENTIAL, IS_REFUSAL }; /* the number of a message: what its payload is */

static void on_party_told(struct th_worker *worker, const struct th_message *message)
{
    struct th_credential *credential = message->number == IS_CREDENTIAL ? message->payload : NULL;
    struct th_refusal *refusal = message->number == IS_REFUSAL ? message->payload : NULL;
    struct th_broker_party *party = th_handle_find(worker->handles, message->handle);
    if (party != NULL)
        th_party_deliver(party, credential, refusal);
    th_credential_unref(credential);
    th_refusal_unref(refusal);
}

void th_party_post(struct th_broker *broker, struct th_mailbox *mailbox, uint64_t handle,
                   struct th_credential *credential, struct th_refusal *refusal)
{
    struct th_message message = {
        .fn = on_party_told,
        .handle = handle,
        .number = credential != NULL ? IS_CREDENTIAL : IS_REFUSAL,
    };
    if (credential != NULL)
        message.payload = th_credential_ref(credential);
    else
        message.payload = th_refusal_ref(refusal);
    int error = th_mailbox_post(mailbox, &message);
    if (error == 0)
        return;
    /* A worker that has stopped has nobody to tell. Else its waiters are ended by their
     * deadlines. */
    if (error != TH_E_DRAINING)
        atomic_fetch_add_explicit(&broker->n_lost, 1, memory_order_relaxed);
    if (credential != NULL)
        th_credential_unref(credential);
    else
        th_refusal_unref(refusal);
}

void th_party_dissolve(struct th_broker_party *party)
{
    while (!th_list_is_empty(&party->waiters))
        waiter_unlink(TH_LIST_ENTRY(party->waiters.next, struct th_broker_waiter, link));
    party_retire(party);
}
