#include "properties.h"
#include "test_rows.h"

#define LIMIT_HEAD 2048
#define LIMIT_FIELDS 20

struct result {
    int result;
    size_t scanned;
    struct th_head head;
    struct th_field fields[LIMIT_FIELDS];
};

static struct result parse(struct th_str text)
{
    static const struct th_http1_limits limits = {LIMIT_HEAD, LIMIT_FIELDS};
    struct result r = {.head.max_fields = LIMIT_FIELDS};
    r.head.fields = r.fields;
    r.result = th_http1_parse_request(&r.head, text.ptr, text.len, &r.scanned, &limits);
    r.head.fields = NULL; /* the array moves with the struct */
    return r;
}

static struct th_field *field_of(struct result *r, const char *name)
{
    for (unsigned i = 0; i < r->head.n_fields; i++) {
        if (th_str_equal_nocase(r->fields[i].name, th_str_of(name)))
            return &r->fields[i];
    }
    fail_msg("no field %s", name);
    return NULL;
}

/* --- what is refused --- */

struct refusal {
    const char *name;
    struct th_str text;
    int error;
};

#define T(literal)                                                                                 \
    {                                                                                              \
        "" literal, sizeof(literal) - 1                                                            \
    }
#define START "POST http://h/ HTTP/1.1\r\n"
#define HOST "Host: h\r\n"
#define BAD(name, literal)                                                                         \
    {                                                                                              \
        name, T(literal), TH_E_BAD_REQUEST                                                         \
    }
#define FRAMING(name, fields)                                                                      \
    {                                                                                              \
        name, T(START HOST fields "\r\n"), TH_E_BAD_FRAMING                                        \
    }

static const struct refusal refusals[] = {
    /* R1: framing */
    FRAMING("r1_content_length_together_with_transfer_encoding",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    FRAMING("r1_transfer_encoding_together_with_content_length",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    FRAMING("r1_zero_content_length_together_with_transfer_encoding",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    FRAMING("r1_two_content_lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
    FRAMING("r1_two_equal_content_lengths", "Content-Length: 5\r\nContent-Length: 5\r\n"),
    FRAMING("r1_list_of_equal_content_lengths", "Content-Length: 5, 5\r\n"),
    FRAMING("r1_empty_content_length", "Content-Length:\r\n"),
    FRAMING("r1_blank_content_length", "Content-Length: \t \r\n"),
    FRAMING("r1_content_length_with_plus", "Content-Length: +5\r\n"),
    FRAMING("r1_content_length_with_minus", "Content-Length: -5\r\n"),
    FRAMING("r1_content_length_hexadecimal", "Content-Length: 0x5\r\n"),
    FRAMING("r1_content_length_with_letters", "Content-Length: 5a\r\n"),
    FRAMING("r1_content_length_with_blank_inside", "Content-Length: 5 5\r\n"),
    FRAMING("r1_content_length_with_dot", "Content-Length: 5.0\r\n"),
    FRAMING("r1_content_length_quoted", "Content-Length: \"5\"\r\n"),
    FRAMING("r1_content_length_beyond_int64", "Content-Length: 9223372036854775808\r\n"),
    FRAMING("r1_content_length_beyond_uint64", "Content-Length: 18446744073709551621\r\n"),
    FRAMING("r1_content_length_of_obs_text", "Content-Length: \xb5\r\n"),
    FRAMING("r1_content_length_named_in_odd_case_twice",
            "cOnTeNt-LeNgTh: 5\r\nContent-length: 5\r\n"),
    FRAMING("r1_transfer_encoding_gzip", "Transfer-Encoding: gzip\r\n"),
    FRAMING("r1_transfer_encoding_gzip_chunked", "Transfer-Encoding: gzip, chunked\r\n"),
    FRAMING("r1_transfer_encoding_chunked_gzip", "Transfer-Encoding: chunked, gzip\r\n"),
    FRAMING("r1_transfer_encoding_chunked_chunked", "Transfer-Encoding: chunked, chunked\r\n"),
    FRAMING("r1_transfer_encoding_chunked_comma", "Transfer-Encoding: chunked,\r\n"),
    FRAMING("r1_transfer_encoding_comma_chunked", "Transfer-Encoding: ,chunked\r\n"),
    FRAMING("r1_transfer_encoding_with_parameter", "Transfer-Encoding: chunked;q=1\r\n"),
    FRAMING("r1_transfer_encoding_quoted", "Transfer-Encoding: \"chunked\"\r\n"),
    FRAMING("r1_transfer_encoding_identity", "Transfer-Encoding: identity\r\n"),
    FRAMING("r1_transfer_encoding_xchunked", "Transfer-Encoding: xchunked\r\n"),
    FRAMING("r1_transfer_encoding_empty", "Transfer-Encoding:\r\n"),
    FRAMING("r1_two_transfer_encodings",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    FRAMING("r1_two_transfer_encodings_identity",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    FRAMING("r1_transfer_encoding_chunked_vertical_tab_like", "Transfer-Encoding: \xa0"
                                                              "chunked\r\n"),
    {"r1_transfer_encoding_in_http_1_0",
     T("POST http://h/ HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), TH_E_BAD_FRAMING},
    {"r1_content_length_on_connect", T("CONNECT h:1 HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n"),
     TH_E_BAD_FRAMING},
    {"r1_transfer_encoding_on_connect",
     T("CONNECT h:1 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"), TH_E_BAD_FRAMING},

    /* R1: bytes and lines */
    BAD("r1_bare_lf_after_request_line", "GET http://h/ HTTP/1.1\n" HOST "\r\n"),
    BAD("r1_bare_lf_after_field", START "Host: h\n\r\n"),
    BAD("r1_bare_lf_ends_head", START "Host: h\r\n\n"),
    BAD("r1_bare_lf_before_request_line", "\n" START HOST "\r\n"),
    BAD("r1_bare_lf_in_value", START HOST "X: a\nb\r\n\r\n"),
    BAD("r1_bare_cr_in_value", START HOST "X: a\rb\r\n\r\n"),
    BAD("r1_bare_cr_at_end_of_value", START HOST "X: a\r\r\n\r\n"),
    BAD("r1_bare_cr_in_name", START HOST "X\r: a\r\n\r\n"),
    BAD("r1_bare_cr_in_request_line", "GET\r http://h/ HTTP/1.1\r\n" HOST "\r\n"),
    BAD("r1_bare_cr_after_version", "GET http://h/ HTTP/1.1\r" HOST "\r\n"),
    BAD("r1_bare_cr_before_end_of_head", START HOST "\r\r\n"),
    BAD("r1_nul_in_value", START HOST "X: a\0b\r\n\r\n"),
    BAD("r1_nul_in_name", START HOST "X\0Y: a\r\n\r\n"),
    BAD("r1_nul_in_method", "G\0T http://h/ HTTP/1.1\r\n" HOST "\r\n"),
    BAD("r1_control_01_in_value", START HOST "X: a\001b\r\n\r\n"),
    BAD("r1_control_0b_in_value", START HOST "X: a\013b\r\n\r\n"),
    BAD("r1_control_1f_in_value", START HOST "X: a\037b\r\n\r\n"),
    BAD("r1_delete_in_value", START HOST "X: a\177b\r\n\r\n"),
    BAD("r1_control_far_in_a_long_value", START HOST
        "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\001aaaaaaaaaaaaaaaa\r\n\r\n"),
    BAD("r1_empty_field_name", START HOST ": a\r\n\r\n"),
    BAD("r1_field_name_with_blank", START HOST "X Y: a\r\n\r\n"),
    BAD("r1_field_name_with_slash", START HOST "X/Y: a\r\n\r\n"),
    BAD("r1_field_name_with_parenthesis", START HOST "X(Y): a\r\n\r\n"),
    BAD("r1_field_name_with_obs_text", START HOST "X\xc3\xa9: a\r\n\r\n"),
    BAD("r1_field_name_in_quotes", START HOST "\"X\": a\r\n\r\n"),
    BAD("r1_space_before_colon", START HOST "X : a\r\n\r\n"),
    BAD("r1_tab_before_colon", START HOST "X\t: a\r\n\r\n"),
    BAD("r1_space_before_colon_of_content_length", START HOST "Content-Length : 5\r\n\r\n"),
    BAD("r1_line_without_colon", START HOST "X\r\n\r\n"),
    BAD("r1_folded_line", START HOST "X: a\r\n b\r\n\r\n"),
    BAD("r1_folded_line_with_tab", START HOST "X: a\r\n\tb\r\n\r\n"),
    BAD("r1_folded_transfer_encoding", START HOST "Transfer-Encoding:\r\n chunked\r\n\r\n"),
    BAD("r1_folded_empty_line", START HOST "X: a\r\n \r\n\r\n"),
    BAD("r1_space_before_first_field", START " " HOST "\r\n"),
    BAD("r1_tab_before_first_field", START "\t" HOST "\r\n"),

    /* the request line */
    BAD("request_line_two_spaces_before_target", "GET  http://h/ HTTP/1.1\r\n" HOST "\r\n"),
    BAD("request_line_two_spaces_before_version", "GET http://h/  HTTP/1.1\r\n" HOST "\r\n"),
    BAD("request_line_space_at_end", "GET http://h/ HTTP/1.1 \r\n" HOST "\r\n"),
    BAD("request_line_space_at_start", " GET http://h/ HTTP/1.1\r\n" HOST "\r\n"),
    BAD("request_line_tab_between", "GET\thttp://h/ HTTP/1.1\r\n" HOST "\r\n"),
    BAD("request_line_space_in_target", "GET http://h/a b HTTP/1.1\r\n" HOST "\r\n"),
    BAD("request_line_without_version", "GET http://h/\r\n" HOST "\r\n"),
    BAD("request_line_without_target", "GET HTTP/1.1\r\n" HOST "\r\n"),
    BAD("request_line_empty_target", "GET  HTTP/1.1\r\n" HOST "\r\n"),
    BAD("request_line_method_with_colon", "G:T http://h/ HTTP/1.1\r\n" HOST "\r\n"),
    BAD("request_line_lower_case_http", "GET http://h/ http/1.1\r\n" HOST "\r\n"),
    BAD("request_line_version_with_two_digits", "GET http://h/ HTTP/1.10\r\n" HOST "\r\n"),
    BAD("request_line_version_without_dot", "GET http://h/ HTTP/11\r\n" HOST "\r\n"),
    BAD("request_line_two_empty_lines_before", "\r\n\r\n" START HOST "\r\n"),
    BAD("request_line_is_a_tls_hello", "\026\003\001\002\000\001\000\001\374\003\003"),
    {"request_line_control_in_target", T("GET http://h/\001 HTTP/1.1\r\n"), TH_E_BAD_TARGET},
    {"request_line_nul_in_target", T("GET http://h/\0 HTTP/1.1\r\n"), TH_E_BAD_TARGET},
    {"request_line_tab_in_target", T("GET http://h/\t HTTP/1.1\r\n"), TH_E_BAD_TARGET},
    {"request_line_delete_in_target", T("GET http://h/\177 HTTP/1.1\r\n"), TH_E_BAD_TARGET},
    {"request_line_raw_utf8_in_target", T("GET http://h/\xc3\xa9 HTTP/1.1\r\n"), TH_E_BAD_TARGET},
    {"request_line_raw_byte_far_in_target",
     T("GET http://h/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xff HTTP/1.1\r\n"), TH_E_BAD_TARGET},
    {"version_2_0", T("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), TH_E_VERSION},
    {"version_1_2", T("GET http://h/ HTTP/1.2\r\n" HOST "\r\n"), TH_E_VERSION},
    {"version_0_9", T("GET http://h/ HTTP/0.9\r\n" HOST "\r\n"), TH_E_VERSION},
    {"version_3_0", T("GET http://h/ HTTP/3.0\r\n" HOST "\r\n"), TH_E_VERSION},

    /* R2: Host */
    BAD("r2_host_missing", START "\r\n"),
    BAD("r2_host_twice", START HOST HOST "\r\n"),
    BAD("r2_host_twice_different", START HOST "X: y\r\nhost: other\r\n\r\n"),
    BAD("r2_host_twice_in_http_1_0", "GET http://h/ HTTP/1.0\r\n" HOST HOST "\r\n"),
    BAD("r2_host_list", START "Host: h, other\r\n\r\n"),
    BAD("r2_host_with_userinfo", START "Host: user@h\r\n\r\n"),
    BAD("r2_host_with_path", START "Host: h/path\r\n\r\n"),
    BAD("r2_host_with_scheme", START "Host: http://h\r\n\r\n"),
    BAD("r2_host_with_bad_port", START "Host: h:99999\r\n\r\n"),
    BAD("r2_host_with_bare_ipv6", START "Host: ::1\r\n\r\n"),
    BAD("r2_host_with_obs_text", START "Host: h\xc3\xa9\r\n\r\n"),
    BAD("r2_host_trailing_dot", START "Host: h.\r\n\r\n"),

    /* Connection */
    BAD("connection_option_with_blank", START HOST "Connection: close x\r\n\r\n"),
    BAD("connection_option_quoted", START HOST "Connection: \"close\"\r\n\r\n"),
    BAD("max_forwards_twice", START HOST "Max-Forwards: 1\r\nMax-Forwards: 0\r\n\r\n"),
};

static void refuses(void **state)
{
    const struct refusal *row = *state;
    struct result r = parse(row->text);
    assert_int_equal(r.result, row->error);
    assert_int_equal(r.scanned, 0);
    th_property_request_head(row->text.ptr, row->text.len);
}

/* --- what is accepted, and its framing --- */

struct acceptance {
    const char *name;
    struct th_str text;
    enum th_framing framing;
    uint64_t content_length;
    bool keep_alive;
};

#define OK(name, literal)                                                                          \
    {                                                                                              \
        name, T(literal), TH_FRAMING_NONE, 0, true                                                 \
    }

static const struct acceptance acceptances[] = {
    OK("no_body", "GET http://h/ HTTP/1.1\r\n" HOST "\r\n"),
    OK("origin_form", "GET /a?b=c HTTP/1.1\r\n" HOST "\r\n"),
    OK("asterisk_form", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"),
    OK("authority_form", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"),
    OK("r1_unknown_method_is_relayed", "BREW http://h/ HTTP/1.1\r\n" HOST "\r\n"),
    OK("method_of_odd_token_characters", "M-SEARCH! http://h/ HTTP/1.1\r\n" HOST "\r\n"),
    OK("one_empty_line_before", "\r\nGET http://h/ HTTP/1.1\r\n" HOST "\r\n"),
    OK("obs_text_in_value", START HOST "X: caf\xc3\xa9 \x80\xff\r\n\r\n"),
    OK("tab_in_value", START HOST "X: a\tb\r\n\r\n"),
    OK("unknown_name_of_15_16_and_17_characters",
       START HOST "X-2345678901234: a\r\nX-23456789012345: b\r\nX-234567890123456: c\r\n\r\n"),
    OK("known_name_of_25_characters", START HOST "Proxy-Authentication-Info: a\r\n\r\n"),
    OK("empty_value", START HOST "X:\r\nY: \t \r\n\r\n"),
    OK("all_token_characters_in_name", START HOST "!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n"),
    OK("r2_host_empty", START "Host:\r\n\r\n"),
    OK("r2_host_with_port", START "Host: h:8080\r\n\r\n"),
    OK("r2_host_ipv6", START "Host: [::1]:8080\r\n\r\n"),
    OK("connect_with_zero_content_length",
       "CONNECT h:1 HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"),
    {"content_length", T(START HOST "Content-Length: 5\r\n\r\n"), TH_FRAMING_LENGTH, 5, true},
    {"content_length_zero", T(START HOST "Content-Length: 0\r\n\r\n"), TH_FRAMING_LENGTH, 0, true},
    {"content_length_largest", T(START HOST "Content-Length: 9223372036854775807\r\n\r\n"),
     TH_FRAMING_LENGTH, INT64_MAX, true},
    {"content_length_in_odd_case", T(START HOST "cONTENT-lENGTH:5\r\n\r\n"), TH_FRAMING_LENGTH, 5,
     true},
    {"content_length_between_blanks", T(START HOST "Content-Length: \t 5 \t\r\n\r\n"),
     TH_FRAMING_LENGTH, 5, true},
    {"content_length_on_get", T("GET http://h/ HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n"),
     TH_FRAMING_LENGTH, 3, true},
    {"content_length_in_http_1_0", T("POST http://h/ HTTP/1.0\r\nContent-Length: 7\r\n\r\n"),
     TH_FRAMING_LENGTH, 7, false},
    {"chunked", T(START HOST "Transfer-Encoding: chunked\r\n\r\n"), TH_FRAMING_CHUNKED, 0, true},
    {"chunked_in_odd_case", T(START HOST "tRANSFER-eNCODING: ChUnKeD\t\r\n\r\n"),
     TH_FRAMING_CHUNKED, 0, true},
    {"keep_alive_http_1_1_close", T(START HOST "Connection: close\r\n\r\n"), TH_FRAMING_NONE, 0,
     false},
    {"keep_alive_http_1_1_close_in_list", T(START HOST "Connection: foo,, CLOSE ,\r\n\r\n"),
     TH_FRAMING_NONE, 0, false},
    {"keep_alive_close_in_second_field",
     T(START HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n"), TH_FRAMING_NONE, 0,
     false},
    {"keep_alive_http_1_0", T("GET http://h/ HTTP/1.0\r\n\r\n"), TH_FRAMING_NONE, 0, false},
    {"keep_alive_http_1_0_asked_for", T("GET http://h/ HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
     TH_FRAMING_NONE, 0, true},
    {"keep_alive_http_1_0_close_wins",
     T("GET http://h/ HTTP/1.0\r\nConnection: Keep-Alive, close\r\n\r\n"), TH_FRAMING_NONE, 0,
     false},
    {"keep_alive_proxy_connection_is_ignored",
     T("GET http://h/ HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n"), TH_FRAMING_NONE, 0,
     false},
    {"keep_alive_proxy_connection_close_is_ignored",
     T(START HOST "Proxy-Connection: close\r\n\r\n"), TH_FRAMING_NONE, 0, true},
    {"connect_http_1_0_without_host", T("CONNECT h:443 HTTP/1.0\r\n\r\n"), TH_FRAMING_NONE, 0,
     false},
};

static void accepts(void **state)
{
    const struct acceptance *row = *state;
    struct result r = parse(row->text);
    assert_int_equal(r.result, 0);
    assert_int_equal(r.head.len, row->text.len);
    assert_int_equal(r.head.framing, row->framing);
    assert_int_equal(r.head.content_length, row->content_length);
    assert_int_equal(r.head.has_content_length, row->framing == TH_FRAMING_LENGTH);
    assert_int_equal(r.head.keep_alive, row->keep_alive);
    th_property_request_head(row->text.ptr, row->text.len);
}

/* --- facts --- */

static void parts_are_as_sent(void **state)
{
    (void)state;
    struct th_str text = TH_STR("PATCH http://H/x?y HTTP/1.1\r\nHost: H:1\r\nX-One:  a  b \t\r\n"
                                "Authorization: Bearer abc\r\nauthorization: Bearer d\r\n"
                                "traceparent: 00-1-2-00\r\nmax-forwards: 3\r\n\r\nbody");
    struct result r = parse(text);
    assert_int_equal(r.result, 0);
    assert_int_equal(r.head.len, text.len - 4);
    assert_int_equal(r.head.method, TH_METHOD_PATCH);
    assert_str_equal(r.head.method_text, "PATCH");
    assert_str_equal(r.head.target, "http://H/x?y");
    assert_int_equal(r.head.minor, 1);
    assert_int_equal(r.head.n_fields, 6);
    assert_str_equal(r.fields[1].name, "X-One");
    assert_str_equal(r.fields[1].value, "a  b");
    assert_int_equal(r.fields[1].id, TH_HEADER_UNKNOWN);
    assert_int_equal(r.head.host, 0);
    assert_int_equal(r.head.authorization, 2);
    assert_int_equal(r.head.n_authorization, 2);
    assert_int_equal(r.head.traceparent, 4);
    assert_int_equal(r.head.max_forwards, 5);
    assert_int_equal(r.fields[3].id, TH_HEADER_AUTHORIZATION);
}

static void facts_that_are_absent(void **state)
{
    (void)state;
    struct result r = parse(TH_STR("GET http://h/ HTTP/1.0\r\n\r\n"));
    assert_int_equal(r.result, 0);
    assert_int_equal(r.head.minor, 0);
    assert_int_equal(r.head.host, -1);
    assert_int_equal(r.head.authorization, -1);
    assert_int_equal(r.head.traceparent, -1);
    assert_int_equal(r.head.max_forwards, -1);
    assert_int_equal(r.head.n_authorization, 0);
    assert_false(r.head.expect_continue || r.head.expect_unknown || r.head.upgrade ||
                 r.head.te_trailers);
}

static void r2_hop_by_hop_fields_are_dropped(void **state)
{
    (void)state;
    struct result r =
        parse(TH_STR(START HOST "Connection: x-one\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n"
                                "TE: trailers\r\nTrailer: x\r\nUpgrade: y\r\nHTTP2-Settings: z\r\n"
                                "Proxy-Authorization: Basic eA==\r\nProxy-Authenticate: x\r\n"
                                "X-One: 1\r\nX-One: 2\r\nX-Two: 3\r\n\r\n"));
    assert_int_equal(r.result, 0);
    for (unsigned i = 1; i < r.head.n_fields - 1u; i++)
        assert_true(r.fields[i].dropped);
    assert_false(r.fields[0].dropped);
    assert_false(field_of(&r, "X-Two")->dropped);
}

static void r2_fields_named_by_connection_are_dropped(void **state)
{
    (void)state;
    struct result r = parse(TH_STR(START HOST "x-before: 1\r\nCookie: a\r\n"
                                              "Connection: X-BEFORE, ,cookie\r\n"
                                              "Connection: x-after,close\r\nX-After: 2\r\n"
                                              "X-Afterwards: 3\r\nAccept: 4\r\n\r\n"));
    assert_int_equal(r.result, 0);
    assert_true(field_of(&r, "x-before")->dropped);
    assert_true(field_of(&r, "cookie")->dropped);
    assert_true(field_of(&r, "x-after")->dropped);
    assert_false(field_of(&r, "x-afterwards")->dropped);
    assert_false(field_of(&r, "accept")->dropped);
}

static void r2_fixed_fields_cannot_be_nominated_away(void **state)
{
    (void)state;
    struct result r = parse(
        TH_STR(START HOST "Content-Length: 5\r\nAuthorization: Bearer x\r\nVia: 1.1 a\r\nExpect: "
                          "100-continue\r\nMax-Forwards: 3\r\n"
                          "Connection: host, content-length, AUTHORIZATION, via, expect, "
                          "max-forwards, connection, transfer-encoding\r\n\r\n"));
    assert_int_equal(r.result, 0);
    for (unsigned i = 0; i < r.head.n_fields - 1u; i++)
        assert_false(r.fields[i].dropped);
    assert_int_equal(r.head.framing, TH_FRAMING_LENGTH);
    assert_int_equal(r.head.n_authorization, 1);
}

static void connection_options_are_bounded(void **state)
{
    (void)state;
    char text[1024] = START HOST "Connection: ";
    size_t len = strlen(text);
    for (int i = 0; i < 100; i++, len += 2)
        memcpy(text + len, "x,", 2);
    memcpy(text + len, "\r\n\r\n", 4);
    assert_int_equal(parse((struct th_str){text, len + 4}).result, 0);
    memcpy(text + len, "x\r\n\r\n", 5);
    assert_int_equal(parse((struct th_str){text, len + 5}).result, TH_E_HEAD_TOO_LARGE);
}

struct flags_row {
    const char *name;
    struct th_str text;
    bool expect_continue, expect_unknown, upgrade, te_trailers;
};

static const struct flags_row flags_rows[] = {
    {"r6_expect_continue", T(START HOST "Expect: 100-Continue\r\n\r\n"), .expect_continue = true},
    {"r6_expect_unknown", T(START HOST "Expect: 200-ok\r\n\r\n"), .expect_unknown = true},
    {"r6_expect_continue_and_unknown", T(START HOST "Expect: 100-continue, x=y\r\n\r\n"),
     .expect_continue = true, .expect_unknown = true},
    {"r6_expect_unknown_in_second_field", T(START HOST "Expect: 100-continue\r\nExpect: x\r\n\r\n"),
     .expect_continue = true, .expect_unknown = true},
    {"r6_expect_continue_ignored_in_http_1_0",
     T("POST http://h/ HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"), .expect_continue = false},
    {"r6_upgrade", T(START HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
     .upgrade = true},
    {"r6_upgrade_not_named_by_connection", T(START HOST "Upgrade: websocket\r\n\r\n"),
     .upgrade = false},
    {"r6_upgrade_named_without_field", T(START HOST "Connection: upgrade\r\n\r\n"),
     .upgrade = false},
    {"r6_upgrade_ignored_in_http_1_0",
     T("GET http://h/ HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), .upgrade = false},
    {"te_trailers", T(START HOST "TE: deflate;q=0.5, Trailers\r\nConnection: TE\r\n\r\n"),
     .te_trailers = true},
    {"te_without_trailers", T(START HOST "TE: deflate\r\nConnection: TE\r\n\r\n"),
     .te_trailers = false},
};

static void flags_hold(void **state)
{
    const struct flags_row *row = *state;
    struct result r = parse(row->text);
    assert_int_equal(r.result, 0);
    assert_int_equal(r.head.expect_continue, row->expect_continue);
    assert_int_equal(r.head.expect_unknown, row->expect_unknown);
    assert_int_equal(r.head.upgrade, row->upgrade);
    assert_int_equal(r.head.te_trailers, row->te_trailers);
    th_property_request_head(row->text.ptr, row->text.len);
}

static void two_traceparents_are_void(void **state)
{
    (void)state;
    struct result r = parse(TH_STR(START HOST "traceparent: a\r\nTraceparent: b\r\n\r\n"));
    assert_int_equal(r.result, 0);
    assert_int_equal(r.head.traceparent, -1);
    assert_true(r.fields[1].dropped && r.fields[2].dropped);
    r = parse(TH_STR(START HOST "traceparent: a\r\nConnection: traceparent\r\n\r\n"));
    assert_int_equal(r.head.traceparent, -1);
}

static void find_passes_over_dropped_fields(void **state)
{
    (void)state;
    struct result r = parse(TH_STR(START HOST "Upgrade: a\r\nCookie: 1\r\nCookie: 2\r\n\r\n"));
    r.head.fields = r.fields;
    assert_null(th_head_find(&r.head, TH_HEADER_UPGRADE));
    assert_str_equal(th_head_find_any(&r.head, TH_HEADER_UPGRADE)->value, "a");
    assert_str_equal(th_head_find(&r.head, TH_HEADER_COOKIE)->value, "1");
    r.fields[2].dropped = true;
    assert_str_equal(th_head_find(&r.head, TH_HEADER_COOKIE)->value, "2");
    assert_null(th_head_find(&r.head, TH_HEADER_VIA));
    assert_null(th_head_find_any(&r.head, TH_HEADER_VIA));
}

/* --- limits --- */

static void r1_request_line_longer_than_the_limit(void **state)
{
    (void)state;
    char text[LIMIT_HEAD + 100];
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    assert_int_equal(parse((struct th_str){text, LIMIT_HEAD - 1}).result, TH_AGAIN);
    assert_int_equal(parse((struct th_str){text, LIMIT_HEAD}).result, TH_E_URI_TOO_LONG);
    assert_int_equal(parse((struct th_str){text, sizeof(text)}).result, TH_E_URI_TOO_LONG);
}

static void r1_head_longer_than_the_limit(void **state)
{
    (void)state;
    char text[LIMIT_HEAD + 100];
    memset(text, 'a', sizeof(text));
    memcpy(text, START HOST "X:", strlen(START HOST "X:"));
    assert_int_equal(parse((struct th_str){text, LIMIT_HEAD - 1}).result, TH_AGAIN);
    assert_int_equal(parse((struct th_str){text, LIMIT_HEAD}).result, TH_E_HEAD_TOO_LARGE);
    /* complete, but one byte beyond */
    memcpy(text + LIMIT_HEAD - 3, "\r\n\r\n", 4);
    assert_int_equal(parse((struct th_str){text, LIMIT_HEAD + 1}).result, TH_E_HEAD_TOO_LARGE);
    /* complete, of exactly the limit */
    memcpy(text + LIMIT_HEAD - 4, "\r\n\r\n", 4);
    assert_int_equal(parse((struct th_str){text, LIMIT_HEAD}).result, 0);
    /* the limit is the head's; what follows does not count */
    assert_int_equal(parse((struct th_str){text, sizeof(text)}).result, 0);
}

static void r1_more_fields_than_the_limit(void **state)
{
    (void)state;
    char text[1024] = START HOST;
    for (int i = 1; i < LIMIT_FIELDS; i++)
        strcat(text, "X: y\r\n");
    size_t len = strlen(text);
    strcat(text, "\r\n");
    assert_int_equal(parse(th_str_of(text)).result, 0);
    memcpy(text + len, "X: y\r\n\r\n", 9);
    assert_int_equal(parse(th_str_of(text)).result, TH_E_HEAD_TOO_LARGE);

    /* the array's size is a limit as well */
    struct th_field fields[2];
    struct th_head head = {.fields = fields, .max_fields = 2};
    struct th_http1_limits limits = {LIMIT_HEAD, 100};
    size_t scanned = 0;
    struct th_str more = TH_STR(START HOST "A: 1\r\nB: 2\r\n\r\n");
    assert_int_equal(th_http1_parse_request(&head, more.ptr, more.len, &scanned, &limits),
                     TH_E_HEAD_TOO_LARGE);
}

static void mistakes_are_found_when_their_line_is_complete(void **state)
{
    (void)state;
    static const struct th_http1_limits limits = {LIMIT_HEAD, LIMIT_FIELDS};
    struct th_str text = TH_STR(START HOST "X : bad\r\nY: never comes");
    struct th_field fields[LIMIT_FIELDS];
    struct th_head head = {.fields = fields, .max_fields = LIMIT_FIELDS};
    size_t scanned = 0;
    size_t bad = strlen(START HOST "X : bad\r\n");
    assert_int_equal(th_http1_parse_request(&head, text.ptr, 10, &scanned, &limits), TH_AGAIN);
    assert_int_equal(scanned, 10);
    assert_int_equal(th_http1_parse_request(&head, text.ptr, bad - 1, &scanned, &limits),
                     TH_E_BAD_REQUEST);
}

static void scanned_is_kept_and_reset(void **state)
{
    (void)state;
    static const struct th_http1_limits limits = {LIMIT_HEAD, LIMIT_FIELDS};
    struct th_str text = TH_STR(START HOST "\r\n" START);
    struct th_field fields[LIMIT_FIELDS];
    struct th_head head = {.fields = fields, .max_fields = LIMIT_FIELDS};
    size_t scanned = 0;
    assert_int_equal(th_http1_parse_request(&head, text.ptr, 0, &scanned, &limits), TH_AGAIN);
    assert_int_equal(th_http1_parse_request(&head, text.ptr, 5, &scanned, &limits), TH_AGAIN);
    assert_int_equal(scanned, 5);
    assert_int_equal(th_http1_parse_request(&head, text.ptr, 5, &scanned, &limits), TH_AGAIN);
    assert_int_equal(th_http1_parse_request(&head, text.ptr, text.len, &scanned, &limits), 0);
    assert_int_equal(scanned, 0);
    /* the next one, pipelined, is incomplete */
    assert_int_equal(
        th_http1_parse_request(&head, text.ptr + head.len, text.len - head.len, &scanned, &limits),
        TH_AGAIN);
}

static void methods_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum th_method method;
        bool idempotent;
    } rows[] = {
        {"GET", TH_METHOD_GET, true},          {"HEAD", TH_METHOD_HEAD, true},
        {"POST", TH_METHOD_POST, false},       {"PUT", TH_METHOD_PUT, true},
        {"DELETE", TH_METHOD_DELETE, true},    {"PATCH", TH_METHOD_PATCH, false},
        {"OPTIONS", TH_METHOD_OPTIONS, true},  {"TRACE", TH_METHOD_TRACE, true},
        {"CONNECT", TH_METHOD_CONNECT, false}, {"get", TH_METHOD_OTHER, false},
        {"GETS", TH_METHOD_OTHER, false},      {"", TH_METHOD_OTHER, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(th_method_find(th_str_of(rows[i].text)), rows[i].method);
        assert_int_equal(th_method_is_idempotent(rows[i].method), rows[i].idempotent);
    }
}

int main(void)
{
    static struct test_list list;
    TEST_LIST_ADD_ROWS(&list, refusals, refuses);
    TEST_LIST_ADD_ROWS(&list, acceptances, accepts);
    TEST_LIST_ADD_ROWS(&list, flags_rows, flags_hold);
    TEST_LIST_ADD(&list, parts_are_as_sent);
    TEST_LIST_ADD(&list, facts_that_are_absent);
    TEST_LIST_ADD(&list, r2_hop_by_hop_fields_are_dropped);
    TEST_LIST_ADD(&list, r2_fields_named_by_connection_are_dropped);
    TEST_LIST_ADD(&list, r2_fixed_fields_cannot_be_nominated_away);
    TEST_LIST_ADD(&list, connection_options_are_bounded);
    TEST_LIST_ADD(&list, two_traceparents_are_void);
    TEST_LIST_ADD(&list, find_passes_over_dropped_fields);
    TEST_LIST_ADD(&list, r1_request_line_longer_than_the_limit);
    TEST_LIST_ADD(&list, r1_head_longer_than_the_limit);
    TEST_LIST_ADD(&list, r1_more_fields_than_the_limit);
    TEST_LIST_ADD(&list, mistakes_are_found_when_their_line_is_complete);
    TEST_LIST_ADD(&list, scanned_is_kept_and_reset);
    TEST_LIST_ADD(&list, methods_are_known);
    return test_list_run("http_request", &list);
}
