#include "tokenhop/intercept/hello.h"

#include <string.h>

#define RECORD_HEAD 5
#define RECORD_MAX 16384 /* RFC 8446, 5.1: of plaintext */
#define CONTENT_HANDSHAKE 22
#define CLIENT_HELLO 1
#define MESSAGE_HEAD 4
#define RANDOM_LEN 32
#define SESSION_ID_MAX 32
#define EXT_SERVER_NAME 0
#define EXT_PROTOCOLS 16
#define NAME_HOST 0

/* Bytes that are taken from the front. Once one was missing nothing is taken any more. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool failed;
};

static struct reader take(struct reader *r, size_t len)
{
    struct reader part = {r->at, len, false};

    if (r->failed || len > r->left) {
        r->failed = true;
        return (struct reader){NULL, 0, true};
    }
    r->at += len;
    r->left -= len;
    return part;
}

static size_t take_number(struct reader *r, unsigned bytes)
{
    struct reader part = take(r, bytes);
    size_t value = 0;

    for (; part.left > 0; part.left--)
        value = value << 8 | *part.at++;
    return value;
}

/* What a length of so many bytes stands before. */
static struct reader take_vector(struct reader *r, unsigned bytes)
{
    return take(r, take_number(r, bytes));
}

static bool is_text(const struct reader *r, struct th_str text)
{
    return r->left == text.len && memcmp(r->at, text.ptr, text.len) == 0;
}

/* One name of the type host_name, without NUL: RFC 6066 knows no other. */
static bool read_name(struct reader extension, struct th_hello *hello)
{
    struct reader list = take_vector(&extension, 2);

    if (extension.left > 0 || list.left == 0)
        return false;
    size_t type = take_number(&list, 1);
    struct reader name = take_vector(&list, 2);
    if (list.failed || list.left > 0 || type != NAME_HOST || name.left == 0 ||
        name.left > TH_HELLO_NAME_MAX || memchr(name.at, '\0', name.left) != NULL)
        return false;
    memcpy(hello->name, name.at, name.left);
    hello->name[name.left] = '\0';
    hello->name_len = (uint8_t)name.left;
    hello->has_name = true;
    return true;
}

static bool read_protocols(struct reader extension, struct th_hello *hello)
{
    struct reader list = take_vector(&extension, 2);

    if (extension.left > 0 || list.left == 0)
        return false;
    hello->has_protocols = true;
    while (list.left > 0 && !list.failed) {
        struct reader protocol = take_vector(&list, 1);
        if (protocol.left == 0)
            return false;
        hello->offers_http11 |= is_text(&protocol, TH_STR("http/1.1"));
        hello->offers_h2 |= is_text(&protocol, TH_STR("h2"));
    }
    return !list.failed;
}

/* RFC 8446, 4.2: none may come twice; of those that are looked at this is held. */
static bool read_extensions(struct reader extensions, struct th_hello *hello)
{
    while (extensions.left > 0 && !extensions.failed) {
        size_t type = take_number(&extensions, 2);
        struct reader extension = take_vector(&extensions, 2);
        if (extensions.failed)
            break;
        if (type == EXT_SERVER_NAME && (hello->has_name || !read_name(extension, hello)))
            return false;
        if (type == EXT_PROTOCOLS && (hello->has_protocols || !read_protocols(extension, hello)))
            return false;
    }
    return !extensions.failed;
}

static bool read_message(struct reader message, struct th_hello *hello)
{
    (void)take(&message, 2 + RANDOM_LEN); /* legacy_version, random */
    struct reader session_id = take_vector(&message, 1);
    struct reader suites = take_vector(&message, 2);
    struct reader compressions = take_vector(&message, 1);

    if (message.failed || session_id.left > SESSION_ID_MAX || suites.left == 0 ||
        suites.left % 2 != 0 || compressions.left == 0)
        return false;
    if (message.left == 0) /* of TLS 1.2: no extensions */
        return true;
    struct reader extensions = take_vector(&message, 2);
    return !message.failed && message.left == 0 && read_extensions(extensions, hello);
}

/* Joins the records' content. 0; TH_AGAIN; TH_E_BAD_REQUEST. *ret_len is what the message says it
 * has, or what has come of it. */
static int join_records(struct reader in, uint8_t *room, size_t *ret_len)
{
    size_t len = 0, wanted = MESSAGE_HEAD;

    while (len < wanted) {
        if (in.left > 0 && in.at[0] != CONTENT_HANDSHAKE)
            return TH_E_BAD_REQUEST;
        if (in.left > 1 && in.at[1] != 3) /* legacy_record_version */
            return TH_E_BAD_REQUEST;
        if (in.left < RECORD_HEAD)
            return TH_AGAIN;
        size_t record_len = (size_t)in.at[3] << 8 | in.at[4];
        if (record_len == 0 || record_len > RECORD_MAX)
            return TH_E_BAD_REQUEST;
        in.at += RECORD_HEAD;
        in.left -= RECORD_HEAD;
        size_t part = record_len < in.left ? record_len : in.left;
        memcpy(room + len, in.at, part);
        len += part;
        in.at += part;
        in.left -= part;
        if (len > 0 && room[0] != CLIENT_HELLO)
            return TH_E_BAD_REQUEST;
        if (len >= MESSAGE_HEAD)
            wanted = MESSAGE_HEAD + ((size_t)room[1] << 16 | (size_t)room[2] << 8 | room[3]);
        if (wanted > TH_HELLO_MAX - RECORD_HEAD)
            return TH_E_BAD_REQUEST;
        if (part < record_len && len < wanted)
            return TH_AGAIN;
    }
    *ret_len = wanted;
    return 0;
}

int th_hello_parse(const void *bytes, size_t len, struct th_hello *ret_hello)
{
    uint8_t room[TH_HELLO_MAX];
    struct reader in = {bytes, len, false};
    size_t message_len = 0;

    memset(ret_hello, 0, sizeof *ret_hello);
    if (len > TH_HELLO_MAX)
        in.left = TH_HELLO_MAX;
    int error = join_records(in, room, &message_len);
    if (error == TH_AGAIN && len >= TH_HELLO_MAX)
        return TH_E_BAD_REQUEST;
    if (error < 0)
        return error;
    struct reader message = {room + MESSAGE_HEAD, message_len - MESSAGE_HEAD, false};
    return read_message(message, ret_hello) ? 0 : TH_E_BAD_REQUEST;
}
