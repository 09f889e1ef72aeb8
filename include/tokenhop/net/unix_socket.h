/* Unix sockets: one that listens in the file system, and who is at the other end of a connection. Any
 * thread. */
#ifndef TOKENHOP_NET_UNIX_SOCKET_H
#define TOKENHOP_NET_UNIX_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>

#include "tokenhop/base/error.h"

#define TH_UNIX_NO_GROUP ((gid_t)-1)

struct th_unix_options {
    const char *path; /* shorter than sun_path */
    mode_t mode;      /* of the socket, whatever the umask of the process */
    gid_t group;      /* TH_UNIX_NO_GROUP: as it comes */
    int backlog;
};

/* What was bound: another may get the same path later, and even the same number. */
struct th_unix_place {
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* empty: nothing was */
    uint64_t dev, ino;
    struct timespec since;
};

/* Binds and listens, non-blocking and close-on-exec; takes the path from a socket that nobody listens on
 * any more, and from nothing else. At no time may more people connect than at the end. */
int th_unix_listen(const struct th_unix_options *options, int *ret_fd,
                   struct th_unix_place *ret_place, struct th_errinfo *reterr) TH_MUST;
/* Removes the socket, if it is still the one that was bound. */
void th_unix_remove(const struct th_unix_place *place);

/* Who called connect(), as it was then: the kernel's word, which nobody can forge. Whoever it hands the
 * connection on to speaks in its name. */
struct th_unix_peer {
    pid_t pid; /* 0: of another pid namespace */
    uid_t uid;
    gid_t gid;
    size_t n_groups; /* supplementary ones */
    gid_t groups[];
};

/* To be freed with th_free(). TH_E_NOMEM, TH_E_IO (no unix socket). */
int th_unix_peer_new(int fd, struct th_unix_peer **ret_peer) TH_MUST;
bool th_unix_peer_is_of_group(const struct th_unix_peer *peer, gid_t group);

#endif
