#include "jwt_parts.h"
#include "key.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/json.h"

#define SECONDS_MAX 253402300799 /* the end of the year 9999; beyond means the same */

static int append(const char *bytes, size_t len, void *buf)
{
    th_buf_add(buf, bytes, len);
    return 0;
}

static void add_member(struct th_buf *out, const char *name, struct th_str text)
{
    if (text.len == 0)
        return;
    th_buf_printf(out, ",\"%s\":\"", name);
    th_buf_add_json(out, text);
    th_buf_add_char(out, '"');
}

static void add_header(struct th_buf *out, struct th_str alg, const struct th_jws_header *header)
{
    struct th_buf text;
    th_buf_init(&text, TH_JWT_MAX);
    th_buf_printf(&text, "{\"alg\":\"%.*s\"", TH_STR_ARGS(alg));
    add_member(&text, "kid", header->kid);
    add_member(&text, "typ", header->typ);
    add_member(&text, "x5t", header->x5t);
    add_member(&text, "x5t#S256", header->x5t_s256);
    th_buf_add_char(&text, '}');
    out->failed = out->failed || text.failed;
    th_base64url_encode(out, text.ptr, text.len);
    th_buf_fini(&text);
}

static int add_claims(struct th_buf *out, const json_t *claims)
{
    struct th_buf text;
    th_buf_init_secret(&text, TH_JWT_MAX);
    int error = 0;
    if (json_dump_callback(claims, append, &text, JSON_COMPACT) != 0 || text.failed)
        error = TH_E_NOMEM;
    else
        th_base64url_encode(out, text.ptr, text.len);
    th_buf_fini(&text);
    return error;
}

int th_jwt_add_signed_part(struct th_buf *token, struct th_str alg,
                           const struct th_jws_header *header, const json_t *claims)
{
    add_header(token, alg, header);
    th_buf_add_char(token, '.');
    int error = add_claims(token, claims);
    return error == 0 && token->failed ? TH_E_NOMEM : error;
}

int th_jwt_finish(struct th_buf *token, struct th_str signature, struct th_secret **ret_token)
{
    th_buf_add_char(token, '.');
    th_base64url_encode(token, signature.ptr, signature.len);
    struct th_secret *secret = token->failed ? NULL : th_secret_new(token->ptr, token->len);
    if (secret == NULL)
        return TH_E_NOMEM;
    *ret_token = secret;
    return 0;
}

int th_jwt_sign_headed(const struct th_key *key, enum th_alg alg,
                       const struct th_jws_header *header, const json_t *claims,
                       struct th_secret **ret_token)
{
    struct th_buf token, signature;
    th_buf_init_secret(&token, 2 * TH_JWT_MAX);
    th_buf_init_secret(&signature, TH_KEY_RSA_BITS_MAX / 8);
    int error = th_jwt_add_signed_part(&token, th_alg_name(alg), header, claims);
    if (error == 0)
        error = th_signature_make(key, alg, th_buf_str(&token), &signature);
    if (error == 0)
        error = th_jwt_finish(&token, th_buf_str(&signature), ret_token);
    th_buf_fini(&signature);
    th_buf_fini(&token);
    return error;
}

int th_jwt_sign(const struct th_key *key, enum th_alg alg, struct th_str kid, struct th_str typ,
                const json_t *claims, struct th_secret **ret_token)
{
    const struct th_jws_header header = {.kid = kid, .typ = typ};
    return th_jwt_sign_headed(key, alg, &header, claims, ret_token);
}

/* One part of a compact token as a JSON object. */
static int parse_part(struct th_str part, json_t **ret_object)
{
    struct th_buf text;
    th_buf_init_secret(&text, TH_JWT_MAX);
    int error = th_base64url_decode(&text, part);
    if (error == 0)
        error = th_json_parse_object(th_buf_str(&text), TH_JWT_MAX, ret_object);
    th_buf_fini(&text);
    return error == 0 || error == TH_E_NOMEM ? error : TH_E_SUBJECT_MALFORMED;
}

static int check_signature_text(struct th_str signature)
{
    struct th_buf bytes;
    th_buf_init_secret(&bytes, TH_JWT_MAX);
    int error = th_base64url_decode(&bytes, signature);
    th_buf_fini(&bytes);
    return error == 0 || error == TH_E_NOMEM ? error : TH_E_SUBJECT_MALFORMED;
}

int th_jwt_parse(struct th_str text, struct th_jwt *ret_jwt)
{
    if (text.len == 0 || text.len > TH_JWT_MAX)
        return TH_E_SUBJECT_MALFORMED;
    const char *end = text.ptr + text.len;
    const char *first = memchr(text.ptr, '.', text.len);
    const char *second = first != NULL ? memchr(first + 1, '.', (size_t)(end - first) - 1) : NULL;
    if (second == NULL)
        return TH_E_SUBJECT_MALFORMED;
    struct th_jwt jwt = {.signed_part = {text.ptr, (size_t)(second - text.ptr)},
                         .signature = {second + 1, (size_t)(end - second) - 1}};
    struct th_str header = {text.ptr, (size_t)(first - text.ptr)};
    struct th_str claims = {first + 1, (size_t)(second - first) - 1};
    int error = check_signature_text(jwt.signature); /* a fourth part fails here too */
    if (error == 0)
        error = parse_part(header, &jwt.header);
    if (error == 0)
        error = parse_part(claims, &jwt.claims);
    if (error != 0) {
        th_jwt_fini(&jwt);
        return error;
    }
    *ret_jwt = jwt;
    return 0;
}

void th_jwt_fini(struct th_jwt *jwt)
{
    json_decref(jwt->header);
    json_decref(jwt->claims);
    *jwt = (struct th_jwt){0};
}

int th_jwt_verify(const struct th_jwt *jwt, const struct th_key *key)
{
    /* The key says which algorithms there are; the header only chooses among them. `crit` names
     * extensions that must be understood (RFC 7515, 4.1.11), and none is. */
    enum th_alg alg = th_alg_find(th_jwt_text(jwt->header, "alg"));
    if (!th_key_fits(key, alg) || json_object_get(jwt->header, "crit") != NULL)
        return TH_E_SUBJECT_MALFORMED;
    struct th_buf signature;
    th_buf_init_secret(&signature, TH_JWT_MAX);
    int error = th_base64url_decode(&signature, jwt->signature);
    if (error == 0)
        error = th_signature_check(key, alg, jwt->signed_part, th_buf_str(&signature));
    th_buf_fini(&signature);
    return error == 0 || error == TH_E_NOMEM ? error : TH_E_SUBJECT_MALFORMED;
}

struct th_str th_jwt_text(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);
    if (!json_is_string(member))
        return (struct th_str){"", 0};
    return (struct th_str){json_string_value(member), json_string_length(member)};
}

int64_t th_jwt_time_ms(const json_t *claims, const char *name)
{
    const json_t *member = json_object_get(claims, name);
    if (!json_is_number(member))
        return -1;
    double seconds = json_number_value(member);
    if (seconds < 0)
        return 0; /* long past, which is not the same as unsaid */
    if (seconds > (double)SECONDS_MAX)
        return SECONDS_MAX * 1000;
    return (int64_t)(seconds * 1000);
}

bool th_jwt_has_audience(const json_t *claims, struct th_str audience)
{
    const json_t *aud = json_object_get(claims, "aud");
    if (json_is_string(aud))
        return th_str_equal(th_jwt_text(claims, "aud"), audience);
    for (size_t i = 0; i < json_array_size(aud); i++) { /* 0 for what is no array */
        const json_t *one = json_array_get(aud, i);
        if (json_is_string(one) &&
            th_str_equal((struct th_str){json_string_value(one), json_string_length(one)},
                         audience))
            return true;
    }
    return false;
}
