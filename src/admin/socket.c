#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin_private.h"
#include "tokenhop/base/mem.h"

#define BACKLOG 64
#define GROUPS_MAX 256

static int new_socket(int family, struct th_errinfo *reterr)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        th_errinfo_set(reterr, TH_E_IO, "admin.address", NULL, "socket: %s", strerror(errno));
    return fd;
}

/* Whether the path is a socket that nobody listens on any more. */
static bool is_stale(const struct sockaddr_un *un, socklen_t len)
{
    struct stat st;
    if (lstat(un->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused = connect(fd, (const struct sockaddr *)un, len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int bind_unix(int fd, const struct sockaddr_un *un, socklen_t len)
{
    if (bind(fd, (const struct sockaddr *)un, len) == 0)
        return 0;
    if (errno != EADDRINUSE || !is_stale(un, len))
        return -1;
    /* Between the look and the removal another tokenhop may have put its own there: it would be
     * lost to it, and it says so when it ends. */
    if (unlink(un->sun_path) != 0)
        return -1;
    return bind(fd, (const struct sockaddr *)un, len);
}

static int listen_unix(struct th_admin *admin, const struct th_config_admin *config, int fd,
                       struct th_errinfo *reterr)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&config->address;
    struct stat st;

    admin->for_group = config->for_group;
    admin->socket_path = th_strndup(config->path.ptr, config->path.len);
    if (admin->socket_path == NULL)
        return TH_E_NOMEM;
    /* Before it is bound: the path never has another mode, whatever the umask of the process. */
    if (fchmod(fd, config->for_group ? 0660 : 0600) != 0)
        return th_errinfo_set(reterr, TH_E_IO, admin->socket_path, NULL, "fchmod: %s",
                              strerror(errno));
    if (bind_unix(fd, un, config->address_len) != 0)
        return th_errinfo_set(reterr, TH_E_IO, admin->socket_path,
                              errno == EADDRINUSE
                                  ? "another tokenhop answers there, or it is no socket: stop it, "
                                    "or choose another path"
                                  : "its folder must be there, and tokenhop may write to it",
                              "cannot listen: %s", strerror(errno));
    /* Its own umask may have taken away what the group was to have. */
    if (config->for_group && chmod(admin->socket_path, 0660) != 0)
        return th_errinfo_set(reterr, TH_E_IO, admin->socket_path, NULL, "chmod: %s",
                              strerror(errno));
    if (lstat(admin->socket_path, &st) == 0) {
        admin->socket_dev = st.st_dev;
        admin->socket_ino = st.st_ino;
        admin->socket_since = st.st_ctim;
    }
    return 0;
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
    int fd = new_socket(config->address.ss_family, reterr);
    if (fd < 0)
        return TH_E_IO;
    int error = config->path.len > 0 ? listen_unix(admin, config, fd, reterr)
                                     : listen_tcp(config, fd, reterr);
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

static bool is_of_group(int fd, gid_t primary)
{
    gid_t groups[GROUPS_MAX];
    socklen_t len = sizeof groups;

    if (primary == getegid())
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
        return false;
    for (size_t i = 0; i < len / sizeof groups[0]; i++)
        if (groups[i] == getegid())
            return true;
    return false;
}

bool th_socket_may_speak(int fd, bool for_group, long *ret_uid)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    *ret_uid = -1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || len != sizeof peer)
        return false;
    *ret_uid = (long)peer.uid;
    return peer.uid == 0 || peer.uid == geteuid() || (for_group && is_of_group(fd, peer.gid));
}

void th_socket_remove(const struct th_admin *admin)
{
    struct stat st;

    if (admin->socket_path == NULL || admin->socket_ino == 0)
        return;
    if (lstat(admin->socket_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
        st.st_dev == admin->socket_dev && st.st_ino == admin->socket_ino &&
        st.st_ctim.tv_sec == admin->socket_since.tv_sec &&
        st.st_ctim.tv_nsec == admin->socket_since.tv_nsec)
        (void)unlink(admin->socket_path);
}
