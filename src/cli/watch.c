#include "watch.h"

#include "tokenhop/base/mem.h"

/* Since its last change a file is left alone for so long, however often it changes no longer than
 * YOUNG_LOOKS_MAX such looks. */
#define YOUNG_MS 250
#define YOUNG_LOOKS_MAX 8
/* Looking takes this part of the time at most, where files are many or slow. */
#define SHARE 50

struct watch_file {
    struct th_str path;
    struct th_file_mark mark; /* before the configuration was last loaded, or tried to be */
};

struct th_watch {
    const struct th_clock *clock;
    struct watch_file main; /* the configuration file: looked at only while it could not be used */
    bool failed;
    struct th_config *config;
    struct watch_file *files;
    size_t n_files;
    int64_t next_ms; /* -1: never */
    unsigned n_young_looks;
};

int th_watch_new(const struct th_clock *clock, const char *path, struct th_watch **ret_watch)
{
    struct th_watch *watch = th_calloc(1, sizeof *watch);

    if (watch == NULL)
        return TH_E_NOMEM;
    watch->clock = clock;
    watch->main.path = th_str_of(path);
    watch->next_ms = -1;
    *ret_watch = watch;
    return 0;
}

struct th_watch *th_watch_free(struct th_watch *watch)
{
    if (watch == NULL)
        return NULL;
    th_free(watch->files);
    th_config_unref(watch->config);
    th_free(watch);
    return NULL;
}

static void plan_next(struct th_watch *watch, int64_t delay_ms)
{
    watch->next_ms = th_clock_monotonic_ms(watch->clock) + delay_ms;
}

static int64_t interval_of(const struct th_watch *watch)
{
    return th_config_get(watch->config)->files.watch_ms;
}

void th_watch_follow(struct th_watch *watch, struct th_config *config)
{
    const struct th_config_view *view = th_config_get(config);
    size_t n = 0;

    th_config_ref(config);
    th_config_unref(watch->config);
    watch->config = config;
    watch->failed = false;
    watch->n_young_looks = 0;
    watch->next_ms = -1;
    th_free(watch->files);
    for (const struct th_config_file *file = view->read_files; file != NULL; file = file->next)
        n++;
    watch->files = n > 0 && view->files.watch_ms > 0 ? th_calloc(n, sizeof *watch->files) : NULL;
    watch->n_files = 0;
    if (watch->files == NULL)
        return;
    for (const struct th_config_file *file = view->read_files; file != NULL; file = file->next)
        watch->files[watch->n_files++] =
            (struct watch_file){.path = file->path, .mark = file->mark};
    plan_next(watch, view->files.watch_ms);
}

void th_watch_begin(struct th_watch *watch)
{
    th_file_mark_take(watch->main.path.ptr, &watch->main.mark);
    for (size_t i = 0; i < watch->n_files; i++)
        th_file_mark_take(watch->files[i].path.ptr, &watch->files[i].mark);
}

void th_watch_note_failure(struct th_watch *watch)
{
    watch->failed = true;
}

int64_t th_watch_due_in(const struct th_watch *watch, int64_t max_ms)
{
    int64_t left_ms = max_ms;

    if (watch->next_ms >= 0)
        left_ms = watch->next_ms - th_clock_monotonic_ms(watch->clock);
    return left_ms < 0 ? 0 : left_ms < max_ms ? left_ms : max_ms;
}

/* A clock of the file system that is ahead of ours says nothing. */
static bool is_young(const struct th_watch *watch, const struct th_file_mark *mark)
{
    int64_t age_ms = th_clock_wall_ms(watch->clock) - mark->changed_ns / 1000000;

    return !mark->exists || (age_ms >= 0 && age_ms < YOUNG_MS);
}

static bool has_changed(const struct th_watch *watch, const struct watch_file *file, bool *young)
{
    struct th_file_mark now;

    th_file_mark_take(file->path.ptr, &now);
    if (th_file_mark_is_alike(&now, &file->mark))
        return false;
    *young |= is_young(watch, &now);
    return true;
}

static const struct watch_file *find_changed(const struct th_watch *watch, bool *ret_young)
{
    const struct watch_file *changed = NULL;

    *ret_young = false;
    if (watch->failed && has_changed(watch, &watch->main, ret_young))
        changed = &watch->main;
    for (size_t i = 0; i < watch->n_files; i++)
        if (has_changed(watch, &watch->files[i], ret_young) && changed == NULL)
            changed = &watch->files[i];
    return changed;
}

bool th_watch_look(struct th_watch *watch, struct th_str *ret_path)
{
    int64_t started_ms = th_clock_monotonic_ms(watch->clock);
    bool young;

    if (watch->next_ms < 0 || started_ms < watch->next_ms)
        return false;
    const struct watch_file *changed = find_changed(watch, &young);
    int64_t took_ms = th_clock_monotonic_ms(watch->clock) - started_ms;
    int64_t delay_ms = interval_of(watch);
    if (delay_ms < took_ms * SHARE)
        delay_ms = took_ms * SHARE;
    if (changed != NULL && young && watch->n_young_looks < YOUNG_LOOKS_MAX) {
        watch->n_young_looks++;
        plan_next(watch, delay_ms < YOUNG_MS ? delay_ms : YOUNG_MS);
        return false;
    }
    watch->n_young_looks = 0;
    plan_next(watch, delay_ms);
    if (changed == NULL)
        return false;
    *ret_path = changed->path;
    return true;
}
