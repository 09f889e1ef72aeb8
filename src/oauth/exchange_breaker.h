/* What an exchange has to do with the breakers of the endpoints that it calls. */
#ifndef TOKENHOP_SRC_OAUTH_EXCHANGE_BREAKER_H
#define TOKENHOP_SRC_OAUTH_EXCHANGE_BREAKER_H

#include "exchange_run.h"

/* Before anything is spent on the leg: 0, and the exchange holds the leave to call it; or for how many
 * ms it cannot be called. At the start of the plan that is asked for all its endpoints, as a leg
 * before one that cannot be called is wasted; then ex->leg is the leg that must wait. */
int64_t th_exchange_enter_leg(struct th_exchange *ex) TH_MUST;

/* The leg was answered, or broke off: ex->answer says how. */
void th_exchange_leave_leg(struct th_exchange *ex);

/* Gives back what is held but was not used. */
void th_exchange_leave_all(struct th_exchange *ex);

/* For how long the try that begins now may last. A leg that is not the last of the plan gets
 * TH_EXCHANGE_SHARE_PERCENT of what is left: a server that hangs is noticed, and its breaker opens,
 * although the caller's patience is that of the whole. */
int64_t th_exchange_share_ms(const struct th_exchange *ex);

#endif
