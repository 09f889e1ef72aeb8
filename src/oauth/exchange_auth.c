/* Which of an agent's keys an exchange authenticates with, while one takes the place of the other; and that
 * no server's answer brings a client secret into a log. */
#include <stdio.h>

#include "exchange_run.h"
#include "tokenhop/observe/log.h"

void th_exchange_choose_auth(struct th_exchange *ex,
                             const struct th_config_authorization_server *server)
{
    ex->client.server = server;
    th_plan_leg_client(th_exchange_leg(ex), ex->agent, ex->connection, &ex->client.client_id,
                       &ex->registered);
    if (ex->switched == ex->registered)
        ex->client.auth = ex->switched_to;
    else
        ex->client.auth = th_exchanger_preferred_auth(ex->exchanger, ex->registered);
}

bool th_exchange_switch_key(struct th_exchange *ex)
{
    const struct th_config_auth *registered = ex->registered;
    if (strcmp(ex->answer.oauth_error, "invalid_client") != 0 || registered->next == NULL ||
        ex->switched == registered)
        return false;
    ex->switched = registered;
    ex->switched_to = ex->client.auth == registered ? registered->next : registered;
    TH_LOG(ex->worker->log, TH_LEVEL_WARN, "exchange.other_key",
           "An agent is refused and asks once more with its other key",
           TH_LOG_STR("agent", ex->agent->name),
           TH_LOG_STR("authorization_server", ex->client.server->name),
           TH_LOG_STR("refused_kid", ex->client.auth->kid), TH_LOG_STR("kid", ex->switched_to->kid),
           TH_LOG_TEXT("why", ex->answer.why));
    return true;
}

void th_exchange_note_accepted(struct th_exchange *ex)
{
    if (ex->switched == ex->registered)
        th_exchanger_prefer_auth(ex->exchanger, ex->registered, ex->switched_to);
}

static bool holds(struct th_str text, struct th_str part)
{
    return text.len > 0 && memmem(text.ptr, text.len, part.ptr, part.len) != NULL;
}

void th_exchange_hide_secret(struct th_exchange *ex)
{
    if (ex->client.auth->secret == NULL)
        return;
    struct th_str secret = th_secret_expose(ex->client.auth->secret);
    if (holds(th_jwt_text(ex->answer.object, "error_description"), secret) ||
        holds(th_jwt_text(ex->answer.object, "errorSummary"), secret))
        (void)snprintf(ex->answer.why, sizeof ex->answer.why,
                       "its words hold the client secret, and are not shown");
}
