#include <pthread.h>

#include "client_auth.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/ref.h"
#include "tokenhop/oauth/dpop.h"

/* An agent's. One that was configured gives way to the next that is; one that was made is kept for good,
 * as the agent may come back to it. */
struct kept {
    struct kept *next;
    char *agent;
    struct th_secret *secret; /* what it was parsed from; NULL: it was made here */
    enum th_signing_alg alg;
    struct th_dpop_key *key;
};

struct th_dpop_keys {
    struct th_ref ref;
    pthread_mutex_t lock;
    struct kept *kept;
};

static void kept_free(struct kept *kept)
{
    if (kept == NULL)
        return;
    th_dpop_key_unref(kept->key);
    th_secret_unref(kept->secret);
    th_free(kept->agent);
    th_free(kept);
}

int th_dpop_keys_new(struct th_dpop_keys **ret_keys)
{
    struct th_dpop_keys *keys = th_calloc(1, sizeof *keys);
    if (keys == NULL)
        return TH_E_NOMEM;
    th_ref_init(&keys->ref);
    TH_REQUIRE(pthread_mutex_init(&keys->lock, NULL) == 0);
    *ret_keys = keys;
    return 0;
}

struct th_dpop_keys *th_dpop_keys_ref(struct th_dpop_keys *keys)
{
    th_ref_take(&keys->ref);
    return keys;
}

struct th_dpop_keys *th_dpop_keys_unref(struct th_dpop_keys *keys)
{
    if (keys == NULL || !th_ref_release(&keys->ref))
        return NULL;
    while (keys->kept != NULL) {
        struct kept *kept = keys->kept;
        keys->kept = kept->next;
        kept_free(kept);
    }
    pthread_mutex_destroy(&keys->lock);
    th_free(keys);
    return NULL;
}

static bool is_same(const struct kept *kept, const struct th_config_dpop_key *configured)
{
    if (kept->alg != configured->alg || (kept->secret == NULL) != (configured->key == NULL))
        return false;
    return kept->secret == configured->key || th_secret_equal(kept->secret, configured->key);
}

static int make_key(const struct th_config_dpop_key *configured, struct th_dpop_key **ret_key)
{
    enum th_alg alg = th_client_auth_alg(configured->alg);
    struct th_key *key;
    int error = configured->key != NULL
                    ? th_key_parse(th_secret_expose(configured->key), &key, NULL)
                    : th_key_generate(alg, &key);
    if (error != 0)
        return error == TH_E_NOMEM ? error : TH_E_CONFIG;
    error = th_dpop_key_new(key, alg, ret_key);
    th_key_unref(key);
    return error;
}

static struct kept *make_kept(const struct th_config_agent *agent)
{
    const struct th_config_dpop_key *configured = &agent->dpop_key;
    struct kept *kept = th_calloc(1, sizeof *kept);
    if (kept == NULL)
        return NULL;
    kept->agent = th_strndup(agent->name.ptr, agent->name.len);
    kept->secret = configured->key != NULL ? th_secret_ref(configured->key) : NULL;
    kept->alg = configured->alg;
    if (kept->agent != NULL)
        return kept;
    kept_free(kept);
    return NULL;
}

/* Under the lock, which P-256 keys are made under: once an agent, some 30 us. */
static int add(struct th_dpop_keys *keys, const struct th_config_agent *agent,
               struct th_dpop_key **ret_key)
{
    struct kept *kept = make_kept(agent);
    int error = kept != NULL ? make_key(&agent->dpop_key, &kept->key) : TH_E_NOMEM;
    if (error != 0) {
        kept_free(kept);
        return error;
    }
    for (struct kept **at = &keys->kept; kept->secret != NULL && *at != NULL; at = &(*at)->next) {
        struct kept *old = *at;
        if (old->secret != NULL && th_str_equal(th_str_of(old->agent), agent->name)) {
            *at = old->next;
            kept_free(old);
            break;
        }
    }
    kept->next = keys->kept;
    keys->kept = kept;
    *ret_key = th_dpop_key_ref(kept->key);
    return 0;
}

int th_dpop_keys_get(struct th_dpop_keys *keys, const struct th_config_agent *agent,
                     struct th_dpop_key **ret_key)
{
    int error = 0;
    pthread_mutex_lock(&keys->lock);
    struct kept *kept = keys->kept;
    while (kept != NULL &&
           !(th_str_equal(th_str_of(kept->agent), agent->name) && is_same(kept, &agent->dpop_key)))
        kept = kept->next;
    if (kept != NULL)
        *ret_key = th_dpop_key_ref(kept->key);
    else
        error = add(keys, agent, ret_key);
    pthread_mutex_unlock(&keys->lock);
    return error;
}
