/* What an exchange sends to a revocation endpoint (RFC 7009): before its legs, of a token that would come
 * again, or alone, of one that nobody uses any more. */
#include "exchange_run.h"
#include "tokenhop/base/check.h"
#include "tokenhop/observe/log.h"

int th_exchange_begin_revoking(struct th_exchange *ex, struct th_str token)
{
    ex->is_revoking = true;
    ex->n_revocations = 1;
    ex->rejected = th_secret_new(token.ptr, token.len);
    return ex->rejected != NULL ? 0 : TH_E_NOMEM;
}

/* Whatever was said, the legs follow: the worst is that the same token comes again. */
static void pass_over(struct th_exchange *ex, int status)
{
    ex->answer = (struct th_token_answer){.retry_after_ms = -1};
    if (status != 200)
        TH_LOG(ex->worker->log, TH_LEVEL_WARN, "exchange.unrevoked",
               "A token that its destination does not take could not be revoked, ignoring",
               TH_LOG_STR("connection", ex->connection->name), TH_LOG_INT("status", status));
}

void th_exchange_read_revoked(struct th_exchange *ex, const struct th_fetch_response *response)
{
    int status = response != NULL ? response->status : 0;
    if (!ex->only_revokes) {
        pass_over(ex, status);
    } else if (status == 200) {
        /* Whatever else it says, and whether or not the token was known (RFC 7009, 2.2). */
        ex->answer = (struct th_token_answer){.retry_after_ms = -1};
    } else {
        th_token_answer_read(response, ex->plan->revocation, th_exchange_server(ex)->issuer,
                             &ex->answer);
        th_exchange_hide_secret(ex);
    }
}

int th_exchange_revoke(struct th_exchanger *exchanger, const struct th_exchange_request *request,
                       th_exchange_fn *fn, void *arg, struct th_exchange **ret_exchange,
                       struct th_errinfo *reterr)
{
    struct th_exchange *ex = th_exchange_new(exchanger, request, fn, arg);
    if (ex == NULL || th_exchange_begin_revoking(ex, request->rejected_token) != 0) {
        th_exchange_free(ex);
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "no memory for a revocation");
    }
    TH_REQUIRE(ex->plan->revocation != NULL);
    ex->only_revokes = true;
    ex->state = TH_EXCHANGE_VERIFY; /* which it needs not */
    th_exchange_run(ex, TH_EXCHANGE_DISCOVER);
    *ret_exchange = ex;
    return 0;
}
