#include "certificate.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <unistd.h>

#include "keys.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/mem.h"

#define LIFETIME_SECONDS (10L * 365 * 86400)

static EVP_PKEY *read_key(const char *file)
{
    FILE *in = fopen(file, "re");
    EVP_PKEY *key = in != NULL ? PEM_read_PrivateKey(in, NULL, NULL, NULL) : NULL;
    if (in != NULL)
        (void)fclose(in);
    return key;
}

bool th_sandbox_certificate_is_of(const X509 *certificate, const char *key_file)
{
    EVP_PKEY *key = read_key(key_file);
    const EVP_PKEY *own = X509_get0_pubkey(certificate);
    bool is_same = key != NULL && own != NULL && EVP_PKEY_eq(key, own) == 1;
    EVP_PKEY_free(key);
    return is_same;
}

static bool fill(X509 *certificate, EVP_PKEY *key, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    return X509_set_version(certificate, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -60) != NULL &&
           X509_gmtime_adj(X509_getm_notAfter(certificate), LIFETIME_SECONDS) != NULL &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                                      -1, 0) == 1 &&
           X509_set_issuer_name(certificate, subject) == 1 &&
           X509_set_pubkey(certificate, key) == 1 && X509_sign(certificate, key, EVP_sha256()) > 0;
}

static int write_pem(X509 *certificate, const char *file, struct th_errinfo *reterr)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    int e = TH_E_NOMEM;
    if (bio != NULL && PEM_write_bio_X509(bio, certificate) == 1) {
        long len = BIO_get_mem_data(bio, &text);
        e = th_sandbox_publish(file, (struct th_str){text, (size_t)len}, reterr);
    }
    BIO_free(bio);
    return e;
}

static int make(const char *file, const char *name, const char *key_file, struct th_errinfo *reterr)
{
    EVP_PKEY *key = read_key(key_file);
    X509 *certificate = X509_new();
    int e = key != NULL && certificate != NULL && fill(certificate, key, name)
                ? write_pem(certificate, file, reterr)
                : th_errinfo_set(reterr, TH_E_INTERNAL, file, NULL, "cannot make a certificate");
    X509_free(certificate);
    EVP_PKEY_free(key);
    return e;
}

static bool digest(const X509 *certificate, const EVP_MD *algorithm, char *ret_text, size_t size)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct th_buf text;
    if (X509_digest(certificate, algorithm, bytes, &len) != 1)
        return false;
    th_buf_init(&text, size);
    th_base64url_encode(&text, bytes, len);
    bool fine = !text.failed && text.len < size;
    if (fine)
        memcpy(ret_text, text.ptr, text.len + 1);
    th_buf_fini(&text);
    return fine;
}

int th_sandbox_certificate_open(const char *folder, const char *name, const char *key_file,
                                char ret_x5t[28], char ret_x5t_s256[44], char **ret_file,
                                struct th_errinfo *reterr)
{
    size_t size = strlen(folder) + strlen(name) + sizeof "/.crt";
    TH_CLEANUP(th_freep) char *file = th_malloc(size);
    if (file == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
    snprintf(file, size, "%s/%s.crt", folder, name);
    int e = access(file, F_OK) != 0 ? make(file, name, key_file, reterr) : 0;
    FILE *in = e == 0 ? fopen(file, "re") : NULL;
    X509 *certificate = in != NULL ? PEM_read_X509(in, NULL, NULL, NULL) : NULL;
    if (in != NULL)
        (void)fclose(in);
    if (e == 0 && (certificate == NULL || !digest(certificate, EVP_sha1(), ret_x5t, 28) ||
                   !digest(certificate, EVP_sha256(), ret_x5t_s256, 44)))
        e = th_errinfo_set(reterr, TH_E_CONFIG, file, "delete it, and a new one is made",
                           "holds no certificate");
    X509_free(certificate);
    if (e == 0)
        *ret_file = th_take(&file);
    return e;
}

void th_sandbox_certificate_close(char **file, bool remove_file)
{
    if (remove_file && *file != NULL)
        unlink(*file);
    th_free(*file);
    *file = NULL;
}
