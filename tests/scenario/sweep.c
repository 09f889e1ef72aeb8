#include "sweep.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"
#include "tokenhop/base/check.h"

#define PLAY_SECONDS 120 /* one that takes longer hangs */
#define COMPLAINTS_MAX 20

/* The sanitizer's: whether something leaks, said on standard error. Where there is none, nothing does. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* Plays run in a child, so that one that aborts is one that failed, and the rest still have their turn. */
struct progress {
    size_t at;              /* of the list: the play that runs */
    unsigned long n_failed; /* plays in which something did not hold */
};

static bool is_new_place(const uint32_t *sites, unsigned long index)
{
    for (unsigned long i = 0; i < index; i++)
        if (sites[i] == sites[index])
            return false;
    return true;
}

/* Which are to fail, of so many that a play without a fault makes. */
static unsigned long *list_turns(struct sweep *sweep, unsigned long n, size_t *ret_count)
{
    const struct fault_board *board = fault_look();
    unsigned long *turns = calloc(n + 1, sizeof *turns);

    TH_REQUIRE(turns != NULL);
    *ret_count = 0;
    if (sweep->by_place && n > FAULT_SITES_MAX)
        n = FAULT_SITES_MAX;
    for (unsigned long nth = 1; nth <= n; nth++)
        if ((!sweep->by_place || is_new_place(board->sites, nth - 1)) &&
            sweep->n_turns++ % sweep->step == 0)
            turns[(*ret_count)++] = nth;
    return turns;
}

/* Where the call was made, as far as addr2line can say it. */
static void say_where(const struct fault_board *board)
{
    char command[128];

    if (board == NULL || board->row == 0)
        return;
    fprintf(stderr, "  %s, called at:\n", board->rows[board->row - 1].name);
    snprintf(command, sizeof command, "addr2line -i -f -s -p -e /proc/%d/exe 0x%llx >&2",
             (int)getpid(), (unsigned long long)board->site - 1);
    fflush(stderr);
    if (system(command) != 0)
        fprintf(stderr, "  0x%llx\n", (unsigned long long)board->site);
}

static bool is_as_ever(const struct script *script, const struct play_options *options,
                       const struct play_figures *now, const struct play_figures *ever)
{
    bool fine = true;

    if (now->is_malformed && !ever->is_malformed) {
        fprintf(stderr, "%s: with %lu failing, a client has got what is no answer\n", script->path,
                options->nth);
        fine = false;
    }
    for (size_t i = 0; i < WORLD_PROBES && !now->is_elsewhere; i++) {
        if (ever->probes[i] != 200 || now->probes[i] == 200 ||
            now->probes[i] == WORLD_PROBE_UNKNOWN)
            continue;
        fprintf(stderr,
                "%s: with %lu failing, probe %zu ends with %u afterwards, without it with %u\n",
                script->path, options->nth, i, now->probes[i], ever->probes[i]);
        fine = false;
    }
    return fine;
}

static void play_turns(const struct sweep *sweep, const struct script *script,
                       const unsigned long *turns, size_t count, const struct play_figures *ever,
                       struct progress *progress)
{
    for (; progress->at < count; progress->at++) {
        struct play_options options = {.what = sweep->what,
                                       .nth = turns[progress->at],
                                       .lasts = sweep->lasts,
                                       .probes = ever->is_probed};
        struct play_figures now = {0};
        alarm(PLAY_SECONDS);
        bool fine = play_script(script, sweep->home, &options, &now);
        fine &= is_as_ever(script, &options, &now, ever);
        if (__lsan_do_recoverable_leak_check != NULL && __lsan_do_recoverable_leak_check() != 0) {
            fprintf(stderr, "%s: with %lu failing, something leaks\n", script->path, options.nth);
            fine = false;
        }
        alarm(0);
        if (fine)
            continue;
        if (sweep->what == WORLD_CALL)
            say_where(fault_look());
        if (++progress->n_failed >= COMPLAINTS_MAX)
            break;
    }
}

static void complain_of_end(const struct sweep *sweep, const struct script *script, int status,
                            unsigned long nth)
{
    fprintf(stderr, "%s: with %s %lu failing, ", script->path,
            sweep->what == WORLD_CALL ? "call" : "allocation", nth);
    if (WIFSIGNALED(status))
        fprintf(stderr, "the play ends with signal %d (%s)\n", WTERMSIG(status),
                WTERMSIG(status) == SIGALRM ? "it hangs" : strsignal(WTERMSIG(status)));
    else
        fprintf(stderr, "the play ends with status %d\n", WEXITSTATUS(status));
    if (sweep->what == WORLD_CALL)
        say_where(fault_look());
}

/* Without a fault; with the probes, where the script has left a world that they fit into: where callers' tokens are passed
 * through, say, they do not. */
static bool play_well(struct sweep *sweep, const struct script *script,
                      struct play_figures *ret_ever)
{
    struct play_options options = {.probes = true, .is_quiet = true};

    if (!play_script(script, sweep->home, &options, ret_ever)) {
        options = (struct play_options){.probes = false};
        if (!play_script(script, sweep->home, &options, ret_ever))
            return false;
    }
    ret_ever->is_probed = options.probes;
    sweep->n_scripts++;
    sweep->n_probed += ret_ever->probes[0] == 200 || ret_ever->probes[1] == 200;
    return true;
}

bool sweep_script(struct sweep *sweep, const struct script *script)
{
    struct play_figures ever = {0};
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    size_t count;

    TH_REQUIRE(progress != MAP_FAILED);
    if (!play_well(sweep, script, &ever))
        return false;
    unsigned long *turns = list_turns(sweep, ever.n_done[sweep->what], &count);
    while (progress->at < count && progress->n_failed < COMPLAINTS_MAX) {
        int status;
        fflush(stdout);
        pid_t child = fork();
        TH_REQUIRE(child >= 0);
        if (child == 0) {
            play_turns(sweep, script, turns, count, &ever, progress);
            fflush(stderr);
            _exit(0);
        }
        TH_REQUIRE(waitpid(child, &status, 0) == child);
        if (status == 0)
            break;
        progress->n_failed++;
        complain_of_end(sweep, script, status, turns[progress->at]);
        progress->at++;
    }
    printf("%s: %lu %s, %zu of them failed in turn, %lu did not hold\n", script->path,
           ever.n_done[sweep->what], sweep->what == WORLD_CALL ? "calls" : "allocations", count,
           progress->n_failed);
    sweep->n_plays += count;
    sweep->n_failed += progress->n_failed;
    bool fine = progress->n_failed == 0;
    munmap(progress, sizeof *progress);
    free(turns);
    return fine;
}

void sweep_report(const struct sweep *sweep)
{
    const struct fault_board *board = fault_look();

    printf("%lu plays of %u scripts, %u of them with probes; %lu did not hold\n", sweep->n_plays,
           sweep->n_scripts, sweep->n_probed, sweep->n_failed);
    for (uint64_t i = 0; sweep->what == WORLD_CALL && board != NULL && i < board->n_rows; i++)
        if (board->rows[i].n_calls > 0)
            printf("  %-36s failed %llu times\n", board->rows[i].name,
                   (unsigned long long)board->rows[i].n_failed);
}
