/* Proof of possession (DPoP, RFC 9449): an agent's key, the proofs made with it, and the nonces that
 * servers have asked for.
 *
 *   dpop keys   of the process: every agent's key, made or read when it is first wanted, and kept over
 *               reloads, so that tokens which are bound to it stay usable. A key that is configured
 *               anew is another key
 *   dpop key    of one agent: the private key, its thumbprint, and the latest nonce of each server.
 *               Nonces are kept with the key, so that nothing is learned for one agent that another
 *               one uses (R15)
 *
 * Both are counted. Any thread; the locks are leaves. A proof is made for one request and sent once. */
#ifndef TOKENHOP_OAUTH_DPOP_H
#define TOKENHOP_OAUTH_DPOP_H

#include "tokenhop/base/buf.h"
#include "tokenhop/config/model.h"
#include "tokenhop/oauth/jose.h"

#define TH_DPOP_NONCE_MAX 1024 /* bytes; a longer one is not remembered */
#define TH_DPOP_NONCES_MAX 64  /* servers; beyond, the one longest without use is forgotten */
/* A proof for a URL and method of `len` bytes together is never longer. */
#define TH_DPOP_PROOF_MAX(len) ((size_t)8192 + 3 * (size_t)(len))
/* SHA-256 in base64url. */
#define TH_DPOP_THUMBPRINT_LEN 43

struct th_dpop_key;

/* Takes a reference of a private key that fits `alg`. */
int th_dpop_key_new(struct th_key *key, enum th_alg alg, struct th_dpop_key **ret_key) TH_MUST;
struct th_dpop_key *th_dpop_key_ref(struct th_dpop_key *key);
struct th_dpop_key *th_dpop_key_unref(struct th_dpop_key *key); /* NULL is fine; returns NULL */
/* RFC 7638: what `jkt` of a bound token says. */
struct th_str th_dpop_key_thumbprint(const struct th_dpop_key *key);
/* Whether a signature takes about a millisecond: it belongs on a helper thread then. */
bool th_dpop_key_is_slow(const struct th_dpop_key *key);

/* What is proved: the request's method and its URL as the receiver sees it, of which query and
 * fragment are left out (htu), and the access token that it bears (at a token endpoint none). */
struct th_dpop_request {
    struct th_str method;
    struct th_str url;
    struct th_str access_token; /* empty: none */
    int64_t wall_ms;
};

/* Adds a proof to `out`, with the latest nonce of the URL's server. TH_E_NOMEM. */
int th_dpop_prove(struct th_dpop_key *key, const struct th_dpop_request *request,
                  struct th_buf *out) TH_MUST;

/* Whether it is a nonce (RFC 9449, 8.1: one or more NQCHAR), and one that is not too long. */
bool th_dpop_is_nonce(struct th_str nonce);
/* Of an answer, whatever its status, of the URL's server: kept for proofs to come. What is no nonce is
 * passed over. */
void th_dpop_note_nonce(struct th_dpop_key *key, struct th_str url, struct th_str nonce);

/* A token's confirmation (RFC 9449, 6.1; RFC 7800). */
enum th_dpop_binding {
    TH_DPOP_UNBOUND,     /* no `cnf.jkt` that could be read */
    TH_DPOP_BOUND,       /* to this key */
    TH_DPOP_BOUND_BESIDE /* to another, or in a way that makes no sense */
};
/* `key` NULL: to none. `claims` NULL: opaque, unbound as far as it says. */
enum th_dpop_binding th_dpop_binding_of(const json_t *claims, const struct th_dpop_key *key);

struct th_dpop_keys;

int th_dpop_keys_new(struct th_dpop_keys **ret_keys) TH_MUST;
struct th_dpop_keys *th_dpop_keys_ref(struct th_dpop_keys *keys);
struct th_dpop_keys *th_dpop_keys_unref(struct th_dpop_keys *keys); /* NULL is fine; returns NULL */
/* The agent's key, a new reference: the configured one, else the one made for the agent of this name.
 * TH_E_CONFIG when the configured one cannot be used, TH_E_NOMEM. */
int th_dpop_keys_get(struct th_dpop_keys *keys, const struct th_config_agent *agent,
                     struct th_dpop_key **ret_key) TH_MUST;

#endif
