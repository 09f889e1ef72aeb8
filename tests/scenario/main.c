/* Plays scenarios: scenario [--sweep] PATTERN... */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "play.h"
#include "tokenhop/base/random.h"
#include "tokenhop/net/init.h"
#include "tokenhop/oauth/json.h"

/* Every allocation of the script fails in turn. */
static bool sweep(const struct script *script, const struct world_home *home)
{
    unsigned long n = 0, failed = 0;

    if (!play_script(script, home, 0, &n))
        return false;
    for (unsigned long nth = 1; nth <= n && failed < 5; nth++)
        failed += !play_script(script, home, nth, NULL);
    printf("%s: %lu allocations\n", script->path, n);
    return failed == 0;
}

struct tally {
    int n, n_failed;
};

static void play_file(const char *path, const struct world_home *home, bool sweeps,
                      struct tally *tally)
{
    struct script script;

    tally->n++;
    if (!script_read(path, &script)) {
        tally->n_failed++;
        return;
    }
    bool held = sweeps ? sweep(&script, home) : play_script(&script, home, 0, NULL);
    const char *name = strrchr(path, '/');
    printf("%s %s\n", held ? "ok" : "FAILED", name != NULL ? name + 1 : path);
    tally->n_failed += !held;
    script_fini(&script);
}

int main(int argc, char **argv)
{
    struct world_home home;
    struct tally tally = {0, 0};
    bool sweeps = false;

#ifdef TH_CHECKS
    th_random_seed_for_tests(1);
#endif
    th_json_start();
    if (th_net_global_init() != 0)
        return 2;
    world_home_init(&home);
    for (int i = 1; i < argc; i++) {
        glob_t found;
        if (strcmp(argv[i], "--sweep") == 0) {
            sweeps = true;
            continue;
        }
        if (glob(argv[i], 0, NULL, &found) != 0) {
            fprintf(stderr, "%s: there is no such scenario\n", argv[i]);
            tally.n_failed++;
            continue;
        }
        for (size_t k = 0; k < found.gl_pathc; k++)
            play_file(found.gl_pathv[k], &home, sweeps, &tally);
        globfree(&found);
    }
    world_home_fini(&home);
    th_net_global_fini();
    printf("%d scenarios, %d failed\n", tally.n, tally.n_failed);
    return tally.n_failed > 0 || tally.n == 0;
}
