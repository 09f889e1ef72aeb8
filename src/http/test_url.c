#include "tokenhop/http/url.h"

#include "properties.h"
#include "test_rows.h"

#define T(literal)                                                                                 \
    {                                                                                              \
        "" literal, sizeof(literal) - 1                                                            \
    }
#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A61 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* --- absolute-form --- */

struct url_row {
    const char *name;
    struct th_str text;
    const char *authority; /* as written for a Host field; NULL: refused */
    const char *host;
    const char *path;
    const char *path_query;
    uint16_t port;
};

#define BAD(name, text)                                                                            \
    {                                                                                              \
        name, T(text), NULL, NULL, NULL, NULL, 0                                                   \
    }

static const struct url_row url_rows[] = {
    {"plain", T("http://example.com/a/b?c=d"), "example.com", "example.com", "/a/b", "/a/b?c=d",
     80},
    {"https", T("https://example.com/"), "example.com", "example.com", "/", "/", 443},
    {"without_path", T("http://example.com"), "example.com", "example.com", "/", "/", 80},
    {"r7_case_is_lowered", T("HtTpS://ExAmPlE.CoM/PaTh"), "example.com", "example.com", "/PaTh",
     "/PaTh", 443},
    {"port", T("http://h:8080/"), "h:8080", "h", "/", "/", 8080},
    {"port_of_the_scheme", T("https://h:443/"), "h", "h", "/", "/", 443},
    {"port_of_the_other_scheme", T("http://h:443/"), "h:443", "h", "/", "/", 443},
    {"port_1", T("http://h:1"), "h:1", "h", "/", "/", 1},
    {"port_65535", T("http://h:65535"), "h:65535", "h", "/", "/", 65535},
    {"ipv4", T("http://192.168.0.255:80/"), "192.168.0.255", "192.168.0.255", "/", "/", 80},
    {"ipv6", T("http://[::1]:8080/x"), "[::1]:8080", "::1", "/x", "/x", 8080},
    {"ipv6_in_another_form", T("http://[0:0:0:0:0:0:0:1]/"), "[::1]", "::1", "/", "/", 80},
    {"ipv6_upper_case", T("http://[FE80::A]/"), "[fe80::a]", "fe80::a", "/", "/", 80},
    {"ipv6_mapped", T("http://[::ffff:1.2.3.4]/"), "[::ffff:1.2.3.4]", "::ffff:1.2.3.4", "/", "/",
     80},
    {"underscore_and_hyphen", T("http://a_b.c-d/"), "a_b.c-d", "a_b.c-d", "/", "/", 80},
    {"punycode", T("http://xn--bcher-kva.example/"), "xn--bcher-kva.example",
     "xn--bcher-kva.example", "/", "/", 80},
    {"name_that_begins_with_digits", T("http://1a.2b/"), "1a.2b", "1a.2b", "/", "/", 80},
    {"name_with_numeric_label_inside", T("http://1.2.3.x/"), "1.2.3.x", "1.2.3.x", "/", "/", 80},
    {"label_of_63", T("http://" A63 "/"), A63, A63, "/", "/", 80},
    {"name_of_253", T("http://" A63 "." A63 "." A63 "." A61 "/"), A63 "." A63 "." A63 "." A61,
     A63 "." A63 "." A63 "." A61, "/", "/", 80},
    {"percent_encoding_is_kept", T("http://h/a%2Fb%c3%A9?%20"), "h", "h", "/a%2Fb%c3%A9",
     "/a%2Fb%c3%A9?%20", 80},
    {"dots_are_kept_for_others_to_judge", T("http://h/a/../b//c"), "h", "h", "/a/../b//c",
     "/a/../b//c", 80},
    {"all_of_pchar", T("http://h/-._~!$&'()*+,;=:@aZ09"), "h", "h", "/-._~!$&'()*+,;=:@aZ09",
     "/-._~!$&'()*+,;=:@aZ09", 80},
    {"query_with_slashes_and_questions", T("http://h/?a/b?c:@"), "h", "h", "/", "/?a/b?c:@", 80},
    {"query_as_browsers_send_it", T("http://h/?f[a]={b}|c^d`e\\"), "h", "h", "/",
     "/?f[a]={b}|c^d`e\\", 80},
    {"query_empty", T("http://h/p?"), "h", "h", "/p", "/p?", 80},

    BAD("r7_empty", ""),
    BAD("r7_scheme_ftp", "ftp://h/"),
    BAD("r7_scheme_ws", "ws://h/"),
    BAD("r7_scheme_missing", "//h/"),
    BAD("r7_scheme_with_one_slash", "http:/h/"),
    BAD("r7_scheme_without_slashes", "http:h/"),
    BAD("r7_scheme_with_backslashes", "http:\\\\h/"),
    BAD("r7_origin_form", "/path"),
    BAD("r7_authority_form", "h:443"),
    BAD("r7_asterisk", "*"),
    BAD("r7_leading_space", " http://h/"),
    BAD("r7_host_empty", "http:///path"),
    BAD("r7_host_empty_with_port", "http://:80/"),
    BAD("r7_host_trailing_dot", "http://h./"),
    BAD("r7_host_leading_dot", "http://.h/"),
    BAD("r7_host_double_dot", "http://a..b/"),
    BAD("r7_host_userinfo", "http://user@h/"),
    BAD("r7_host_userinfo_with_password", "http://user:pw@h/"),
    BAD("r7_host_empty_userinfo", "http://@h/"),
    BAD("r7_host_percent_encoded", "http://%68/"),
    BAD("r7_host_percent_encoded_dot", "http://a%2eb/"),
    BAD("r7_host_raw_utf8", "http://b\xc3\xbc"
                            "cher/"),
    BAD("r7_host_with_space", "http://a b/"),
    BAD("r7_host_with_nul", "http://a\0b/"),
    BAD("r7_host_with_comma", "http://a,b/"),
    BAD("r7_host_with_backslash", "http://a\\b/"),
    BAD("r7_host_label_of_64", "http://a" A63 "/"),
    BAD("r7_host_of_254", "http://a" A63 "." A63 "." A63 "." A61 "/"),
    BAD("r7_host_label_begins_with_hyphen", "http://-a/"),
    BAD("r7_host_label_ends_with_hyphen", "http://a-.b/"),
    BAD("r7_ipv4_three_numbers", "http://127.0.1/"),
    BAD("r7_ipv4_one_number", "http://2130706433/"),
    BAD("r7_ipv4_hexadecimal", "http://0x7f000001/"),
    BAD("r7_ipv4_last_hexadecimal", "http://127.0.0.0x1/"),
    BAD("r7_ipv4_octal", "http://0177.0.0.1/"),
    BAD("r7_ipv4_leading_zero", "http://127.0.0.01/"),
    BAD("r7_ipv4_beyond_255", "http://127.0.0.256/"),
    BAD("r7_ipv4_five_numbers", "http://1.2.3.4.5/"),
    BAD("r7_ipv4_trailing_dot", "http://127.0.0.1./"),
    BAD("r7_name_that_ends_in_a_number", "http://example.123/"),
    BAD("r7_ipv6_without_brackets", "http://::1/"),
    BAD("r7_ipv6_zone", "http://[fe80::1%25eth0]/"),
    BAD("r7_ipv6_zone_raw", "http://[fe80::1%eth0]/"),
    BAD("r7_ipv6_not_closed", "http://[::1/"),
    BAD("r7_ipv6_empty", "http://[]/"),
    BAD("r7_ipv6_two_gaps", "http://[1::2::3]/"),
    BAD("r7_ipv6_text_after", "http://[::1]x/"),
    BAD("r7_ipv6_nul_inside", "http://[::1\0]/"),
    BAD("r7_ipv6_too_long", "http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]/"),
    BAD("r7_ipvfuture", "http://[v1.a]/"),
    BAD("r7_name_in_brackets", "http://[h]/"),
    BAD("r7_ipv4_in_brackets", "http://[1.2.3.4]/"),
    BAD("r7_port_empty", "http://h:/"),
    BAD("r7_port_0", "http://h:0/"),
    BAD("r7_port_65536", "http://h:65536/"),
    BAD("r7_port_of_six_digits", "http://h:100000/"),
    BAD("r7_port_leading_zero", "http://h:080/"),
    BAD("r7_port_sign", "http://h:+80/"),
    BAD("r7_port_hexadecimal", "http://h:0x50/"),
    BAD("r7_port_name", "http://h:http/"),
    BAD("r7_port_twice", "http://h:80:80/"),
    BAD("r7_port_space", "http://h:80 /"),
    BAD("r9_fragment", "http://h/a#b"),
    BAD("r9_fragment_without_path", "http://h#b"),
    BAD("r9_fragment_in_query", "http://h/?a#b"),
    BAD("query_without_path", "http://h?a"),
    BAD("path_with_space", "http://h/a b"),
    BAD("path_with_backslash", "http://h/a\\b"),
    BAD("path_with_brackets", "http://h/a[b]"),
    BAD("path_with_quote", "http://h/a\"b"),
    BAD("path_with_angle", "http://h/<b>"),
    BAD("path_with_caret", "http://h/a^b"),
    BAD("path_with_control", "http://h/a\001b"),
    BAD("path_with_obs_text", "http://h/\xc3\xa9"),
    BAD("query_with_quote", "http://h/?\"b\""),
    BAD("query_with_angle", "http://h/?<b>"),
    BAD("percent_alone", "http://h/100%"),
    BAD("percent_one_digit", "http://h/%4"),
    BAD("percent_not_hexadecimal", "http://h/%4g"),
    BAD("percent_cut_by_query", "http://h/%4?1"),
    BAD("percent_in_query", "http://h/?%"),
    BAD("percent_u_encoding", "http://h/%u002e"),
};

static void url_parses(void **state)
{
    const struct url_row *row = *state;
    struct th_url url;
    th_property_url(row->text.ptr, row->text.len);
    int r = th_url_parse(row->text, &url);
    if (row->authority == NULL) {
        assert_int_equal(r, TH_E_BAD_TARGET);
        return;
    }
    assert_int_equal(r, 0);
    char room[300];
    size_t len = th_url_write_authority(&url, room, sizeof(room));
    assert_int_equal(len, strlen(row->authority));
    assert_memory_equal(room, row->authority, len);
    assert_true(th_str_equal(url.host, th_str_of(row->host)));
    assert_true(th_str_equal(url.path, th_str_of(row->path)));
    assert_true(th_str_equal(url.path_query, th_str_of(row->path_query)));
    assert_int_equal(url.port, row->port);
    assert_int_equal(url.host_is_ipv6, strchr(row->host, ':') != NULL);
}

/* --- authority --- */

struct authority_row {
    const char *name;
    struct th_str text;
    bool port_required;
    const char *host; /* NULL: refused */
    uint16_t port;
    bool is_literal;
};

static const struct authority_row authority_rows[] = {
    {"connect", T("Example.com:443"), true, "example.com", 443, false},
    {"connect_ipv4", T("10.0.0.1:443"), true, "10.0.0.1", 443, true},
    {"connect_ipv6", T("[::1]:443"), true, "::1", 443, true},
    {"connect_without_port", T("example.com"), true, NULL, 0, false},
    {"connect_ipv6_without_port", T("[::1]"), true, NULL, 0, false},
    {"connect_empty_port", T("example.com:"), true, NULL, 0, false},
    {"connect_port_0", T("example.com:0"), true, NULL, 0, false},
    {"connect_with_path", T("example.com:443/"), true, NULL, 0, false},
    {"connect_with_scheme", T("http://example.com:443"), true, NULL, 0, false},
    {"host_without_port", T("example.com"), false, "example.com", 0, false},
    {"host_ipv6_without_port", T("[2001:DB8::1]"), false, "2001:db8::1", 0, true},
    {"host_empty", T(""), false, NULL, 0, false},
    {"host_empty_port", T("example.com:"), false, NULL, 0, false},
    {"host_with_query", T("example.com?x"), false, NULL, 0, false},
    {"host_with_fragment", T("example.com#x"), false, NULL, 0, false},
};

static void authority_parses(void **state)
{
    const struct authority_row *row = *state;
    struct th_url url;
    int r = th_url_parse_authority(row->text, row->port_required, &url);
    if (row->host == NULL) {
        assert_int_equal(r, TH_E_BAD_TARGET);
        return;
    }
    assert_int_equal(r, 0);
    assert_true(th_str_equal(url.host, th_str_of(row->host)));
    assert_int_equal(url.port, row->port);
    assert_int_equal(url.port_named, row->port != 0);
    assert_int_equal(url.host_is_literal, row->is_literal);
}

static void origin_form_parses(void **state)
{
    (void)state;
    struct th_url url;
    assert_int_equal(th_url_parse_path_query(TH_STR("/a/b?c"), &url), 0);
    assert_str_equal(url.path, "/a/b");
    assert_str_equal(url.path_query, "/a/b?c");
    static const char *const refused[] = {"", "a", "*", "?a", "http://h/", "/a#b", "/a b", "/%"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_equal(th_url_parse_path_query(th_str_of(refused[i]), &url), TH_E_BAD_TARGET);
}

static void authority_is_not_written_into_too_little_room(void **state)
{
    (void)state;
    struct th_url url;
    char room[16];
    memset(room, '#', sizeof(room));
    assert_int_equal(th_url_parse(TH_STR("http://[::1]:81/"), &url), 0);
    assert_int_equal(th_url_write_authority(&url, room, 7), 0);
    assert_int_equal(room[0], '#');
    assert_int_equal(th_url_write_authority(&url, room, 8), 8);
    assert_memory_equal(room, "[::1]:81#", 9);
}

static void websocket_urls_name_http_ones(void **state)
{
    (void)state;
    struct th_url url;
    assert_int_equal(th_url_parse_websocket(TH_STR("ws://Agent2.Test/a?b"), &url), 0);
    assert_int_equal(url.scheme, TH_SCHEME_HTTP);
    assert_int_equal(url.port, 80);
    assert_str_equal(url.host, "agent2.test");
    assert_str_equal(url.path_query, "/a?b");
    assert_int_equal(th_url_parse_websocket(TH_STR("WSS://h"), &url), 0);
    assert_int_equal(url.scheme, TH_SCHEME_HTTPS);
    assert_int_equal(url.port, 443);
    assert_str_equal(url.path_query, "/");
    static const char *const refused[] = {"http://h/", "https://h/", "w://h/",
                                          "ws:/h/",    "ws://",      "wsss://h/",
                                          "ws://u@h/", "ws://h/#f",  "ws://h?q"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_equal(th_url_parse_websocket(th_str_of(refused[i]), &url), TH_E_BAD_TARGET);
    assert_int_equal(th_url_parse(TH_STR("ws://h/"), &url), TH_E_BAD_TARGET);
}

static void schemes_have_ports_and_texts(void **state)
{
    (void)state;
    assert_int_equal(th_scheme_port(TH_SCHEME_HTTP), 80);
    assert_int_equal(th_scheme_port(TH_SCHEME_HTTPS), 443);
    assert_str_equal(th_scheme_text(TH_SCHEME_HTTP), "http");
    assert_str_equal(th_scheme_text(TH_SCHEME_HTTPS), "https");
}

/* --- ambiguous paths --- */

struct path_row {
    const char *name;
    struct th_str path;
    bool ambiguous;
};

static const struct path_row path_rows[] = {
    {"r9_root", T("/"), false},
    {"r9_plain", T("/a/b.c/d"), false},
    {"r9_trailing_slash", T("/a/b/"), false},
    {"r9_name_with_dots", T("/a..b/.well-known/agent-card.json/...//"), true}, /* its "//" */
    {"r9_well_known", T("/.well-known/agent-card.json"), false},
    {"r9_dots_within_names", T("/a..b/..c/d../.e/..."), false},
    {"r9_parameters_on_names", T("/a;x=1/b;y"), false},
    {"r9_encoded_letter", T("/%41%c3%a9"), false},
    {"r9_encoded_space_and_percent", T("/a%20b/100%25"), false},
    {"r9_encoded_percent_and_letters", T("/100%25ab"), false},
    {"r9_colon_verb", T("/message:send"), false},
    {"r9_dot_segment", T("/a/./b"), true},
    {"r9_dot_segment_at_end", T("/a/."), true},
    {"r9_dot_dot_segment", T("/a/../b"), true},
    {"r9_dot_dot_segment_first", T("/../b"), true},
    {"r9_dot_dot_segment_at_end", T("/a/.."), true},
    {"r9_dot_dot_with_parameters", T("/a/..;x/b"), true},
    {"r9_dot_dot_with_empty_parameters", T("/a/..;/b"), true},
    {"r9_dot_with_parameters", T("/a/.;x=y"), true},
    {"r9_dot_dot_with_encoded_semicolon", T("/a/..%3Bx/b"), true},
    {"r9_encoded_dot", T("/a/%2e%2e/b"), true},
    {"r9_encoded_dot_upper_case", T("/a/.%2E/b"), true},
    {"r9_encoded_dot_in_name", T("/a%2Eb"), true},
    {"r9_encoded_slash", T("/a%2fb"), true},
    {"r9_encoded_slash_upper_case", T("/a%2Fb"), true},
    {"r9_encoded_backslash", T("/a%5cb"), true},
    {"r9_encoded_nul", T("/a%00"), true},
    {"r9_encoded_control", T("/a%0d%0ab"), true},
    {"r9_encoded_control_1f", T("/a%1f"), true},
    {"r9_encoded_delete", T("/a%7F"), true},
    {"r9_double_slash", T("/a//b"), true},
    {"r9_double_slash_first", T("//a"), true},
    {"r9_double_slash_at_end", T("/a//"), true},
    {"r9_backslash", T("/a\\b"), true},
    {"r9_fragment", T("/a#b"), true},
    {"r9_control", T("/a\001"), true},
    {"r9_empty", T(""), true},
    {"r9_without_slash", T("a/b"), true},
    {"r9_encoded_twice_dot", T("/a/%252e%252e/b"), true},
    {"r9_encoded_twice_slash", T("/a%252fb"), true},
    {"r9_encoded_twice_backslash", T("/a%255Cb"), true},
    {"r9_encoded_twice_nul", T("/a%2500"), true},
    {"r9_encoded_thrice", T("/a%25252e"), true},
    {"r9_encoded_twice_digits_too", T("/a/%25%32%65%25%32%65/b"), true},
    {"r9_encoded_twice_first_digit_too", T("/a%25%32fb"), true},
    {"r9_encoded_twice_last_digit_too", T("/a%252%66b"), true},
    {"r9_encoded_thrice_digits_too", T("/a%25%32%352e"), true},
    {"r9_encoded_percent_and_encoded_letter", T("/100%25%67%65"), false},
    {"r9_encoded_percent_and_one_digit", T("/100%25%32"), false},
    {"r9_overlong_dot", T("/a/%c0%ae%c0%ae/b"), true},
    {"r9_overlong_slash", T("/a%C0%AFb"), true},
    {"r9_overlong_slash_of_three", T("/a%e0%80%afb"), true},
    {"r9_overlong_slash_of_four", T("/a%f0%80%80%afb"), true},
    {"r9_utf8_of_three", T("/%e0%a4%85"), false},
    {"r9_utf8_of_four", T("/%f0%9f%98%80"), false},
    {"r9_percent_cut", T("/a%2"), true},
};

static void path_is_judged(void **state)
{
    const struct path_row *row = *state;
    assert_int_equal(th_url_path_is_ambiguous(row->path), row->ambiguous);
}

int main(void)
{
    static struct test_list list;
    TEST_LIST_ADD_ROWS(&list, url_rows, url_parses);
    TEST_LIST_ADD_ROWS(&list, authority_rows, authority_parses);
    TEST_LIST_ADD_ROWS(&list, path_rows, path_is_judged);
    TEST_LIST_ADD(&list, origin_form_parses);
    TEST_LIST_ADD(&list, authority_is_not_written_into_too_little_room);
    TEST_LIST_ADD(&list, websocket_urls_name_http_ones);
    TEST_LIST_ADD(&list, schemes_have_ports_and_texts);
    return test_list_run("http_url", &list);
}
