/* What the files of the admin room share.
 *
 *   admin    one a process: the listener, the thread with its loop (a worker that carries no hops)
 *   peer     one connection to it: one request at a time, answered in order
 *   route    a row of the table: path, methods, what answers
 *
 * Everything is of the admin's thread, but for what stands behind the lock, and the beats of workers. */
#ifndef TOKENHOP_SRC_ADMIN_PRIVATE_H
#define TOKENHOP_SRC_ADMIN_PRIVATE_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tokenhop/admin/admin.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/list.h"
#include "tokenhop/http/message.h"
#include "tokenhop/net/listener.h"
#include "tokenhop/net/stream.h"
#include "tokenhop/net/unix_socket.h"
#include "tokenhop/oauth/breaker.h"
#include "tokenhop/observe/log.h"

#define TH_ADMIN_HEAD_MAX 8192
#define TH_ADMIN_BODY_MAX 4096
#define TH_ADMIN_FIELDS_MAX 64
#define TH_ADMIN_ANSWER_MAX (64u << 20)
#define TH_ADMIN_PEERS_MAX 64
#define TH_ADMIN_COMMANDS_MAX 16
/* For a request to arrive whole, and for an answer to be taken. */
#define TH_ADMIN_PEER_MS 10000
/* For the main thread to answer a command, and authorization servers to hear of revocations. */
#define TH_ADMIN_COMMAND_MS 120000
/* A worker's loop has stalled: it gets no new connections for a while, or must be started anew. */
#define TH_ADMIN_NOT_READY_MS 10000
#define TH_ADMIN_NOT_LIVE_MS 60000

/* One worker's loop, as the admin's thread sees it. */
struct th_admin_beat {
    struct th_mailbox *mailbox;
    atomic_int_least64_t answered_ms; /* monotonic, when it last answered; 0: never yet */
    atomic_bool asked;                /* a message is under way: the next waits for it */
};

/* Of the configuration: what changes by a reload. */
struct th_admin_loaded {
    struct th_config *config;
    int64_t loaded_wall_ms;
    int64_t refused_wall_ms; /* the last reload was refused; 0: it was not */
    size_t n_mistakes;       /* then */
};

struct th_admin {
    struct th_worker *worker;
    struct th_listener *listener;
    pthread_t thread;
    bool started;
    struct sockaddr_storage address; /* it is bound to; of a TCP port */
    struct th_unix_place socket;     /* path empty: TCP */
    bool for_group;
    char *config_path;
    int64_t started_wall_ms, started_ms;
    struct th_metrics *metrics;
    struct th_broker *broker;
    struct th_revoker *revoker;
    struct th_breakers *breakers;
    struct th_grants *grants; /* NULL: none are kept */
    struct th_log *log;
    struct th_admin_beat *beats;
    size_t n_beats;
    struct th_timer beat; /* asks the workers */
    struct th_list peers;
    size_t n_peers;
    atomic_bool draining;
    const char *seccomp; /* a literal */
    unsigned landlock;
    int command_fd;
    pthread_mutex_t lock; /* a leaf: of what follows */
    struct th_admin_loaded loaded;
    struct th_admin_command commands[TH_ADMIN_COMMANDS_MAX];
    size_t n_commands;
};

/* A request, as a route sees it. Borrowed. */
struct th_admin_request {
    struct th_admin *admin;
    struct th_config *config; /* in force as it came */
    struct th_head *head;
    struct th_str path;
    struct th_str query; /* without the '?' */
    struct th_str body;
    uint64_t asker; /* the peer's handle, for an answer that comes later */
};

struct th_admin_answer {
    int status;
    const char *content_type; /* a literal */
    const char *allow;        /* of a 405 */
    bool close;
    struct th_buf body;
};

/* Fills the answer, or returns TH_AGAIN: th_peer_answer() will. */
typedef int th_admin_route_fn(struct th_admin_request *request, struct th_admin_answer *answer);

struct th_admin_route {
    const char *path;
    bool is_probe; /* needs no token, and any Host will do */
    th_admin_route_fn *get;
    th_admin_route_fn *post;
};

/* route.c */
/* Finds the route, holds the request against what guards it, and runs it. */
int th_route_run(struct th_admin_request *request, struct th_admin_answer *answer);
/* What is wrong with the request: {"error": what}. */
int th_answer_refuse(struct th_admin_answer *answer, int status, const char *what);
/* Takes the reference; NULL is answered 503. */
int th_answer_json(struct th_admin_answer *answer, int status, json_t *json);
/* Hands the command to the main thread. */
int th_route_command(struct th_admin_request *request, struct th_admin_answer *answer,
                     enum th_admin_verb verb);

/* guard.c: 0, or the status, and *ret_why. */
int th_guard_check(const struct th_admin_request *request, bool is_probe, const char **ret_why);

/* status.c, page.c, cache.c, exposition.c */
th_admin_route_fn th_route_live, th_route_ready, th_route_status, th_route_connections,
    th_route_page, th_route_style, th_route_cache, th_route_purge, th_route_revoke,
    th_route_metrics;

/* status.c */
struct th_admin_health {
    size_t n_workers, n_running; /* running: their loop has turned lately */
    int64_t longest_ms;          /* since the loop turned that has been longest without */
    bool draining;
};
void th_admin_look(const struct th_admin *admin, struct th_admin_health *ret_health);
json_t *th_status_to_json(const struct th_admin_request *request);
json_t *th_connections_to_json(const struct th_admin_request *request);
/* Text from the configuration or a server: what is not UTF-8 is left out. */
json_t *th_json_text(struct th_str text);

/* peer.c */
void th_peer_accept(void *arg, int fd, const struct th_address *address);
void th_peer_close_all(struct th_admin *admin);
/* The answer that a route put off. Takes over the body. Nothing, when the peer has gone. */
void th_peer_answer(struct th_admin *admin, uint64_t asker, struct th_admin_answer *answer);

/* socket.c */
/* Bound and listening, non-blocking. Fills the admin's `socket`. */
int th_socket_listen(struct th_admin *admin, const struct th_config_admin *config, int *ret_fd,
                     struct th_errinfo *reterr) TH_MUST;
/* Whether who is at the other end of a unix socket may speak: root, our own user, and where that is
 * configured our group. */
bool th_socket_may_speak(int fd, bool for_group, long *ret_uid);

#endif
