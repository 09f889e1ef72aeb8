#include "stats.h"

#include <stdio.h>

#define MAX_RECORD 1000
/* More kinds of names than there are places, reasons and statuses: what peers choose is not a name. */
#define MAX_NAMES 500

int th_stats_init(struct th_stats *stats)
{
    stats->counters = json_object();
    stats->record = json_array();
    return stats->counters != NULL && stats->record != NULL ? 0 : TH_E_NOMEM;
}

void th_stats_fini(struct th_stats *stats)
{
    json_decref(stats->counters);
    json_decref(stats->record);
    *stats = (struct th_stats){NULL, NULL};
}

void th_stats_reset(struct th_stats *stats)
{
    json_object_clear(stats->counters);
    json_array_clear(stats->record);
}

static json_t *object_in(json_t *parent, const char *name)
{
    json_t *object = json_object_get(parent, name);
    if (object == NULL && json_object_size(parent) < MAX_NAMES &&
        json_object_set_new(parent, name, json_object()) == 0)
        object = json_object_get(parent, name);
    return object;
}

static void add_one(json_t *parent, const char *name)
{
    json_t *number = json_object_get(parent, name);
    if (number != NULL)
        json_integer_set(number, json_integer_value(number) + 1);
    else if (json_object_size(parent) < MAX_NAMES)
        json_object_set_new(parent, name, json_integer(1));
}

void th_stats_count(struct th_stats *stats, const char *group, const char *name, const char *detail)
{
    json_t *object = object_in(stats->counters, group);
    if (detail != NULL)
        add_one(object_in(object, name), detail);
    else
        add_one(object, name);
}

void th_stats_record(struct th_stats *stats, const char *place, int64_t now_ms, json_t *entry)
{
    if (entry == NULL)
        return;
    json_object_set_new(entry, "place", json_string(place));
    json_object_set_new(entry, "at_ms", json_integer(now_ms));
    if (json_array_size(stats->record) >= MAX_RECORD)
        json_array_remove(stats->record, 0);
    json_array_append_new(stats->record, entry);
}

void th_stats_add_answer(struct th_stats *stats, const char *place, int64_t now_ms,
                         const struct th_idp_answer *answer)
{
    char status[16];
    const char *client = answer->client != NULL ? answer->client->row->name : NULL;
    snprintf(status, sizeof status, "%d", answer->status);
    th_stats_count(stats, "endpoints", place, "requests");
    th_stats_count(stats, "endpoints", place, status);
    if (answer->reason != NULL)
        th_stats_count(stats, "refused", answer->reason, NULL);
    else if (answer->connection != NULL && answer->who != NULL)
        th_stats_count(stats, "exchanges", answer->who, answer->connection);
    th_stats_record(
        stats, place, now_ms,
        json_pack("{s:i, s:s?, s:s?, s:s?, s:s?, s:s?, s:s, s:s}", "status", answer->status,
                  "reason", answer->reason, "grant", answer->grant, "client", client, "user",
                  answer->user != NULL ? answer->user->name : NULL, "connection",
                  answer->connection, "subject", answer->subject, "issued", answer->issued));
}

json_t *th_stats_json(const struct th_stats *stats, const struct th_idp *idp)
{
    return json_pack("{s:O, s:O, s:{s:I, s:I, s:I}}", "counters", stats->counters, "record",
                     stats->record, "remembered", "assertions",
                     (json_int_t)th_ledger_count(&idp->assertions), "redeemed_id_jags",
                     (json_int_t)th_ledger_count(&idp->redeemed), "access_tokens",
                     (json_int_t)th_ledger_count(&idp->issued));
}
