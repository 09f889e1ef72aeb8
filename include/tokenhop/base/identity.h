/* Identities: a certificate of our own, what leads from it to an authority, and its private key;
 * what TLS shows to a peer that asks for a client certificate, and what a client assertion names
 * its key by.
 *
 * Made in two or three steps by whoever loads it (th_identity_new, th_identity_set_key), then
 * immutable and counted: ref/unref and everything that reads from any thread. OpenSSL counts what
 * is handed out here without a lock of ours. */
#ifndef TOKENHOP_BASE_IDENTITY_H
#define TOKENHOP_BASE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/ref.h"
#include "tokenhop/base/str.h"

struct x509_st;
struct stack_st_X509;
struct evp_pkey_st;

#define TH_IDENTITY_SHA256_LEN 32
#define TH_IDENTITY_SHA1_LEN 20

struct th_identity {
    struct th_ref ref;
    struct x509_st *certificate;
    struct stack_st_X509
        *chain;              /* what follows it in the file, each the issuer of the one before */
    struct evp_pkey_st *key; /* NULL: the certificate alone */
    uint8_t sha256[TH_IDENTITY_SHA256_LEN]; /* of the certificate's DER: x5t#S256 (RFC 8705, 3.1) */
    uint8_t sha1[TH_IDENTITY_SHA1_LEN];     /* likewise: x5t (RFC 7515, 4.1.7) */
    uint8_t whole[TH_IDENTITY_SHA256_LEN];  /* of the certificate and its chain: what is shown */
};

/* Reads certificates in PEM form, the own one first; what else is in the text is passed over.
 * TH_E_CONFIG with *reterr filled for none, a chain in another order, one that is not valid today,
 * or a key or signature too weak for TLS here. */
int th_identity_new(struct th_str certificates, struct th_identity **ret_identity,
                    struct th_errinfo *reterr) TH_MUST;
/* Adds the private key in PEM form, not encrypted, which must be the certificate's. Before anybody
 * else has the identity. */
int th_identity_set_key(struct th_identity *identity, struct th_str key,
                        struct th_errinfo *reterr) TH_MUST;
/* Whether servers take the certificate for a client's: its extendedKeyUsage, if any, says so. */
bool th_identity_is_for_clients(const struct th_identity *identity);
/* And clients for a server's. */
bool th_identity_is_for_servers(const struct th_identity *identity);
/* The numbers of the public key, big-endian without leading zeros: n and e of RSA, x and y of an
 * elliptic curve (not shortened); to compare them with a JWK. TH_E_CONFIG for any other kind. */
int th_identity_numbers(const struct th_identity *identity, uint8_t *ret_first, size_t *len_first,
                        uint8_t *ret_second, size_t *len_second) TH_MUST;
/* Whether both show the same certificates. NULL is no identity. */
bool th_identity_equal(const struct th_identity *a, const struct th_identity *b);

struct th_identity *th_identity_ref(struct th_identity *identity);
struct th_identity *th_identity_unref(
    struct th_identity *identity); /* NULL is fine; returns NULL */

#endif
