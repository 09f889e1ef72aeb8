#include "exchange_breaker.h"

#include "exchange_certificate.h"
#include "tokenhop/observe/log.h"
#include "tokenhop/observe/metrics.h"

/* A try that was given less of the whole time than this says nothing when it times out: it is the
 * leg before that was slow. */
#define FAIR_PERCENT 25

static const struct th_config_authorization_server *server_at(const struct th_exchange *ex,
                                                              size_t leg)
{
    return th_plan_leg_server(ex->legs.items[leg], ex->agent, ex->connection);
}

/* Empty while it is not known: then its server's metadata has yet to come. */
static struct th_str endpoint_at(const struct th_exchange *ex, size_t leg)
{
    return th_exchange_endpoint_at(ex, ex->legs.items[leg], ex->metadata[leg], false);
}

static int64_t now_of(const struct th_exchange *ex)
{
    return th_clock_monotonic_ms(ex->worker->clock);
}

static void say(const struct th_exchange *ex, size_t leg, enum th_breaker_event event)
{
    const struct th_config_authorization_server *server = server_at(ex, leg);
    switch (event) {
    case TH_BREAKER_SAME:
        break;
    case TH_BREAKER_OPENED:
        th_metrics_count(ex->worker->metrics, TH_METRIC_BREAKERS_OPENED);
        TH_LOG(ex->worker->log, TH_LEVEL_WARN, "breaker.opened",
               "A token endpoint fails and is given a rest",
               TH_LOG_STR("authorization_server", server->name),
               TH_LOG_STR("endpoint", endpoint_at(ex, leg)));
        break;
    case TH_BREAKER_CLOSED:
        TH_LOG(ex->worker->log, TH_LEVEL_WARN, "breaker.closed", "A token endpoint answers again",
               TH_LOG_STR("authorization_server", server->name),
               TH_LOG_STR("endpoint", endpoint_at(ex, leg)));
        break;
    }
}

static void leave(struct th_exchange *ex, size_t leg, enum th_breaker_verdict verdict,
                  int64_t retry_after_ms)
{
    if (!ex->holds_pass[leg])
        return;
    ex->holds_pass[leg] = false;
    say(ex, leg,
        th_breakers_leave(ex->exchanger->breakers, endpoint_at(ex, leg), &ex->passes[leg], verdict,
                          retry_after_ms, now_of(ex)));
}

static int64_t enter(struct th_exchange *ex, size_t leg)
{
    int64_t wait_ms = th_breakers_enter(ex->exchanger->breakers, endpoint_at(ex, leg), now_of(ex),
                                        &ex->passes[leg]);
    ex->holds_pass[leg] = wait_ms == 0;
    return wait_ms;
}

/* An earlier leg goes to the same endpoint: it may be the probe of it. */
static bool is_asked_before(const struct th_exchange *ex, size_t leg)
{
    for (size_t i = ex->leg; i < leg; i++) {
        if (th_str_equal(endpoint_at(ex, i), endpoint_at(ex, leg)))
            return true;
    }
    return false;
}

static int64_t enter_plan(struct th_exchange *ex)
{
    for (size_t leg = ex->leg; leg < ex->legs.n; leg++) {
        if (endpoint_at(ex, leg).len == 0 || is_asked_before(ex, leg))
            continue;
        int64_t wait_ms = enter(ex, leg);
        if (wait_ms > 0) {
            th_exchange_leave_all(ex);
            ex->leg = leg;
            return wait_ms;
        }
        /* Kept is only the place at a probe or a recovery: the rest is asked again when it is due. */
        if (leg > ex->leg && !ex->passes[leg].is_counted)
            leave(ex, leg, TH_BREAKER_UNTRIED, -1);
    }
    return 0;
}

int64_t th_exchange_enter_leg(struct th_exchange *ex)
{
    if (ex->exchanger->breakers == NULL || ex->holds_pass[ex->leg] || ex->only_revokes)
        return 0;
    return ex->result.n_legs == 0 ? enter_plan(ex) : enter(ex, ex->leg);
}

static enum th_breaker_verdict verdict_unanswered(const struct th_exchange *ex)
{
    switch (ex->answer.error) {
    case TH_E_EXCHANGE_DOWN:
    case TH_E_EXCHANGE_FAILED:
        return TH_BREAKER_FAILED;
    case TH_E_EXCHANGE_TIMEOUT:
        return ex->share_ms * 100 >= ex->whole_ms * FAIR_PERCENT ? TH_BREAKER_FAILED
                                                                 : TH_BREAKER_UNTRIED;
    default: /* of this process: no memory, cleartext denied */
        return TH_BREAKER_UNTRIED;
    }
}

static enum th_breaker_verdict verdict_of(const struct th_exchange *ex)
{
    const struct th_token_answer *answer = &ex->answer;
    if (ex->is_unanswered)
        return verdict_unanswered(ex);
    if (answer->error == TH_E_EXCHANGE_DOWN)
        return answer->asks_for_rest ? TH_BREAKER_ASKS : TH_BREAKER_FAILED;
    /* A JSON object that lacks what this connection needs is the connection's trouble alone. */
    if (answer->error == TH_E_EXCHANGE_FAILED && answer->object == NULL &&
        ex->result.legs[th_exchange_report_at(ex)].status < 400)
        return TH_BREAKER_FAILED;
    return TH_BREAKER_ALIVE;
}

void th_exchange_leave_leg(struct th_exchange *ex)
{
    if (ex->is_revoking) /* no word on the token endpoint, whose pass is held meanwhile */
        return;
    leave(ex, ex->leg, verdict_of(ex), ex->answer.retry_after_ms);
}

void th_exchange_leave_all(struct th_exchange *ex)
{
    for (size_t leg = 0; leg < TH_EXCHANGE_LEGS_MAX; leg++)
        leave(ex, leg, TH_BREAKER_UNTRIED, -1);
}

int64_t th_exchange_share_ms(const struct th_exchange *ex)
{
    int64_t left_ms = ex->deadline.deadline_ms - now_of(ex);
    if (ex->only_revokes)
        return left_ms > 0 ? left_ms : 1;
    if (ex->is_revoking)
        left_ms /= 3; /* what matters comes after it */
    else if (ex->leg + 1 < ex->legs.n)
        left_ms = left_ms * TH_EXCHANGE_SHARE_PERCENT / 100;
    return left_ms > 0 ? left_ms : 1;
}
