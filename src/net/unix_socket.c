#include "tokenhop/net/unix_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenhop/base/mem.h"

/* Whether the path is a socket that nobody listens on any more. */
static bool is_stale(const struct sockaddr_un *un)
{
    struct stat st;

    if (lstat(un->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused =
        connect(fd, (const struct sockaddr *)un, sizeof *un) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int bind_path(int fd, const struct sockaddr_un *un)
{
    if (bind(fd, (const struct sockaddr *)un, sizeof *un) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return -1;
    if (!is_stale(un)) {
        errno = EADDRINUSE;
        return -1;
    }
    /* Between the look and the removal another tokenhop may have put its own there: it would be
     * lost to it, and it says so when it ends. */
    if (unlink(un->sun_path) != 0)
        return -1;
    return bind(fd, (const struct sockaddr *)un, sizeof *un);
}

/* What the umask has taken away, and the group, which must be there before its bits are. */
static int open_up(const struct th_unix_options *options, struct th_errinfo *reterr)
{
    if (options->group != TH_UNIX_NO_GROUP && lchown(options->path, (uid_t)-1, options->group) != 0)
        return th_errinfo_set(reterr, TH_E_IO, options->path,
                              "tokenhop must run as a member of that group, or as root",
                              "chown: %s", strerror(errno));
    if (chmod(options->path, options->mode) != 0)
        return th_errinfo_set(reterr, TH_E_IO, options->path, NULL, "chmod: %s", strerror(errno));
    return 0;
}

static int listen_at(int fd, const struct th_unix_options *options, struct th_unix_place *place,
                     struct th_errinfo *reterr)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct stat st;
    /* Before it is bound: until its group is set, the path is its owner's alone. */
    mode_t first = options->group != TH_UNIX_NO_GROUP ? options->mode & 0700 : options->mode;

    memcpy(un.sun_path, options->path, strlen(options->path));
    if (fchmod(fd, first) != 0)
        return th_errinfo_set(reterr, TH_E_IO, options->path, NULL, "fchmod: %s", strerror(errno));
    if (bind_path(fd, &un) != 0)
        return th_errinfo_set(reterr, TH_E_IO, options->path,
                              errno == EADDRINUSE
                                  ? "another tokenhop answers there, or it is no socket: stop it, "
                                    "or choose another path"
                                  : "its folder must be there, and tokenhop may write to it",
                              "cannot listen: %s", strerror(errno));
    memcpy(place->path, un.sun_path, sizeof place->path);
    if (lstat(un.sun_path, &st) == 0) {
        place->dev = st.st_dev;
        place->ino = st.st_ino;
    }
    int error = open_up(options, reterr);
    if (error == 0 && listen(fd, options->backlog) != 0)
        error = th_errinfo_set(reterr, TH_E_IO, options->path, NULL, "listen: %s", strerror(errno));
    if (lstat(un.sun_path, &st) == 0) /* as it is from now on */
        place->since = st.st_ctim;
    return error;
}

int th_unix_listen(const struct th_unix_options *options, int *ret_fd,
                   struct th_unix_place *ret_place, struct th_errinfo *reterr)
{
    struct th_unix_place place = {0};

    if (strlen(options->path) >= sizeof place.path)
        return th_errinfo_set(reterr, TH_E_IO, options->path, "choose a shorter one",
                              "the path of a unix socket has %zu bytes at most",
                              sizeof place.path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return th_errinfo_set(reterr, TH_E_IO, options->path, NULL, "socket: %s", strerror(errno));
    int error = listen_at(fd, options, &place, reterr);
    if (error < 0) {
        th_unix_remove(&place);
        close(fd);
        return error;
    }
    *ret_fd = fd;
    *ret_place = place;
    return 0;
}

void th_unix_remove(const struct th_unix_place *place)
{
    struct stat st;

    if (place->path[0] == '\0' || place->ino == 0)
        return;
    if (lstat(place->path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == place->dev &&
        st.st_ino == place->ino && st.st_ctim.tv_sec == place->since.tv_sec &&
        st.st_ctim.tv_nsec == place->since.tv_nsec)
        (void)unlink(place->path);
}

/* --- the peer --- */

#define GROUPS_FIRST 32

/* *ret_peer has room for n_groups. 0, TH_AGAIN: *n_groups are needed, TH_E_IO. */
static int read_groups(int fd, struct th_unix_peer *peer, size_t *n_groups)
{
    socklen_t len = (socklen_t)(*n_groups * sizeof peer->groups[0]);
    int r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer->groups, &len);

    if (r != 0 && errno == ERANGE) {
        *n_groups = len / sizeof peer->groups[0];
        return TH_AGAIN;
    }
    if (r != 0)
        return TH_E_IO;
    peer->n_groups = len / sizeof peer->groups[0];
    return 0;
}

int th_unix_peer_new(int fd, struct th_unix_peer **ret_peer)
{
    size_t room = GROUPS_FIRST;
    struct ucred cred;
    socklen_t len = sizeof cred;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0 || len != sizeof cred ||
        cred.uid == (uid_t)-1)
        return TH_E_IO;
    for (int tries = 0; tries < 2; tries++) {
        size_t n = room;
        struct th_unix_peer *peer = th_calloc(1, sizeof *peer + n * sizeof peer->groups[0]);
        if (peer == NULL)
            return TH_E_NOMEM;
        *peer = (struct th_unix_peer){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
        int error = read_groups(fd, peer, &room);
        if (error == 0) {
            *ret_peer = peer;
            return 0;
        }
        th_free(peer);
        if (error != TH_AGAIN)
            return error;
    }
    return TH_E_IO;
}

bool th_unix_peer_is_of_group(const struct th_unix_peer *peer, gid_t group)
{
    for (size_t i = 0; i < peer->n_groups; i++)
        if (peer->groups[i] == group)
            return true;
    return peer->gid == group;
}
