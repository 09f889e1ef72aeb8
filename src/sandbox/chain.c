#include "chain.h"

bool th_chain_is_well_formed(const json_t *act)
{
    for (; act != NULL; act = json_object_get(act, "act")) {
        if (!json_is_object(act) || !json_is_string(json_object_get(act, "sub")))
            return false;
    }
    return true;
}

size_t th_chain_length(const json_t *act)
{
    size_t length = 0;
    for (; act != NULL; act = json_object_get(act, "act"))
        length++;
    return length;
}

json_t *th_chain_extend(const struct th_registry_client *actor, const json_t *inner)
{
    bool agent = actor->row->kind == TH_CLIENT_IS_AGENT;
    json_t *copy = inner != NULL ? json_deep_copy(inner) : NULL;
    if (inner != NULL && copy == NULL)
        return NULL;
    json_t *entry = json_pack("{s:s, s:s}", "sub", actor->row->client_id, "sub_profile",
                              agent ? "ai_agent" : "service");
    if (copy != NULL && (entry == NULL || json_object_set_new(entry, "act", copy) != 0)) {
        if (entry == NULL)
            json_decref(copy);
        json_decref(entry);
        return NULL;
    }
    return entry;
}

bool th_chain_contains(const json_t *act, const char *client_id)
{
    for (; act != NULL; act = json_object_get(act, "act")) {
        const char *sub = json_string_value(json_object_get(act, "sub"));
        if (sub != NULL && strcmp(sub, client_id) == 0)
            return true;
    }
    return false;
}

json_t *th_chain_list(const json_t *act)
{
    json_t *list = json_array();
    for (; list != NULL && act != NULL; act = json_object_get(act, "act"))
        json_array_append(list, json_object_get(act, "sub"));
    return list;
}
