/* Assertions. No bytes from any peer may reach an abort: what peers send is an error, not a check.
 *
 * TH_REQUIRE      always on; cannot happen; prints the place and aborts.
 * TH_ASSERT       only in debug builds (-Dchecks=true): expensive or plentiful checks.
 * TH_CHECK_FAILS  true when the condition fails: counted and said once a place, and the caller
 *                 recovers:   if (TH_CHECK_FAILS(x)) return TH_E_INTERNAL;
 *
 * Objects that pass through a void * begin with a magic word, checked by TH_CAST at the cast. */
#ifndef TOKENHOP_BASE_CHECK_H
#define TOKENHOP_BASE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Noreturn void th_check_abort(const char *file, int line, const char *expr);
bool th_check_report(const char *file, int line, const char *expr);
unsigned long th_check_count(void); /* checks that failed in this process, for metrics */

#define TH_LIKELY(x) __builtin_expect(!!(x), 1)
#define TH_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define TH_REQUIRE(x)                                                                              \
    do {                                                                                           \
        if (TH_UNLIKELY(!(x)))                                                                     \
            th_check_abort(__FILE__, __LINE__, #x);                                                \
    } while (0)

#ifdef TH_CHECKS
#define TH_ASSERT(x) TH_REQUIRE(x)
#else
#define TH_ASSERT(x) ((void)sizeof(!(x)))
#endif

#define TH_CHECK_FAILS(x) (TH_UNLIKELY(!(x)) && th_check_report(__FILE__, __LINE__, #x))

#define TH_CAST(type, magic_word, ptr)                                                             \
    __extension__({                                                                                \
        type *th_cast_ = (ptr);                                                                    \
        TH_REQUIRE(th_cast_ != NULL && th_cast_->magic == (magic_word));                           \
        th_cast_;                                                                                  \
    })

#define TH_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define TH_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
