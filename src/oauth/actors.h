/* Claims that say who a token is of: the chain of actors (RFC 8693, 4.1), the scopes. */
#ifndef TOKENHOP_SRC_OAUTH_ACTORS_H
#define TOKENHOP_SRC_OAUTH_ACTORS_H

#include <jansson.h>

#include "tokenhop/base/str.h"
#include "tokenhop/oauth/json.h"

/* `act` and what is nested in it, outermost first; borrowed from the claims. An entry without `sub`
 * has an empty one. What a parsed token can nest is TH_JSON_DEPTH_MAX. */
struct th_actors {
    struct th_str subs[TH_JSON_DEPTH_MAX];
    size_t count;
};
void th_actors_read(const json_t *claims, struct th_actors *ret_actors);

/* Which scopes what is issued may have. */
struct th_scope_limit {
    const struct th_str *asked;
    size_t n_asked;
    char separator;   /* besides the space */
    bool with_claims; /* and those that only let claims in: OpenID Connect Core, 5.4 */
};
/* What a text of scopes is parted by: spaces, or where the server wants it by its separator. */
char th_scope_parting(struct th_str text, char separator);
/* Whether every scope of `scope` or `scp` (string or array of strings) is within the limit. */
bool th_scope_claim_within(const json_t *claims, const char *name,
                           const struct th_scope_limit *limit);

#endif
