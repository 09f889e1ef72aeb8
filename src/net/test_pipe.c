#include "test_support.h"

#include <dirent.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "stream_private.h"

#define LARGE (600 * 1024)

/* Two streams of the worker, and the peers' ends. */
struct two {
    struct bench bench;
    struct th_stream from, to;
    int sender, reader;
    int events;
};

static void on_event(struct th_stream *stream) {}

static void open_two(struct two *two, bool tcp)
{
    int a[2], b[2];

    memset(two, 0, sizeof(*two));
    bench_open(&two->bench, NULL, NULL);
    (tcp ? tcp_pair : unix_pair)(a);
    (tcp ? tcp_pair : unix_pair)(b);
    assert_int_equal(th_stream_init(&two->from, two->bench.worker, a[0], on_event), 0);
    assert_int_equal(th_stream_init(&two->to, two->bench.worker, b[0], on_event), 0);
    two->sender = a[1];
    two->reader = b[1];
    settle(&two->bench);
}

static void close_two(struct two *two)
{
    th_stream_close(&two->from);
    th_stream_close(&two->to);
    close(two->sender);
    close(two->reader);
    bench_close(&two->bench);
}

static struct th_pipe_pool *pool_of(struct two *two)
{
    return &two->bench.worker->pipes;
}

static struct th_pipe *get(struct two *two)
{
    struct th_pipe *pipe = th_pipe_get(pool_of(two));

    assert_non_null(pipe);
    return pipe;
}

static char pattern(size_t i)
{
    return (char)(i * 2654435761u >> 13);
}

static void say(struct two *two, const char *text)
{
    assert_int_equal(write(two->sender, text, strlen(text)), strlen(text));
    settle(&two->bench);
}

/* What the reader finds, which must be there at once. */
static void hear(struct two *two, const char *text)
{
    char got[256];

    settle(&two->bench);
    ssize_t n = read(two->reader, got, sizeof(got));
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, (size_t)n);
}

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static void test_takes_what_it_may(void **state)
{
    for (int tcp = 0; tcp < 2; tcp++) {
        struct two two;
        char rest[16];

        open_two(&two, tcp);
        struct th_pipe *pipe = get(&two);
        say(&two, "bodyNEXT");
        assert_true(th_pipe_joins(&two.from, &two.to));
        assert_int_equal(th_pipe_fill(pipe, &two.from, 4), 4);
        assert_int_equal(th_pipe_drain(pipe, &two.to), 4);
        hear(&two, "body");
        /* what follows the body is still the socket's */
        assert_int_equal(th_stream_recv(&two.from, rest, sizeof(rest)), 4);
        assert_memory_equal(rest, "NEXT", 4);
        th_pipe_put(pool_of(&two), pipe);
        close_two(&two);
    }
}

static void test_nothing_there(void **state)
{
    for (int tcp = 0; tcp < 2; tcp++) {
        struct two two;

        open_two(&two, tcp);
        struct th_pipe *pipe = get(&two);
        assert_int_equal(th_pipe_fill(pipe, &two.from, 100), TH_AGAIN);
        say(&two, "some");
        assert_true(two.from.readable);
        assert_int_equal(th_pipe_fill(pipe, &two.from, 100), 4);
        assert_true(two.from.readable); /* a short one says nothing */
        assert_int_equal(th_pipe_drain(pipe, &two.to), 4);
        assert_int_equal(th_pipe_fill(pipe, &two.from, 100), TH_AGAIN);
        char byte;
        assert_true(two.from.readable); /* neither does this: */
        assert_int_equal(th_stream_recv(&two.from, &byte, 1), TH_AGAIN);
        assert_false(two.from.readable);
        assert_int_equal(th_pipe_fill(pipe, &two.from, 100), TH_AGAIN);
        say(&two, "more"); /* an edge of its own */
        assert_int_equal(th_pipe_fill(pipe, &two.from, 100), 4);
        assert_int_equal(th_pipe_drain(pipe, &two.to), 4);
        hear(&two, "somemore");
        th_pipe_put(pool_of(&two), pipe);
        close_two(&two);
    }
}

static void test_end_after_bytes(void **state)
{
    for (int tcp = 0; tcp < 2; tcp++) {
        struct two two;

        open_two(&two, tcp);
        struct th_pipe *pipe = get(&two);
        say(&two, "last");
        shutdown(two.sender, SHUT_WR);
        settle(&two.bench);
        assert_int_equal(th_pipe_fill(pipe, &two.from, 100), 4);
        assert_int_equal(th_pipe_drain(pipe, &two.to), 4);
        assert_int_equal(th_pipe_fill(pipe, &two.from, 100), 0);
        assert_int_equal(th_pipe_fill(pipe, &two.from, 100), 0);
        assert_true(two.from.read_ended);
        hear(&two, "last");
        th_pipe_put(pool_of(&two), pipe);
        close_two(&two);
    }
}

static void test_reset_is_no_end(void **state)
{
    struct two two;

    open_two(&two, true);
    struct th_pipe *pipe = get(&two);
    say(&two, "part");
    assert_int_equal(th_pipe_fill(pipe, &two.from, 100), 4);
    reset_fd(two.sender);
    two.sender = -1;
    settle(&two.bench);
    /* what had come is whole, and then it is an error */
    assert_int_equal(th_pipe_drain(pipe, &two.to), 4);
    hear(&two, "part");
    assert_int_equal(th_pipe_fill(pipe, &two.from, 100), TH_E_ORIGIN_CLOSED);
    assert_true(two.from.broken);
    assert_int_equal(th_pipe_fill(pipe, &two.from, 100), TH_E_ORIGIN_CLOSED);
    th_pipe_put(pool_of(&two), pipe);
    close_two(&two);
}

static void test_reader_has_gone(void **state)
{
    struct two two;

    open_two(&two, true);
    struct th_pipe *pipe = get(&two);
    say(&two, "some");
    assert_int_equal(th_pipe_fill(pipe, &two.from, 100), 4);
    reset_fd(two.reader);
    two.reader = -1;
    settle(&two.bench);
    assert_int_equal(th_pipe_drain(pipe, &two.to), TH_E_ORIGIN_CLOSED);
    assert_true(two.to.write_ended);
    assert_int_equal(pipe->len, 4);
    assert_int_equal(th_pipe_drain(pipe, &two.to), TH_E_ORIGIN_CLOSED);
    th_pipe_put(pool_of(&two), pipe);
    assert_int_equal(pool_of(&two)->n_free, 0);
    close_two(&two);
}

/* Sends LARGE bytes through the pipe to a reader that reads `portion` bytes at a time and only when
 * nothing else moves: none may be lost, doubled or out of order. */
static void send_large(struct two *two, size_t portion)
{
    struct th_pipe *pipe = get(two);
    size_t sent = 0, passed = 0, heard = 0;
    bool was_stopped = false;
    static char room[LARGE];

    while (heard < LARGE) {
        char block[5000];
        size_t want = LARGE - sent < sizeof(block) ? LARGE - sent : sizeof(block);
        for (size_t i = 0; i < want; i++)
            block[i] = pattern(sent + i);
        ssize_t n = want > 0 ? write(two->sender, block, want) : 0;
        sent += n > 0 ? (size_t)n : 0;
        settle(&two->bench);
        if (pipe->len == 0) {
            n = th_pipe_fill(pipe, &two->from, SIZE_MAX);
            assert_true(n > 0 || n == TH_AGAIN);
        }
        if (pipe->len > 0) {
            size_t before = pipe->len;
            n = th_pipe_drain(pipe, &two->to);
            assert_true(n >= 0);
            assert_int_equal(before - pipe->len, n);
            if (pipe->len > 0) {
                assert_false(two->to.writable);
                was_stopped = true;
            }
            passed += (size_t)n;
        }
        if (pipe->len == 0 && sent < LARGE && !was_stopped)
            continue;
        n = read(two->reader, room + heard, portion < LARGE - heard ? portion : LARGE - heard);
        heard += n > 0 ? (size_t)n : 0;
        assert_true(heard <= passed);
    }
    assert_true(was_stopped);
    assert_int_equal(passed, LARGE);
    for (size_t i = 0; i < LARGE; i++)
        if (room[i] != pattern(i))
            fail_msg("byte %zu is not what was sent", i);
    th_pipe_put(pool_of(two), pipe);
}

static void narrow(struct two *two)
{
    int size = 16384;

    setsockopt(two->to.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(two->reader, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

static void test_slow_reader(void **state)
{
    for (int tcp = 0; tcp < 2; tcp++) {
        struct two two;

        open_two(&two, tcp);
        narrow(&two);
        send_large(&two, 3000);
        assert_int_equal(pool_of(&two)->n_free, 1);
        close_two(&two);
    }
}

static ssize_t no_splice(struct th_stream *stream, int pipe, size_t len)
{
    return TH_E_IO;
}

/* Where the kernel takes no splice: bytes that are in the pipe go out all the same. */
static void test_copies_out(void **state)
{
    for (int told = 0; told < 2; told++) {
        struct th_stream_ops ops = th_stream_tcp;
        struct two two;

        ops.splice_out = told ? no_splice : NULL;
        open_two(&two, true);
        narrow(&two);
        two.to.ops = &ops;
        assert_int_equal(th_pipe_joins(&two.from, &two.to), told);
        send_large(&two, 3000);
        assert_int_equal(two.bench.worker->chunks.n_used, 0);
        close_two(&two);
    }
}

static void test_spliceless_source(void **state)
{
    for (int told = 0; told < 2; told++) {
        struct th_stream_ops ops = th_stream_tcp;
        struct two two;
        char got[8];

        ops.splice_in = told ? no_splice : NULL;
        open_two(&two, true);
        two.from.ops = &ops;
        struct th_pipe *pipe = get(&two);
        say(&two, "some");
        assert_int_equal(th_pipe_joins(&two.from, &two.to), told);
        assert_int_equal(th_pipe_fill(pipe, &two.from, 100), TH_E_IO);
        assert_int_equal(th_stream_recv(&two.from, got, sizeof(got)), 4);
        th_pipe_put(pool_of(&two), pipe);
        close_two(&two);
    }
}

/* A byte of urgent data stands between splice and what follows; a receive passes over it. */
static void test_urgent_data(void **state)
{
    struct two two;
    char got[16];

    open_two(&two, true);
    struct th_pipe *pipe = get(&two);
    say(&two, "one");
    assert_int_equal(send(two.sender, "!", 1, MSG_OOB), 1);
    say(&two, "two");
    assert_int_equal(th_pipe_fill(pipe, &two.from, 100), 3);
    assert_int_equal(th_pipe_drain(pipe, &two.to), 3);
    ssize_t n = th_pipe_fill(pipe, &two.from, 100);
    if (n == TH_AGAIN) {
        assert_int_equal(th_stream_recv(&two.from, got, sizeof(got)), 3);
        assert_memory_equal(got, "two", 3);
    } else {
        assert_int_equal(n, 3); /* another kernel may do as well */
    }
    th_pipe_put(pool_of(&two), pipe);
    close_two(&two);
}

static void test_bound(void **state)
{
    struct two two;
    struct th_pipe *pipes[3];
    struct th_pipe_pool pool;

    open_two(&two, false);
    th_pipe_pool_init(&pool, two.bench.worker, 2);
    pipes[0] = th_pipe_get(&pool);
    pipes[1] = th_pipe_get(&pool);
    assert_non_null(pipes[0]);
    assert_non_null(pipes[1]);
    assert_null(th_pipe_get(&pool));
    assert_null(th_pipe_put(&pool, pipes[0]));
    pipes[2] = th_pipe_get(&pool);
    assert_ptr_equal(pipes[2], pipes[0]); /* kept */
    assert_null(th_pipe_get(&pool));
    assert_null(th_pipe_put(&pool, pipes[1]));
    assert_null(th_pipe_put(&pool, pipes[2]));
    assert_null(th_pipe_put(&pool, NULL));
    th_pipe_pool_fini(&pool);
    close_two(&two);
}

static void test_what_it_holds_is_nobody_elses(void **state)
{
    struct two two;

    open_two(&two, false);
    int before = count_fds();
    struct th_pipe *pipe = get(&two);
    say(&two, "for one reader alone");
    assert_int_equal(th_pipe_fill(pipe, &two.from, 100), 20);
    th_pipe_put(pool_of(&two), pipe);
    assert_int_equal(count_fds(), before);
    assert_int_equal(pool_of(&two)->n_free, 0);
    close_two(&two);
}

static void test_closes_unneeded(void **state)
{
    struct two two;
    struct th_pipe *pipes[3];

    open_two(&two, false);
    int before = count_fds();
    for (int i = 0; i < 3; i++)
        pipes[i] = get(&two);
    for (int i = 0; i < 3; i++)
        th_pipe_put(pool_of(&two), pipes[i]);
    assert_int_equal(count_fds(), before + 6);
    for (int i = 0; i < 4; i++) { /* one of them is in use now and then */
        pass(&two.bench, 4000);
        th_pipe_put(pool_of(&two), get(&two));
    }
    assert_int_equal(pool_of(&two)->n_free, 1);
    assert_int_equal(count_fds(), before + 2);
    pass(&two.bench, 11000);
    pass(&two.bench, 11000);
    assert_int_equal(count_fds(), before);
    close_two(&two);
}

static void test_kernel_refuses(void **state)
{
    struct two two;
    struct rlimit limit, tight;

    open_two(&two, false);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)count_fds() - 3; /* ".", ".." and its own */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    assert_null(th_pipe_get(pool_of(&two)));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_null(th_pipe_get(pool_of(&two))); /* not asked for again at once */
    assert_int_equal(pool_of(&two)->n_used, 0);
    pass(&two.bench, 1000);
    th_pipe_put(pool_of(&two), get(&two));
    close_two(&two);
}

static void test_size(void **state)
{
    struct two two;

    open_two(&two, false);
    struct th_pipe *pipe = get(&two);
    assert_int_equal(pipe->capacity, 256 * 1024);
    th_pipe_put(pool_of(&two), pipe);
    close_two(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_what_it_may),
        cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_end_after_bytes),
        cmocka_unit_test(test_reset_is_no_end),
        cmocka_unit_test(test_reader_has_gone),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_copies_out),
        cmocka_unit_test(test_spliceless_source),
        cmocka_unit_test(test_urgent_data),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_what_it_holds_is_nobody_elses),
        cmocka_unit_test(test_closes_unneeded),
        cmocka_unit_test(test_kernel_refuses),
        cmocka_unit_test(test_size),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
