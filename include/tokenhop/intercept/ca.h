/* The authority for interception: made once, by `tokenhop ca init`, for the hosts of the configured
 * connections and no others. Any thread. */
#ifndef TOKENHOP_INTERCEPT_CA_H
#define TOKENHOP_INTERCEPT_CA_H

#include "tokenhop/base/buf.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/config/model.h"

/* P-256, pathlen 0, for servers of TLS alone (extendedKeyUsage), and name constraints (critical) that
 * permit the hosts of https:// patterns: names with what is below them, addresses exactly. A kind of
 * which there is no host is left nothing, and so are URIs and mail: the addresses are excluded, of the
 * others only "invalid" is permitted, which no resolver knows (RFC 6761).
 * The certificate is appended to `certificate`. TH_E_CONFIG with *reterr filled where there is no
 * such host. */
int th_ca_make(const struct th_config_view *config, int64_t now_s, unsigned days,
               struct th_buf *certificate, struct th_secret **ret_key,
               struct th_errinfo *reterr) TH_MUST;

#endif
