/* That the comparison of differential.c compares: what both read whole is counted, and a disagreement ends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "differential.h"
#include "tokenhop/base/str.h"

static unsigned read_requests(const char *text)
{
    return th_differential_requests(text, strlen(text));
}

static unsigned read_response(const char *text, enum th_method method)
{
    return th_differential_response(text, strlen(text), method);
}

static void r1_pipelined_requests_are_parted_alike(void **state)
{
    (void)state;
    assert_int_equal(
        read_requests("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
                      "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"
                      "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        3);
    assert_int_equal(read_requests("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell"),
                     0);
    assert_int_equal(read_requests("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\nraw"),
                     1);
}

static void r4_responses_end_alike(void **state)
{
    (void)state;
    assert_int_equal(
        read_response("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", TH_METHOD_GET), 1);
    assert_int_equal(read_response("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", TH_METHOD_HEAD),
                     1);
    assert_int_equal(read_response("HTTP/1.1 200 OK\r\n\r\nuntil the end", TH_METHOD_GET), 1);
    assert_int_equal(read_response("HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\n", TH_METHOD_GET),
                     1);
    assert_int_equal(read_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   "3\r\nabc\r\n0\r\n\r\n",
                                   TH_METHOD_GET),
                     1);
    assert_int_equal(read_response("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", TH_METHOD_GET),
                     0);
}

/* The two do not agree on what an answer to CONNECT is, which is why no answer is compared as one. */
static void a_disagreement_aborts(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        fclose(stderr);
        signal(SIGABRT, SIG_DFL);
        (void)read_response("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", TH_METHOD_CONNECT);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r1_pipelined_requests_are_parted_alike),
        cmocka_unit_test(r4_responses_end_alike),
        cmocka_unit_test(a_disagreement_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
