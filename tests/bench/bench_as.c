/* Both authorization servers of the comparison in one: POST /org/token exchanges a subject token for
 * an ID-JAG, POST /custom/token the ID-JAG for the access token that the origin expects.
 *
 * It answers as a correct server would, but checks only the form (grant type, parameters present, the
 * token one of ours, client assertion there): it is to be fast, for what is measured is the proxy.
 * GET /count says how many requests each endpoint had and how many it refused; GET /delay/MS makes
 * every later answer of the endpoints wait. */
#include "bench_server.h"
#include "bench_util.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TOKEN_EXCHANGE "urn:ietf:params:oauth:grant-type:token-exchange"
#define JWT_BEARER "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define ID_JAG "urn:ietf:params:oauth:token-type:id-jag"
#define PARAM_MAX 4096

static struct {
    uint64_t n_org, n_custom, n_refused;
    unsigned delay_ms;
} as;

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes the value of the form field `name`; its length, or 0 if it is absent, empty or too long. */
static size_t get_param(const struct bench_request *req, const char *name,
                        char ret_value[PARAM_MAX])
{
    const char *p = req->body;
    const char *end = p + req->body_len;
    size_t name_len = strlen(name);

    while (p < end) {
        const char *amp = memchr(p, '&', (size_t)(end - p));
        size_t n = 0;

        if (!amp)
            amp = end;
        if ((size_t)(amp - p) <= name_len || memcmp(p, name, name_len) != 0 || p[name_len] != '=') {
            p = amp + 1;
            continue;
        }
        for (p += name_len + 1; p < amp; p++) {
            if (n == PARAM_MAX - 1)
                return 0;
            if (*p == '+') {
                ret_value[n++] = ' ';
            } else if (*p == '%' && amp - p > 2 && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0) {
                ret_value[n++] = (char)(hex_value(p[1]) << 4 | hex_value(p[2]));
                p += 2;
            } else {
                ret_value[n++] = *p;
            }
        }
        ret_value[n] = '\0';
        return n;
    }
    return 0;
}

static bool param_is(const struct bench_request *req, const char *name, const char *want)
{
    char value[PARAM_MAX];

    return get_param(req, name, value) && strcmp(value, want) == 0;
}

static void refuse(struct bench_conn *conn, const char *error, const char *why)
{
    char text[256];
    int n =
        snprintf(text, sizeof(text), "{\"error\":\"%s\",\"error_description\":\"%s\"}", error, why);

    as.n_refused++;
    fprintf(stderr, "bench_as: refused: %s: %s\n", error, why);
    bench_reply(conn, "400 Bad Request", "application/json", "", text, (size_t)n, as.delay_ms);
}

static void serve_org(struct bench_conn *conn, const struct bench_request *req)
{
    char value[PARAM_MAX];
    char token[BENCH_IDJAG_MAX];
    char text[BENCH_IDJAG_MAX + 256];
    uint64_t index;
    size_t len;
    int n;

    as.n_org++;
    if (!param_is(req, "grant_type", TOKEN_EXCHANGE))
        return refuse(conn, "unsupported_grant_type", "not a token exchange");
    if (!param_is(req, "requested_token_type", ID_JAG))
        return refuse(conn, "invalid_request", "not asked for an ID-JAG");
    if (!param_is(req, "audience", BENCH_CUSTOM_ISSUER) ||
        !param_is(req, "resource", BENCH_TARGET_RESOURCE))
        return refuse(conn, "invalid_target", "another audience or resource");
    if (!get_param(req, "client_assertion", value))
        return refuse(conn, "invalid_client", "no client assertion");
    len = get_param(req, "subject_token", value);
    if (!len || !bench_token_index(value, len, &index))
        return refuse(conn, "invalid_grant", "not a subject token of this comparison");
    bench_idjag_token(index, time(NULL), as.n_org, token);
    n = snprintf(text, sizeof(text),
                 "{\"issued_token_type\":\"" ID_JAG "\",\"access_token\":\"%s\","
                 "\"token_type\":\"N_A\",\"expires_in\":300}",
                 token);
    bench_reply(conn, "200 OK", "application/json", "Pragma: no-cache\r\n", text, (size_t)n,
                as.delay_ms);
}

static void serve_custom(struct bench_conn *conn, const struct bench_request *req)
{
    char value[PARAM_MAX];
    char token[BENCH_ACCESS_LEN + 1];
    char text[BENCH_ACCESS_LEN + 256];
    uint64_t index;
    size_t len;
    int n;

    as.n_custom++;
    if (!param_is(req, "grant_type", JWT_BEARER))
        return refuse(conn, "unsupported_grant_type", "not a JWT bearer grant");
    if (!get_param(req, "client_assertion", value))
        return refuse(conn, "invalid_client", "no client assertion");
    len = get_param(req, "assertion", value);
    if (!len || !bench_token_index(value, len, &index))
        return refuse(conn, "invalid_grant", "not an ID-JAG of this comparison");
    bench_access_token(index, token);
    n = snprintf(text, sizeof(text),
                 "{\"token_type\":\"Bearer\",\"expires_in\":3600,\"access_token\":\"%s\","
                 "\"scope\":\"" BENCH_SCOPE "\"}",
                 token);
    bench_reply(conn, "200 OK", "application/json", "Pragma: no-cache\r\n", text, (size_t)n,
                as.delay_ms);
}

static size_t print_counts(char *dst, size_t size)
{
    return (size_t)snprintf(dst, size, "{\"org\": %llu, \"custom\": %llu, \"refused\": %llu}\n",
                            (unsigned long long)as.n_org, (unsigned long long)as.n_custom,
                            (unsigned long long)as.n_refused);
}

static void on_request(struct bench_conn *conn, const struct bench_request *req)
{
    char target[64];
    char text[128];
    bool is_post = req->method_len == 4 && memcmp(req->method, "POST", 4) == 0;

    snprintf(target, sizeof(target), "%.*s", (int)req->target_len, req->target);
    if (is_post && strcmp(target, "/org/token") == 0) {
        serve_org(conn, req);
    } else if (is_post && strcmp(target, "/custom/token") == 0) {
        serve_custom(conn, req);
    } else if (strcmp(target, "/count") == 0) {
        bench_reply(conn, "200 OK", "application/json", "", text, print_counts(text, sizeof(text)),
                    0);
    } else if (strncmp(target, "/delay/", 7) == 0) {
        as.delay_ms = (unsigned)strtoul(target + 7, NULL, 10);
        bench_reply(conn, "200 OK", "application/json", "", text, print_counts(text, sizeof(text)),
                    0);
    } else {
        bench_reply(conn, "404 Not Found", "text/plain", "", "", 0, 0);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    uint16_t port = 0;
    char text[128];
    int fd;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'p':
            port = (uint16_t)bench_parse_number("port", optarg, UINT16_MAX);
            break;
        case 'h':
            puts("bench_as [--port N]\nPrints its port; ends on SIGTERM with its counts.");
            return 0;
        case '?':
            return 2;
        }
    }
    bench_need_files(1024);
    fd = bench_listen(port, &port);
    printf("%u\n", port);
    fflush(stdout);
    bench_serve(fd, on_request);
    fwrite(text, 1, print_counts(text, sizeof(text)), stdout);
    return 0;
}
