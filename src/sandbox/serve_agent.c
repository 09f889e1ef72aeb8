/* An agent's port: its public documents, A2A, whoami, and plain endpoints to test a proxy with. */
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "a2a.h"
#include "agent_guard.h"
#include "provider.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define PIECE_LEN 65536
#define MAX_BYTES (1L << 40)
#define MAX_MS 600000

typedef void serve_fn(struct th_web_call *call, const struct th_verified *verified,
                      const char *rest);

static void serve_a2a(struct th_web_call *call, const struct th_verified *verified,
                      const char *rest)
{
    th_a2a_serve(call, verified);
}

static void serve_whoami(struct th_web_call *call, const struct th_verified *verified,
                         const char *rest)
{
    th_web_add_field(call, "Cache-Control", "no-store");
    th_web_reply_json(call, 200, th_verified_json(call->owner, verified));
}

static enum th_vault_kind kind_of(const char *path)
{
    return strncmp(path, "/key/", 5) == 0       ? TH_VAULT_SECRET
           : strncmp(path, "/account/", 9) == 0 ? TH_VAULT_ACCOUNT
                                                : TH_VAULT_STS;
}

static void serve_guarded(struct th_web_call *call, const struct th_verified *verified,
                          const char *rest)
{
    th_web_add_field(call, "Cache-Control", "no-store");
    th_web_reply_json(call, 200, th_agent_guard_json(call, kind_of(call->path)));
}

static void serve_card(struct th_web_call *call, const struct th_verified *verified,
                       const char *rest)
{
    th_web_add_field(call, "Cache-Control", "max-age=60");
    th_web_add_field(call, "ETag", "\"1\"");
    th_web_reply_json(call, 200, th_a2a_make_card(call->owner));
}

/* RFC 9728, 3.2. */
static void serve_metadata(struct th_web_call *call, const struct th_verified *verified,
                           const char *rest)
{
    const struct th_sandbox_agent *agent = call->owner;
    const struct th_registry_server *server =
        &agent->sandbox->registry.servers[agent->resource->row->server];
    json_t *scopes = json_array();
    char *copy = th_strdup(agent->resource->row->scopes), *save = NULL;
    for (char *one = copy != NULL ? strtok_r(copy, " ", &save) : NULL; one != NULL;
         one = strtok_r(NULL, " ", &save))
        json_array_append_new(scopes, json_string(one));
    th_free(copy);
    bool is_required = agent->sandbox->idp.settings.agent_dpop_required != 0;
    th_web_reply_json(call, 200,
                      json_pack("{s:s, s:[s], s:o, s:[s], s:b}", "resource", agent->resource->url,
                                "authorization_servers", server->issuer, "scopes_supported", scopes,
                                "bearer_methods_supported", "header",
                                "dpop_bound_access_tokens_required", is_required));
}

/* The same of what another server than Okta's protects. */
static void serve_metadata_at(struct th_web_call *call, const struct th_verified *verified,
                              const char *rest)
{
    char url[512];
    const struct th_sandbox_agent *agent = call->owner;
    const struct th_registry_server *server =
        th_registry_find_server(&agent->sandbox->registry, th_str_of(rest));
    if (server == NULL || th_provider_of(server) == NULL) {
        th_web_reply_error(call, 404, "no such path");
        return;
    }
    snprintf(url, sizeof url, "%s" TH_AT "%s", agent->resource->url, rest);
    th_web_reply_json(call, 200,
                      json_pack("{s:s, s:[s], s:[s]}", "resource", url, "authorization_servers",
                                server->issuer, "bearer_methods_supported", "header"));
}

static bool is_credential_field(const char *name)
{
    static const char *const names[] = {"authorization", "proxy-authorization", "cookie", "dpop",
                                        "x-api-key"};
    for (size_t i = 0; i < TH_COUNT_OF(names); i++) {
        if (strcasecmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* What arrived. Of credentials only a digest: what is echoed lands in logs. */
static void serve_echo(struct th_web_call *call, const struct th_verified *verified,
                       const char *rest)
{
    uint8_t digest[32] = {0};
    char hex[65];
    char name[TH_LEDGER_NAME_LEN + 1];
    json_t *fields = json_array();
    struct evkeyval *field;
    TAILQ_FOREACH(field, evhttp_request_get_input_headers(call->request), next)
    {
        bool credential = is_credential_field(field->key);
        th_ledger_name(th_str_of(field->value), name);
        json_array_append_new(fields,
                              json_pack("[s, s]", field->key, credential ? name : field->value));
    }
    (void)EVP_Digest(call->body.ptr, call->body.len, digest, NULL, EVP_sha256(), NULL);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    th_web_reply_json(call, 200,
                      json_pack("{s:s, s:s, s:s, s:o, s:I, s:s}", "method", call->method, "path",
                                call->path, "query", call->query, "fields", fields, "body_length",
                                (json_int_t)call->body.len, "body_sha256", hex));
}

static long number_in(const char **text, long otherwise, long max)
{
    char *end = NULL;
    long value = strtol(*text, &end, 10);
    if (end == *text || value < 0 || value > max)
        return otherwise;
    *text = *end == '/' ? end + 1 : end;
    return value;
}

static void serve_status(struct th_web_call *call, const struct th_verified *verified,
                         const char *rest)
{
    long status = number_in(&rest, 200, 599);
    if (status < 200)
        status = 200;
    th_web_reply(call, (int)status, status == 204 || status == 304 ? NULL : "text/plain",
                 status == 204 || status == 304 ? TH_STR("") : TH_STR("as asked\n"));
}

struct bytes {
    long left;
    long piece;
};

static bool next_bytes(void *data, unsigned long number, struct evbuffer *ret_piece)
{
    static const char zeroes[PIECE_LEN];
    struct bytes *bytes = data;
    long len = bytes->left < bytes->piece ? bytes->left : bytes->piece;
    if (len == 0)
        return false;
    bytes->left -= len;
    return evbuffer_add_reference(ret_piece, zeroes, (size_t)len, NULL, NULL) == 0;
}

static void send_bytes(struct th_web_call *call, long total, long piece, long ms)
{
    struct bytes *bytes = th_malloc(sizeof *bytes);
    if (bytes == NULL) {
        th_web_reply_error(call, 503, "out of memory");
        return;
    }
    *bytes = (struct bytes){total, piece < 1 || piece > PIECE_LEN ? PIECE_LEN : piece};
    th_web_stream(call, 200, "application/octet-stream", ms, next_bytes, bytes, th_free);
}

/* /bytes/N with a length, /chunked/N/K in K-byte chunks: ?ms= between pieces. */
static void serve_bytes(struct th_web_call *call, const struct th_verified *verified,
                        const char *rest)
{
    char text[32];
    long total = number_in(&rest, 0, MAX_BYTES);
    snprintf(text, sizeof text, "%ld", total);
    th_web_add_field(call, "Content-Length", text);
    send_bytes(call, total, PIECE_LEN, th_web_query_long(call, "ms", 0, MAX_MS));
}

static void serve_chunked(struct th_web_call *call, const struct th_verified *verified,
                          const char *rest)
{
    long total = number_in(&rest, 0, MAX_BYTES);
    long piece = number_in(&rest, PIECE_LEN, PIECE_LEN);
    send_bytes(call, total, piece, th_web_query_long(call, "ms", 0, MAX_MS));
}

/* Each event says when it was sent, on the monotonic clock that all processes of a machine share. */
static bool next_sse(void *data, unsigned long number, struct evbuffer *ret_piece)
{
    const long *events = data;
    if (number >= (unsigned long)*events)
        return false;
    return evbuffer_add_printf(ret_piece, "id: %lu\ndata: {\"number\":%lu,\"sent_us\":%lld}\n\n",
                               number, number, (long long)th_clock_precise_us()) > 0;
}

static void serve_sse(struct th_web_call *call, const struct th_verified *verified,
                      const char *rest)
{
    long *events = th_malloc(sizeof *events);
    if (events == NULL) {
        th_web_reply_error(call, 503, "out of memory");
        return;
    }
    *events = th_web_query_long(call, "n", 3, 1000000);
    th_web_add_field(call, "Cache-Control", "no-store");
    th_web_stream(call, 200, "text/event-stream", th_web_query_long(call, "ms", 100, MAX_MS),
                  next_sse, events, th_free);
}

static void finish_slow(struct th_web_call *call, void *data)
{
    th_web_reply(call, 200, "text/plain", TH_STR("at last\n"));
}

static void serve_slow(struct th_web_call *call, const struct th_verified *verified,
                       const char *rest)
{
    th_web_later(call, th_web_query_long(call, "ms", 1000, MAX_MS), finish_slow, NULL, NULL);
}

static void serve_close(struct th_web_call *call, const struct th_verified *verified,
                        const char *rest)
{
    th_web_raw(call, TH_STR("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), false, 0);
}

static void serve_reset(struct th_web_call *call, const struct th_verified *verified,
                        const char *rest)
{
    th_web_raw(call, TH_STR(""), true, 0);
}

enum guard { UNGUARDED, BY_TOKEN, BY_VAULT };

/* What is below these wants a credential, and nothing but a valid one. */
static const struct guarded_row {
    const char *prefix;
    enum guard guard;
} guarded[] = {
    {"/a2a/", BY_TOKEN},
    {"/key/", BY_VAULT},
    {"/account/", BY_VAULT},
    {"/code/", BY_VAULT},
};

/* `open`: of itself no credential is asked for. These test endpoints are below the guarded prefixes too,
 * where a tokenhop connection usually points. */
static const struct path_row {
    const char *path;
    bool prefix;
    bool open;
    serve_fn *serve;
} paths[] = {
    {"/.well-known/agent-card.json", false, true, serve_card},
    {"/.well-known/oauth-protected-resource", false, true, serve_metadata},
    {"/.well-known/oauth-protected-resource" TH_AT, true, true, serve_metadata_at},
    {"/a2a/", false, false, serve_a2a},
    {"/a2a/whoami", false, false, serve_whoami},
    {"/key/whoami", false, false, serve_guarded},
    {"/account/whoami", false, false, serve_guarded},
    {"/code/whoami", false, false, serve_guarded},
    {"/echo", false, true, serve_echo},
    {"/status/", true, true, serve_status},
    {"/bytes/", true, true, serve_bytes},
    {"/chunked/", true, true, serve_chunked},
    {"/sse", false, true, serve_sse},
    {"/slow", false, true, serve_slow},
    {"/close", false, true, serve_close},
    {"/reset", false, true, serve_reset},
};

static const struct path_row *find_path(const struct th_sandbox_agent *agent, const char *path,
                                        enum guard *ret_guard, const char **ret_rest)
{
    static const struct path_row whoami_at = {"/whoami", false, false, serve_whoami};
    const char *below = path;
    *ret_guard = UNGUARDED;
    if (th_agent_find_at(agent->sandbox, path, &below) != NULL) {
        *ret_guard = BY_TOKEN;
        if (strcmp(below, whoami_at.path) == 0)
            return &whoami_at;
    }
    for (size_t i = 0; i < TH_COUNT_OF(guarded); i++) {
        size_t len = strlen(guarded[i].prefix);
        if (strncmp(path, guarded[i].prefix, len) != 0)
            continue;
        *ret_guard = guarded[i].guard;
        below = path + len - 1;
    }
    for (size_t i = 0; i < TH_COUNT_OF(paths); i++) {
        const struct path_row *row = &paths[i];
        size_t len = strlen(row->path);
        const char *tail = row->open ? below : path;
        if (row->prefix ? strncmp(tail, row->path, len) != 0 : strcmp(tail, row->path) != 0)
            continue;
        *ret_rest = tail + len;
        return row;
    }
    return NULL;
}

static void add_echoed_credential(struct th_web_call *call, const struct th_fault *fault)
{
    struct th_str field = th_web_field(call, "Authorization");
    if (fault->kind == TH_FAULT_ECHO && field.len > 0)
        th_web_add_field(call, th_fault_text(fault, "field", "X-Echo"), field.ptr);
}

static void serve_again(struct th_web_call *call);

static void serve(struct th_web_call *call, bool with_faults)
{
    const struct th_sandbox_agent *agent = call->owner;
    struct th_sandbox *sandbox = agent->sandbox;
    struct th_fault fault = {TH_FAULT_NONE};
    struct th_verified verified = {0};
    const char *name = agent->resource->row->name, *rest = NULL;
    enum guard guard = UNGUARDED;
    const struct path_row *row = find_path(agent, call->path, &guard, &rest);
    if (with_faults) {
        char digest[TH_LEDGER_NAME_LEN + 1] = "";
        struct th_str field = th_web_field(call, "Authorization");
        const char *space = field.len > 0 ? memchr(field.ptr, ' ', field.len) : NULL;
        size_t skip = space != NULL ? (size_t)(space - field.ptr) + 1 : field.len;
        if (skip < field.len)
            th_ledger_name((struct th_str){field.ptr + skip, field.len - skip}, digest);
        else if (th_web_field_count(call, "X-Api-Key") > 0)
            th_ledger_name(th_web_field(call, "X-Api-Key"), digest);
        th_stats_count(&sandbox->stats, "endpoints", name, "requests");
        th_stats_record(&sandbox->stats, name, th_idp_now_ms(&sandbox->idp),
                        json_pack("{s:s, s:s, s:s}", "method", call->method, "path", call->path,
                                  "credential", digest));
    }
    if (with_faults && th_sandbox_play_fault(call, sandbox, name, serve_again, &fault))
        return;
    add_echoed_credential(call, &fault);
    th_fault_fini(&fault);
    if (row == NULL)
        th_web_reply_error(call, 404, "no such path");
    else if (guard == BY_TOKEN && th_agent_authenticate(call, &verified))
        row->serve(call, &verified, rest);
    else if (guard == UNGUARDED || (guard == BY_VAULT && th_agent_guard(call, kind_of(call->path))))
        row->serve(call, NULL, rest);
    th_verified_fini(&verified);
}

static void serve_again(struct th_web_call *call)
{
    serve(call, false);
}

void th_sandbox_serve_agent(struct th_web_call *call)
{
    serve(call, true);
}
