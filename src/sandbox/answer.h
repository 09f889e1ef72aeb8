/* Making answers of the identity provider. */
#ifndef TOKENHOP_SRC_SANDBOX_ANSWER_H
#define TOKENHOP_SRC_SANDBOX_ANSWER_H

#include "idp.h"

/* RFC 6749, 5.2, worded as Okta does. The description never holds a token. */
void th_answer_set_error(struct th_idp_answer *answer, const char *error, const char *reason,
                         const char *description);
/* The same; false, so that a check reads  return th_answer_refuse(...);  */
static inline bool th_answer_refuse(struct th_idp_answer *answer, const char *error,
                                    const char *reason, const char *description)
{
    th_answer_set_error(answer, error, reason, description);
    return false;
}
/* Memory is short, or a signature could not be made. */
bool th_answer_fail(struct th_idp_answer *answer, int error);

#endif
