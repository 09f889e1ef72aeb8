/* Signed tokens whose signature is an HMAC over a shared secret: client_secret_jwt alone. They have an
 * enumeration and functions of their own, so that no public key is ever taken for such a secret nor a
 * secret for a key (RFC 8725, 2.1 and 3.1): jose.h knows none of these algorithms. Any thread. */
#ifndef TOKENHOP_OAUTH_MAC_H
#define TOKENHOP_OAUTH_MAC_H

#include "tokenhop/oauth/jose.h"

enum th_mac { TH_MAC_NONE, TH_MAC_HS256, TH_MAC_HS384, TH_MAC_HS512 };

/* TH_MAC_NONE for what is not in the list. */
enum th_mac th_mac_find(struct th_str name);
struct th_str th_mac_name(enum th_mac mac);

/* As th_jwt_sign(), without `kid`. TH_E_CONFIG when the secret is shorter than the algorithm's digest
 * (RFC 7518, 3.2), TH_E_NOMEM. */
int th_jwt_sign_mac(const struct th_secret *secret, enum th_mac mac, struct th_str typ,
                    const json_t *claims, struct th_secret **ret_token) TH_MUST;
/* 0 when the header's `alg` is one of these and the signature is right, compared in constant time. */
int th_jwt_verify_mac(const struct th_jwt *jwt, const struct th_secret *secret) TH_MUST;

#endif
