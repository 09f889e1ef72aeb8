#include "tokenhop/oauth/grants.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/ref.h"

struct grant {
    uint8_t key[TH_GRANT_KEY_LEN];
    struct th_secret *secret;
    int64_t until_ms;
};

struct th_grants {
    struct th_ref ref;
    pthread_mutex_t lock; /* a leaf */
    struct grant items[TH_GRANTS_MAX];
    size_t n;
    uint64_t epoch;
};

int th_grants_new(struct th_grants **ret_grants)
{
    struct th_grants *grants = th_calloc(1, sizeof *grants);
    if (grants == NULL)
        return TH_E_NOMEM;
    th_ref_init(&grants->ref);
    pthread_mutex_init(&grants->lock, NULL);
    *ret_grants = grants;
    return 0;
}

struct th_grants *th_grants_ref(struct th_grants *grants)
{
    th_ref_take(&grants->ref);
    return grants;
}

struct th_grants *th_grants_unref(struct th_grants *grants)
{
    if (grants == NULL || !th_ref_release(&grants->ref))
        return NULL;
    th_grants_clear(grants);
    pthread_mutex_destroy(&grants->lock);
    th_free(grants);
    return NULL;
}

/* With its length before it, so that no two lists of texts read the same. */
static bool add_text(EVP_MD_CTX *digest, struct th_str text)
{
    return EVP_DigestUpdate(digest, &text.len, sizeof text.len) == 1 &&
           (text.len == 0 || EVP_DigestUpdate(digest, text.ptr, text.len) == 1);
}

/* What is bound to one DPoP key is of no use with another (RFC 9449, 6). Without one here the process has a
 * single one for the agent. */
static bool add_dpop(EVP_MD_CTX *digest, const struct th_config_agent *agent,
                     const struct th_config_connection *connection)
{
    const struct th_config_dpop_key *key = &agent->dpop_key;
    if (connection->dpop == TH_DPOP_OFF)
        return true;
    return EVP_DigestUpdate(digest, &key->alg, sizeof key->alg) == 1 &&
           add_text(digest, key->key != NULL ? th_secret_expose(key->key) : TH_STR_NONE);
}

int th_grant_key(const struct th_config_agent *agent, const struct th_config_connection *connection,
                 struct th_str subject_token, uint8_t ret_key[TH_GRANT_KEY_LEN])
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    struct th_str version = {(const char *)connection->version, sizeof connection->version};
    bool fine = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                add_text(digest, agent->name) && add_text(digest, agent->client_id) &&
                add_text(digest, connection->name) && add_text(digest, version) &&
                add_text(digest, connection->scope_text) && add_text(digest, subject_token) &&
                add_dpop(digest, agent, connection) &&
                EVP_DigestFinal_ex(digest, ret_key, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return fine ? 0 : TH_E_NOMEM;
}

static struct grant *find(struct th_grants *grants, const uint8_t key[TH_GRANT_KEY_LEN])
{
    for (size_t i = 0; i < grants->n; i++) {
        if (memcmp(grants->items[i].key, key, TH_GRANT_KEY_LEN) == 0)
            return &grants->items[i];
    }
    return NULL;
}

/* Under the lock. Returns its secret, to be given back when the lock is off. */
static struct th_secret *take_out(struct th_grants *grants, struct grant *grant)
{
    struct th_secret *secret = grant->secret;
    *grant = grants->items[--grants->n];
    grants->items[grants->n] = (struct grant){.secret = NULL};
    return secret;
}

struct th_secret *th_grants_find(struct th_grants *grants, const uint8_t key[TH_GRANT_KEY_LEN],
                                 int64_t now_ms)
{
    struct th_secret *secret = NULL, *ended = NULL;
    pthread_mutex_lock(&grants->lock);
    struct grant *grant = find(grants, key);
    if (grant != NULL && grant->until_ms > now_ms)
        secret = th_secret_ref(grant->secret);
    else if (grant != NULL)
        ended = take_out(grants, grant);
    pthread_mutex_unlock(&grants->lock);
    th_secret_unref(ended);
    return secret;
}

static struct grant *first_to_end(struct th_grants *grants)
{
    struct grant *first = &grants->items[0];
    for (size_t i = 1; i < grants->n; i++) {
        if (grants->items[i].until_ms < first->until_ms)
            first = &grants->items[i];
    }
    return first;
}

uint64_t th_grants_epoch(struct th_grants *grants)
{
    pthread_mutex_lock(&grants->lock);
    uint64_t epoch = grants->epoch;
    pthread_mutex_unlock(&grants->lock);
    return epoch;
}

/* Under the lock. Returns the secret that was in its place. */
static struct th_secret *put_in(struct th_grants *grants, const struct grant *grant)
{
    struct th_secret *before = NULL;
    struct grant *place = find(grants, grant->key);
    if (place == NULL && grants->n == TH_GRANTS_MAX)
        place = first_to_end(grants);
    if (place != NULL)
        before = take_out(grants, place);
    grants->items[grants->n] = *grant;
    th_secret_ref(grants->items[grants->n++].secret);
    return before;
}

void th_grants_keep(struct th_grants *grants, const uint8_t key[TH_GRANT_KEY_LEN], uint64_t epoch,
                    struct th_secret *grant, int64_t until_ms)
{
    struct th_secret *before = NULL;
    struct grant fresh = {.secret = grant, .until_ms = until_ms};
    memcpy(fresh.key, key, TH_GRANT_KEY_LEN);
    pthread_mutex_lock(&grants->lock);
    if (grants->epoch == epoch)
        before = put_in(grants, &fresh);
    pthread_mutex_unlock(&grants->lock);
    th_secret_unref(before);
}

void th_grants_drop(struct th_grants *grants, const uint8_t key[TH_GRANT_KEY_LEN])
{
    struct th_secret *secret = NULL;
    pthread_mutex_lock(&grants->lock);
    struct grant *grant = find(grants, key);
    if (grant != NULL)
        secret = take_out(grants, grant);
    pthread_mutex_unlock(&grants->lock);
    th_secret_unref(secret);
}

void th_grants_clear(struct th_grants *grants)
{
    pthread_mutex_lock(&grants->lock);
    grants->epoch++;
    pthread_mutex_unlock(&grants->lock);
    for (bool is_empty = false; !is_empty;) {
        struct th_secret *secret = NULL;
        pthread_mutex_lock(&grants->lock);
        is_empty = grants->n == 0;
        if (!is_empty)
            secret = take_out(grants, &grants->items[grants->n - 1]);
        pthread_mutex_unlock(&grants->lock);
        th_secret_unref(secret);
    }
}
