/* What may be switched to: of what clients ask for, and of what servers answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tokenhop/base/check.h"
#include "upgrade.h"

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define WEBSOCKET "Connection: Upgrade\r\nUpgrade: websocket\r\n" KEY VERSION
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define ASK(names) "Connection: Upgrade\r\nUpgrade: " names "\r\n"
#define EIGHT "a, b, c, d, e, f, g, h"

struct message {
    struct th_head head;
    struct th_field fields[40];
    char text[2000];
};

static void parse(struct message *m, const char *line, const char *fields)
{
    static const struct th_http1_limits limits = {65536, 40};
    size_t scanned = 0;
    int len = snprintf(m->text, sizeof m->text, "%s%s\r\n", line, fields);

    assert_in_range(len, 1, sizeof m->text - 1);
    m->head = (struct th_head){.fields = m->fields, .max_fields = 40};
    assert_int_equal(
        strncmp(line, "HTTP", 4) == 0
            ? th_http1_parse_response(&m->head, m->text, (size_t)len, &scanned, &limits,
                                      TH_METHOD_GET)
            : th_http1_parse_request(&m->head, m->text, (size_t)len, &scanned, &limits),
        0);
}

/* --- requests --- */

static const struct ask {
    const char *fields;
    const char *passed; /* NULL: nothing */
    const char *method; /* NULL: GET */
} asks[] = {
    {WEBSOCKET, "websocket"},
    {"Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n" KEY VERSION, "WebSocket"},
    {"Upgrade: websocket\r\n" KEY VERSION "Connection: UPGRADE\r\n", "websocket"},
    {WEBSOCKET "Upgrade: foo\r\n", "websocket, foo"},
    {ASK("h2c, websocket") KEY VERSION, "websocket"},
    {ASK("foo/1.0"), "foo/1.0"},
    {ASK("foo") "Expect: 100-continue\r\n", "foo", "POST"},
    {ASK("connect-udp"), "connect-udp"},
    {ASK(EIGHT), EIGHT},

    {"", NULL},
    {"Upgrade: foo\r\n", NULL},
    {"Connection: Upgrade\r\n", NULL},
    {ASK(""), NULL},
    {ASK(","), NULL},
    {ASK(EIGHT ", i"), NULL},
    {ASK("h2c"), NULL},
    {ASK("H2C"), NULL},
    {ASK("h2c/1"), NULL},
    {ASK("h2"), NULL},
    {ASK("HTTP/2.0"), NULL},
    {ASK("http/3"), NULL},
    {ASK("TLS/1.0"), NULL},
    {ASK("tls"), NULL},
    {ASK("foo bar"), NULL},
    {ASK("\"foo\""), NULL},
    {ASK("foo;q=1"), NULL},
    {ASK("foo/1/2"), NULL},
    {ASK("h2c\tfoo"), NULL},
    {WEBSOCKET, NULL, "POST"},
    {WEBSOCKET, NULL, "HEAD"},
    {ASK("websocket") KEY, NULL},
    {ASK("websocket") VERSION, NULL},
    {WEBSOCKET KEY, NULL},
    {WEBSOCKET VERSION, NULL},
    {WEBSOCKET "Connection: Sec-WebSocket-Key\r\n", NULL},
    {ASK("websocket") VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n", NULL},
    {ASK("websocket") VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ===\r\n", NULL},
    {ASK("websocket") VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQQQ\r\n", NULL},
    {ASK("websocket") VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25*ZQ==\r\n", NULL},
};

static void what_is_asked(void **state)
{
    static struct message m;
    char room[400];
    struct th_writer w;

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(asks); i++) {
        const struct ask *ask = &asks[i];
        char line[80], expected[400] = "";
        snprintf(line, sizeof line, "%s / HTTP/1.1\r\nHost: h\r\n",
                 ask->method != NULL ? ask->method : "GET");
        parse(&m, line, ask->fields);
        if (ask->passed != NULL)
            snprintf(expected, sizeof expected, "Connection: Upgrade\r\nUpgrade: %s\r\n",
                     ask->passed);
        th_writer_init(&w, room, sizeof room - 1);
        th_upgrade_write(&m.head, &w);
        room[w.len] = '\0';
        assert_string_equal(room, expected);
        assert_int_equal(th_upgrade_is_asked(&m.head), ask->passed != NULL);
        assert_int_equal(th_upgrade_is_websocket(&m.head),
                         ask->passed != NULL && strcasestr(ask->passed, "websocket") != NULL);
    }
}

/* --- answers --- */

static const struct grant {
    const char *asked, *answered;
    bool granted;
} grants[] = {
    {WEBSOCKET, ASK("websocket") ACCEPT, true},
    {WEBSOCKET, ASK("WEBSOCKET") ACCEPT, true},
    {ASK("foo/2, bar"), ASK("foo/2"), true},
    {ASK("foo/2, bar"), ASK("bar, foo/2"), true}, /* layers (RFC 9110, 15.2.2) */
    {ASK("foo"), ASK("FOO"), true},
    {WEBSOCKET "Upgrade: foo\r\n", ASK("foo"), true},

    {WEBSOCKET, ASK("websocket"), false},
    {WEBSOCKET, ASK("websocket") ACCEPT ACCEPT, false},
    {WEBSOCKET, ASK("websocket") "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", false},
    {WEBSOCKET, ASK("websocket") "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo\r\n", false},
    {WEBSOCKET, ASK("websocket") ACCEPT "Connection: Sec-WebSocket-Accept\r\n", false},
    {WEBSOCKET, ASK("foo") ACCEPT, false},
    {WEBSOCKET, ASK("websocket, foo") ACCEPT, false},
    {WEBSOCKET, ASK("") ACCEPT, false},
    {WEBSOCKET, "Upgrade: websocket\r\n" ACCEPT, false},
    {WEBSOCKET, "Connection: Upgrade\r\n" ACCEPT, false},
    {ASK("websocket") KEY, ASK("websocket") ACCEPT, false},
    {ASK("h2c"), ASK("h2c"), false},
    {ASK("h2c, foo"), ASK("h2c"), false},
    {ASK("foo/2"), ASK("foo"), false},
    {ASK("foo"), ASK("foo/2"), false},
    {"", ASK("foo"), false},
    {ASK(EIGHT), ASK(EIGHT ", a"), false},
};

static void what_is_granted(void **state)
{
    static struct message request, response;

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(grants); i++) {
        parse(&request, "GET / HTTP/1.1\r\nHost: h\r\n", grants[i].asked);
        parse(&response, "HTTP/1.1 101 Switching Protocols\r\n", grants[i].answered);
        assert_int_equal(th_upgrade_is_granted(&request.head, &response.head), grants[i].granted);
    }
    parse(&response, "HTTP/1.0 101 Switching Protocols\r\n", ASK("foo"));
    parse(&request, "GET / HTTP/1.1\r\nHost: h\r\n", ASK("foo"));
    assert_false(th_upgrade_is_granted(&request.head, &response.head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_asked),
                                       cmocka_unit_test(what_is_granted)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
