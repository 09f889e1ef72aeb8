/* The table of keys: which requests ask for other scopes than their connection's. */
#include "table.h"

static const struct th_config_key scoping_keys[] = {
    {.name = "methods",
     .type = TH_KEY_STRING,
     TEXTS(struct th_raw_scoping, methods),
     .min_items = 1,
     .max_items = 16,
     .max = 32,
     .doc = "The request's method is one of these. Any, unless said."},
    {.name = "paths",
     .type = TH_KEY_PATH,
     TEXTS(struct th_raw_scoping, paths),
     .min_items = 1,
     .max_items = 64,
     .doc = "The request's path is one of these or below it, on whole segments. Any, unless said."},
    {.name = "rpc_methods",
     .type = TH_KEY_STRING,
     TEXTS(struct th_raw_scoping, rpc_methods),
     .min_items = 1,
     .max_items = 64,
     .doc =
         "The request's body is a JSON-RPC call of one of these methods: \"message/send\" (A2A), "
         "\"tools/list\" (MCP). The body is looked at where it is JSON and not larger than "
         "limits.replay_body; a call that is sent otherwise is none of these."},
    {.name = "tools",
     .type = TH_KEY_STRING,
     TEXTS(struct th_raw_scoping, tools),
     .min_items = 1,
     .max_items = 64,
     .doc = "It is an MCP call of one of these tools (method \"tools/call\", params.name)."},
    {.name = "scopes",
     .type = TH_KEY_SCOPE,
     TEXTS(struct th_raw_scoping, scopes),
     .min_items = 1,
     .max_items = 64,
     .required = true,
     .doc = "What is asked for then, each of them one of the connection's scopes."},
};
const struct th_section th_section_scoping = {
    SECTION("scoping", struct th_raw_scoping, scoping_keys), .has_head = true,
    .at_least_one = {"methods", "paths", "rpc_methods", "tools"}};
