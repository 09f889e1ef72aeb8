/* The keys that sessions are sealed with (RFC 5077, 4; RFC 8446, 4.6.1): whoever gets hold of one can read what of
 * TLS 1.2 was said by such a session, and take up any other. So one is used for half a day, good for as long as
 * a session of it may be, and then wiped. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <string.h>

#include "tls_private.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

#define CIPHER_LEN 32 /* AES-256 */
#define MAC_LEN 32    /* HMAC-SHA-256 */

/* What OpenSSL asks of the callback. */
enum { TICKET_FAILED = -1, TICKET_UNKNOWN = 0, TICKET_GOOD = 1, TICKET_GOOD_RENEW = 2 };

static bool make_key(struct th_tls_ticket_key *key)
{
    uint8_t bytes[CIPHER_LEN + MAC_LEN];

    th_random_bytes(key->name, sizeof(key->name));
    th_random_bytes(bytes, sizeof(bytes));
    key->secret = th_secret_new(bytes, sizeof(bytes));
    th_wipe(bytes, sizeof(bytes));
    return key->secret != NULL;
}

static void drop(struct th_tls_ticket_key *key)
{
    key->secret = th_secret_unref(key->secret);
}

/* --- sealing --- */

/* The key for a ticket of that name; NULL: for a new one. *ret_key holds a reference. */
static int find(struct th_tls_tickets *tickets, const unsigned char *name,
                struct th_tls_ticket_key *ret_key)
{
    int found = TICKET_UNKNOWN;

    pthread_mutex_lock(&tickets->lock);
    for (size_t i = 0; found == TICKET_UNKNOWN && i < TH_COUNT_OF(tickets->keys); i++) {
        const struct th_tls_ticket_key *key = &tickets->keys[i];
        if (key->secret == NULL ||
            (name != NULL && memcmp(key->name, name, sizeof(key->name)) != 0))
            continue;
        *ret_key = *key;
        ret_key->secret = th_secret_ref(key->secret);
        found = i == 0 ? TICKET_GOOD : TICKET_GOOD_RENEW;
    }
    pthread_mutex_unlock(&tickets->lock);
    return found;
}

static bool set_up(const struct th_tls_ticket_key *key, const unsigned char *iv,
                   EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seals)
{
    struct th_str bytes = th_secret_expose(key->secret);
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY,
                                          (void *)(uintptr_t)(bytes.ptr + CIPHER_LEN), MAC_LEN),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, (const unsigned char *)bytes.ptr, iv,
                             seals) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seals)
{
    const struct th_tls *tls = SSL_get_app_data(ssl);
    struct th_tls_ticket_key key;
    int found = find(&tls->server->tickets, seals ? NULL : name, &key);

    if (found == TICKET_UNKNOWN) /* the whole handshake */
        return TICKET_UNKNOWN;
    if (seals) {
        memcpy(name, key.name, sizeof(key.name));
        th_random_bytes(iv, (size_t)EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
    }
    if (!set_up(&key, iv, cipher, mac, seals))
        found = TICKET_FAILED;
    drop(&key);
    return found;
}

/* --- keys --- */

int th_tls_tickets_init(struct th_tls_tickets *tickets, SSL_CTX *ctx)
{
    if (pthread_mutex_init(&tickets->lock, NULL) != 0)
        return TH_E_NOMEM;
    tickets->newest_ms = -1;
    SSL_CTX_set_timeout(ctx, TH_TLS_TICKET_GOOD_MS / 1000);
    if (make_key(&tickets->keys[0]) && SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1)
        return 0;
    th_tls_tickets_fini(tickets);
    return TH_E_NOMEM;
}

void th_tls_tickets_fini(struct th_tls_tickets *tickets)
{
    drop(&tickets->keys[0]);
    drop(&tickets->keys[1]);
    pthread_mutex_destroy(&tickets->lock);
}

static void turn(struct th_tls_tickets *tickets, int64_t now_ms)
{
    int64_t age_ms = now_ms - tickets->newest_ms;
    struct th_tls_ticket_key key;

    if (tickets->newest_ms < 0)
        tickets->newest_ms = now_ms;
    else if (age_ms >= TH_TLS_TICKET_KEY_MS && make_key(&key)) { /* else at the next turn */
        drop(&tickets->keys[1]);
        tickets->keys[1] = tickets->keys[0];
        tickets->keys[0] = key;
        tickets->newest_ms = now_ms;
    } else if (age_ms >= TH_TLS_TICKET_GOOD_MS) {
        drop(&tickets->keys[1]);
    }
}

void th_tls_server_turn_keys(struct th_tls_server *server, int64_t now_ms)
{
    struct th_tls_tickets *tickets = &server->tickets;

    pthread_mutex_lock(&tickets->lock);
    turn(tickets, now_ms);
    pthread_mutex_unlock(&tickets->lock);
}
