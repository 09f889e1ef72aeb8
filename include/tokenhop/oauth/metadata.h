/* Metadata of authorization servers that are not Okta's (RFC 8414, OpenID Connect Discovery): where
 * their endpoints are. Asked for in the order of the reference (section 1): RFC 8414, the
 * well-known segment between host and path; OpenID likewise; OpenID, appended. A document whose
 * `issuer` is not the configured one, byte for byte, is another server's and not used. */
#ifndef TOKENHOP_OAUTH_METADATA_H
#define TOKENHOP_OAUTH_METADATA_H

#include "tokenhop/config/model.h"
#include "tokenhop/oauth/documents.h"

struct th_metadata_list {
    const struct th_str *items;
    size_t n; /* 0: it does not say */
};

/* Counted, immutable; the texts live as long as it. */
struct th_metadata {
    struct th_str issuer;
    struct th_str token_endpoint; /* these: empty when not said */
    struct th_str revocation_endpoint;
    struct th_str jwks_uri;
    /* For who authenticates by certificate (RFC 8705, 5); https, and empty when not said. */
    struct th_str mtls_token_endpoint;
    struct th_str mtls_revocation_endpoint;
    struct th_metadata_list grant_types;
    struct th_metadata_list auth_methods;
    struct th_metadata_list auth_algs;
};

/* 0: *ret_metadata is a new reference. TH_AGAIN: the waiter waits. Else *ret_failure:
 * TH_E_EXCHANGE_DOWN, or TH_E_EXCHANGE_FAILED when the server publishes none that can be used. */
int th_metadata_get(struct th_document_desk *desk,
                    const struct th_config_authorization_server *server,
                    struct th_document_waiter *waiter, const struct th_metadata **ret_metadata,
                    struct th_document_failure *ret_failure) TH_MUST;
/* A new reference to what is there already; NULL: nothing is, and nobody is asked. */
const struct th_metadata *th_metadata_peek(
    struct th_document_desk *desk, const struct th_config_authorization_server *server) TH_MUST;
const struct th_metadata *th_metadata_ref(const struct th_metadata *metadata);
const struct th_metadata *th_metadata_unref(const struct th_metadata *metadata); /* NULL is fine */

/* Reads one, as its issuer is said to be. 0; TH_E_NOMEM; TH_E_EXCHANGE_FAILED and *ret_why. */
int th_metadata_parse(struct th_str text, struct th_str issuer, bool allow_cleartext,
                      const struct th_metadata **ret_metadata, const char **ret_why) TH_MUST;
/* The URL of attempt 0, 1, 2; false beyond the last. */
bool th_metadata_place(struct th_str issuer, unsigned attempt, struct th_buf *url);

#endif
