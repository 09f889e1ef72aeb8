/* The subject token of an exchange: whether one is given to it, or it gets one itself. */
#include "exchange_run.h"
#include "issued.h"
#include "subject_private.h"

bool th_exchange_takes_subject(const struct th_config_connection *connection)
{
    return th_config_asks_subject(connection) || connection->subject_token != NULL;
}

int th_exchange_read_subject(const struct th_exchange_request *request, int64_t wall_ms,
                             struct th_subject *ret_subject, json_t **ret_claims,
                             struct th_errinfo *reterr)
{
    if (th_exchange_takes_subject(request->connection))
        return th_subject_read(request->subject_token, request->agent,
                               request->connection->subject_type, wall_ms, ret_subject, ret_claims,
                               reterr);
    *ret_subject = (struct th_subject){.type = TH_SUBJECT_ACCESS_TOKEN, .expires_wall_ms = -1};
    *ret_claims = NULL;
    return 0;
}

/* It is looked at as if a caller had brought it, and verified next. */
enum th_exchange_state th_exchange_take_subject(struct th_exchange *ex)
{
    const struct th_config_connection *connection = ex->connection;
    int64_t wall_ms = th_clock_wall_ms(ex->worker->clock);
    enum th_subject_type type = connection->subject_type == TH_SUBJECT_AUTO
                                    ? TH_SUBJECT_ACCESS_TOKEN
                                    : connection->subject_type;
    struct th_errinfo info = {0};
    json_t *claims;
    int error = th_subject_read(th_secret_expose(ex->subject_token), ex->agent, type, wall_ms,
                                &ex->result.subject, &claims, &info);
    if (error != 0)
        return th_exchange_fail(ex, error, info.what);
    json_decref(ex->subject_claims);
    ex->subject_claims = claims;
    ex->subject_wall_ms = wall_ms;
    ex->result.gets_subject = true;
    ex->result.subject_expires_wall_ms =
        wall_ms + th_issued_lifetime_ms(ex->answer.expires_in_ms, claims, wall_ms);
    ex->leg++;
    return TH_EXCHANGE_VERIFY;
}
