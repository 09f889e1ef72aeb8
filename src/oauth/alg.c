#include "key.h"

static const struct th_alg_row rows[] = {
    [TH_JWS_NONE] = {.name = {"", 0}},
    [TH_JWS_RS256] = {TH_STR("RS256"), TH_KEY_RSA, "SHA256", false, 0},
    [TH_JWS_RS384] = {TH_STR("RS384"), TH_KEY_RSA, "SHA384", false, 0},
    [TH_JWS_RS512] = {TH_STR("RS512"), TH_KEY_RSA, "SHA512", false, 0},
    [TH_JWS_PS256] = {TH_STR("PS256"), TH_KEY_RSA, "SHA256", true, 0},
    [TH_JWS_PS384] = {TH_STR("PS384"), TH_KEY_RSA, "SHA384", true, 0},
    [TH_JWS_PS512] = {TH_STR("PS512"), TH_KEY_RSA, "SHA512", true, 0},
    [TH_JWS_ES256] = {TH_STR("ES256"), TH_KEY_P256, "SHA256", false, 32},
    [TH_JWS_ES384] = {TH_STR("ES384"), TH_KEY_P384, "SHA384", false, 48},
    [TH_JWS_ES512] = {TH_STR("ES512"), TH_KEY_P521, "SHA512", false, 66},
    [TH_JWS_EDDSA] = {TH_STR("EdDSA"), TH_KEY_ED25519, NULL, false, 0},
};

static const struct th_curve_row curves[TH_KEY_KINDS] = {
    [TH_KEY_RSA] = {NULL, NULL, 0},
    [TH_KEY_P256] = {"P-256", "prime256v1", 32},
    [TH_KEY_P384] = {"P-384", "secp384r1", 48},
    [TH_KEY_P521] = {"P-521", "secp521r1", 66},
    [TH_KEY_ED25519] = {"Ed25519", NULL, 32},
};

const struct th_alg_row *th_alg_row(enum th_alg alg)
{
    return &rows[alg];
}

const struct th_curve_row *th_curve_row(enum th_key_kind kind)
{
    return &curves[kind];
}

enum th_alg th_alg_find(struct th_str name)
{
    for (size_t i = TH_JWS_NONE + 1; i < TH_COUNT_OF(rows); i++) {
        if (th_str_equal(rows[i].name, name))
            return (enum th_alg)i;
    }
    return TH_JWS_NONE;
}

struct th_str th_alg_name(enum th_alg alg)
{
    return rows[alg].name;
}
