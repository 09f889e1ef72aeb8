#include "tokenhop/oauth/metadata.h"

#include "document.h"
#include "tokenhop/base/arena.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/http/url.h"
#include "tokenhop/oauth/jose.h"
#include "tokenhop/oauth/json.h"

#define METADATA_MAX ((size_t)256 * 1024)
#define TEXTS_MAX ((size_t)64 * 1024)
#define LIST_MAX 64
#define URL_MAX 2048

struct whole {
    struct th_document document; /* first: it is found by it */
    struct th_metadata metadata;
    struct th_arena arena;
};

#define WHOLE_OF(metadata_)                                                                        \
    TH_CONTAINER_OF((struct th_metadata *)(uintptr_t)(metadata_), struct whole, metadata)

static void whole_free(struct th_document *document)
{
    struct whole *whole = TH_CONTAINER_OF(document, struct whole, document);
    th_arena_fini(&whole->arena);
    th_free(whole);
}

const struct th_metadata *th_metadata_ref(const struct th_metadata *metadata)
{
    (void)th_document_ref(&WHOLE_OF(metadata)->document);
    return metadata;
}

const struct th_metadata *th_metadata_unref(const struct th_metadata *metadata)
{
    if (metadata != NULL)
        th_document_unref(&WHOLE_OF(metadata)->document);
    return NULL;
}

/* -- reading ------------------------------------------------------------------------------------- */

static bool is_endpoint(struct th_str text, bool allow_cleartext)
{
    struct th_url url;
    if (text.len > URL_MAX || th_url_parse(text, &url) != 0)
        return false;
    return url.scheme == TH_SCHEME_HTTPS || allow_cleartext;
}

/* 0 also when it is not there. */
static int take_endpoint(struct whole *whole, const json_t *object, const char *name,
                         bool allow_cleartext, struct th_str *ret_text)
{
    const json_t *member = json_object_get(object, name);
    struct th_str text = th_jwt_text(object, name);
    if (member == NULL || json_is_null(member))
        return 0;
    if (!is_endpoint(text, allow_cleartext))
        return TH_E_EXCHANGE_FAILED;
    *ret_text = (struct th_str){th_arena_strdup(&whole->arena, text), text.len};
    return ret_text->ptr != NULL ? 0 : TH_E_NOMEM;
}

/* What is no list of texts says nothing. */
static int take_list(struct whole *whole, const json_t *object, const char *name,
                     struct th_metadata_list *ret_list)
{
    const json_t *list = json_object_get(object, name);
    size_t n = json_array_size(list);
    if (n > LIST_MAX)
        n = LIST_MAX;
    if (n == 0)
        return 0;
    struct th_str *items = th_arena_calloc(&whole->arena, n, sizeof *items);
    if (items == NULL)
        return TH_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item))
            continue;
        struct th_str text = {json_string_value(item), json_string_length(item)};
        struct th_str *place = &items[ret_list->n++];
        *place = (struct th_str){th_arena_strdup(&whole->arena, text), text.len};
        if (place->ptr == NULL)
            return TH_E_NOMEM;
    }
    ret_list->items = items;
    return 0;
}

static int take_members(struct whole *whole, const json_t *object, bool allow_cleartext,
                        const char **ret_why)
{
    struct th_metadata *m = &whole->metadata;
    const struct {
        const char *name, *why;
        struct th_str *text;
    } endpoints[] = {
        {"token_endpoint", "its token_endpoint is no https URL", &m->token_endpoint},
        {"revocation_endpoint", "its revocation_endpoint is no https URL", &m->revocation_endpoint},
        {"jwks_uri", "its jwks_uri is no https URL", &m->jwks_uri},
    };
    const struct {
        const char *name;
        struct th_metadata_list *list;
    } lists[] = {
        {"grant_types_supported", &m->grant_types},
        {"token_endpoint_auth_methods_supported", &m->auth_methods},
        {"token_endpoint_auth_signing_alg_values_supported", &m->auth_algs},
    };
    const json_t *aliases = json_object_get(object, "mtls_endpoint_aliases");
    const struct {
        const char *name, *why;
        struct th_str *text;
    } certified[] = {
        {"token_endpoint", "its mtls_endpoint_aliases have a token_endpoint that is no https URL",
         &m->mtls_token_endpoint},
        {"revocation_endpoint",
         "its mtls_endpoint_aliases have a revocation_endpoint that is no https URL",
         &m->mtls_revocation_endpoint},
    };
    int error = 0;
    for (size_t i = 0; i < TH_COUNT_OF(certified) && error == 0; i++) {
        *ret_why = certified[i].why;
        error = take_endpoint(whole, aliases, certified[i].name, false, certified[i].text);
    }
    for (size_t i = 0; i < TH_COUNT_OF(endpoints) && error == 0; i++) {
        *ret_why = endpoints[i].why;
        error = take_endpoint(whole, object, endpoints[i].name, allow_cleartext, endpoints[i].text);
    }
    for (size_t i = 0; i < TH_COUNT_OF(lists) && error == 0; i++)
        error = take_list(whole, object, lists[i].name, lists[i].list);
    return error;
}

static int read_whole(struct th_str text, struct th_str issuer, bool allow_cleartext,
                      struct whole **ret_whole, const char **ret_why)
{
    json_t *object;
    *ret_why = "what came is no JSON object";
    int error = th_json_parse_object(text, METADATA_MAX, &object);
    if (error != 0)
        return error == TH_E_NOMEM ? error : TH_E_EXCHANGE_FAILED;
    struct whole *whole = th_calloc(1, sizeof *whole);
    error = whole != NULL ? 0 : TH_E_NOMEM;
    if (error == 0) {
        th_ref_init(&whole->document.ref);
        whole->document.free = whole_free;
        th_arena_init(&whole->arena, 1024, TEXTS_MAX);
        if (!th_str_equal(th_jwt_text(object, "issuer"), issuer)) {
            *ret_why = "its issuer is not the configured one, to the letter";
            error = TH_E_EXCHANGE_FAILED;
        }
    }
    if (error == 0) {
        whole->metadata.issuer =
            (struct th_str){th_arena_strdup(&whole->arena, issuer), issuer.len};
        error = whole->metadata.issuer.ptr != NULL
                    ? take_members(whole, object, allow_cleartext, ret_why)
                    : TH_E_NOMEM;
    }
    json_decref(object);
    if (error == 0)
        *ret_whole = whole;
    else if (whole != NULL)
        whole_free(&whole->document);
    return error;
}

int th_metadata_parse(struct th_str text, struct th_str issuer, bool allow_cleartext,
                      const struct th_metadata **ret_metadata, const char **ret_why)
{
    struct whole *whole;
    int error = read_whole(text, issuer, allow_cleartext, &whole, ret_why);
    if (error == 0)
        *ret_metadata = &whole->metadata;
    return error;
}

/* -- where it is --------------------------------------------------------------------------------- */

/* The beginning of the issuer up to its path, and the path without the '/' that ends it: neither
 * specification wants that one before or after its segment. */
static void split_issuer(struct th_str issuer, struct th_str *ret_origin, struct th_str *ret_path)
{
    size_t at = 0;
    while (at < issuer.len && issuer.ptr[at] != '/')
        at++;
    at += 2; /* the authority's slashes */
    while (at < issuer.len && issuer.ptr[at] != '/')
        at++;
    if (at > issuer.len)
        at = issuer.len;
    *ret_origin = (struct th_str){issuer.ptr, at};
    *ret_path = (struct th_str){issuer.ptr + at, issuer.len - at};
    if (ret_path->len > 0 && ret_path->ptr[ret_path->len - 1] == '/')
        ret_path->len--;
}

bool th_metadata_place(struct th_str issuer, unsigned attempt, struct th_buf *url)
{
    static const struct {
        struct th_str segment;
        bool appended;
    } places[] = {
        {TH_STR("/.well-known/oauth-authorization-server"), false},
        {TH_STR("/.well-known/openid-configuration"), false},
        {TH_STR("/.well-known/openid-configuration"), true},
    };
    struct th_str origin, path;
    split_issuer(issuer, &origin, &path);
    /* Without a path the last place is the one before. */
    if (attempt >= TH_COUNT_OF(places) || (places[attempt].appended && path.len == 0))
        return false;
    th_buf_add_str(url, origin);
    if (places[attempt].appended)
        th_buf_add_str(url, path);
    th_buf_add_str(url, places[attempt].segment);
    if (!places[attempt].appended)
        th_buf_add_str(url, path);
    return true;
}

/* -- asking -------------------------------------------------------------------------------------- */

/* Where the issuer itself is cleartext, as on loopback, so may be what it names; whether an address
 * is one that may be spoken to so, the fetcher sees when it connects. */
static bool may_be_cleartext(const struct th_document_source *source)
{
    return source->allow_cleartext || th_str_starts_with(source->name, TH_STR("http://"));
}

static int read_document(const struct th_document_source *source, struct th_str body,
                         struct th_document **ret_document, const char **ret_why)
{
    struct whole *whole;
    int error = read_whole(body, source->name, may_be_cleartext(source), &whole, ret_why);
    if (error == 0)
        *ret_document = &whole->document;
    return error;
}

static const struct th_document_kind metadata_kind = {
    .name = "metadata",
    .max_bytes = METADATA_MAX,
    .place = th_metadata_place,
    .read = read_document,
    .when_unusable = TH_E_EXCHANGE_FAILED,
};

static struct th_document_source source_of(const struct th_config_authorization_server *server)
{
    return (struct th_document_source){.name = server->issuer,
                                       .ca_file = server->ca_file,
                                       .allow_cleartext = server->allow_cleartext};
}

const struct th_metadata *th_metadata_peek(struct th_document_desk *desk,
                                           const struct th_config_authorization_server *server)
{
    const struct th_document_source source = source_of(server);
    struct th_document *document = th_document_peek(desk, &metadata_kind, &source);

    return document != NULL ? &TH_CONTAINER_OF(document, struct whole, document)->metadata : NULL;
}

int th_metadata_get(struct th_document_desk *desk,
                    const struct th_config_authorization_server *server,
                    struct th_document_waiter *waiter, const struct th_metadata **ret_metadata,
                    struct th_document_failure *ret_failure)
{
    const struct th_document_source source = source_of(server);
    struct th_document *document;
    int error =
        th_document_get(desk, &metadata_kind, &source, NULL, waiter, &document, ret_failure);
    if (error == 0)
        *ret_metadata = &TH_CONTAINER_OF(document, struct whole, document)->metadata;
    return error;
}
