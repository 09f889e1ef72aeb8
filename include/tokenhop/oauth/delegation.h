/* What an exchange was about, for the audit: of whom the subject token spoke and whether anybody vouched for
 * it, what was issued, and how the legs went. No token is in it. Made where exchangers are told to keep it;
 * held by the credential or refusal that came of the exchange, so that every use of it can be accounted
 * for. Immutable, counted; any thread. */
#ifndef TOKENHOP_OAUTH_DELEGATION_H
#define TOKENHOP_OAUTH_DELEGATION_H

#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/ref.h"
#include "tokenhop/base/str.h"

#define TH_DELEGATION_ACTORS_MAX 16
#define TH_DELEGATION_LEGS_MAX 8

struct th_delegation_leg {
    const char *name; /* constant text */
    struct th_str endpoint;
    int status; /* HTTP; 0: no answer */
    int64_t duration_us;
};

struct th_delegation {
    struct th_ref ref;
    uint32_t size; /* bytes, all that is behind it included */
    bool subject_verified;
    /* All texts are of the struct's own, cut to a few hundred bytes each; empty: not said. */
    struct th_str subject_issuer, subject_name;
    struct th_str issued_id;       /* jti of what was issued, where it reads as a JWT */
    struct th_str issued_scopes;   /* parted by spaces */
    struct th_str issued_audience; /* parted by spaces, as the scopes are */
    int64_t issued_until_wall_ms;  /* -1: not said */
    size_t n_all_actors;           /* of the chain, of which so many are kept: */
    size_t n_actors;
    struct th_str *actors; /* subs, the latest first */
    size_t n_legs;
    struct th_delegation_leg *legs;
};

struct th_delegation *th_delegation_ref(struct th_delegation *delegation);
struct th_delegation *th_delegation_unref(struct th_delegation *delegation); /* NULL is fine */

#endif
