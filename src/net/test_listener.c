#include "test_support.h"

#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "tokenhop/net/listener.h"

struct door {
    struct th_listener *listener;
    int count;
    int fds[100];
    struct th_address peer;
    bool free_inside;
};

static void on_accept(void *arg, int fd, const struct th_address *peer)
{
    struct door *door = arg;

    door->fds[door->count++] = fd;
    door->peer = *peer;
    if (door->free_inside)
        door->listener = th_listener_free(door->listener);
}

static void door_open(struct bench *bench, struct door *door, const char *host, uint16_t port)
{
    struct th_address address;
    struct th_errinfo info;

    memset(door, 0, sizeof(*door));
    assert_int_equal(th_address_parse(th_str_of(host), port, &address), 0);
    assert_int_equal(
        th_listener_new(bench->worker, &address, 128, on_accept, door, &door->listener, &info), 0);
}

static void door_close(struct door *door)
{
    for (int i = 0; i < door->count; i++)
        close(door->fds[i]);
    th_listener_free(door->listener);
}

static int knock(const struct door *door)
{
    const struct th_address *address = th_listener_address(door->listener);
    int fd = socket(address->any.sa_family, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &address->any, th_address_len(address)), 0);
    return fd;
}

static void test_accepts(void **state)
{
    struct bench bench;
    struct door door;
    int fds[80];
    int nodelay = 0;
    socklen_t len = sizeof(nodelay);
    struct sockaddr_in own;
    socklen_t own_len = sizeof(own);

    bench_open(&bench, NULL, NULL);
    door_open(&bench, &door, "127.0.0.1", 0);
    assert_int_not_equal(th_address_port(th_listener_address(door.listener)), 0);
    for (int i = 0; i < 80; i++)
        fds[i] = knock(&door);
    settle(&bench);
    assert_int_equal(door.count, 80);
    assert_int_equal(getsockname(fds[79], (struct sockaddr *)&own, &own_len), 0);
    assert_int_equal(th_address_port(&door.peer), ntohs(own.sin_port));
    assert_true(fcntl(door.fds[0], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(door.fds[0], F_GETFD) & FD_CLOEXEC);
    getsockopt(door.fds[0], IPPROTO_TCP, TCP_NODELAY, &nodelay, &len);
    assert_true(nodelay);
    for (int i = 0; i < 80; i++)
        close(fds[i]);
    door_close(&door);
    bench_close(&bench);
}

/* Nobody has redirected it: what there is to find is itself. What a redirected one says is for a network
 * namespace: tests/integration/test_transparent.py. */
static void test_original_of_what_was_not_redirected(void **state)
{
    const char *const hosts[] = {"127.0.0.1", "::1"};
    struct th_network *network = th_network_system();

    for (size_t i = 0; i < TH_COUNT_OF(hosts); i++) {
        struct bench bench;
        struct door door;
        struct th_address original = {0};
        int pair[2];
        bench_open(&bench, NULL, NULL);
        door_open(&bench, &door, hosts[i], 0);
        int fd = knock(&door);
        settle(&bench);
        assert_int_equal(door.count, 1);
        assert_int_equal(network->original(network, door.fds[0], false, &original), TH_E_LOOP);
        assert_int_equal(network->original(network, door.fds[0], true, &original), 0);
        assert_true(th_address_equal(&original, th_listener_address(door.listener)));
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        assert_int_equal(network->original(network, pair[0], false, &original), TH_E_IO);
        assert_int_equal(network->original(network, pair[0], true, &original), TH_E_IO);
        assert_int_equal(network->original(network, -1, false, &original), TH_E_IO);
        close(pair[0]), close(pair[1]), close(fd);
        door_close(&door);
        bench_close(&bench);
    }
}

static void test_two_share_a_port(void **state)
{
    struct bench one, two;
    struct door first, second;
    int fds[40];

    bench_open(&one, NULL, NULL);
    bench_open(&two, NULL, NULL);
    door_open(&one, &first, "127.0.0.1", 0);
    door_open(&two, &second, "127.0.0.1", th_address_port(th_listener_address(first.listener)));
    for (int i = 0; i < 40; i++)
        fds[i] = knock(&first);
    settle(&one);
    settle(&two);
    assert_int_equal(first.count + second.count, 40);
    assert_true(first.count > 0 && second.count > 0);
    for (int i = 0; i < 40; i++)
        close(fds[i]);
    door_close(&first);
    door_close(&second);
    bench_close(&one);
    bench_close(&two);
}

static void test_out_of_descriptors_it_pauses(void **state)
{
    struct rlimit before, low;
    struct bench bench;
    struct door door;

    bench_open(&bench, NULL, NULL);
    door_open(&bench, &door, "127.0.0.1", 0);
    int fd = knock(&door);
    getrlimit(RLIMIT_NOFILE, &before);
    low = before;
    low.rlim_cur = (rlim_t)fd + 1;
    setrlimit(RLIMIT_NOFILE, &low);
    settle(&bench); /* comes to rest, though the connection waits */
    assert_int_equal(door.count, 0);
    setrlimit(RLIMIT_NOFILE, &before);
    settle(&bench);
    assert_int_equal(door.count, 0);
    pass(&bench, 120);
    assert_int_equal(door.count, 1);
    close(fd);
    door_close(&door);
    bench_close(&bench);
}

static void test_pause(void **state)
{
    struct bench bench;
    struct door door;

    bench_open(&bench, NULL, NULL);
    door_open(&bench, &door, "127.0.0.1", 0);
    th_listener_pause(door.listener, true);
    th_listener_pause(door.listener, true);
    int fd = knock(&door);
    pass(&bench, 500);
    assert_int_equal(door.count, 0);
    th_listener_pause(door.listener, false);
    settle(&bench);
    assert_int_equal(door.count, 1);
    close(fd);
    door_close(&door);
    bench_close(&bench);
}

static void test_free_inside_the_function(void **state)
{
    struct bench bench;
    struct door door;
    int fds[3];

    bench_open(&bench, NULL, NULL);
    door_open(&bench, &door, "127.0.0.1", 0);
    door.free_inside = true;
    for (int i = 0; i < 3; i++)
        fds[i] = knock(&door);
    settle(&bench);
    assert_int_equal(door.count, 1);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    door_close(&door);
    bench_close(&bench);
}

static void test_says_what_is_wrong(void **state)
{
    struct bench bench;
    struct door door;
    struct th_address address;
    struct th_errinfo info = {0};
    struct th_listener *listener = NULL;

    bench_open(&bench, NULL, NULL);
    assert_int_equal(th_address_parse(TH_STR("192.0.2.1"), 0, &address), 0);
    assert_int_equal(th_listener_new(bench.worker, &address, 8, on_accept, &door, &listener, &info),
                     TH_E_IO);
    assert_non_null(strstr(info.where, "192.0.2.1"));
    assert_string_not_equal(info.what, "");
    assert_string_not_equal(info.mend, "");
    assert_null(listener);
    bench_close(&bench);
}

static void test_unix_socket(void **state)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + 1;
    struct bench bench;
    struct door door = {0};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int client = socket(AF_UNIX, SOCK_STREAM, 0);

    bench_open(&bench, NULL, NULL);
    /* an abstract name that the kernel chooses */
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(fd, 8), 0);
    len = sizeof(name);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    assert_int_equal(th_listener_new_fd(bench.worker, fd, on_accept, &door, &door.listener), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&name, len), 0);
    settle(&bench);
    assert_int_equal(door.count, 1);
    assert_int_equal(door.peer.any.sa_family, AF_UNIX);
    close(client);
    door_close(&door);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_original_of_what_was_not_redirected),
        cmocka_unit_test(test_two_share_a_port),
        cmocka_unit_test(test_out_of_descriptors_it_pauses),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_free_inside_the_function),
        cmocka_unit_test(test_says_what_is_wrong),
        cmocka_unit_test(test_unix_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
