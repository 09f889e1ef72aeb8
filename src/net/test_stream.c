#include "test_support.h"

#include "tokenhop/net/stream.h"

/* An owner that receives all it can on every edge. */
struct owner {
    struct th_stream stream;
    int events;
    char bytes[256 * 1024];
    size_t len;
    size_t room;      /* received at once */
    int ended;        /* 0 was received */
    int failed;       /* the error */
    bool idle;        /* does not receive */
    bool close_first; /* closes inside the callback */
};

static void on_owner(struct th_stream *stream)
{
    struct owner *owner = TH_CONTAINER_OF(stream, struct owner, stream);

    owner->events++;
    if (owner->close_first) {
        th_stream_close(stream);
        return;
    }
    while (!owner->idle && !owner->ended) {
        ssize_t n = th_stream_recv(stream, owner->bytes + owner->len, owner->room);
        if (n > 0) {
            owner->len += (size_t)n;
            continue;
        }
        if (n == 0)
            owner->ended = 1;
        else if (n != TH_AGAIN)
            owner->failed = (int)n;
        break;
    }
}

static struct owner g_owner_memory;

static struct owner *own(struct bench *bench, int fd)
{
    struct owner *owner = &g_owner_memory;

    memset(owner, 0, sizeof(*owner));
    owner->room = 64;
    assert_int_equal(th_stream_init(&owner->stream, bench->worker, fd, on_owner), 0);
    return owner;
}

static void test_receives_until_short(void **state)
{
    struct bench bench;
    struct owner *owner;
    char text[200];
    int fds[2];

    bench_open(&bench, NULL, NULL);
    tcp_pair(fds);
    owner = own(&bench, fds[0]);
    settle(&bench);
    memset(text, 'x', sizeof(text));
    assert_int_equal(write(fds[1], text, sizeof(text)), sizeof(text));
    settle(&bench);
    assert_int_equal(owner->len, 200);
    assert_false(owner->stream.readable); /* 64 + 64 + 64 + 8: the short one told */
    assert_int_equal(th_stream_recv(&owner->stream, text, 10), TH_AGAIN);
    assert_int_equal(write(fds[1], "more", 4), 4);
    settle(&bench);
    assert_int_equal(owner->len, 204);
    th_stream_close(&owner->stream);
    th_stream_close(&owner->stream);
    close(fds[1]);
    bench_close(&bench);
}

/* Bytes and the end in one event: the short receive must not be taken for the end of the story. */
static void test_end_arrives_with_bytes(void **state)
{
    struct bench bench;
    struct owner *owner;
    int fds[2];

    for (int tcp = 0; tcp < 2; tcp++) {
        bench_open(&bench, NULL, NULL);
        if (tcp)
            tcp_pair(fds);
        else
            unix_pair(fds);
        owner = own(&bench, fds[0]);
        settle(&bench);
        assert_int_equal(write(fds[1], "last words", 10), 10);
        close(fds[1]);
        settle(&bench);
        assert_int_equal(owner->len, 10);
        assert_int_equal(owner->ended, 1);
        assert_int_equal(th_stream_recv(&owner->stream, owner->bytes, 10), 0);
        th_stream_close(&owner->stream);
        bench_close(&bench);
    }
}

static void test_end_comes_after_bytes(void **state)
{
    struct bench bench;
    struct owner *owner;
    int fds[2];

    bench_open(&bench, NULL, NULL);
    tcp_pair(fds);
    owner = own(&bench, fds[0]);
    assert_int_equal(write(fds[1], "words", 5), 5);
    settle(&bench);
    assert_int_equal(owner->len, 5);
    assert_int_equal(owner->ended, 0);
    shutdown(fds[1], SHUT_WR);
    settle(&bench);
    assert_int_equal(owner->ended, 1);
    /* and our side can still be written */
    struct iovec iov = {(void *)(uintptr_t) "reply", 5};
    assert_int_equal(th_stream_writev(&owner->stream, &iov, 1), 5);
    char reply[8];
    assert_int_equal(read(fds[1], reply, sizeof(reply)), 5);
    th_stream_close(&owner->stream);
    close(fds[1]);
    bench_close(&bench);
}

static void test_reset(void **state)
{
    struct bench bench;
    struct owner *owner;
    int fds[2];

    bench_open(&bench, NULL, NULL);
    tcp_pair(fds);
    owner = own(&bench, fds[0]);
    settle(&bench);
    reset_fd(fds[1]);
    settle(&bench);
    assert_int_equal(owner->failed, TH_E_ORIGIN_CLOSED);
    assert_true(owner->stream.broken);
    assert_int_equal(th_stream_recv(&owner->stream, owner->bytes, 1), TH_E_ORIGIN_CLOSED);
    th_stream_close(&owner->stream);
    bench_close(&bench);
}

/* Bytes and a reset in one event: the error has no edge of its own any more; the look after a
 * second finds it. */
static void test_reset_arrives_with_bytes(void **state)
{
    struct bench bench;
    struct owner *owner;
    int fds[2];

    bench_open(&bench, NULL, NULL);
    tcp_pair(fds);
    owner = own(&bench, fds[0]);
    settle(&bench);
    assert_int_equal(write(fds[1], "half an ans", 11), 11);
    reset_fd(fds[1]);
    settle(&bench);
    assert_int_equal(owner->len, 11);
    pass(&bench, 1016);
    assert_int_equal(owner->ended, 0);
    assert_int_equal(owner->failed, TH_E_ORIGIN_CLOSED);
    th_stream_close(&owner->stream);
    bench_close(&bench);
}

/* The look after a second leaves alone what is only silent, and does not come twice. */
static void test_silence_is_confirmed_once(void **state)
{
    struct bench bench;
    struct owner *owner;
    int fds[2];
    int events;

    bench_open(&bench, NULL, NULL);
    tcp_pair(fds);
    owner = own(&bench, fds[0]);
    assert_int_equal(write(fds[1], "x", 1), 1);
    settle(&bench);
    events = owner->events;
    pass(&bench, 1016);
    assert_int_equal(owner->events, events);
    assert_int_equal(owner->failed, 0);
    assert_int_equal(th_wheel_next_ms(&bench.worker->wheel), -1);
    th_stream_close(&owner->stream);
    close(fds[1]);
    bench_close(&bench);
}

/* A write that meets the reset takes the error out of the socket; what is read then looks like a
 * clean end and must not be told as one. */
static void test_reset_met_by_a_write(void **state)
{
    struct bench bench;
    struct owner *owner;
    struct iovec iov = {(void *)(uintptr_t) "x", 1};
    int fds[2];

    bench_open(&bench, NULL, NULL);
    tcp_pair(fds);
    owner = own(&bench, fds[0]);
    settle(&bench);
    owner->idle = true;
    reset_fd(fds[1]);
    poll(NULL, 0, 10);
    assert_int_equal(th_stream_writev(&owner->stream, &iov, 1), TH_E_ORIGIN_CLOSED);
    settle(&bench);
    assert_int_equal(th_stream_recv(&owner->stream, owner->bytes, 10), TH_E_ORIGIN_CLOSED);
    th_stream_close(&owner->stream);
    bench_close(&bench);
}

static void drain(struct bench *bench, struct owner *owner, int fd, size_t total)
{
    static char sink[64 * 1024];
    size_t got = 0;
    size_t sent = 0;
    int edges = owner->events;

    while (got < total) {
        struct iovec iov[2] = {{owner->bytes, sizeof(owner->bytes)}, {owner->bytes, 1000}};
        if (sent < total) {
            ssize_t n = th_stream_writev(&owner->stream, iov, 2);
            assert_true(n >= 0);
            sent += (size_t)n;
            if (sent < total && !owner->stream.writable)
                assert_int_equal(th_stream_writev(&owner->stream, iov, 2), 0);
        }
        ssize_t r = read(fd, sink, sizeof(sink));
        if (r > 0)
            got += (size_t)r;
        settle(bench);
    }
    assert_true(owner->events > edges);
}

static void test_partial_writes(void **state)
{
    struct bench bench;
    struct owner *owner;
    int fds[2];

    for (int tcp = 0; tcp < 2; tcp++) {
        bench_open(&bench, NULL, NULL);
        if (tcp)
            tcp_pair(fds);
        else
            unix_pair(fds);
        owner = own(&bench, fds[0]);
        settle(&bench);
        owner->idle = true;
        drain(&bench, owner, fds[1], 8 * 1024 * 1024);
        th_stream_close(&owner->stream);
        close(fds[1]);
        bench_close(&bench);
    }
}

static void test_half_close_is_passed_on(void **state)
{
    struct bench bench;
    struct owner *owner;
    struct iovec iov = {(void *)(uintptr_t) "bye", 3};
    char text[8];
    int fds[2];

    bench_open(&bench, NULL, NULL);
    tcp_pair(fds);
    owner = own(&bench, fds[0]);
    assert_int_equal(th_stream_writev(&owner->stream, &iov, 1), 3);
    assert_int_equal(th_stream_shutdown_write(&owner->stream), 0);
    assert_int_equal(th_stream_shutdown_write(&owner->stream), 0);
    assert_int_equal(th_stream_writev(&owner->stream, &iov, 1), TH_E_ORIGIN_CLOSED);
    assert_int_equal(read(fds[1], text, sizeof(text)), 3);
    assert_int_equal(read(fds[1], text, sizeof(text)), 0);
    assert_int_equal(write(fds[1], "still here", 10), 10);
    settle(&bench);
    assert_int_equal(owner->len, 10);
    th_stream_close(&owner->stream);
    close(fds[1]);
    bench_close(&bench);
}

static void test_close_inside_the_callback(void **state)
{
    struct bench bench;
    struct owner *owner;
    char byte;
    int fds[2];

    bench_open(&bench, NULL, NULL);
    tcp_pair(fds);
    owner = own(&bench, fds[0]);
    owner->close_first = true;
    assert_int_equal(write(fds[1], "x", 1), 1);
    settle(&bench);
    assert_int_equal(owner->events, 1);
    assert_false(th_stream_is_open(&owner->stream));
    /* unread bytes were there: the peer sees a reset (a clean end where they came too late) */
    assert_true(read(fds[1], &byte, 1) <= 0);
    close(fds[1]);
    bench_close(&bench);
}

static void test_reset_is_seen_by_the_peer(void **state)
{
    struct bench bench;
    struct owner *owner;
    char byte;
    int fds[2];

    bench_open(&bench, NULL, NULL);
    tcp_pair(fds);
    owner = own(&bench, fds[0]);
    th_stream_reset(&owner->stream);
    assert_int_equal(read(fds[1], &byte, 1), -1);
    assert_int_equal(errno, ECONNRESET);
    close(fds[1]);
    bench_close(&bench);
}

static void test_small(void **state)
{
    /* An idle client may cost 512 bytes in all, of which libevent takes 40 for the descriptor. */
    assert_true(sizeof(struct th_stream) <= 192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receives_until_short),
        cmocka_unit_test(test_end_arrives_with_bytes),
        cmocka_unit_test(test_end_comes_after_bytes),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_reset_arrives_with_bytes),
        cmocka_unit_test(test_silence_is_confirmed_once),
        cmocka_unit_test(test_reset_met_by_a_write),
        cmocka_unit_test(test_partial_writes),
        cmocka_unit_test(test_half_close_is_passed_on),
        cmocka_unit_test(test_close_inside_the_callback),
        cmocka_unit_test(test_reset_is_seen_by_the_peer),
        cmocka_unit_test(test_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
