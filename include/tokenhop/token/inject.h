/* From what was issued to the value of the header field that it is sent in, as the connection's
 * `inject` says. Done once, when an exchange ends: the value is what the cache keeps. Any thread. */
#ifndef TOKENHOP_TOKEN_INJECT_H
#define TOKENHOP_TOKEN_INJECT_H

#include "tokenhop/config/model.h"
#include "tokenhop/oauth/exchange.h"

#define TH_INJECT_VALUE_MAX ((size_t)72 * 1024) /* a token of the longest, and its scheme */

struct th_injected {
    struct th_secret *value; /* the whole field value */
    uint32_t secret_at;      /* where in it what is secret stands; of several values, the longest */
    uint32_t secret_len;
};

/* 0 and the whole value, "Bearer eyJ...", or "DPoP eyJ..." of a bound token, which goes by no other
 * scheme (RFC 9449, 7.1). TH_E_EXCHANGE_FAILED when it cannot be made of what came, and
 * why: with the names that came where one is missing, never with a value. TH_E_NOMEM. `inject` NULL: a
 * bearer token. */
int th_inject_make(const struct th_config_inject *inject, const struct th_exchange_result *result,
                   struct th_injected *ret_injected, char ret_why[TH_EXCHANGE_DETAIL_MAX]) TH_MUST;

/* The same of a static connection's values, which loading has held against `inject`: 0, TH_E_CONFIG
 * (which should not be) or TH_E_NOMEM. */
int th_inject_static(const struct th_config_connection *connection,
                     struct th_injected *ret_injected) TH_MUST;

#endif
