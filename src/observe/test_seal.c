#include "testing.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "tokenhop/base/check.h"
#include "tokenhop/observe/seal.h"
#include "tokenhop/observe/writer.h"

#define N 5

static atomic_bool has_no_digests;

/* In place of the library's, which is made to fail. */
int EVP_Digest(const void *data, size_t count, unsigned char *md, unsigned int *size,
               const EVP_MD *type, ENGINE *impl)
{
    EVP_MD_CTX *context = atomic_load(&has_no_digests) ? NULL : EVP_MD_CTX_new();
    int done = context != NULL && EVP_DigestInit_ex(context, type, impl) == 1 &&
               EVP_DigestUpdate(context, data, count) == 1 &&
               EVP_DigestFinal_ex(context, md, size) == 1;
    EVP_MD_CTX_free(context);
    return done;
}

static void put(struct th_writer_file *file, const char *line)
{
    struct th_buf lines;
    th_buf_init(&lines, 1024);
    th_buf_printf(&lines, "%s\n", line);
    assert_true(th_writer_put(file, &lines, 1));
    th_buf_fini(&lines);
}

/* Writes to the file as one process does. */
static void write_lines(int from, int to)
{
    struct th_writer *writer;
    struct th_writer_file *file;
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    assert_int_equal(th_writer_seal(file, NULL), 0);
    for (int i = from; i < to; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, "{\"n\":%d}", i);
        put(file, line);
    }
    th_writer_free(writer, 20000);
}

struct text {
    char *lines[16];
    size_t n;
    char *whole;
};

static void text_open(struct text *t)
{
    size_t len;
    *t = (struct text){.whole = file_read(file_path, &len)};
    for (char *at = strtok(t->whole, "\n"); at != NULL; at = strtok(NULL, "\n"))
        t->lines[t->n++] = at;
}

/* The first line that does not follow, from 1 on; 0: all do. */
static size_t broken_at(char *const *lines, size_t n, enum th_seal_fault *ret_fault)
{
    struct th_seal seal;
    th_seal_init(&seal);
    for (size_t i = 0; i < n; i++) {
        *ret_fault = th_seal_check(&seal, th_str_of(lines[i]));
        if (*ret_fault != TH_SEAL_WHOLE)
            return i + 1;
    }
    return 0;
}

static void expect(char *const *lines, size_t n, size_t at, enum th_seal_fault fault)
{
    enum th_seal_fault found = TH_SEAL_WHOLE;
    assert_int_equal(broken_at(lines, n, &found), at);
    assert_int_equal(found, fault);
}

static void open_five(struct text *t)
{
    (void)unlink(file_path);
    write_lines(0, N);
    text_open(t);
    assert_int_equal(t->n, N);
}

static void whole(void **state)
{
    (void)state;
    struct text t;
    open_five(&t);
    expect(t.lines, N, 0, TH_SEAL_WHOLE);
    expect(t.lines + 2, N - 2, 0, TH_SEAL_WHOLE); /* what was before was rotated away */
    for (size_t i = 0; i < N; i++) {
        json_t *object = json_loads(t.lines[i], 0, NULL);
        assert_int_equal(int_of(object, "n"), i);
        assert_int_equal(int_of(object, "seq"), i + 1);
        assert_int_equal(strlen(string_of(object, "prev")), TH_SEAL_DIGEST_LEN);
        json_decref(object);
    }
    free(t.whole);
}

static void changed(void **state)
{
    (void)state;
    struct text t;
    open_five(&t);
    *strchr(t.lines[1], '1') = '7';
    expect(t.lines, N, 3, TH_SEAL_CHANGED); /* what comes after does not know it */
    free(t.whole);
    open_five(&t);
    char *digit = strstr(t.lines[3], "\"prev\":\"") + 8;
    *digit = *digit == '0' ? '1' : '0';
    expect(t.lines, N, 4, TH_SEAL_CHANGED);
    free(t.whole);
    open_five(&t);
    digit = strstr(t.lines[0], "\"prev\":\"") + 8;
    *digit = '1';
    expect(t.lines, N, 1, TH_SEAL_CHANGED);
    free(t.whole);
}

static void taken_out_put_in_and_reordered(void **state)
{
    (void)state;
    struct text t;
    open_five(&t);
    char *without[] = {t.lines[0], t.lines[1], t.lines[3], t.lines[4]};
    expect(without, 4, 3, TH_SEAL_MISSING);
    char *twice[] = {t.lines[0], t.lines[1], t.lines[1], t.lines[2]};
    expect(twice, 4, 3, TH_SEAL_REORDERED);
    char *turned[] = {t.lines[0], t.lines[2], t.lines[1]};
    expect(turned, 3, 2, TH_SEAL_MISSING);
    char foreign[] = "{\"n\":2}";
    char *more[] = {t.lines[0], t.lines[1], foreign, t.lines[2]};
    expect(more, 4, 3, TH_SEAL_UNSEALED);
    char *again[] = {t.lines[0], t.lines[1], t.lines[0]};
    expect(again, 3, 3, TH_SEAL_RESTARTED);
    free(t.whole);
}

static void what_is_no_seal(void **state)
{
    (void)state;
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
    static const char *const lines[] = {
        "",
        "{}",
        "\"}",
        "{\"n\":1,\"seq\":1,\"prev\":\"\"}",
        "{\"n\":1,\"seq\":,\"prev\":\"" ZEROS "\"}",
        "{\"n\":1,\"seq\":01,\"prev\":\"" ZEROS "\"}",
        "{\"n\":1,\"seq\":0,\"prev\":\"" ZEROS "\"}",
        "{\"n\":1,\"seq\":-1,\"prev\":\"" ZEROS "\"}",
        "{\"n\":1,\"seq\":99999999999999999999,\"prev\":\"" ZEROS "\"}",
        "{\"n\":1,\"seq\":1,\"prev\":\"G" ZEROS "\"}",
        "{\"n\":1,\"seq\":1,\"prev\":\"" ZEROS "\"} ",
        "{\"n\":1,\"seq\":1,\"prev\":\"" ZEROS,
        "{\"n\":1,\"sequel\":1,\"prev\":\"" ZEROS "\"}",
        "[\"n\":1,\"seq\":1,\"prev\":\"" ZEROS "\"}",
    };
    for (size_t i = 0; i < TH_COUNT_OF(lines); i++) {
        struct th_seal seal;
        th_seal_init(&seal);
        if (th_seal_check(&seal, th_str_of(lines[i])) != TH_SEAL_UNSEALED)
            fail_msg("case %zu", i);
        assert_int_equal(seal.number, 0);
    }
}

/* The last line is followed by none whose digest would tell. */
static void bytes_that_are_never_written(void **state)
{
    (void)state;
    static const struct th_str parts[] = {
        TH_STR("\0"),   TH_STR("\r"),           TH_STR("\t"),       TH_STR("\x1B"),
        TH_STR("\x7F"), TH_STR("\xC2\x85"),     TH_STR("\xFF"),     TH_STR("\xC3"),
        TH_STR("\n"),   TH_STR("\xED\xA0\x80"), TH_STR("\xC0\x80"),
    };
    for (size_t i = 0; i < TH_COUNT_OF(parts); i++) {
        struct th_seal seal;
        struct th_buf line;
        th_seal_init(&seal);
        th_buf_init(&line, 1024);
        th_buf_add_str(&line, TH_STR("{\"n\":\""));
        th_buf_add_str(&line, parts[i]);
        th_buf_add_str(&line, TH_STR("\",\"seq\":1,\"prev\":\"" ZEROS "\"}"));
        if (th_seal_check(&seal, th_buf_str(&line)) != TH_SEAL_UNSEALED)
            fail_msg("case %zu", i);
        th_buf_fini(&line);
    }
}

static void goes_on_where_it_ended(void **state)
{
    (void)state;
    struct text t;
    (void)unlink(file_path);
    write_lines(0, 2);
    write_lines(2, 4); /* another process */
    text_open(&t);
    assert_int_equal(t.n, 4);
    expect(t.lines, 4, 0, TH_SEAL_WHOLE);
    free(t.whole);
}

/* The process was killed inside of a line. */
static void goes_on_after_a_torn_line(void **state)
{
    (void)state;
    struct text t;
    (void)unlink(file_path);
    write_lines(0, 2);
    FILE *file = fopen(file_path, "ae");
    assert_non_null(file);
    assert_true(fputs("{\"n\":2,\"se", file) >= 0);
    fclose(file);
    write_lines(3, 4);
    text_open(&t);
    assert_int_equal(t.n, 4);
    expect(t.lines, 4, 3, TH_SEAL_UNSEALED);
    char *without[] = {t.lines[0], t.lines[1], t.lines[3]};
    expect(without, 3, 0, TH_SEAL_WHOLE);
    free(t.whole);
}

static void goes_on_over_a_rotation(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    char rotated[80];
    struct text old, new;
    (void)unlink(file_path);
    (void)snprintf(rotated, sizeof rotated, "%s.1", file_path);
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    assert_int_equal(th_writer_seal(file, NULL), 0);
    put(file, "{\"n\":0}");
    assert_true(th_writer_flush(writer, 20000));
    assert_int_equal(rename(file_path, rotated), 0);
    th_writer_reopen(writer);
    put(file, "{\"n\":1}");
    th_writer_free(writer, 20000);
    text_open(&new);
    assert_int_equal(rename(rotated, file_path), 0);
    text_open(&old);
    char *both[] = {old.lines[0], new.lines[0]};
    expect(both, 2, 0, TH_SEAL_WHOLE);
    free(old.whole);
    free(new.whole);
}

/* Without memory nothing is sealed: what comes next follows what was before. */
static void without_memory_nothing_is_counted(void **state)
{
    (void)state;
    struct th_seal seal;
    struct th_buf out;
    th_seal_init(&seal);
    th_buf_init(&out, 1024);
    assert_int_equal(th_seal_lines(&seal, TH_STR("{\"n\":0}\n{\"n\":1}\n"), &out), 0);
    size_t first = (size_t)(strchr(out.ptr, '\n') - out.ptr);
    th_buf_fini(&out);
    th_buf_init(&out, first + 1 + 20);
    const struct th_seal before = seal;
    assert_int_equal(th_seal_lines(&seal, TH_STR("{\"n\":2}\n{\"n\":3}\n"), &out), TH_E_NOMEM);
    assert_memory_equal(&seal, &before, sizeof seal); /* not sealed, so not missing */
    th_buf_fini(&out);
}

static void a_file_that_cannot_be_read(void **state)
{
    (void)state;
    struct th_seal seal;
    struct th_errinfo info = {0};
    bool is_torn;
    int fd = open(directory, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(th_seal_resume(&seal, fd, "the/path", &is_torn, &info), TH_E_IO);
    assert_int_equal(seal.number, 0);
    assert_non_null(strstr(info.what, "the/path"));
    close(fd);
}

struct process {
    struct th_writer *writer;
    struct th_writer_file *file;
};

static void process_begin(struct process *process)
{
    assert_int_equal(th_writer_new(0, &process->writer, NULL), 0);
    assert_int_equal(th_writer_open(process->writer, file_path, &process->file, NULL), 0);
    assert_int_equal(th_writer_seal(process->file, NULL), 0);
}

static void process_put(struct process *process, int n)
{
    char line[64];
    (void)snprintf(line, sizeof line, "{\"n\":%d}", n);
    put(process->file, line);
    assert_true(th_writer_flush(process->writer, 20000));
}

/* Whoever may read the file may hold its lock; that is told, not waited for without end. */
static void a_file_that_is_locked(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    struct th_errinfo info = {0};
    (void)unlink(file_path);
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    int fd = open(file_path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_SH), 0);
    assert_int_equal(th_writer_seal(file, &info), TH_E_IO);
    assert_non_null(strstr(info.what, "cannot be locked"));
    th_writer_free(writer, 20000);
    close(fd);
    assert_int_equal(unlink(file_path), 0);
    assert_int_equal(mkfifo(file_path, 0600),
                     0); /* nobody shares that: its lock is nothing to us */
    fd = open(file_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    write_lines(0, 1);
    close(fd);
}

/* The disk is full for one of two, in the middle of a line: both go on with one chain, and what was lost is seen. */
static void several_over_a_full_disk(void **state)
{
    (void)state;
    struct process one, two;
    struct rlimit before, small;
    struct text t;
    struct stat st;
    (void)unlink(file_path);
    process_begin(&one);
    process_begin(&two);
    process_put(&one, 0);
    assert_int_equal(stat(file_path, &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = (rlim_t)st.st_size + 12, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    process_put(&one, 1); /* torn */
    process_put(&one, 2); /* not at all */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    for (int n = 3; n < 9; n++)
        process_put(n % 2 != 0 ? &two : &one, n);
    th_writer_free(one.writer, 20000);
    th_writer_free(two.writer, 20000);
    text_open(&t);
    assert_int_equal(t.n, 8);
    expect(t.lines, t.n, 2, TH_SEAL_UNSEALED);
    char *without[] = {t.lines[0], t.lines[2], t.lines[3]};
    expect(without, 3, 3,
           TH_SEAL_MISSING); /* the two that one lost, which it tells as soon as it can */
    expect(t.lines + 3, 5, 0, TH_SEAL_WHOLE);
    free(t.whole);
}

/* The library fails: nothing is written, nothing is taken for sealed, and nobody dies of it. */
static void without_digests(void **state)
{
    (void)state;
    struct process process;
    struct th_writer_stats stats[TH_WRITER_MAX_FILES];
    struct th_errinfo info = {0};
    struct th_seal seal;
    struct text t;
    bool is_torn;
    (void)unlink(file_path);
    write_lines(0, 1);
    process_begin(&process);
    write_lines(1, 2); /* which it must look at */
    text_open(&t);
    atomic_store(&has_no_digests, true);
    process_put(&process, 2);
    assert_int_equal(th_writer_get_stats(process.writer, stats), 1);
    assert_int_equal(stats[0].n_failed, 1);
    th_seal_init(&seal);
    assert_int_equal(th_seal_check(&seal, th_str_of(t.lines[0])), TH_SEAL_UNCHECKED);
    assert_int_equal(seal.number, 0);
    int fd = open(file_path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(th_seal_resume(&seal, fd, file_path, &is_torn, &info), TH_E_INTERNAL);
    close(fd);
    atomic_store(&has_no_digests, false);
    th_writer_free(process.writer, 20000);
    free(t.whole);
}

/* A descriptor each, as two processes have; they lock against each other all the same. */
static void several_write_one_chain(void **state)
{
    (void)state;
    struct process processes[3];
    struct text t;
    (void)unlink(file_path);
    for (size_t i = 0; i < TH_COUNT_OF(processes); i++)
        process_begin(&processes[i]);
    for (int n = 0; n < 12; n++)
        process_put(&processes[n * 7 % 3], n);
    for (int n = 0; n < 300; n++) { /* at the same time */
        char line[64];
        (void)snprintf(line, sizeof line, "{\"n\":%d}", n);
        put(processes[n % 3].file, line);
    }
    for (size_t i = 0; i < TH_COUNT_OF(processes); i++)
        th_writer_free(processes[i].writer, 20000);
    struct th_seal seal;
    th_seal_init(&seal);
    size_t len, n = 0;
    t.whole = file_read(file_path, &len);
    for (char *at = strtok(t.whole, "\n"); at != NULL; at = strtok(NULL, "\n"), n++)
        assert_int_equal(th_seal_check(&seal, th_str_of(at)), TH_SEAL_WHOLE);
    assert_int_equal(n, 312);
    free(t.whole);
}

/* One goes over to the new file; the other, which nobody told, follows. */
static void several_over_a_rotation(void **state)
{
    (void)state;
    struct process one, two;
    struct text old, new;
    char rotated[80];
    enum th_seal_fault fault;
    (void)unlink(file_path);
    (void)snprintf(rotated, sizeof rotated, "%s.1", file_path);
    process_begin(&one);
    process_begin(&two);
    process_put(&one, 0);
    assert_int_equal(rename(file_path, rotated), 0);
    process_put(&two, 1); /* there is no other yet */
    th_writer_reopen(one.writer);
    process_put(&one, 2);
    process_put(&two, 3);
    process_put(&one, 4);
    th_writer_free(one.writer, 20000);
    th_writer_free(two.writer, 20000);
    text_open(&new);
    size_t len;
    old = (struct text){.whole = file_read(rotated, &len)};
    char *lines[5];
    size_t n = 0;
    for (char *at = strtok(old.whole, "\n"); at != NULL; at = strtok(NULL, "\n"))
        lines[n++] = at;
    assert_int_equal(n, 2);
    assert_int_equal(new.n, 3);
    for (size_t i = 0; i < 3; i++)
        lines[n++] = new.lines[i];
    assert_int_equal(broken_at(lines, 5, &fault), 0);
    free(old.whole);
    free(new.whole);
    (void)unlink(rotated);
}

/* What another hand puts behind the last line does not become part of the chain. */
static void what_is_put_in_while_it_runs_shows(void **state)
{
    (void)state;
    struct process process;
    struct text t;
    (void)unlink(file_path);
    process_begin(&process);
    process_put(&process, 0);
    FILE *file = fopen(file_path, "ae");
    assert_non_null(file);
    assert_true(fputs("{\"n\":1,\"seq\":2,\"prev\":\"" ZEROS "\"}\n", file) >= 0);
    fclose(file);
    process_put(&process, 2);
    assert_int_equal(truncate(file_path, 10), 0);
    process_put(&process, 3);
    th_writer_free(process.writer, 20000);
    text_open(&t);
    expect(t.lines, t.n, 1, TH_SEAL_UNSEALED);
    struct th_seal_read read;
    assert_true(th_seal_read(th_str_of(strstr(t.lines[t.n - 1], "{\"n\":3")), &read));
    assert_int_equal(read.number, 3); /* it knows of its own: 1 and 2 are missing */
    free(t.whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(changed),
        cmocka_unit_test(taken_out_put_in_and_reordered),
        cmocka_unit_test(what_is_no_seal),
        cmocka_unit_test(several_write_one_chain),
        cmocka_unit_test(several_over_a_rotation),
        cmocka_unit_test(what_is_put_in_while_it_runs_shows),
        cmocka_unit_test(bytes_that_are_never_written),
        cmocka_unit_test(goes_on_where_it_ended),
        cmocka_unit_test(goes_on_after_a_torn_line),
        cmocka_unit_test(goes_on_over_a_rotation),
        cmocka_unit_test(without_memory_nothing_is_counted),
        cmocka_unit_test(a_file_that_cannot_be_read),
        cmocka_unit_test(a_file_that_is_locked),
        cmocka_unit_test(several_over_a_full_disk),
        cmocka_unit_test(without_digests),
    };
    return cmocka_run_group_tests(tests, directory_make, directory_remove);
}
