#include "testing.h"

#include "tokenhop/observe/log.h"

#include <fcntl.h>
#include <pthread.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/observe/writer.h"

/* A log that writes at once, to the file, by a clock that stands. */
struct fixture {
    struct th_clock clock;
    struct th_log *log;
    int fd;
};

static void fixture_init(struct fixture *f, enum th_log_level level)
{
    th_clock_init_fake(&f->clock, 1769903999999);
    f->fd = open(file_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    assert_true(f->fd >= 0);
    f->log = th_log_new(&(struct th_log_options){
        .level = level, .fd = f->fd, .clock = &f->clock, .burst = 3, .interval_ms = 1000});
    assert_non_null(f->log);
}

static void fixture_fini(struct fixture *f)
{
    assert_null(th_log_free(f->log));
    close(f->fd);
}

static unsigned count_lines(void)
{
    size_t len;
    unsigned n = 0;
    char *text = file_read(file_path, &len);
    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    free(text);
    return n;
}

/* The nth line, from 0. */
static json_t *line_get(unsigned nth)
{
    size_t len;
    char *text = file_read(file_path, &len), *line = text;
    while (nth-- > 0) {
        line = strchr(line, '\n');
        assert_non_null(line);
        line++;
    }
    json_t *object = line_parse(line);
    free(text);
    return object;
}

static void fields_of_each_type(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, TH_LEVEL_INFO);
    TH_LOG(f.log, TH_LEVEL_WARN, "broker.exchange_failed", "The exchange failed",
           TH_LOG_STR("connection", TH_STR("agent2")), TH_LOG_TEXT("file", "a.pem"),
           TH_LOG_TEXT("none", NULL), TH_LOG_INT("least", INT64_MIN),
           TH_LOG_UINT("most", UINT64_MAX), TH_LOG_BOOL("yes", 1 > 0), TH_LOG_BOOL("no", false),
           TH_LOG_ERR("error", TH_E_EXCHANGE_CLIENT), TH_LOG_ERR("fine", 0));
    size_t len;
    char *text = file_read(file_path, &len);
    assert_string_equal(
        text, "{\"time\":\"2026-01-31T23:59:59.999Z\",\"level\":\"warn\","
              "\"event\":\"broker.exchange_failed\",\"message\":\"The exchange failed\","
              "\"connection\":\"agent2\",\"file\":\"a.pem\",\"none\":null,"
              "\"least\":-9223372036854775808,\"most\":18446744073709551615,"
              "\"yes\":true,\"no\":false,\"error\":\"EXCHANGE_CLIENT\",\"fine\":\"OK\"}\n");
    free(text);
    TH_LOG(f.log, TH_LEVEL_INFO, "proxy.started", "No field at all");
    json_decref(line_get(1));
    fixture_fini(&f);
}

/* What a peer sends cannot begin a line or a member of its own, nor steer a terminal. */
static void values_are_escaped(void **state)
{
    (void)state;
    static const struct th_str hostile[] = {
        TH_STR("a\n{\"level\":\"error\"}"),
        TH_STR("\",\"admin\":true,\"x\":\""),
        TH_STR("\x1b]0;title\x07"),
        TH_STR("\xff\xfe\x80"),
        TH_STR("\\"),
        TH_STR("nul\0inside"),
    };
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        struct fixture f;
        fixture_init(&f, TH_LEVEL_INFO);
        TH_LOG(f.log, TH_LEVEL_INFO, "test.hostile", "From a peer",
               TH_LOG_STR("value", hostile[i]));
        assert_int_equal(count_lines(), 1);
        size_t len;
        char *text = file_read(file_path, &len);
        for (size_t j = 0; j + 1 < len; j++)
            assert_true((unsigned char)text[j] >= 0x20 && text[j] != 0x7f);
        json_error_t error;
        json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        assert_non_null(line);
        assert_int_equal(json_object_size(line), 5);
        if (i == 0 || i == 1 || i == 4)
            assert_string_equal(string_of(line, "value"), hostile[i].ptr);
        json_decref(line);
        free(text);
        fixture_fini(&f);
    }
}

static void long_values_are_cut(void **state)
{
    (void)state;
    struct fixture f;
    char *text = malloc(100001);
    assert_non_null(text);
    memset(text, '"', 100000); /* the worst: each becomes two */
    text[100000] = '\0';
    fixture_init(&f, TH_LEVEL_INFO);
    TH_LOG(f.log, TH_LEVEL_INFO, "test.long", "Long", TH_LOG_TEXT("text", text),
           TH_LOG_STR("str", ((struct th_str){text, 100000})));
    json_t *line = line_get(0);
    assert_int_equal(strlen(string_of(line, "text")), 2048);
    assert_int_equal(strlen(string_of(line, "str")), 2048);
    json_decref(line);
    free(text);
    fixture_fini(&f);
}

static int n_evaluated;

static int64_t evaluate(void)
{
    n_evaluated++;
    return n_evaluated;
}

static void levels(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, TH_LEVEL_WARN);
    n_evaluated = 0;
    TH_LOG(f.log, TH_LEVEL_INFO, "test.info", "Off", TH_LOG_INT("n", evaluate()));
    TH_LOG(f.log, TH_LEVEL_DEBUG, "test.debug", "Off", TH_LOG_INT("n", evaluate()));
    assert_int_equal(n_evaluated, 0);
    assert_int_equal(count_lines(), 0);
    TH_LOG(f.log, TH_LEVEL_WARN, "test.warn", "On", TH_LOG_INT("n", evaluate()));
    TH_LOG(f.log, TH_LEVEL_ERROR, "test.error", "On", TH_LOG_INT("n", evaluate()));
    assert_int_equal(n_evaluated, 2); /* and each once */
    assert_int_equal(count_lines(), 2);
    th_log_set_level(f.log, TH_LEVEL_DEBUG);
    assert_int_equal(th_log_get_level(f.log), TH_LEVEL_DEBUG);
    TH_LOG(f.log, TH_LEVEL_DEBUG, "test.debug", "On", TH_LOG_INT("n", evaluate()));
    assert_int_equal(count_lines(), 3);
    struct th_log *none = NULL;
    TH_LOG(none, TH_LEVEL_ERROR, "test.none", "No log", TH_LOG_INT("n", evaluate()));
    assert_int_equal(n_evaluated, 3);
    th_log_tick(NULL);
    assert_null(th_log_free(NULL));
    fixture_fini(&f);
    enum th_log_level level;
    for (int i = TH_LEVEL_ERROR; i <= TH_LEVEL_DEBUG; i++) {
        assert_true(th_log_level_parse(th_str_of(th_log_level_name((enum th_log_level)i)), &level));
        assert_int_equal(level, i);
    }
    assert_false(th_log_level_parse(TH_STR("Warn"), &level));
    assert_false(th_log_level_parse(TH_STR(""), &level));
}

static void say_repeated(struct th_log *log, int64_t n)
{
    TH_LOG(log, TH_LEVEL_WARN, "test.repeated", "Again", TH_LOG_INT("n", n));
}

static void repeats_are_counted(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, TH_LEVEL_WARN);
    for (int i = 0; i < 100; i++) {
        say_repeated(f.log, i);
        if (i == 50)
            TH_LOG(f.log, TH_LEVEL_WARN, "test.other", "Another event is not held back");
    }
    assert_int_equal(count_lines(), 4); /* the burst of 3, and the other */
    th_log_tick(f.log);                 /* too early */
    assert_int_equal(count_lines(), 4);
    th_clock_turn(&f.clock, 1000);
    say_repeated(f.log, 100); /* the next interval: with what was held back */
    json_t *line = line_get(4);
    assert_int_equal(int_of(line, "n"), 100);
    assert_int_equal(int_of(line, "suppressed"), 97);
    json_decref(line);
    say_repeated(f.log, 101);
    line = line_get(5);
    assert_null(json_object_get(line, "suppressed")); /* once */
    json_decref(line);
    for (int i = 0; i < 10; i++)
        say_repeated(f.log, i);
    assert_int_equal(count_lines(), 7);
    th_clock_turn(&f.clock, 1000);
    th_log_tick(f.log); /* without a further one */
    line = line_get(7);
    assert_string_equal(string_of(line, "event"), "test.repeated");
    assert_string_equal(string_of(line, "level"), "warn");
    assert_int_equal(int_of(line, "suppressed"), 9);
    json_decref(line);
    th_log_tick(f.log);
    assert_int_equal(count_lines(), 8);
    for (int i = 0; i < 5; i++)
        say_repeated(f.log, i);
    assert_int_equal(count_lines(), 11);
    fixture_fini(&f); /* the end reports the rest */
    line = line_get(11);
    assert_int_equal(int_of(line, "suppressed"), 2);
    json_decref(line);
}

static void debug_is_not_limited(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, TH_LEVEL_DEBUG);
    for (int i = 0; i < 50; i++)
        TH_LOG(f.log, TH_LEVEL_DEBUG, "test.debug", "Each", TH_LOG_INT("n", i));
    assert_int_equal(count_lines(), 50);
    fixture_fini(&f);
}

/* The queue is full as nobody reads the pipe: the call returns, and the loss is said later. */
static void losses_are_reported(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *to_pipe, *to_file;
    struct fixture f = {.fd = -1};
    int ends[2];
    char *filler = malloc(300000);
    assert_non_null(filler);
    memset(filler, 'x', 300000);
    th_clock_init_fake(&f.clock, 0);
    (void)unlink(file_path);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(th_writer_new(300000, &writer, NULL), 0);
    assert_int_equal(th_writer_open_fd(writer, ends[1], "pipe", &to_pipe, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &to_file, NULL), 0);
    f.log = th_log_new(&(struct th_log_options){
        .level = TH_LEVEL_INFO, .writer = writer, .file = to_file, .clock = &f.clock});
    struct th_buf stuck;
    th_buf_init(&stuck, 300000);
    th_buf_add(&stuck, filler, 300000);
    assert_true(th_writer_put(to_pipe, &stuck, 1)); /* the queue is full now */
    TH_LOG(f.log, TH_LEVEL_ERROR, "test.lost", "Lost");
    TH_LOG(f.log, TH_LEVEL_ERROR, "test.lost", "Lost");
    th_log_tick(f.log); /* the report is lost itself */
    for (size_t n = 0; n < 300000;) {
        ssize_t got = read(ends[0], filler, 300000);
        assert_true(got > 0);
        n += (size_t)got;
    }
    assert_true(th_writer_flush(writer, 20000));
    th_log_tick(f.log);
    th_log_tick(f.log); /* nothing more to say */
    TH_LOG(f.log, TH_LEVEL_ERROR, "test.kept", "Kept");
    th_log_free(f.log);
    th_writer_free(writer, 20000);
    assert_int_equal(count_lines(), 2);
    json_t *line = line_get(0);
    assert_string_equal(string_of(line, "event"), "log.lines_lost");
    assert_string_equal(string_of(line, "file"), file_path);
    assert_int_equal(int_of(line, "dropped"), 3);
    json_decref(line);
    line = line_get(1);
    assert_string_equal(string_of(line, "event"), "test.kept");
    json_decref(line);
    th_buf_fini(&stuck);
    free(filler);
    close(ends[0]);
    close(ends[1]);
}

enum { N_THREADS = 4, N_EACH = 3000 };

static void *say_much(void *log)
{
    for (int i = 0; i < N_EACH; i++) {
        say_repeated(log, i);
        TH_LOG(log, TH_LEVEL_DEBUG, "test.each", "Each", TH_LOG_INT("n", i));
    }
    return NULL;
}

/* Of what many threads say at once nothing is uncounted, and each line is whole. */
static void from_many_threads(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    pthread_t threads[N_THREADS];
    (void)unlink(file_path);
    assert_int_equal(th_writer_new(64 << 20, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    struct th_log *log = th_log_new(&(struct th_log_options){
        .level = TH_LEVEL_INFO, .writer = writer, .file = file, .interval_ms = 5});
    assert_non_null(log);
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, say_much, log), 0);
    for (int i = 0; i < 50; i++) {
        th_log_set_level(log, i % 2 == 0 ? TH_LEVEL_DEBUG : TH_LEVEL_WARN);
        th_log_tick(log);
    }
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    th_log_free(log);
    th_writer_free(writer, 20000);
    size_t len;
    json_int_t n = 0;
    char *text = file_read(file_path, &len);
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        json_t *object = line_parse(line);
        if (strcmp(string_of(object, "event"), "test.repeated") == 0) {
            n += json_object_get(object, "n") != NULL;
            n += json_integer_value(json_object_get(object, "suppressed"));
        }
        json_decref(object);
    }
    free(text);
    assert_int_equal(n, N_THREADS * N_EACH);
}

static void memory_is_short(void **state)
{
    (void)state;
#ifdef TH_FAIL_ALLOC
    struct fixture f;
    for (unsigned long nth = 1; nth <= 2; nth++) {
        th_mem_fail_after(nth, 1);
        assert_null(th_log_new(&(struct th_log_options){.fd = 2}));
        th_mem_fail_after(0, 0);
    }
    fixture_init(&f, TH_LEVEL_INFO);
    th_mem_fail_after(1, 1);
    TH_LOG(f.log, TH_LEVEL_INFO, "test.lost", "Lost");
    th_mem_fail_after(0, 0);
    assert_int_equal(count_lines(), 0);
    th_log_tick(f.log);
    json_t *line = line_get(0);
    assert_string_equal(string_of(line, "event"), "log.no_memory");
    assert_int_equal(int_of(line, "lines"), 1);
    json_decref(line);
    fixture_fini(&f);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_each_type), cmocka_unit_test(values_are_escaped),
        cmocka_unit_test(long_values_are_cut), cmocka_unit_test(levels),
        cmocka_unit_test(repeats_are_counted), cmocka_unit_test(debug_is_not_limited),
        cmocka_unit_test(losses_are_reported), cmocka_unit_test(from_many_threads),
        cmocka_unit_test(memory_is_short),
    };
    return cmocka_run_group_tests(tests, directory_make, directory_remove);
}
