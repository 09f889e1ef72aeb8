/* A token that comes to a server that is not Okta's, as subject, actor or assertion: verified, and whose
 * it is. */
#ifndef TOKENHOP_SRC_SANDBOX_BEARING_H
#define TOKENHOP_SRC_SANDBOX_BEARING_H

#include "provider.h"

struct th_bearing {
    struct th_jwt jwt; /* what follows borrows from it */
    const struct th_registry_server *server;
    struct th_str sub;
    const struct th_user_row *user; /* NULL: a machine */
    const json_t *act;              /* NULL: none */
};

/* Signed by a server of `trusted` (bits of th_world_server), alive, no ID-JAG unless `id_jag`, which it must
 * be then. Errors are `error`, reasons begin with "subject_". False: refused. fini in either case. */
bool th_bearing_verify(struct th_idp *idp, struct th_str token, unsigned trusted, bool id_jag,
                       const char *error, struct th_bearing *ret_bearing,
                       struct th_idp_answer *answer);
void th_bearing_fini(struct th_bearing *bearing);
/* The user, known and not shut out; or a machine. */
bool th_bearing_check_user(struct th_bearing *bearing, const char *error,
                           struct th_idp_answer *answer);

#endif
