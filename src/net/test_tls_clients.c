/* The server's side and its clients' certificates: who is accepted, and for how long. */
#include "test_support.h"
#include "test_tls_peer.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/net/init.h"
#include "tokenhop/net/tls_server.h"

struct world {
    struct bench bench;
    struct identity authority, other, server;
    char *authorities; /* PEM */
    struct th_identity *own;
};

/* One handshake: the client has OpenSSL's own way. */
struct meeting {
    struct th_stream stream;
    SSL *client;
    bool client_done, client_failed;
    int fd;
};

static char *pem_of(X509 *certificate, X509_CRL *list, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes, *text;

    if (certificate != NULL)
        PEM_write_bio_X509(bio, certificate);
    if (list != NULL)
        PEM_write_bio_X509_CRL(bio, list);
    if (key != NULL)
        PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    long len = BIO_get_mem_data(bio, &bytes);
    text = calloc((size_t)len + 1, 1);
    assert_non_null(text);
    memcpy(text, bytes, (size_t)len);
    BIO_free(bio);
    return text;
}

static struct th_identity *own_of(const struct identity *identity)
{
    struct th_identity *own;
    char *certificate = pem_of(identity->certificate, NULL, NULL);
    char *key = pem_of(NULL, NULL, identity->key);

    assert_int_equal(th_identity_new(th_str_of(certificate), &own, NULL), 0);
    assert_int_equal(th_identity_set_key(own, th_str_of(key), NULL), 0);
    free(certificate);
    free(key);
    return own;
}

/* The list of an authority, until so many seconds from now. */
static char *list_of(const struct identity *authority, const struct identity *revoked, long until)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *time = X509_gmtime_adj(NULL, -3600);

    X509_CRL_set_version(list, 1);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(authority->certificate));
    X509_CRL_set1_lastUpdate(list, time);
    if (revoked != NULL) {
        X509_REVOKED *entry = X509_REVOKED_new();
        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->certificate));
        X509_REVOKED_set_revocationDate(entry, time);
        X509_CRL_add0_revoked(list, entry);
    }
    X509_CRL_set1_nextUpdate(list, X509_gmtime_adj(time, until));
    assert_true(X509_CRL_sign(list, authority->key, EVP_sha256()) > 0);
    char *text = pem_of(NULL, list, NULL);
    ASN1_TIME_free(time);
    X509_CRL_free(list);
    return text;
}

static void on_event(struct th_stream *stream)
{
    (void)stream;
}

static SSL_CTX *client_new(const struct identity *identity, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
    if (identity != NULL) {
        SSL_CTX_use_certificate(ctx, identity->certificate);
        SSL_CTX_use_PrivateKey(ctx, identity->key);
    }
    return ctx;
}

static void meet(struct world *world, struct th_tls_server *server, SSL_CTX *client,
                 SSL_SESSION *session, struct meeting *meeting)
{
    struct iovec answer = {(void *)(uintptr_t) "!", 1};
    int fds[2], on = 1;
    bool answered = false;
    char byte;

    memset(meeting, 0, sizeof(*meeting));
    tcp_pair(fds);
    setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    meeting->fd = fds[1];
    meeting->client = SSL_new(client);
    SSL_set_fd(meeting->client, fds[1]);
    if (session != NULL)
        SSL_set_session(meeting->client, session);
    SSL_set_connect_state(meeting->client);
    assert_int_equal(th_stream_init(&meeting->stream, world->bench.worker, fds[0], on_event), 0);
    assert_int_equal(th_stream_accept_tls(&meeting->stream, server, NULL, NULL), 0);
    for (int i = 0; i < 50; i++) {
        ERR_clear_error();
        if (!meeting->client_done)
            meeting->client_done = SSL_do_handshake(meeting->client) == 1;
        else /* takes in the answer with its ticket, or the alert */
            (void)SSL_read(meeting->client, &byte, 1);
        settle(&world->bench);
        if (!answered && !meeting->stream.handshaking && !meeting->stream.broken)
            answered = th_stream_writev(&meeting->stream, &answer, 1) == 1;
    }
}

static void part(struct world *world, struct meeting *meeting)
{
    th_stream_close(&meeting->stream);
    SSL_free(meeting->client);
    close(meeting->fd);
    settle(&world->bench);
}

static struct th_tls_server *server_new(struct world *world, enum th_tls_clients clients,
                                        const char *lists)
{
    const struct th_tls_server_settings settings = {
        .identity = world->own,
        .clients = clients,
        .client_authorities = th_str_of(world->authorities),
        .client_lists = th_str_of(lists),
    };
    struct th_tls_server *server;

    assert_int_equal(th_tls_server_new_with(&settings, &server, NULL), 0);
    assert_true(th_tls_server_has(server, &settings));
    return server;
}

static int world_open(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    const struct identity_spec authority = {.cn = "Clients' CA", .authority = true};
    const struct identity_spec other = {.cn = "Other CA", .authority = true};
    const struct identity_spec server = {.cn = "proxy", .san = "DNS:proxy.test"};

    bench_open(&world->bench, NULL, NULL);
    world->authority = identity_make(&authority);
    world->other = identity_make(&other);
    world->server = identity_make(&server);
    world->authorities = pem_of(world->authority.certificate, NULL, NULL);
    world->own = own_of(&world->server);
    *state = world;
    return 0;
}

static int world_close(void **state)
{
    struct world *world = *state;

    th_identity_unref(world->own);
    free(world->authorities);
    identity_free(&world->authority);
    identity_free(&world->other);
    identity_free(&world->server);
    bench_close(&world->bench);
    free(world);
    return 0;
}

/* --- who is accepted --- */

enum issuer { OWN, OTHER, ITSELF, NOBODY };

struct row {
    const char *name;
    enum issuer issuer; /* NOBODY: the client has no certificate */
    struct identity_spec spec;
    bool must_show;
    const char *reason; /* NULL: accepted */
};

static const struct row rows[] = {
    {"good", OWN, {.usage = "clientAuth"}, true, NULL},
    {"for both sides", OWN, {.usage = "serverAuth,clientAuth"}, true, NULL},
    {"none where one may be shown", NOBODY, {0}, false, NULL},
    {"none where one must be", NOBODY, {0}, true, "showed no certificate"},
    {"of another authority", OTHER, {.usage = "clientAuth"}, true, "not in client_ca_file"},
    {"of another, where none is needed",
     OTHER,
     {.usage = "clientAuth"},
     false,
     "not in client_ca_file"},
    {"self-signed", ITSELF, {.usage = "clientAuth"}, true, "self-signed"},
    {"expired", OWN, {.usage = "clientAuth", .from = -7200, .to = -60}, true, "has expired"},
    {"not yet valid",
     OWN,
     {.usage = "clientAuth", .from = 3600, .to = 7200},
     true,
     "not yet valid"},
    {"no usage said", OWN, {0}, true, "clientAuth"},
    {"for servers", OWN, {.usage = "serverAuth"}, true, "clientAuth"},
    {"for anything", OWN, {.usage = "anyExtendedKeyUsage"}, true, "clientAuth"},
    {"for mail", OWN, {.usage = "emailProtection"}, false, "clientAuth"},
};

static void check_row(struct world *world, const struct row *row, int version)
{
    const struct identity *const issuers[] = {&world->authority, &world->other, NULL};
    struct identity client = {0};
    struct identity_spec spec = row->spec;
    struct meeting meeting;
    const char *reason;
    struct th_tls_server *server = server_new(
        world, row->must_show ? TH_TLS_CLIENTS_MUST_SHOW : TH_TLS_CLIENTS_MAY_SHOW, NULL);

    if (row->issuer != NOBODY) {
        spec.cn = "agent";
        spec.issuer = issuers[row->issuer];
        client = identity_make(&spec);
    }
    SSL_CTX *ctx = client_new(client.certificate != NULL ? &client : NULL, version);
    meet(world, server, ctx, NULL, &meeting);
    int error = th_stream_tls_error(&meeting.stream, &reason);
    X509 *shown = th_stream_tls_client(&meeting.stream);
    if (row->reason == NULL) {
        if (error != 0 || meeting.stream.handshaking)
            fail_msg("%s: refused: %s", row->name, reason != NULL ? reason : "");
        assert_true((shown != NULL) == (row->issuer != NOBODY));
        assert_true(shown == NULL || X509_cmp(shown, client.certificate) == 0);
    } else if (error != TH_E_CLIENT_TLS || reason == NULL || strstr(reason, row->reason) == NULL) {
        fail_msg("%s: %d %s", row->name, error, reason != NULL ? reason : "");
    }
    part(world, &meeting);
    SSL_CTX_free(ctx);
    th_tls_server_unref(server);
    identity_free(&client);
}

static void test_who_is_accepted(void **state)
{
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        check_row(*state, &rows[i], TLS1_2_VERSION);
        check_row(*state, &rows[i], TLS1_3_VERSION);
    }
}

static void test_who_is_revoked(void **state)
{
    struct world *world = *state;
    const struct identity_spec spec = {
        .cn = "agent", .usage = "clientAuth", .issuer = &world->authority};
    struct identity client = identity_make(&spec), other = identity_make(&spec);
    char *lists[] = {list_of(&world->authority, &other, 3600),
                     list_of(&world->authority, &client, 3600),
                     list_of(&world->authority, NULL, -60), list_of(&world->other, &client, 3600)};
    static const char *const reasons[] = {NULL, "has been revoked", "has run out",
                                          NULL /* no list of its authority */};
    SSL_CTX *ctx = client_new(&client, TLS1_3_VERSION);

    for (size_t i = 0; i < TH_COUNT_OF(lists); i++) {
        struct th_tls_server *server = server_new(world, TH_TLS_CLIENTS_MUST_SHOW, lists[i]);
        struct meeting meeting;
        const char *reason;
        meet(world, server, ctx, NULL, &meeting);
        int error = th_stream_tls_error(&meeting.stream, &reason);
        if (reasons[i] == NULL)
            assert_int_equal(error, 0);
        else
            assert_non_null(strstr(reason, reasons[i]));
        part(world, &meeting);
        th_tls_server_unref(server);
        free(lists[i]);
    }
    SSL_CTX_free(ctx);
    identity_free(&client);
    identity_free(&other);
}

/* --- for how long --- */

/* The session's ticket comes with the first bytes of an answer: by itself it would be a packet more, and wake
 * the client for nothing. */
static void test_the_ticket_comes_with_the_answer(void **state)
{
    struct world *world = *state;
    struct th_tls_server *server = server_new(world, TH_TLS_CLIENTS_ANY, NULL);
    SSL_CTX *ctx = client_new(NULL, TLS1_3_VERSION);
    struct iovec answer = {(void *)(uintptr_t) "an answer", 9};
    char bytes[4096];
    int fds[2], on = 1, n = 0;
    struct th_stream stream;
    SSL *client = SSL_new(ctx);

    tcp_pair(fds);
    setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    SSL_set_fd(client, fds[1]);
    SSL_set_connect_state(client);
    assert_int_equal(th_stream_init(&stream, world->bench.worker, fds[0], on_event), 0);
    assert_int_equal(th_stream_accept_tls(&stream, server, NULL, NULL), 0);
    while (SSL_do_handshake(client) != 1 || stream.handshaking)
        settle(&world->bench);
    assert_string_equal(SSL_get_cipher(client), "TLS_AES_128_GCM_SHA256");
    assert_int_equal(recv(fds[1], bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT), -1);
    /* Half of what the client says is still in OpenSSL's buffer when the answer goes out. */
    assert_int_equal(SSL_write(client, "a question", 10), 10);
    for (n = 0; n <= 0;) {
        settle(&world->bench);
        n = (int)th_stream_recv(&stream, bytes, 4);
    }
    assert_memory_equal(bytes, "a qu", 4);
    assert_int_equal(th_stream_writev(&stream, &answer, 1), 9);
    assert_true(stream.writable);
    assert_int_equal(th_stream_recv(&stream, bytes, sizeof(bytes)), 6);
    assert_memory_equal(bytes, "estion", 6);
    n = 0;
    for (int i = 0; i < 100 && n <= 0; i++) {
        settle(&world->bench);
        n = SSL_read(client, bytes, sizeof(bytes));
    }
    assert_int_equal(n, 9);
    assert_memory_equal(bytes, "an answer", 9);
    assert_true(SSL_SESSION_is_resumable(SSL_get0_session(client)));
    /* One ticket: the next answer comes alone. */
    SSL_SESSION *session = SSL_get0_session(client);
    assert_int_equal(th_stream_writev(&stream, &answer, 1), 9);
    for (n = 0; n <= 0;)
        n = SSL_read(client, bytes, sizeof(bytes));
    assert_ptr_equal(SSL_get0_session(client), session);
    th_stream_close(&stream);
    SSL_free(client);
    close(fds[1]);
    settle(&world->bench);
    SSL_CTX_free(ctx);
    th_tls_server_unref(server);
}

/* Meets, and says whether the session was taken up; *session is the newest of the client from then on. */
static bool take_up(struct world *world, struct th_tls_server *server, SSL_CTX *ctx,
                    SSL_SESSION **session, int *ret_error)
{
    struct meeting meeting;
    const char *reason;

    meet(world, server, ctx, *session, &meeting);
    bool resumed = th_stream_tls_is_resumed(&meeting.stream);
    *ret_error = th_stream_tls_error(&meeting.stream, &reason);
    if (*ret_error == 0) {
        assert_int_equal(resumed, SSL_session_reused(meeting.client));
        assert_non_null(th_stream_tls_client(&meeting.stream));
        SSL_SESSION_free(*session);
        *session = SSL_get1_session(meeting.client);
    }
    SSL_set_shutdown(meeting.client, SSL_SENT_SHUTDOWN); /* else the session is given up */
    part(world, &meeting);
    return resumed;
}

static void test_a_session_stands_for_its_certificate(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct world *world = *state;

    for (size_t i = 0; i < TH_COUNT_OF(versions); i++) {
        const struct identity_spec spec = {
            .cn = "agent", .usage = "clientAuth", .issuer = &world->authority, .to = 2};
        struct identity client = identity_make(&spec);
        struct th_tls_server *server = server_new(world, TH_TLS_CLIENTS_MUST_SHOW, NULL);
        struct th_tls_server *another = server_new(world, TH_TLS_CLIENTS_MUST_SHOW, NULL);
        SSL_CTX *ctx = client_new(&client, versions[i]);
        SSL_SESSION *session = NULL;
        int error;

        assert_false(take_up(world, server, ctx, &session, &error));
        assert_int_equal(error, 0);
        assert_true(take_up(world, server, ctx, &session, &error));
        assert_true(take_up(world, server, ctx, &session, &error));
        assert_int_equal(error, 0);
        SSL_SESSION *other_session = SSL_SESSION_dup(session);
        assert_false(take_up(world, another, ctx, &other_session, &error));
        SSL_SESSION_free(other_session);
        while (X509_cmp_current_time(X509_get0_notAfter(client.certificate)) > 0)
            poll(NULL, 0, 20);
        /* The certificate has expired: the ticket is not taken, and neither is the certificate. */
        assert_false(take_up(world, server, ctx, &session, &error));
        assert_int_equal(error, TH_E_CLIENT_TLS);
        SSL_SESSION_free(session);
        SSL_CTX_free(ctx);
        th_tls_server_unref(server);
        th_tls_server_unref(another);
        identity_free(&client);
    }
}

/* A copy, as the client may come back with a ticket that it has shown already. */
static bool takes_up(struct world *world, struct th_tls_server *server, SSL_CTX *ctx,
                     const SSL_SESSION *session, SSL_SESSION **ret_next)
{
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    int error;

    bool resumed = take_up(world, server, ctx, &copy, &error);
    assert_int_equal(error, 0);
    if (ret_next != NULL)
        *ret_next = copy;
    else
        SSL_SESSION_free(copy);
    return resumed;
}

/* Two at most, and none that no session can be of any more. */
static void test_ticket_keys_are_turned(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const int64_t hour = (int64_t)60 * 60 * 1000, start = 1000;
    struct world *world = *state;

    for (size_t i = 0; i < TH_COUNT_OF(versions); i++) {
        const struct identity_spec spec = {
            .cn = "agent", .usage = "clientAuth", .issuer = &world->authority};
        struct identity client = identity_make(&spec);
        size_t others = th_secret_bytes_held();
        struct th_tls_server *server = server_new(world, TH_TLS_CLIENTS_MUST_SHOW, NULL);
        size_t one = th_secret_bytes_held() - others;
        SSL_CTX *ctx = client_new(&client, versions[i]);
        SSL_SESSION *first = NULL, *second = NULL;
        int error;

        assert_true(one > 0);
        th_tls_server_turn_keys(server, start);
        assert_false(take_up(world, server, ctx, &first, &error));
        th_tls_server_turn_keys(server, start + 12 * hour - 1);
        assert_true(takes_up(world, server, ctx, first, NULL));
        assert_int_equal(th_secret_bytes_held() - others, one);
        th_tls_server_turn_keys(server, start + 12 * hour);
        assert_int_equal(th_secret_bytes_held() - others, 2 * one);
        assert_true(takes_up(world, server, ctx, first, &second)); /* and is given one of the new */
        th_tls_server_turn_keys(server, start + 14 * hour - 1);
        assert_true(takes_up(world, server, ctx, first, NULL));
        th_tls_server_turn_keys(server, start + 14 * hour);
        assert_int_equal(th_secret_bytes_held() - others, one);
        assert_false(takes_up(world, server, ctx, first, NULL));
        assert_true(takes_up(world, server, ctx, second, NULL));
        th_tls_server_turn_keys(server, start + 100 * hour); /* nobody was there for long */
        assert_true(takes_up(world, server, ctx, second, NULL));
        th_tls_server_turn_keys(server, start + 200 * hour);
        assert_false(takes_up(world, server, ctx, second, NULL));
        assert_int_equal(th_secret_bytes_held() - others, 2 * one);
        th_tls_server_unref(server);
        assert_int_equal(th_secret_bytes_held(), others);
        SSL_SESSION_free(first);
        SSL_SESSION_free(second);
        SSL_CTX_free(ctx);
        identity_free(&client);
    }
}

struct turner {
    struct th_tls_server *server;
    atomic_bool stop;
};

static void *turn_on_and_on(void *arg)
{
    struct turner *turner = arg;

    for (int64_t now_ms = 0; !atomic_load(&turner->stop); now_ms += (int64_t)3600 * 1000)
        th_tls_server_turn_keys(turner->server, now_ms);
    return NULL;
}

/* Whatever another worker does meanwhile: it is taken up or not, and never fails. */
static void test_ticket_keys_are_turned_by_another_thread(void **state)
{
    struct world *world = *state;
    const struct identity_spec spec = {
        .cn = "agent", .usage = "clientAuth", .issuer = &world->authority};
    struct identity client = identity_make(&spec);
    struct turner turner = {.server = server_new(world, TH_TLS_CLIENTS_MUST_SHOW, NULL)};
    SSL_CTX *ctx = client_new(&client, TLS1_3_VERSION);
    SSL_SESSION *session = NULL;
    pthread_t thread;
    int error;

    assert_int_equal(pthread_create(&thread, NULL, turn_on_and_on, &turner), 0);
    for (int i = 0; i < 20; i++) {
        (void)take_up(world, turner.server, ctx, &session, &error);
        assert_int_equal(error, 0);
    }
    atomic_store(&turner.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    th_tls_server_unref(turner.server);
    identity_free(&client);
}

static void test_what_cannot_be_used(void **state)
{
    struct world *world = *state;
    char *list = list_of(&world->authority, NULL, 3600);
    struct th_tls_server_settings settings = {.identity = world->own,
                                              .clients = TH_TLS_CLIENTS_MAY_SHOW};
    struct th_tls_server *server;
    struct th_errinfo info = {0};

    assert_int_equal(th_tls_server_new_with(&settings, &server, &info), TH_E_CONFIG);
    settings.client_authorities = TH_STR("-----BEGIN CERTIFICATE-----\nAAAA\n"
                                         "-----END CERTIFICATE-----\n");
    assert_int_equal(th_tls_server_new_with(&settings, &server, &info), TH_E_CONFIG);
    settings.client_authorities = th_str_of(world->authorities);
    settings.client_lists = th_str_of(world->authorities);
    assert_int_equal(th_tls_server_new_with(&settings, &server, &info), TH_E_CONFIG);
    settings.client_lists = th_str_of(list);
    assert_int_equal(th_tls_server_new_with(&settings, &server, &info), 0);
    settings.client_lists = TH_STR_NONE;
    assert_false(th_tls_server_has(server, &settings));
    th_tls_server_unref(server);
    free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_accepted),
        cmocka_unit_test(test_who_is_revoked),
        cmocka_unit_test(test_the_ticket_comes_with_the_answer),
        cmocka_unit_test(test_a_session_stands_for_its_certificate),
        cmocka_unit_test(test_ticket_keys_are_turned),
        cmocka_unit_test(test_ticket_keys_are_turned_by_another_thread),
        cmocka_unit_test(test_what_cannot_be_used),
    };

    if (th_net_global_init() < 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, world_open, world_close);
    th_net_global_fini();
    return failed;
}
