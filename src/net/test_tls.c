/* Handshakes: who is trusted, and what ends them. */
#include "test_tls_meeting.h"

/* --- who is trusted --- */

static int pick_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                         const unsigned char *in, unsigned in_len, void *arg)
{
    const char *wanted = arg;

    if (wanted != NULL) { /* offered or not */
        *out = (const unsigned char *)wanted;
        *out_len = (unsigned char)strlen(wanted);
        return SSL_TLSEXT_ERR_OK;
    }
    assert_int_equal(in_len, 9);
    assert_memory_equal(in, "\x08http/1.1", 9);
    *out = in + 1;
    *out_len = 8;
    return SSL_TLSEXT_ERR_OK;
}

static void test_r19_good(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct world *world = *state;

    for (size_t i = 0; i < TH_COUNT_OF(versions); i++) {
        SSL_CTX *server = peer_context_new(&world->good, versions[i], versions[i]);
        struct meeting meeting;
        SSL_CTX_set_alpn_select_cb(server, pick_protocol, NULL);
        meeting_open(&meeting, world, server, HOST);
        shake_hands(&meeting);
        assert_string_equal(meeting.peer.name, HOST);
        assert_true(meeting.owner.events >= 1);
        assert_false(th_stream_tls_is_resumed(&meeting.owner.stream));
        assert_talk(&meeting);
        meeting_close(&meeting);
        SSL_CTX_free(server);
    }
}

/* An address: by its own kind of subjectAltName, and no SNI (RFC 6066, 3). */
static void test_r19_address(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    struct world *world = *state;

    for (size_t i = 0; i < TH_COUNT_OF(hosts); i++) {
        struct meeting meeting;
        meeting_open(&meeting, world, world->server, hosts[i]);
        shake_hands(&meeting);
        assert_string_equal(meeting.peer.name, "");
        assert_talk(&meeting);
        meeting_close(&meeting);
    }
}

static void test_r19_wildcard_is_one_label(void **state)
{
    static const struct {
        const char *host;
        bool good;
    } rows[] = {{"a.wild.test", true}, {"a.b.wild.test", false}, {"wild.test", false}};
    struct world *world = *state;
    struct identity identity = signed_by(&world->authority, "x", "DNS:*.wild.test");
    SSL_CTX *server = peer_context_new(&identity, 0, 0);

    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct meeting meeting;
        const char *reason;
        meeting_open(&meeting, world, server, rows[i].host);
        shake_hands(&meeting);
        assert_int_equal(th_stream_tls_error(&meeting.owner.stream, &reason),
                         rows[i].good ? 0 : TH_E_ORIGIN_TLS);
        meeting_close(&meeting);
    }
    SSL_CTX_free(server);
    identity_free(&identity);
}

/* Who issued it, in the rows below. */
enum issuer { OURS, OTHER, ITSELF };

static const struct refusal {
    const char *name;
    const char *host;
    struct identity_spec spec;
    enum issuer issuer;
    int max_version;
    const char *protocol;
    int error;
    const char *reason;
} refusals[] = {
    {.name = "expired",
     .spec = {.cn = "x", .san = "DNS:" HOST, .from = -7200, .to = -3600},
     .error = TH_E_ORIGIN_TLS,
     .reason = "has expired"},
    {.name = "not yet valid",
     .spec = {.cn = "x", .san = "DNS:" HOST, .from = 3600, .to = 7200},
     .error = TH_E_ORIGIN_TLS,
     .reason = "not yet valid"},
    {.name = "another name",
     .spec = {.cn = HOST, .san = "DNS:agent3.test"},
     .error = TH_E_ORIGIN_TLS,
     .reason = "another name"},
    {.name = "the name in CN alone",
     .spec = {.cn = HOST},
     .error = TH_E_ORIGIN_TLS,
     .reason = "another name"},
    {.name = "the name in CN, an address in SAN",
     .spec = {.cn = HOST, .san = "IP:127.0.0.1"},
     .error = TH_E_ORIGIN_TLS,
     .reason = "another name"},
    {.name = "another address",
     .host = "127.0.0.2",
     .spec = {.cn = "127.0.0.2", .san = "IP:127.0.0.1"},
     .error = TH_E_ORIGIN_TLS,
     .reason = "not for this address"},
    {.name = "an address written as a name",
     .host = "127.0.0.1",
     .spec = {.cn = "127.0.0.1", .san = "DNS:127.0.0.1"},
     .error = TH_E_ORIGIN_TLS,
     .reason = "not for this address"},
    {.name = "unknown authority",
     .spec = {.cn = "x", .san = "DNS:" HOST},
     .issuer = OTHER,
     .error = TH_E_ORIGIN_TLS,
     .reason = "unknown authority"},
    {.name = "self-signed",
     .spec = {.cn = "x", .san = "DNS:" HOST},
     .issuer = ITSELF,
     .error = TH_E_ORIGIN_TLS,
     .reason = "self-signed"},
    {.name = "a client's certificate",
     .spec = {.cn = "x", .san = "DNS:" HOST, .for_clients = true},
     .error = TH_E_ORIGIN_TLS,
     .reason = "not for a server"},
    {.name = "TLS 1.1 at most",
     .spec = {.cn = "x", .san = "DNS:" HOST},
     .max_version = TLS1_1_VERSION,
     .error = TH_E_ORIGIN_TLS_PROTOCOL,
     .reason = "no TLS of version 1.2"},
    {.name = "a protocol that was not offered",
     .spec = {.cn = "x", .san = "DNS:" HOST},
     .protocol = "h2",
     .error = TH_E_ORIGIN_TLS_PROTOCOL,
     .reason = ""}, /* of OpenSSL, or our own where its version lets it pass */
};

static void refuse_one(struct world *world, const struct refusal *row, int version)
{
    struct identity_spec spec = row->spec;
    struct meeting meeting;
    char heard[32] = "";
    const char *reason = "";
    struct iovec iov = {(void *)(uintptr_t) "secret", 6};

    spec.issuer = row->issuer == OURS    ? &world->authority
                  : row->issuer == OTHER ? &world->other_authority
                                         : NULL;
    struct identity identity = identity_make(&spec);
    SSL_CTX *server = peer_context_new(&identity, row->max_version != 0 ? TLS1_VERSION : version,
                                       row->max_version != 0 ? row->max_version : version);
    if (row->protocol != NULL)
        SSL_CTX_set_alpn_select_cb(server, pick_protocol, (void *)(uintptr_t)row->protocol);
    meeting_open(&meeting, world, server, row->host != NULL ? row->host : HOST);
    shake_hands(&meeting);
    int error = th_stream_tls_error(&meeting.owner.stream, &reason);
    if (error != row->error || reason == NULL || strstr(reason, row->reason) == NULL)
        fail_msg("%s: %s, %s", row->name, th_error_get(error)->name, reason);
    assert_true(meeting.owner.stream.broken);
    assert_int_equal(meeting.owner.events, 1);
    /* not a byte of the application leaves, whatever the owner does */
    assert_int_equal(th_stream_writev(&meeting.owner.stream, &iov, 1), TH_E_ORIGIN_CLOSED);
    peer_hear(&meeting.peer, heard, sizeof(heard));
    assert_string_equal(heard, "");
    meeting_close(&meeting);
    SSL_CTX_free(server);
    identity_free(&identity);
}

static void test_r19_refused(void **state)
{
    for (size_t i = 0; i < TH_COUNT_OF(refusals); i++) {
        refuse_one(*state, &refusals[i], TLS1_3_VERSION);
        refuse_one(*state, &refusals[i], TLS1_2_VERSION);
    }
}

/* The system's certificates do not hold our authority. */
static void test_r19_authority_of_no_file(void **state)
{
    struct world *world = *state;
    struct th_tls_context *with_file = world->context;
    struct meeting meeting;
    const char *reason = "";

    assert_int_equal(th_tls_context_new(TH_STR_NONE, &world->context, NULL), 0);
    meeting_open(&meeting, world, world->server, HOST);
    shake_hands(&meeting);
    assert_int_equal(th_stream_tls_error(&meeting.owner.stream, &reason), TH_E_ORIGIN_TLS);
    assert_non_null(strstr(reason, "unknown authority"));
    meeting_close(&meeting);
    th_tls_context_unref(world->context);
    world->context = with_file;
}

static void test_unusable_ca_file(void **state)
{
    struct th_tls_context *context = NULL;
    struct th_errinfo info = {0};

    assert_int_equal(th_tls_context_new(TH_STR("/nowhere/ca.pem"), &context, &info), TH_E_CONFIG);
    assert_string_equal(info.where, "/nowhere/ca.pem");
    assert_int_equal(th_tls_context_new(TH_STR("/dev/null"), &context, NULL), TH_E_CONFIG);
    assert_null(context);
    assert_int_equal(ERR_peek_error(), 0);
}

/* --- handshakes that do not come to an end --- */

static void end_handshake(struct world *world, const char *bytes, bool reset, const char *wanted)
{
    struct meeting meeting;
    const char *reason = "";

    meeting_open(&meeting, world, NULL, HOST);
    settle(&world->bench);
    if (bytes != NULL)
        assert_int_equal(write(meeting.peer.fd, bytes, strlen(bytes)), strlen(bytes));
    if (reset)
        reset_fd(meeting.peer.fd);
    else
        shutdown(meeting.peer.fd, SHUT_WR);
    if (reset)
        meeting.peer.fd = -1;
    settle(&world->bench);
    pass(&world->bench, 1016); /* what came together with a reset has no edge of its own */
    assert_false(meeting.owner.stream.handshaking);
    assert_int_equal(th_stream_tls_error(&meeting.owner.stream, &reason), TH_E_ORIGIN_TLS_PROTOCOL);
    assert_non_null(strstr(reason, wanted));
    assert_int_equal(meeting.owner.events, 1);
    meeting_close(&meeting);
}

static void test_handshake_is_broken_off(void **state)
{
    end_handshake(*state, NULL, false, "closed the connection");
    end_handshake(*state, NULL, true, "closed the connection");
    end_handshake(*state, "\x16\x03\x03", false, "closed the connection");
    end_handshake(*state, "\x16\x03\x03", true, "closed the connection");
    end_handshake(*state, "HTTP/1.1 400 Bad Request\r\n\r\n", false, "does not speak TLS");
    end_handshake(*state, "SSH-2.0-OpenSSH_9.2\r\n", false, "does not speak TLS");
}

static void test_alerts(void **state)
{
    static const struct {
        unsigned char number;
        const char *reason;
    } rows[] = {{40, "accepts none of the parameters"},
                {112, "does not serve this name"},
                {70, "no TLS of version 1.2"},
                {80, "refused the TLS handshake"}};
    struct world *world = *state;

    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        unsigned char alert[7] = {21, 3, 3, 0, 2, 2, rows[i].number};
        struct meeting meeting;
        const char *reason = "";
        meeting_open(&meeting, world, NULL, HOST);
        settle(&world->bench);
        assert_int_equal(write(meeting.peer.fd, alert, sizeof(alert)), sizeof(alert));
        settle(&world->bench);
        assert_int_equal(th_stream_tls_error(&meeting.owner.stream, &reason),
                         TH_E_ORIGIN_TLS_PROTOCOL);
        assert_non_null(strstr(reason, rows[i].reason));
        meeting_close(&meeting);
    }
}

static void test_closed_in_the_middle_of_a_handshake(void **state)
{
    struct world *world = *state;
    struct meeting meeting;

    meeting_open(&meeting, world, world->server, HOST);
    settle(&world->bench);
    peer_step(&meeting.peer);
    meeting_close(&meeting); /* with the server's flight on its way */
    assert_int_equal(meeting.owner.events, 0);
}

/* The server wants a certificate: in TLS 1.3 it says so only after the handshake. */
static void test_client_certificate_is_wanted(void **state)
{
    struct world *world = *state;
    struct meeting meeting;
    const char *reason = "";

    SSL_CTX *server = peer_context_new(&world->good, TLS1_3_VERSION, TLS1_3_VERSION);
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    meeting_open(&meeting, world, server, HOST);
    shake_hands(&meeting);
    assert_int_equal(meeting.owner.failed, TH_E_ORIGIN_TLS_PROTOCOL);
    assert_int_equal(th_stream_tls_error(&meeting.owner.stream, &reason), TH_E_ORIGIN_TLS_PROTOCOL);
    assert_non_null(strstr(reason, "client certificate"));
    meeting_close(&meeting);
    SSL_CTX_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_r19_good),
        cmocka_unit_test(test_r19_address),
        cmocka_unit_test(test_r19_wildcard_is_one_label),
        cmocka_unit_test(test_r19_refused),
        cmocka_unit_test(test_r19_authority_of_no_file),
        cmocka_unit_test(test_unusable_ca_file),
        cmocka_unit_test(test_handshake_is_broken_off),
        cmocka_unit_test(test_alerts),
        cmocka_unit_test(test_closed_in_the_middle_of_a_handshake),
        cmocka_unit_test(test_client_certificate_is_wanted),
    };
    return run_in_world("tls", tests, TH_COUNT_OF(tests));
}
