/* The sandbox's HTTP servers: evhttp on one loop, and what evhttp has no words for (resetting, cutting,
 * sending raw bytes, delays). Everything runs on the one thread of the loop.
 *
 * A handler gets a call and must end it exactly once, now or later: th_web_reply(), a stream's end,
 * or th_web_raw(). A call is dead afterwards. */
#ifndef TOKENHOP_SRC_SANDBOX_WEB_H
#define TOKENHOP_SRC_SANDBOX_WEB_H

#include <event2/event.h>
#include <event2/http.h>
#include <jansson.h>

#include "tokenhop/base/list.h"
#include "tokenhop/base/str.h"

struct th_web;

struct th_web_call {
    struct evhttp_request *request;
    const char *method;
    const char *path;   /* as it came, without the query */
    const char *query;  /* "" when there is none */
    struct th_str body; /* whole, contiguous */
    void *owner;        /* of the server that took it */
    struct th_web *web;
    char *path_copy;
};

typedef void th_web_handler_fn(struct th_web_call *call);

struct th_web {
    struct event_base *base; /* owned */
    struct th_list servers;
    struct th_list tasks;   /* delayed work */
    struct th_list streams; /* answers under way */
};

int th_web_init(struct th_web *web, struct th_errinfo *reterr) TH_MUST;
void th_web_fini(struct th_web *web);
/* Binds `address`, numeric; port 0 takes a free one. `max_body` bounds what is read of a request. */
int th_web_listen(struct th_web *web, const char *address, int port, size_t max_body,
                  th_web_handler_fn *handler, void *owner, int *ret_port,
                  struct th_errinfo *reterr) TH_MUST;
/* The same; `tls` (NULL: none) is borrowed as long as the servers live. */
struct th_web_tls;
int th_web_listen_tls(struct th_web *web, const char *address, int port, size_t max_body,
                      struct th_web_tls *tls, th_web_handler_fn *handler, void *owner,
                      int *ret_port, struct th_errinfo *reterr) TH_MUST;

/* A request's field; empty when absent. Borrowed until the call ends. */
struct th_str th_web_field(const struct th_web_call *call, const char *name);
/* How often the field came. */
size_t th_web_field_count(const struct th_web_call *call, const char *name);
void th_web_add_field(struct th_web_call *call, const char *name, const char *value);

void th_web_reply(struct th_web_call *call, int status, const char *content_type,
                  struct th_str body);
/* Takes the reference; NULL is answered 503. */
void th_web_reply_json(struct th_web_call *call, int status, json_t *body);
/* {"error": what} */
void th_web_reply_error(struct th_web_call *call, int status, const char *what);

/* Sends `bytes` as they are, and closes or resets the connection after `after_ms`. */
void th_web_raw(struct th_web_call *call, struct th_str bytes, bool reset, long after_ms);
/* Calls `run` with the call after `ms`. */
typedef void th_web_later_fn(struct th_web_call *call, void *data);
void th_web_later(struct th_web_call *call, long ms, th_web_later_fn *run, void *data,
                  void (*free_data)(void *data));

/* An answer in pieces, each made by `next` when its time has come: every `ms` (0: as fast as the peer
 * takes them). Ends when `next` returns false; `next` adds nothing then. */
struct evbuffer;
typedef bool th_web_next_fn(void *data, unsigned long number, struct evbuffer *ret_piece);
void th_web_stream(struct th_web_call *call, int status, const char *content_type, long ms,
                   th_web_next_fn *next, void *data, void (*free_data)(void *data));

/* The query's or form's parameter as a number within bounds, `otherwise` when absent or not one. */
long th_web_query_long(const struct th_web_call *call, const char *name, long otherwise, long max);

#endif
