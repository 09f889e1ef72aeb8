/* The cache from outside: what is in it, and to empty it. Subjects are fingerprints, as in the logs. */
#include <ctype.h>
#include <string.h>

#include "admin_private.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/json.h"

#define LIST_DEFAULT 1000
#define LIST_MAX 100000
#define VALUE_MAX 64                                /* names have no more */
#define REVOKE_MAX_MS (TH_ADMIN_COMMAND_MS - 10000) /* who asked waits no longer */

/* A filter and the room for its texts. */
struct asked {
    struct th_broker_filter filter;
    bool all; /* named nothing, and said so */
    uint64_t limit;
    char connection[VALUE_MAX + 1], agent[VALUE_MAX + 1], subject[VALUE_MAX + 1];
};

/* NULL: fine. */
static const char *check(const struct th_config_view *config, const struct asked *asked)
{
    const struct th_broker_filter *filter = &asked->filter;
    bool found = filter->connection.len == 0;
    for (size_t i = 0; !found && i < config->n_connections; i++)
        found = th_str_equal(config->connections[i].name, filter->connection);
    if (!found)
        return "there is no connection of that name";
    found = filter->agent.len == 0;
    for (size_t i = 0; !found && i < config->n_agents; i++)
        found = th_str_equal(config->agents[i].name, filter->agent);
    if (!found)
        return "there is no agent of that name";
    if (filter->subject.len == 0)
        return NULL;
    if (filter->subject.len != TH_FINGERPRINT_LEN)
        return "a subject is the fingerprint of the logs: 12 hexadecimal digits";
    for (size_t i = 0; i < filter->subject.len; i++)
        if (!isxdigit((unsigned char)filter->subject.ptr[i]))
            return "a subject is the fingerprint of the logs: 12 hexadecimal digits";
    return NULL;
}

static bool take(char room[VALUE_MAX + 1], struct th_str value, struct th_str *ret_value)
{
    if (value.len == 0 || value.len > VALUE_MAX || ret_value->len > 0)
        return false;
    memcpy(room, value.ptr, value.len);
    *ret_value = (struct th_str){room, value.len};
    return true;
}

static bool take_member(struct asked *asked, struct th_str name, struct th_str value)
{
    struct th_broker_filter *filter = &asked->filter;
    if (th_str_equal(name, TH_STR("connection")))
        return take(asked->connection, value, &filter->connection);
    if (th_str_equal(name, TH_STR("agent")))
        return take(asked->agent, value, &filter->agent);
    if (th_str_equal(name, TH_STR("subject")))
        return take(asked->subject, value, &filter->subject);
    return false;
}

/* "connection=agent2&limit=10": what names may hold needs no encoding. */
static const char *read_query(struct th_str query, struct asked *asked)
{
    while (query.len > 0) {
        const char *end = memchr(query.ptr, '&', query.len);
        struct th_str pair = {query.ptr, end != NULL ? (size_t)(end - query.ptr) : query.len};
        const char *equals = memchr(pair.ptr, '=', pair.len);
        size_t name_len = equals != NULL ? (size_t)(equals - pair.ptr) : pair.len;
        struct th_str name = {pair.ptr, name_len};
        struct th_str value = {equals != NULL ? equals + 1 : pair.ptr,
                               equals != NULL ? pair.len - name_len - 1 : 0};
        bool fine = th_str_equal(name, TH_STR("limit"))
                        ? th_str_to_u64(value, LIST_MAX, &asked->limit) == 0
                        : take_member(asked, name, value);
        if (!fine)
            return "the query is of connection=, agent=, subject= and limit= (100000 at most)";
        query.ptr += pair.len + (end != NULL);
        query.len -= pair.len + (end != NULL);
    }
    return NULL;
}

/* {"connection": ..., "agent": ..., "subject": ...} or {"all": true}: so that a body that was lost on
 * its way does not empty the cache. */
static const char *read_body(struct th_str body, struct asked *asked)
{
    static const char what[] = "the body is {\"all\": true}, or an object with \"connection\", "
                               "\"agent\", \"subject\" or some of them";
    json_t *json = NULL, *value;
    const char *name;
    bool fine = true;

    if (th_json_parse_object(body, TH_ADMIN_BODY_MAX, &json) < 0)
        return what;
    asked->all = json_is_true(json_object_get(json, "all"));
    if (asked->all)
        json_object_del(json, "all");
    fine = asked->all != (json_object_size(json) > 0);
    json_object_foreach(json, name, value) fine =
        fine && json_is_string(value) &&
        take_member(asked, th_str_of(name),
                    (struct th_str){json_string_value(value), json_string_length(value)});
    json_decref(json);
    return fine ? NULL : what;
}

/* 0, or the status of the refusal and *ret_why. */
static int read_asked(const struct th_admin_request *request, struct asked *asked,
                      const char **ret_why)
{
    bool posted = request->head->method == TH_METHOD_POST;
    *asked = (struct asked){.limit = LIST_DEFAULT};
    *ret_why = posted ? read_body(request->body, asked) : read_query(request->query, asked);
    if (*ret_why != NULL)
        return 400;
    *ret_why = check(th_config_get(request->config), asked);
    return *ret_why != NULL ? 404 : 0;
}

/* --- list --- */

static json_t *seconds(int64_t ms)
{
    return ms < 0 ? json_null() : json_integer((json_int_t)(ms / 1000));
}

static bool add_entry(void *arg, const struct th_broker_listed *listed)
{
    json_t *json = json_pack(
        "{s:o, s:o, s:s, s:s, s:o, s:o, s:b, s:I}", "connection",
        listed->connection != NULL ? th_json_text(listed->connection->name) : json_null(), "agent",
        listed->agent != NULL ? th_json_text(listed->agent->name) : json_null(), "subject",
        listed->subject, "state", listed->state, "expires_in_seconds",
        seconds(listed->expires_in_ms), "renewed_in_seconds", seconds(listed->renewed_in_ms),
        "revocable", (int)listed->is_revocable, "bytes", (json_int_t)listed->bytes);
    if (json != NULL && listed->connection != NULL)
        json_object_set_new(json, "scopes", th_json_text(listed->connection->scope_text));
    if (json != NULL && listed->error != 0) {
        json_object_set_new(json, "error", json_string(th_error_get(listed->error)->code));
        json_object_set_new(json, "again_in_seconds", seconds(listed->again_in_ms));
    }
    return json_array_append_new(arg, json) == 0;
}

int th_route_cache(struct th_admin_request *request, struct th_admin_answer *answer)
{
    struct asked asked;
    struct th_broker_figures figures;
    const char *why;
    int status = read_asked(request, &asked, &why);

    if (status != 0)
        return th_answer_refuse(answer, status, why);
    json_t *list = json_array();
    size_t n = th_broker_list(request->admin->broker, &asked.filter, asked.limit, add_entry, list);
    th_broker_count(request->admin->broker, &figures);
    return th_answer_json(answer, 200,
                          json_pack("{s:o, s:I, s:b, s:I}", "entries", list, "count", (json_int_t)n,
                                    "cut", (int)(n >= asked.limit), "in_all",
                                    (json_int_t)figures.entries));
}

/* --- purge and revoke --- */

static void log_drop(struct th_admin *admin, const char *what, const struct asked *asked, size_t n)
{
    TH_LOG(admin->log, TH_LEVEL_INFO, "cache.dropped", "Credentials were dropped by a command",
           TH_LOG_TEXT("command", what), TH_LOG_STR("connection", asked->filter.connection),
           TH_LOG_STR("agent", asked->filter.agent), TH_LOG_STR("subject", asked->filter.subject),
           TH_LOG_UINT("count", n));
}

/* All of them, whatever is asked: what is got next is got by every leg. */
static void drop_grants(struct th_admin *admin)
{
    if (admin->grants != NULL)
        th_grants_clear(admin->grants);
}

int th_route_purge(struct th_admin_request *request, struct th_admin_answer *answer)
{
    struct asked asked;
    const char *why;
    int status = read_asked(request, &asked, &why);

    if (status != 0)
        return th_answer_refuse(answer, status, why);
    drop_grants(request->admin);
    size_t n = th_broker_drop(request->admin->broker, &asked.filter, NULL);
    log_drop(request->admin, "purge", &asked, n);
    return th_answer_json(answer, 200, json_pack("{s:I}", "dropped", (json_int_t)n));
}

/* Who waits for a batch. It ends on another thread, and its outcome is posted to the admin's. */
struct revocation {
    struct th_admin *admin;
    uint64_t asker;
    size_t n_dropped;
    struct th_revoker_outcome outcome;
};

static void on_outcome(struct th_worker *worker, const struct th_message *message)
{
    struct revocation *revocation = message->payload;
    const struct th_revoker_outcome *outcome = &revocation->outcome;
    struct th_admin_answer answer = {0};

    (void)worker;
    th_buf_init(&answer.body, TH_ADMIN_ANSWER_MAX);
    (void)th_answer_json(
        &answer, 200,
        json_pack("{s:I, s:I, s:I, s:I, s:I}", "dropped", (json_int_t)revocation->n_dropped,
                  "revoked", (json_int_t)outcome->n_revoked, "failed",
                  (json_int_t)outcome->n_failed, "not_asked", (json_int_t)outcome->n_unasked,
                  "not_revocable", (json_int_t)outcome->n_skipped));
    th_peer_answer(revocation->admin, revocation->asker, &answer);
    th_free(revocation);
}

static void on_revoked(void *arg, const struct th_revoker_outcome *outcome)
{
    struct revocation *revocation = arg;
    struct th_message message = {.fn = on_outcome, .payload = revocation};

    revocation->outcome = *outcome;
    if (th_mailbox_post(revocation->admin->worker->mailbox, &message) < 0)
        th_free(revocation); /* it has stopped, or is told by its timer */
}

int th_route_revoke(struct th_admin_request *request, struct th_admin_answer *answer)
{
    struct th_admin *admin = request->admin;
    struct asked asked;
    const char *why;
    int status = read_asked(request, &asked, &why);

    if (status != 0)
        return th_answer_refuse(answer, status, why);
    if (admin->revoker == NULL)
        return th_answer_refuse(answer, 501, "revocation is not part of this process");
    struct revocation *revocation = th_calloc(1, sizeof *revocation);
    if (revocation == NULL)
        return th_answer_refuse(answer, 503, "there is not enough memory for this request");
    struct th_dropped dropped = {0};
    th_list_init(&dropped.entries);
    *revocation = (struct revocation){.admin = admin, .asker = request->asker};
    drop_grants(admin);
    revocation->n_dropped = th_broker_drop(admin->broker, &asked.filter, &dropped);
    log_drop(admin, "revoke", &asked, revocation->n_dropped);
    int64_t limit_ms = th_config_get(request->config)->timeouts.revoke_ms;
    if (limit_ms > REVOKE_MAX_MS)
        limit_ms = REVOKE_MAX_MS;
    struct th_revoker_batch batch = {
        .why = "command", .limit_ms = limit_ms, .fn = on_revoked, .arg = revocation};
    th_revoker_start(admin->revoker, &dropped, &batch);
    return TH_AGAIN;
}
