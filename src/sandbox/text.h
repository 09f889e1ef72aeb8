/* JSON as text, in memory of ours. */
#ifndef TOKENHOP_SRC_SANDBOX_TEXT_H
#define TOKENHOP_SRC_SANDBOX_TEXT_H

#include <jansson.h>

#include "tokenhop/base/buf.h"

/* Adds the text; `flags` are jansson's. Fails (buf.h) when `json` is NULL. */
void th_text_add_json(struct th_buf *out, const json_t *json, size_t flags);

#endif
