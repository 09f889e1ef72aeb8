#include "a2a.h"

#include <event2/buffer.h>
#include <stdio.h>

#include "text.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define DEFAULT_EVENTS 3
#define MAX_EVENTS 100000
#define MAX_PAUSE_MS 600000

enum kind { SEND, STREAM, GET_TASK, ADMIN };

static const struct method_row {
    const char *name;
    enum kind kind;
    const char *scope;
} methods[] = {
    {"message/send", SEND, "chat.read"},     {"SendMessage", SEND, "chat.read"},
    {"message/stream", STREAM, "chat.read"}, {"SendStreamingMessage", STREAM, "chat.read"},
    {"tasks/get", GET_TASK, "chat.history"}, {"GetTask", GET_TASK, "chat.history"},
    {"sandbox/admin", ADMIN, "chat.admin"},
};

static const struct method_row *find_method(const char *name)
{
    for (size_t i = 0; name != NULL && i < TH_COUNT_OF(methods); i++) {
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    }
    return NULL;
}

/* Methods of 1.0 begin with a capital; those of 0.3 are paths. */
static bool is_1_0(const json_t *request)
{
    const char *method = json_string_value(json_object_get(request, "method"));
    return method != NULL && method[0] >= 'A' && method[0] <= 'Z';
}

static json_t *id_of(const json_t *request)
{
    json_t *id = json_object_get(request, "id");
    return id != NULL ? json_incref(id) : json_null();
}

static void reply_rpc_error(struct th_web_call *call, const json_t *request, int code,
                            const char *message)
{
    th_web_reply_json(call, 200,
                      json_pack("{s:s, s:o, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id_of(request),
                                "error", "code", code, "message", message));
}

json_t *th_a2a_make_answer(const json_t *request, json_t *data)
{
    json_t *result;
    if (is_1_0(request))
        result = json_pack("{s:{s:s, s:s, s:[{s:s}, {s:o}]}}", "message", "messageId", "m1", "role",
                           "ROLE_AGENT", "parts", "text", "seen", "data", data);
    else
        result = json_pack("{s:s, s:s, s:s, s:[{s:s, s:s}, {s:s, s:o}]}", "kind", "message",
                           "messageId", "m1", "role", "agent", "parts", "kind", "text", "text",
                           "seen", "kind", "data", "data", data);
    return json_pack("{s:s, s:o, s:o}", "jsonrpc", "2.0", "id", id_of(request), "result", result);
}

struct stream {
    json_t *request;
    json_t *seen;
    long events;
};

static void free_stream(void *data)
{
    struct stream *stream = data;
    json_decref(stream->request);
    json_decref(stream->seen);
    th_free(stream);
}

/* One status update an event; the last one is the message with what was seen. */
static bool next_event(void *data, unsigned long number, struct evbuffer *ret_piece)
{
    struct stream *stream = data;
    if (number >= (unsigned long)stream->events)
        return false;
    bool last = number + 1 == (unsigned long)stream->events;
    json_t *event =
        last ? th_a2a_make_answer(stream->request, json_incref(stream->seen))
             : json_pack("{s:s, s:o, s:{s:s, s:s, s:i, s:{s:s}, s:b}}", "jsonrpc", "2.0", "id",
                         id_of(stream->request), "result", "kind", "status-update", "taskId", "t1",
                         "number", (int)number, "status", "state", "working", "final", 0);
    struct th_buf text;
    th_buf_init(&text, 1024 * 1024);
    th_buf_printf(&text, "data: ");
    th_text_add_json(&text, event, JSON_COMPACT);
    th_buf_printf(&text, "\n\n");
    json_decref(event);
    bool fine = !text.failed && evbuffer_add(ret_piece, text.ptr, text.len) == 0;
    th_buf_fini(&text);
    return fine;
}

static void serve_stream(struct th_web_call *call, const json_t *request, json_t *seen)
{
    struct stream *stream = th_calloc(1, sizeof *stream);
    if (stream == NULL) {
        json_decref(seen);
        th_web_reply_error(call, 503, "out of memory");
        return;
    }
    stream->request = json_incref((json_t *)request);
    stream->seen = seen;
    stream->events = th_web_query_long(call, "n", DEFAULT_EVENTS, MAX_EVENTS);
    th_web_add_field(call, "Cache-Control", "no-store");
    th_web_stream(call, 200, "text/event-stream", th_web_query_long(call, "ms", 0, MAX_PAUSE_MS),
                  next_event, stream, free_stream);
}

/* "call": "agent3" in the request or in the message's metadata. */
static bool wants_call(const struct th_sandbox_agent *agent, const json_t *request)
{
    const json_t *params = json_object_get(request, "params");
    const json_t *metadata = json_object_get(json_object_get(params, "message"), "metadata");
    const char *target = json_string_value(json_object_get(request, "call"));
    if (target == NULL)
        target = json_string_value(json_object_get(metadata, "call"));
    return target != NULL && strcmp(target, "agent3") == 0 &&
           strcmp(agent->resource->row->name, "agent2") == 0;
}

static void serve_request(struct th_web_call *call, const struct th_verified *verified,
                          const json_t *request)
{
    const struct th_sandbox_agent *agent = call->owner;
    const char *version = json_string_value(json_object_get(request, "jsonrpc"));
    const char *name = json_string_value(json_object_get(request, "method"));
    bool plain = json_is_object(request) && name == NULL && version == NULL &&
                 json_object_get(request, "call") != NULL; /* {"call": "agent3"} alone will do */
    const struct method_row *method = find_method(plain ? "message/send" : name);
    if (!plain && (version == NULL || strcmp(version, "2.0") != 0 || name == NULL)) {
        reply_rpc_error(call, request, -32600, "Invalid Request");
        return;
    }
    if (method == NULL) {
        reply_rpc_error(call, request, -32601, "Method not found");
        return;
    }
    if (!th_agent_authorize(call, verified, method->scope))
        return;
    json_t *seen = th_verified_json(agent, verified);
    if (method->kind == GET_TASK) {
        json_decref(seen);
        reply_rpc_error(call, request, -32001, "Task not found");
    } else if (method->kind == STREAM) {
        serve_stream(call, request, seen);
    } else if (wants_call(agent, request)) {
        th_agent_call_next(call, verified, request, seen);
    } else {
        th_web_reply_json(call, 200, th_a2a_make_answer(request, seen));
    }
}

void th_a2a_serve(struct th_web_call *call, const struct th_verified *verified)
{
    if (strcmp(call->method, "POST") != 0) {
        th_web_add_field(call, "Allow", "POST");
        th_web_reply_error(call, 405, "only POST here");
        return;
    }
    json_t *request = json_loadb(call->body.ptr, call->body.len, JSON_REJECT_DUPLICATES, NULL);
    if (request == NULL)
        reply_rpc_error(call, NULL, -32700, "Parse error");
    else
        serve_request(call, verified, request);
    json_decref(request);
}

json_t *th_a2a_make_card(const struct th_sandbox_agent *agent)
{
    char url[1024];
    const struct th_registry_server *server =
        &agent->sandbox->registry.servers[agent->resource->row->server];
    snprintf(url, sizeof url, "%s/a2a/", agent->resource->url);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:[{s:s, s:s, s:s}], s:{s:b}, s:{s:{s:s, s:s}}}",
                     "name", agent->resource->row->name, "description", agent->resource->row->text,
                     "version", TH_VERSION, "protocolVersion", "0.3.0", "url", url,
                     "supportedInterfaces", "url", url, "protocolBinding", "JSONRPC",
                     "protocolVersion", "1.0", "capabilities", "streaming", 1, "securitySchemes",
                     "okta", "type", "openIdConnect", "openIdConnectUrl", server->issuer);
}
