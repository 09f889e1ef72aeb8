#include "testing.h"

#include "tokenhop/observe/access.h"

#include "tokenhop/base/clock.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/observe/writer.h"

struct fixture {
    struct th_writer *writer;
    struct th_writer_file *file;
    struct th_access_log *log;
};

static void fixture_init(struct fixture *f, size_t max_queued)
{
    (void)unlink(file_path);
    assert_int_equal(th_writer_new(max_queued, &f->writer, NULL), 0);
    assert_int_equal(th_writer_open(f->writer, file_path, &f->file, NULL), 0);
    f->log = th_access_log_new(f->file);
    assert_non_null(f->log);
}

/* Ends it and gives what was written, for free(). */
static char *fixture_fini(struct fixture *f)
{
    size_t len;
    assert_null(th_access_log_free(f->log));
    assert_null(th_writer_free(f->writer, 20000));
    return file_read(file_path, &len);
}

static const struct th_access_record whole = {
    .wall_ms = 1769903999007,
    .duration_us = 12345,
    .exchange_us = 6789,
    .first_byte_us = 0,
    .worker = 3,
    .listener = TH_STR("agents"),
    .client = TH_STR("127.0.0.1:50000"),
    .caller = TH_STR("team-a"),
    .agent = TH_STR("agent1"),
    .connection = TH_STR("agent2"),
    .method = TH_STR("POST"),
    .scheme = TH_STR("https"),
    .host = TH_STR("agent2.example.com"),
    .path = TH_STR("/a2a/tasks?access_token=eyJ"),
    .user_agent = TH_STR("python-httpx/0.27"),
    .http_major = 1,
    .http_minor = 1,
    .status = 502,
    .error = TH_E_ORIGIN_CLOSED,
    .cache = TH_CACHE_JOINED,
    .origin = TH_STR("192.0.2.7:443"),
    .origin_reused = true,
    .request_complete = true,
    .client_in = 1,
    .client_out = 20,
    .origin_in = 300,
    .origin_out = 4000000000000,
    .trace_id = TH_STR("0af7651916cd43dd8448eb211c80319c"),
    .subject = TH_STR("a1b2c3d4e5f6"),
};

static void a_whole_line(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 0);
    th_access_write(f.log, &whole);
    char *text = fixture_fini(&f);
    assert_string_equal(
        text,
        "{\"time\":\"2026-01-31T23:59:59.007Z\",\"worker\":3,\"listener\":\"agents\","
        "\"client\":\"127.0.0.1:50000\",\"caller\":\"team-a\",\"agent\":\"agent1\","
        "\"subject\":\"a1b2c3d4e5f6\",\"method\":\"POST\",\"scheme\":\"https\","
        "\"host\":\"agent2.example.com\",\"path\":\"/a2a/tasks\",\"http\":\"1.1\","
        "\"user_agent\":\"python-httpx/0.27\",\"status\":502,\"code\":\"origin_failed\","
        "\"error\":\"ORIGIN_CLOSED\",\"duration_us\":12345,\"first_byte_us\":0,"
        "\"connection\":\"agent2\",\"cache\":\"joined\",\"exchange_us\":6789,"
        "\"origin\":\"192.0.2.7:443\",\"origin_reused\":true,\"client_in\":1,\"client_out\":20,"
        "\"origin_in\":300,\"origin_out\":4000000000000,\"request_complete\":true,"
        "\"response_complete\":false,\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}\n");
    free(text);
}

static void a_bare_line(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 0);
    th_access_write(f.log, &(struct th_access_record){.wall_ms = -1,
                                                      .duration_us = -1,
                                                      .exchange_us = -1,
                                                      .first_byte_us = -1,
                                                      .tunnel = true});
    char *text = fixture_fini(&f);
    assert_string_equal(text, "{\"time\":\"1970-01-01T00:00:00.000Z\",\"worker\":0,\"tunnel\":true,"
                              "\"status\":0,\"duration_us\":0,\"cache\":\"none\",\"client_in\":0,"
                              "\"client_out\":0,\"origin_in\":0,\"origin_out\":0,"
                              "\"request_complete\":false,\"response_complete\":false}\n");
    free(text);
}

static void times_of_one_second_differ(void **state)
{
    (void)state;
    static const struct {
        int64_t wall_ms;
        const char *time;
    } rows[] = {
        {1769903999000, "2026-01-31T23:59:59.000Z"},
        {1769903999999, "2026-01-31T23:59:59.999Z"},
        {1769904000000, "2026-02-01T00:00:00.000Z"},
        {1769903999120, "2026-01-31T23:59:59.120Z"},
        {0, "1970-01-01T00:00:00.000Z"},
    };
    struct fixture f;
    fixture_init(&f, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct th_access_record record = whole;
        record.wall_ms = rows[i].wall_ms;
        th_access_write(f.log, &record);
    }
    char *text = fixture_fini(&f), *line = text;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *object = line_parse(line);
        assert_string_equal(string_of(object, "time"), rows[i].time);
        json_decref(object);
        line = strchr(line, '\n') + 1;
    }
    free(text);
}

/* No part of a query or fragment, wherever it begins. */
static void queries_are_dropped(void **state)
{
    (void)state;
    static const struct {
        struct th_str in;
        const char *out;
    } rows[] = {
        {TH_STR("/a?token=SECRET"), "/a"},
        {TH_STR("/?SECRET"), "/"},
        {TH_STR("?SECRET"), "(absent)"},
        {TH_STR("/a#SECRET"), "/a"},
        {TH_STR("/a?SECRET#SECRET"), "/a"},
        {TH_STR("/a#SECRET?SECRET"), "/a"},
        {TH_STR("*"), "*"},
        {TH_STR("/a%3Fb"), "/a%3Fb"},
        {TH_STR("/a b\n\"?SECRET"), "/a b\n\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture f;
        struct th_access_record record = whole;
        fixture_init(&f, 0);
        record.path = rows[i].in;
        th_access_write(f.log, &record);
        char *text = fixture_fini(&f);
        assert_null(strstr(text, "SECRET"));
        json_t *object = line_parse(text);
        assert_string_equal(string_of(object, "path"), rows[i].out);
        json_decref(object);
        free(text);
    }
}

/* Every string of the longest and worst kind at once: the line is still one, and valid. */
static void the_longest_line(void **state)
{
    (void)state;
    enum { LONG = 70000 };
    char *bytes = malloc(LONG);
    assert_non_null(bytes);
    static const unsigned char worst[] = {0x01, '"', 0xff, 'x'};
    for (size_t i = 0; i < sizeof worst; i++) {
        struct fixture f;
        memset(bytes, worst[i], LONG);
        struct th_str text = {bytes, LONG};
        struct th_access_record record = whole;
        record.listener = record.client = record.caller = record.agent = record.connection = text;
        record.method = record.scheme = record.host = record.path = record.user_agent = text;
        record.origin = record.trace_id = record.subject = text;
        record.duration_us = record.exchange_us = record.first_byte_us = INT64_MAX;
        record.client_in = record.client_out = record.origin_in = UINT64_MAX;
        record.worker = record.status = record.http_major = record.http_minor = UINT32_MAX;
        fixture_init(&f, 0);
        for (int n = 0; n < 5; n++)
            th_access_write(f.log, &record);
        assert_int_equal(th_access_dropped(f.log), 0);
        char *written = fixture_fini(&f), *line = written;
        for (int n = 0; n < 5; n++) {
            /* jansson holds no number as large as these */
            json_t *object = line_parse_as(line, JSON_DECODE_INT_AS_REAL);
            assert_int_equal(json_object_size(object), 30);
            json_decref(object);
            line = strchr(line, '\n') + 1;
        }
        assert_int_equal(*line, '\0');
        free(written);
    }
    free(bytes);
}

static off_t size_written(struct fixture *f)
{
    struct stat st;
    assert_true(th_writer_flush(f->writer, 20000));
    assert_int_equal(stat(file_path, &st), 0);
    return st.st_size;
}

/* Nothing goes to the writer before 32 KiB are there, but when it is told to. */
static void gathers_lines(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 0);
    th_access_write(f.log, &whole);
    assert_int_equal(size_written(&f), 0);
    th_access_flush(f.log);
    off_t line_size = size_written(&f);
    assert_true(line_size > 0);
    th_access_flush(f.log); /* nothing to hand over */
    off_t n = 0;
    while (size_written(&f) == line_size && n < 1000) {
        th_access_write(f.log, &whole);
        n++;
    }
    assert_int_equal(n, (32768 + line_size - 1) / line_size);
    assert_int_equal(size_written(&f), (n + 1) * line_size);
    free(fixture_fini(&f));
}

static void counts_what_is_lost(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 100); /* less than a line */
    th_access_write(f.log, &whole);
    th_access_write(f.log, &whole);
    assert_int_equal(th_access_dropped(f.log), 0);
    th_access_flush(f.log);
    assert_int_equal(th_access_dropped(f.log), 2);
    char *text = fixture_fini(&f);
    assert_string_equal(text, "");
    free(text);
}

static void writes_nothing_when_off(void **state)
{
    (void)state;
    struct th_access_log *log = th_access_log_new(NULL);
    assert_non_null(log);
    th_access_write(log, &whole);
    th_access_flush(log);
    assert_int_equal(th_access_dropped(log), 0);
    th_access_log_free(log);
    th_access_write(NULL, &whole);
    th_access_flush(NULL);
    assert_null(th_access_log_free(NULL));
}

static void names_of_states(void **state)
{
    (void)state;
    for (int i = 0; i < TH_CACHE_STATE_COUNT; i++)
        assert_true(strlen(th_cache_state_name((enum th_cache_state)i)) > 2);
    assert_string_equal(th_cache_state_name(TH_CACHE_NEGATIVE), "negative");
}

static void memory_is_short(void **state)
{
    (void)state;
#ifdef TH_FAIL_ALLOC
    struct fixture f;
    th_mem_fail_after(1, 1);
    assert_null(th_access_log_new(NULL));
    th_mem_fail_after(0, 0);
    fixture_init(&f, 0);
    th_mem_fail_after(1, 1);
    th_access_write(f.log, &whole);
    th_mem_fail_after(0, 0);
    assert_int_equal(th_access_dropped(f.log), 1);
    th_access_write(f.log, &whole);
    th_mem_fail_after(1, 1);
    th_access_flush(f.log);
    th_mem_fail_after(0, 0);
    assert_int_equal(th_access_dropped(f.log), 2);
    th_access_write(f.log, &whole);
    char *text = fixture_fini(&f);
    json_decref(line_parse(text));
    assert_string_equal(strchr(text, '\n'), "\n");
    free(text);
#else
    skip();
#endif
}

/* Says what a line costs; asserts nothing of a machine that others share. */
static void speed(void **state)
{
    (void)state;
    enum { N = 200000 };
    struct fixture f;
    fixture_init(&f, 256 << 20);
    int64_t begin_us = th_clock_precise_us();
    for (int i = 0; i < N; i++)
        th_access_write(f.log, &whole);
    print_message("  %lld ns a line\n", (long long)(th_clock_precise_us() - begin_us) * 1000 / N);
    assert_int_equal(th_access_dropped(f.log), 0);
    free(fixture_fini(&f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_line),
        cmocka_unit_test(a_bare_line),
        cmocka_unit_test(times_of_one_second_differ),
        cmocka_unit_test(queries_are_dropped),
        cmocka_unit_test(the_longest_line),
        cmocka_unit_test(gathers_lines),
        cmocka_unit_test(counts_what_is_lost),
        cmocka_unit_test(writes_nothing_when_off),
        cmocka_unit_test(names_of_states),
        cmocka_unit_test(memory_is_short),
        cmocka_unit_test(speed),
    };
    return cmocka_run_group_tests(tests, directory_make, directory_remove);
}
