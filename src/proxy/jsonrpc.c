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

bool th_jsonrpc_read_id(struct th_str body, char ret_id[TH_JSONRPC_ID_MAX + 1])
{
    json_t *request = NULL;
    if (th_json_parse_object(body, TH_JSONRPC_BODY_MAX, &request) != 0)
        return false;
    const char *version = json_string_value(json_object_get(request, "jsonrpc"));
    const json_t *id = json_object_get(request, "id");
    bool done = version != NULL && strcmp(version, "2.0") == 0 &&
                (json_is_string(id) || json_is_integer(id)) && write_id(id, ret_id);
    json_decref(request);
    return done;
}
