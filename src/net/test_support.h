/* What the unit tests of this room share: a worker with a turned clock, and socket pairs. */
#ifndef TH_NET_TEST_SUPPORT_H
#define TH_NET_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/net/resolver.h"
#include "tokenhop/net/worker.h"

#define START_MS 1000000

struct bench {
    struct th_clock clock;
    struct th_worker *worker;
};

static inline void bench_open(struct bench *bench, struct th_network *network,
                              struct th_helpers *helpers)
{
    struct th_worker_options options = {
        .clock = &bench->clock, .network = network, .helpers = helpers};

    th_clock_init_fake(&bench->clock, INT64_C(1700000000000));
    assert_int_equal(th_worker_new(&options, &bench->worker), 0);
}

static inline void bench_close(struct bench *bench)
{
    bench->worker = th_worker_free(bench->worker);
}

/* Turns the loop until nothing happens any more. */
static inline void settle(struct bench *bench)
{
    for (int i = 0; i < 1000; i++)
        if (!th_worker_turn(bench->worker))
            return;
    fail_msg("the loop does not come to rest");
}

static inline void pass(struct bench *bench, int64_t ms)
{
    th_clock_turn(&bench->clock, ms);
    settle(bench);
}

/* Turns the loop, in real time but for a few seconds at most, until *flag is set: for what comes
 * from other threads or through the kernel's loopback. */
static inline void wait_for(struct bench *bench, const int *flag)
{
    for (int i = 0; i < 5000 && !*flag; i++) {
        if (!th_worker_turn(bench->worker))
            poll(NULL, 0, 1);
    }
    assert_true(*flag);
}

/* A connected pair over TCP on loopback: a reset needs one. Both non-blocking. */
static inline void tcp_pair(int ret_fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int listening = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(listening, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &len), 0);
    ret_fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(ret_fds[0], (struct sockaddr *)&address, len), 0);
    ret_fds[1] = accept(listening, NULL, NULL);
    assert_true(ret_fds[1] >= 0);
    close(listening);
    for (int i = 0; i < 2; i++)
        fcntl(ret_fds[i], F_SETFL, O_NONBLOCK);
}

static inline void unix_pair(int ret_fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ret_fds), 0);
}

static inline void reset_fd(int fd)
{
    struct linger linger = {1, 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

#endif
