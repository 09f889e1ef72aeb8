#include "notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int th_notify_open(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *name = getenv("NOTIFY_SOCKET");
    size_t len = name != NULL ? strlen(name) : 0;
    int fd = -1;

    /* Connected now: later the path may be out of reach. */
    if (len > 1 && len < sizeof un.sun_path && (name[0] == '/' || name[0] == '@'))
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        memcpy(un.sun_path, name, len);
        if (name[0] == '@') /* of the abstract namespace (unix(7)) */
            un.sun_path[0] = '\0';
        socklen_t un_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
        if (connect(fd, (const struct sockaddr *)&un, un_len) != 0) {
            close(fd);
            fd = -1;
        }
    }
    (void)unsetenv("NOTIFY_SOCKET");
    return fd;
}

static void tell(int fd, const char *text)
{
    if (fd >= 0 && send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) {
        /* the supervisor has its own limits of time */
    }
}

void th_notify_ready(int notify_fd)
{
    tell(notify_fd, "READY=1");
}

void th_notify_reloading(int notify_fd)
{
    struct timespec now;
    char text[64];

    /* Type=notify-reload wants to know since when (systemd.service(5)). */
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    tell(notify_fd, text);
}

void th_notify_stopping(int notify_fd)
{
    tell(notify_fd, "STOPPING=1");
}

void th_notify_close(int notify_fd)
{
    if (notify_fd >= 0)
        close(notify_fd);
}
