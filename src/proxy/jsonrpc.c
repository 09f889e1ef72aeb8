#include "jsonrpc.h"

#include "tokenhop/base/buf.h"
#include "tokenhop/oauth/json.h"

bool th_jsonrpc_may_be(const struct th_head *head)
{
    const struct th_field *field = th_head_find(head, TH_HEADER_CONTENT_TYPE);
    if (field == NULL || field->value.len == 0)
        return false;
    const char *end = memchr(field->value.ptr, ';', field->value.len);
    struct th_str type = field->value;
    if (end != NULL)
        type.len = (size_t)(end - type.ptr);
    type = th_str_trim(type);
    return th_str_equal_nocase(type, TH_STR("application/json")) ||
           th_str_equal_nocase(type, TH_STR("application/a2a+json"));
}

static int add_dump(const char *bytes, size_t len, void *data)
{
    struct th_buf *buf = data;
    th_buf_add(buf, bytes, len);
    return buf->failed ? -1 : 0;
}

static bool write_id(const json_t *id, char ret_id[TH_JSONRPC_ID_MAX + 1])
{
    struct th_buf text;
    th_buf_init(&text, TH_JSONRPC_ID_MAX);
    bool done = json_dump_callback(id, add_dump, &text,
                                   JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT) == 0 &&
                text.len > 0;
    if (done) {
        memcpy(ret_id, text.ptr, text.len);
        ret_id[text.len] = '\0';
    }
    th_buf_fini(&text);
    return done;
}

/* NULL: it is none. */
static json_t *parse(struct th_str body, size_t max)
{
    json_t *request = NULL;
    if (th_json_parse_object(body, max, &request) != 0)
        return NULL;
    const char *version = json_string_value(json_object_get(request, "jsonrpc"));
    if (version != NULL && strcmp(version, "2.0") == 0)
        return request;
    json_decref(request);
    return NULL;
}

bool th_jsonrpc_read_id(struct th_str body, char ret_id[TH_JSONRPC_ID_MAX + 1])
{
    json_t *request = parse(body, TH_JSONRPC_BODY_MAX);
    const json_t *id = json_object_get(request, "id");
    bool done = (json_is_string(id) || json_is_integer(id)) && write_id(id, ret_id);
    json_decref(request);
    return done;
}

static bool copy_name(const json_t *value, char ret_name[TH_RPC_NAME_MAX])
{
    size_t len = json_string_length(value);
    if (len == 0 || len >= TH_RPC_NAME_MAX || memchr(json_string_value(value), '\0', len) != NULL)
        return false;
    memcpy(ret_name, json_string_value(value), len);
    ret_name[len] = '\0';
    return true;
}

bool th_jsonrpc_read_call(struct th_str body, struct th_rpc_call *ret_call)
{
    json_t *request = parse(body, body.len);
    *ret_call = (struct th_rpc_call){{0}, {0}};
    bool done = copy_name(json_object_get(request, "method"), ret_call->method);
    if (done && strcmp(ret_call->method, "tools/call") == 0)
        done =
            copy_name(json_object_get(json_object_get(request, "params"), "name"), ret_call->tool);
    json_decref(request);
    if (!done)
        *ret_call = (struct th_rpc_call){{0}, {0}};
    return done;
}
