#include "tokenhop/base/check.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_PLACES 256

/* Process-wide: which places have been said, so that a check that fails on every request says so
 * once. A place is a file and line; two that collide in the table share a slot and one is silent.
 */
static atomic_bool places_said[MAX_PLACES];
static atomic_ulong n_reports;

/* One write and no stdio: other threads run on, and the heap may be what is broken. */
static void say(const char *what, const char *file, int line, const char *expr)
{
    char text[512];
    int len = snprintf(text, sizeof text, "tokenhop: %s at %s:%d: %s\n", what, file, line, expr);
    if (len < 0)
        return;
    if ((size_t)len >= sizeof text) {
        len = (int)sizeof text - 1;
        text[len - 1] = '\n';
    }
    ssize_t written = write(STDERR_FILENO, text, (size_t)len);
    (void)written; /* nobody to tell */
}

_Noreturn void th_check_abort(const char *file, int line, const char *expr)
{
    say("cannot go on", file, line, expr);
    abort();
}

bool th_check_report(const char *file, int line, const char *expr)
{
    atomic_fetch_add_explicit(&n_reports, 1, memory_order_relaxed);
    unsigned place = (unsigned)line;
    for (const char *c = file; *c != '\0'; c++)
        place = place * 31 + (unsigned char)*c;
    if (!atomic_exchange_explicit(&places_said[place % MAX_PLACES], true, memory_order_relaxed))
        say("a check failed, going on", file, line, expr);
    return true;
}

unsigned long th_check_count(void)
{
    return atomic_load_explicit(&n_reports, memory_order_relaxed);
}
