#include "certificate.h"

#include <openssl/x509v3.h>

#include "tokenhop/base/random.h"

bool th_certificate_set_serial(X509 *certificate, uint8_t ret_serial[TH_SERIAL_LEN])
{
    th_random_bytes(ret_serial, TH_SERIAL_LEN);
    ret_serial[0] =
        (uint8_t)((ret_serial[0] & 0x7f) | 0x40); /* positive, and always of one length */
    BIGNUM *number = BN_bin2bn(ret_serial, TH_SERIAL_LEN, NULL);
    bool fine =
        number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return fine;
}

bool th_certificate_set_validity(X509 *certificate, int64_t from_s, int64_t to_s)
{
    return ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)from_s) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)to_s) != NULL;
}

bool th_certificate_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool fine = extension != NULL && X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return fine;
}
