/* What is expected of the proxy itself: its counts and what it writes. */
#include <string.h>
#include <strings.h>

#include "play.h"
#include "tokenhop/base/check.h"

struct counts {
    struct th_proxy_figures figures;
    struct th_broker_figures broker;
    size_t chunks, chunk_bytes;
};

static struct counts count(const struct play *play)
{
    struct counts counts = {{0}, {0}, 0, 0};

    for (size_t i = 0; i < play->world.n_places; i++) {
        struct th_proxy_figures figures;
        th_proxy_desk_count(play->world.places[i].desk, &figures);
        counts.figures.sessions += figures.sessions;
        counts.figures.hops += figures.hops;
        counts.figures.origins_idle += figures.origins_idle;
        counts.chunks += play->world.places[i].worker->chunks.n_used;
        counts.chunk_bytes += play->world.places[i].worker->chunks.n_bytes;
    }
    th_broker_count(play->world.broker, &counts.broker);
    return counts;
}

static bool find_figure(const struct play *play, const char *name, int64_t *ret_value)
{
    struct counts counts = count(play);
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {
        {"sessions", (int64_t)counts.figures.sessions},
        {"hops", (int64_t)counts.figures.hops},
        {"idle_origins", (int64_t)counts.figures.origins_idle},
        {"chunks", (int64_t)counts.chunks},
        {"chunk_bytes", (int64_t)counts.chunk_bytes},
        {"cached", (int64_t)counts.broker.entries},
        {"waiting", (int64_t)counts.broker.waiting},
        {"pending", (int64_t)counts.broker.pending},
        {"exchanges", (int64_t)server_count(&play->world.server, true)},
        {"asks", (int64_t)server_count(&play->world.server, false)},
        {"connects", (int64_t)play->world.network.n_connects},
    };

    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        if (strcmp(name, rows[i].name) == 0) {
            *ret_value = rows[i].value;
            return true;
        }
    return false;
}

static bool find_metric(const struct play *play, const char *name, int64_t *ret_value)
{
    static const struct {
        const char *name;
        enum th_metric metric;
    } rows[] = {
#define TH_COUNTER(symbol, ...) {#symbol, TH_METRIC_##symbol},
#define TH_GAUGE(symbol, ...) {#symbol, TH_METRIC_##symbol},
#define TH_HISTOGRAM(symbol, ...)
#include "tokenhop/observe/metrics.def"
    };

    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        if (strcasecmp(name, rows[i].name) == 0) {
            *ret_value = th_metrics_sum(play->world.metrics, rows[i].metric);
            return true;
        }
    return false;
}

static bool find_error(const struct play *play, const char *name, int64_t *ret_value)
{
    static const struct {
        const char *name;
        int error;
    } rows[] = {
#define X(symbol, ...) {#symbol, TH_E_##symbol},
#include "tokenhop/base/errors.def"
#undef X
    };

    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        if (strcasecmp(name, rows[i].name) == 0) {
            *ret_value = (int64_t)th_metrics_sum_errors(play->world.metrics, rows[i].error);
            return true;
        }
    return false;
}

static bool expect_written(struct play *play, bool wanted)
{
    struct bytes text = {0}, what;

    if (!play_word(play, &what))
        return false;
    world_read_written(&play->world, &text);
    if (bytes_have(&text, bytes_str(&what)) != wanted)
        play_fail(play, "%s is %s in what was written", what.ptr, wanted ? "not" : "found");
    bytes_fini(&text);
    bytes_fini(&what);
    return play->complaint.len == 0 && play_end(play);
}

/* NAME [at most] N, with NAME a figure, `metric NAME` or `error NAME` */
static bool expect_number(struct play *play)
{
    bool (*find)(const struct play *, const char *, int64_t *) = find_figure;
    int64_t value = 0, want;

    if (play_take(play, "metric"))
        find = find_metric;
    else if (play_take(play, "error"))
        find = find_error;
    const char *name = play_peek(play);
    if (!find(play, name, &value))
        return play_fail(play, "nothing is counted as \"%s\"", name);
    play->at++;
    bool at_most = play_take(play, "at") && play_take(play, "most");
    if (!play_number(play, &want))
        return false;
    if (at_most ? value > want : value != want)
        return play_fail(play, "expected %s to be %s%lld, but it is %lld", name,
                         at_most ? "at most " : "", (long long)want, (long long)value);
    return true;
}

bool play_expect(struct play *play)
{
    play_rest(play);
    while (play_more(play)) {
        if (play_take(play, "written"))
            return expect_written(play, true);
        if (play_take(play, "unwritten"))
            return expect_written(play, false);
        if (play_take(play, "drained")) {
            if (!world_is_drained(&play->world))
                return play_fail(play, "it is not drained");
        } else if (play_take(play, "undrained")) {
            if (world_is_drained(&play->world))
                return play_fail(play, "it is drained");
        } else if (!expect_number(play)) {
            return false;
        }
    }
    return true;
}
