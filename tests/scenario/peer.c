#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tokenhop/base/check.h"

static void tcp_pair(int ret_fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    TH_REQUIRE(bind(listening, (struct sockaddr *)&address, len) == 0);
    TH_REQUIRE(listen(listening, 1) == 0);
    TH_REQUIRE(getsockname(listening, (struct sockaddr *)&address, &len) == 0);
    ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TH_REQUIRE(connect(ret_fds[0], (struct sockaddr *)&address, len) == 0);
    ret_fds[1] = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    TH_REQUIRE(ret_fds[1] >= 0);
    close(listening);
    for (int i = 0; i < 2; i++) {
        fcntl(ret_fds[i], F_SETFL, O_NONBLOCK);
        setsockopt(ret_fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
}

void peer_pair(bool tcp, int ret_fds[2])
{
    if (tcp)
        tcp_pair(ret_fds);
    else
        TH_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_fds) ==
                   0);
}

struct peer *peer_new(enum peer_side side, int fd, bool tcp)
{
    struct peer *peer = zeroed(sizeof *peer);

    peer->side = side;
    peer->fd = fd;
    peer->tcp = tcp;
    bytes_add(&peer->got, "", 0);
    bytes_add(&peer->waiting, "", 0);
    return peer;
}

void peer_free(struct peer *peer)
{
    peer_close(peer);
    bytes_fini(&peer->got);
    bytes_fini(&peer->waiting);
    free(peer);
}

static bool receive(struct peer *peer, size_t max)
{
    char room[65536];
    bool moved = false;

    while (max > 0 && !peer->ended) {
        ssize_t n = recv(peer->fd, room, max < sizeof room ? max : sizeof room, 0);
        if (n < 0 && errno == EAGAIN)
            break;
        moved = true;
        if (n > 0) {
            bytes_add(&peer->got, room, (size_t)n);
            max -= (size_t)n;
            continue;
        }
        peer->ended = true;
        peer->was_reset = n < 0;
    }
    return moved;
}

static bool transmit(struct peer *peer)
{
    if (peer->waiting.len == 0)
        return false;
    ssize_t n = send(peer->fd, peer->waiting.ptr, peer->waiting.len, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n < 0) { /* nobody takes it any more */
        bytes_cut_front(&peer->waiting, peer->waiting.len);
        return true;
    }
    bytes_cut_front(&peer->waiting, (size_t)n);
    if (peer->waiting.len == 0 && peer->shut)
        shutdown(peer->fd, SHUT_WR);
    return true;
}

bool peer_move(struct peer *peer, size_t max)
{
    if (peer->fd < 0)
        return false;
    bool moved = transmit(peer);
    return receive(peer, max) || moved;
}

void peer_send(struct peer *peer, const void *bytes, size_t len)
{
    bytes_add(&peer->waiting, bytes, len);
    if (peer->fd >= 0)
        transmit(peer);
}

void peer_close(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
}

void peer_reset(struct peer *peer)
{
    struct linger linger = {1, 0};

    TH_REQUIRE(peer->tcp);
    setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    peer_close(peer);
}

/* --- messages --- */

static struct th_str take_line(struct th_str *rest)
{
    const char *end = memmem(rest->ptr, rest->len, "\r\n", 2);

    if (end == NULL)
        return TH_STR_NONE;
    struct th_str line = {rest->ptr, (size_t)(end - rest->ptr)};
    rest->ptr += line.len + 2;
    rest->len -= line.len + 2;
    return line;
}

static bool add_field(struct message *message, struct th_str line)
{
    const char *colon = memchr(line.ptr, ':', line.len);

    if (colon == NULL || message->n_fields == MESSAGE_FIELDS_MAX)
        return false;
    struct th_str name = {line.ptr, (size_t)(colon - line.ptr)};
    struct th_str value = {colon + 1, line.len - name.len - 1};
    message->fields[message->n_fields].name = name;
    message->fields[message->n_fields++].value = th_str_trim(value);
    return name.len > 0;
}

struct th_str message_find(const struct message *message, struct th_str name)
{
    for (size_t i = 0; i < message->n_fields; i++)
        if (th_str_equal_nocase(message->fields[i].name, name))
            return message->fields[i].value;
    return TH_STR_NONE;
}

enum message_state message_read_head(struct th_str bytes, struct message *ret_message,
                                     const char **ret_why)
{
    struct th_str rest = bytes;

    *ret_message = (struct message){0};
    if (memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4) == NULL) {
        *ret_why = "its head is not complete";
        return MESSAGE_PARTIAL;
    }
    ret_message->start = take_line(&rest);
    for (;;) {
        struct th_str line = take_line(&rest);
        if (line.len == 0)
            break;
        if (!add_field(ret_message, line)) {
            *ret_why = "a line of its head is no field";
            return MESSAGE_BAD;
        }
    }
    ret_message->head_len = bytes.len - rest.len;
    struct th_str length = message_find(ret_message, TH_STR("Content-Length"));
    if (length.ptr != NULL &&
        th_str_to_u64(length, UINT64_MAX, &ret_message->content_length) != 0) {
        *ret_why = "its Content-Length is no number";
        return MESSAGE_BAD;
    }
    struct th_str coding = message_find(ret_message, TH_STR("Transfer-Encoding"));
    ret_message->chunked = coding.ptr != NULL;
    if (length.ptr != NULL && coding.ptr != NULL) {
        *ret_why = "it has Content-Length and Transfer-Encoding";
        return MESSAGE_BAD;
    }
    ret_message->close_ended = length.ptr == NULL && coding.ptr == NULL;
    return MESSAGE_WHOLE;
}

enum message_state message_dechunk(struct th_str bytes, struct bytes *ret_body, size_t *ret_len)
{
    struct th_str rest = bytes;

    for (;;) {
        struct th_str line = take_line(&rest);
        if (line.ptr == NULL)
            return MESSAGE_PARTIAL;
        char *end = NULL;
        unsigned long size = strtoul(line.ptr, &end, 16);
        if (end == line.ptr || end != line.ptr + line.len)
            return MESSAGE_BAD;
        if (size > 0) {
            if (ret_body != NULL)
                bytes_add(ret_body, rest.ptr, size < rest.len ? size : rest.len);
            if (rest.len < size + 2)
                return MESSAGE_PARTIAL;
            if (memcmp(rest.ptr + size, "\r\n", 2) != 0)
                return MESSAGE_BAD;
            rest.ptr += size + 2;
            rest.len -= size + 2;
            continue;
        }
        do {
            line = take_line(&rest);
        } while (line.len > 0);
        if (line.ptr == NULL)
            return MESSAGE_PARTIAL;
        *ret_len = bytes.len - rest.len;
        return MESSAGE_WHOLE;
    }
}

static bool has_no_body(const struct message *message, bool is_response, bool bodyless)
{
    if (!is_response)
        return message->close_ended;
    const char *code = memchr(message->start.ptr, ' ', message->start.len);
    return bodyless || code == NULL || code[1] == '1' || strncmp(code + 1, "204", 3) == 0 ||
           strncmp(code + 1, "304", 3) == 0;
}

enum message_state message_read(struct th_str bytes, bool is_response, bool bodyless, bool ended,
                                struct message *ret_message, const char **ret_why)
{
    enum message_state state = message_read_head(bytes, ret_message, ret_why);
    struct message *message = ret_message;

    if (state != MESSAGE_WHOLE)
        return state;
    struct th_str rest = {bytes.ptr + message->head_len, bytes.len - message->head_len};
    message->len = message->head_len;
    if (has_no_body(message, is_response, bodyless))
        return MESSAGE_WHOLE;
    if (message->chunked) {
        size_t len = 0;
        state = message_dechunk(rest, &message->body, &len);
        message->len += len;
        *ret_why = state == MESSAGE_BAD ? "its chunks are malformed" : "its last chunk is missing";
        return state;
    }
    if (message->close_ended) {
        bytes_add_str(&message->body, rest);
        message->len += rest.len;
        *ret_why = "it ends with the connection, which is open";
        return ended ? MESSAGE_WHOLE : MESSAGE_PARTIAL;
    }
    size_t have = rest.len < message->content_length ? rest.len : (size_t)message->content_length;
    bytes_add(&message->body, rest.ptr, have);
    message->len += have;
    *ret_why = "its body is not complete";
    return have == message->content_length ? MESSAGE_WHOLE : MESSAGE_PARTIAL;
}

void message_fini(struct message *message)
{
    bytes_fini(&message->body);
}
