/* The subject token of leg 1, verified (reference, sections 3 and 14). */
#ifndef TOKENHOP_SRC_SANDBOX_PRESENTED_H
#define TOKENHOP_SRC_SANDBOX_PRESENTED_H

#include "form.h"
#include "idp.h"

struct th_presented {
    struct th_jwt jwt; /* what follows borrows from it */
    struct th_str sub;
    const struct th_user_row *user; /* NULL: a machine */
    const struct th_registry_client
        *from;         /* the client that an access token was issued to; else NULL */
    const json_t *act; /* NULL: none */
};

/* Whether answer->client may present it. False: refused, the answer is made. fini in either case. */
bool th_presented_check(struct th_idp *idp, const struct th_form *form,
                        struct th_presented *ret_presented, struct th_idp_answer *answer);
void th_presented_fini(struct th_presented *presented);

#endif
