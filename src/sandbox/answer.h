/* Making answers of the identity provider. */
#ifndef TOKENHOP_SRC_SANDBOX_ANSWER_H
#define TOKENHOP_SRC_SANDBOX_ANSWER_H

#include "idp.h"

/* RFC 6749, 5.2, worded as Okta does. The description never holds a token. Returns false, so that a
 * check reads  return th_answer_refuse(...);  */
bool th_answer_refuse(struct th_idp_answer *answer, const char *error, const char *reason,
                      const char *description);
/* Memory is short, or a signature could not be made. */
bool th_answer_fail(struct th_idp_answer *answer, int error);

#endif
