/* A body's way from the bytes as they come in to the pieces that go out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "body.h"
#include "tokenhop/base/check.h"

#define ROOM_MAX 4096
#define GUARD 64
#define NEXT "GET http://next/ HTTP/1.1"

/* A room with guards around it, of which the first `head` bytes are not the body's. */
struct way {
    char memory[GUARD + ROOM_MAX + GUARD];
    char *room;
    size_t room_size;
    struct th_body body;
    struct th_outgoing out;
    char sent[8192];
    size_t sent_len;
    size_t n_pieces;
    size_t n_framed; /* writes of one piece that bear a chunk whole */
};

static void set_out(struct way *way, enum th_framing framing, size_t room_size, size_t head)
{
    struct th_head message = {.framing = framing};

    memset(way, 0, sizeof(*way));
    memset(way->memory, '#', sizeof(way->memory));
    way->room = way->memory + GUARD;
    way->room_size = room_size;
    th_body_init(&way->body, &message, TH_BODY_CHUNKED, way->room, room_size, way->room + head, 0);
}

static void check_guards(const struct way *way)
{
    const char *behind = way->room + way->room_size;

    for (size_t i = 0; i < GUARD; i++)
        if (way->memory[i] != '#' || behind[i] != '#')
            fail_msg("written outside of the room");
}

/* As the pump does: what has been decoded goes out before more is received. */
static void pass(struct way *way)
{
    size_t n = 0;

    th_body_queue(&way->body, &way->out);
    for (; way->out.first < way->out.end; way->out.first++, n++) {
        const struct iovec *piece = &way->out.pieces[way->out.first];
        assert_true(way->sent_len + piece->iov_len <= sizeof(way->sent));
        memcpy(way->sent + way->sent_len, piece->iov_base, piece->iov_len);
        way->sent_len += piece->iov_len;
    }
    way->n_pieces += n;
    way->n_framed += n == 1;
    th_body_written(&way->body);
    check_guards(way);
}

static void feed(struct way *way, const char *bytes, size_t len, size_t at_once)
{
    struct th_body *body = &way->body;

    while (len > 0) {
        char *tail = body->raw + body->raw_len;
        size_t room = (size_t)(way->room + way->room_size - tail);
        size_t n = len < at_once ? len : at_once;
        n = n < room ? n : room;
        assert_true(n > 0);
        memcpy(tail, bytes, n);
        th_body_received(body, n);
        bytes += n;
        len -= n;
        while (body->raw_len > 0 && !body->received) {
            assert_int_equal(th_body_decode(body), 0);
            pass(way);
        }
        if (body->received &&
            len > 0) { /* the next message's: read ahead as far as there is room */
            tail = body->raw + body->raw_len;
            room = (size_t)(way->room + way->room_size - tail);
            n = len < room ? len : room;
            memcpy(tail, bytes, n);
            th_body_received(body, n);
            return;
        }
    }
}

/* Strictly: what is sent must be chunks of `want`, and the last one if the body has ended. */
static void check_sent(const struct way *way, const char *want, bool ended)
{
    const char *at = way->sent, *end = way->sent + way->sent_len;
    size_t len = 0;

    while (at < end && *at != '0') {
        char *line_end;
        size_t size = strtoul(at, &line_end, 16);
        assert_true(line_end > at && line_end - at < TH_CHUNKED_LINE_MAX && size > 0);
        assert_memory_equal(line_end, "\r\n", 2);
        at = line_end + 2;
        assert_true((size_t)(end - at) >= size + 2 && len + size <= strlen(want));
        assert_memory_equal(at, want + len, size);
        assert_memory_equal(at + size, "\r\n", 2);
        at += size + 2;
        len += size;
    }
    assert_int_equal(len, strlen(want));
    assert_int_equal(end - at, ended ? 5 : 0);
    if (ended)
        assert_memory_equal(at, "0\r\n\r\n", 5);
}

static const char chunks[] = "1\r\na\r\n"
                             "1a;ext=\"x\"\r\nbcdefghijklmnopqrstuvwxyz0\r\n"
                             "0010\r\n1234567890ABCDEF\r\n"
                             "2\r\n\r\n\r\n"
                             "0\r\nTrailer: dropped\r\n\r\n";
static const char chunks_data[] = "abcdefghijklmnopqrstuvwxyz01234567890ABCDEF\r\n";

static void test_chunks_in_pieces_of_any_size(void **state)
{
    static const size_t rooms[] = {96, 1023, 1024, ROOM_MAX};
    static const size_t heads[] = {0, 3, 40};
    char message[sizeof(chunks) + sizeof(NEXT)];

    strcpy(message, chunks);
    strcat(message, NEXT);
    for (size_t r = 0; r < TH_COUNT_OF(rooms); r++)
        for (size_t h = 0; h < TH_COUNT_OF(heads); h++)
            for (size_t at_once = 1; at_once <= strlen(message); at_once++) {
                struct way way;
                set_out(&way, TH_FRAMING_CHUNKED, rooms[r], heads[h]);
                feed(&way, message, strlen(message), at_once);
                assert_true(way.body.received && way.body.queued);
                check_sent(&way, chunks_data, true);
                assert_int_equal(way.body.total, strlen(chunks_data));
                /* what follows is where it was, whatever was written behind the data */
                assert_true(way.body.raw_len <= strlen(NEXT));
                assert_memory_equal(way.body.raw, NEXT, way.body.raw_len);
            }
}

/* An event a receive: framed where it lies, but for the first, where there is no room before it. */
static void test_an_event_is_one_piece(void **state)
{
    struct way way;
    char want[1024] = "";

    set_out(&way, TH_FRAMING_CHUNKED, ROOM_MAX, 0);
    for (int i = 0; i < 10; i++) {
        feed(&way, "a\r\ndata: xyz\n\r\n", 15, 15);
        strcat(want, "data: xyz\n");
    }
    check_sent(&way, want, false);
    assert_int_equal(way.n_framed, 9);
    assert_int_equal(way.n_pieces, 3 + 9);
    feed(&way, "1\r\n!\r\n0\r\n\r\n", 11, 11);
    strcat(want, "!");
    check_sent(&way, want, true);
    assert_int_equal(way.n_framed, 10);
}

/* A room that is full to its last byte has none for the end of a chunk. */
static void test_until_close(void **state)
{
    static const size_t rooms[] = {100, 1024, 1500};

    for (size_t r = 0; r < TH_COUNT_OF(rooms); r++)
        for (size_t at_once = 1; at_once <= rooms[r] + 10; at_once += 7) {
            struct way way;
            char want[3001];
            for (size_t i = 0; i < 3000; i++)
                want[i] = (char)('a' + i % 26);
            want[at_once < 4 ? 300 : 3000] = '\0';
            set_out(&way, TH_FRAMING_CLOSE, rooms[r], 0);
            feed(&way, want, strlen(want), at_once);
            check_sent(&way, want, false);
            way.body.received = true;
            pass(&way);
            check_sent(&way, want, true);
        }
}

/* What is sent a second time lies elsewhere: nothing may be written around it. */
static void test_a_held_copy_is_left_alone(void **state)
{
    char copy[64];
    struct way way;

    memset(copy, '#', sizeof(copy));
    memcpy(copy + 30, "held", 4);
    set_out(&way, TH_FRAMING_CHUNKED, ROOM_MAX, 40);
    way.body.received = true;
    way.body.data = copy + 30;
    way.body.data_len = 4;
    pass(&way);
    check_sent(&way, "held", true);
    assert_int_equal(way.n_pieces, 3);
    assert_memory_equal(copy + 26, "####held####", 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks_in_pieces_of_any_size),
        cmocka_unit_test(test_an_event_is_one_piece),
        cmocka_unit_test(test_until_close),
        cmocka_unit_test(test_a_held_copy_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
