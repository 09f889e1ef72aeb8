#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fetch_head.h"
#include "tokenhop/base/check.h"

#define WALL_MS INT64_C(784111777000) /* Sun, 06 Nov 1994 08:49:37 GMT */
#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define MINUTE_MS 60000

/* RFC 9111, 4.2: how long an answer is fresh. */
static const struct {
    const char *name, *lines[4];
    int64_t want_ms;
} rows[] = {
    {"unsaid", {"Content-Type: application/json\r\n"}, -1},
    {"max-age", {"Cache-Control: max-age=600\r\n"}, 10 * MINUTE_MS},
    {"among others", {"cache-control: public, MAX-AGE=600 , immutable\r\n"}, 10 * MINUTE_MS},
    {"quoted", {"Cache-Control: max-age=\"600\"\r\n"}, 10 * MINUTE_MS},
    {"no number", {"Cache-Control: max-age=soon\r\n"}, 0},
    {"negative", {"Cache-Control: max-age=-1\r\n"}, 0},
    {"empty", {"Cache-Control: max-age=\r\n"}, 0},
    {"more than can be counted",
     {"Cache-Control: max-age=99999999999999999999\r\n"},
     INT64_C(31536000000)},
    {"two fields, the shorter holds",
     {"Cache-Control: max-age=600\r\n", "Cache-Control: max-age=60\r\n"},
     MINUTE_MS},
    {"no-store", {"Cache-Control: max-age=600, no-store\r\n"}, 0},
    {"no-cache", {"Cache-Control: no-cache\r\n"}, 0},
    {"s-maxage is for others", {"Cache-Control: s-maxage=600\r\n"}, -1},
    {"less its age", {"Cache-Control: max-age=600\r\n", "Age: 60\r\n"}, 9 * MINUTE_MS},
    {"older than it may be", {"Cache-Control: max-age=60\r\n", "Age: 600\r\n"}, 0},
    {"Expires, by their Date", {DATE, "Expires: Sun, 06 Nov 1994 08:50:37 GMT\r\n"}, MINUTE_MS},
    {"Expires, by our clock", {"Expires: Sun, 06 Nov 1994 08:50:37 GMT\r\n"}, MINUTE_MS},
    {"Expires before", {DATE, "Expires: Sun, 06 Nov 1994 08:00:00 GMT\r\n"}, 0},
    {"Expires is no date", {"Expires: 0\r\n"}, 0},
    {"max-age goes before Expires",
     {"Expires: Sun, 06 Nov 1994 08:50:37 GMT\r\n", "Cache-Control: max-age=600\r\n"},
     10 * MINUTE_MS},
    {"an interim answer's is forgotten",
     {"Cache-Control: max-age=600\r\n", "HTTP/1.1 200\r\n"},
     -1},
};

static void freshness_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_fetch_head head;
        struct th_fetch_response response = {0};
        th_fetch_head_init(&head);
        for (size_t k = 0; k < TH_COUNT_OF(rows[i].lines) && rows[i].lines[k] != NULL; k++)
            th_fetch_head_add(&head, th_str_of(rows[i].lines[k]));
        th_fetch_head_fill(&head, WALL_MS, &response);
        if (response.fresh_ms != rows[i].want_ms)
            fail_msg("%s: fresh for %lld", rows[i].name, (long long)response.fresh_ms);
        assert_false(head.failed);
        th_fetch_head_fini(&head);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(freshness_is_read)};
    return cmocka_run_group_tests_name("net fetch head", tests, NULL, NULL);
}
