/* The load generator of the comparison. It sends requests in absolute form through a proxy, each with
 * a subject token, checks every answer and prints one JSON object. Ways to load:
 *
 *   hot      C keep-alive connections, the next request when the answer is there, N in all
 *   newconn  the same with a new connection for every request; the client closes
 *   mint     N connections with TLS (--ca) to a host of its own each, and no request on them
 *   rate     R requests a second for S seconds, whatever the answers take
 *   idle     C connections with one request each, then held until stdin ends
 *   sse      C streams of events at once (--path /sse/INTERVAL_US/COUNT), the delay of each event
 *   body     like hot, for large bodies (--path /big/BYTES), which are thrown away in the kernel
 *   slow     C such bodies at once, each read --read bytes at a time, every --tick milliseconds
 *
 * --ca FILE: each connection asks for a tunnel (CONNECT) and speaks TLS in it, trusting FILE alone.
 * --malformed: every request is one that must be answered with 400, and is.
 * --wait: every connection makes one request, "ready" is printed, and the rest begins with a line on
 * stdin, so that what is measured is without what opening them takes.
 * A burst of requests for one token that nobody has yet is `hot` with as many requests as
 * connections. */
#include "bench_client.h"
#include "bench_tls.h"
#include "bench_util.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define STALL_MS 15000 /* without any progress for so long the run is given up */

enum mode {
    MODE_HOT,
    MODE_NEWCONN,
    MODE_MINT,
    MODE_RATE,
    MODE_IDLE,
    MODE_SSE,
    MODE_BODY,
    MODE_SLOW
};

static const char *const mode_names[] = {"hot",  "newconn", "mint", "rate",
                                         "idle", "sse",     "body", "slow"};

struct sse_line { /* an event's line while it is incomplete */
    char text[64];
    size_t len;
};

struct load {
    enum mode mode;
    struct bench_requests requests;
    uint64_t n_clients, total, rate, seconds, expect_body;
    size_t slow_read, rcvbuf;
    unsigned tick_ms;
    bool wait;
    uint64_t stride; /* so that successive requests do not bear neighbouring tokens */

    struct bench_client *clients;
    struct bench_client **free_clients; /* rate: a ring of the idle ones */
    size_t n_free, free_at;
    int epoll_fd, timer_fd;
    uint64_t n_started, n_done, n_errors, n_late, n_reconnects, n_events, body_bytes;
    unsigned bad_status;
    const char *problem;
    uint32_t *latencies; /* microseconds times ten: a tenth of one matters for events */
    size_t n_latencies, max_latencies;
    uint64_t begin_ns, end_ns;
};

static void watch(struct load *l, int fd, struct bench_client *c)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        bench_die("epoll_ctl: %s", strerror(errno));
}

static void record_latency(struct load *l, uint64_t ns)
{
    uint64_t tenths = ns / 100;

    if (l->n_latencies == l->max_latencies) {
        l->max_latencies = l->max_latencies ? l->max_latencies * 2 : 65536;
        l->latencies = bench_realloc(l->latencies, l->max_latencies * sizeof(*l->latencies));
    }
    l->latencies[l->n_latencies++] = tenths > UINT32_MAX ? UINT32_MAX : (uint32_t)tenths;
}

static void on_sse_body(struct bench_client *c, const char *data, size_t len)
{
    struct load *l = c->user;
    struct sse_line *lines = (struct sse_line *)(void *)(l->clients + l->n_clients);
    struct sse_line *line = &lines[c - l->clients];
    uint64_t now = bench_now_ns();

    for (size_t i = 0; i < len; i++) {
        if (data[i] != '\n') {
            if (line->len < sizeof(line->text) - 1)
                line->text[line->len++] = data[i];
            continue;
        }
        line->text[line->len] = '\0';
        if (strncmp(line->text, "data: ", 6) == 0) {
            record_latency(l, now - strtoull(line->text + 6, NULL, 10));
            l->n_events++;
        }
        line->len = 0;
    }
}

static void open_client(struct load *l, struct bench_client *c)
{
    bench_client_connect(c, &l->requests, (int)l->rcvbuf);
    if (l->mode != MODE_SLOW)
        watch(l, c->fd, c);
}

static void start_request(struct load *l, struct bench_client *c)
{
    bench_client_send(c, &l->requests, l->n_started * l->stride);
    l->n_started++;
}

static void note_error(struct load *l, struct bench_client *c)
{
    l->n_errors++;
    if (!l->problem) {
        l->problem = c->problem ? c->problem : "the status was another";
        l->bad_status = c->status;
    }
    c->problem = NULL;
}

/* The response is complete, or will never be. What the client does next is the mode's. */
static void finish_request(struct load *l, struct bench_client *c, bool broken)
{
    bool ok = !broken && c->status == (l->requests.malformed ? 400 : 200);

    if (ok && l->expect_body && c->body_bytes != l->expect_body) {
        c->problem = "the body has the wrong length";
        ok = false;
    }
    if (!ok)
        note_error(l, c);
    else if (l->mode != MODE_SSE)
        record_latency(l, bench_now_ns() - c->sent_ns);
    l->n_done++;
    l->body_bytes += c->body_bytes;
    if (broken || c->will_close || l->mode == MODE_NEWCONN || l->mode == MODE_MINT) {
        if (l->mode != MODE_NEWCONN && l->mode != MODE_MINT)
            l->n_reconnects++;
        bench_client_close(c);
    }
    switch (l->mode) {
    case MODE_HOT:
    case MODE_NEWCONN:
    case MODE_MINT:
    case MODE_BODY:
        if (l->n_started == l->total)
            break;
        if (c->fd < 0)
            open_client(l, c);
        start_request(l, c);
        break;
    case MODE_RATE:
        if (c->fd < 0)
            open_client(l, c);
        l->free_clients[(l->free_at + l->n_free++) % l->n_clients] = c;
        break;
    case MODE_IDLE:
        if (l->n_started == l->n_clients)
            break;
        open_client(l, &l->clients[l->n_started]);
        start_request(l, &l->clients[l->n_started]);
        break;
    case MODE_SSE:
    case MODE_SLOW:
        break;
    }
}

static void on_client(struct load *l, struct bench_client *c)
{
    switch (bench_client_receive(c)) {
    case RECEIVED_MORE:
        break;
    case RECEIVED_DONE:
        finish_request(l, c, false);
        break;
    case RECEIVED_CLOSED:
        l->n_reconnects++;
        bench_client_close(c);
        if (l->mode == MODE_RATE)
            open_client(l, c);
        break;
    case RECEIVED_BROKEN:
        finish_request(l, c, true);
        break;
    }
}

static void set_timer(struct load *l, uint64_t interval_ns)
{
    struct timespec t = {(time_t)(interval_ns / 1000000000u), (long)(interval_ns % 1000000000u)};
    struct itimerspec its = {.it_value = t, .it_interval = t};

    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->timer_fd < 0 || timerfd_settime(l->timer_fd, 0, &its, NULL) < 0)
        bench_die("timerfd: %s", strerror(errno));
    watch(l, l->timer_fd, NULL);
}

static void on_timer(struct load *l)
{
    uint64_t expired = 0;

    if (read(l->timer_fd, &expired, sizeof(expired)) != sizeof(expired))
        return;
    if (l->mode == MODE_SLOW) {
        for (uint64_t i = 0; i < l->n_clients; i++)
            if (l->clients[i].fd >= 0 && l->clients[i].state != CLIENT_IDLE)
                on_client(l, &l->clients[i]);
        return;
    }
    for (; expired && l->n_started < l->total; expired--) {
        struct bench_client *c;

        if (!l->n_free) { /* every connection waits: the proxy does not keep up */
            l->n_late++;
            l->n_started++;
            l->n_done++;
            continue;
        }
        c = l->free_clients[l->free_at];
        l->free_at = (l->free_at + 1) % l->n_clients;
        l->n_free--;
        start_request(l, c);
    }
}

static void run_until_done(struct load *l, uint64_t n_done)
{
    struct epoll_event evs[256];
    uint64_t last_progress = bench_now_ns();
    uint64_t until_ns = 0;

    if (l->mode == MODE_SLOW && l->seconds)
        until_ns = last_progress + l->seconds * 1000000000u;
    while (l->n_done < n_done) {
        uint64_t before = l->n_done + l->n_events;
        int n = epoll_wait(l->epoll_fd, evs, 256, 1000);

        for (int i = 0; i < n; i++) {
            if (evs[i].data.ptr)
                on_client(l, evs[i].data.ptr);
            else
                on_timer(l);
        }
        if (until_ns && bench_now_ns() > until_ns)
            return;
        /* Bodies make progress that is not counted here: they get as long as they need. */
        if (before != l->n_done + l->n_events || l->mode == MODE_SLOW || l->mode == MODE_BODY)
            last_progress = bench_now_ns();
        else if (bench_now_ns() - last_progress > STALL_MS * 1000000ull)
            bench_die("no answer for %d s; %llu of %llu requests answered", STALL_MS / 1000,
                      (unsigned long long)l->n_done, (unsigned long long)n_done);
    }
}

static void start_sse(struct load *l)
{
    uint64_t interval_us = strtoull(l->requests.path + strlen("/sse/"), NULL, 10);

    for (uint64_t i = 0; i < l->n_clients; i++) {
        struct timespec gap = {0, (long)(interval_us * 1000 / l->n_clients)};

        l->clients[i].on_body = on_sse_body;
        start_request(l, &l->clients[i]);
        nanosleep(&gap, NULL); /* so that the streams' events do not come all at once */
    }
}

/* Holds the connections until stdin ends; closed ones are counted as reconnects. */
static void hold_clients(struct load *l)
{
    char byte;

    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    for (uint64_t i = 0; i < l->n_clients; i++)
        if (l->clients[i].fd >= 0)
            on_client(l, &l->clients[i]);
}

/* One request on each connection; the rest when told. */
static void warm_up(struct load *l)
{
    uint64_t total = l->total;
    char byte;

    l->total = l->n_clients;
    for (uint64_t i = 0; i < l->n_clients; i++)
        start_request(l, &l->clients[i]);
    run_until_done(l, l->total);
    puts("ready");
    fflush(stdout);
    if (read(STDIN_FILENO, &byte, 1) != 1)
        bench_die("--wait: nobody said when to go on");
    l->total = total;
    l->n_started = l->n_done = 0;
    l->n_latencies = 0;
    l->body_bytes = 0;
    l->begin_ns = bench_now_ns();
}

static void run(struct load *l)
{
    uint64_t n_open = l->mode == MODE_IDLE && l->n_clients > 32 ? 32 : l->n_clients;

    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bench_need_files((unsigned)l->n_clients + 32);
    bench_requests_init(&l->requests);
    l->clients = bench_alloc(l->n_clients * (sizeof(*l->clients) + sizeof(struct sse_line)));
    l->free_clients = bench_alloc(l->n_clients * sizeof(struct bench_client *));
    for (uint64_t i = 0; i < l->n_clients; i++) {
        l->clients[i].fd = -1;
        l->clients[i].user = l;
        l->clients[i].skip_body = l->mode == MODE_BODY || l->mode == MODE_SLOW;
        l->clients[i].max_read = l->mode == MODE_SLOW ? l->slow_read : 0;
        l->free_clients[i] = &l->clients[i];
    }
    l->n_free = l->n_clients;
    for (uint64_t i = 0; i < n_open; i++)
        open_client(l, &l->clients[i]);
    l->begin_ns = bench_now_ns();
    if (l->wait)
        warm_up(l);
    switch (l->mode) {
    case MODE_HOT:
    case MODE_NEWCONN:
    case MODE_MINT:
    case MODE_BODY:
    case MODE_IDLE:
    case MODE_SLOW:
        for (uint64_t i = 0; i < n_open && l->n_started < l->total; i++)
            start_request(l, &l->clients[i]);
        if (l->mode == MODE_SLOW)
            set_timer(l, l->tick_ms * 1000000ull);
        break;
    case MODE_RATE:
        set_timer(l, 1000000000u / l->rate);
        break;
    case MODE_SSE:
        start_sse(l);
        break;
    }
    run_until_done(l, l->total);
    l->end_ns = bench_now_ns();
    if (l->mode == MODE_IDLE)
        hold_clients(l);
}

static void finish(struct load *l)
{
    for (uint64_t i = 0; i < l->n_clients; i++)
        bench_client_close(&l->clients[i]);
    if (l->timer_fd >= 0)
        close(l->timer_fd);
    close(l->epoll_fd);
    free(l->clients);
    free(l->free_clients);
    free(l->latencies);
    free(l->requests.table);
}

static int compare_latency(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double latency_us(const struct load *l, double quantile)
{
    if (!l->n_latencies)
        return 0;
    return l->latencies[(size_t)((double)(l->n_latencies - 1) * quantile)] / 10.0;
}

static void print_result(struct load *l)
{
    double seconds = (double)(l->end_ns - l->begin_ns) / 1e9;

    if (l->n_latencies)
        qsort(l->latencies, l->n_latencies, sizeof(*l->latencies), compare_latency);
    printf("{\"mode\": \"%s\", \"requests\": %llu, \"errors\": %llu, \"late\": %llu, "
           "\"reconnects\": %llu, \"events\": %llu, \"body_bytes\": %llu, \"seconds\": %.6f, "
           "\"per_second\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, "
           "\"max_us\": %.1f, \"problem\": \"%s\", \"bad_status\": %u}\n",
           mode_names[l->mode], (unsigned long long)l->n_done, (unsigned long long)l->n_errors,
           (unsigned long long)l->n_late, (unsigned long long)l->n_reconnects,
           (unsigned long long)l->n_events, (unsigned long long)l->body_bytes, seconds,
           (double)l->n_done / seconds, latency_us(l, 0.5), latency_us(l, 0.9), latency_us(l, 0.99),
           latency_us(l, 1), l->problem ? l->problem : "", l->bad_status);
}

enum opt {
    OPT_MODE = 1,
    OPT_PROXY,
    OPT_ORIGIN,
    OPT_PATH,
    OPT_CONNECTIONS,
    OPT_REQUESTS,
    OPT_TOKENS,
    OPT_FIRST,
    OPT_RATE,
    OPT_SECONDS,
    OPT_READ,
    OPT_TICK,
    OPT_RCVBUF,
    OPT_IN_ORDER,
    OPT_DIRECT,
    OPT_TUNNEL,
    OPT_MALFORMED,
    OPT_HOST,
    OPT_CA,
    OPT_WAIT,
    OPT_HELP,
};

static const struct option options[] = {
    {"mode", required_argument, NULL, OPT_MODE},
    {"proxy", required_argument, NULL, OPT_PROXY},
    {"origin", required_argument, NULL, OPT_ORIGIN},
    {"path", required_argument, NULL, OPT_PATH},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"requests", required_argument, NULL, OPT_REQUESTS},
    {"tokens", required_argument, NULL, OPT_TOKENS},
    {"first", required_argument, NULL, OPT_FIRST},
    {"rate", required_argument, NULL, OPT_RATE},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"read", required_argument, NULL, OPT_READ},
    {"tick", required_argument, NULL, OPT_TICK},
    {"rcvbuf", required_argument, NULL, OPT_RCVBUF},
    {"in-order", no_argument, NULL, OPT_IN_ORDER},
    {"direct", no_argument, NULL, OPT_DIRECT},
    {"tunnel", no_argument, NULL, OPT_TUNNEL},
    {"malformed", no_argument, NULL, OPT_MALFORMED},
    {"host", required_argument, NULL, OPT_HOST},
    {"ca", required_argument, NULL, OPT_CA},
    {"wait", no_argument, NULL, OPT_WAIT},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static enum mode parse_mode(const char *text)
{
    for (size_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++)
        if (strcmp(mode_names[i], text) == 0)
            return (enum mode)i;
    bench_die("--mode: no way to load is called '%s'", text);
}

static void parse_option(struct load *l, int c, bool *ret_in_order)
{
    const char *name = options[c - 1].name;

    switch ((enum opt)c) {
    case OPT_MODE:
        l->mode = parse_mode(optarg);
        break;
    case OPT_PROXY:
        l->requests.proxy_port = (uint16_t)bench_parse_number(name, optarg, UINT16_MAX);
        break;
    case OPT_ORIGIN:
        l->requests.origin_port = (uint16_t)bench_parse_number(name, optarg, UINT16_MAX);
        break;
    case OPT_PATH:
        l->requests.path = optarg;
        break;
    case OPT_CONNECTIONS:
        l->n_clients = bench_parse_number(name, optarg, 60000);
        break;
    case OPT_REQUESTS:
        l->total = bench_parse_number(name, optarg, UINT32_MAX);
        break;
    case OPT_TOKENS:
        l->requests.n_tokens = bench_parse_number(name, optarg, BENCH_INDEX_MAX);
        break;
    case OPT_FIRST:
        l->requests.first = bench_parse_number(name, optarg, BENCH_INDEX_MAX);
        break;
    case OPT_RATE:
        l->rate = bench_parse_number(name, optarg, 1000000);
        break;
    case OPT_SECONDS:
        l->seconds = bench_parse_number(name, optarg, 3600);
        break;
    case OPT_READ:
        l->slow_read = bench_parse_number(name, optarg, 1 << 20);
        break;
    case OPT_TICK:
        l->tick_ms = (unsigned)bench_parse_number(name, optarg, 10000);
        break;
    case OPT_RCVBUF:
        l->rcvbuf = bench_parse_number(name, optarg, 1 << 24);
        break;
    case OPT_IN_ORDER:
        *ret_in_order = true;
        break;
    case OPT_DIRECT:
        l->requests.direct = true;
        break;
    case OPT_TUNNEL:
        l->requests.tunnel = true;
        break;
    case OPT_MALFORMED:
        l->requests.malformed = true;
        break;
    case OPT_HOST:
        l->requests.host = optarg;
        break;
    case OPT_CA:
        l->requests.tls = bench_tls_client(optarg);
        break;
    case OPT_WAIT:
        l->wait = true;
        break;
    case OPT_HELP:
        for (const struct option *o = options; o->name; o++)
            printf("--%s%s\n", o->name, o->has_arg ? " VALUE" : "");
        exit(0);
    }
}

int main(int argc, char **argv)
{
    struct load l = {
        .requests = {.path = "/a2a/tasks", .n_tokens = 1, .host = "127.0.0.1"},
        .n_clients = 32,
        .total = 1000,
        .rate = 3000,
        .slow_read = 65536,
        .tick_ms = 10,
        .timer_fd = -1,
        .stride = 7919, /* a prime: all tokens come equally often unless it divides their number */
    };
    bool in_order = false;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == '?')
            return 2;
        parse_option(&l, c, &in_order);
    }
    if (!l.requests.proxy_port || !l.requests.origin_port || !l.n_clients || !l.requests.n_tokens)
        bench_die("--proxy and --origin are needed, --connections and --tokens are not 0");
    if (l.mode == MODE_MINT && !l.requests.tls)
        bench_die("--mode mint needs --ca");
    if (l.wait && l.mode != MODE_HOT && l.mode != MODE_BODY)
        bench_die("--wait is for --mode hot and --mode body");
    l.requests.new_names = l.mode == MODE_MINT;
    if (in_order)
        l.stride = 1;
    if (l.mode == MODE_RATE && (!l.rate || !l.seconds))
        bench_die("--mode rate needs --rate and --seconds");
    if (l.mode == MODE_RATE)
        l.total = l.rate * l.seconds;
    if (l.mode == MODE_IDLE || l.mode == MODE_SSE || l.mode == MODE_SLOW)
        l.total = l.n_clients;
    if (strncmp(l.requests.path, "/big/", 5) == 0)
        l.expect_body = strtoull(l.requests.path + 5, NULL, 10);
    run(&l);
    print_result(&l);
    finish(&l);
    return l.n_errors ? 1 : 0;
}
