/* The PROXY protocol: what is taken, what it means, and what is refused. */
#include "tokenhop/net/proxy_header.h"

#include <stdio.h>

#include "proxy_properties.h"
#include "test_support.h"
#include "tokenhop/base/check.h"

static int parse(const char *bytes, size_t len, struct th_proxy_header *header)
{
    const char *why = NULL;

    th_property_proxy_header((const uint8_t *)bytes, len);
    return th_proxy_header_parse(bytes, len, header, &why);
}

static void assert_local(const char *bytes, size_t len, bool wanted)
{
    struct th_proxy_header header;

    if (parse(bytes, len, &header) != 0)
        fail_msg("refused: %s", bytes);
    assert_int_equal(header.is_local, wanted);
}

static void assert_told(const char *bytes, size_t len, const char *wanted)
{
    struct th_proxy_header header;
    char text[TH_ADDRESS_TEXT_MAX] = "";

    if (parse(bytes, len, &header) != 0)
        fail_msg("refused: %s", bytes);
    assert_int_equal(header.len, len);
    assert_int_equal(header.is_told, wanted != NULL);
    if (wanted == NULL)
        return;
    th_address_format(&header.source, text);
    assert_string_equal(text, wanted);
}

static void version_1(void **state)
{
    static const struct {
        const char *line, *wanted;
    } rows[] = {
        {"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n", "192.0.2.1:40000"},
        {"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"},
        {"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1"},
        {"PROXY TCP6 2001:DB8:0:0:0:0:0:1 ::1 1 2\r\n", "[2001:db8::1]:1"},
        {"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "[::ffff:192.0.2.1]:1"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
        {"PROXY UNKNOWN\r\n", NULL},
        {"PROXY UNKNOWN what  ever 70000\r\n", NULL},
        {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         NULL}, /* the 107 bytes that are the longest */
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        assert_told(rows[i].line, strlen(rows[i].line), rows[i].wanted);
    assert_int_equal(strlen(rows[9].line), TH_PROXY_HEADER_V1_MAX);
}

static void version_1_refused(void **state)
{
    static const char *const lines[] = {
        "GET / HTTP/1.1\r\n",
        "PROXX",
        "\x16\x03\x01",
        "\r\n\r\nX",
        " PROXY TCP4",
        "proxy TCP4 ",
        "PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY \r\n",
        "PROXY\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 \r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2x\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 000002\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 2001:db8::1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 2001:db8::1%lo ::1 1 2\r\n",
        "PROXY TCP6 [2001:db8::1] ::1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2\r1 2\r\n",
        "PROXY UNKNOWNx\r\n",
        "PROXY UNKNOWN\t\r\n",
        "PROXY UNKNOWN \x7f\r\n",
        "PROXY UNKNOWN \xff\r\n",
        "PROXY \n",
        "PROXY localhost localhost 1 2\r\n",
    };
    struct th_proxy_header header;
    char long_line[200] = "PROXY UNKNOWN ";

    for (size_t i = 0; i < TH_COUNT_OF(lines); i++)
        if (parse(lines[i], strlen(lines[i]), &header) != TH_E_BAD_REQUEST)
            fail_msg("taken: %s", lines[i]);
    assert_int_equal(parse("PROXY UNKNOWN \0\r\n", 17, &header), TH_E_BAD_REQUEST);
    /* One byte more than the longest; told without waiting for its end. */
    memset(long_line + 14, 'x', sizeof long_line - 14);
    assert_int_equal(parse(long_line, 106, &header), TH_AGAIN);
    assert_int_equal(parse(long_line, 107, &header), TH_E_BAD_REQUEST);
    memcpy(long_line + 106, "\r\n", 2);
    assert_int_equal(parse(long_line, 108, &header), TH_E_BAD_REQUEST);
}

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\xc0\0\2\1\xc6\x33\x64\2\x9c\x40\1\xbb"
#define V6                                                                                         \
    "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\2\x9c\x40\1\xbb"
#define BYTES(text) text, sizeof(text) - 1

static void version_2(void **state)
{
    static char unix_block[16 + 216] = SIGNATURE "\x21\x31\0\xd8";
    static char largest[TH_PROXY_HEADER_V2_MAX] = SIGNATURE "\x21\x11\xf\xf0" V4 "\4\xf\xe1";

    assert_told(BYTES(SIGNATURE "\x21\x11\0\xc" V4), "192.0.2.1:40000");
    assert_told(BYTES(SIGNATURE "\x21\x21\0\x24" V6), "[2001:db8::1]:40000");
    assert_told(unix_block, sizeof unix_block, "unix");
    assert_told(BYTES(SIGNATURE "\x20\0\0\0"), NULL);
    assert_told(BYTES(SIGNATURE "\x20\xff\0\3xyz"), NULL); /* LOCAL: all of it is ignored */
    assert_told(BYTES(SIGNATURE "\x20\x11\0\xc" V4), NULL);
    assert_told(BYTES(SIGNATURE "\x21\0\0\0"), NULL);
    assert_told(BYTES(SIGNATURE "\x21\0\0\5\4\0\2ab"), NULL);
    assert_told(BYTES(SIGNATURE "\x21\x11\0\x14" V4 "\4\0\0\5\0\2id"), "192.0.2.1:40000");
    assert_told(largest, sizeof largest, "192.0.2.1:40000");
}

/* Version 1 has no word for it: UNKNOWN is a client that the proxy cannot name. */
static void the_proxy_speaks_for_itself_by_local_alone(void **state)
{
    assert_local(BYTES(SIGNATURE "\x20\0\0\0"), true);
    assert_local(BYTES(SIGNATURE "\x20\x11\0\xc" V4), true);
    assert_local(BYTES(SIGNATURE "\x21\0\0\0"), false);
    assert_local(BYTES(SIGNATURE "\x21\x11\0\xc" V4), false);
    assert_local(BYTES("PROXY UNKNOWN\r\n"), false);
    assert_local(BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n"), false);
}

/* Sums that were made by another program. */
static void the_checksum_is_checked(void **state)
{
    static const char summed[] = SIGNATURE "\x21\x11\0\x18" V4 "\3\0\4\x8b\x16\xaf\x87"
                                           "\5\0\2id";
    char bytes[sizeof summed - 1];
    struct th_proxy_header header;

    memcpy(bytes, summed, sizeof bytes);
    int verdict = parse(bytes, sizeof bytes, &header);
    if (verdict != 0)
        fail_msg("the right one is refused");
    for (size_t i = 16; i < sizeof bytes; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            bytes[i] = (char)(summed[i] ^ (1 << bit));
            if (i == 28) /* the type of the TLV: there is no sum then */
                continue;
            if (parse(bytes, sizeof bytes, &header) == 0)
                fail_msg("byte %zu, bit %u: taken", i, bit);
        }
        bytes[i] = summed[i];
    }
}

static void version_2_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {BYTES(SIGNATURE "\x11\x11\0\xc" V4)},          /* version 1 */
        {BYTES(SIGNATURE "\x31\x11\0\xc" V4)},          /* version 3 */
        {BYTES(SIGNATURE "\x22\x11\0\xc" V4)},          /* no command */
        {BYTES(SIGNATURE "\x22")},                      /* at once */
        {BYTES(SIGNATURE "\x21\x12\0\xc" V4)},          /* UDP */
        {BYTES(SIGNATURE "\x21\x22\0\x24" V6)},         /* UDP */
        {BYTES(SIGNATURE "\x21\x10\0\xc" V4)},          /* of no protocol */
        {BYTES(SIGNATURE "\x21\x01\0\xc" V4)},          /* of no family */
        {BYTES(SIGNATURE "\x21\x41\0\xc" V4)},          /* not assigned */
        {BYTES(SIGNATURE "\x21\x11\0\xb" V4)},          /* too short */
        {BYTES(SIGNATURE "\x21\x11\0\0")},              /* likewise */
        {BYTES(SIGNATURE "\x21\x21\0\xc" V4)},          /* likewise */
        {BYTES(SIGNATURE "\x21\x31\0\xc" V4)},          /* likewise */
        {BYTES(SIGNATURE "\x21\x11\0\xd" V4 "\4")},     /* a TLV cut short */
        {BYTES(SIGNATURE "\x21\x11\0\xe" V4 "\4\0")},   /* likewise */
        {BYTES(SIGNATURE "\x21\x11\0\xf" V4 "\4\0\1")}, /* longer than what is left */
        {BYTES(SIGNATURE "\x21\x11\0\x11" V4 "\4\xff\xff"
                         "ab")},
        {BYTES(SIGNATURE "\x21\x11\0\x13" V4 "\3\0\4abcd")}, /* a wrong sum */
        {BYTES(SIGNATURE "\x21\x11\0\x12" V4 "\3\0\3abc")},  /* none */
        {BYTES(SIGNATURE "\x21\x11\xf\xf1")},                /* more than 4096, before it comes */
        {BYTES(SIGNATURE "\x20\0\xff\xff")},
        {BYTES("\r\n\r\n\0\r\nQUIX")},
        {BYTES("\r\nG")},
    };
    struct th_proxy_header header;

    for (size_t i = 0; i < TH_COUNT_OF(rows); i++)
        if (parse(rows[i].bytes, rows[i].len, &header) != TH_E_BAD_REQUEST)
            fail_msg("row %zu: taken", i);
}

static void what_follows_is_left_alone(void **state)
{
    struct th_proxy_header header;

    assert_int_equal(parse(BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nPROXY TCP4 "), &header), 0);
    assert_int_equal(header.len, 36);
    assert_int_equal(parse(BYTES(SIGNATURE "\x20\0\0\0" SIGNATURE), &header), 0);
    assert_int_equal(header.len, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1),
        cmocka_unit_test(version_1_refused),
        cmocka_unit_test(version_2),
        cmocka_unit_test(the_checksum_is_checked),
        cmocka_unit_test(version_2_refused),
        cmocka_unit_test(what_follows_is_left_alone),
        cmocka_unit_test(the_proxy_speaks_for_itself_by_local_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
