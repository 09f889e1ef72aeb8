/* Sockets that are handed over: whom they are for, what they are called, and what is no such socket. */
#include "tokenhop/net/activation.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "test_support.h"
#include "tokenhop/base/check.h"

static void the_variables(void **state)
{
    static const struct {
        const char *pid, *fds, *names;
        int n; /* -1: a contradiction */
        const char *first, *last;
    } rows[] = {
        {NULL, NULL, NULL, 0, NULL, NULL},
        {"77", NULL, "a", 0, NULL, NULL},
        {NULL, "1", "a", 0, NULL, NULL},
        {"78", "1", "a", 0, NULL, NULL}, /* another's */
        {"78", "x", "a", 0, NULL, NULL},
        {"77", "0", NULL, 0, NULL, NULL},
        {"77", "1", "a", 1, "a", "a"},
        {"77", "3", "a:b:a", 3, "a", "a"},
        {"77", "2", NULL, 2, "unknown", "unknown"},
        {"77", "2", ":b", 2, "", "b"},
        {"77", "2", "a:", 2, "a", ""},
        {"77", "2", "a", -1, NULL, NULL},
        {"77", "1", "a:b", -1, NULL, NULL},
        {"77", "1", "a:", -1, NULL, NULL},
        {"", "1", "a", -1, NULL, NULL},
        {"+77", "1", "a", -1, NULL, NULL},
        {"77 ", "1", "a", -1, NULL, NULL},
        {"99999999999999999999", "1", "a", -1, NULL, NULL},
        {"77", "", "a", -1, NULL, NULL},
        {"77", "-1", "a", -1, NULL, NULL},
        {"77", "1x", "a", -1, NULL, NULL},
        {"77", "257", NULL, -1, NULL, NULL},
        {"77", "256", NULL, 256, "unknown", "unknown"},
    };
    struct th_activation *activation = calloc(1, sizeof *activation);

    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        const struct th_activation_variables variables = {rows[i].pid, rows[i].fds, rows[i].names};
        struct th_errinfo info = {0};
        int error = th_activation_read(&variables, 77, 3, activation, &info);
        if ((error < 0) != (rows[i].n < 0) || (error == 0 && activation->n != (size_t)rows[i].n))
            fail_msg("row %zu", i);
        if (error < 0)
            assert_true(info.what[0] != '\0' && info.where[0] != '\0');
        if (error < 0 || activation->n == 0)
            continue;
        assert_string_equal(activation->items[0].name, rows[i].first);
        assert_string_equal(activation->items[activation->n - 1].name, rows[i].last);
        assert_int_equal(activation->items[0].fd, 3);
        assert_int_equal(activation->items[activation->n - 1].fd, 3 + rows[i].n - 1);
    }
    free(activation);
}

static void a_name_that_is_too_long(void **state)
{
    struct th_activation *activation = calloc(1, sizeof *activation);
    char names[300];
    struct th_errinfo info = {0};
    memset(names, 'x', sizeof names);
    names[255] = '\0';
    const struct th_activation_variables variables = {"77", "1", names};
    assert_int_equal(th_activation_read(&variables, 77, 3, activation, &info), 0);
    names[255] = 'x';
    names[256] = '\0';
    assert_int_equal(th_activation_read(&variables, 77, 3, activation, &info), TH_E_IO);
    free(activation);
}

static int listening(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "tokenhop-test-%d-%d", (int)getpid(), fd);
    if (family == AF_UNIX)
        assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(fd, 5), 0);
    return fd;
}

static void what_is_claimed(void **state)
{
    struct th_activation *activation = calloc(1, sizeof *activation);
    struct th_errinfo info = {0};
    static const char *const names[] = {"a", "b", "a", "udp", "silent", "file"};
    int fds[6] = {listening(AF_INET),
                  listening(AF_UNIX),
                  listening(AF_INET6),
                  socket(AF_INET, SOCK_DGRAM, 0),
                  socket(AF_INET, SOCK_STREAM, 0),
                  open("/dev/null", O_RDONLY)};
    int fd = -1;

    activation->n = 6;
    for (size_t i = 0; i < 6; i++) {
        activation->items[i].fd = fds[i];
        snprintf(activation->items[i].name, sizeof activation->items[i].name, "%s", names[i]);
    }
    assert_int_equal(th_activation_claim(activation, TH_STR("c"), &fd, &info), TH_AGAIN);
    assert_int_equal(th_activation_claim(activation, TH_STR("a"), &fd, &info), 0);
    assert_int_equal(fd, fds[0]);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    int nodelay = 0;
    socklen_t len = sizeof nodelay;
    assert_int_equal(getsockopt(fd, 6, 1, &nodelay, &len), 0);
    assert_true(nodelay != 0);
    assert_int_equal(th_activation_claim(activation, TH_STR("a"), &fd, &info), 0);
    assert_int_equal(fd, fds[2]);
    assert_int_equal(th_activation_claim(activation, TH_STR("a"), &fd, &info), TH_AGAIN);
    assert_int_equal(th_activation_check_claimed(activation, &info), TH_E_IO);
    assert_string_equal(info.where, "b");
    assert_int_equal(th_activation_claim(activation, TH_STR("b"), &fd, &info), 0);
    for (size_t i = 3; i < 6; i++) {
        info = (struct th_errinfo){0};
        assert_int_equal(th_activation_claim(activation, th_str_of(names[i]), &fd, &info), TH_E_IO);
        assert_string_equal(info.where, names[i]);
        activation->items[i].fd = -1;
    }
    assert_int_equal(th_activation_check_claimed(activation, &info), 0);
    assert_int_equal(th_activation_check_claimed(NULL, &info), 0);
    assert_int_equal(th_activation_claim(NULL, TH_STR("a"), &fd, &info), TH_AGAIN);
    for (size_t i = 0; i < 6; i++)
        close(fds[i]);
    free(activation);
}

/* What the environment says goes to nobody else. */
static void the_environment_is_cleaned(void **state)
{
    struct th_activation *activation;
    struct th_errinfo info = {0};
    char pid[16];
    static const char *const for_whom[] = {NULL, "1"};

    for (size_t i = 0; i < 2; i++) {
        snprintf(pid, sizeof pid, "%d", (int)getpid());
        setenv("LISTEN_PID", for_whom[i] != NULL ? for_whom[i] : pid, 1);
        setenv("LISTEN_FDS", "0", 1);
        setenv("LISTEN_FDNAMES", "", 1);
        setenv("LISTEN_PIDFDID", "1", 1);
        assert_int_equal(th_activation_take(&activation, &info), 0);
        assert_int_equal(activation->n, 0);
        assert_null(getenv("LISTEN_PID"));
        assert_null(getenv("LISTEN_FDS"));
        assert_null(getenv("LISTEN_FDNAMES"));
        assert_null(getenv("LISTEN_PIDFDID"));
        th_activation_free(activation);
    }
    /* Descriptors that are not there. */
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "250", 1);
    assert_int_equal(th_activation_take(&activation, &info), TH_E_IO);
    assert_null(getenv("LISTEN_FDS"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_variables),
        cmocka_unit_test(a_name_that_is_too_long),
        cmocka_unit_test(what_is_claimed),
        cmocka_unit_test(the_environment_is_cleaned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
