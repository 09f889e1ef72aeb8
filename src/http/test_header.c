#include "tokenhop/http/header.h"

#include <stdlib.h>

#include "scan.h"
#include "test_rows.h"

static void every_row_is_found_in_any_case(void **state)
{
    (void)state;
    for (int id = TH_HEADER_UNKNOWN + 1; id < TH_HEADER_COUNT; id++) {
        struct th_str name = th_header_get((enum th_header_id)id)->name;
        char text[64];
        assert_in_range(name.len, 2, sizeof(text));
        for (unsigned mask = 0; mask < 4; mask++) {
            for (size_t i = 0; i < name.len; i++) {
                bool up = (mask & 1) == 0 ? (mask & 2) != 0 : i % 2 == mask / 2;
                char c = name.ptr[i];
                assert_false(c >= 'A' && c <= 'Z');
                text[i] = up && c >= 'a' && c <= 'z' ? (char)(c - 0x20) : c;
            }
            assert_int_equal(th_header_find((struct th_str){text, name.len}), id);
        }
    }
}

/* The comparison works on words of letters: no other byte may pass for one of them. */
static void a_name_with_another_byte_is_unknown(void **state)
{
    (void)state;
    for (int id = TH_HEADER_UNKNOWN + 1; id < TH_HEADER_COUNT; id++) {
        struct th_str name = th_header_get((enum th_header_id)id)->name;
        char text[64];
        memcpy(text, name.ptr, name.len);
        for (size_t i = 0; i < name.len; i++) {
            for (int byte = 0; byte < 256; byte++) {
                char was = text[i];
                text[i] = (char)byte;
                struct th_str changed = {text, name.len};
                enum th_header_id found = th_header_find(changed);
                assert_int_equal(found == (enum th_header_id)id,
                                 th_str_equal_nocase(changed, name));
                text[i] = was;
            }
        }
    }
}

static void other_names_are_unknown(void **state)
{
    (void)state;
    static const char *const names[] = {"",
                                        "x",
                                        "hos",
                                        "hosts",
                                        "x-host",
                                        "t",
                                        "vi",
                                        "viaa",
                                        "content-lengt",
                                        "ontent-length",
                                        "content_length",
                                        "content-length ",
                                        "content-lengthh"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(th_header_find(th_str_of(names[i])), TH_HEADER_UNKNOWN);
    assert_int_equal(th_header_get(TH_HEADER_UNKNOWN)->flags, 0);
    assert_int_equal(th_header_get(TH_HEADER_UNKNOWN)->name.len, 0);
}

static void r2_flags_of_what_frames_and_authenticates(void **state)
{
    (void)state;
    static const struct {
        enum th_header_id id;
        unsigned flags;
    } rows[] = {
        {TH_HEADER_HOST, TH_HEADER_FIXED | TH_HEADER_NO_TRAILER},
        {TH_HEADER_CONTENT_LENGTH, TH_HEADER_FIXED | TH_HEADER_FRAMING | TH_HEADER_NO_TRAILER},
        {TH_HEADER_TRANSFER_ENCODING, TH_HEADER_HOP | TH_HEADER_FRAMING | TH_HEADER_NO_TRAILER},
        {TH_HEADER_AUTHORIZATION, TH_HEADER_FIXED | TH_HEADER_CREDENTIAL | TH_HEADER_NO_TRAILER},
        {TH_HEADER_PROXY_AUTHORIZATION, TH_HEADER_HOP | TH_HEADER_CREDENTIAL},
        {TH_HEADER_CONNECTION, TH_HEADER_HOP},
        {TH_HEADER_COOKIE, TH_HEADER_CREDENTIAL},
        {TH_HEADER_DPOP, TH_HEADER_CREDENTIAL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(th_header_get(rows[i].id)->flags & rows[i].flags, rows[i].flags);
}

/* --- classes of bytes --- */

static void classes_are_those_of_the_rfcs(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        bool alnum = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                     (byte >= 'A' && byte <= 'Z');
        bool pchar = alnum || (byte != 0 && strchr("-._~!$&'()*+,;=:@%/", byte) != NULL);
        assert_int_equal(th_scan_is(c, TH_SCAN_TOKEN),
                         alnum || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL));
        assert_int_equal(th_scan_is(c, TH_SCAN_VALUE),
                         byte == '\t' || (byte >= 0x20 && byte != 0x7f));
        assert_int_equal(th_scan_is(c, TH_SCAN_TARGET), byte > 0x20 && byte < 0x7f);
        assert_int_equal(th_scan_is(c, TH_SCAN_PATH), pchar);
        assert_int_equal(th_scan_is(c, TH_SCAN_QUERY),
                         pchar || (byte != 0 && strchr("?[]{}|\\^`", byte) != NULL));
        assert_int_equal(th_scan_is(c, TH_SCAN_HOST),
                         alnum || byte == '-' || byte == '_' || byte == '.');
        bool hex = byte != 0 && strchr("0123456789abcdefABCDEF", byte) != NULL;
        assert_int_equal(th_scan_is(c, TH_SCAN_HEX), hex);
        if (hex) {
            char text[2] = {c, '\0'};
            assert_int_equal(th_scan_hex_value(c), strtol(text, NULL, 16));
        }
    }
}

/* All ways to scan find every byte at every place, in runs of every length. */
static void scans_agree(void **state)
{
    (void)state;
    char text[80];
    static const enum th_scan_class classes[] = {TH_SCAN_VALUE, TH_SCAN_TARGET};
    for (int k = 0; k < 2; k++) {
        for (size_t len = 0; len < sizeof(text); len += 1 + len / 8) {
            for (size_t at = 0; at < len; at++) {
                for (int byte = 0; byte < 256; byte++) {
                    memset(text, 'x', sizeof(text));
                    text[at] = (char)byte;
                    text[len] = '\0';
                    const char *end = text + len;
                    const char *want = th_scan_class(text, end, classes[k]);
                    struct th_str all = {text, len};
                    if (th_scan_words(text, end, classes[k]) != want ||
                        th_scan_vectors(text, end, classes[k]) != want ||
                        th_scan_holds(all, classes[k]) != (want == end))
                        fail_msg("byte %d at %zu of %zu", byte, at, len);
                }
            }
        }
    }
}

static void colons_are_found(void **state)
{
    (void)state;
    for (int at = 0; at < 16; at++) {
        char text[17] = "xxxxxxxxxxxxxxx:";
        text[at] = ':';
        assert_int_equal(th_scan_colon(text), at);
    }
    assert_int_equal(th_scan_colon("xxxxxxxxxxxxxxxx:"), -1);
}

/* Runs of what a word is looked at twice for. */
static void scans_pass_over_tabs_and_high_bytes(void **state)
{
    (void)state;
    char text[64];
    const char *end = text + sizeof(text);
    memset(text, '\t', sizeof(text));
    assert_ptr_equal(th_scan_words(text, end, TH_SCAN_VALUE), end);
    assert_ptr_equal(th_scan_vectors(text, end, TH_SCAN_VALUE), end);
    memset(text, 0xff, sizeof(text));
    assert_ptr_equal(th_scan_words(text, end, TH_SCAN_VALUE), end);
    assert_ptr_equal(th_scan_vectors(text, end, TH_SCAN_VALUE), end);
    assert_ptr_equal(th_scan_words(text, end, TH_SCAN_TARGET), text);
}

int main(void)
{
    static struct test_list list;
    TEST_LIST_ADD(&list, every_row_is_found_in_any_case);
    TEST_LIST_ADD(&list, a_name_with_another_byte_is_unknown);
    TEST_LIST_ADD(&list, other_names_are_unknown);
    TEST_LIST_ADD(&list, r2_flags_of_what_frames_and_authenticates);
    TEST_LIST_ADD(&list, classes_are_those_of_the_rfcs);
    TEST_LIST_ADD(&list, scans_agree);
    TEST_LIST_ADD(&list, colons_are_found);
    TEST_LIST_ADD(&list, scans_pass_over_tabs_and_high_bytes);
    return test_list_run("http_header", &list);
}
