/* The answers of the admin listener as tables. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "show.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"

#define COLUMNS_MAX 10
#define CELL_MAX 256

static json_int_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static struct th_str text(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return (struct th_str){json_string_value(value), json_string_length(value)};
}

/* "3d 4h", "4h 5m", "5m 6s", "6s" */
static void write_span(char *room, size_t size, json_int_t seconds)
{
    long long s = (long long)seconds;
    if (s >= 86400)
        snprintf(room, size, "%lldd %lldh", s / 86400, s % 86400 / 3600);
    else if (s >= 3600)
        snprintf(room, size, "%lldh %lldm", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        snprintf(room, size, "%lldm %llds", s / 60, s % 60);
    else
        snprintf(room, size, "%llds", s);
}

static void write_time(char *room, size_t size, json_int_t at)
{
    time_t seconds = (time_t)at;
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL || strftime(room, size, "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
        snprintf(room, size, "?");
}

/* A cell's text, lists joined by commas; "-" where there is none. */
static void write_cell(char room[CELL_MAX], const char *name, const json_t *value)
{
    static const char seconds[] = "_seconds";
    size_t len = strlen(name), i;
    const json_t *item;

    snprintf(room, CELL_MAX, "-");
    if (json_is_integer(value) && len > sizeof seconds - 1 &&
        strcmp(name + len - (sizeof seconds - 1), seconds) == 0)
        write_span(room, CELL_MAX, json_integer_value(value));
    else if (json_is_integer(value))
        snprintf(room, CELL_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_string(value) && json_string_length(value) > 0)
        snprintf(room, CELL_MAX, "%s", json_string_value(value));
    else if (json_is_boolean(value))
        snprintf(room, CELL_MAX, "%s", json_is_true(value) ? "yes" : "no");
    size_t used = 0;
    json_array_foreach(value, i, item)
    {
        const char *one = json_string_value(item);
        int n = snprintf(room + used, CELL_MAX - used, "%s%s", i > 0 ? "," : "",
                         one != NULL ? one : "?");
        if (n < 0 || (used += (size_t)n) >= CELL_MAX)
            break;
    }
}

struct column {
    const char *title;
    const char *member;
};

static void print_cell(FILE *out, const char *cell, size_t width, bool last)
{
    th_show_text(out, th_str_of(cell));
    if (last)
        fputc('\n', out);
    else
        fprintf(out, "%*s", (int)(width - strlen(cell) + 2), "");
}

static void show_table(FILE *out, const json_t *rows, const struct column *columns, size_t n)
{
    size_t widths[COLUMNS_MAX], i;
    char cell[CELL_MAX];
    const json_t *row;

    TH_REQUIRE(n <= COLUMNS_MAX);
    for (size_t k = 0; k < n; k++)
        widths[k] = strlen(columns[k].title);
    json_array_foreach(rows, i, row)
    {
        for (size_t k = 0; k < n; k++) {
            write_cell(cell, columns[k].member, json_object_get(row, columns[k].member));
            widths[k] = strlen(cell) > widths[k] ? strlen(cell) : widths[k];
        }
    }
    for (size_t k = 0; k < n; k++)
        print_cell(out, columns[k].title, widths[k], k + 1 == n);
    json_array_foreach(rows, i, row)
    {
        for (size_t k = 0; k < n; k++) {
            write_cell(cell, columns[k].member, json_object_get(row, columns[k].member));
            print_cell(out, cell, widths[k], k + 1 == n);
        }
    }
}

static void line(FILE *out, const char *name, const char *value)
{
    fprintf(out, "%-14s", name);
    th_show_text(out, th_str_of(value));
    fputc('\n', out);
}

static bool holds(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static void show_hardening(FILE *out, const json_t *hardening)
{
    char room[512];

    snprintf(room, sizeof room, "uid %lld, gid %lld, %s", (long long)number(hardening, "uid"),
             (long long)number(hardening, "gid"),
             holds(hardening, "capabilities") ? "with capabilities" : "no capabilities");
    line(out, "runs as", room);
    snprintf(room, sizeof room, "%s, %s, %s, secrets %s",
             holds(hardening, "no_new_privileges") ? "no new privileges" : "MAY GAIN PRIVILEGES",
             holds(hardening, "dumpable") ? "TRACEABLE" : "not traceable",
             holds(hardening, "core_dumps") ? "CORE DUMPS" : "no core dumps",
             holds(hardening, "secrets_locked") ? "never swapped" : "MAY BE SWAPPED");
    line(out, "hardening", room);
    line(out, "  seccomp", json_string_value(json_object_get(hardening, "seccomp")));
    if (number(hardening, "landlock") > 0)
        snprintf(room, sizeof room, "on, version %lld", (long long)number(hardening, "landlock"));
    line(out, "  landlock", number(hardening, "landlock") > 0 ? room : "off");
}

void th_ctl_show_status(FILE *out, const json_t *answer)
{
    const json_t *workers = json_object_get(answer, "workers");
    const json_t *configuration = json_object_get(answer, "configuration");
    const json_t *refused = json_object_get(configuration, "refused");
    const json_t *open = json_object_get(answer, "open");
    const json_t *origins = json_object_get(answer, "origin_connections");
    const json_t *cache = json_object_get(answer, "cache");
    char room[512], when[64];

    snprintf(room, sizeof room, "tokenhop %.*s, pid %lld", TH_STR_ARGS(text(answer, "version")),
             (long long)number(answer, "pid"));
    line(out, "version", room);
    line(out, "state", json_string_value(json_object_get(answer, "state")));
    write_span(room, sizeof room, number(answer, "uptime_seconds"));
    line(out, "up", room);
    snprintf(room, sizeof room, "%lld of %lld run", (long long)number(workers, "running"),
             (long long)number(workers, "count"));
    line(out, "workers", room);
    write_time(when, sizeof when, number(configuration, "loaded_at"));
    snprintf(room, sizeof room, "%.*s, loaded %s", TH_STR_ARGS(text(configuration, "file")), when);
    line(out, "configuration", room);
    if (refused != NULL) {
        write_time(when, sizeof when, number(refused, "at"));
        snprintf(room, sizeof room, "%s, %lld mistakes", when,
                 (long long)number(refused, "mistakes"));
        line(out, "  refused", room);
    }
    line(out, "log level", json_string_value(json_object_get(answer, "log_level")));
    snprintf(room, sizeof room, "%lld, %lld under way", (long long)number(answer, "requests"),
             (long long)number(open, "hops"));
    line(out, "requests", room);
    snprintf(room, sizeof room, "%lld open, %lld tunnels",
             (long long)number(open, "client_connections"), (long long)number(open, "tunnels"));
    line(out, "clients", room);
    snprintf(room, sizeof room, "%lld open, %lld idle", (long long)number(origins, "open"),
             (long long)number(origins, "idle"));
    line(out, "origins", room);
    snprintf(room, sizeof room, "%lld of %lld entries, %lld of %lld bytes",
             (long long)number(cache, "entries"), (long long)number(cache, "max_entries"),
             (long long)number(cache, "bytes"), (long long)number(cache, "max_bytes"));
    line(out, "cache", room);
    snprintf(room, sizeof room, "%lld hits, %lld misses", (long long)number(cache, "hits"),
             (long long)number(cache, "misses"));
    line(out, "  lookups", room);
    snprintf(room, sizeof room, "%lld under way, %lld requests wait",
             (long long)number(cache, "exchanges"), (long long)number(cache, "waiting"));
    line(out, "  exchanges", room);
    if (json_array_size(json_object_get(answer, "in_shadow")) > 0) {
        char names[CELL_MAX];
        write_cell(names, "in_shadow", json_object_get(answer, "in_shadow"));
        line(out, "IN SHADOW", names);
    }
    show_hardening(out, json_object_get(answer, "hardening"));
}

void th_ctl_show_connections(FILE *out, const json_t *answer)
{
    static const struct column columns[] = {
        {"NAME", "name"},     {"TYPE", "type"},
        {"AGENTS", "agents"}, {"SERVER", "authorization_server"},
        {"CACHED", "cached"}, {"REQUESTS", "requests"},
        {"SHADOW", "shadow"}, {"LAST ERROR", "last_error"},
        {"URLS", "urls"},
    };
    show_table(out, json_object_get(answer, "connections"), columns, TH_COUNT_OF(columns));
}

void th_ctl_show_cache(FILE *out, const json_t *answer)
{
    static const struct column columns[] = {
        {"CONNECTION", "connection"},
        {"AGENT", "agent"},
        {"SUBJECT", "subject"},
        {"STATE", "state"},
        {"ENDS IN", "expires_in_seconds"},
        {"RENEWED IN", "renewed_in_seconds"},
        {"REVOCABLE", "revocable"},
        {"ERROR", "error"},
    };
    show_table(out, json_object_get(answer, "entries"), columns, TH_COUNT_OF(columns));
    if (json_is_true(json_object_get(answer, "cut")))
        fprintf(out, "(the first %lld of %lld in the cache)\n", (long long)number(answer, "count"),
                (long long)number(answer, "in_all"));
}

void th_ctl_show_purged(FILE *out, const json_t *answer)
{
    fprintf(out, "dropped %lld\n", (long long)number(answer, "dropped"));
}

void th_ctl_show_revoked(FILE *out, const json_t *answer)
{
    fprintf(out, "dropped %lld: revoked %lld, failed %lld, not asked %lld, not revocable %lld\n",
            (long long)number(answer, "dropped"), (long long)number(answer, "revoked"),
            (long long)number(answer, "failed"), (long long)number(answer, "not_asked"),
            (long long)number(answer, "not_revocable"));
}

void th_ctl_show_reloaded(FILE *out, const json_t *answer)
{
    (void)answer;
    fputs("the configuration was read anew\n", out);
}

void th_ctl_show_draining(FILE *out, const json_t *answer)
{
    (void)answer;
    fputs("no more connections are taken; it ends when requests have, or timeouts.drain is over\n",
          out);
}

void th_ctl_show_level(FILE *out, const json_t *answer)
{
    th_show_text(out, text(answer, "level"));
    fputc('\n', out);
}

void th_ctl_show_probe(FILE *out, const json_t *answer)
{
    if (json_is_true(json_object_get(answer, "ok")))
        fputs("yes", out);
    else
        th_show_text(out, text(answer, "why"));
    fputc('\n', out);
}

void th_ctl_show_refusal(FILE *out, const json_t *answer)
{
    const json_t *mistake;
    size_t i;

    json_array_foreach(json_object_get(answer, "mistakes"), i, mistake)
    {
        struct th_str mend = text(mistake, "mend");
        th_show_text(out, text(answer, "file"));
        if (number(mistake, "line") > 0)
            fprintf(out, ":%lld:%lld", (long long)number(mistake, "line"),
                    (long long)number(mistake, "column"));
        fputs(": ", out);
        th_show_text(out, text(mistake, "path"));
        fputs(": ", out);
        th_show_text(out, text(mistake, "what"));
        if (mend.len > 0)
            fputs("; ", out);
        th_show_text(out, mend);
        fputc('\n', out);
    }
    if (number(answer, "left_out") > 0)
        fprintf(out, "and %lld more\n", (long long)number(answer, "left_out"));
    struct th_str error = text(answer, "error");
    if (error.len == 0)
        error = text(answer, "why");
    fputs("tokenhop ctl: ", out);
    th_show_text(out, error);
    fputc('\n', out);
}
