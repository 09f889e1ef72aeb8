/* TLS of listeners, certificates that are forwarded to them, and callers that are known by one. */
#include <openssl/evp.h>

#include "loader.h"
#include "text.h"
#include "tokenhop/base/dn.h"
#include "url.h"

static bool has(const struct th_loader *l, uint32_t place, const char *member)
{
    return th_source_find_member(&l->source, place, member) != TH_SOURCE_NONE;
}

/* --- TLS --- */

static void build_clients(struct th_loader *l, const struct th_raw_listener_tls *raw,
                          uint32_t place, struct th_config_listener_tls *tls)
{
    uint32_t ca_place = th_loader_member(l, place, "client_ca_file");
    uint32_t crl_place = th_loader_member(l, place, "client_crl_file");
    tls->client_certificate = (enum th_client_certificate)raw->client_certificate;
    tls->client_authorities = th_build_authorities_text(l, raw->client_ca_file, ca_place);
    tls->client_lists = th_build_lists_text(l, raw->client_crl_file, crl_place);
    if (has(l, place, "client_certificate")) /* that and the files is a rule of the table */
        return;
    if (raw->client_ca_file.ptr != NULL || raw->client_crl_file.ptr != NULL)
        th_loader_report(l, raw->client_ca_file.ptr != NULL ? ca_place : crl_place,
                         "add \"client_certificate\": \"required\", or \"optional\"",
                         "no client is asked for a certificate");
}

static void build_tls(struct th_loader *l, const struct th_raw_listener_tls *raw, uint32_t place,
                      struct th_config_listener_tls *tls)
{
    const struct th_secret_names names = {raw->key_file, TH_STR_NONE, "key_file", NULL};
    struct th_str path;
    uint32_t key_place;
    tls->is_spoken = true;
    tls->cert_file = th_loader_file(l, raw->cert_file);
    const struct th_secret *key = th_build_secret_of(l, &names, false, place, &key_place, &path);
    tls->identity = th_build_server_identity(l, raw->cert_file, key, place, key_place);
    build_clients(l, raw, place, tls);
}

/* --- certificates that are forwarded --- */

static void build_sources(struct th_loader *l, const struct th_raw_list *raw, uint32_t place,
                          bool at_unix, struct th_config_forwarded_certificate *forwarded)
{
    struct th_config_network *from = th_loader_alloc(l, raw->n, sizeof(*from));
    size_t used = 0;
    for (size_t i = 0; from != NULL && i < raw->n; i++) {
        struct th_errinfo info = {0};
        uint32_t at = th_loader_item(l, place, "from", i);
        if (raw->items[i].ptr == NULL)
            continue;
        bool is_unix = th_str_equal(raw->items[i], TH_STR("unix"));
        if (is_unix && at_unix)
            forwarded->from_unix = true;
        else if (is_unix)
            th_loader_report(l, at, "write addresses or networks",
                             "nobody connects to this listener over a unix socket");
        else if (th_text_to_network(raw->items[i], &from[used], &info) < 0)
            th_loader_report_info(l, at, &info);
        else if (from[used].port != 0)
            th_loader_report(l, at, "leave the port out",
                             "the port that a client connects from says nothing");
        else
            used++;
    }
    forwarded->from = from;
    forwarded->n_from = used;
}

static void build_forwarded(struct th_loader *l, const struct th_raw_forwarded *raw, uint32_t place,
                            bool at_unix, struct th_config_forwarded_certificate *forwarded)
{
    static const struct th_str credentials[] = {TH_STR("authorization"), TH_STR("cookie")};
    bool may_be = th_config_may_inject(raw->header);
    build_sources(l, &raw->from, place, at_unix, forwarded);
    for (size_t i = 0; i < TH_COUNT_OF(credentials); i++)
        may_be = may_be && !th_str_equal_nocase(raw->header, credentials[i]);
    if (raw->header.ptr != NULL && !may_be)
        th_loader_report(l, th_loader_member(l, place, "header"), "choose another field",
                         "this field has a meaning of its own in HTTP");
    forwarded->header = raw->header;
}

void th_build_listener_tls(struct th_loader *loader, const struct th_raw_listener *raw,
                           struct th_config_listener *listener)
{
    uint32_t place = raw->head.place;
    if (has(loader, place, "tls"))
        build_tls(loader, &raw->tls, th_loader_member(loader, place, "tls"), &listener->tls);
    if (has(loader, place, "forwarded_certificate"))
        build_forwarded(loader, &raw->forwarded,
                        th_loader_member(loader, place, "forwarded_certificate"),
                        listener->address.ss_family == AF_UNIX, &listener->forwarded);
}

/* --- callers --- */

static void digest(struct th_loader *l, struct th_str name, struct th_config_caller *caller)
{
    if (EVP_Digest(name.ptr, name.len, caller->digest, NULL, EVP_sha256(), NULL) != 1)
        l->nomem = true;
}

/* Letters, digits, '-', '_' in labels: what RFC 5280, 4.2.1.6 has as a dNSName, and no pattern. */
static bool is_dns_name(struct th_str name)
{
    size_t label = 0;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool is_dot = c == '.';
        if (!is_dot && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            !(c >= '0' && c <= '9') && c != '-' && c != '_')
            return false;
        if ((is_dot && label == 0) || label > 63)
            return false;
        label = is_dot ? 0 : label + 1;
    }
    return label > 0 && label <= 63 && name.len <= 253;
}

static void build_dns(struct th_loader *l, struct th_str name, uint32_t place,
                      struct th_config_caller *caller)
{
    char lower[256];
    caller->proof = TH_CALLER_DNS;
    if (!is_dns_name(name)) {
        th_loader_report(l, place, "write \"agent2.example.com\", or \"spiffe://...\"",
                         "this is neither a URI nor a DNS name in full");
        return;
    }
    for (size_t i = 0; i < name.len; i++)
        lower[i] =
            (char)(name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? name.ptr[i] | 0x20 : name.ptr[i]);
    digest(l, (struct th_str){lower, name.len}, caller);
}

static void build_uri(struct th_loader *l, struct th_str uri, uint32_t place,
                      struct th_config_caller *caller)
{
    struct th_errinfo info = {0};
    caller->proof = TH_CALLER_URI;
    if (th_config_url_check_absolute(uri, &info) < 0)
        th_loader_report_info(l, place, &info);
    else
        digest(l, uri, caller);
}

static void build_subject(struct th_loader *l, struct th_str subject, uint32_t place,
                          struct th_config_caller *caller)
{
    struct th_errinfo info = {0};
    struct th_buf canonical;
    caller->proof = TH_CALLER_SUBJECT;
    th_buf_init(&canonical, TH_DN_MAX);
    if (th_dn_read(subject, &canonical, &info) < 0)
        th_loader_report_info(l, place, &info);
    else if (canonical.failed)
        l->nomem = true;
    else
        digest(l, th_buf_str(&canonical), caller);
    th_buf_fini(&canonical);
}

void th_build_caller_certificate(struct th_loader *loader, const struct th_raw_caller *raw,
                                 struct th_config_caller *caller)
{
    const struct th_raw_caller_certificate *certificate = &raw->certificate;
    uint32_t place = th_loader_member(loader, raw->head.place, "certificate");
    uint32_t san_place = th_loader_member(loader, place, "san");
    if (certificate->subject.ptr != NULL) {
        caller->certificate = certificate->subject;
        build_subject(loader, certificate->subject, th_loader_member(loader, place, "subject"),
                      caller);
        return;
    }
    caller->certificate = certificate->san;
    if (certificate->san.ptr == NULL) { /* refused already */
        caller->proof = TH_CALLER_URI;
        return;
    }
    if (memchr(certificate->san.ptr, ':', certificate->san.len) != NULL)
        build_uri(loader, certificate->san, san_place, caller);
    else
        build_dns(loader, certificate->san, san_place, caller);
}
