/* Measures what the codec costs on the hot path: a typical call of an agent, its head parsed and
 * written anew. Not a test and not built by default:  ninja -C build src/http/bench_http_parse */
#include <stdio.h>
#include <stdlib.h>

#include "tokenhop/base/clock.h"
#include "tokenhop/http/http1.h"
#include "tokenhop/http/url.h"

#define ROUNDS 5000
#define TURNS 300
#define TOKEN_LEN 900

static char request[4096];
static size_t request_len;

static void make_request(void)
{
    char token[TOKEN_LEN + 1];
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < TOKEN_LEN; i++)
        token[i] = alphabet[i * 7 % (sizeof(alphabet) - 1)];
    token[TOKEN_LEN] = '\0';
    request_len =
        (size_t)snprintf(request, sizeof(request),
                         "POST http://agent2.example.com/a2a/ HTTP/1.1\r\n"
                         "Host: agent2.example.com\r\n"
                         "User-Agent: python-httpx/0.27.0\r\n"
                         "Accept: application/json, text/event-stream\r\n"
                         "Accept-Encoding: gzip, deflate, br\r\n"
                         "Connection: keep-alive\r\n"
                         "Authorization: Bearer %s\r\n"
                         "Content-Type: application/json\r\n"
                         "A2A-Version: 1.0\r\n"
                         "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
                         "X-Request-Id: 2f1c9d7e-8a53-4f5e-9c25-0d1f0c7be0a1\r\n"
                         "Content-Length: 342\r\n\r\n",
                         token);
}

static const char response[] = "HTTP/1.1 200 OK\r\n"
                               "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                               "Server: uvicorn\r\n"
                               "Content-Type: application/json\r\n"
                               "Cache-Control: no-store\r\n"
                               "Content-Length: 812\r\n\r\n";

static const struct th_http1_limits limits = {65536, 100};

static int parse_request(struct th_head *head)
{
    size_t scanned = 0;
    return th_http1_parse_request(head, request, request_len, &scanned, &limits);
}

static int parse_response(struct th_head *head)
{
    size_t scanned = 0;
    return th_http1_parse_response(head, response, sizeof(response) - 1, &scanned, &limits,
                                   TH_METHOD_POST);
}

static int parse_url(struct th_head *head)
{
    struct th_url url;
    int r = th_url_parse(head->target, &url);
    return r == 0 && th_url_path_is_ambiguous(url.path) ? -1 : r;
}

static int write_fields(struct th_head *head)
{
    char room[4096];
    struct th_writer w;
    th_writer_init(&w, room, sizeof(room));
    th_writer_add_fields(&w, head);
    __asm__ volatile("" : : "r"(room) : "memory");
    return w.overflow ? -1 : 0;
}

static void measure(const char *what, int (*step)(struct th_head *head), struct th_head *head)
{
    int64_t best = INT64_MAX;
    for (int turn = 0; turn < TURNS; turn++) { /* the best of some: the machine has other work */
        int64_t start = th_clock_precise_us();
        for (int i = 0; i < ROUNDS; i++) {
            if (step(head) != 0)
                abort();
        }
        int64_t took = th_clock_precise_us() - start;
        best = took < best ? took : best;
    }
    printf("%-28s %7.1f ns\n", what, (double)best * 1000.0 / ROUNDS);
}

int main(void)
{
    struct th_field fields[100];
    struct th_head head = {.fields = fields, .max_fields = 100};
    make_request();
    printf("request head of %zu bytes, response head of %zu bytes\n", request_len,
           sizeof(response) - 1);
    measure("parse response head", parse_response, &head);
    measure("parse request head", parse_request, &head);
    measure("parse and judge URL", parse_url, &head);
    measure("write request fields", write_fields, &head);
    return 0;
}
