/* After the handshake: ends, and moving much. */
#include "test_tls_meeting.h"

/* --- ends --- */

static void test_r4_end_with_farewell(void **state)
{
    struct world *world = *state;
    struct meeting meeting;

    meeting_open(&meeting, world, world->server, HOST);
    shake_hands(&meeting);
    peer_say(&meeting.peer, "the whole body");
    SSL_shutdown(meeting.peer.ssl);
    peer_close(&meeting.peer);
    settle(&world->bench);
    assert_int_equal(meeting.owner.len, 14);
    assert_int_equal(meeting.owner.ended, 1);
    assert_int_equal(meeting.owner.failed, 0);
    assert_int_equal(th_stream_recv(&meeting.owner.stream, meeting.owner.bytes, 1), 0);
    meeting_close(&meeting);
}

static void test_r4_end_without_farewell_is_a_cut(void **state)
{
    struct world *world = *state;

    for (int reset = 0; reset < 2; reset++) {
        struct meeting meeting;
        const char *reason;
        char heard[16] = "";
        meeting_open(&meeting, world, world->server, HOST);
        shake_hands(&meeting);
        peer_hear(&meeting.peer, heard, sizeof(heard));
        peer_say(&meeting.peer, "half a bo");
        if (reset) {
            SSL_free(meeting.peer.ssl);
            meeting.peer.ssl = NULL;
            reset_fd(meeting.peer.fd);
            meeting.peer.fd = -1;
        } else {
            peer_close(&meeting.peer);
        }
        settle(&world->bench);
        pass(&world->bench, 1016);
        assert_int_equal(meeting.owner.ended, 0);
        assert_int_equal(meeting.owner.failed, TH_E_ORIGIN_CLOSED);
        assert_true(meeting.owner.stream.broken);
        assert_int_equal(th_stream_tls_error(&meeting.owner.stream, &reason), TH_E_ORIGIN_CLOSED);
        assert_int_equal(th_stream_recv(&meeting.owner.stream, meeting.owner.bytes, 1),
                         TH_E_ORIGIN_CLOSED);
        meeting_close(&meeting);
    }
}

static void test_garbage_after_the_handshake(void **state)
{
    struct world *world = *state;
    struct meeting meeting;

    meeting_open(&meeting, world, world->server, HOST);
    shake_hands(&meeting);
    peer_say(&meeting.peer, "x");
    assert_int_equal(write(meeting.peer.fd, "\x17\x03\x03\x00\x13 nineteen bytes here", 24), 24);
    settle(&world->bench);
    assert_int_equal(meeting.owner.len, 1);
    /* Below it is what is inside that was cut. */
    assert_int_equal(meeting.owner.failed,
                     world->nested ? TH_E_ORIGIN_CLOSED : TH_E_ORIGIN_TLS_PROTOCOL);
    meeting_close(&meeting);
}

static void test_farewells_are_said(void **state)
{
    struct world *world = *state;

    for (int reset = 0; reset < 2; reset++) {
        struct meeting meeting;
        char heard[16] = "";
        meeting_open(&meeting, world, world->server, HOST);
        shake_hands(&meeting);
        assert_talk(&meeting);
        if (reset)
            th_stream_reset(&meeting.owner.stream);
        else
            th_stream_close(&meeting.owner.stream);
        int error = peer_hear(&meeting.peer, heard, sizeof(heard));
        if (reset)
            assert_int_not_equal(error, SSL_ERROR_ZERO_RETURN);
        else
            assert_int_equal(error, SSL_ERROR_ZERO_RETURN);
        meeting_close(&meeting);
    }
}

static void test_half_close_is_passed_on(void **state)
{
    struct world *world = *state;
    struct meeting meeting;
    char heard[16] = "";

    meeting_open(&meeting, world, world->server, HOST);
    shake_hands(&meeting);
    write_text(&meeting.owner, "bye");
    assert_int_equal(th_stream_shutdown_write(&meeting.owner.stream), 0);
    assert_int_equal(peer_hear(&meeting.peer, heard, sizeof(heard)), SSL_ERROR_ZERO_RETURN);
    assert_string_equal(heard, "bye");
    peer_say(&meeting.peer, "still here");
    settle(&world->bench);
    assert_int_equal(meeting.owner.len, 10);
    meeting_close(&meeting);
}

/* --- moving much --- */

static unsigned char pattern(size_t at)
{
    return (unsigned char)(at * 31 + at / 251);
}

#define MUCH ((size_t)4 * 1024 * 1024)

/* Pieces of odd sizes, taken as far as the stream takes them; the peer reads as slowly as the
 * buffers are small. */
static void send_much(struct meeting *meeting, size_t piece)
{
    struct th_stream *stream = &meeting->owner.stream;
    static unsigned char out[100000], in[50000];
    size_t sent = 0, got = 0;
    int stops = 0;

    for (int rounds = 0; got < MUCH; rounds++) {
        assert_true(rounds < 100000);
        if (sent < MUCH) {
            size_t len = piece * 3 < MUCH - sent ? piece * 3 : MUCH - sent;
            for (size_t i = 0; i < len; i++)
                out[i] = pattern(sent + i);
            struct iovec iov[3] = {
                {out, len / 3}, {out + len / 3, 0}, {out + len / 3, len - len / 3}};
            ssize_t n = th_stream_writev(stream, iov, 3);
            assert_true(n >= 0 && (size_t)n <= len);
            stops += (size_t)n < len;
            assert_true((size_t)n == len || !stream->writable);
            sent += (size_t)n;
        }
        if (stream->writable && sent < MUCH)
            continue;
        ERR_clear_error();
        int n = SSL_read(meeting->peer.ssl, in, sizeof(in));
        for (int i = 0; i < n; i++)
            assert_int_equal(in[i], pattern(got + (size_t)i));
        got += n > 0 ? (size_t)n : 0;
        if (n <= 0)
            poll(NULL, 0, 1);
        settle(&meeting->world->bench);
    }
    assert_true(stops > 0); /* the kernel's buffers were full */
    assert_int_equal(sent, got);
}

static void test_much_is_sent(void **state)
{
    static const size_t pieces[] = {1, 1000, 16384, 33000};
    struct world *world = *state;

    for (size_t i = 1; i < TH_COUNT_OF(pieces); i++) {
        struct meeting meeting;
        int small = 64 * 1024;
        meeting_open(&meeting, world, world->server, HOST);
        setsockopt(meeting.owner.stream.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
        setsockopt(meeting.peer.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        shake_hands(&meeting);
        send_much(&meeting, pieces[i]);
        meeting_close(&meeting);
    }
}

/* The peer writes all it can, then the stream's owner receives in rooms smaller than a record:
 * what OpenSSL still holds has no edge. */
static void test_much_is_received(void **state)
{
    static const size_t rooms[] = {100, 5000, 16384, 100000};
    static unsigned char out[16384];
    struct world *world = *state;

    for (size_t i = 0; i < TH_COUNT_OF(rooms); i++) {
        struct meeting meeting;
        size_t sent = 0;
        meeting_open(&meeting, world, world->server, HOST);
        shake_hands(&meeting);
        meeting.owner.room = rooms[i];
        while (sent < meeting.owner.size - 1) {
            size_t len = meeting.owner.size - 1 - sent;
            len = len < sizeof(out) ? len : sizeof(out);
            for (size_t k = 0; k < len; k++)
                out[k] = pattern(sent + k);
            ERR_clear_error();
            int n = SSL_write(meeting.peer.ssl, out, (int)len);
            sent += n > 0 ? (size_t)n : 0;
            if (n <= 0)
                settle(&world->bench);
        }
        settle(&world->bench);
        assert_int_equal(meeting.owner.len, sent);
        for (size_t k = 0; k < sent; k++)
            assert_int_equal((unsigned char)meeting.owner.bytes[k], pattern(k));
        assert_int_equal(meeting.owner.failed, 0);
        assert_false(meeting.owner.stream.readable);
        pass(&world->bench, 1016);
        meeting_close(&meeting);
    }
}

/* An owner who stops in the middle of a record sees that there is more without any edge. */
static void test_readable_while_openssl_holds_bytes(void **state)
{
    struct world *world = *state;
    struct meeting meeting;
    char byte;

    meeting_open(&meeting, world, world->server, HOST);
    shake_hands(&meeting);
    meeting.owner.idle = true;
    peer_say(&meeting.peer, "ab");
    peer_say(&meeting.peer, "c");
    settle(&world->bench);
    for (int i = 0; i < 3; i++) {
        assert_true(meeting.owner.stream.readable);
        assert_int_equal(th_stream_recv(&meeting.owner.stream, &byte, 1), 1);
        assert_int_equal(byte, 'a' + i);
    }
    assert_int_equal(th_stream_recv(&meeting.owner.stream, &byte, 1), TH_AGAIN);
    assert_false(meeting.owner.stream.readable);
    meeting_close(&meeting);
}

/* A half-close waits for what the kernel has not taken yet, and comes after it. */
static void test_half_close_waits_for_what_is_held(void **state)
{
    struct world *world = *state;
    struct meeting meeting;
    static char out[64 * 1024], in[64 * 1024];
    size_t sent = 0, got = 0;
    int small = 64 * 1024, error = SSL_ERROR_WANT_READ;

    meeting_open(&meeting, world, world->server, HOST);
    setsockopt(meeting.owner.stream.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    setsockopt(meeting.peer.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    shake_hands(&meeting);
    while (meeting.owner.stream.writable) {
        struct iovec iov = {out, sizeof(out)};
        ssize_t n = th_stream_writev(&meeting.owner.stream, &iov, 1);
        assert_true(n >= 0);
        sent += (size_t)n;
        settle(&world->bench);
    }
    assert_int_equal(th_stream_shutdown_write(&meeting.owner.stream), 0);
    for (int i = 0; i < 10000 && error == SSL_ERROR_WANT_READ; i++) {
        ERR_clear_error();
        int n = SSL_read(meeting.peer.ssl, in, sizeof(in));
        got += n > 0 ? (size_t)n : 0;
        error = n > 0 ? SSL_ERROR_WANT_READ : SSL_get_error(meeting.peer.ssl, n);
        if (n <= 0)
            poll(NULL, 0, 1);
        settle(&world->bench);
    }
    assert_int_equal(error, SSL_ERROR_ZERO_RETURN);
    assert_int_equal(got, sent);
    if (world->nested) { /* the farewell of the outer one follows that of the inner */
        assert_int_equal(SSL_read(meeting.outer, in, 1), 0);
        assert_int_equal(SSL_get_error(meeting.outer, 0), SSL_ERROR_ZERO_RETURN);
    }
    assert_int_equal(read(meeting.peer.fd, in, 1), 0);
    meeting_close(&meeting);
}

/* What the peer had sent before it stopped reading can still be received. */
static void test_answer_before_a_failed_write(void **state)
{
    struct world *world = *state;
    struct meeting meeting;
    struct iovec iov = {(void *)(uintptr_t) "x", 1};
    ssize_t n = 1;

    meeting_open(&meeting, world, world->server, HOST);
    shake_hands(&meeting);
    meeting.owner.idle = true;
    peer_say(&meeting.peer, "too large");
    SSL_shutdown(meeting.peer.ssl);
    peer_close(&meeting.peer);
    for (int i = 0; i < 100 && n >= 0; i++) {
        n = th_stream_writev(&meeting.owner.stream, &iov, 1);
        poll(NULL, 0, 1);
    }
    assert_int_equal(n, TH_E_ORIGIN_CLOSED);
    assert_int_equal(th_stream_writev(&meeting.owner.stream, &iov, 1), TH_E_ORIGIN_CLOSED);
    meeting.owner.idle = false;
    settle(&world->bench);
    if (meeting.owner.len >
        0) /* the reset may have taken the answer with it, but nothing is made up */
        assert_memory_equal(meeting.owner.bytes, "too large", 9);
    meeting_close(&meeting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_r4_end_with_farewell),
        cmocka_unit_test(test_r4_end_without_farewell_is_a_cut),
        cmocka_unit_test(test_garbage_after_the_handshake),
        cmocka_unit_test(test_farewells_are_said),
        cmocka_unit_test(test_half_close_is_passed_on),
        cmocka_unit_test(test_much_is_sent),
        cmocka_unit_test(test_much_is_received),
        cmocka_unit_test(test_readable_while_openssl_holds_bytes),
        cmocka_unit_test(test_half_close_waits_for_what_is_held),
        cmocka_unit_test(test_answer_before_a_failed_write),
    };
    int failed = run_in_world("tls_stream", tests, TH_COUNT_OF(tests));

    return failed + run_in_nested_world("tls_stream inside of TLS", tests, TH_COUNT_OF(tests));
}
