#include "exchange_private.h"
#include "exchange_run.h"
#include "refused.h"
#include "tokenhop/base/mem.h"

int th_exchanger_share(struct th_exchanger *exchanger, struct th_documents *documents)
{
    struct th_document_desk *desk;
    int error = th_document_desk_new(documents, exchanger->worker, exchanger->fetcher, &desk);
    if (error != 0)
        return error;
    th_document_desk_free(exchanger->documents);
    exchanger->documents = desk;
    return 0;
}

struct th_document_desk *th_exchanger_documents(struct th_exchanger *exchanger)
{
    return exchanger->documents;
}

void th_exchanger_share_dpop_keys(struct th_exchanger *exchanger, struct th_dpop_keys *keys)
{
    th_dpop_keys_unref(exchanger->dpop_keys);
    exchanger->dpop_keys = th_dpop_keys_ref(keys);
}

void th_exchanger_share_grants(struct th_exchanger *exchanger, struct th_grants *grants)
{
    th_grants_unref(exchanger->grants);
    exchanger->grants = th_grants_ref(grants);
}

static int make_documents(struct th_exchanger *exchanger)
{
    struct th_documents *documents;
    int error = th_documents_new(&documents);
    if (error != 0)
        return error;
    error = th_exchanger_share(exchanger, documents);
    th_documents_unref(documents);
    return error;
}

int th_exchanger_new(struct th_worker *worker, struct th_fetcher *fetcher,
                     struct th_breakers *breakers, struct th_exchanger **ret_exchanger)
{
    struct th_exchanger *exchanger = th_calloc(1, sizeof *exchanger);
    if (exchanger == NULL)
        return TH_E_NOMEM;
    exchanger->worker = worker;
    exchanger->fetcher = fetcher;
    exchanger->breakers = breakers != NULL ? th_breakers_ref(breakers) : NULL;
    th_list_init(&exchanger->running);
    int error = th_dpop_keys_new(&exchanger->dpop_keys);
    if (error == 0)
        error = make_documents(exchanger);
    if (error != 0) {
        th_dpop_keys_unref(exchanger->dpop_keys);
        th_breakers_unref(exchanger->breakers);
        th_free(exchanger);
        return error;
    }
    *ret_exchanger = exchanger;
    return 0;
}

void th_exchanger_keep_delegations(struct th_exchanger *exchanger)
{
    exchanger->keeps_delegations = true;
}

static void drop_key(struct th_exchanger *exchanger, size_t index)
{
    struct th_cached_key *cached = &exchanger->keys[index];
    th_key_unref(cached->key);
    th_secret_unref(cached->secret);
    exchanger->n_keys--;
    for (size_t i = index; i < exchanger->n_keys; i++)
        exchanger->keys[i] = exchanger->keys[i + 1];
}

struct th_exchanger *th_exchanger_free(struct th_exchanger *exchanger)
{
    if (exchanger == NULL)
        return NULL;
    th_exchange_cancel_all(exchanger);
    th_document_desk_free(exchanger->documents);
    while (exchanger->n_keys > 0)
        drop_key(exchanger, exchanger->n_keys - 1);
    th_refused_fini(&exchanger->refused);
    th_breakers_unref(exchanger->breakers);
    th_dpop_keys_unref(exchanger->dpop_keys);
    th_grants_unref(exchanger->grants);
    th_free(exchanger);
    return NULL;
}

/* Before a key of another snapshot comes in: those of snapshots before are wanted no more, and neither
 * are their files' contents. Exchanges that still run have their own references. */
static void drop_old_keys(struct th_exchanger *exchanger, const struct th_config *config)
{
    for (size_t i = exchanger->n_keys; i > 0; i--) {
        if (exchanger->keys[i - 1].config != config)
            drop_key(exchanger, i - 1);
    }
    if (exchanger->n_keys == TH_EXCHANGER_KEYS)
        drop_key(exchanger, 0);
}

int th_exchanger_get_key(struct th_exchanger *exchanger, const struct th_config *config,
                         const struct th_config_auth *auth, struct th_key **ret_key)
{
    for (size_t i = 0; i < exchanger->n_keys; i++) {
        struct th_cached_key *cached = &exchanger->keys[i];
        if (cached->secret == auth->key) {
            cached->config = config;
            *ret_key = th_key_ref(cached->key);
            return 0;
        }
    }
    struct th_key *key;
    if (auth->key == NULL)
        return TH_E_CONFIG;
    int error = th_key_parse(th_secret_expose(auth->key), &key, NULL);
    if (error != 0)
        return error == TH_E_NOMEM ? error : TH_E_CONFIG;
    drop_old_keys(exchanger, config);
    exchanger->keys[exchanger->n_keys++] = (struct th_cached_key){
        .secret = th_secret_ref(auth->key), .key = th_key_ref(key), .config = config};
    *ret_key = key;
    return 0;
}

const struct th_config_auth *th_exchanger_preferred_auth(const struct th_exchanger *exchanger,
                                                         const struct th_config_auth *auth)
{
    for (size_t i = 0; auth->next != NULL && i < exchanger->n_keys; i++) {
        if (exchanger->keys[i].secret == auth->key)
            return exchanger->keys[i].is_superseded ? auth->next : auth;
    }
    return auth;
}

void th_exchanger_prefer_auth(struct th_exchanger *exchanger, const struct th_config_auth *auth,
                              const struct th_config_auth *preferred)
{
    for (size_t i = 0; i < exchanger->n_keys; i++) {
        if (exchanger->keys[i].secret == auth->key)
            exchanger->keys[i].is_superseded = preferred != auth;
    }
}
