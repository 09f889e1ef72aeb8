#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ledger.h"

static struct th_ledger_entry *find(struct th_ledger *ledger, const char *text)
{
    struct th_str piece = th_str_of(text);
    return th_ledger_find(ledger, &piece, 1);
}

static int add(struct th_ledger *ledger, const char *text, int64_t expires_ms, int64_t now_ms)
{
    struct th_str piece = th_str_of(text);
    return th_ledger_add(ledger, &piece, 1, expires_ms, now_ms, NULL);
}

static void remembers_until_expiry(void **state)
{
    struct th_ledger ledger;
    th_ledger_init(&ledger, 100);
    assert_null(find(&ledger, "a"));
    assert_int_equal(add(&ledger, "a", 1000, 0), 0);
    assert_int_equal(add(&ledger, "b", 2000, 0), 0);
    assert_non_null(find(&ledger, "a"));
    assert_int_equal(add(&ledger, "c", 3000, 999), 0);
    assert_int_equal(th_ledger_count(&ledger), 3);
    assert_int_equal(add(&ledger, "d", 3000, 1000), 0);
    assert_null(find(&ledger, "a"));
    assert_non_null(find(&ledger, "b"));
    th_ledger_clear(&ledger);
    assert_null(find(&ledger, "b"));
    assert_int_equal(th_ledger_count(&ledger), 0);
    th_ledger_fini(&ledger);
}

/* "short" is behind one that lives on: only the sweep finds it, once a second. */
static void takes_nothing_when_full(void **state)
{
    struct th_ledger ledger;
    th_ledger_init(&ledger, 3);
    assert_int_equal(add(&ledger, "long", 100000, 0), 0);
    assert_int_equal(add(&ledger, "short", 500, 0), 0);
    assert_int_equal(add(&ledger, "other", 100000, 0), 0);
    assert_int_equal(add(&ledger, "more", 100000, 499), TH_E_OVERLOADED);
    assert_non_null(find(&ledger, "short"));
    assert_int_equal(add(&ledger, "more", 100000, 600), TH_E_OVERLOADED);
    assert_int_equal(add(&ledger, "more", 100000, 1499), 0);
    assert_null(find(&ledger, "short"));
    assert_non_null(find(&ledger, "long"));
    th_ledger_fini(&ledger);
}

/* "ab" "c" and "a" "bc" are two things. */
static void keeps_pieces_apart(void **state)
{
    struct th_ledger ledger;
    struct th_str one[] = {TH_STR("ab"), TH_STR("c")}, other[] = {TH_STR("a"), TH_STR("bc")};
    th_ledger_init(&ledger, 100);
    assert_int_equal(th_ledger_add(&ledger, one, 2, 1000, 0, NULL), 0);
    assert_non_null(th_ledger_find(&ledger, one, 2));
    assert_null(th_ledger_find(&ledger, other, 2));
    th_ledger_fini(&ledger);
}

static void names_a_token(void **state)
{
    char name[TH_LEDGER_NAME_LEN + 1];
    th_ledger_name(TH_STR("abc"), name); /* FIPS 180-2, B.1 */
    assert_string_equal(name, "ba7816bf8f01");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_until_expiry),
        cmocka_unit_test(takes_nothing_when_full),
        cmocka_unit_test(keeps_pieces_apart),
        cmocka_unit_test(names_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
