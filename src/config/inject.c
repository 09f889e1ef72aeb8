/* How a connection's credential is put on a request: which ways fit the type, and which fields a
 * template may fill. */
#include "loader.h"
#include "template.h"
#include "tokenhop/base/check.h"
#include "tokenhop/config/load.h"

/* What each resource type yields, and so what can be made of it. */
static const struct type_row {
    const char *name;
    bool bearer;                  /* a token */
    bool basic;                   /* a username and a password, perhaps */
    enum th_inject_scheme scheme; /* unless said otherwise */
} types[] = {
    [TH_TYPE_AGENT_TO_AGENT] = {"agent_to_agent", true, false, TH_INJECT_BEARER},
    [TH_TYPE_AUTHORIZATION_SERVER] = {"authorization_server", true, false, TH_INJECT_BEARER},
    [TH_TYPE_SECRET] = {"secret", false, true, TH_INJECT_TEMPLATE},
    [TH_TYPE_SERVICE_ACCOUNT] = {"service_account", false, true, TH_INJECT_BASIC},
    [TH_TYPE_RESOURCE_SERVER] = {"resource_server", true, false, TH_INJECT_BEARER},
    [TH_TYPE_TOKEN_EXCHANGE] = {"token_exchange", true, false, TH_INJECT_BEARER},
    [TH_TYPE_ON_BEHALF_OF] = {"on_behalf_of", true, false, TH_INJECT_BEARER},
    [TH_TYPE_CLIENT_CREDENTIALS] = {"client_credentials", true, false, TH_INJECT_BEARER},
    [TH_TYPE_STATIC] = {"static", true, true, TH_INJECT_BEARER},
    [TH_TYPE_PASSTHROUGH] = {"passthrough", false, false, TH_INJECT_BEARER},
};

/* Framing, hop-by-hop, routing, and what the proxy itself writes. The room of HTTP has the whole table of
 * fields, and a test that this list lacks none of it. */
static const char *const reserved[] = {
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "dpop",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "proxy-authentication-info",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
};

bool th_config_may_inject(struct th_str header)
{
    for (size_t i = 0; i < TH_COUNT_OF(reserved); i++) {
        if (th_str_equal_nocase(header, th_str_of(reserved[i])))
            return false;
    }
    return header.len > 0;
}

static void build_template(struct th_loader *l, const struct th_raw_inject *raw, uint32_t place,
                           struct th_config_inject *inject)
{
    struct th_config_template_part parts[TH_TEMPLATE_PARTS_MAX];
    size_t n = th_template_split(raw->template, parts);
    struct th_config_template_part *copy = th_loader_alloc(l, n, sizeof(*copy));
    if (copy != NULL)
        memcpy(copy, parts, n * sizeof(*copy));
    inject->parts = copy;
    inject->n_parts = copy != NULL ? n : 0;
    if (raw->header.ptr == NULL)
        return; /* reported already */
    inject->header = raw->header;
    inject->is_authorization = th_str_equal_nocase(raw->header, TH_STR("Authorization"));
    if (!th_config_may_inject(raw->header))
        th_loader_report(l, th_loader_member(l, place, "header"),
                         "name the field that the destination reads its credential from",
                         "this field belongs to HTTP itself and cannot bear a credential");
}

static void check_scheme(struct th_loader *l, const struct type_row *type,
                         enum th_inject_scheme scheme, uint32_t place)
{
    place = th_loader_member(l, place, "scheme");
    if (scheme == TH_INJECT_BEARER && !type->bearer)
        th_loader_report(l, place, "use a header and template, or the scheme \"basic\"",
                         "the type \"%s\" yields no token for the scheme \"bearer\"", type->name);
    if (scheme == TH_INJECT_BASIC && !type->basic)
        th_loader_report(l, place, "use the scheme \"bearer\", or a header and template",
                         "the type \"%s\" yields no username and password", type->name);
}

void th_build_inject(struct th_loader *loader, const struct th_raw_connection *raw,
                     struct th_config_inject *ret_inject)
{
    const struct type_row *type = &types[raw->type];
    uint32_t at = th_source_find_member(&loader->source, raw->head.place, "inject");
    *ret_inject = (struct th_config_inject){
        .scheme = type->scheme, .header = TH_STR("Authorization"), .is_authorization = true};
    if (at == TH_SOURCE_NONE || raw->type == TH_TYPE_PASSTHROUGH)
        return; /* where it is needed, or not allowed, that was reported already */
    if (raw->inject.template.ptr != NULL) {
        ret_inject->scheme = TH_INJECT_TEMPLATE;
        build_template(loader, &raw->inject, at, ret_inject);
        return;
    }
    ret_inject->scheme = (enum th_inject_scheme)raw->inject.scheme;
    check_scheme(loader, type, ret_inject->scheme, at);
}
