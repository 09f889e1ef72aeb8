#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/list.h"

struct item {
    int value;
    struct th_list link;
};

static void holds(struct th_list *head, const int *values, size_t n)
{
    size_t i = 0;
    TH_LIST_EACH(it, head) {
        if (i < n)
            assert_int_equal(TH_LIST_ENTRY(it, struct item, link)->value, values[i]);
        i++;
        assert_ptr_equal(it->next->prev, it);
        assert_ptr_equal(it->prev->next, it);
    }
    assert_int_equal(i, n);
}

static void order(void **state)
{
    (void)state;
    struct th_list head;
    struct item a = {1, {0}}, b = {2, {0}}, c = {3, {0}}, d = {4, {0}};
    th_list_init(&head);
    assert_true(th_list_is_empty(&head));
    assert_null(th_list_pop_front(&head));
    th_list_push_back(&head, &b.link);
    th_list_push_back(&head, &d.link);
    th_list_push_front(&head, &a.link);
    th_list_insert(&b.link, &c.link);
    holds(&head, (const int[]){1, 2, 3, 4}, 4);
    th_list_remove(&b.link);
    holds(&head, (const int[]){1, 3, 4}, 3);
    assert_ptr_equal(th_list_pop_front(&head), &a.link);
    holds(&head, (const int[]){3, 4}, 2);
}

static void linked_or_not(void **state)
{
    (void)state;
    struct th_list head;
    struct item a = {1, {0}};
    th_list_init(&head);
    assert_false(th_list_is_linked(&a.link));
    th_list_remove(&a.link); /* zeroed: nothing happens */
    th_list_push_back(&head, &a.link);
    assert_true(th_list_is_linked(&a.link));
    th_list_remove(&a.link);
    assert_false(th_list_is_linked(&a.link));
    th_list_remove(&a.link); /* again: nothing happens */
    assert_true(th_list_is_empty(&head));
}

static void splice(void **state)
{
    (void)state;
    struct th_list to, from;
    struct item a = {1, {0}}, b = {2, {0}}, c = {3, {0}};
    th_list_init(&to);
    th_list_init(&from);
    th_list_splice_back(&to, &from);
    assert_true(th_list_is_empty(&to));
    th_list_push_back(&from, &a.link);
    th_list_push_back(&from, &b.link);
    th_list_splice_back(&to, &from);
    assert_true(th_list_is_empty(&from));
    holds(&to, (const int[]){1, 2}, 2);
    th_list_push_back(&from, &c.link);
    th_list_splice_back(&to, &from);
    holds(&to, (const int[]){1, 2, 3}, 3);
}

static void unlinking_on_the_way(void **state)
{
    (void)state;
    struct th_list head;
    struct item items[6];
    th_list_init(&head);
    for (int i = 0; i < 6; i++) {
        items[i].value = i;
        th_list_push_back(&head, &items[i].link);
    }
    TH_LIST_EACH(it, &head) {
        if (TH_LIST_ENTRY(it, struct item, link)->value % 2 == 0)
            th_list_remove(it);
    }
    holds(&head, (const int[]){1, 3, 5}, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),
        cmocka_unit_test(linked_or_not),
        cmocka_unit_test(splice),
        cmocka_unit_test(unlinking_on_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
