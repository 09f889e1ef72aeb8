#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "body.h"
#include "tokenhop/base/check.h"

/* A worker that is turned by hand, and one end of a pair of sockets as its stream. */
struct fixture {
    struct th_worker *worker;
    struct th_stream stream;
    int peer;
};

static void on_event(struct th_stream *stream) {}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct th_worker_options options = {.index = 0};
    int fds[2], room = 4096;

    assert_int_equal(th_worker_new(&options, &f->worker), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    assert_int_equal(th_stream_init(&f->stream, f->worker, fds[0], on_event), 0);
    f->peer = fds[1];
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    th_stream_close(&f->stream);
    close(f->peer);
    th_worker_free(f->worker);
    free(f);
    return 0;
}

static size_t drain_peer(struct fixture *f, char *into, size_t size)
{
    size_t got = 0;
    ssize_t n;

    while (got < size && (n = recv(f->peer, into + got, size - got, MSG_DONTWAIT)) > 0)
        got += (size_t)n;
    return got;
}

static void pieces_go_out_in_order(void **state)
{
    struct fixture *f = *state;
    struct th_outgoing out = {0};
    uint64_t count = 0;
    char got[16];

    th_outgoing_add(&out, "ab", 2);
    th_outgoing_add(&out, "", 0);
    th_outgoing_add(&out, "cde", 3);
    assert_int_equal(th_outgoing_write(&out, &f->stream, &count), 0);
    assert_true(th_outgoing_is_empty(&out));
    assert_int_equal(count, 5);
    assert_int_equal(drain_peer(f, got, sizeof got), 5);
    assert_memory_equal(got, "abcde", 5);
}

/* What was built in the scratch outlives the turn in which it was built, and nothing else is copied. */
static void what_lies_in_the_scratch_is_kept(void **state)
{
    struct fixture *f = *state;
    struct th_outgoing out = {0};
    uint64_t count = 0;
    size_t size = 60000, body_size = 200000, got = 0;
    char *body = malloc(body_size), *all = malloc(size + body_size);

    memset(f->worker->scratch, 'h', size);
    memset(body, 'b', body_size);
    th_outgoing_add(&out, f->worker->scratch, size);
    th_outgoing_add(&out, body, body_size);
    assert_int_equal(th_outgoing_write(&out, &f->stream, &count), TH_AGAIN);
    assert_true(count > 0 && count < size + body_size);
    memset(f->worker->scratch, 'X', TH_SCRATCH_SIZE); /* the next head is built there */
    for (int round = 0; round < 10000 && got < size + body_size; round++) {
        got += drain_peer(f, all + got, size + body_size - got);
        th_worker_turn(f->worker);
        int error = th_outgoing_write(&out, &f->stream, &count);
        assert_true(error == 0 || error == TH_AGAIN);
    }
    assert_int_equal(got, size + body_size);
    assert_int_equal(count, got);
    for (size_t i = 0; i < got; i++)
        if (all[i] != (i < size ? 'h' : 'b'))
            fail_msg("byte %zu is %c", i, all[i]);
    assert_null(out.kept);
    free(body);
    free(all);
}

static void a_broken_stream_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct th_outgoing out = {0};
    uint64_t count = 0;

    close(f->peer);
    f->peer = -1;
    th_outgoing_add(&out, "ab", 2);
    assert_true(th_outgoing_write(&out, &f->stream, &count) < 0);
    assert_int_equal(count, 0);
    th_outgoing_clear(&out, f->worker);
    assert_true(th_outgoing_is_empty(&out));
}

/* --- bodies --- */

static void begin(struct th_body *body, enum th_framing framing, uint64_t length,
                  enum th_body_out out, char *room, size_t size, size_t raw_len)
{
    struct th_head head = {.framing = framing, .content_length = length};

    memset(body, 0, sizeof *body);
    th_body_init(body, &head, out, room, size, room, raw_len);
}

static void a_length_ends_where_it_says(void **state)
{
    struct th_body body;
    char room[64] = "abcdeNEXT";

    begin(&body, TH_FRAMING_LENGTH, 5, TH_BODY_AS_IT_IS, room, sizeof room, 9);
    assert_int_equal(th_body_decode(&body), 0);
    assert_true(body.received);
    assert_int_equal(body.data_len, 5);
    assert_int_equal(body.raw_len, 4);
    assert_memory_equal(body.raw, "NEXT", 4);
    /* Once written, what follows stays where it is: it is the next request's. */
    th_body_written(&body);
    assert_memory_equal(body.raw, "NEXT", 4);
    assert_ptr_equal(body.raw, room + 5);
}

static void no_body_is_received_from_the_start(void **state)
{
    struct th_body body;
    char room[16] = "NEXT";

    begin(&body, TH_FRAMING_NONE, 0, TH_BODY_AS_IT_IS, room, sizeof room, 4);
    assert_true(body.received && body.queued);
    assert_int_equal(th_body_decode(&body), 0);
    assert_int_equal(body.raw_len, 4);
    begin(&body, TH_FRAMING_LENGTH, 0, TH_BODY_AS_IT_IS, room, sizeof room, 4);
    assert_true(body.received && body.queued);
}

static size_t flatten(const struct th_outgoing *out, char *into)
{
    size_t len = 0;

    for (uint8_t i = out->first; i < out->end; i++) {
        memcpy(into + len, out->pieces[i].iov_base, out->pieces[i].iov_len);
        len += out->pieces[i].iov_len;
    }
    return len;
}

static void chunks_are_framed_anew(void **state)
{
    struct th_body body;
    struct th_outgoing out = {0};
    char room[64] = "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nNEXT", flat[64];

    begin(&body, TH_FRAMING_CHUNKED, 0, TH_BODY_CHUNKED, room, sizeof room, strlen(room));
    assert_int_equal(th_body_decode(&body), 0);
    assert_true(body.received);
    th_body_queue(&body, &out);
    assert_true(body.queued);
    size_t len = flatten(&out, flat);
    assert_int_equal(len, 15);
    assert_memory_equal(flat, "5\r\nabcde\r\n0\r\n\r\n", 15);
    assert_memory_equal(body.raw, "NEXT", 4);
    /* Asked again, it adds nothing: there is one last chunk. */
    out.first = out.end = 0;
    th_body_queue(&body, &out);
    assert_true(th_outgoing_is_empty(&out));
}

static void r4_no_last_chunk_before_the_end(void **state)
{
    struct th_body body;
    struct th_outgoing out = {0};
    char room[64] = "3\r\nabc\r\n", flat[64];

    begin(&body, TH_FRAMING_CHUNKED, 0, TH_BODY_CHUNKED, room, sizeof room, strlen(room));
    assert_int_equal(th_body_decode(&body), 0);
    assert_false(body.received);
    th_body_queue(&body, &out);
    assert_int_equal(flatten(&out, flat), 8);
    assert_memory_equal(flat, "3\r\nabc\r\n", 8);
    assert_false(body.queued);
}

static void a_bad_chunk_is_an_error(void **state)
{
    struct th_body body;
    char room[64] = "3\r\nabcd\r\n";

    begin(&body, TH_FRAMING_CHUNKED, 0, TH_BODY_CHUNKED, room, sizeof room, strlen(room));
    assert_int_equal(th_body_decode(&body), TH_E_BAD_CHUNK);
}

static void the_end_of_the_connection_is_an_end_only_where_it_may_be(void **state)
{
    struct fixture *f = *state;
    struct th_body body;
    char room[64];

    shutdown(f->peer, SHUT_WR);
    th_worker_turn(f->worker);
    begin(&body, TH_FRAMING_LENGTH, 5, TH_BODY_AS_IT_IS, room, sizeof room, 0);
    assert_int_equal(th_body_recv(&body, &f->stream), 0);
    assert_false(body.received);
    begin(&body, TH_FRAMING_CLOSE, 0, TH_BODY_AS_IT_IS, room, sizeof room, 0);
    assert_int_equal(th_body_recv(&body, &f->stream), 0);
    assert_true(body.received);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pieces_go_out_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_lies_in_the_scratch_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_stream_is_an_error, set_up, tear_down),
        cmocka_unit_test(a_length_ends_where_it_says),
        cmocka_unit_test(no_body_is_received_from_the_start),
        cmocka_unit_test(chunks_are_framed_anew),
        cmocka_unit_test(r4_no_last_chunk_before_the_end),
        cmocka_unit_test(a_bad_chunk_is_an_error),
        cmocka_unit_test_setup_teardown(the_end_of_the_connection_is_an_end_only_where_it_may_be,
                                        set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
