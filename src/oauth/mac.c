#include "tokenhop/oauth/mac.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "jwt_parts.h"
#include "tokenhop/base/check.h"

static const struct mac_row {
    struct th_str name;
    const char *digest;
    size_t len;
} rows[] = {
    [TH_MAC_NONE] = {.name = {"", 0}},
    [TH_MAC_HS256] = {TH_STR("HS256"), "SHA256", 32},
    [TH_MAC_HS384] = {TH_STR("HS384"), "SHA384", 48},
    [TH_MAC_HS512] = {TH_STR("HS512"), "SHA512", 64},
};

enum th_mac th_mac_find(struct th_str name)
{
    for (size_t i = TH_MAC_NONE + 1; i < TH_COUNT_OF(rows); i++) {
        if (th_str_equal(rows[i].name, name))
            return (enum th_mac)i;
    }
    return TH_MAC_NONE;
}

struct th_str th_mac_name(enum th_mac mac)
{
    return rows[mac].name;
}

static int make(const struct th_secret *secret, enum th_mac mac, struct th_str bytes,
                unsigned char ret_mac[EVP_MAX_MD_SIZE])
{
    const struct mac_row *row = &rows[mac];
    struct th_str key = th_secret_expose(secret);
    size_t len = 0;
    if (mac == TH_MAC_NONE || key.len < row->len)
        return TH_E_CONFIG;
    ERR_clear_error();
    if (EVP_Q_mac(NULL, "HMAC", NULL, row->digest, NULL, key.ptr, key.len,
                  (const unsigned char *)bytes.ptr, bytes.len, ret_mac, EVP_MAX_MD_SIZE,
                  &len) == NULL ||
        len != row->len) {
        ERR_clear_error();
        return TH_E_NOMEM; /* a known digest and a fit key: nothing else is left */
    }
    return 0;
}

int th_jwt_sign_mac(const struct th_secret *secret, enum th_mac mac, struct th_str typ,
                    const json_t *claims, struct th_secret **ret_token)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    const struct th_jws_header header = {.typ = typ};
    struct th_buf token;
    th_buf_init_secret(&token, 2 * TH_JWT_MAX);
    int error = th_jwt_add_signed_part(&token, rows[mac].name, &header, claims);
    if (error == 0)
        error = make(secret, mac, th_buf_str(&token), bytes);
    if (error == 0)
        error = th_jwt_finish(&token, (struct th_str){(char *)bytes, rows[mac].len}, ret_token);
    th_buf_fini(&token);
    return error;
}

int th_jwt_verify_mac(const struct th_jwt *jwt, const struct th_secret *secret)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    enum th_mac mac = th_mac_find(th_jwt_text(jwt->header, "alg"));
    if (mac == TH_MAC_NONE || json_object_get(jwt->header, "crit") != NULL)
        return TH_E_SUBJECT_MALFORMED;
    struct th_buf signature;
    th_buf_init_secret(&signature, TH_JWT_MAX);
    int error = th_base64url_decode(&signature, jwt->signature);
    if (error == 0)
        error = make(secret, mac, jwt->signed_part, bytes);
    if (error == 0 && (signature.len != rows[mac].len ||
                       !th_secret_equal_bytes(signature.ptr, bytes, signature.len)))
        error = TH_E_SUBJECT_MALFORMED;
    th_buf_fini(&signature);
    return error == 0 || error == TH_E_NOMEM ? error : TH_E_SUBJECT_MALFORMED;
}
