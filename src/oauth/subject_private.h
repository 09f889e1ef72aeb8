#ifndef TOKENHOP_SRC_OAUTH_SUBJECT_PRIVATE_H
#define TOKENHOP_SRC_OAUTH_SUBJECT_PRIVATE_H

#include <jansson.h>

#include "tokenhop/oauth/subject.h"

/* th_subject_inspect(), which also hands over the claims: a new reference, NULL when the token is
 * opaque. Untouched on failure. */
int th_subject_read(struct th_str token, const struct th_config_agent *agent,
                    enum th_subject_type configured, int64_t wall_ms,
                    struct th_subject *ret_subject, json_t **ret_claims,
                    struct th_errinfo *reterr) TH_MUST;

/* What must hold of the claims of a token whose signature is checked, besides what th_subject_read()
 * looked at: audience and times (RFC 7519, 4.1; RFC 9068, 4). 0, or TH_E_SUBJECT_AUDIENCE or
 * TH_E_SUBJECT_UNTRUSTED and *ret_why. */
int th_subject_check_claims(const json_t *claims, const struct th_config_agent *agent,
                            enum th_subject_type type, int64_t wall_ms,
                            const char **ret_why) TH_MUST;

#endif
