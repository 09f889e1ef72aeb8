#include "text.h"

static int add(const char *bytes, size_t len, void *data)
{
    struct th_buf *out = data;
    th_buf_add(out, bytes, len);
    return out->failed ? -1 : 0;
}

void th_text_add_json(struct th_buf *out, const json_t *json, size_t flags)
{
    if (json == NULL || json_dump_callback(json, add, out, flags) != 0)
        out->failed = true;
}
