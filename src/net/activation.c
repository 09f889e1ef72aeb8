#include "tokenhop/net/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tokenhop/base/mem.h"

static int contradicts(struct th_errinfo *reterr, const char *where, const char *what)
{
    return th_errinfo_set(reterr, TH_E_IO, where, "start tokenhop by its supervisor, or unset it",
                          "%s", what);
}

static bool read_number(const char *text, uint64_t max, uint64_t *ret_number)
{
    return text[0] != '\0' && th_str_to_u64(th_str_of(text), max, ret_number) == 0;
}

/* The next name of the list, up to the colon. */
static int take_name(const char **rest, char *ret_name, size_t size)
{
    size_t len = strcspn(*rest, ":");

    if (len >= size)
        return TH_E_IO;
    memcpy(ret_name, *rest, len);
    ret_name[len] = '\0';
    *rest = (*rest)[len] == ':' ? *rest + len + 1 : NULL;
    return 0;
}

int th_activation_read(const struct th_activation_variables *variables, long own_pid, int first,
                       struct th_activation *ret_activation, struct th_errinfo *reterr)
{
    uint64_t pid, n;
    const char *names = variables->names;

    ret_activation->n = 0;
    if (variables->pid == NULL || variables->fds == NULL)
        return 0;
    if (!read_number(variables->pid, INT32_MAX, &pid))
        return contradicts(reterr, "LISTEN_PID", "this is no process id");
    if ((long)pid != own_pid)
        return 0;
    if (!read_number(variables->fds, TH_ACTIVATION_MAX, &n))
        return contradicts(reterr, "LISTEN_FDS", "this is no number from 0 to 256");
    for (size_t i = 0; i < n; i++) {
        /* sd_listen_fds_with_names(3): without names, each is "unknown". */
        const char *unnamed = "unknown";
        const char **from = variables->names != NULL ? &names : &unnamed;
        if (*from == NULL || take_name(from, ret_activation->items[i].name,
                                       sizeof ret_activation->items[i].name) < 0)
            return contradicts(reterr, "LISTEN_FDNAMES", "these are not the names of LISTEN_FDS");
        ret_activation->items[i].fd = first + (int)i;
    }
    if (n > 0 && variables->names != NULL && names != NULL)
        return contradicts(reterr, "LISTEN_FDNAMES", "these are more names than LISTEN_FDS");
    ret_activation->n = n;
    return 0;
}

static int set_flag(int fd, int get, int set, int flag)
{
    int flags = fcntl(fd, get);
    return flags >= 0 && fcntl(fd, set, flags | flag) == 0 ? 0 : -1;
}

int th_activation_take(struct th_activation **ret_activation, struct th_errinfo *reterr)
{
    static const char *const names[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
                                        "LISTEN_PIDFDID"};
    const struct th_activation_variables variables = {getenv(names[0]), getenv(names[1]),
                                                      getenv(names[2])};
    struct th_activation *activation = th_calloc(1, sizeof *activation);

    if (activation == NULL)
        return TH_E_NOMEM;
    int error = th_activation_read(&variables, getpid(), TH_ACTIVATION_FIRST, activation, reterr);
    for (size_t i = 0; error == 0 && i < activation->n; i++) {
        if (set_flag(activation->items[i].fd, F_GETFD, F_SETFD, FD_CLOEXEC) != 0)
            error = contradicts(reterr, "LISTEN_FDS", "so many descriptors are not open");
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)unsetenv(names[i]);
    if (error < 0) {
        th_free(activation); /* whose the descriptors are is not known */
        return error;
    }
    *ret_activation = activation;
    return 0;
}

static int option_of(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

/* NULL: it is one. */
static const char *look_at(int fd)
{
    int domain = option_of(fd, SO_DOMAIN), protocol = option_of(fd, SO_PROTOCOL);

    if (option_of(fd, SO_TYPE) != SOCK_STREAM)
        return "it is no stream socket (ListenStream=)";
    if (domain != AF_UNIX && ((domain != AF_INET && domain != AF_INET6) || protocol != IPPROTO_TCP))
        return "it is neither of TCP nor a unix socket";
    return option_of(fd, SO_ACCEPTCONN) == 1 ? NULL : "it does not listen (Accept=no)";
}

static int prepare(int fd)
{
    int one = 1;

    if (set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK) != 0)
        return -1;
    /* Inherited by what is accepted, which saves a call for each. */
    if (option_of(fd, SO_DOMAIN) == AF_UNIX)
        return 0;
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

int th_activation_claim(struct th_activation *activation, struct th_str name, int *ret_fd,
                        struct th_errinfo *reterr)
{
    for (size_t i = 0; activation != NULL && i < activation->n; i++) {
        int fd = activation->items[i].fd;
        if (fd < 0 || !th_str_equal(name, th_str_of(activation->items[i].name)))
            continue;
        const char *why = look_at(fd);
        if (why == NULL && prepare(fd) != 0)
            why = strerror(errno);
        if (why != NULL)
            return th_errinfo_set(reterr, TH_E_IO, activation->items[i].name,
                                  "mend the socket unit",
                                  "the socket that was handed over cannot be used: %s", why);
        activation->items[i].fd = -1;
        *ret_fd = fd;
        return 0;
    }
    return TH_AGAIN;
}

int th_activation_check_claimed(const struct th_activation *activation, struct th_errinfo *reterr)
{
    for (size_t i = 0; activation != NULL && i < activation->n; i++)
        if (activation->items[i].fd >= 0)
            return th_errinfo_set(reterr, TH_E_IO, activation->items[i].name,
                                  "add a listener with the address \"systemd:\" and this name, or "
                                  "take the socket away",
                                  "a socket was handed over that no listener takes");
    return 0;
}

struct th_activation *th_activation_free(struct th_activation *activation)
{
    if (activation == NULL)
        return NULL;
    for (size_t i = 0; i < activation->n; i++)
        if (activation->items[i].fd >= 0)
            close(activation->items[i].fd);
    th_free(activation);
    return NULL;
}
