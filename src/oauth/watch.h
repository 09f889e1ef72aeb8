/* Shows an exchange to its observer, if it has one (see exchange.h): the way from what is sent and
 * answered to what may be shown of it. The worker's thread. */
#ifndef TOKENHOP_SRC_OAUTH_WATCH_H
#define TOKENHOP_SRC_OAUTH_WATCH_H

#include "exchange_run.h"

/* The form and the Authorization field's value, as they are about to be sent. */
void th_exchange_watch_request(const struct th_exchange *ex, struct th_str form,
                               struct th_str authorization);
/* What ex->answer holds, after one try of `duration_us`. */
void th_exchange_watch_answer(const struct th_exchange *ex, int64_t duration_us);
void th_exchange_watch_note(const struct th_exchange *ex, const char *note);

#endif
