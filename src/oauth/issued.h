/* What was issued, compared with what was asked for (R26), where it reads as a JWT. Any thread. */
#ifndef TOKENHOP_SRC_OAUTH_ISSUED_H
#define TOKENHOP_SRC_OAUTH_ISSUED_H

#include <jansson.h>

#include "tokenhop/config/model.h"
#include "tokenhop/oauth/plan.h"

/* All borrowed. */
struct th_issued {
    const struct th_config_agent *agent;
    const struct th_config_connection *connection;
    enum th_subject_type subject_type;
    const json_t *subject; /* claims of the subject token; NULL: opaque */
    const json_t *header;  /* of what was issued; NULL: opaque */
    const json_t *claims;  /* likewise */
    const json_t *answer;  /* what it came in */
    int64_t wall_ms;
};

/* Before leg 2: an assertion that is misbound, or has ended, is not carried on, whatever issued_checks
 * says. The server there would refuse the latter as if the subject token were at fault (R28). */
int th_issued_check_id_jag(const struct th_issued *issued, const char **ret_why) TH_MUST;
/* The same of an assertion that is no ID-JAG. */
int th_issued_check_jwt_grant(const struct th_issued *issued, const char **ret_why) TH_MUST;
int th_issued_check_access_token(const struct th_issued *issued, const char **ret_why) TH_MUST;
/* Also its type, and that of the answer: RFC 8693, 2.2.1. */
int th_issued_check_exchanged(const struct th_issued *issued, const char **ret_why) TH_MUST;
int th_issued_check_behalf(const struct th_issued *issued, const char **ret_why) TH_MUST;
/* Of a token that has no subject but the agent. */
int th_issued_check_own(const struct th_issued *issued, const char **ret_why) TH_MUST;
/* Of a subject token that the exchange got itself. */
int th_issued_check_subject(const struct th_issued *issued, const char **ret_why) TH_MUST;

/* What is odd but no ground to refuse; constant text, or NULL. */
const char *th_issued_note_id_jag(const struct th_issued *issued);
const char *th_issued_note_access_token(const struct th_issued *issued);
const char *th_issued_note_exchanged(const struct th_issued *issued);

/* How long it may be kept from `wall_ms` on (reference, 13): the shorter of expires_in and the JWT's `exp`,
 * the latter alone, else a minute. 0: not at all. */
int64_t th_issued_lifetime_ms(int64_t expires_in_ms, const json_t *claims, int64_t wall_ms);

#endif
