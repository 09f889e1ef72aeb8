/* What the tests of TLS streams share: an owner of a stream and a server that meet on one
 * thread, in a world with an authority that is trusted and one that is not. */
#ifndef TH_NET_TEST_TLS_MEETING_H
#define TH_NET_TEST_TLS_MEETING_H

#include "test_support.h"
#include "test_tls_peer.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

#include "tokenhop/base/check.h"
#include "tokenhop/net/init.h"
#include "tokenhop/net/tls.h"

#define HOST "agent2.test"

/* An owner that receives all it can, and a server, on one thread. */
struct owner {
    struct th_stream stream;
    int events;
    int events_early; /* while the handshake was under way */
    size_t room;      /* received at once */
    char *bytes;
    size_t len, size;
    int ended;  /* 0 was received */
    int failed; /* the error */
    bool idle;  /* does not receive */
};

struct world {
    struct bench bench;
    struct identity authority, other_authority, good;
    char ca_path[64];
    struct th_tls_context *context;
    SSL_CTX *server;
    bool nested; /* TLS inside of TLS */
};

struct meeting {
    struct world *world;
    struct owner owner;
    struct peer peer;
    SSL *outer; /* of the peer, where its own runs inside of that */
};

static inline void on_owner(struct th_stream *stream)
{
    struct owner *owner = TH_CONTAINER_OF(stream, struct owner, stream);

    owner->events++;
    owner->events_early += stream->handshaking;
    while (!owner->idle && !owner->ended && !owner->failed) {
        size_t room =
            owner->room < owner->size - owner->len ? owner->room : owner->size - owner->len;
        assert_true(room > 0);
        ssize_t n = th_stream_recv(stream, owner->bytes + owner->len, room);
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

static inline struct identity signed_by(const struct identity *issuer, const char *cn,
                                        const char *san)
{
    struct identity_spec spec = {.cn = cn, .san = san, .issuer = issuer};
    return identity_make(&spec);
}

static inline int world_open(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct identity_spec authority = {.cn = "Test CA", .authority = true};
    struct identity_spec other = {.cn = "Other CA", .authority = true};

    bench_open(&world->bench, NULL, NULL);
    world->authority = identity_make(&authority);
    world->other_authority = identity_make(&other);
    world->good = signed_by(&world->authority, "irrelevant", "DNS:" HOST ",IP:127.0.0.1,IP:::1");
    identity_write(&world->authority, world->ca_path);
    assert_int_equal(th_tls_context_new(th_str_of(world->ca_path), &world->context, NULL), 0);
    world->server = peer_context_new(&world->good, 0, 0);
    *state = world;
    return 0;
}

static inline int world_open_nested(void **state)
{
    int error = world_open(state);

    ((struct world *)*state)->nested = true;
    return error;
}

static inline int world_close(void **state)
{
    struct world *world = *state;

    SSL_CTX_free(world->server);
    th_tls_context_unref(world->context);
    identity_free(&world->authority);
    identity_free(&world->other_authority);
    identity_free(&world->good);
    unlink(world->ca_path);
    bench_close(&world->bench);
    free(world);
    return 0;
}

static inline void meeting_open(struct meeting *meeting, struct world *world, SSL_CTX *server,
                                const char *host)
{
    int fds[2], on = 1;

    memset(meeting, 0, sizeof(*meeting));
    meeting->world = world;
    meeting->owner.room = 64 * 1024;
    meeting->owner.size = 1024 * 1024;
    meeting->owner.bytes = calloc(1, meeting->owner.size);
    tcp_pair(fds);
    setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* as the dialer does */
    peer_open(&meeting->peer, server, fds[1]);
    assert_int_equal(th_stream_init(&meeting->owner.stream, world->bench.worker, fds[0], on_owner),
                     0);
    assert_int_equal(
        th_stream_start_tls(&meeting->owner.stream, world->context, th_str_of(host), 443), 0);
    assert_true(meeting->owner.stream.handshaking);
}

static inline void meeting_close(struct meeting *meeting)
{
    th_stream_close(&meeting->owner.stream);
    peer_close(&meeting->peer);
    SSL_free(meeting->outer);
    free(meeting->owner.bytes);
    settle(&meeting->world->bench);
}

static inline void take_turns(struct meeting *meeting)
{
    for (int i = 0; i < 50; i++) {
        settle(&meeting->world->bench);
        peer_step(&meeting->peer);
    }
    settle(&meeting->world->bench);
}

static inline void begin_inner(struct meeting *meeting)
{
    BIO *bio = BIO_new(BIO_f_ssl());

    meeting->outer = meeting->peer.ssl;
    BIO_set_ssl(bio, meeting->outer, BIO_NOCLOSE);
    meeting->peer.ssl = SSL_new(meeting->peer.ctx);
    SSL_set_bio(meeting->peer.ssl, bio, bio);
    SSL_set_accept_state(meeting->peer.ssl);
    SSL_set_app_data(meeting->peer.ssl, &meeting->peer);
    meeting->peer.done = false;
    assert_int_equal(
        th_stream_start_tls(&meeting->owner.stream, meeting->world->context, TH_STR(HOST), 443), 0);
}

/* Both sides have their turns until neither has anything to do. */
static inline void shake_hands(struct meeting *meeting)
{
    take_turns(meeting);
    if (meeting->world->nested) {
        begin_inner(meeting);
        take_turns(meeting);
        assert_true(meeting->peer.done);
    }
    assert_false(meeting->owner.stream.handshaking);
    assert_int_equal(meeting->owner.events_early, 0);
}

static inline void write_text(struct owner *owner, const char *text)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)text, 1},
                           {(void *)(uintptr_t)(text + 1), strlen(text) - 1}};

    assert_int_equal(th_stream_writev(&owner->stream, iov, 2), strlen(text));
}

static inline void assert_fine(const struct owner *owner)
{
    const char *reason;

    int error = th_stream_tls_error(&owner->stream, &reason);
    if (error != 0)
        fail_msg("%s: %s", th_error_get(error)->name, reason != NULL ? reason : "");
    assert_false(owner->stream.broken);
}

static inline void assert_talk(struct meeting *meeting)
{
    char heard[32] = "";

    assert_fine(&meeting->owner);
    write_text(&meeting->owner, "question");
    peer_hear(&meeting->peer, heard, sizeof(heard));
    assert_string_equal(heard, "question");
    peer_say(&meeting->peer, "answer");
    settle(&meeting->world->bench);
    assert_int_equal(meeting->owner.len, 6);
    assert_memory_equal(meeting->owner.bytes, "answer", 6);
    assert_int_equal(meeting->owner.failed, 0);
    assert_int_equal(meeting->owner.ended, 0);
}

static inline int run_in(const char *name, const struct CMUnitTest *tests, size_t n,
                         CMFixtureFunction open)
{
    int failed;

    if (th_net_global_init() < 0)
        return 1;
    failed = _cmocka_run_group_tests(name, tests, n, open, world_close);
    th_net_global_fini();
    return failed;
}

static inline int run_in_world(const char *name, const struct CMUnitTest *tests, size_t n)
{
    return run_in(name, tests, n, world_open);
}

/* Once more, inside of TLS. */
static inline int run_in_nested_world(const char *name, const struct CMUnitTest *tests, size_t n)
{
    return run_in(name, tests, n, world_open_nested);
}

#endif
