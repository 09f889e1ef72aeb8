/* Counters and a record of the last requests, for tests and for looking at. Tokens appear as the first digits of
 * their SHA-256 only. One thread. */
#ifndef TOKENHOP_SRC_SANDBOX_STATS_H
#define TOKENHOP_SRC_SANDBOX_STATS_H

#include "idp.h"

struct th_stats {
    json_t *counters; /* {"endpoints": {place: {"requests": n, "200": n}}, "refused": {...}, ...} */
    json_t *record;   /* array, oldest first, bounded */
};

int th_stats_init(struct th_stats *stats) TH_MUST;
void th_stats_fini(struct th_stats *stats);
void th_stats_reset(struct th_stats *stats);
/* Adds one to counters[group][name], or to counters[group][name][detail]. */
void th_stats_count(struct th_stats *stats, const char *group, const char *name,
                    const char *detail);
/* `entry` is taken; `place` and a time are added. */
void th_stats_record(struct th_stats *stats, const char *place, int64_t now_ms, json_t *entry);
void th_stats_add_answer(struct th_stats *stats, const char *place, int64_t now_ms,
                         const struct th_idp_answer *answer);
/* A new reference. */
json_t *th_stats_json(const struct th_stats *stats, const struct th_idp *idp) TH_MUST;

#endif
