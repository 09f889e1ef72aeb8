/* Which connections are our own: by both ends, as near ones are shared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "own_ends.h"

static int open_socket(struct th_address *ret_address)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof here;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&here, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&here, &len), 0);
    assert_int_equal(th_address_from_sockaddr((struct sockaddr *)&here, len, ret_address), 0);
    return fd;
}

static struct th_address address_of(const char *host, uint16_t port)
{
    struct th_address address;

    assert_int_equal(th_address_parse(th_str_of(host), port, &address), 0);
    return address;
}

static void test_both_ends_count(void **state)
{
    const struct th_address far = address_of("10.0.0.2", 443), other = address_of("10.0.0.3", 443);
    const struct th_address port = address_of("10.0.0.2", 80);
    struct th_own_end *end = NULL, *second = NULL;
    struct th_own_ends *ends = NULL;
    struct th_address near;
    int fd = open_socket(&near);

    assert_int_equal(th_own_ends_new(&ends), 0);
    assert_int_equal(th_own_ends_add(ends, fd, &far, &end), 0);
    assert_non_null(end);
    assert_true(th_own_ends_has(ends, &near, &far));
    assert_false(th_own_ends_has(ends, &near, &other));
    assert_false(th_own_ends_has(ends, &near, &port));
    assert_false(th_own_ends_has(ends, &far, &near));
    assert_int_equal(th_own_ends_add(ends, fd, &other, &second), 0);
    th_own_ends_remove(ends, end);
    assert_false(th_own_ends_has(ends, &near, &far));
    assert_true(th_own_ends_has(ends, &near, &other));
    th_own_ends_remove(ends, second);
    th_own_ends_free(ends);
    close(fd);
}

static void test_what_is_not_kept(void **state)
{
    const struct th_address far = address_of("10.0.0.2", 443);
    struct th_own_ends *ends = NULL;
    struct th_own_end *end;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(th_own_ends_new(&ends), 0);
    assert_int_equal(th_own_ends_add(ends, fds[0], &far, &end), 0);
    assert_null(end);
    th_own_ends_remove(ends, end);
    assert_int_equal(th_own_ends_add(NULL, fds[0], &far, &end), 0);
    assert_null(end);
    assert_false(th_own_ends_has(NULL, &far, &far));
    th_own_ends_free(ends);
    close(fds[0]), close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ends_count),
        cmocka_unit_test(test_what_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
