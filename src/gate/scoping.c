#include "tokenhop/gate/scoping.h"

#include "tokenhop/http/challenge.h"

#define SCOPES_NAMED_MAX 512 /* bytes of a challenge's scope parameter */

/* --- the choice --- */

/* An empty list says nothing. */
static bool holds(const struct th_str *texts, size_t n, struct th_str text)
{
    return n == 0 || th_str_is_among(texts, n, text);
}

static bool is_below(const struct th_config_scoping *scoping, struct th_str path)
{
    for (size_t i = 0; i < scoping->n_paths; i++)
        if (th_config_path_covers(scoping->paths[i], path))
            return true;
    return scoping->n_paths == 0;
}

static bool asks_call(const struct th_config_scoping *scoping)
{
    return scoping->n_rpc_methods + scoping->n_tools > 0;
}

static bool is_call(const struct th_config_scoping *scoping, const struct th_rpc_call *call)
{
    if (!asks_call(scoping))
        return true;
    return call->method[0] != '\0' &&
           holds(scoping->rpc_methods, scoping->n_rpc_methods, th_str_of(call->method)) &&
           holds(scoping->tools, scoping->n_tools, th_str_of(call->tool));
}

int th_scoping_choose(const struct th_config_connection *connection,
                      const struct th_scoping_request *request, size_t *ret_scoping)
{
    *ret_scoping = 0;
    for (size_t i = 0; i < connection->n_scopings; i++) {
        const struct th_config_scoping *scoping = &connection->scopings[i];
        if (!holds(scoping->methods, scoping->n_methods, request->method) ||
            !is_below(scoping, request->path))
            continue;
        if (asks_call(scoping) && request->call == NULL)
            return TH_AGAIN;
        if (!is_call(scoping, request->call))
            continue;
        *ret_scoping = i + 1;
        return 0;
    }
    return 0;
}

/* --- step-up --- */

static bool asks_for(const struct th_config_connection *variant, struct th_str scope)
{
    return th_str_is_among(variant->scopes, variant->n_scopes, scope);
}

/* Of the scopes that stand in the text, parted by spaces. */
static unsigned find_lacking(const struct th_config_connection *connection,
                             const struct th_config_connection *variant, struct th_str named)
{
    unsigned step_ups = 0;
    struct th_str scope;

    while (th_str_take_word(&named, ' ', &scope)) {
        size_t i = 0;
        while (i < connection->n_step_up_scopes &&
               !th_str_equal(connection->step_up_scopes[i], scope))
            i++;
        if (scope.len > 0 && !asks_for(variant, scope)) {
            if (i == connection->n_step_up_scopes)
                return 0;
            step_ups |= 1u << i;
        }
    }
    return step_ups;
}

unsigned th_scoping_step_up(const struct th_config_connection *connection,
                            const struct th_config_connection *variant,
                            const struct th_head *response)
{
    char room[SCOPES_NAMED_MAX];

    if (connection->n_step_up_scopes == 0)
        return 0;
    for (uint16_t i = 0; i < response->n_fields; i++) {
        const struct th_field *field = &response->fields[i];
        struct th_str named;
        if (field->id == TH_HEADER_WWW_AUTHENTICATE &&
            th_challenge_has(field->value, TH_STR("Bearer"), TH_STR("error"),
                             TH_STR("insufficient_scope")) &&
            th_challenge_get(field->value, TH_STR("Bearer"), TH_STR("scope"), room, sizeof room,
                             &named))
            return find_lacking(connection, variant, named);
    }
    return 0;
}
