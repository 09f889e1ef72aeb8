#include "test_support.h"

#include "tokenhop/net/address.h"

static void test_literals(void **state)
{
    static const struct {
        const char *host;
        const char *text; /* NULL: refused */
        bool loopback;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1:80", true},
        {"127.255.0.9", "127.255.0.9:80", true},
        {"128.0.0.1", "128.0.0.1:80", false},
        {"0.0.0.0", "0.0.0.0:80", false},
        {"10.0.0.1", "10.0.0.1:80", false},
        {"::1", "[::1]:80", true},
        {"::", "[::]:80", false},
        {"::ffff:127.0.0.1", "[::ffff:127.0.0.1]:80", true},
        {"::ffff:10.0.0.1", "[::ffff:10.0.0.1]:80", false},
        {"::127.0.0.1", "[::127.0.0.1]:80", false},
        {"2001:DB8::1", "[2001:db8::1]:80", false},
        {"", NULL, false},
        {"1.2.3", NULL, false},
        {"1.2.3.4.5", NULL, false},
        {"01.2.3.4", NULL, false}, /* octal to some */
        {"1.2.3.04", NULL, false},
        {"0x7f.0.0.1", NULL, false},
        {"2130706433", NULL, false},
        {"256.0.0.1", NULL, false},
        {"1.2.3.4 ", NULL, false},
        {"[::1]", NULL, false},
        {"fe80::1%lo", NULL, false},
        {"::1::", NULL, false},
        {"example.com", NULL, false},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:1111", NULL, false},
    };

    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_address address;
        char text[TH_ADDRESS_TEXT_MAX];
        int r = th_address_parse(th_str_of(rows[i].host), 80, &address);
        if ((r == 0) != (rows[i].text != NULL))
            fail_msg("%s: %d", rows[i].host, r);
        if (r != 0)
            continue;
        th_address_format(&address, text);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(th_address_port(&address), 80);
        if (th_address_is_loopback(&address) != rows[i].loopback)
            fail_msg("%s: loopback?", rows[i].host);
    }
    struct th_address address;
    assert_int_equal(th_address_parse((struct th_str){"1.2.3.4\0x", 9}, 80, &address),
                     TH_E_BAD_TARGET);
}

static void test_equal(void **state)
{
    static const char *const hosts[] = {"1.2.3.4", "1.2.3.5", "::ffff:1.2.3.4", "::1", "::2"};

    for (size_t i = 0; i < TH_COUNT_OF(hosts); i++) {
        for (size_t k = 0; k < TH_COUNT_OF(hosts); k++) {
            struct th_address a, b;
            assert_int_equal(th_address_parse(th_str_of(hosts[i]), 80, &a), 0);
            assert_int_equal(th_address_parse(th_str_of(hosts[k]), 80, &b), 0);
            assert_int_equal(th_address_equal(&a, &b), i == k);
            assert_int_equal(th_address_parse(th_str_of(hosts[k]), 81, &b), 0);
            assert_false(th_address_equal(&a, &b));
        }
    }
}

static void test_sockaddr(void **state)
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(0x01020304)}};
    struct sockaddr other = {.sa_family = AF_UNIX};
    struct th_address address;
    struct in6_addr v6;

    assert_int_equal(th_address_from_sockaddr((struct sockaddr *)&v4, sizeof(v4), &address), 0);
    assert_int_equal(th_address_port(&address), 9);
    assert_int_equal(th_address_len(&address), sizeof(v4));
    th_address_to_v6(&address, &v6);
    assert_memory_equal(&v6, "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4", 16);
    assert_int_equal(th_address_from_sockaddr((struct sockaddr *)&v4, sizeof(v4) - 1, &address),
                     TH_E_BAD_TARGET);
    assert_int_equal(th_address_from_sockaddr(&other, sizeof(other), &address), TH_E_BAD_TARGET);
    assert_int_equal(th_address_from_sockaddr(&other, 0, &address), TH_E_BAD_TARGET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_sockaddr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
