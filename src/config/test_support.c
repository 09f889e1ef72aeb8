#include "test_support.h"

#include <ftw.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenhop/base/check.h"

char *test_folder_new(void)
{
    const char *base = getenv("TMPDIR");
    char *folder;
    TH_REQUIRE(asprintf(&folder, "%s/tokenhop-config-XXXXXX", base != NULL ? base : "/tmp") > 0);
    TH_REQUIRE(mkdtemp(folder) != NULL);
    return folder;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void test_folder_remove(char *folder)
{
    TH_REQUIRE(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
    free(folder);
}

static FILE *create(const char *folder, const char *name, unsigned mode)
{
    char path[1024];
    int len = snprintf(path, sizeof(path), "%s/%s", folder, name);
    TH_REQUIRE(len > 0 && (size_t)len < sizeof(path));
    for (char *slash = strchr(path + strlen(folder) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    TH_REQUIRE(file != NULL && fchmod(fileno(file), mode) == 0);
    return file;
}

void test_write_file(const char *folder, const char *name, const char *text, unsigned mode)
{
    FILE *file = create(folder, name, mode);
    TH_REQUIRE(fputs(text, file) >= 0 && fclose(file) == 0);
}

static EVP_PKEY *make_key(unsigned bits, const char *curve)
{
    EVP_PKEY *key = bits > 0 ? EVP_RSA_gen(bits) : EVP_EC_gen(curve);
    TH_REQUIRE(key != NULL);
    return key;
}

void test_write_pem(const char *folder, const char *name, unsigned bits, const char *curve)
{
    EVP_PKEY *key = make_key(bits, curve);
    FILE *file = create(folder, name, 0600);
    TH_REQUIRE(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
               fclose(file) == 0);
    EVP_PKEY_free(key);
}

void test_write_ed25519(const char *folder, const char *name)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    FILE *file = create(folder, name, 0600);
    TH_REQUIRE(key != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
               fclose(file) == 0);
    EVP_PKEY_free(key);
}

void test_write_encrypted_pem(const char *folder, const char *name)
{
    EVP_PKEY *key = make_key(0, "P-256");
    FILE *file = create(folder, name, 0600);
    TH_REQUIRE(PEM_write_PrivateKey(file, key, EVP_aes_128_cbc(), (const unsigned char *)"pw", 2,
                                    NULL, NULL) == 1 &&
               fclose(file) == 0);
    EVP_PKEY_free(key);
}

void test_write_public_pem(const char *folder, const char *name, unsigned bits)
{
    EVP_PKEY *key = make_key(bits, NULL);
    FILE *file = create(folder, name, 0600);
    TH_REQUIRE(PEM_write_PUBKEY(file, key) == 1 && fclose(file) == 0);
    EVP_PKEY_free(key);
}

static void write_member(FILE *file, const EVP_PKEY *key, const char *name, const char *parameter,
                         int width)
{
    unsigned char bytes[1024], text[1500];
    BIGNUM *number = NULL;
    TH_REQUIRE(EVP_PKEY_get_bn_param(key, parameter, &number) == 1);
    if (width == 0)
        width = BN_num_bytes(number);
    TH_REQUIRE(BN_bn2binpad(number, bytes, width) == width);
    BN_clear_free(number);
    int len = EVP_EncodeBlock(text, bytes, width);
    while (len > 0 && text[len - 1] == '=')
        len--;
    for (int i = 0; i < len; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    fprintf(file, ",\"%s\":\"%.*s\"", name, len, (char *)text);
}

static void write_jwk(const char *folder, const char *name, const EVP_PKEY *key, unsigned bits,
                      const char *curve)
{
    FILE *file = create(folder, name, 0600);
    if (bits > 0) {
        static const char *const members[][2] = {
            {"n", OSSL_PKEY_PARAM_RSA_N},          {"e", OSSL_PKEY_PARAM_RSA_E},
            {"d", OSSL_PKEY_PARAM_RSA_D},          {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
            {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
            {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1}};
        fprintf(file, "{\"kty\":\"RSA\"");
        for (size_t i = 0; i < TH_COUNT_OF(members); i++)
            write_member(file, key, members[i][0], members[i][1], 0);
    } else {
        int width = (EVP_PKEY_get_bits(key) + 7) / 8;
        fprintf(file, "{\"kty\":\"EC\",\"crv\":\"%s\"", curve);
        write_member(file, key, "x", OSSL_PKEY_PARAM_EC_PUB_X, width);
        write_member(file, key, "y", OSSL_PKEY_PARAM_EC_PUB_Y, width);
        write_member(file, key, "d", OSSL_PKEY_PARAM_PRIV_KEY, width);
    }
    TH_REQUIRE(fprintf(file, "}\n") > 0 && fclose(file) == 0);
}

void test_write_jwk(const char *folder, const char *name, unsigned bits, const char *curve)
{
    EVP_PKEY *key = make_key(bits, curve);
    write_jwk(folder, name, key, bits, curve);
    EVP_PKEY_free(key);
}

void test_write_jwk_pair(const char *folder, const char *jwk, const char *pem, unsigned bits,
                         const char *curve)
{
    EVP_PKEY *key = make_key(bits, curve);
    FILE *file = create(folder, pem, 0600);
    TH_REQUIRE(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
               fclose(file) == 0);
    write_jwk(folder, jwk, key, bits, curve);
    EVP_PKEY_free(key);
}

void test_write_certificate(const char *folder, const char *name)
{
    EVP_PKEY *key = make_key(0, "P-256");
    X509 *certificate = X509_new();
    FILE *file = create(folder, name, 0644);
    TH_REQUIRE(X509_set_pubkey(certificate, key) == 1);
    TH_REQUIRE(X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != NULL);
    TH_REQUIRE(X509_gmtime_adj(X509_getm_notAfter(certificate), 3600) != NULL);
    TH_REQUIRE(X509_sign(certificate, key, EVP_sha256()) > 0);
    TH_REQUIRE(PEM_write_X509(file, certificate) == 1 && fclose(file) == 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

void test_write_authority(const char *folder, const char *name, const char *key_name)
{
    EVP_PKEY *key = make_key(0, "P-256");
    X509 *certificate = X509_new();
    FILE *file = create(folder, name, 0644), *key_file = create(folder, key_name, 0600);
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    TH_REQUIRE(extension != NULL && X509_set_version(certificate, X509_VERSION_3) == 1 &&
               X509_add_ext(certificate, extension, -1) == 1);
    TH_REQUIRE(X509_set_pubkey(certificate, key) == 1);
    TH_REQUIRE(X509_gmtime_adj(X509_getm_notBefore(certificate), -60) != NULL);
    TH_REQUIRE(X509_gmtime_adj(X509_getm_notAfter(certificate), 3600) != NULL);
    TH_REQUIRE(X509_sign(certificate, key, EVP_sha256()) > 0);
    TH_REQUIRE(PEM_write_X509(file, certificate) == 1 && fclose(file) == 0);
    TH_REQUIRE(PEM_write_PrivateKey(key_file, key, NULL, NULL, 0, NULL, NULL) == 1 &&
               fclose(key_file) == 0);
    X509_EXTENSION_free(extension);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

char *test_read_file(const char *path, size_t *ret_len)
{
    struct stat st;
    FILE *file = fopen(path, "r");
    TH_REQUIRE(file != NULL && fstat(fileno(file), &st) == 0);
    char *text = malloc((size_t)st.st_size + 1);
    TH_REQUIRE(text != NULL && fread(text, 1, (size_t)st.st_size, file) == (size_t)st.st_size);
    text[st.st_size] = '\0';
    *ret_len = (size_t)st.st_size;
    fclose(file);
    return text;
}
