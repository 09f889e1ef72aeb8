#include "test_support.h"

#include "tokenhop/net/dial.h"

/* A network whose addresses behave as scripted: by the last byte of the address. */
enum behaviour { BE_FINE, BE_REFUSED, BE_HANGING, BE_BROKEN_LATER, BE_LATER };

struct fake_address {
    const char *text;
    enum behaviour behaviour;
};

struct fake_network {
    struct th_network network;
    const struct fake_address *addresses; /* what any name resolves to, ended by NULL */
    int n_lookups;
    int n_connects;
    char order[256]; /* the addresses that were connected to, in order */
    int far[16];     /* the other ends */
};

static int fill_until_full(int fd)
{
    char bytes[4096] = {0};
    while (write(fd, bytes, sizeof(bytes)) > 0)
        ;
    return fd;
}

static void drain_all(int fd)
{
    char bytes[4096];
    while (read(fd, bytes, sizeof(bytes)) > 0)
        ;
}

static int fake_connect(struct th_network *network, const struct th_address *address, int *ret_fd)
{
    struct fake_network *fake = TH_CONTAINER_OF(network, struct fake_network, network);
    char text[TH_ADDRESS_TEXT_MAX];
    int fds[2];

    th_address_format(address, text);
    strcat(strcat(fake->order, text), " ");
    for (const struct fake_address *it = fake->addresses; it->text != NULL; it++) {
        struct th_address known;
        assert_int_equal(th_address_parse(th_str_of(it->text), th_address_port(address), &known),
                         0);
        if (!th_address_equal(&known, address))
            continue;
        if (it->behaviour == BE_REFUSED) {
            fake->n_connects++;
            return TH_E_ORIGIN_REFUSED;
        }
        if (it->behaviour == BE_BROKEN_LATER)
            tcp_pair(fds);
        else
            unix_pair(fds);
        *ret_fd = fds[0];
        fake->far[fake->n_connects++] = fds[1];
        if (it->behaviour == BE_FINE)
            return 0;
        if (it->behaviour == BE_BROKEN_LATER)
            reset_fd(fds[1]), fake->far[fake->n_connects - 1] = -1;
        else
            fill_until_full(fds[0]);
        if (it->behaviour == BE_LATER)
            drain_all(fds[1]);
        return TH_AGAIN;
    }
    fail_msg("an address that nobody named: %s", text);
    return TH_E_INTERNAL;
}

static int fake_lookup(struct th_network *network, const char *host, uint16_t port,
                       struct th_addresses *ret_addresses)
{
    struct fake_network *fake = TH_CONTAINER_OF(network, struct fake_network, network);

    fake->n_lookups++;
    if (fake->addresses[0].text == NULL)
        return TH_E_ORIGIN_NAME;
    for (const struct fake_address *it = fake->addresses; it->text != NULL; it++)
        assert_int_equal(th_address_parse(th_str_of(it->text), port,
                                          &ret_addresses->items[ret_addresses->count++]),
                         0);
    return 0;
}

struct call {
    struct th_dial dial;
    int called;
    int error;
    int fd;
    struct th_address address;
    const char *refused; /* the address that is not permitted */
    int n_asked;
};

static void on_dialed(struct th_dial *dial, int error, int fd, const struct th_address *address)
{
    struct call *call = TH_CONTAINER_OF(dial, struct call, dial);

    assert_false(dial->active);
    call->called++;
    call->error = error;
    call->fd = fd;
    assert_int_equal(fd >= 0, error == 0);
    if (error == 0)
        call->address = *address;
}

static int permit(void *arg, const struct th_address *address)
{
    struct call *call = arg;
    struct th_address refused;

    call->n_asked++;
    if (call->refused == NULL)
        return 0;
    assert_int_equal(th_address_parse(th_str_of(call->refused), th_address_port(address), &refused),
                     0);
    return th_address_equal(&refused, address) ? TH_E_EGRESS_DENIED : 0;
}

struct setting {
    struct fake_network fake;
    struct bench bench;
    struct call call;
};

static void setting_open(struct setting *s, const struct fake_address *addresses)
{
    memset(s, 0, sizeof(*s));
    s->fake.network.connect = fake_connect;
    s->fake.network.lookup = fake_lookup;
    s->fake.network.lookup_never_blocks = true;
    s->fake.addresses = addresses;
    s->call.fd = -1;
    bench_open(&s->bench, &s->fake.network, NULL);
}

static void setting_close(struct setting *s)
{
    if (s->call.fd >= 0)
        close(s->call.fd);
    for (int i = 0; i < s->fake.n_connects; i++)
        if (s->fake.far[i] > 0)
            close(s->fake.far[i]);
    assert_int_equal(s->bench.worker->wheel.n_timers, 0);
    bench_close(&s->bench);
}

static void start_only(struct setting *s, const char *host, const struct th_address *only)
{
    struct th_dial_request request = {
        .only = only,
        .host = th_str_of(host),
        .port = 443,
        .deadline_ms = s->bench.worker->now_ms + 10000,
        .permit = permit,
        .permit_arg = &s->call,
        .fn = on_dialed,
    };
    th_dial_start(&s->call.dial, s->bench.worker, &request);
    assert_int_equal(s->call.called, 0); /* never inside */
}

static void start(struct setting *s, const char *host)
{
    start_only(s, host, NULL);
}

static void expect(struct setting *s, int error, const char *address)
{
    char text[TH_ADDRESS_TEXT_MAX];

    assert_int_equal(s->call.called, 1);
    assert_int_equal(s->call.error, error);
    if (error != 0)
        return;
    th_address_format(&s->call.address, text);
    assert_string_equal(text, address);
}

static void test_literal_asks_nobody(void **state)
{
    const struct fake_address addresses[] = {{"10.0.0.1", BE_FINE}, {NULL}};
    struct setting s;

    setting_open(&s, addresses);
    start(&s, "10.0.0.1");
    assert_int_equal(s.fake.n_connects, 1); /* at once */
    settle(&s.bench);
    expect(&s, 0, "10.0.0.1:443");
    assert_int_equal(s.fake.n_lookups, 0);
    assert_int_equal(s.call.n_asked, 1);
    setting_close(&s);
}

static void test_only_one_of_the_addresses(void **state)
{
    /* More than are tried where any would do. */
    const struct fake_address addresses[] = {{"10.0.0.1", BE_FINE},
                                             {"10.0.0.2", BE_FINE},
                                             {"10.0.0.3", BE_FINE},
                                             {"10.0.0.4", BE_FINE},
                                             {"10.0.0.5", BE_FINE},
                                             {"10.0.0.6", BE_FINE},
                                             {"10.0.0.7", BE_FINE},
                                             {"10.0.0.8", BE_FINE},
                                             {"10.0.0.9", BE_FINE},
                                             {"fd00::9", BE_FINE},
                                             {NULL}};
    const struct {
        const char *only, *refused, *reached;
        int error;
    } rows[] = {
        {"10.0.0.2", NULL, "10.0.0.2:443", 0},
        {"10.0.0.9", NULL, "10.0.0.9:443", 0},
        {"fd00::9", NULL, "[fd00::9]:443", 0},
        {"10.0.0.10", NULL, NULL, TH_E_OTHER_DESTINATION},
        {"fd00::a", NULL, NULL, TH_E_OTHER_DESTINATION},
        {"::ffff:10.0.0.2", NULL, NULL, TH_E_OTHER_DESTINATION},
        {"10.0.0.2", "10.0.0.2", NULL, TH_E_EGRESS_DENIED},
    };

    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_address only;
        struct setting s;
        setting_open(&s, addresses);
        s.call.refused = rows[i].refused;
        assert_int_equal(th_address_parse(th_str_of(rows[i].only), 1, &only), 0);
        start_only(&s, "many.example", &only);
        settle(&s.bench);
        expect(&s, rows[i].error, rows[i].reached);
        assert_int_equal(s.fake.n_connects, rows[i].error == 0);
        assert_int_equal(s.call.n_asked, rows[i].error != TH_E_OTHER_DESTINATION);
        setting_close(&s);
    }
}

static void test_only_that_fails_is_the_end(void **state)
{
    const struct fake_address addresses[] = {
        {"10.0.0.1", BE_FINE}, {"10.0.0.2", BE_REFUSED}, {"10.0.0.3", BE_FINE}, {NULL}};
    struct th_address only;
    struct setting s;

    setting_open(&s, addresses);
    assert_int_equal(th_address_parse(TH_STR("10.0.0.2"), 443, &only), 0);
    start_only(&s, "many.example", &only);
    settle(&s.bench);
    expect(&s, TH_E_ORIGIN_REFUSED, NULL);
    assert_int_equal(s.fake.n_connects, 1);
    setting_close(&s);
}

static void test_literal_that_is_another(void **state)
{
    const struct fake_address addresses[] = {{"10.0.0.1", BE_FINE}, {NULL}};
    struct th_address only;
    struct setting s;

    setting_open(&s, addresses);
    assert_int_equal(th_address_parse(TH_STR("10.0.0.2"), 443, &only), 0);
    start_only(&s, "10.0.0.1", &only);
    settle(&s.bench);
    expect(&s, TH_E_OTHER_DESTINATION, NULL);
    assert_int_equal(s.fake.n_connects, 0);
    setting_close(&s);
}

static void test_refused_goes_on_at_once(void **state)
{
    const struct fake_address addresses[] = {
        {"10.0.0.1", BE_REFUSED}, {"10.0.0.2", BE_BROKEN_LATER}, {"10.0.0.3", BE_LATER}, {NULL}};
    struct setting s;

    setting_open(&s, addresses);
    start(&s, "a.example");
    settle(&s.bench);
    expect(&s, 0, "10.0.0.3:443");
    setting_close(&s);
}

static void test_all_refused(void **state)
{
    const struct fake_address addresses[] = {
        {"10.0.0.1", BE_REFUSED}, {"10.0.0.2", BE_REFUSED}, {NULL}};
    struct setting s;

    setting_open(&s, addresses);
    start(&s, "a.example");
    settle(&s.bench);
    expect(&s, TH_E_ORIGIN_REFUSED, NULL);
    assert_int_equal(s.fake.n_connects, 2);
    setting_close(&s);
}

static void test_families_take_turns(void **state)
{
    const struct fake_address addresses[] = {
        {"2001:db8::1", BE_REFUSED}, {"2001:db8::2", BE_REFUSED}, {"10.0.0.1", BE_REFUSED},
        {"10.0.0.2", BE_REFUSED},    {"10.0.0.3", BE_REFUSED},    {NULL}};
    struct setting s;

    setting_open(&s, addresses);
    start(&s, "a.example");
    settle(&s.bench);
    assert_string_equal(s.fake.order, "[2001:db8::1]:443 10.0.0.1:443 [2001:db8::2]:443 "
                                      "10.0.0.2:443 10.0.0.3:443 ");
    expect(&s, TH_E_ORIGIN_REFUSED, NULL);
    setting_close(&s);
}

static void test_silent_first_loses_after_250_ms(void **state)
{
    const struct fake_address addresses[] = {
        {"2001:db8::1", BE_HANGING}, {"10.0.0.1", BE_LATER}, {NULL}};
    struct setting s;
    char byte;

    setting_open(&s, addresses);
    start(&s, "a.example");
    settle(&s.bench);
    pass(&s.bench, 240);
    assert_int_equal(s.fake.n_connects, 1);
    pass(&s.bench, 26);
    expect(&s, 0, "10.0.0.1:443");
    drain_all(s.fake.far[0]);
    assert_int_equal(read(s.fake.far[0], &byte, 1), 0); /* the loser was closed */
    setting_close(&s);
}

static void test_first_may_win_late(void **state)
{
    const struct fake_address addresses[] = {
        {"2001:db8::1", BE_HANGING}, {"10.0.0.1", BE_HANGING}, {NULL}};
    struct setting s;

    setting_open(&s, addresses);
    start(&s, "a.example");
    pass(&s.bench, 300);
    assert_int_equal(s.fake.n_connects, 2);
    drain_all(s.fake.far[0]);
    settle(&s.bench);
    expect(&s, 0, "[2001:db8::1]:443");
    setting_close(&s);
}

/* Two black holes do not keep the third from its turn. */
static void test_third_has_a_turn(void **state)
{
    const struct fake_address addresses[] = {
        {"10.0.0.1", BE_HANGING}, {"10.0.0.2", BE_HANGING}, {"10.0.0.3", BE_LATER}, {NULL}};
    struct setting s;

    setting_open(&s, addresses);
    start(&s, "a.example");
    pass(&s.bench, 300);
    assert_int_equal(s.fake.n_connects, 2);
    for (int i = 0; i < 60 && !s.call.called; i++)
        pass(&s.bench, 100);
    expect(&s, 0, "10.0.0.3:443");
    setting_close(&s);
}

static void test_unpermitted_address_is_passed_over(void **state)
{
    const struct fake_address addresses[] = {
        {"169.254.169.254", BE_FINE}, {"10.0.0.2", BE_FINE}, {NULL}};
    struct setting s;

    setting_open(&s, addresses);
    s.call.refused = "169.254.169.254";
    start(&s, "a.example");
    settle(&s.bench);
    expect(&s, 0, "10.0.0.2:443");
    assert_string_equal(s.fake.order, "10.0.0.2:443 "); /* never even connected to */
    setting_close(&s);
}

static void test_no_address_permitted(void **state)
{
    const struct fake_address addresses[] = {{"169.254.169.254", BE_FINE}, {NULL}};
    struct setting s;

    setting_open(&s, addresses);
    s.call.refused = "169.254.169.254";
    start(&s, "a.example");
    settle(&s.bench);
    expect(&s, TH_E_EGRESS_DENIED, NULL);
    assert_int_equal(s.fake.n_connects, 0);
    setting_close(&s);
}

static void test_refusal_outlasts_a_denial(void **state)
{
    const struct fake_address addresses[] = {
        {"10.0.0.2", BE_REFUSED}, {"169.254.169.254", BE_FINE}, {NULL}};
    struct setting s;

    setting_open(&s, addresses);
    s.call.refused = "169.254.169.254";
    start(&s, "a.example");
    settle(&s.bench);
    expect(&s, TH_E_ORIGIN_REFUSED, NULL);
    setting_close(&s);
}

static void test_deadline(void **state)
{
    const struct fake_address addresses[] = {{"10.0.0.1", BE_HANGING}, {NULL}};
    struct setting s;

    setting_open(&s, addresses);
    start(&s, "a.example");
    pass(&s.bench, 9990);
    assert_int_equal(s.call.called, 0);
    pass(&s.bench, 30);
    expect(&s, TH_E_ORIGIN_CONNECT_TIMEOUT, NULL);
    setting_close(&s);
}

static void test_no_such_name(void **state)
{
    const struct fake_address addresses[] = {{NULL}};
    static const char *const hosts[] = {"a.example", "127.1", "0x7f000001", "2130706433",
                                        "1.2.3.4.",  "a b",   "fe80::1%lo", ""};

    for (size_t i = 0; i < TH_COUNT_OF(hosts); i++) {
        struct setting s;
        setting_open(&s, addresses);
        start(&s, hosts[i]);
        settle(&s.bench);
        expect(&s, TH_E_ORIGIN_NAME, NULL);
        assert_int_equal(s.fake.n_lookups, i == 0);
        setting_close(&s);
    }
}

static void test_cancel_at_every_point(void **state)
{
    const struct fake_address fine[] = {{"10.0.0.1", BE_FINE}, {NULL}};
    const struct fake_address later[] = {
        {"10.0.0.1", BE_HANGING}, {"10.0.0.2", BE_HANGING}, {NULL}};
    struct setting s;

    setting_open(&s, fine); /* made, but not yet told */
    start(&s, "a.example");
    th_dial_cancel(&s.call.dial);
    settle(&s.bench);
    assert_int_equal(s.call.called, 0);
    char byte;
    assert_int_equal(read(s.fake.far[0], &byte, 1), 0); /* and closed */
    th_dial_cancel(&s.call.dial);
    setting_close(&s);

    setting_open(&s, later); /* one under way, then both */
    start(&s, "a.example");
    th_dial_cancel(&s.call.dial);
    start(&s, "a.example");
    pass(&s.bench, 300);
    th_dial_cancel(&s.call.dial);
    pass(&s.bench, 20000);
    assert_int_equal(s.call.called, 0);
    setting_close(&s);
}

static void test_real_loopback(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    struct bench bench;
    struct call call = {.fd = -1};
    struct th_dial_request request = {.host = TH_STR("127.0.0.1"), .fn = on_dialed};

    assert_int_equal(bind(listening, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listening, 5), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &len), 0);
    bench_open(&bench, NULL, NULL);
    request.port = ntohs(address.sin_port);
    request.deadline_ms = bench.worker->now_ms + 10000;
    th_dial_start(&call.dial, bench.worker, &request);
    wait_for(&bench, &call.called);
    assert_int_equal(call.error, 0);
    close(call.fd);
    close(listening);
    call.called = 0;
    th_dial_start(&call.dial, bench.worker, &request);
    wait_for(&bench, &call.called);
    assert_int_equal(call.error, TH_E_ORIGIN_REFUSED);
    bench_close(&bench);
}

#ifdef TH_FAIL_ALLOC
static void test_without_memory(void **state)
{
    const struct fake_address addresses[] = {
        {"10.0.0.1", BE_LATER}, {"10.0.0.2", BE_LATER}, {NULL}};
    bool went_through = false;

    for (unsigned long n = 1; !went_through; n++) {
        struct setting s;
        assert_true(n < 100);
        setting_open(&s, addresses);
        th_mem_fail_after(n, 2);
        start(&s, "a.example");
        settle(&s.bench);
        went_through = th_mem_count() < n;
        th_mem_fail_after(0, 0);
        assert_int_equal(s.call.called, 1);
        assert_true(s.call.error == 0 || s.call.error == TH_E_NOMEM ||
                    s.call.error == TH_E_OVERLOADED);
        setting_close(&s);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literal_asks_nobody),
        cmocka_unit_test(test_only_one_of_the_addresses),
        cmocka_unit_test(test_only_that_fails_is_the_end),
        cmocka_unit_test(test_literal_that_is_another),
        cmocka_unit_test(test_refused_goes_on_at_once),
        cmocka_unit_test(test_all_refused),
        cmocka_unit_test(test_families_take_turns),
        cmocka_unit_test(test_silent_first_loses_after_250_ms),
        cmocka_unit_test(test_first_may_win_late),
        cmocka_unit_test(test_third_has_a_turn),
        cmocka_unit_test(test_unpermitted_address_is_passed_over),
        cmocka_unit_test(test_no_address_permitted),
        cmocka_unit_test(test_refusal_outlasts_a_denial),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_no_such_name),
        cmocka_unit_test(test_cancel_at_every_point),
        cmocka_unit_test(test_real_loopback),
#ifdef TH_FAIL_ALLOC
        cmocka_unit_test(test_without_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
