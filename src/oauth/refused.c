#include "refused.h"

#include <stdio.h>

/* What is of another snapshot is forgotten: its agents are others, even if they are called the same. */
static void drop_old(struct th_refused_list *list, struct th_config *config)
{
    if (list->config == config)
        return;
    th_refused_fini(list);
    list->config = config != NULL ? th_config_ref(config) : NULL;
}

void th_refused_fini(struct th_refused_list *list)
{
    if (list->config != NULL)
        th_config_unref(list->config);
    *list = (struct th_refused_list){0};
}

static struct th_refused *find(struct th_refused_list *list, const struct th_config_agent *agent,
                               const struct th_config_authorization_server *server,
                               const struct th_config_connection *connection,
                               const struct th_config_client *client)
{
    for (size_t i = 0; i < list->n; i++) {
        struct th_refused *refused = &list->items[i];
        if (refused->agent == agent && refused->server == server &&
            refused->connection == connection && refused->client == client)
            return refused;
    }
    return NULL;
}

/* Who is presented there, where that is not the agent. */
static const struct th_config_client *client_of(const struct th_exchange *ex,
                                                const struct th_plan_leg *leg)
{
    return leg->client == TH_LEG_BY_SUBJECT_CLIENT ? ex->connection->subject_client : NULL;
}

/* Of what holds for the agent, and for it at this connection, the one that lasts longer. */
static struct th_refused *find_any(struct th_exchange *ex, const struct th_plan_leg *leg)
{
    const struct th_config_authorization_server *server =
        th_plan_leg_server(leg, ex->agent, ex->connection);
    const struct th_config_client *client = client_of(ex, leg);
    struct th_refused_list *list = &ex->exchanger->refused;
    struct th_refused *whole = find(list, ex->agent, server, NULL, client);
    struct th_refused *part = find(list, ex->agent, server, ex->connection, client);
    if (whole == NULL || part == NULL)
        return whole != NULL ? whole : part;
    return whole->until_ms >= part->until_ms ? whole : part;
}

bool th_refused_holds(struct th_exchange *ex, size_t leg)
{
    struct th_refused_list *list = &ex->exchanger->refused;
    int64_t now_ms = th_clock_monotonic_ms(ex->worker->clock);
    if (list->n == 0)
        return false;
    drop_old(list, ex->config);
    struct th_refused *refused = find_any(ex, ex->legs.items[leg]);
    if (refused == NULL)
        return false;
    if (now_ms >= refused->until_ms) {
        refused->until_ms = now_ms + refused->rest_ms; /* the others wait for this one */
        return false;
    }
    memcpy(ex->result.oauth_error, refused->oauth_error, sizeof refused->oauth_error);
    memcpy(ex->result.detail, refused->detail, sizeof refused->detail);
    return true;
}

static struct th_refused *add(struct th_refused_list *list)
{
    if (list->n < TH_REFUSED_MAX)
        return &list->items[list->n++];
    struct th_refused *oldest = &list->items[0];
    for (size_t i = 1; i < list->n; i++) {
        if (list->items[i].until_ms < oldest->until_ms)
            oldest = &list->items[i];
    }
    return oldest;
}

void th_refused_note(struct th_exchange *ex)
{
    struct th_refused_list *list = &ex->exchanger->refused;
    const struct th_config_authorization_server *server = th_exchange_server(ex);
    bool is_client = strcmp(ex->answer.oauth_error, "invalid_client") == 0;
    const struct th_config_client *client = client_of(ex, th_exchange_leg(ex));
    const struct th_config_connection *connection = is_client ? NULL : ex->connection;
    drop_old(list, ex->config);
    struct th_refused *refused = find(list, ex->agent, server, connection, client);
    int64_t rest_ms = TH_REFUSED_REST_MS;
    if (refused != NULL)
        rest_ms = refused->rest_ms < TH_REFUSED_REST_MAX_MS / 2 ? refused->rest_ms * 2
                                                                : TH_REFUSED_REST_MAX_MS;
    else
        refused = add(list);
    *refused = (struct th_refused){.agent = ex->agent,
                                   .server = server,
                                   .connection = connection,
                                   .client = client,
                                   .rest_ms = rest_ms,
                                   .until_ms = th_clock_monotonic_ms(ex->worker->clock) + rest_ms};
    memcpy(refused->oauth_error, ex->result.oauth_error, sizeof refused->oauth_error);
    memcpy(refused->detail, ex->result.detail, sizeof refused->detail);
    char *said = strstr(refused->detail, TH_ANSWER_SAYS);
    if (said != NULL)
        *said = '\0'; /* it may be about the one whom this was asked for */
}

static void drop(struct th_refused_list *list, struct th_refused *refused)
{
    if (refused != NULL)
        *refused = list->items[--list->n];
}

void th_refused_forget(struct th_exchange *ex)
{
    struct th_refused_list *list = &ex->exchanger->refused;
    if (list->n == 0 || list->config != ex->config)
        return;
    const struct th_config_authorization_server *server = th_exchange_server(ex);
    const struct th_config_client *client = client_of(ex, th_exchange_leg(ex));
    drop(list, find(list, ex->agent, server, NULL, client));
    drop(list, find(list, ex->agent, server, ex->connection, client));
}
