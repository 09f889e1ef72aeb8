#include "bench_util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void bench_die(const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

void *bench_alloc(size_t size)
{
    void *p = calloc(1, size);

    if (!p)
        bench_die("out of memory (%zu bytes)", size);
    return p;
}

void *bench_realloc(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p)
        bench_die("out of memory (%zu bytes)", size);
    return p;
}

uint64_t bench_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

int bench_listen(uint16_t port, uint16_t *ret_port)
{
    struct sockaddr_in sa = loopback(port);
    socklen_t len = sizeof(sa);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        bench_die("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        bench_die("bind to port %u: %s", port, strerror(errno));
    if (listen(fd, 4096) < 0)
        bench_die("listen: %s", strerror(errno));
    if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
        bench_die("getsockname: %s", strerror(errno));
    *ret_port = ntohs(sa.sin_port);
    return fd;
}

int bench_connect(uint16_t port, int rcvbuf)
{
    struct sockaddr_in sa = loopback(port);
    int one = 1;
    int saved;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (rcvbuf && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)) < 0)
        goto fail;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
        goto fail;
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        goto fail;
    return fd;
fail:
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

void bench_need_files(unsigned need)
{
    struct rlimit rl;

    if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
        bench_die("getrlimit: %s", strerror(errno));
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);
    if (rl.rlim_cur < need)
        bench_die("needs %u open files, the limit is %llu (raise it: ulimit -Hn)", need,
                  (unsigned long long)rl.rlim_cur);
}

uint64_t bench_parse_number(const char *option, const char *text, uint64_t max)
{
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || v > max)
        bench_die("--%s: '%s' is not a number up to %llu", option, text, (unsigned long long)max);
    return v;
}
