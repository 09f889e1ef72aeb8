#include <arpa/inet.h>
#include <ifaddrs.h>

#include "test_config.h"
#include "tokenhop/gate/egress.h"

static struct th_address address_of(const char *text, uint16_t port)
{
    struct th_address address;

    assert_int_equal(th_address_parse(th_str_of(text), port, &address), 0);
    return address;
}

static void r8_each_address_class(void **state)
{
    static const struct {
        const char *address;
        enum th_address_class class;
    } cases[] = {
        {"8.8.8.8", TH_ADDRESS_PUBLIC},
        {"1.1.1.1", TH_ADDRESS_PUBLIC},
        {"172.15.255.255", TH_ADDRESS_PUBLIC},
        {"172.32.0.0", TH_ADDRESS_PUBLIC},
        {"100.63.255.255", TH_ADDRESS_PUBLIC},
        {"100.128.0.0", TH_ADDRESS_PUBLIC},
        {"169.253.255.255", TH_ADDRESS_PUBLIC},
        {"10.0.0.1", TH_ADDRESS_PRIVATE},
        {"172.16.0.1", TH_ADDRESS_PRIVATE},
        {"172.31.255.255", TH_ADDRESS_PRIVATE},
        {"192.168.1.1", TH_ADDRESS_PRIVATE},
        {"100.64.0.1", TH_ADDRESS_PRIVATE},
        {"127.0.0.1", TH_ADDRESS_LOOPBACK},
        {"127.255.255.254", TH_ADDRESS_LOOPBACK},
        {"0.0.0.0", TH_ADDRESS_FORBIDDEN},
        {"0.1.2.3", TH_ADDRESS_FORBIDDEN},
        {"169.254.169.254", TH_ADDRESS_METADATA},
        {"169.254.170.2", TH_ADDRESS_METADATA},
        {"100.100.100.200", TH_ADDRESS_METADATA},
        {"168.63.129.16", TH_ADDRESS_METADATA},
        {"192.0.0.192", TH_ADDRESS_METADATA},
        {"192.0.2.1", TH_ADDRESS_FORBIDDEN},
        {"198.18.0.1", TH_ADDRESS_FORBIDDEN},
        {"198.51.100.1", TH_ADDRESS_FORBIDDEN},
        {"203.0.113.1", TH_ADDRESS_FORBIDDEN},
        {"224.0.0.1", TH_ADDRESS_FORBIDDEN},
        {"240.0.0.1", TH_ADDRESS_FORBIDDEN},
        {"255.255.255.255", TH_ADDRESS_FORBIDDEN},
        {"2606:4700::1", TH_ADDRESS_PUBLIC},
        {"2001:db8::1", TH_ADDRESS_FORBIDDEN},
        {"fd12:3456::1", TH_ADDRESS_PRIVATE},
        {"fc00::1", TH_ADDRESS_PRIVATE},
        {"fd00:ec2::254", TH_ADDRESS_METADATA},
        {"fe80::1", TH_ADDRESS_METADATA},
        {"fec0::1", TH_ADDRESS_FORBIDDEN},
        {"ff02::1", TH_ADDRESS_FORBIDDEN},
        {"::", TH_ADDRESS_FORBIDDEN},
        {"::1", TH_ADDRESS_LOOPBACK},
        /* IPv4 inside IPv6 */
        {"::ffff:8.8.8.8", TH_ADDRESS_PUBLIC},
        {"::ffff:10.0.0.1", TH_ADDRESS_PRIVATE},
        {"::ffff:127.0.0.1", TH_ADDRESS_LOOPBACK},
        {"::ffff:169.254.169.254", TH_ADDRESS_METADATA},
        {"::127.0.0.1", TH_ADDRESS_FORBIDDEN},
        {"::10.0.0.1", TH_ADDRESS_FORBIDDEN},
        {"64:ff9b::8.8.8.8", TH_ADDRESS_PUBLIC},
        {"64:ff9b::169.254.169.254", TH_ADDRESS_METADATA},
        {"64:ff9b::127.0.0.1", TH_ADDRESS_FORBIDDEN},
        {"64:ff9b::10.0.0.1", TH_ADDRESS_FORBIDDEN},
        {"64:ff9b:1::8.8.8.8", TH_ADDRESS_FORBIDDEN},
        {"2002:808:808::1", TH_ADDRESS_PUBLIC},
        {"2002:7f00:1::1", TH_ADDRESS_FORBIDDEN},
        {"2002:a9fe:a9fe::1", TH_ADDRESS_METADATA},
        {"::169.254.169.254", TH_ADDRESS_METADATA},
        {"64:ff9b:1::169.254.169.254", TH_ADDRESS_METADATA},
        {"fd00:ec2::23", TH_ADDRESS_METADATA},
        {"fd20:ce::254", TH_ADDRESS_METADATA},
        {"2001:0:808:808::1", TH_ADDRESS_FORBIDDEN},
    };

    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_address address = address_of(cases[i].address, 80);
        if (th_egress_classify(&address) != cases[i].class)
            fail_msg("%s is class %d, not %d", cases[i].address, th_egress_classify(&address),
                     cases[i].class);
    }
}

static void r8_what_may_be_connected_to(void **state)
{
    static const struct {
        const char *address;
        uint16_t port;
        int matched, unmatched;
    } cases[] = {
        {"8.8.8.8", 80, 0, 0},
        {"10.0.0.1", 80, 0, TH_E_EGRESS_DENIED},
        {"10.9.0.1", 80, 0, 0}, /* allowed by name */
        {"127.0.0.1", 80, TH_E_EGRESS_DENIED, TH_E_EGRESS_DENIED},
        {"127.0.0.1", 9001, 0, 0}, /* allowed by name, that port only */
        {"::ffff:127.0.0.1", 9001, 0, 0},
        {"::1", 9001, TH_E_EGRESS_DENIED, TH_E_EGRESS_DENIED},
        {"169.254.169.254", 80, TH_E_EGRESS_DENIED, TH_E_EGRESS_DENIED},
        {"169.254.7.7", 80, 0, 0}, /* named literally */
        {"fd00:1::5", 80, 0, 0},
        {"fd00:2::5", 80, 0, TH_E_EGRESS_DENIED},
    };
    struct th_config *config = test_config_load(TEST_CONFIG(
        "\"egress\": { \"allow\": [\"10.9.0.0/16\", \"127.0.0.1:9001\", \"169.254.7.7\", "
        "\"fd00:1::/32\"] }, \"connections\": []"));

    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_address address = address_of(cases[i].address, cases[i].port);
        if (th_egress_permit(th_config_get(config), true, &address) != cases[i].matched)
            fail_msg("%s:%u matched", cases[i].address, cases[i].port);
        if (th_egress_permit(th_config_get(config), false, &address) != cases[i].unmatched)
            fail_msg("%s:%u unmatched", cases[i].address, cases[i].port);
    }
    th_config_unref(config);
}

/* Whoever allows a network that happens to hold one has not thought of it. */
static void r8_metadata_services_are_named_literally(void **state)
{
    static const char *const never[] = {
        "169.254.169.254",        "169.254.170.2",
        "100.100.100.200",        "192.0.0.192",
        "168.63.129.16",          "fd00:ec2::254",
        "fd20:ce::254",           "fe80::1",
        "::ffff:169.254.169.254", "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
    };
    struct th_config *wide = test_config_load(TEST_CONFIG(
        "\"egress\": { \"allow\": [\"0.0.0.0/0\", \"::/0\", \"100.64.0.0/10\", \"169.254.0.0/16\", "
        "\"169.254.169.254/31\", \"fd00:ec2::/32\"] }, \"connections\": []"));
    struct th_config *literal = test_config_load(
        TEST_CONFIG("\"egress\": { \"allow\": [\"169.254.169.254/32\", \"169.254.170.2\", "
                    "\"100.100.100.200\", \"192.0.0.192\", \"168.63.129.16\", "
                    "\"fd00:ec2::254/128\", \"fd20:ce::254\", \"fe80::1\", "
                    "\"64:ff9b::169.254.169.254\", \"2002:a9fe:a9fe::1\"] }, \"connections\": []"));

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(never); i++)
        for (int matched = 0; matched <= 1; matched++) {
            struct th_address address = address_of(never[i], 80);
            if (th_egress_permit(th_config_get(wide), matched, &address) != TH_E_EGRESS_DENIED)
                fail_msg("%s by a network", never[i]);
            if (th_egress_permit(th_config_get(literal), matched, &address) != 0)
                fail_msg("%s by its name", never[i]);
        }
    th_config_unref(wide);
    th_config_unref(literal);
}

static void r10_own_listeners_are_never_connected_to(void **state)
{
    struct th_config *config = test_config_load(
        TEST_CONFIG("\"egress\": { \"allow\": [\"127.0.0.0/8\", \"::1\", \"0.0.0.0\"] }, "
                    "\"admin\": { \"address\": \"127.0.0.1:19901\" }, \"connections\": []"));
    static const struct {
        const char *address;
        uint16_t port;
        int expected;
    } cases[] = {
        {"127.0.0.1", 18080, TH_E_LOOP}, {"::ffff:127.0.0.1", 18080, TH_E_LOOP},
        {"0.0.0.0", 18080, TH_E_LOOP},   {"::", 18080, TH_E_LOOP},
        {"127.0.0.1", 18081, 0},         {"127.0.0.2", 18080, 0},
        {"127.0.0.1", 19901, TH_E_LOOP}, {"::ffff:127.0.0.1", 19901, TH_E_LOOP},
        {"0.0.0.0", 19901, TH_E_LOOP},   {"127.0.0.2", 19901, 0},
    };

    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_address address = address_of(cases[i].address, cases[i].port);
        if (th_egress_permit(th_config_get(config), true, &address) != cases[i].expected)
            fail_msg("%s:%u", cases[i].address, cases[i].port);
    }
    th_config_unref(config);
}

/* A listener on all addresses is met by loopback, and by the address of any interface. */
static void r10_a_listener_on_all_addresses(void **state)
{
    static const struct {
        const char *listener, *address;
        uint16_t port;
        bool is_met;
    } cases[] = {
        {"0.0.0.0", "127.0.0.1", 18080, true},     {"0.0.0.0", "127.9.9.9", 18080, true},
        {"0.0.0.0", "127.0.0.1", 18081, false},    {"0.0.0.0", "::ffff:127.0.0.1", 18080, true},
        {"0.0.0.0", "0.0.0.0", 18080, true},       {"0.0.0.0", "::1", 18080, false},
        {"0.0.0.0", "203.0.113.77", 18080, false}, {"::", "127.0.0.1", 18080, true},
        {"::", "203.0.113.77", 18080, false},      {"::", "2001:db8::77", 18080, false},
    };
    struct ifaddrs *all;
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_address listener = address_of(cases[i].listener, 18080);
        struct th_address address = address_of(cases[i].address, cases[i].port);
        if (th_egress_meets(&listener, &address) != cases[i].is_met)
            fail_msg("%s and %s:%u", cases[i].listener, cases[i].address, cases[i].port);
    }
    assert_int_equal(getifaddrs(&all), 0);
    for (const struct ifaddrs *it = all; it != NULL; it = it->ifa_next) {
        struct th_address listener = address_of("::", 18080), address;
        char text[INET6_ADDRSTRLEN];
        if (it->ifa_addr == NULL ||
            (it->ifa_addr->sa_family != AF_INET && it->ifa_addr->sa_family != AF_INET6))
            continue;
        const void *raw = it->ifa_addr->sa_family == AF_INET
                              ? (const void *)&((const struct sockaddr_in *)it->ifa_addr)->sin_addr
                              : &((const struct sockaddr_in6 *)it->ifa_addr)->sin6_addr;
        assert_non_null(inet_ntop(it->ifa_addr->sa_family, raw, text, sizeof text));
        address = address_of(text, 18080);
        if (!th_egress_meets(&listener, &address))
            fail_msg("%s of %s", text, it->ifa_name);
        n++;
    }
    freeifaddrs(all);
    assert_true(n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r8_each_address_class),
        cmocka_unit_test(r8_what_may_be_connected_to),
        cmocka_unit_test(r8_metadata_services_are_named_literally),
        cmocka_unit_test(r10_own_listeners_are_never_connected_to),
        cmocka_unit_test(r10_a_listener_on_all_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
