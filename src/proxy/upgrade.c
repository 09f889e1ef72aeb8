#include "upgrade.h"

#include <openssl/evp.h>

/* Of a request or an answer; more than these is nobody's honest wish, and each is compared with each. */
#define PROTOCOLS_MAX 8
/* RFC 6455, 4.1 and 4.2.2: 16 bytes in base64; the key and a constant hashed. */
#define KEY_LEN 24
#define SHA1_LEN 20
#define ACCEPT_LEN 28

struct protocols {
    struct th_str names[PROTOCOLS_MAX];
    size_t n;
};

/* --- one protocol: "name" or "name/version" --- */

static struct th_str base_name(struct th_str protocol)
{
    const char *slash = memchr(protocol.ptr, '/', protocol.len);

    return slash != NULL ? (struct th_str){protocol.ptr, (size_t)(slash - protocol.ptr)} : protocol;
}

static bool is_base64(struct th_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '+' && c != '/')
            return false;
    }
    return true;
}

/* The value of the one field of that name which is passed on; empty: none, or several. */
static struct th_str only_value(const struct th_head *head, struct th_str name)
{
    struct th_str value = TH_STR_NONE;

    for (uint16_t i = 0; i < head->n_fields; i++) {
        const struct th_field *field = &head->fields[i];
        if (field->dropped || !th_str_equal_nocase(field->name, name))
            continue;
        if (value.len > 0)
            return TH_STR_NONE;
        value = field->value;
    }
    return value;
}

static struct th_str websocket_key(const struct th_head *request)
{
    return only_value(request, TH_STR("Sec-WebSocket-Key"));
}

/* RFC 6455, 4.1: a GET with a key. Which version it is the server judges. */
static bool is_handshake(const struct th_head *request)
{
    struct th_str key = websocket_key(request);

    return request->method == TH_METHOD_GET && key.len == KEY_LEN && key.ptr[22] == '=' &&
           key.ptr[23] == '=' && is_base64((struct th_str){key.ptr, 22}) &&
           only_value(request, TH_STR("Sec-WebSocket-Version")).len > 0;
}

static bool is_websocket(struct th_str protocol)
{
    return th_str_equal_nocase(protocol, TH_STR("websocket"));
}

/* token ["/" token] (RFC 9110, 7.8); what is none is not written anew. */
static bool is_protocol(struct th_str text)
{
    static const char no_token[] = "\"(),:;<=>?@[\\]{} \t";
    unsigned n_slashes = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (memchr(no_token, text.ptr[i], sizeof no_token - 1) != NULL)
            return false;
        n_slashes += text.ptr[i] == '/';
    }
    return n_slashes <= 1 && (unsigned char)text.ptr[0] > ' ';
}

static bool is_passed_on(struct th_str protocol)
{
    struct th_str name = base_name(protocol);

    return is_protocol(protocol) && !th_str_equal_nocase(name, TH_STR("h2c")) &&
           !th_str_equal_nocase(name, TH_STR("h2")) && !th_str_equal_nocase(name, TH_STR("HTTP")) &&
           !th_str_equal_nocase(name, TH_STR("TLS"));
}

/* --- several --- */

/* All that the Upgrade fields name; false: none, or more than is borne with. They are dropped ones, as they
 * hold for one connection. */
static bool gather(const struct th_head *head, struct protocols *ret_all)
{
    struct th_str name;

    ret_all->n = 0;
    for (uint16_t i = 0; i < head->n_fields; i++) {
        if (head->fields[i].id != TH_HEADER_UPGRADE)
            continue;
        struct th_str rest = head->fields[i].value;
        while (th_head_take_element(&rest, &name)) {
            if (ret_all->n == PROTOCOLS_MAX)
                return false;
            ret_all->names[ret_all->n++] = name;
        }
    }
    return ret_all->n > 0;
}

/* Without those that are not passed on; false: there are none then. */
static bool gather_passed_on(const struct th_head *head, bool is_request,
                             struct protocols *ret_some)
{
    size_t kept = 0;

    if (!head->upgrade || !gather(head, ret_some))
        return false;
    for (size_t i = 0; i < ret_some->n; i++) {
        struct th_str name = ret_some->names[i];
        if (is_passed_on(name) && (!is_request || !is_websocket(name) || is_handshake(head)))
            ret_some->names[kept++] = name;
    }
    ret_some->n = kept;
    return kept > 0;
}

static bool has(const struct protocols *protocols, struct th_str name)
{
    for (size_t i = 0; i < protocols->n; i++)
        if (th_str_equal_nocase(protocols->names[i], name))
            return true;
    return false;
}

static void write(const struct protocols *protocols, struct th_writer *w)
{
    th_writer_add(w, TH_STR("Connection: Upgrade\r\nUpgrade: "));
    for (size_t i = 0; i < protocols->n; i++) {
        if (i > 0)
            th_writer_add(w, TH_STR(", "));
        th_writer_add(w, protocols->names[i]);
    }
    th_writer_add(w, TH_STR("\r\n"));
}

/* --- the request --- */

bool th_upgrade_is_asked(const struct th_head *request)
{
    struct protocols asked;

    return gather_passed_on(request, true, &asked);
}

bool th_upgrade_is_websocket(const struct th_head *request)
{
    struct protocols asked;

    return gather_passed_on(request, true, &asked) && has(&asked, TH_STR("websocket"));
}

void th_upgrade_write(const struct th_head *request, struct th_writer *w)
{
    struct protocols asked;

    if (gather_passed_on(request, true, &asked))
        write(&asked, w);
}

/* --- the answer --- */

static bool make_accept(struct th_str key, char ret_accept[ACCEPT_LEN + 1])
{
    static const char constant[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    char text[KEY_LEN + sizeof constant];
    unsigned char digest[SHA1_LEN];
    size_t digest_len = sizeof digest;

    memcpy(text, key.ptr, KEY_LEN);
    memcpy(text + KEY_LEN, constant, sizeof constant - 1);
    return EVP_Q_digest(NULL, "SHA1", NULL, text, KEY_LEN + sizeof constant - 1, digest,
                        &digest_len) == 1 &&
           EVP_EncodeBlock((unsigned char *)ret_accept, digest, SHA1_LEN) == ACCEPT_LEN;
}

/* RFC 6455, 4.1: the answer shows that the key was read, which no other server does. */
static bool accepts_websocket(const struct th_head *request, const struct th_head *response)
{
    char accept[ACCEPT_LEN + 1];

    return make_accept(websocket_key(request), accept) &&
           th_str_equal(only_value(response, TH_STR("Sec-WebSocket-Accept")), th_str_of(accept));
}

bool th_upgrade_is_granted(const struct th_head *request, const struct th_head *response)
{
    struct protocols asked, granted;

    if (!response->upgrade || !gather_passed_on(request, true, &asked) ||
        !gather(response, &granted))
        return false;
    for (size_t i = 0; i < granted.n; i++)
        if (!has(&asked, granted.names[i]))
            return false;
    return !has(&granted, TH_STR("websocket")) || accepts_websocket(request, response);
}

void th_upgrade_write_offer(const struct th_head *response, struct th_writer *w)
{
    struct protocols offered;

    if (gather_passed_on(response, false, &offered))
        write(&offered, w);
}
