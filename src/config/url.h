/* http and https URLs of a configuration: strict, nothing is repaired (R7). The parts borrow from
 * the text that was split. Error texts never quote it: a user or password may stand in it. */
#ifndef TOKENHOP_SRC_CONFIG_URL_H
#define TOKENHOP_SRC_CONFIG_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

#define TH_URL_MAX_LEN 2048

struct th_config_url {
    bool https;
    bool wildcard;       /* "*." stood before `host` */
    bool ipv4, ipv6;     /* an address, not a name */
    bool loopback;       /* the address is one of 127.0.0.0/8 or ::1 */
    struct th_str host;  /* in any case, without brackets, without "*." */
    uint16_t port;       /* the scheme's default filled in */
    struct th_str path;  /* with its '/', or empty */
    struct th_str query; /* with its '?', or empty */
};

/* Splits and checks scheme, host and port. A fragment is always refused, "*." unless `wildcard`.
 * Returns 0 or TH_E_CONFIG with `what` and `mend` filled. */
int th_config_url_split(struct th_str text, bool wildcard, struct th_config_url *ret_url,
                        struct th_errinfo *reterr) TH_MUST;

/* A path that every server reads in the same way (R9): segments of RFC 3986's pchar, no dot
 * segments, no "//", no encoded slash, backslash, dot, control or unreserved character. */
int th_config_url_check_path(struct th_str path, struct th_errinfo *reterr) TH_MUST;

/* An absolute URI of any scheme without fragment: resource and audience values. */
int th_config_url_check_absolute(struct th_str text, struct th_errinfo *reterr) TH_MUST;

#endif
