/* Table-driven tests: each row of a table is a test of its own, under the row's name, so that a
 * failure says which requirement does not hold. */
#ifndef TH_HTTP_TEST_ROWS_H
#define TH_HTTP_TEST_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tokenhop/base/str.h"

#define TEST_ROWS_MAX 200

struct test_list {
    struct CMUnitTest tests[TEST_ROWS_MAX];
    size_t count;
};

static inline void test_list_add(struct test_list *list, const char *name, CMUnitTestFunction test,
                                 const void *row)
{
    if (list->count == TEST_ROWS_MAX)
        fail_msg("TEST_ROWS_MAX is too small");
    list->tests[list->count++] = (struct CMUnitTest){
        .name = name, .test_func = test, .initial_state = (void *)(uintptr_t)row};
}

/* Rows are structs that begin with `const char *name`. */
#define TEST_LIST_ADD_ROWS(list, table, test)                                                      \
    do {                                                                                           \
        for (size_t i_ = 0; i_ < sizeof(table) / sizeof((table)[0]); i_++)                         \
            test_list_add(list, (table)[i_].name, test, &(table)[i_]);                             \
    } while (0)

#define TEST_LIST_ADD(list, test) test_list_add(list, #test, test, NULL)

static inline int test_list_run(const char *group, const struct test_list *list)
{
    return _cmocka_run_group_tests(group, list->tests, list->count, NULL, NULL);
}

#define assert_str_equal(str, literal)                                                             \
    do {                                                                                           \
        struct th_str str_ = (str);                                                                \
        struct th_str want_ = TH_STR(literal);                                                     \
        if (!th_str_equal(str_, want_))                                                            \
            fail_msg("got \"%.*s\", want \"%s\"", TH_STR_ARGS(str_), literal);                     \
    } while (0)

#endif
