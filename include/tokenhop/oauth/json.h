/* JSON from peers: bounded, strict. Any thread. */
#ifndef TOKENHOP_OAUTH_JSON_H
#define TOKENHOP_OAUTH_JSON_H

#include <jansson.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

#define TH_JSON_DEPTH_MAX 32

/* Once, before threads start and before anything is parsed: seeds jansson's hash (or peers choose
 * collisions) and has it take its memory from base/mem.h and wipe it when freed, as tokens pass
 * through it. */
void th_json_start(void);

/* A whole JSON object, a new reference. TH_E_BAD_REQUEST when it is not one, is longer than
 * `max_len`, nests deeper than TH_JSON_DEPTH_MAX or has a member twice (whoever else reads it might
 * take the other one). TH_E_NOMEM. */
int th_json_parse_object(struct th_str text, size_t max_len, json_t **ret_object) TH_MUST;

static inline void th_json_decrefp(json_t **json)
{
    json_decref(*json);
}

#endif
