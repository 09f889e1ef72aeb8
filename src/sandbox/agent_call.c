/* agent2 as a caller of its own: one POST to agent3's A2A endpoint, by way of --agent2-proxy, with the
 * token it received as the subject token. With evhttp's client, so that the loop goes on. */
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>

#include "a2a.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/jose.h"

#define TIMEOUT_S 60
#define MAX_ANSWER (1024 * 1024)

struct next_call {
    struct th_web_call *call;
    json_t *request;
    json_t *seen;
};

static void finish(struct next_call *next, json_t *came_back)
{
    json_object_set_new(next->seen, "agent3", came_back);
    th_web_reply_json(next->call, 200, th_a2a_make_answer(next->request, next->seen));
    json_decref(next->request);
    th_free(next);
}

static void on_answer(struct evhttp_request *answer, void *arg)
{
    struct next_call *next = arg;
    if (answer == NULL || evhttp_request_get_response_code(answer) == 0) {
        finish(next, json_pack("{s:i, s:s}", "status", 0, "error", "no answer"));
        return;
    }
    struct evbuffer *input = evhttp_request_get_input_buffer(answer);
    size_t len = evbuffer_get_length(input);
    const char *text = len > 0 ? (const char *)evbuffer_pullup(input, -1) : "";
    json_t *body = json_loadb(text, len, 0, NULL);
    if (body == NULL)
        body = json_stringn(text, len < 200 ? len : 200);
    if (body == NULL)
        body = json_null();
    finish(next, json_pack("{s:i, s:o}", "status", evhttp_request_get_response_code(answer), "body",
                           body));
}

/* user:password@ of the proxy's URL becomes Proxy-Authorization. */
static void add_proxy_credentials(struct evkeyvalq *fields, const char *userinfo)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct th_buf text;
    size_t len = userinfo != NULL ? strlen(userinfo) : 0;
    if (len == 0)
        return;
    th_buf_init_secret(&text, 4096);
    th_buf_printf(&text, "Basic ");
    for (size_t i = 0; i < len; i += 3) {
        unsigned a = (unsigned char)userinfo[i];
        unsigned b = i + 1 < len ? (unsigned char)userinfo[i + 1] : 0;
        unsigned c = i + 2 < len ? (unsigned char)userinfo[i + 2] : 0;
        th_buf_add_char(&text, digits[a >> 2]);
        th_buf_add_char(&text, digits[(a & 3) << 4 | b >> 4]);
        th_buf_add_char(&text, i + 1 < len ? digits[(b & 15) << 2 | c >> 6] : '=');
        th_buf_add_char(&text, i + 2 < len ? digits[c & 63] : '=');
    }
    if (!text.failed)
        evhttp_add_header(fields, "Proxy-Authorization", text.ptr);
    th_buf_fini(&text);
}

static bool add_fields(struct evhttp_request *out, const struct evhttp_uri *target,
                       struct th_str token, const char *userinfo)
{
    struct evkeyvalq *fields = evhttp_request_get_output_headers(out);
    struct evbuffer *body = evhttp_request_get_output_buffer(out);
    struct th_buf text;
    int port = evhttp_uri_get_port(target);
    th_buf_init_secret(&text, 70000);
    th_buf_printf(&text, "Bearer %.*s", TH_STR_ARGS(token));
    bool fine = !text.failed && evhttp_add_header(fields, "Authorization", text.ptr) == 0;
    th_buf_clear(&text);
    th_buf_printf(&text, "%s", evhttp_uri_get_host(target));
    if (port > 0)
        th_buf_printf(&text, ":%d", port);
    fine = fine && !text.failed && evhttp_add_header(fields, "Host", text.ptr) == 0 &&
           evhttp_add_header(fields, "Content-Type", "application/json") == 0 &&
           evbuffer_add_printf(body, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"message/send\","
                                     "\"params\":{\"message\":{\"role\":\"user\",\"parts\":"
                                     "[{\"kind\":\"text\",\"text\":\"from agent2\"}]}}}") > 0;
    th_buf_fini(&text);
    add_proxy_credentials(fields, userinfo);
    return fine;
}

/* The request line has the absolute URL: that is all that calling through a proxy is. */
static bool start(struct next_call *next, struct th_str token, const char *proxy_url,
                  const char *target_url)
{
    struct th_web *web = next->call->web;
    struct evhttp_uri *proxy = evhttp_uri_parse(proxy_url);
    struct evhttp_uri *target = evhttp_uri_parse(target_url);
    struct evhttp_connection *connection = NULL;
    struct evhttp_request *out = NULL;
    bool sent = false;
    if (proxy == NULL || target == NULL || evhttp_uri_get_host(proxy) == NULL ||
        evhttp_uri_get_host(target) == NULL || evhttp_uri_get_port(proxy) <= 0)
        goto out;
    connection = evhttp_connection_base_new(web->base, NULL, evhttp_uri_get_host(proxy),
                                            (ev_uint16_t)evhttp_uri_get_port(proxy));
    out = evhttp_request_new(on_answer, next);
    if (connection == NULL || out == NULL)
        goto out;
    evhttp_connection_set_timeout(connection, TIMEOUT_S);
    evhttp_connection_set_max_body_size(connection, MAX_ANSWER);
    if (!add_fields(out, target, token, evhttp_uri_get_userinfo(proxy)))
        goto out;
    sent = true; /* from here on the request is the connection's, and on_answer comes in any case */
    if (evhttp_make_request(connection, out, EVHTTP_REQ_POST, target_url) == 0)
        evhttp_connection_free_on_completion(connection);
    else
        evhttp_connection_free(connection);
out:
    if (!sent && out != NULL)
        evhttp_request_free(out);
    if (!sent && connection != NULL)
        evhttp_connection_free(connection);
    if (proxy != NULL)
        evhttp_uri_free(proxy);
    if (target != NULL)
        evhttp_uri_free(target);
    return sent;
}

void th_agent_call_next(struct th_web_call *call, const struct th_verified *verified,
                        const json_t *request, json_t *seen)
{
    const struct th_sandbox_agent *agent = call->owner;
    const struct th_sandbox *sandbox = agent->sandbox;
    char target[1024];
    struct next_call *next = th_calloc(1, sizeof *next);
    if (next == NULL) {
        json_decref(seen);
        th_web_reply_error(call, 503, "out of memory");
        return;
    }
    *next = (struct next_call){call, json_incref((json_t *)request), seen};
    snprintf(target, sizeof target, "%s/a2a/", sandbox->registry.resources[TH_RESOURCE_AGENT3].url);
    if (sandbox->options.agent2_proxy == NULL)
        finish(next, json_pack("{s:i, s:s}", "status", 0, "error", "no --agent2-proxy was given"));
    else if (!start(next, verified->token, sandbox->options.agent2_proxy, target))
        finish(next, json_pack("{s:i, s:s}", "status", 0, "error", "the call could not be made"));
}
