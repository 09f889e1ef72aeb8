#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "properties.h"
#include "tokenhop/base/check.h"
#include "tokenhop/http/xfcc.h"

#define HASH "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688"

static const char *const keys[] = {"other", "subject", "uri", "dns"};

/* "uri=a dns=b " of the last element; NULL where the value is malformed. */
static const char *last_of(struct th_str value, char room[512])
{
    struct th_str element;
    struct th_xfcc_pair pair;
    int len = 0;

    th_property_xfcc(value.ptr, value.len);
    if (th_xfcc_find_last(value, &element) < 0)
        return NULL;
    room[0] = '\0';
    while (th_xfcc_next(&element, &pair))
        if (pair.key != TH_XFCC_OTHER)
            len += snprintf(room + len, (size_t)(512 - len), "%s=%.*s ", keys[pair.key],
                            TH_STR_ARGS(pair.value));
    return room;
}

static void what_proxies_write(void **state)
{
    static const struct {
        const char *value, *last;
    } cases[] = {
        /* Envoy's documentation */
        {"By=http://frontend.lyft.com;Hash=" HASH
         ";Subject=\"/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client\";"
         "URI=http://testclient.lyft.com",
         "subject=/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client "
         "uri=http://testclient.lyft.com "},
        {"By=http://frontend.lyft.com;Hash=" HASH ";URI=http://testclient.lyft.com,"
         "By=http://backend.lyft.com;Hash=9ba61d6425303443c0748a02dd8de688468ed33be74eee6556d90c0149c1309e;"
         "URI=http://frontend.lyft.com",
         "uri=http://frontend.lyft.com "},
        {"By=http://frontend.lyft.com;Hash=" HASH
         ";Subject=\"/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client\";"
         "URI=http://testclient.lyft.com;DNS=lyft.com;DNS=www.lyft.com",
         "subject=/C=US/ST=CA/L=San Francisco/OU=Lyft/CN=Test Client "
         "uri=http://testclient.lyft.com dns=lyft.com dns=www.lyft.com "},
        /* Istio */
        {"By=spiffe://cluster.local/ns/a/sa/b;Hash=" HASH ";Subject=\"\";"
         "URI=spiffe://cluster.local/ns/default/sa/sleep",
         "subject= uri=spiffe://cluster.local/ns/default/sa/sleep "},
        {"By=spiffe://cluster.local/ns/a/sa/b;Hash=" HASH ";Subject=\"\";URI=", "subject= uri= "},
        /* of the format */
        {"URI=a", "uri=a "},
        {"uri=a;dns=B", "uri=a dns=B "},
        {"URI=a, URI=b", "uri=b "},
        {"URI=a\t ,\tURI=b", "uri=b "},
        {"URI=\"a,b;c\"", "uri=a,b;c "},
        {"Subject=\"CN=a\\,b\\\\\";URI=c", "subject=CN=a\\,b\\\\ uri=c "},
        {"Subject=\"CN=\\\"a\\\",O=b\"", "subject=CN=\\\"a\\\",O=b "},
        {"Cert=\"-----BEGIN%20CERTIFICATE-----%0A\";URI=a=b", "uri=a=b "},
        {"By=a;By=b;URI=c;URI=d", "uri=c uri=d "},
        {"Later=x;URI=a", "uri=a "},
        {"Subject=\"CN=\xc3\xa9\"", "subject=CN=\xc3\xa9 "},
    };
    char room[512];
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        const char *last = last_of(th_str_of(cases[i].value), room);
        if (last == NULL || strcmp(last, cases[i].last) != 0)
            fail_msg("%s: %s", cases[i].value, last != NULL ? last : "malformed");
    }
}

static void what_is_malformed(void **state)
{
    static const char *const values[] = {
        "",
        " ",
        "URI",
        "URI;DNS=a",
        "=a",
        "U-I=a",
        "U RI=a",
        "URI =a",
        ";URI=a",
        "URI=a;",
        ",URI=a",
        "URI=a,",
        "URI=a,,URI=b",
        "URI=a;;DNS=b",
        "URI=a b",
        "URI=a ;DNS=b",
        "URI=a; DNS=b",
        "URI= a",
        "URI=a\"",
        "URI=a\\b",
        "URI=\xc3\xa9",
        "URI=\"a",
        "URI=\"a\\\"",
        "URI=\"a\"b",
        "URI=\"a\"\"b\"",
        "URI=\"a\tb\"",
        "Subject=\"a\";Subject=\"b\"",
        "Hash=a;URI=c;hash=b",
        "Cert=a;Cert=b",
        "Chain=a;Chain=b",
        /* in an element that is not the last */
        "Subject=\"a,URI=b",
        "URI=a b,URI=c",
        "garbage,URI=c",
        /* a quote that the sender opens, and the sidecar's own closes */
        "Subject=\"a,Hash=b;Subject=\"CN=real\";URI=spiffe://real",
        "Subject=\"a,Hash=b;Subject=\"\";URI=spiffe://real",
        "Subject=\"a\\,Hash=b;Subject=\"CN=real\";URI=spiffe://real",
    };
    char room[512];
    (void)state;
    for (size_t i = 0; i < TH_COUNT_OF(values); i++) {
        const char *last = last_of(th_str_of(values[i]), room);
        if (last != NULL)
            fail_msg("%s: %s", values[i], last);
    }
    assert_null(last_of((struct th_str){"URI=a\0b", 7}, room));
    assert_null(last_of((struct th_str){"URI=\"a\0b\"", 9}, room));
    assert_null(last_of((struct th_str){"URI=\"a\\\0b\"", 10}, room));
    assert_null(last_of((struct th_str){"\0", 1}, room));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_proxies_write),
        cmocka_unit_test(what_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
