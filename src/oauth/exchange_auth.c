/* Which of an agent's keys an exchange authenticates with, while one takes the place of the other; and that
 * no server's answer brings a client secret or a token into a log. */
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

#define TOKEN_MIN 8 /* what is shorter may stand in a sentence by chance */

static bool holds(struct th_str text, const struct th_secret *secret, size_t min)
{
    struct th_str part = secret != NULL ? th_secret_expose(secret) : TH_STR_NONE;
    return part.len > 0 && part.len >= min && text.len >= part.len &&
           memmem(text.ptr, text.len, part.ptr, part.len) != NULL;
}

/* Of all that was sent. What a token looks like is kept back anyway (printable.h); this one may look like
 * words. */
static bool holds_any(const struct th_exchange *ex, struct th_str text)
{
    const struct th_secret *const tokens[] = {ex->subject_token, ex->previous, ex->actor,
                                              ex->connection->actor.token, ex->rejected};
    for (size_t i = 0; i < TH_COUNT_OF(tokens); i++) {
        if (holds(text, tokens[i], TOKEN_MIN))
            return true;
    }
    return holds(text, ex->client.auth->secret, 1);
}

void th_exchange_hide_secret(struct th_exchange *ex)
{
    char *said = strstr(ex->answer.why, TH_ANSWER_SAYS);
    if (said == NULL)
        return;
    size_t room = sizeof ex->answer.why - (size_t)(said - ex->answer.why);
    if (holds_any(ex, th_jwt_text(ex->answer.object, "error_description")) ||
        holds_any(ex, th_jwt_text(ex->answer.object, "errorSummary")))
        (void)snprintf(said, room, " (its words hold a secret, and are not shown)");
}
