/* What servers that are not Okta's issue, and what a request asks them for. */
#ifndef TOKENHOP_SRC_SANDBOX_ISSUE_H
#define TOKENHOP_SRC_SANDBOX_ISSUE_H

#include "provider.h"

/* The targets and scopes of a request. */
struct th_asked {
    const struct th_target_row *targets[TH_PROVIDER_TARGETS];
    size_t n_targets;
    const struct th_registry_server *chained; /* another server is named: identity chaining */
    struct th_str scope;                      /* granted; borrowed from the form, or from `text` */
    bool scope_differs;                       /* from what was asked */
    char text[256];
};

/* Reads `audience` and `resource` as far as they are taken, and `scope`; `ceiling` (empty: none) bounds the
 * scopes. False: refused with invalid_target, invalid_scope. */
bool th_asked_read(const struct th_idp *idp, const struct th_idp_request *request,
                   const struct th_form *form, bool takes_audience, bool takes_resource,
                   bool target_required, struct th_str ceiling, struct th_asked *ret_asked,
                   struct th_idp_answer *answer);

/* Whom an issued token speaks of. */
struct th_issue {
    struct th_str sub;
    const struct th_user_row *user; /* NULL: a machine */
    const json_t *act;              /* NULL: none */
    const char *token_type;
    const char *issued_token_type; /* NULL: the answer does not say */
    long lifetime;
    bool id_token;     /* or else an access token */
    bool assertion;    /* for asked->chained */
    bool always_scope; /* say the scope though it is what was asked for */
};

/* Makes the token and the answer. */
void th_issue_token(struct th_idp *idp, const struct th_idp_request *request,
                    const struct th_asked *asked, const struct th_issue *issue,
                    struct th_idp_answer *answer);

#endif
