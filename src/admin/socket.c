#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin_private.h"
#include "tokenhop/base/mem.h"

#define BACKLOG 64

static int new_socket(int family, struct th_errinfo *reterr)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        th_errinfo_set(reterr, TH_E_IO, "admin.address", NULL, "socket: %s", strerror(errno));
    return fd;
}

static int listen_unix(struct th_admin *admin, const struct th_config_admin *config, int *ret_fd,
                       struct th_errinfo *reterr)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&config->address;
    const struct th_unix_options options = {.path = un->sun_path,
                                            .mode = config->for_group ? 0660 : 0600,
                                            .group = TH_UNIX_NO_GROUP,
                                            .backlog = BACKLOG};

    admin->for_group = config->for_group;
    return th_unix_listen(&options, ret_fd, &admin->socket, reterr);
}

/* Without SO_REUSEPORT, so that no two share it. */
static int listen_tcp(const struct th_config_admin *config, int fd, struct th_errinfo *reterr)
{
    char text[TH_ADDRESS_TEXT_MAX];
    int one = 1;

    snprintf(text, sizeof text, "%.*s", TH_STR_ARGS(config->address_text));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        (config->address.ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) != 0))
        return th_errinfo_set(reterr, TH_E_IO, text, NULL, "setsockopt: %s", strerror(errno));
    if (bind(fd, (const struct sockaddr *)&config->address, config->address_len) != 0)
        return th_errinfo_set(reterr, TH_E_IO, text,
                              "stop what listens there, or choose another admin.address",
                              "cannot listen: %s", strerror(errno));
    return 0;
}

int th_socket_listen(struct th_admin *admin, const struct th_config_admin *config, int *ret_fd,
                     struct th_errinfo *reterr)
{
    if (config->path.len > 0)
        return listen_unix(admin, config, ret_fd, reterr);
    int fd = new_socket(config->address.ss_family, reterr);
    if (fd < 0)
        return TH_E_IO;
    int error = listen_tcp(config, fd, reterr);
    if (error == 0 && listen(fd, BACKLOG) != 0)
        error =
            th_errinfo_set(reterr, TH_E_IO, "admin.address", NULL, "listen: %s", strerror(errno));
    if (error < 0) {
        close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

bool th_socket_may_speak(int fd, bool for_group, long *ret_uid)
{
    struct th_unix_peer *peer;

    *ret_uid = -1;
    if (th_unix_peer_new(fd, &peer) < 0)
        return false;
    *ret_uid = (long)peer->uid;
    bool may = peer->uid == 0 || peer->uid == geteuid() ||
               (for_group && th_unix_peer_is_of_group(peer, getegid()));
    th_free(peer);
    return may;
}
