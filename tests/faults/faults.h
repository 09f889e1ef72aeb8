/* Failing calls of libraries, in builds with -Dfail_calls=true (else nothing fails and nothing is counted).
 *
 * Every call that the program's own objects make of a function in calls.def goes through here (the linker's --wrap);
 * what libraries call of each other does not. Calls are counted while a plan is armed, and the nth of them fails in
 * the manner of its row. Plans are the whole process's: one at a time, armed and disarmed by one thread.
 *
 * A process whose environment names a file in TH_FAULT_BOARD keeps the board there (made if it is missing), for
 * another one to arm it and to read it: tests/faults/board.py. */
#ifndef TOKENHOP_TESTS_FAULTS_H
#define TOKENHOP_TESTS_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#define FAULT_ROWS_MAX 512
#define FAULT_SITES_MAX (1 << 16)

struct fault_count {
    char name[48];
    uint64_t n_calls, n_failed;
};

/* What is armed and what has come of it. Other processes read and write it: fixed sizes, nothing moves. */
struct fault_board {
    uint64_t is_armed;
    uint64_t nth;      /* of the calls from when it was armed; 0: none fails, they are counted */
    uint64_t at_site;  /* or: the first call that is made there fails; 0: none */
    uint64_t lasts;    /* from the nth on, every call of the same function fails */
    uint64_t thread;   /* 0: any thread's calls; else those of the thread that armed alone */
    uint64_t n_calls;  /* since it was armed */
    uint64_t n_failed; /* since it was armed */
    uint64_t row;      /* of the call that failed last, from 1 */
    uint64_t
        site; /* where it was called: an offset into the program's file, as addr2line wants it */
    uint64_t n_rows;
    struct fault_count rows[FAULT_ROWS_MAX]; /* since the process began: while armed */
    uint32_t sites[FAULT_SITES_MAX];         /* where the nth call was made, from 0 */
};

#ifdef TH_FAIL_CALLS
/* NULL: no call was ever counted. */
const struct fault_board *fault_look(void);
/* `nth` from 1, of the calling thread's calls alone; 0: they are counted. */
void fault_arm(uint64_t nth, bool lasts);
/* As armed, but the plan becomes this one; the count goes on. */
void fault_aim(uint64_t nth, bool lasts);
void fault_disarm(void);
/* What the calling thread does now is not the program's: a fake that it calls. Pairs may be nested. */
void fault_pause(void);
void fault_resume(void);
#else
static inline const struct fault_board *fault_look(void)
{
    return (const struct fault_board *)0;
}
static inline void fault_arm(uint64_t nth, bool lasts)
{
    (void)nth;
    (void)lasts;
}
static inline void fault_aim(uint64_t nth, bool lasts)
{
    (void)nth;
    (void)lasts;
}
static inline void fault_disarm(void) {}
static inline void fault_pause(void) {}
static inline void fault_resume(void) {}
#endif

#endif
