/* The destination of the comparison: answers 401 unless the request bears the access token that
 * belongs to its X-Bench-Index, so that a proxy which forwards anything else cannot pass unseen.
 *
 * Paths: /big/N streams N bytes; /sse/INTERVAL_US/COUNT sends events; /stats (no token asked) says
 * the counts; /once closes the connection; anything else gets --body bytes. */
#include "bench_server.h"
#include "bench_tls.h"
#include "bench_util.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    uint64_t n_requests, n_unauthorized;
    uint64_t n_tokens; /* of the table; beyond it tokens are made as they are needed */
    char *tokens;
    char *body;
    size_t body_len;
} origin;

static bool is_authorized(const struct bench_request *req)
{
    static const char scheme[] = "Bearer ";
    char made[BENCH_ACCESS_LEN + 1];
    const char *want = made;

    if (!req->has_index || req->index > BENCH_INDEX_MAX || !req->authorization ||
        req->authorization_len != sizeof(scheme) - 1 + BENCH_ACCESS_LEN ||
        memcmp(req->authorization, scheme, sizeof(scheme) - 1) != 0)
        return false;
    if (req->index < origin.n_tokens)
        want = origin.tokens + req->index * BENCH_ACCESS_LEN;
    else
        bench_access_token(req->index, made);
    return memcmp(req->authorization + sizeof(scheme) - 1, want, BENCH_ACCESS_LEN) == 0;
}

/* Writes the counts as JSON; the length is returned. */
static size_t print_stats(char *dst, size_t size)
{
    struct bench_server_counts counts = bench_server_counts();

    return (size_t)snprintf(
        dst, size,
        "{\"requests\": %llu, \"unauthorized\": %llu, \"tls\": %llu, \"resumed\": %llu}\n",
        (unsigned long long)origin.n_requests, (unsigned long long)origin.n_unauthorized,
        (unsigned long long)counts.n_tls, (unsigned long long)counts.n_resumed);
}

static bool has_prefix(const char *target, size_t len, const char *prefix)
{
    return len > strlen(prefix) && memcmp(target, prefix, strlen(prefix)) == 0;
}

static void on_request(struct bench_conn *conn, const struct bench_request *req)
{
    char target[128];
    char *end;

    if (req->target_len == 6 && memcmp(req->target, "/stats", 6) == 0) {
        char text[256];

        bench_reply(conn, "200 OK", "application/json", "", text, print_stats(text, sizeof(text)),
                    0);
        return;
    }
    origin.n_requests++;
    if (!is_authorized(req)) {
        origin.n_unauthorized++;
        bench_reply(conn, "401 Unauthorized", "text/plain", "WWW-Authenticate: Bearer\r\n", "no\n",
                    3, 0);
        return;
    }
    snprintf(target, sizeof(target), "%.*s", (int)req->target_len, req->target);
    if (has_prefix(target, strlen(target), "/big/")) {
        bench_reply_stream(conn, strtoull(target + 5, NULL, 10));
    } else if (has_prefix(target, strlen(target), "/sse/")) {
        uint64_t interval_us = strtoull(target + 5, &end, 10);

        bench_reply_events(conn, interval_us, *end == '/' ? strtoull(end + 1, NULL, 10) : 1);
    } else if (strcmp(target, "/once") == 0) {
        bench_reply(conn, "200 OK", "application/json", "Connection: close\r\n", origin.body,
                    origin.body_len, 0);
        bench_close_after(conn);
    } else {
        bench_reply(conn, "200 OK", "application/json", "Date: Mon, 01 Jan 2029 00:00:00 GMT\r\n",
                    origin.body, origin.body_len, 0);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'}, {"tokens", required_argument, NULL, 't'},
        {"body", required_argument, NULL, 'b'}, {"cert", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'},  {"resume", no_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},       {0},
    };
    const char *cert_file = NULL;
    const char *key_file = NULL;
    bool resume = false;
    uint16_t port = 0;
    uint16_t tls_port = 0;
    char text[256];
    int tls_fd = -1;
    int fd;
    int c;

    origin.body_len = 200;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'p':
            port = (uint16_t)bench_parse_number("port", optarg, UINT16_MAX);
            break;
        case 't':
            origin.n_tokens = bench_parse_number("tokens", optarg, BENCH_INDEX_MAX);
            break;
        case 'b':
            origin.body_len = bench_parse_number("body", optarg, 1 << 20);
            break;
        case 'c':
            cert_file = optarg;
            break;
        case 'k':
            key_file = optarg;
            break;
        case 'r':
            resume = true;
            break;
        case 'h':
            puts("bench_origin [--port N] [--tokens N] [--body BYTES] [--cert FILE --key FILE "
                 "[--resume]]\n"
                 "Prints its port, and that of TLS where there is a certificate; ends on SIGTERM "
                 "with its counts.");
            return 0;
        case '?':
            return 2;
        }
    }
    bench_need_files(1024);
    origin.tokens = bench_alloc(origin.n_tokens * BENCH_ACCESS_LEN + 1);
    for (uint64_t i = 0; i < origin.n_tokens; i++)
        bench_access_token(i, origin.tokens + i * BENCH_ACCESS_LEN);
    origin.body = bench_alloc(origin.body_len + 1);
    memset(origin.body, ' ', origin.body_len);
    if (origin.body_len >= 2) {
        origin.body[0] = '{';
        origin.body[origin.body_len - 1] = '}';
    }
    fd = bench_listen(port, &port);
    if (cert_file && key_file)
        tls_fd = bench_listen(0, &tls_port);
    printf("%u %u\n", port, tls_port);
    fflush(stdout);
    bench_serve_tls(fd, tls_fd, tls_fd >= 0 ? bench_tls_server(cert_file, key_file, resume) : NULL,
                    on_request);
    fwrite(text, 1, print_stats(text, sizeof(text)), stdout);
    return 0;
}
