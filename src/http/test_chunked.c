#include <stdio.h>
#include <stdlib.h>

#include "properties.h"
#include "test_rows.h"

#define T(literal)                                                                                 \
    {                                                                                              \
        "" literal, sizeof(literal) - 1                                                            \
    }

struct chunked_row {
    const char *name;
    struct th_str text;
    int result;
    const char *data;
    const char *trailer;
    const char *rest; /* what was not taken */
};

#define GOOD(name, text, data)                                                                     \
    {                                                                                              \
        name, T(text), TH_CHUNKED_DONE, data, "", ""                                               \
    }
#define MORE(name, text, data)                                                                     \
    {                                                                                              \
        name, T(text), 0, data, "", ""                                                             \
    }
#define BAD(name, text)                                                                            \
    {                                                                                              \
        name, T(text), TH_E_BAD_CHUNK, "", "", ""                                                  \
    }

static const struct chunked_row rows[] = {
    GOOD("one_chunk", "5\r\nhello\r\n0\r\n\r\n", "hello"),
    GOOD("two_chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"),
    GOOD("empty_body", "0\r\n\r\n", ""),
    GOOD("upper_and_lower_case_digits", "A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n",
         "01234567890123456789a"),
    GOOD("leading_zeros", "0000000000000005\r\nhello\r\n000\r\n\r\n", "hello"),
    GOOD("data_that_looks_like_a_chunk", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
    GOOD("extension_name", "5;a\r\nhello\r\n0\r\n\r\n", "hello"),
    GOOD("extension_token", "5;a=b;c=d\r\nhello\r\n0;e\r\n\r\n", "hello"),
    GOOD("extension_quoted", "5;a=\"b;\\\" \t\xff\"\r\nhello\r\n0\r\n\r\n", "hello"),
    GOOD("extension_quoted_empty", "5;a=\"\"\r\nhello\r\n0\r\n\r\n", "hello"),
    GOOD("extension_blanks", "5 \t; a \t= \"b\" ; c\r\nhello\r\n0\r\n\r\n", "hello"),
    MORE("incomplete_size", "5", ""),
    MORE("incomplete_data", "5\r\nhel", "hel"),
    MORE("incomplete_end_of_data", "5\r\nhello\r", "hello"),
    MORE("last_chunk_missing", "5\r\nhello\r\n", "hello"),
    MORE("last_line_missing", "5\r\nhello\r\n0\r\n", "hello"),
    MORE("last_lf_missing", "5\r\nhello\r\n0\r\n\r", "hello"),
    MORE("largest_size", "7fffffffffffffff\r\nab", "ab"),
    {"bytes_after_belong_to_what_follows", T("1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n"),
     TH_CHUNKED_DONE, "a", "", "GET / HTTP/1.1\r\n"},
    {"trailers_are_collected", T("1\r\na\r\n0\r\nX-Sum: 1\r\nY:2\r\n\r\n"), TH_CHUNKED_DONE, "a",
     "X-Sum: 1\r\nY:2\r\n", ""},
    /* R1 */
    BAD("r1_size_empty", "\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_not_hexadecimal", "g\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_with_prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_with_sign", "+5\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_negative", "-5\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_with_leading_space", " 5\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_with_trailing_space", "5 \r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_of_two_numbers", "5 5\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_with_underscore", "1_0\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_overlong", "00000000000000005\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_overlong_zeros", "00000000000000000\r\n\r\n"),
    BAD("r1_size_overflows_int64", "8000000000000000\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_overflows_uint64", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_line_ended_by_lf", "5\nhello\r\n0\r\n\r\n"),
    BAD("r1_size_line_ended_by_cr", "5\rhello\r\n0\r\n\r\n"),
    BAD("r1_data_not_closed", "5\r\nhello0\r\n\r\n"),
    BAD("r1_data_closed_by_lf", "5\r\nhello\n0\r\n\r\n"),
    BAD("r1_data_closed_by_cr_alone", "5\r\nhello\r0\r\n\r\n"),
    BAD("r1_data_longer_than_size", "4\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_lf_inside", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_lf_in_quotes", "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_cr_in_quotes", "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_lf_escaped", "5;a=\"\\\n\"\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_nul", "5;a=\"\0\"\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_quote_never_closed", "5;a=\"b\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_text_after_quote", "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_empty", "5;\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_empty_name", "5;=b\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_empty_value", "5;a=\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_no_token", "5;a=b c\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_name_then_word", "5;a b\r\nhello\r\n0\r\n\r\n"),
    BAD("r1_extension_trailing_space", "5;a \r\nhello\r\n0\r\n\r\n"),
    BAD("r1_end_by_lf", "0\r\n\n"),
    BAD("r1_end_by_cr_alone", "0\r\n\rX"),
    BAD("r3_trailer_empty_name", "0\r\n: a\r\n\r\n"),
    BAD("r3_trailer_space_before_colon", "0\r\nX : a\r\n\r\n"),
    BAD("r3_trailer_folded", "0\r\nX: a\r\n b\r\n\r\n"),
    BAD("r3_trailer_leading_space", "0\r\n X: a\r\n\r\n"),
    BAD("r3_trailer_without_colon", "0\r\nX\r\n\r\n"),
    BAD("r3_trailer_bare_lf", "0\r\nX: a\n\r\n"),
    BAD("r3_trailer_bare_cr", "0\r\nX: a\rb\r\n\r\n"),
    BAD("r3_trailer_nul", "0\r\nX: a\0b\r\n\r\n"),
};

static void decodes(void **state)
{
    const struct chunked_row *row = *state;
    char bytes[256];
    char trailer[64];
    struct th_chunked chunked;
    th_chunked_init(&chunked);
    chunked.trailer = trailer;
    chunked.trailer_size = sizeof(trailer);
    memcpy(bytes, row->text.ptr, row->text.len);
    size_t taken = 12345;
    size_t data = 12345;
    assert_int_equal(th_chunked_decode(&chunked, bytes, row->text.len, &taken, &data), row->result);
    for (unsigned seed = 0; seed < 50; seed++)
        th_property_chunked(row->text.ptr, row->text.len, seed);
    if (row->result < 0) {
        assert_int_equal(taken, 12345);
        assert_int_equal(data, 12345);
        /* what failed stays failed */
        char end[] = "0\r\n\r\n";
        assert_int_equal(th_chunked_decode(&chunked, end, 5, &taken, &data), TH_E_BAD_CHUNK);
        return;
    }
    assert_int_equal(taken, row->text.len - strlen(row->rest));
    assert_int_equal(data, strlen(row->data));
    assert_memory_equal(bytes, row->data, data);
    assert_int_equal(chunked.trailer_len, strlen(row->trailer));
    assert_memory_equal(trailer, row->trailer, chunked.trailer_len);
    if (row->result == TH_CHUNKED_DONE) {
        char more[] = "1\r\na\r\n";
        assert_int_equal(th_chunked_decode(&chunked, more, 6, &taken, &data), TH_CHUNKED_DONE);
        assert_int_equal(taken, 0);
        assert_int_equal(data, 0);
    }
}

/* --- limits --- */

static int decode_all(struct th_chunked *chunked, char *text, size_t *ret_data)
{
    size_t taken;
    return th_chunked_decode(chunked, text, strlen(text), &taken, ret_data);
}

static void r1_extensions_of_one_line_are_bounded(void **state)
{
    (void)state;
    static const int lens[] = {4096, 4097}; /* of the line with its CR */
    for (int i = 0; i < 2; i++) {
        char text[5000];
        memset(text, 'a', sizeof(text));
        memcpy(text, "0;", 2);
        strcpy(text + lens[i] - 2, "\r\n\r\n");
        struct th_chunked chunked;
        th_chunked_init(&chunked);
        size_t data;
        assert_int_equal(decode_all(&chunked, text, &data),
                         i == 0 ? TH_CHUNKED_DONE : TH_E_BAD_CHUNK);
    }
}

/* Small chunks with large extensions make a body that costs much and carries nothing. */
static void r1_extensions_in_all_are_bounded(void **state)
{
    (void)state;
    struct th_chunked chunked;
    th_chunked_init(&chunked);
    char line[1100];
    int r = 0;
    int rounds = 0;
    for (; r == 0 && rounds < 100; rounds++) {
        memset(line, 'a', 1000);
        memcpy(line, "1;", 2);
        strcpy(line + 1000, "\r\nx\r\n");
        size_t data;
        r = decode_all(&chunked, line, &data);
    }
    assert_int_equal(r, TH_E_BAD_CHUNK);
    assert_in_range(rounds, 16, 18);
}

static void extensions_are_paid_by_data(void **state)
{
    (void)state;
    struct th_chunked chunked;
    th_chunked_init(&chunked);
    for (int round = 0; round < 100000; round++) {
        char text[] = "10;sig=0123456789\r\n0123456789abcdef\r\n";
        size_t data;
        assert_int_equal(decode_all(&chunked, text, &data), 0);
        assert_int_equal(data, 16);
    }
}

static void r3_trailers_are_bounded(void **state)
{
    (void)state;
    static char text[TH_CHUNKED_TRAILER_MAX + 100];
    static const int lens[] = {TH_CHUNKED_TRAILER_MAX, TH_CHUNKED_TRAILER_MAX + 1};
    for (int i = 0; i < 2; i++) {
        memset(text, 'a', sizeof(text));
        memcpy(text, "0\r\nX:", 5);
        strcpy(text + 3 + lens[i] - 2, "\r\n\r\n");
        struct th_chunked chunked;
        th_chunked_init(&chunked); /* bounded without room to collect as well */
        size_t data;
        assert_int_equal(decode_all(&chunked, text, &data),
                         i == 0 ? TH_CHUNKED_DONE : TH_E_BAD_CHUNK);
    }
}

static void r3_trailer_fields_are_counted(void **state)
{
    (void)state;
    for (int count = 100; count <= 101; count++) {
        char text[1000] = "0\r\n";
        for (int i = 0; i < count; i++)
            strcat(text, "X: y\r\n");
        strcat(text, "\r\n");
        struct th_chunked chunked;
        th_chunked_init(&chunked);
        size_t data;
        assert_int_equal(decode_all(&chunked, text, &data),
                         count == 100 ? TH_CHUNKED_DONE : TH_E_BAD_CHUNK);
    }
}

static void trailers_beyond_the_room_are_refused(void **state)
{
    (void)state;
    char room[6];
    struct th_chunked chunked;
    th_chunked_init(&chunked);
    chunked.trailer = room;
    chunked.trailer_size = sizeof(room);
    char fits[] = "0\r\nX: y\r\n\r\n";
    size_t data;
    assert_int_equal(decode_all(&chunked, fits, &data), TH_CHUNKED_DONE);
    th_chunked_init(&chunked);
    chunked.trailer = room;
    chunked.trailer_size = sizeof(room);
    char larger[] = "0\r\nX: yy\r\n\r\n";
    assert_int_equal(decode_all(&chunked, larger, &data), TH_E_BAD_CHUNK);
}

/* --- trailers as fields --- */

static void r3_forbidden_trailers_are_dropped(void **state)
{
    (void)state;
    struct th_str trailer =
        TH_STR("Authorization: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nHost: h\r\n"
               "Connection: x\r\nProxy-Authorization: y\r\nSet-Cookie: z\r\nCookie: c\r\n"
               "DPoP: d\r\nTE: t\r\nX-Checksum:  1 \r\ngrpc-status: 0\r\n");
    struct th_field fields[16];
    assert_int_equal(th_chunked_parse_trailers(trailer, fields, 16), 12);
    for (int i = 0; i < 10; i++)
        assert_true(fields[i].dropped);
    assert_false(fields[10].dropped);
    assert_str_equal(fields[10].value, "1");
    assert_false(fields[11].dropped);
    assert_int_equal(th_chunked_parse_trailers(trailer, fields, 11), TH_E_BAD_CHUNK);
    assert_int_equal(th_chunked_parse_trailers(TH_STR_NONE, fields, 16), 0);
    assert_int_equal(th_chunked_parse_trailers(TH_STR("X: a"), fields, 16), TH_E_BAD_CHUNK);
    assert_int_equal(th_chunked_parse_trailers(TH_STR("X : a\r\n"), fields, 16), TH_E_BAD_CHUNK);
}

static void size_lines_are_written(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1,   9,    10,   15,    16,        255,
                                     256, 4095, 8000, 65536, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char line[TH_CHUNKED_LINE_MAX];
        char want[32];
        int len = snprintf(want, sizeof(want), "%jx\r\n", (uintmax_t)sizes[i]);
        assert_int_equal(th_chunked_write_line(line, sizes[i]), len);
        assert_memory_equal(line, want, (size_t)len);
    }
}

int main(void)
{
    static struct test_list list;
    TEST_LIST_ADD_ROWS(&list, rows, decodes);
    TEST_LIST_ADD(&list, r1_extensions_of_one_line_are_bounded);
    TEST_LIST_ADD(&list, r1_extensions_in_all_are_bounded);
    TEST_LIST_ADD(&list, extensions_are_paid_by_data);
    TEST_LIST_ADD(&list, r3_trailers_are_bounded);
    TEST_LIST_ADD(&list, r3_trailer_fields_are_counted);
    TEST_LIST_ADD(&list, trailers_beyond_the_room_are_refused);
    TEST_LIST_ADD(&list, r3_forbidden_trailers_are_dropped);
    TEST_LIST_ADD(&list, size_lines_are_written);
    return test_list_run("http_chunked", &list);
}
