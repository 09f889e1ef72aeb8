#include "web.h"
#include "web_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/keyvalq_struct.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "form.h"
#include "text.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

#define MAX_HEAD (1024 * 1024)
#define MAX_JSON (32 * 1024 * 1024)
#define BACKLOG 4096
#define SERVER_TIMEOUT_S 3600 /* slow peers are what tests are made of */

struct web_server {
    struct th_list link;
    struct evhttp *http;
    th_web_handler_fn *handler;
    void *owner;
    struct th_web *web;
};

struct web_task {
    struct th_list link;
    struct event *timer;
    struct th_web_call *call;
    th_web_later_fn *run;
    void *data;
    void (*free_data)(void *data);
};

struct web_stream {
    struct th_list link;
    struct event *timer;
    struct th_web_call *call;
    long ms;
    unsigned long number;
    th_web_next_fn *next;
    void *data;
    void (*free_data)(void *data);
};

static void free_call(struct th_web_call *call)
{
    th_free(call->path_copy);
    th_free(call);
}

static void free_task(struct web_task *task)
{
    th_list_remove(&task->link);
    if (task->timer != NULL)
        event_free(task->timer);
    if (task->free_data != NULL)
        task->free_data(task->data);
    th_free(task);
}

static void free_stream(struct web_stream *stream)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(stream->call->request);
    if (connection != NULL) /* it may be kept alive, and close long after */
        evhttp_connection_set_closecb(connection, NULL, NULL);
    th_list_remove(&stream->link);
    if (stream->timer != NULL)
        event_free(stream->timer);
    if (stream->free_data != NULL)
        stream->free_data(stream->data);
    free_call(stream->call);
    th_free(stream);
}

int th_web_init(struct th_web *web, struct th_errinfo *reterr)
{
    memset(web, 0, sizeof *web);
    th_list_init(&web->servers);
    th_list_init(&web->tasks);
    th_list_init(&web->streams);
    web->base = event_base_new();
    if (web->base == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "cannot make an event loop");
    return 0;
}

void th_web_fini(struct th_web *web)
{
    if (web->base == NULL)
        return;
    TH_LIST_EACH(it, &web->tasks) {
        struct web_task *task = TH_LIST_ENTRY(it, struct web_task, link);
        struct th_web_call *call = task->call;
        free_task(task);
        free_call(call);
    }
    TH_LIST_EACH(it, &web->streams)
        free_stream(TH_LIST_ENTRY(it, struct web_stream, link));
    TH_LIST_EACH(it, &web->servers) {
        struct web_server *server = TH_LIST_ENTRY(it, struct web_server, link);
        th_list_remove(&server->link);
        evhttp_free(server->http);
        th_free(server);
    }
    event_base_free(web->base);
    web->base = NULL;
}

static const char *method_name(enum evhttp_cmd_type type)
{
    switch (type) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_HEAD:
        return "HEAD";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    case EVHTTP_REQ_OPTIONS:
        return "OPTIONS";
    case EVHTTP_REQ_TRACE:
        return "TRACE";
    case EVHTTP_REQ_CONNECT:
        return "CONNECT";
    case EVHTTP_REQ_PATCH:
        return "PATCH";
    }
    return "";
}

static void on_request(struct evhttp_request *request, void *arg)
{
    struct web_server *server = arg;
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    size_t len = evbuffer_get_length(input);
    const char *uri = evhttp_request_get_uri(request);
    struct th_web_call *call = th_calloc(1, sizeof *call);
    char *path = th_strdup(uri != NULL ? uri : "");
    if (call == NULL || path == NULL) {
        th_free(call);
        th_free(path);
        evhttp_send_error(request, 503, NULL);
        return;
    }
    char *query = strchr(path, '?');
    if (query != NULL)
        *query++ = '\0';
    *call = (struct th_web_call){
        .request = request,
        .method = method_name(evhttp_request_get_command(request)),
        .path = path,
        .query = query != NULL ? query : "",
        .body = {len > 0 ? (const char *)evbuffer_pullup(input, -1) : "", len},
        .owner = server->owner,
        .web = server->web,
        .path_copy = path,
    };
    server->handler(call);
}

static int bound_port(evutil_socket_t fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

int th_web_listen(struct th_web *web, const char *address, int port, size_t max_body,
                  th_web_handler_fn *handler, void *owner, int *ret_port, struct th_errinfo *reterr)
{
    return th_web_listen_tls(web, address, port, max_body, NULL, handler, owner, ret_port, reterr);
}

int th_web_listen_tls(struct th_web *web, const char *address, int port, size_t max_body,
                      struct th_web_tls *tls, th_web_handler_fn *handler, void *owner,
                      int *ret_port, struct th_errinfo *reterr)
{
    struct web_server *server = th_calloc(1, sizeof *server);
    struct evhttp *http = server != NULL ? evhttp_new(web->base) : NULL;
    if (http == NULL) {
        th_free(server);
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
    }
    struct evhttp_bound_socket *bound =
        evhttp_bind_socket_with_handle(http, address, (ev_uint16_t)port);
    if (bound == NULL) {
        int err = errno;
        evhttp_free(http);
        th_free(server);
        return th_errinfo_set(reterr, TH_E_IO, NULL, "choose another port, or 0 for a free one",
                              "cannot listen on %s:%d: %s", address, port, strerror(err));
    }
    /* Accepted sockets inherit it: pieces of a stream must not wait for each other (R25). */
    int on = 1;
    (void)setsockopt(evhttp_bound_socket_get_fd(bound), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* evhttp's backlog of 128 makes a thousand clients that come at once wait for a second SYN. */
    (void)listen(evhttp_bound_socket_get_fd(bound), BACKLOG);
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
                                         EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS |
                                         EVHTTP_REQ_TRACE | EVHTTP_REQ_PATCH);
    evhttp_set_max_headers_size(http, MAX_HEAD);
    evhttp_set_max_body_size(http, (ev_ssize_t)max_body);
    evhttp_set_timeout(http, SERVER_TIMEOUT_S);
    evhttp_set_default_content_type(http, NULL);
    evhttp_set_gencb(http, on_request, server);
    if (tls != NULL)
        th_web_tls_use(tls, http);
    *server = (struct web_server){{NULL, NULL}, http, handler, owner, web};
    th_list_push_back(&web->servers, &server->link);
    *ret_port = bound_port(evhttp_bound_socket_get_fd(bound));
    return 0;
}

struct th_str th_web_field(const struct th_web_call *call, const char *name)
{
    return th_str_of(evhttp_find_header(evhttp_request_get_input_headers(call->request), name));
}

size_t th_web_field_count(const struct th_web_call *call, const char *name)
{
    size_t count = 0;
    struct evkeyval *field;
    TAILQ_FOREACH(field, evhttp_request_get_input_headers(call->request), next)
    count += strcasecmp(field->key, name) == 0;
    return count;
}

void th_web_add_field(struct th_web_call *call, const char *name, const char *value)
{
    /* Refused by libevent when there is a line feed in it: then the field is missing. */
    (void)evhttp_add_header(evhttp_request_get_output_headers(call->request), name, value);
}

/* A peer that left while its answer was delayed: evhttp took the connection off the request. */
static bool is_gone(const struct th_web_call *call)
{
    return evhttp_request_get_connection(call->request) == NULL;
}

static void release_gone(struct th_web_call *call)
{
    evhttp_request_free(call->request);
    free_call(call);
}

void th_web_reply(struct th_web_call *call, int status, const char *content_type,
                  struct th_str body)
{
    if (is_gone(call)) {
        release_gone(call);
        return;
    }
    struct evbuffer *buffer = evbuffer_new();
    if (content_type != NULL)
        th_web_add_field(call, "Content-Type", content_type);
    if (buffer == NULL || evbuffer_add(buffer, body.ptr, body.len) != 0)
        evhttp_send_error(call->request, 503, NULL);
    else
        evhttp_send_reply(call->request, status, NULL, buffer);
    if (buffer != NULL)
        evbuffer_free(buffer);
    free_call(call);
}

void th_web_reply_json(struct th_web_call *call, int status, json_t *body)
{
    struct th_buf text;
    th_buf_init_secret(&text, MAX_JSON); /* tokens are among what is answered */
    th_text_add_json(&text, body, JSON_COMPACT);
    json_decref(body);
    if (text.failed)
        th_web_reply(call, 503, "text/plain", TH_STR("out of memory\n"));
    else
        th_web_reply(call, status, "application/json", th_buf_str(&text));
    th_buf_fini(&text);
}

void th_web_reply_error(struct th_web_call *call, int status, const char *what)
{
    th_web_reply_json(call, status, json_pack("{s:s}", "error", what));
}

static void on_task(evutil_socket_t fd, short events, void *arg)
{
    struct web_task *task = arg;
    struct th_web_call *call = task->call;
    th_list_remove(&task->link);
    if (is_gone(call))
        release_gone(call);
    else
        task->run(call, task->data);
    free_task(task);
}

void th_web_later(struct th_web_call *call, long ms, th_web_later_fn *run, void *data,
                  void (*free_data)(void *data))
{
    struct timeval delay = {ms / 1000, ms % 1000 * 1000};
    struct web_task *task = th_calloc(1, sizeof *task);
    if (task != NULL) {
        *task = (struct web_task){{NULL, NULL}, NULL, call, run, data, free_data};
        task->timer = evtimer_new(call->web->base, on_task, task);
        th_list_push_back(&call->web->tasks, &task->link);
    }
    if (task != NULL && task->timer != NULL && evtimer_add(task->timer, &delay) == 0)
        return;
    if (task != NULL)
        free_task(task);
    else if (free_data != NULL)
        free_data(data);
    th_web_reply(call, 503, "text/plain", TH_STR("out of memory\n"));
}

static void close_call(struct th_web_call *call, void *data)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(call->request);
    free_call(call);
    evhttp_connection_free(connection); /* frees the request too */
}

/* Disconnecting by connect() sends RST alone; evhttp's way of closing would send FIN first, even with
 * SO_LINGER. */
static void reset_call(struct th_web_call *call, void *data)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(call->request);
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    (void)connect(bufferevent_getfd(evhttp_connection_get_bufferevent(connection)), &nobody,
                  sizeof nobody);
    close_call(call, data);
}

/* Straight to the descriptor: evhttp's buffer is empty while a request is being handled, and what does not
 * fit the socket's buffer at once is cut, which these faults are about anyway. */
void th_web_raw(struct th_web_call *call, struct th_str bytes, bool reset, long after_ms)
{
    struct evhttp_connection *connection = evhttp_request_get_connection(call->request);
    if (connection != NULL && bytes.len > 0) {
        evutil_socket_t fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection));
        ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)sent;
    }
    /* Never from within evhttp's own callback: it still holds the connection. */
    th_web_later(call, after_ms, reset ? reset_call : close_call, NULL, NULL);
}

static void send_pieces(struct web_stream *stream);

static void on_stream_timer(evutil_socket_t fd, short events, void *arg)
{
    send_pieces(arg);
}

static void on_stream_written(struct evhttp_connection *connection, void *arg)
{
    send_pieces(arg);
}

static void end_stream(struct web_stream *stream)
{
    struct evhttp_request *request = stream->call->request;
    free_stream(stream);
    evhttp_send_reply_end(request); /* frees it also when the peer has gone */
}

static void send_pieces(struct web_stream *stream)
{
    struct timeval delay = {stream->ms / 1000, stream->ms % 1000 * 1000};
    struct evbuffer *piece = evbuffer_new();
    if (piece == NULL || is_gone(stream->call) ||
        !stream->next(stream->data, stream->number++, piece)) {
        if (piece != NULL)
            evbuffer_free(piece);
        end_stream(stream);
        return;
    }
    if (stream->ms == 0) { /* the next one when this has been written: memory stays bounded */
        evhttp_send_reply_chunk_with_cb(stream->call->request, piece, on_stream_written, stream);
    } else {
        evhttp_send_reply_chunk(stream->call->request, piece);
        evtimer_add(stream->timer, &delay);
    }
    evbuffer_free(piece);
}

/* The peer left while pieces were still to come: no callback of a write will tell. */
static void on_stream_closed(struct evhttp_connection *connection, void *arg)
{
    struct web_stream *stream = arg;
    struct timeval now = {0, 0};
    evtimer_add(stream->timer, &now);
}

void th_web_stream(struct th_web_call *call, int status, const char *content_type, long ms,
                   th_web_next_fn *next, void *data, void (*free_data)(void *data))
{
    struct web_stream *stream = th_calloc(1, sizeof *stream);
    if (stream != NULL) {
        *stream = (struct web_stream){{NULL, NULL}, NULL, call, ms, 0, next, data, free_data};
        stream->timer = evtimer_new(call->web->base, on_stream_timer, stream);
        th_list_push_back(&call->web->streams, &stream->link);
    }
    if (stream == NULL || stream->timer == NULL || is_gone(call)) {
        struct evhttp_request *request = call->request;
        if (stream != NULL) {
            free_stream(stream);
        } else {
            if (free_data != NULL)
                free_data(data);
            free_call(call);
        }
        evhttp_send_error(request, 503, NULL);
        return;
    }
    th_web_add_field(call, "Content-Type", content_type);
    evhttp_connection_set_closecb(evhttp_request_get_connection(call->request), on_stream_closed,
                                  stream);
    evhttp_send_reply_start(call->request, status, NULL);
    if (evhttp_request_get_command(call->request) == EVHTTP_REQ_HEAD)
        end_stream(stream);
    else
        send_pieces(stream);
}

long th_web_query_long(const struct th_web_call *call, const char *name, long otherwise, long max)
{
    struct th_form form;
    uint64_t value = 0;
    long result = otherwise;
    if (th_form_init(&form, th_str_of(call->query)) == TH_FORM_FINE &&
        th_str_to_u64(th_form_get(&form, name), (uint64_t)max, &value) == 0)
        result = (long)value;
    th_form_fini(&form);
    return result;
}
