/* Plays scenarios: scenario [--sweep allocations|calls|places] [--lasting] [--step N] [--nth N] PATTERN... */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sweep.h"
#include "tokenhop/base/random.h"
#include "tokenhop/net/init.h"
#include "tokenhop/oauth/json.h"

struct tally {
    int n, n_failed;
};

struct task {
    bool sweeps;
    struct sweep sweep;
    unsigned long nth; /* this one alone, in this process: for a debugger; 0: all */
    struct world_home home;
    struct tally tally;
};

static bool play(struct task *task, const struct script *script)
{
    struct play_options options = {
        .what = task->sweep.what, .nth = task->nth, .lasts = task->sweep.lasts};
    struct play_figures figures;

    if (task->sweeps && task->nth == 0)
        return sweep_script(&task->sweep, script);
    return play_script(script, &task->home, &options, &figures);
}

static void play_file(struct task *task, const char *path)
{
    struct script script;

    task->tally.n++;
    if (!script_read(path, &script)) {
        task->tally.n_failed++;
        return;
    }
    bool held = play(task, &script);
    const char *name = strrchr(path, '/');
    printf("%s %s\n", held ? "ok" : "FAILED", name != NULL ? name + 1 : path);
    task->tally.n_failed += !held;
    script_fini(&script);
}

static void play_pattern(struct task *task, const char *pattern)
{
    glob_t found;

    if (glob(pattern, 0, NULL, &found) != 0) {
        fprintf(stderr, "%s: there is no such scenario\n", pattern);
        task->tally.n_failed++;
        return;
    }
    for (size_t k = 0; k < found.gl_pathc; k++)
        play_file(task, found.gl_pathv[k]);
    globfree(&found);
}

static bool take_mode(struct task *task, const char *mode)
{
    task->sweeps = true;
    task->sweep.what = strcmp(mode, "allocations") == 0 ? WORLD_ALLOCATION : WORLD_CALL;
    task->sweep.by_place = strcmp(mode, "places") == 0;
    return task->sweep.what == WORLD_ALLOCATION || task->sweep.by_place ||
           strcmp(mode, "calls") == 0;
}

/* How many arguments this option takes up; 0: it is none. */
static int take_option(struct task *task, char **argv)
{
    if (strcmp(argv[0], "--lasting") == 0) {
        task->sweep.lasts = true;
        return 1;
    }
    if (argv[0][0] != '-' || argv[1] == NULL)
        return 0;
    if (strcmp(argv[0], "--sweep") == 0) {
        if (!take_mode(task, argv[1])) {
            fprintf(stderr, "--sweep allocations, calls or places, not %s\n", argv[1]);
            task->tally.n_failed++;
        }
    } else if (strcmp(argv[0], "--step") == 0) {
        task->sweep.step = strtoul(argv[1], NULL, 10);
    } else if (strcmp(argv[0], "--nth") == 0) {
        task->nth = strtoul(argv[1], NULL, 10);
    } else {
        return 0;
    }
    return 2;
}

int main(int argc, char **argv)
{
    struct task task = {.sweep.step = 1};

#ifdef TH_CHECKS
    th_random_seed_for_tests(1);
#endif
    th_json_start();
    if (th_net_global_init() != 0)
        return 2;
    world_home_init(&task.home);
    task.sweep.home = &task.home;
    for (int i = 1; i < argc;) {
        int taken = take_option(&task, argv + i);
        if (taken == 0)
            play_pattern(&task, argv[i]);
        i += taken > 0 ? taken : 1;
    }
    if (task.sweeps)
        sweep_report(&task.sweep);
    if (task.sweeps && task.nth == 0 && task.sweep.n_plays == 0) {
        fprintf(stderr, "nothing has failed in turn: is this built with -Dfail_alloc=true, or "
                        "-Dfail_calls=true?\n");
        task.tally.n_failed++;
    }
    world_home_fini(&task.home);
    th_net_global_fini();
    printf("%d scenarios, %d failed\n", task.tally.n, task.tally.n_failed);
    return task.tally.n_failed > 0 || task.tally.n == 0;
}
