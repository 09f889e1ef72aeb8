#include "properties.h"
#include "test_rows.h"

#define LIMIT_HEAD 1024
#define LIMIT_FIELDS 16

struct response_row {
    const char *name;
    struct th_str text;
    enum th_method method;
    int result;
    enum th_framing framing;
    uint64_t content_length;
    bool has_content_length;
    bool keep_alive;
};

#define T(literal)                                                                                 \
    {                                                                                              \
        "" literal, sizeof(literal) - 1                                                            \
    }
#define BAD(name, literal)                                                                         \
    {                                                                                              \
        name, T(literal), TH_METHOD_GET, TH_E_ORIGIN_PROTOCOL                                      \
    }
#define S200 "HTTP/1.1 200 OK\r\n"

static const struct response_row rows[] = {
    /* R4: refused */
    BAD("r4_content_length_together_with_transfer_encoding",
        S200 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD("r4_two_content_lengths", S200 "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    BAD("r4_malformed_content_length", S200 "Content-Length: five\r\n\r\n"),
    BAD("r4_transfer_encoding_gzip", S200 "Transfer-Encoding: gzip\r\n\r\n"),
    BAD("r4_transfer_encoding_in_http_1_0",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD("r4_transfer_encoding_on_204",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD("r4_transfer_encoding_on_100",
        "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD("r4_malformed_content_length_on_304", "HTTP/1.1 304 x\r\nContent-Length: -1\r\n\r\n"),
    BAD("r4_bare_lf", "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n"),
    BAD("r4_bare_cr_in_reason", "HTTP/1.1 200 O\rK\r\n\r\n"),
    BAD("r4_nul_in_reason", "HTTP/1.1 200 O\0K\r\n\r\n"),
    BAD("r4_folded_line", S200 "X: a\r\n b\r\n\r\n"),
    BAD("r4_space_before_colon", S200 "Content-Length : 5\r\n\r\n"),
    BAD("r4_empty_line_before", "\r\n" S200 "\r\n"),
    BAD("r4_status_of_two_digits", "HTTP/1.1 20 OK\r\n\r\n"),
    BAD("r4_status_of_four_digits", "HTTP/1.1 2000 OK\r\n\r\n"),
    BAD("r4_status_below_100", "HTTP/1.1 099 OK\r\n\r\n"),
    BAD("r4_status_above_599", "HTTP/1.1 600 OK\r\n\r\n"),
    BAD("r4_status_with_sign", "HTTP/1.1 +20 OK\r\n\r\n"),
    BAD("r4_two_spaces_before_status", "HTTP/1.1  200 OK\r\n\r\n"),
    BAD("r4_without_status", "HTTP/1.1\r\n\r\n"),
    BAD("r4_version_1_2", "HTTP/1.2 200 OK\r\n\r\n"),
    BAD("r4_version_2", "HTTP/2 200 OK\r\n\r\n"),
    BAD("r4_other_protocol", "ICY 200 OK\r\n\r\n"),
    BAD("r4_body_of_http_0_9", "<html>"),
    BAD("r4_connection_option_no_token", S200 "Connection: cl ose\r\n\r\n"),

    /* framing */
    {"length", T(S200 "Content-Length: 5\r\n\r\n"), TH_METHOD_GET, 0, TH_FRAMING_LENGTH, 5, true,
     true},
    {"chunked", T(S200 "Transfer-Encoding: chunked\r\n\r\n"), TH_METHOD_GET, 0, TH_FRAMING_CHUNKED,
     0, false, true},
    {"close", T(S200 "\r\n"), TH_METHOD_GET, 0, TH_FRAMING_CLOSE, 0, false, false},
    {"close_overrides_keep_alive", T(S200 "Connection: keep-alive\r\n\r\n"), TH_METHOD_GET, 0,
     TH_FRAMING_CLOSE, 0, false, false},
    {"length_http_1_0", T("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"), TH_METHOD_GET, 0,
     TH_FRAMING_LENGTH, 5, true, false},
    {"length_http_1_0_keep_alive",
     T("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"), TH_METHOD_GET, 0,
     TH_FRAMING_LENGTH, 5, true, true},
    {"length_with_close", T(S200 "Content-Length: 5\r\nConnection: close\r\n\r\n"), TH_METHOD_GET,
     0, TH_FRAMING_LENGTH, 5, true, false},
    {"r6_head_has_no_body_and_keeps_its_length", T(S200 "Content-Length: 5\r\n\r\n"),
     TH_METHOD_HEAD, 0, TH_FRAMING_NONE, 5, true, true},
    {"r6_head_without_length", T(S200 "\r\n"), TH_METHOD_HEAD, 0, TH_FRAMING_NONE, 0, false, true},
    {"r6_head_may_say_chunked", T(S200 "Transfer-Encoding: chunked\r\n\r\n"), TH_METHOD_HEAD, 0,
     TH_FRAMING_NONE, 0, false, true},
    {"r6_304_has_no_body_and_keeps_its_length",
     T("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), TH_METHOD_GET, 0, TH_FRAMING_NONE,
     9, true, true},
    {"r6_304_without_length", T("HTTP/1.1 304 Not Modified\r\n\r\n"), TH_METHOD_GET, 0,
     TH_FRAMING_NONE, 0, false, true},
    {"r6_204_has_no_body", T("HTTP/1.1 204 No Content\r\n\r\n"), TH_METHOD_GET, 0, TH_FRAMING_NONE,
     0, false, true},
    {"r6_204_length_is_ignored", T("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
     TH_METHOD_GET, 0, TH_FRAMING_NONE, 0, false, true},
    {"r6_100_length_is_ignored", T("HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n"),
     TH_METHOD_POST, 0, TH_FRAMING_NONE, 0, false, true},
    {"r6_101", T("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
     TH_METHOD_GET, 0, TH_FRAMING_NONE, 0, false, true},
    {"r6_connect_2xx_has_no_body", T(S200 "\r\n"), TH_METHOD_CONNECT, 0, TH_FRAMING_NONE, 0, false,
     true},
    {"r6_connect_2xx_length_is_ignored", T(S200 "Content-Length: 5\r\n\r\n"), TH_METHOD_CONNECT, 0,
     TH_FRAMING_NONE, 0, false, true},
    {"r6_connect_2xx_coding_is_ignored", T(S200 "Transfer-Encoding: chunked\r\n\r\n"),
     TH_METHOD_CONNECT, 0, TH_FRAMING_NONE, 0, false, true},
    {"r6_connect_403_has_a_body", T("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\n"),
     TH_METHOD_CONNECT, 0, TH_FRAMING_LENGTH, 5, true, true},
    {"205_is_framed_as_said", T("HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n"), TH_METHOD_GET,
     0, TH_FRAMING_LENGTH, 0, true, true},

    /* the status line */
    {"reason_empty", T("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"), TH_METHOD_GET, 0,
     TH_FRAMING_LENGTH, 0, true, true},
    {"reason_and_its_space_missing", T("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), TH_METHOD_GET,
     0, TH_FRAMING_LENGTH, 0, true, true},
    {"reason_of_any_text", T("HTTP/1.1 599 \tcaf\xc3\xa9 \r\nContent-Length: 0\r\n\r\n"),
     TH_METHOD_GET, 0, TH_FRAMING_LENGTH, 0, true, true},
    {"several_host_fields_mean_nothing", T(S200 "Host: a\r\nHost: b/\r\nContent-Length: 0\r\n\r\n"),
     TH_METHOD_GET, 0, TH_FRAMING_LENGTH, 0, true, true},
};

static int parse(struct th_head *head, struct th_str text, enum th_method method)
{
    static const struct th_http1_limits limits = {LIMIT_HEAD, LIMIT_FIELDS};
    size_t scanned = 0;
    return th_http1_parse_response(head, text.ptr, text.len, &scanned, &limits, method);
}

static void decides(void **state)
{
    const struct response_row *row = *state;
    struct th_field fields[LIMIT_FIELDS];
    struct th_head head = {.fields = fields, .max_fields = LIMIT_FIELDS};
    assert_int_equal(parse(&head, row->text, row->method), row->result);
    th_property_response_head(row->text.ptr, row->text.len, row->method);
    if (row->result != 0)
        return;
    assert_int_equal(head.len, row->text.len);
    assert_int_equal(head.framing, row->framing);
    assert_int_equal(head.content_length, row->content_length);
    assert_int_equal(head.has_content_length, row->has_content_length);
    assert_int_equal(head.keep_alive, row->keep_alive);
    for (unsigned i = 0; i < head.n_fields; i++) {
        if (fields[i].id == TH_HEADER_CONTENT_LENGTH)
            assert_int_equal(fields[i].dropped, row->framing != TH_FRAMING_LENGTH);
    }
}

static void parts_are_as_sent(void **state)
{
    (void)state;
    struct th_field fields[LIMIT_FIELDS];
    struct th_head head = {.fields = fields, .max_fields = LIMIT_FIELDS};
    struct th_str text = TH_STR("HTTP/1.0 404 Not Here\r\nX: y\r\nKeep-Alive: 5\r\n\r\nrest");
    assert_int_equal(parse(&head, text, TH_METHOD_GET), 0);
    assert_int_equal(head.len, text.len - 4);
    assert_int_equal(head.status, 404);
    assert_str_equal(head.reason, "Not Here");
    assert_int_equal(head.minor, 0);
    assert_false(fields[0].dropped);
    assert_true(fields[1].dropped);
}

static void upgrade_is_seen(void **state)
{
    (void)state;
    struct th_field fields[LIMIT_FIELDS];
    struct th_head head = {.fields = fields, .max_fields = LIMIT_FIELDS};
    struct th_str text =
        TH_STR("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_int_equal(parse(&head, text, TH_METHOD_GET), 0);
    assert_true(head.upgrade);
}

static void limits_are_the_origins_fault(void **state)
{
    (void)state;
    struct th_field fields[LIMIT_FIELDS];
    struct th_head head = {.fields = fields, .max_fields = LIMIT_FIELDS};
    char text[LIMIT_HEAD + 1];
    memset(text, 'a', sizeof(text));
    memcpy(text, "HTTP/1.1 200 ", 13);
    assert_int_equal(parse(&head, (struct th_str){text, LIMIT_HEAD - 1}, TH_METHOD_GET), TH_AGAIN);
    assert_int_equal(parse(&head, (struct th_str){text, LIMIT_HEAD}, TH_METHOD_GET),
                     TH_E_ORIGIN_HEAD_LARGE);
    memcpy(text + 13, "\r\nX:", 4);
    assert_int_equal(parse(&head, (struct th_str){text, LIMIT_HEAD + 1}, TH_METHOD_GET),
                     TH_E_ORIGIN_HEAD_LARGE);
    strcpy(text, S200);
    for (int i = 0; i <= LIMIT_FIELDS; i++)
        strcat(text, "X: y\r\n");
    strcat(text, "\r\n");
    assert_int_equal(parse(&head, th_str_of(text), TH_METHOD_GET), TH_E_ORIGIN_HEAD_LARGE);
}

int main(void)
{
    static struct test_list list;
    TEST_LIST_ADD_ROWS(&list, rows, decides);
    TEST_LIST_ADD(&list, parts_are_as_sent);
    TEST_LIST_ADD(&list, upgrade_is_seen);
    TEST_LIST_ADD(&list, limits_are_the_origins_fault);
    return test_list_run("http_response", &list);
}
