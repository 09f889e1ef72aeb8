/* Sessions, and what else comes without data of the application. */
#include "test_tls_meeting.h"
#include "tls_private.h"

#include <openssl/pem.h>
#include <pthread.h>
#include <time.h>

/* --- sessions and what else comes without data --- */

static bool connect_once(struct world *world, SSL_CTX *server, const char *host)
{
    struct meeting meeting;

    meeting_open(&meeting, world, server, host);
    shake_hands(&meeting);
    assert_talk(&meeting); /* the tickets come before the answer */
    bool resumed = th_stream_tls_is_resumed(&meeting.owner.stream);
    assert_int_equal(resumed, SSL_session_reused(meeting.peer.ssl));
    meeting_close(&meeting);
    return resumed;
}

/* Instead of the world's own, which knows sessions of other tests. Returns that. */
static struct th_tls_context *begin_context(struct world *world)
{
    struct th_tls_context *own = world->context;

    assert_int_equal(th_tls_context_new(th_str_of(world->ca_path), &world->context, NULL), 0);
    return own;
}

static void end_context(struct world *world, struct th_tls_context *own)
{
    th_tls_context_unref(world->context);
    world->context = own;
}

static void test_resumption(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct world *world = *state;

    for (size_t i = 0; i < TH_COUNT_OF(versions); i++) {
        struct th_tls_context *own = begin_context(world);
        SSL_CTX *server = peer_context_new(&world->good, versions[i], versions[i]);
        assert_false(connect_once(world, server, HOST));
        assert_true(connect_once(world, server, HOST));
        assert_true(connect_once(world, server, HOST));
        /* another host's sessions are its own, though the server would take them */
        assert_false(connect_once(world, server, "127.0.0.1"));
        pass(&world->bench, 59 * 60 * 1000);
        assert_true(connect_once(world, server, HOST));
        pass(&world->bench, 61 * 60 * 1000);
        assert_false(connect_once(world, server, HOST)); /* the certificate is looked at again */
        end_context(world, own);
        SSL_CTX_free(server);
    }
}

/* By how many connections a session was handed on: an hour after its certificate was looked at it ends. */
static void test_a_session_handed_on_grows_old(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct world *world = *state;

    for (size_t i = 0; i < TH_COUNT_OF(versions); i++) {
        struct th_tls_context *own = begin_context(world);
        SSL_CTX *server = peer_context_new(&world->good, versions[i], versions[i]);
        assert_false(connect_once(world, server, HOST));
        pass(&world->bench, 40 * 60 * 1000);
        for (int k = 0; k < 10; k++)
            assert_true(connect_once(world, server, HOST));
        pass(&world->bench, 21 * 60 * 1000);
        assert_false(connect_once(world, server, HOST));
        assert_true(connect_once(world, server, HOST));
        end_context(world, own);
        SSL_CTX_free(server);
    }
}

/* Nor is a ticket fresh that an old connection brings. */
static void test_a_late_ticket_is_as_old_as_its_connection(void **state)
{
    struct world *world = *state;
    struct th_tls_context *own = begin_context(world);
    struct meeting meeting;
    SSL_CTX *server = peer_context_new(&world->good, TLS1_3_VERSION, TLS1_3_VERSION);

    SSL_CTX_set_num_tickets(server, 0);
    meeting_open(&meeting, world, server, HOST);
    shake_hands(&meeting);
    assert_talk(&meeting);
    for (int late = 0; late < 2; late++) {
        pass(&world->bench, 50 * 60 * 1000);
        SSL_new_session_ticket(meeting.peer.ssl);
        SSL_do_handshake(meeting.peer.ssl);
        settle(&world->bench);
        assert_true(connect_once(world, server, HOST) == (late == 0));
    }
    meeting_close(&meeting);
    end_context(world, own);
    SSL_CTX_free(server);
}

/* OpenSSL verifies by the system's clock, and makes certificates by it. */
static void follow_time(struct world *world)
{
    world->bench.clock.fake_wall_ms = th_clock_wall_ms(&th_clock_system);
}

static void wait_until_s(time_t end)
{
    while (time(NULL) < end)
        usleep(20 * 1000);
}

static void assert_refused(struct world *world, SSL_CTX *server, const char *expected)
{
    struct meeting meeting;
    const char *reason;

    meeting_open(&meeting, world, server, HOST);
    for (int i = 0; i < 20; i++) {
        settle(&world->bench);
        peer_step(&meeting.peer);
    }
    assert_false(th_stream_tls_is_resumed(&meeting.owner.stream));
    assert_int_equal(th_stream_tls_error(&meeting.owner.stream, &reason), TH_E_ORIGIN_TLS);
    assert_non_null(strstr(reason, expected));
    meeting_close(&meeting);
}

/* What was valid for two seconds is taken up in these, and not after them. `lists`: NULL or a file. */
static void assert_ends_with(struct world *world, const struct identity *identity,
                             const char *ca_path, const char *lists, time_t end,
                             const char *expected)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    const struct th_tls_settings settings = {.ca_file = th_str_of(ca_path),
                                             .crl_file = th_str_of(lists)};
    struct th_tls_context *old = world->context, *contexts[2];
    SSL_CTX *servers[2];

    follow_time(world);
    for (size_t i = 0; i < 2; i++) {
        servers[i] = peer_context_new(identity, versions[i], versions[i]);
        assert_int_equal(th_tls_context_new_with(&settings, NULL, &contexts[i], NULL), 0);
        world->context = contexts[i];
        assert_false(connect_once(world, servers[i], HOST));
        assert_true(connect_once(world, servers[i], HOST));
    }
    assert_true(time(NULL) < end);
    wait_until_s(end + 1);
    follow_time(world);
    for (size_t i = 0; i < 2; i++) {
        world->context = contexts[i];
        assert_refused(world, servers[i], expected);
        th_tls_context_unref(contexts[i]);
        SSL_CTX_free(servers[i]);
    }
    world->context = old;
}

#define SHORT_S 3

static void test_a_session_ends_with_its_certificate(void **state)
{
    struct world *world = *state;
    struct identity_spec spec = {
        .cn = "x", .san = "DNS:" HOST, .issuer = &world->authority, .to = SHORT_S};
    time_t end = time(NULL) + SHORT_S;
    struct identity brief = identity_make(&spec);

    assert_ends_with(world, &brief, world->ca_path, NULL, end, "expired");
    identity_free(&brief);
}

/* The certificate outlives its authority, which ends the chain. */
static void test_a_session_ends_with_its_chain(void **state)
{
    struct world *world = *state;
    struct identity_spec authority = {.cn = "Brief CA", .authority = true, .to = SHORT_S};
    time_t end = time(NULL) + SHORT_S;
    struct identity issuer = identity_make(&authority);
    struct identity leaf = signed_by(&issuer, "x", "DNS:" HOST);
    char path[64];

    identity_write(&issuer, path);
    assert_ends_with(world, &leaf, path, NULL, end, "expired");
    unlink(path);
    identity_free(&issuer);
    identity_free(&leaf);
}

static void write_list(const struct identity *issuer, long from, long to, const char *mode,
                       const char *path)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *time = ASN1_TIME_new();
    FILE *file = fopen(path, mode);

    assert_non_null(file);
    X509_CRL_set_version(list, 1);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->certificate));
    X509_gmtime_adj(time, from);
    X509_CRL_set1_lastUpdate(list, time);
    X509_gmtime_adj(time, to);
    X509_CRL_set1_nextUpdate(list, time);
    assert_true(X509_CRL_sign(list, issuer->key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_X509_CRL(file, list), 1);
    fclose(file);
    ASN1_TIME_free(time);
    X509_CRL_free(list);
}

static void test_a_session_ends_with_the_list(void **state)
{
    struct world *world = *state;
    char lists[] = "/tmp/tokenhop-test-lists-XXXXXX";

    close(mkstemp(lists));
    time_t end = time(NULL) + SHORT_S;
    write_list(&world->authority, -7200, -3600, "w", lists); /* one that has run out before it */
    write_list(&world->authority, -60, SHORT_S, "a", lists);
    write_list(&world->other_authority, -60, 1, "a", lists); /* and a stranger's */
    assert_ends_with(world, &world->good, world->ca_path, lists, end, "run out");
    unlink(lists);
}

/* A TLS 1.3 ticket is used once: the second of two connections at one time has none. */
static void test_tickets_are_used_once(void **state)
{
    struct world *world = *state;
    struct th_tls_context *own = begin_context(world);
    struct meeting first, second;
    SSL_CTX *server = peer_context_new(&world->good, TLS1_3_VERSION, TLS1_3_VERSION);

    SSL_CTX_set_num_tickets(server, 1);
    assert_false(connect_once(world, server, HOST));
    meeting_open(&first, world, server, HOST);
    meeting_open(&second, world, server, HOST);
    for (int i = 0; i < 50; i++) {
        settle(&world->bench);
        peer_step(&first.peer);
        peer_step(&second.peer);
    }
    assert_true(th_stream_tls_is_resumed(&first.owner.stream));
    assert_false(th_stream_tls_is_resumed(&second.owner.stream));
    meeting_close(&first);
    meeting_close(&second);
    end_context(world, own);
    SSL_CTX_free(server);
}

static void test_a_refused_session_is_no_failure(void **state)
{
    struct world *world = *state;
    struct th_tls_context *own = begin_context(world);
    SSL_CTX *server = peer_context_new(&world->good, 0, 0);
    SSL_CTX *restarted = peer_context_new(&world->good, 0, 0); /* with ticket keys of its own */

    assert_false(connect_once(world, server, HOST));
    assert_false(connect_once(world, restarted, HOST));
    assert_true(connect_once(world, restarted, HOST));
    end_context(world, own);
    SSL_CTX_free(server);
    SSL_CTX_free(restarted);
}

static void test_tickets_on_an_idle_connection(void **state)
{
    struct world *world = *state;
    struct meeting meeting;
    SSL_CTX *server = peer_context_new(&world->good, TLS1_3_VERSION, TLS1_3_VERSION);
    int events;

    meeting_open(&meeting, world, server, HOST);
    shake_hands(&meeting);
    assert_talk(&meeting);
    events = meeting.owner.events;
    for (int i = 0; i < 2; i++) {
        SSL_new_session_ticket(meeting.peer.ssl);
        SSL_do_handshake(meeting.peer.ssl);
        settle(&world->bench);
    }
    assert_true(meeting.owner.events > events);
    assert_int_equal(meeting.owner.failed, 0);
    assert_int_equal(meeting.owner.ended, 0);
    assert_false(meeting.owner.stream.readable);
    meeting.owner.len = 0;
    assert_talk(&meeting);
    meeting_close(&meeting);
    SSL_CTX_free(server);
}

static void test_key_update(void **state)
{
    struct world *world = *state;
    struct meeting meeting;
    SSL_CTX *server = peer_context_new(&world->good, TLS1_3_VERSION, TLS1_3_VERSION);

    meeting_open(&meeting, world, server, HOST);
    shake_hands(&meeting);
    for (int i = 0; i < 3; i++) {
        SSL_key_update(meeting.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
        SSL_do_handshake(meeting.peer.ssl);
        settle(&world->bench);
        meeting.owner.len = 0;
        assert_talk(&meeting);
    }
    meeting_close(&meeting);
    SSL_CTX_free(server);
}

/* A peer that sends nothing but control records is not read for ever. */
static void test_control_records_without_end(void **state)
{
    struct world *world = *state;
    struct meeting meeting;
    SSL_CTX *server = peer_context_new(&world->good, TLS1_3_VERSION, TLS1_3_VERSION);

    meeting_open(&meeting, world, server, HOST);
    shake_hands(&meeting);
    assert_talk(&meeting);
    for (int i = 0; i < 100; i++) {
        SSL_key_update(meeting.peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(meeting.peer.ssl);
        settle(&world->bench);
    }
    assert_int_equal(meeting.owner.failed, TH_E_ORIGIN_TLS_PROTOCOL);
    meeting_close(&meeting);
    SSL_CTX_free(server);
}

/* TLS 1.2: a request to negotiate anew is answered by a refusal. */
static void test_no_renegotiation(void **state)
{
    struct world *world = *state;
    struct meeting meeting;
    char heard[16] = "";
    SSL_CTX *server = peer_context_new(&world->good, TLS1_2_VERSION, TLS1_2_VERSION);

    meeting_open(&meeting, world, server, HOST);
    shake_hands(&meeting);
    assert_int_equal(SSL_renegotiate(meeting.peer.ssl), 1);
    assert_int_equal(SSL_do_handshake(meeting.peer.ssl), 1); /* asks for it */
    settle(&world->bench);
    assert_int_equal(peer_hear(&meeting.peer, heard, sizeof(heard)), SSL_ERROR_SSL);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    meeting_close(&meeting);
    SSL_CTX_free(server);
}

/* One context, several workers: under the thread sanitizer too. */
static void *run_worker(void *arg)
{
    struct world world = *(const struct world *)arg; /* but with a worker of its own */

    bench_open(&world.bench, NULL, NULL);
    for (int i = 0; i < 25; i++)
        (void)connect_once(&world, world.server, i % 3 == 0 ? HOST : "127.0.0.1");
    bench_close(&world.bench);
    return NULL;
}

static void test_workers_share_a_context(void **state)
{
    struct world *world = *state;
    pthread_t threads[4];

    for (size_t i = 0; i < TH_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_worker, world), 0);
    for (size_t i = 0; i < TH_COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
}

/* No session goes beyond what was looked at when its certificate was verified, by the clock that is given. */
static void test_none_beyond_its_end(void **state)
{
    const struct th_tls_verified verified = {1000, 5000};
    const struct th_tls_time good = {1000, 4999}, over = {1000, 5000};
    SSL_SESSION *session = SSL_SESSION_new(), *taken;
    struct th_tls_verified known;
    struct th_tls_sessions sessions;

    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
    assert_int_equal(th_tls_sessions_init(&sessions), 0);
    th_tls_sessions_put(&sessions, TH_STR("h"), 443, session, &verified);
    th_tls_sessions_put(&sessions, TH_STR("h"), 443, session, &verified);
    taken = th_tls_sessions_take(&sessions, TH_STR("h"), 443, &good, &known);
    assert_non_null(taken);
    assert_int_equal(known.end_s, 5000);
    SSL_SESSION_free(taken);
    assert_null(th_tls_sessions_take(&sessions, TH_STR("h"), 443, &over, &known));
    assert_int_equal(sessions.table.n_items, 0);
    th_tls_sessions_fini(&sessions);
    SSL_SESSION_free(session);
}

/* The number of hosts is bounded; the one that was heard of least recently leaves. */
static void test_hosts_are_bounded(void **state)
{
    const struct th_tls_verified verified = {1000, INT64_MAX};
    SSL_SESSION *session = SSL_SESSION_new(), *taken;
    const struct th_tls_time now = {1000, 1};
    struct th_tls_verified known;
    struct th_tls_sessions sessions;
    char host[32];

    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
    assert_int_equal(th_tls_sessions_init(&sessions), 0);
    for (int i = 0; i < 1025; i++) {
        snprintf(host, sizeof(host), "h%d", i);
        th_tls_sessions_put(&sessions, th_str_of(host), 443, session, &verified);
    }
    assert_int_equal(sessions.table.n_items, 1024);
    assert_null(th_tls_sessions_take(&sessions, TH_STR("h0"), 443, &now, &known));
    assert_null(
        th_tls_sessions_take(&sessions, TH_STR("h1"), 444, &now, &known)); /* another port */
    for (int i = 0; i < 6; i++)
        th_tls_sessions_put(&sessions, TH_STR("h1"), 443, session, &verified);
    for (int i = 0; i < 5; i++) {
        taken = th_tls_sessions_take(&sessions, TH_STR("h1"), 443, &now, &known);
        assert_true((taken != NULL) == (i < 4));
        SSL_SESSION_free(taken);
    }
    assert_int_equal(sessions.table.n_items, 1023); /* nothing is kept of a host without one */
    th_tls_sessions_fini(&sessions);
    SSL_SESSION_free(session);
}

#ifdef TH_FAIL_ALLOC
static void test_memory_is_short(void **state)
{
    struct world *world = *state;

    for (unsigned long nth = 1; nth < 20; nth++) {
        struct meeting meeting;
        int fds[2];
        memset(&meeting, 0, sizeof(meeting));
        tcp_pair(fds);
        assert_int_equal(
            th_stream_init(&meeting.owner.stream, world->bench.worker, fds[0], on_owner), 0);
        th_mem_fail_after(nth, 1);
        int error = th_stream_start_tls(&meeting.owner.stream, world->context, TH_STR(HOST), 443);
        th_mem_fail_after(0, 0);
        assert_true(error == 0 || error == TH_E_NOMEM);
        th_stream_close(&meeting.owner.stream);
        close(fds[1]);
        if (error == 0)
            break;
        assert_true(nth < 19);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resumption),
        cmocka_unit_test(test_a_session_handed_on_grows_old),
        cmocka_unit_test(test_a_late_ticket_is_as_old_as_its_connection),
        cmocka_unit_test(test_a_session_ends_with_its_certificate),
        cmocka_unit_test(test_a_session_ends_with_its_chain),
        cmocka_unit_test(test_a_session_ends_with_the_list),
        cmocka_unit_test(test_tickets_are_used_once),
        cmocka_unit_test(test_a_refused_session_is_no_failure),
        cmocka_unit_test(test_tickets_on_an_idle_connection),
        cmocka_unit_test(test_key_update),
        cmocka_unit_test(test_control_records_without_end),
        cmocka_unit_test(test_no_renegotiation),
        cmocka_unit_test(test_workers_share_a_context),
        cmocka_unit_test(test_hosts_are_bounded),
        cmocka_unit_test(test_none_beyond_its_end),
#ifdef TH_FAIL_ALLOC
        cmocka_unit_test(test_memory_is_short),
#endif
    };
    return run_in_world("tls_session", tests, TH_COUNT_OF(tests));
}
