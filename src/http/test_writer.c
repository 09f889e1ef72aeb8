#include "tokenhop/http/http1.h"

#include "test_rows.h"

static struct th_str written(const struct th_writer *w)
{
    return (struct th_str){w->ptr, w->len};
}

static void numbers_are_written(void **state)
{
    (void)state;
    char room[64];
    struct th_writer w;
    th_writer_init(&w, room, sizeof(room));
    th_writer_add_u64(&w, 0);
    th_writer_add(&w, TH_STR(" "));
    th_writer_add_u64(&w, 1090);
    th_writer_add(&w, TH_STR(" "));
    th_writer_add_u64(&w, UINT64_MAX);
    assert_str_equal(written(&w), "0 1090 18446744073709551615");
    assert_false(w.overflow);
}

static void fields_are_written(void **state)
{
    (void)state;
    char room[64];
    struct th_writer w;
    th_writer_init(&w, room, sizeof(room));
    th_writer_add_field(&w, TH_STR("X-One"), TH_STR("a\tb \xff"));
    th_writer_add_field(&w, TH_STR("Y"), TH_STR_NONE);
    assert_str_equal(written(&w), "X-One: a\tb \xff\r\nY: \r\n");
    assert_false(w.overflow);
}

/* Whatever comes as a value or a name: it never becomes a line of its own. */
static void r1_nothing_is_injected(void **state)
{
    (void)state;
    static const struct th_str bad[] = {
        {"a\r\nX: y", 7}, {"a\nb", 3}, {"a\rb", 3}, {"a\0b", 3}, {"\177", 1}, {"\001", 1},
    };
    char room[64];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct th_writer w;
        th_writer_init(&w, room, sizeof(room));
        th_writer_add_field(&w, TH_STR("X"), bad[i]);
        assert_true(w.overflow);
        assert_int_equal(w.len, 0);
        th_writer_init(&w, room, sizeof(room));
        th_writer_add_field(&w, bad[i], TH_STR("x"));
        assert_true(w.overflow);
        assert_int_equal(w.len, 0);
        th_writer_init(&w, room, sizeof(room));
        th_writer_add_status_line(&w, 200, bad[i]);
        assert_true(w.overflow);
        assert_int_equal(w.len, 0);
    }
    struct th_writer w;
    th_writer_init(&w, room, sizeof(room));
    th_writer_add_field(&w, TH_STR(""), TH_STR("x"));
    assert_true(w.overflow);
    th_writer_init(&w, room, sizeof(room));
    th_writer_add_field(&w, TH_STR("A B"), TH_STR("x"));
    assert_true(w.overflow);
}

static void overflow_sticks_and_nothing_is_written_past_the_room(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 8; size++) {
        char room[16];
        memset(room, '#', sizeof(room));
        struct th_writer w;
        th_writer_init(&w, room, size);
        th_writer_add_field(&w, TH_STR("AB"), TH_STR("cd")); /* 8 bytes */
        assert_int_equal(w.overflow, size < 8);
        assert_int_equal(w.len, size < 8 ? 0 : 8);
        assert_int_equal(room[w.len], '#');
        th_writer_add(&w, TH_STR("x"));
        assert_int_equal(w.overflow, size < 8 || size == 8);
        assert_int_equal(room[size], '#');
    }
}

static void dropped_and_framing_fields_are_not_written(void **state)
{
    (void)state;
    struct th_field fields[16];
    struct th_head head = {.fields = fields, .max_fields = 16};
    struct th_http1_limits limits = {4096, 16};
    size_t scanned = 0;
    struct th_str text =
        TH_STR("POST http://h/ HTTP/1.1\r\nhOST: h\r\nX-One:1\r\nCONTENT-LENGTH: 5\r\n"
               "Connection: x-two, close\r\nX-Two: 2\r\nTE: trailers\r\n"
               "Authorization:  Bearer abc \r\nX-One: 3\r\nEmpty:\r\n\r\n");
    assert_int_equal(th_http1_parse_request(&head, text.ptr, text.len, &scanned, &limits), 0);
    char room[256];
    struct th_writer w;
    th_writer_init(&w, room, sizeof(room));
    th_writer_add_fields(&w, &head);
    assert_str_equal(written(&w),
                     "X-One: 1\r\nAuthorization: Bearer abc\r\nX-One: 3\r\nEmpty: \r\n");
    assert_false(w.overflow);
    th_writer_init(&w, room, 20);
    th_writer_add_fields(&w, &head);
    assert_true(w.overflow);
}

static void status_lines_are_written(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *reason;
        const char *line;
    } rows[] = {
        {200, "", "HTTP/1.1 200 OK\r\n"},
        {200, "Fine", "HTTP/1.1 200 Fine\r\n"},
        {100, "", "HTTP/1.1 100 Continue\r\n"},
        {407, "", "HTTP/1.1 407 Proxy Authentication Required\r\n"},
        {511, "", "HTTP/1.1 511 Network Authentication Required\r\n"},
        {299, "", "HTTP/1.1 299 \r\n"},
        {599, "caf\xc3\xa9", "HTTP/1.1 599 caf\xc3\xa9\r\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char room[64];
        struct th_writer w;
        th_writer_init(&w, room, sizeof(room));
        th_writer_add_status_line(&w, rows[i].status, th_str_of(rows[i].reason));
        assert_true(th_str_equal(written(&w), th_str_of(rows[i].line)));
    }
    char room[64];
    struct th_writer w;
    th_writer_init(&w, room, sizeof(room));
    th_writer_add_status_line(&w, 99, TH_STR_NONE);
    assert_true(w.overflow);
}

/* The table is searched by halves: every row must be in its order. */
static void every_status_of_ours_has_a_reason(void **state)
{
    (void)state;
    for (int error = 1; error < TH_ERROR_COUNT; error++)
        assert_int_not_equal(th_http_reason(th_error_get(-error)->status).len, 0);
    int known = 0;
    for (int status = 0; status < 1000; status++)
        known += th_http_reason(status).len > 0;
    assert_int_equal(known, 51);
    assert_str_equal(th_http_reason(404), "Not Found");
    assert_int_equal(th_http_reason(-1).len, 0);
}

int main(void)
{
    static struct test_list list;
    TEST_LIST_ADD(&list, numbers_are_written);
    TEST_LIST_ADD(&list, fields_are_written);
    TEST_LIST_ADD(&list, r1_nothing_is_injected);
    TEST_LIST_ADD(&list, overflow_sticks_and_nothing_is_written_past_the_room);
    TEST_LIST_ADD(&list, dropped_and_framing_fields_are_not_written);
    TEST_LIST_ADD(&list, status_lines_are_written);
    TEST_LIST_ADD(&list, every_status_of_ours_has_a_reason);
    return test_list_run("http_writer", &list);
}
