#include "tokenhop/gate/caller_workload.h"

#include <strings.h>

#include "tokenhop/oauth/workload.h"

bool th_caller_has_workloads(const struct th_config_view *config)
{
    for (size_t i = 0; i < config->n_callers; i++)
        if (config->callers[i].proof == TH_CALLER_KUBERNETES)
            return true;
    return false;
}

struct th_str th_caller_token(const struct th_head *head)
{
    const struct th_field *found = NULL;
    size_t at = 7; /* beyond "Bearer " (RFC 6750, 2.1; RFC 9110, 11.4: in any case) */

    for (uint16_t i = 0; i < head->n_fields; i++) {
        if (head->fields[i].id != TH_HEADER_PROXY_AUTHORIZATION)
            continue;
        if (found != NULL)
            return TH_STR_NONE;
        found = &head->fields[i];
    }
    if (found == NULL || found->value.len <= at ||
        strncasecmp(found->value.ptr, "bearer ", at) != 0)
        return TH_STR_NONE;
    while (at < found->value.len && found->value.ptr[at] == ' ')
        at++;
    return (struct th_str){found->value.ptr + at, found->value.len - at};
}

const struct th_config_caller *th_caller_find_workload(const struct th_config_view *config,
                                                       const json_t *claims)
{
    for (size_t i = 0; i < config->n_callers; i++) {
        const struct th_config_caller *caller = &config->callers[i];
        if (caller->proof == TH_CALLER_KUBERNETES &&
            th_workload_is_claimed(&caller->workload, claims))
            return caller;
    }
    return NULL;
}
