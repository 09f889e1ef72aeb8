#include "rewrite.h"

#include <string.h>

#include "parent.h"
#include "proof.h"
#include "shadow.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/secret.h"
#include "upgrade.h"

#define SECRET_MIN 8

bool th_rewrite_takes_subject(const struct th_hop *hop, struct th_str name)
{
    const struct th_config_view *config = hop->use->snapshot->view;

    for (size_t i = 0; i < config->n_subject_headers; i++)
        if (th_header_names_alike(name, config->subject_headers[i]))
            return true;
    return false;
}

static bool drops_cookies(const struct th_hop *hop)
{
    const struct th_config_connection *connection = hop->decision.route.connection;

    return connection != NULL && connection->cookies == TH_COOKIES_DROP && !hop->in_shadow;
}

static bool is_dropped_from_request(const struct th_hop *hop, const struct th_field *field)
{
    const struct th_config_connection *connection = hop->decision.route.connection;

    if (!hop->in_shadow && connection != NULL && !connection->inject.is_authorization &&
        th_header_names_alike(field->name, connection->inject.header))
        return true;
    if ((th_rewrite_takes_subject(hop, field->name) && !th_shadow_lets_pass(hop, field->name)) ||
        th_hop_is_forwarded_certificate(hop, field->name))
        return true;
    switch ((enum th_header_id)field->id) {
    case TH_HEADER_AUTHORIZATION:
    case TH_HEADER_DPOP: /* it binds the caller's token, and the URL that the caller named */
        return hop->decision.drop_authorization;
    case TH_HEADER_PROXY_AUTHORIZATION:
    case TH_HEADER_MAX_FORWARDS:
        return true;
    case TH_HEADER_EXPECT: /* RFC 9110, 10.1.1: not to be sent on for an HTTP/1.0 client */
        return hop->request.minor == 0;
    case TH_HEADER_COOKIE:
        return drops_cookies(hop);
    default:
        return false;
    }
}

static void add_via(const struct th_hop *hop, const struct th_head *head, struct th_writer *w)
{
    th_writer_add(w, head->minor == 0 ? TH_STR("Via: 1.0 ") : TH_STR("Via: 1.1 "));
    th_writer_add(w, th_str_of(hop->desk->proxy->via_name));
    th_writer_add(w, TH_STR("\r\n"));
}

/* RFC 9110, 7.6.2: only OPTIONS and TRACE count hops; elsewhere the field has no meaning and passes. */
static void add_max_forwards(const struct th_head *head, struct th_writer *w)
{
    uint64_t left;

    if (head->max_forwards < 0)
        return;
    struct th_str value = head->fields[head->max_forwards].value;
    bool counts = head->method == TH_METHOD_OPTIONS || head->method == TH_METHOD_TRACE;
    if (!counts || th_str_to_u64(value, UINT64_MAX, &left) < 0 || left == 0) {
        th_writer_add_field(w, TH_STR("Max-Forwards"), value);
        return;
    }
    th_writer_add(w, TH_STR("Max-Forwards: "));
    th_writer_add_u64(w, left - 1);
    th_writer_add(w, TH_STR("\r\n"));
}

static void add_length(const struct th_head *head, struct th_writer *w)
{
    th_writer_add(w, TH_STR("Content-Length: "));
    th_writer_add_u64(w, head->content_length);
    th_writer_add(w, TH_STR("\r\n"));
}

static void add_field(struct th_writer *w, const struct th_field *field)
{
    if (!field->dropped && !(th_header_get(field->id)->flags & TH_HEADER_FRAMING))
        th_writer_add_field(w, field->name, field->value);
}

/* OPTIONS with neither path nor query asks for the server as a whole (RFC 9112, 3.2.4): the "/" that
 * the URL's normal form has was not in the target. */
static bool asks_whole_server(const struct th_hop *hop)
{
    struct th_str target = hop->request.target;

    return hop->request.method == TH_METHOD_OPTIONS && hop->url.path_query.len == 1 &&
           (hop->url.path_query.ptr < target.ptr ||
            hop->url.path_query.ptr >= target.ptr + target.len);
}

/* RFC 9112, 3.2: the path for the origin itself, the whole URL for a proxy. */
static void add_request_line(const struct th_hop *hop, struct th_str authority, struct th_writer *w)
{
    bool to_proxy = th_parent_is_asked(hop->origin), whole_server = asks_whole_server(hop);

    th_writer_add(w, hop->request.method_text);
    th_writer_add(w, TH_STR(" "));
    if (to_proxy) {
        th_writer_add(w, TH_STR("http://"));
        th_writer_add(w, authority);
    }
    if (!whole_server)
        th_writer_add(w, hop->url.path_query);
    else if (!to_proxy)
        th_writer_add(w, TH_STR("*"));
    th_writer_add(w, TH_STR(" HTTP/1.1\r\nHost: "));
    th_writer_add(w, authority);
    th_writer_add(w, TH_STR("\r\n"));
    if (to_proxy)
        th_parent_add_authorization(hop->origin->parent, w);
}

void th_rewrite_request(const struct th_hop *hop, struct th_writer *w)
{
    const struct th_head *head = &hop->request;
    char host[TH_URL_HOST_MAX + 16];
    size_t host_len = th_url_write_authority(&hop->url, host, sizeof host);

    add_request_line(hop, (struct th_str){host, host_len}, w);
    for (uint16_t i = 0; i < head->n_fields; i++)
        if (!is_dropped_from_request(hop, &head->fields[i]))
            add_field(w, &head->fields[i]);
    if (hop->credential != NULL)
        th_writer_add_field(w, hop->decision.route.connection->inject.header,
                            th_secret_expose(hop->credential->value));
    if (th_proof_is_due(hop))
        th_writer_add_field(w, TH_STR("DPoP"), th_buf_str(&hop->proof));
    add_max_forwards(head, w);
    add_via(hop, head, w);
    if (hop->upgrade)
        th_upgrade_write(head, w);
    if (head->framing == TH_FRAMING_LENGTH)
        add_length(head, w);
    else if (head->framing == TH_FRAMING_CHUNKED)
        th_writer_add(w, TH_STR("Transfer-Encoding: chunked\r\n"));
    th_writer_add(w, TH_STR("\r\n"));
}

/* What of the credential would be of use to who sees it: without its scheme. Empty where it is so
 * short that it may stand anywhere by chance. */
static struct th_str secret_part(const struct th_hop *hop)
{
    struct th_str secret = TH_STR_NONE;

    if (hop->credential != NULL)
        secret = th_credential_secret(hop->credential);
    return secret.len >= SECRET_MIN ? secret : TH_STR_NONE;
}

static bool has(struct th_str text, struct th_str secret)
{
    return text.len >= secret.len && memmem(text.ptr, text.len, secret.ptr, secret.len) != NULL;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3986, 2.1; what is no such triplet stays as it is. `room` has text.len bytes. */
static struct th_str decode_percent(struct th_str text, char *room)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        int high = text.ptr[i] == '%' && text.len - i > 2 ? digit_of(text.ptr[i + 1]) : -1;
        int low = high >= 0 ? digit_of(text.ptr[i + 2]) : -1;
        room[len++] = low >= 0 ? (char)(high << 4 | low) : text.ptr[i];
        if (low >= 0)
            i += 2;
    }
    return (struct th_str){room, len};
}

/* As it is, or as it would be in a URL. Without memory to look, it is taken to be there. */
static bool shows(struct th_str text, struct th_str secret)
{
    if (secret.len == 0 || text.len < secret.len)
        return false;
    if (has(text, secret))
        return true;
    if (memchr(text.ptr, '%', text.len) == NULL)
        return false;
    char *room = th_malloc(text.len);
    if (room == NULL)
        return true;
    bool found = has(decode_percent(text, room), secret);
    th_wipe(room, text.len);
    th_free(room);
    return found;
}

/* R27: an origin that sends the credential back must not show it to the caller. */
static bool is_dropped_from_response(const struct th_hop *hop, const struct th_field *field,
                                     struct th_str secret)
{
    const struct th_config_connection *connection = hop->decision.route.connection;

    if (field->id == TH_HEADER_SET_COOKIE && drops_cookies(hop))
        return true;
    if (th_proof_owns_field(hop, field))
        return true;
    if (!shows(field->value, secret) && !shows(field->name, secret))
        return false;
    TH_LOG(hop->desk->worker->log, TH_LEVEL_WARN, "hop.echo",
           "A destination has sent the credential back; the field was removed",
           TH_LOG_STR("connection", connection->name));
    return true;
}

static void add_response_fields(const struct th_hop *hop, struct th_writer *w)
{
    const struct th_head *head = &hop->response;
    struct th_str secret = secret_part(hop);

    th_writer_add_status_line(w, head->status,
                              shows(head->reason, secret) ? TH_STR_NONE : head->reason);
    for (uint16_t i = 0; i < head->n_fields; i++)
        if (!is_dropped_from_response(hop, &head->fields[i], secret))
            add_field(w, &head->fields[i]);
    add_via(hop, head, w);
}

void th_rewrite_interim(const struct th_hop *hop, struct th_writer *w)
{
    add_response_fields(hop, w);
    th_writer_add(w, TH_STR("\r\n"));
}

void th_rewrite_switch(const struct th_hop *hop, struct th_writer *w)
{
    add_response_fields(hop, w);
    th_upgrade_write_offer(&hop->response, w);
    th_writer_add(w, TH_STR("\r\n"));
}

/* Of Connection this says all. RFC 9110, 15.5.22: a 426 says what to switch to. */
static void add_connection(const struct th_hop *hop, bool close_ends, struct th_writer *w)
{
    if (!hop->client_keeps || close_ends)
        th_writer_add(w, TH_STR("Connection: close\r\n"));
    else if (hop->request.minor == 0)
        th_writer_add(w, TH_STR("Connection: keep-alive\r\n"));
    if (hop->upgrade && hop->response.status == 426)
        th_upgrade_write_offer(&hop->response, w);
}

void th_rewrite_response(const struct th_hop *hop, enum th_body_out *ret_out, bool *ret_close_ends,
                         struct th_writer *w)
{
    const struct th_head *head = &hop->response;
    bool unknown_length = head->framing == TH_FRAMING_CHUNKED || head->framing == TH_FRAMING_CLOSE;

    *ret_out = unknown_length && hop->request.minor >= 1 ? TH_BODY_CHUNKED : TH_BODY_AS_IT_IS;
    *ret_close_ends = unknown_length && hop->request.minor == 0;
    add_response_fields(hop, w);
    if (*ret_out == TH_BODY_CHUNKED)
        th_writer_add(w, TH_STR("Transfer-Encoding: chunked\r\n"));
    else if (head->has_content_length)
        add_length(head, w);
    add_connection(hop, *ret_close_ends, w);
    th_writer_add(w, TH_STR("\r\n"));
}
