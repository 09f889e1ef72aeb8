#include "testing.h"

#include "tokenhop/observe/writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "tokenhop/base/clock.h"
#include "tokenhop/base/mem.h"

enum { PATIENCE_MS = 20000 };

static bool put_text(struct th_writer_file *file, const char *text)
{
    struct th_buf lines;
    unsigned n_lines = 0;
    th_buf_init(&lines, 1 << 20);
    th_buf_add_str(&lines, th_str_of(text));
    for (const char *c = text; *c != '\0'; c++)
        n_lines += *c == '\n';
    bool ok = th_writer_put(file, &lines, n_lines);
    assert_int_equal(lines.len, 0); /* taken or dropped, never left */
    th_buf_fini(&lines);
    return ok;
}

static struct th_writer_stats stats_of(struct th_writer *writer, size_t index)
{
    struct th_writer_stats stats[TH_WRITER_MAX_FILES];
    assert_true(th_writer_get_stats(writer, stats) > index);
    return stats[index];
}

static void file_is(const char *path, const char *expected)
{
    size_t len;
    char *text = file_read(path, &len);
    assert_string_equal(text, expected);
    free(text);
}

static void writes_in_order(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    (void)unlink(file_path);
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    assert_true(put_text(file, ""));
    assert_true(put_text(file, "one\n"));
    assert_true(put_text(file, "two\nthree\n"));
    assert_true(th_writer_flush(writer, PATIENCE_MS));
    file_is(file_path, "one\ntwo\nthree\n");
    assert_int_equal(stats_of(writer, 0).n_written, 3);
    assert_string_equal(stats_of(writer, 0).name, file_path);
    struct stat st;
    assert_int_equal(stat(file_path, &st), 0);
    assert_int_equal(st.st_mode & 0027, 0); /* not for others */
    assert_true(put_text(file, "four\n"));
    assert_null(th_writer_free(writer, PATIENCE_MS)); /* writes what is queued */
    file_is(file_path, "one\ntwo\nthree\nfour\n");
    assert_null(th_writer_free(NULL, 0));
}

static void rotates(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    char old[80], stray[80];
    (void)snprintf(old, sizeof old, "%s.1", file_path);
    (void)snprintf(stray, sizeof stray, "%s/stray", file_path);
    (void)unlink(file_path);
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    assert_true(put_text(file, "before\n"));
    assert_true(th_writer_flush(writer, PATIENCE_MS));
    assert_int_equal(rename(file_path, old), 0);
    th_writer_reopen(writer);
    assert_true(put_text(file, "after\n"));
    assert_true(th_writer_flush(writer, PATIENCE_MS));
    file_is(old, "before\n");
    file_is(file_path, "after\n");
    assert_int_equal(stats_of(writer, 0).reopen_errno, 0);
    /* Where it cannot be opened again, the old one stays in use. */
    assert_int_equal(rename(file_path, old), 0);
    assert_int_equal(mkdir(file_path, 0700), 0);
    th_writer_reopen(writer);
    assert_true(put_text(file, "still\n"));
    assert_true(th_writer_flush(writer, PATIENCE_MS));
    file_is(old, "after\nstill\n");
    assert_int_equal(stats_of(writer, 0).reopen_errno, EISDIR);
    assert_int_equal(stats_of(writer, 0).write_errno, 0);
    th_writer_free(writer, PATIENCE_MS);
    assert_int_equal(rmdir(file_path), 0);
    assert_int_equal(unlink(old), 0);
}

static void cannot_be_opened(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file = NULL;
    struct th_errinfo info;
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, "/nowhere/log", &file, &info), TH_E_IO);
    assert_string_equal(info.where, "/nowhere/log");
    (void)unlink(file_path);
    assert_int_equal(mkfifo(file_path, 0600), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, &info), TH_E_IO); /* no reader */
    assert_null(file);
    assert_int_equal(unlink(file_path), 0);
    for (int i = 0; i < TH_WRITER_MAX_FILES; i++)
        assert_int_equal(th_writer_open_fd(writer, STDERR_FILENO, "stderr", &file, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, &info), TH_E_CONFIG);
    th_writer_free(writer, PATIENCE_MS);
}

static void read_rest(int fd, struct th_buf *into)
{
    char piece[4096];
    ssize_t n;
    while ((n = read(fd, piece, sizeof piece)) > 0)
        th_buf_add(into, piece, (size_t)n);
    assert_int_equal(n, 0);
    assert_false(into->failed);
}

struct pipe_reader {
    int fd;
    struct th_buf bytes;
};

static void *read_pipe(void *argument)
{
    struct pipe_reader *reader = argument;
    read_rest(reader->fd, &reader->bytes);
    return NULL;
}

/* A pipe that takes no byte more; returns how many it took. */
static size_t pipe_make_full(int ends[2])
{
    char piece[4096] = {0};
    size_t n_filled = 0;
    ssize_t n;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    while ((n = write(ends[1], piece, sizeof piece)) > 0)
        n_filled += (size_t)n;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    return n_filled;
}

/* Nobody reads: no call blocks, what does not fit is dropped whole and counted. Then somebody reads
 * and gets every line that was accepted. */
static void drops_when_full(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    int ends[2];
    char line[1001];
    unsigned n_taken = 0, n_dropped = 0;
    memset(line, 'x', 999);
    memcpy(line + 999, "\n", 2);
    size_t n_filled = pipe_make_full(ends);
    assert_int_equal(th_writer_new(50000, &writer, NULL), 0);
    assert_int_equal(th_writer_open_fd(writer, ends[1], "pipe", &file, NULL), 0);
    int64_t begin_us = th_clock_precise_us();
    for (int i = 0; i < 1000; i++) {
        if (put_text(file, line))
            n_taken++;
        else
            n_dropped++;
    }
    print_message("  %u taken, %u dropped in %lld us\n", n_taken, n_dropped,
                  (long long)(th_clock_precise_us() - begin_us));
    assert_int_equal(n_taken, 50);
    assert_int_equal(stats_of(writer, 0).n_dropped, n_dropped);
    assert_false(th_writer_flush(writer, 10));
    struct pipe_reader reader = {.fd = ends[0]};
    pthread_t thread;
    th_buf_init(&reader.bytes, 1 << 20);
    assert_int_equal(pthread_create(&thread, NULL, read_pipe, &reader), 0);
    assert_true(th_writer_flush(writer, PATIENCE_MS));
    assert_true(put_text(file, line)); /* there is room again */
    th_writer_free(writer, PATIENCE_MS);
    close(ends[1]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(reader.bytes.len, n_filled + (n_taken + 1) * 1000);
    th_buf_fini(&reader.bytes);
    close(ends[0]);
}

static unsigned count_threads(void)
{
    unsigned n = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    while (readdir(tasks) != NULL)
        n++;
    closedir(tasks);
    return n;
}

/* A reader that is stuck does not hold up the end of the process. */
static void stops_within_its_time(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    int ends[2];
    unsigned n_threads = count_threads();
    char *text = malloc(200001);
    assert_non_null(text);
    memset(text, 'x', 200000);
    memcpy(text + 199999, "\n", 2);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open_fd(writer, ends[1], "pipe", &file, NULL), 0);
    assert_true(put_text(file, text));
    assert_true(put_text(file, text));
    int64_t begin_us = th_clock_precise_us();
    assert_null(th_writer_free(writer, 50));
    int64_t took_us = th_clock_precise_us() - begin_us;
    assert_true(took_us >= 50000);
    assert_true(took_us < 5000000); /* generous: the machine may be busy */
    /* it waited where it can be told, not in write() */
    assert_int_equal(count_threads(), n_threads);
    close(ends[0]);
    close(ends[1]);
    free(text);
}

static void a_reader_that_left_is_an_error(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    close(ends[0]);
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open_fd(writer, ends[1], "pipe", &file, NULL), 0);
    assert_true(put_text(file, "one\ntwo\n")); /* no SIGPIPE */
    assert_true(th_writer_flush(writer, PATIENCE_MS));
    assert_int_equal(stats_of(writer, 0).n_failed, 2);
    assert_int_equal(stats_of(writer, 0).n_written, 0);
    assert_int_equal(stats_of(writer, 0).write_errno, EPIPE);
    th_writer_free(writer, PATIENCE_MS);
    close(ends[1]);
}

/* The disk is full in the middle of a line: the lines before count as written, and when there is
 * room again the next line does not continue the torn one. */
static void a_torn_line_stays_alone(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    struct rlimit before, small;
    (void)unlink(file_path);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    small = (struct rlimit){.rlim_cur = 12, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_true(put_text(file, "first\nsecond\nthird\n"));
    assert_true(th_writer_flush(writer, PATIENCE_MS));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(stats_of(writer, 0).n_written, 1);
    assert_int_equal(stats_of(writer, 0).n_failed, 2);
    assert_int_equal(stats_of(writer, 0).write_errno, EFBIG);
    assert_true(put_text(file, "fourth\n"));
    assert_true(put_text(file, "fifth\n"));
    assert_true(th_writer_flush(writer, PATIENCE_MS));
    file_is(file_path, "first\nsecond\nfourth\nfifth\n");
    assert_int_equal(stats_of(writer, 0).write_errno, 0);
    th_writer_free(writer, PATIENCE_MS);
}

/* Large blocks come back to be filled again. */
static void blocks_come_back(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    struct th_buf lines;
    (void)unlink(file_path);
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    th_buf_init(&lines, 100000);
    for (int round = 0; round < 3; round++) {
        while (lines.len < 40000)
            th_buf_add(&lines, "0123456789\n", 11);
        assert_true(th_writer_put(file, &lines, (unsigned)lines.len / 11));
        assert_int_equal(lines.len, 0);
        assert_int_equal(lines.size > 0, round > 0);
        assert_true(th_writer_flush(writer, PATIENCE_MS));
    }
    th_buf_fini(&lines);
    th_writer_free(writer, PATIENCE_MS);
    struct stat st;
    assert_int_equal(stat(file_path, &st), 0);
    assert_int_equal(st.st_size, 3 * 40007);
}

enum { N_THREADS = 4, N_LINES = 2000 };

struct producer {
    struct th_writer_file *file;
    unsigned index;
};

static void *produce(void *argument)
{
    struct producer *producer = argument;
    struct th_buf lines;
    th_buf_init(&lines, 1 << 16);
    for (unsigned i = 0; i < N_LINES; i++) {
        th_buf_printf(&lines, "%u %u\n", producer->index, i);
        if (!th_writer_put(producer->file, &lines, 1))
            return producer;
    }
    th_buf_fini(&lines);
    return NULL;
}

static void from_many_threads(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    struct producer producers[N_THREADS];
    pthread_t threads[N_THREADS];
    void *failed;
    (void)unlink(file_path);
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    for (unsigned i = 0; i < N_THREADS; i++) {
        producers[i] = (struct producer){file, i};
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    unsigned n_flushed = 0;
    for (int i = 0; i < 20; i++) {
        (void)stats_of(writer, 0);
        th_writer_reopen(writer);
        if (th_writer_flush(writer, 1))
            n_flushed++;
    }
    print_message("  flushed %u times meanwhile\n", n_flushed);
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_true(th_writer_flush(writer, PATIENCE_MS));
    assert_int_equal(stats_of(writer, 0).n_written, N_THREADS * N_LINES);
    th_writer_free(writer, PATIENCE_MS);
    unsigned next[N_THREADS] = {0};
    size_t len;
    char *text = file_read(file_path, &len);
    for (char *at = text; *at != '\0'; at++) {
        unsigned long index = strtoul(at, &at, 10);
        assert_true(index < N_THREADS);
        assert_int_equal(strtoul(at, &at, 10), next[index]++);
        assert_int_equal(*at, '\n');
    }
    free(text);
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(next[i], N_LINES);
}

static void memory_is_short(void **state)
{
    (void)state;
#ifdef TH_FAIL_ALLOC
    struct th_writer *writer = NULL;
    struct th_writer_file *file;
    struct th_buf lines;
    th_mem_fail_after(1, 1);
    assert_int_equal(th_writer_new(0, &writer, NULL), TH_E_NOMEM);
    th_mem_fail_after(0, 0);
    assert_null(writer);
    (void)unlink(file_path);
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    th_mem_fail_after(1, 1);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), TH_E_NOMEM);
    th_mem_fail_after(0, 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    th_buf_init(&lines, 100);
    th_buf_add_str(&lines, TH_STR("lost\n"));
    th_mem_fail_after(1, 1);
    assert_false(th_writer_put(file, &lines, 1));
    th_mem_fail_after(0, 0);
    assert_int_equal(lines.len, 0);
    th_buf_add_str(&lines, TH_STR("kept\n"));
    assert_true(th_writer_put(file, &lines, 1));
    th_buf_fini(&lines);
    assert_int_equal(stats_of(writer, 0).n_dropped, 1);
    th_writer_free(writer, PATIENCE_MS);
    file_is(file_path, "kept\n");
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_in_order),         cmocka_unit_test(rotates),
        cmocka_unit_test(cannot_be_opened),        cmocka_unit_test(drops_when_full),
        cmocka_unit_test(stops_within_its_time),   cmocka_unit_test(a_reader_that_left_is_an_error),
        cmocka_unit_test(a_torn_line_stays_alone), cmocka_unit_test(blocks_come_back),
        cmocka_unit_test(from_many_threads),       cmocka_unit_test(memory_is_short),
    };
    return cmocka_run_group_tests(tests, directory_make, directory_remove);
}
