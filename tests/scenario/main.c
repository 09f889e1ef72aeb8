/* Plays scenarios: scenario [--sweep] [--seed N] FILE... */
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

int main(int argc, char **argv)
{
    struct world_home home;
    bool sweeps = false;
    int n = 0, n_failed = 0;

#ifdef TH_CHECKS
    th_random_seed_for_tests(1);
#endif
    th_json_start();
    if (th_net_global_init() != 0)
        return 2;
    world_home_init(&home);
    for (int i = 1; i < argc; i++) {
        struct script script;
        if (strcmp(argv[i], "--sweep") == 0) {
            sweeps = true;
            continue;
        }
        n++;
        if (!script_read(argv[i], &script)) {
            n_failed++;
            continue;
        }
        n_failed += !(sweeps ? sweep(&script, &home) : play_script(&script, &home, 0, NULL));
        script_fini(&script);
    }
    world_home_fini(&home);
    th_net_global_fini();
    printf("%d scenarios, %d failed\n", n, n_failed);
    return n_failed > 0 || n == 0;
}
