/* What follows from a failed exchange: whether the key is refused for a while without asking again,
 * and whether a credential that is still being served is withdrawn. One row an error. */
#ifndef TOKENHOP_SRC_TOKEN_REFUSAL_H
#define TOKENHOP_SRC_TOKEN_REFUSAL_H

#include "tokenhop/observe/log.h"
#include "tokenhop/token/broker.h"

/* Longest pause that a Retry-After may ask for. */
#define TH_RETRY_AFTER_MAX_MS 60000

struct th_failure {
    int error;
    bool withdraws; /* the authorization server has said no: what was got before is not served on */
    bool is_remembered;
    bool is_ours; /* the agent's or configuration's fault: forgotten when another one is in force */
    bool heeds_retry_after;
    int64_t first_ms; /* the pause; doubled by each further failure of the key, up to max_ms */
    int64_t max_ms;
    enum th_log_level level;
};

/* The row of an error; for one that has none, a row that is not remembered. Never NULL. */
const struct th_failure *th_failure_get(int error);
/* The pause after a failure, when that after the key's last one was `previous_ms` (0: it is the
 * first). `retry_after_ms`: -1 for none. */
int64_t th_failure_pause(const struct th_failure *failure, int64_t previous_ms,
                         int64_t retry_after_ms);

/* NULL when memory is short. `retry_after_ms`: -1 for none. */
struct th_refusal *th_refusal_new(int error, int64_t retry_after_ms) TH_MUST;
struct th_refusal *th_refusal_of_result(const struct th_exchange_result *result) TH_MUST;
struct th_refusal *th_refusal_of_errinfo(int error, const struct th_errinfo *info) TH_MUST;

#endif
