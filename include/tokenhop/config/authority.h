/* What an authority for interception may vouch for: its name constraints (RFC 5280, 4.2.1.10) held
 * against hosts. Any thread. */
#ifndef TOKENHOP_CONFIG_AUTHORITY_H
#define TOKENHOP_CONFIG_AUTHORITY_H

#include <openssl/x509.h>

#include "tokenhop/config/model.h"

/* Whether it may vouch for the pattern's host; of a wildcard, for all that it stands for. */
bool th_authority_covers(const X509 *certificate, const struct th_config_pattern *pattern);
/* Whether it is constrained at all. */
bool th_authority_is_constrained(const X509 *certificate);

/* Reads all certificates of a PEM text. NULL when there is none or one cannot be read. Freed with
 * sk_X509_pop_free(list, X509_free). */
STACK_OF(X509) * th_authority_read(struct th_str pem);
/* An unencrypted private key; NULL where it is none. */
EVP_PKEY *th_authority_read_key(struct th_str pem);

#endif
