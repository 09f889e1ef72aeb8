#include "target.h"

#include "origin.h"
#include "proof.h"
#include "rewrite.h"
#include "shadow.h"
#include "tunnel.h"
#include "upgrade.h"

int th_target_parse_absolute(struct th_hop *hop)
{
    struct th_str target = hop->request.target;
    bool is_websocket = hop->upgrade && target.len > 2 && (target.ptr[0] | 0x20) == 'w' &&
                        th_upgrade_is_websocket(&hop->request);

    return is_websocket ? th_url_parse_websocket(target, &hop->url)
                        : th_url_parse(target, &hop->url);
}

static int read_absolute(struct th_hop *hop)
{
    struct th_str target = hop->request.target;

    if (target.len > 0 && target.ptr[0] != '/' && target.ptr[0] != '*')
        return th_target_parse_absolute(hop);
    hop->detail = "this is a forward proxy: the request target must be a whole URL (absolute-form)";
    return TH_E_BAD_TARGET;
}

/* `authority` and `target` stay where they are for as long as the hop. */
static int read_parts(struct th_hop *hop, struct th_str authority, struct th_str target)
{
    enum th_scheme scheme = hop->session->listener->scheme;
    int error = th_url_parse_authority(authority, false, &hop->url);

    if (error < 0) {
        hop->url = (struct th_url){0};
        hop->detail = "Host is malformed";
        return error;
    }
    hop->url.scheme = scheme;
    if (!hop->url.port_named)
        hop->url.port = th_scheme_port(scheme);
    return th_url_parse_path_query(target, &hop->url);
}

static int read_host_and_path(struct th_hop *hop)
{
    const struct th_head *head = &hop->request;
    struct th_str target = head->target;

    if (target.len == 0 || target.ptr[0] != '/') {
        hop->detail = "this is a gateway: the request target must be a path (origin-form)";
        return TH_E_BAD_TARGET;
    }
    if (head->host < 0) {
        hop->detail = "Host is missing, which names the destination here";
        return TH_E_BAD_TARGET;
    }
    return read_parts(hop, head->fields[head->host].value, target);
}

/* The one field of that name; NULL: none, or several. */
static const struct th_field *only_field(const struct th_head *head, struct th_str name)
{
    const struct th_field *found = NULL;

    for (uint16_t i = 0; i < head->n_fields; i++) {
        if (!th_header_names_alike(head->fields[i].name, name))
            continue;
        if (found != NULL)
            return NULL;
        found = &head->fields[i];
    }
    return found;
}

/* Where data planes put the request that they ask about. */
static const struct original {
    struct th_str host, uri, method;
} originals[] = {
    [TH_ORIGINAL_REQUEST] = {TH_STR_NONE, TH_STR_NONE, TH_STR_NONE},
    [TH_ORIGINAL_X_ORIGINAL] = {TH_STR("X-Original-Host"), TH_STR("X-Original-URI"),
                                TH_STR("X-Original-Method")},
    [TH_ORIGINAL_X_FORWARDED] = {TH_STR("X-Forwarded-Host"), TH_STR("X-Forwarded-Uri"),
                                 TH_STR("X-Forwarded-Method")},
};

static int read_question(struct th_hop *hop)
{
    const struct th_head *head = &hop->request;
    const struct original *original = &originals[hop->session->listener->original];

    if (original->uri.len == 0)
        return head->method == TH_METHOD_TRACE ? TH_E_METHOD : read_host_and_path(hop);
    const struct th_field *host = only_field(head, original->host);
    const struct th_field *uri = only_field(head, original->uri);
    const struct th_field *method = only_field(head, original->method);
    if (host == NULL || uri == NULL || method == NULL) {
        hop->detail = "the data plane must say once each which host, URI and method it asks about "
                      "(see docs/modes.md)";
        return TH_E_BAD_TARGET;
    }
    if (th_method_find(method->value) == TH_METHOD_TRACE)
        return TH_E_METHOD;
    return read_parts(hop, host->value, uri->value);
}

struct th_str th_target_method(const struct th_hop *hop)
{
    struct th_str name = originals[hop->session->listener->original].method;
    const struct th_field *field = NULL;

    if (th_target_is_question(hop) && name.len > 0)
        field = only_field(&hop->request, name);
    return field != NULL ? field->value : hop->request.method_text;
}

int th_target_read(struct th_hop *hop)
{
    if (hop->session->tunnel != NULL)
        return th_tunnel_read_url(hop);
    switch ((enum th_listener_mode)hop->session->listener->mode) {
    case TH_LISTENER_FORWARD:
        return read_absolute(hop);
    case TH_LISTENER_GATEWAY:
        return read_host_and_path(hop);
    case TH_LISTENER_AUTHZ:
        return read_question(hop);
    case TH_LISTENER_TRANSPARENT: /* always in a tunnel */
        break;
    }
    return TH_E_INTERNAL;
}

/* What is to be sent as Authorization, where that is the caller's own. In shadow so is the field that the
 * credential would be in: a data plane takes it away where the answer has none. */
static void add_own(const struct th_hop *hop, struct th_writer *w)
{
    const struct th_head *head = &hop->request;

    if (!hop->decision.drop_authorization && head->n_authorization == 1)
        th_writer_add_field(w, TH_STR("Authorization"), head->fields[head->authorization].value);
    if (!hop->in_shadow)
        return;
    const struct th_config_inject *inject = &hop->decision.route.connection->inject;
    for (uint16_t i = 0; i < head->n_fields && !inject->is_authorization; i++)
        if (th_header_names_alike(head->fields[i].name, inject->header) &&
            (!th_rewrite_takes_subject(hop, inject->header) ||
             th_shadow_lets_pass(hop, inject->header)))
            th_writer_add_field(w, inject->header, head->fields[i].value);
    th_writer_add(w, TH_STR("X-Tokenhop-Shadow: true\r\n"));
}

/* --- where it may go --- */

int th_target_permit(const struct th_hop *hop)
{
    const struct th_config_view *config = hop->use->snapshot->view;
    const struct th_url *url = &hop->url;
    bool for_credential =
        hop->decision.action == TH_GATE_CREDENTIAL || hop->decision.action == TH_GATE_PASSTHROUGH;
    struct th_origin_key key = {.scheme = url->scheme,
                                .port = url->port,
                                .for_credential = for_credential,
                                .host = url->host};
    struct th_address address;

    if (hop->decision.action != TH_GATE_FORWARD)
        key.connection = hop->decision.route.connection;
    if (url->host_is_literal && th_address_parse(url->host, url->port, &address) == 0)
        return th_origin_permit(config, &key, &address);
    return for_credential && url->scheme == TH_SCHEME_HTTP && !key.connection->allow_cleartext
               ? TH_E_CLEARTEXT_DENIED
               : 0;
}

/* --- the answer --- */

struct removal {
    struct th_writer *w;
    bool any;
};

static void remove_field(struct removal *removal, struct th_str name)
{
    th_writer_add(removal->w,
                  removal->any ? TH_STR(",") : TH_STR("x-envoy-auth-headers-to-remove: "));
    th_writer_add(removal->w, name);
    removal->any = true;
}

/* A data plane that merges fields must take away what is not to go on (rewrite.c drops the same): Envoy
 * is told so, others replace the field by what comes, or by nothing. What is sent must not be named, as
 * it would be taken away again. */
static void add_removal(const struct th_hop *hop, struct th_writer *w)
{
    const struct th_config_view *config = hop->use->snapshot->view;
    const struct th_config_connection *connection = hop->decision.route.connection;
    struct th_str field = connection != NULL ? connection->inject.header : TH_STR_NONE;
    bool is_sent = hop->credential != NULL;
    struct removal removal = {.w = w};

    if (hop->decision.drop_authorization && !(is_sent && connection->inject.is_authorization))
        remove_field(&removal, TH_STR("authorization"));
    for (size_t i = 0; i < config->n_subject_headers; i++)
        if (!(is_sent && th_header_names_alike(config->subject_headers[i], field)) &&
            !th_shadow_lets_pass(hop, config->subject_headers[i]))
            remove_field(&removal, config->subject_headers[i]);
    if (!is_sent && !hop->in_shadow && field.len > 0 && !connection->inject.is_authorization)
        remove_field(&removal, field);
    if (hop->decision.drop_authorization)
        remove_field(&removal, TH_STR("dpop"));
    if (connection != NULL && connection->cookies == TH_COOKIES_DROP && !hop->in_shadow)
        remove_field(&removal, TH_STR("cookie"));
    if (hop->listener != NULL && hop->listener->forwarded.header.len > 0)
        remove_field(&removal, hop->listener->forwarded.header);
    if (removal.any)
        th_writer_add(w, TH_STR("\r\n"));
}

void th_target_write_answer(struct th_hop *hop, struct th_writer *w)
{
    hop->status = 200;
    th_writer_add_status_line(w, 200, TH_STR("OK"));
    if (hop->credential != NULL)
        th_writer_add_field(w, hop->decision.route.connection->inject.header,
                            th_secret_expose(hop->credential->value));
    else
        add_own(hop, w);
    add_removal(hop, w);
    /* By its name (RFC 9209) whoever asks tells it from a server that answers everything with 200. */
    th_writer_add(
        w, TH_STR("Cache-Control: no-store\r\nProxy-Status: tokenhop\r\nContent-Length: 0\r\n"));
    if (!hop->client_keeps)
        th_writer_add(w, TH_STR("Connection: close\r\n"));
    th_writer_add(w, TH_STR("\r\n"));
}
