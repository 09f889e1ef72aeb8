/* What went wrong, in words that are fit for a problem's detail: constant texts, so that nothing
 * a peer has sent is ever part of them. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "tls_private.h"

struct row {
    int number;
    const char *reason;
};

/* Results of X509_verify_cert(). */
static const struct row certificate_rows[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, "the destination's certificate has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, "the destination's certificate is not yet valid"},
    {X509_V_ERR_HOSTNAME_MISMATCH,
     "the destination's certificate is for another name (subjectAltName)"},
    {X509_V_ERR_IP_ADDRESS_MISMATCH,
     "the destination's certificate is not for this address (subjectAltName)"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
     "the destination's certificate is self-signed and not in origin.ca_file"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
     "the destination's certificate comes from an unknown authority; origin.ca_file adds one"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
     "the destination's certificate comes from an unknown authority; origin.ca_file adds one"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
     "the destination's certificate comes from an unknown authority; origin.ca_file adds one"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
     "the destination's certificate comes from an unknown authority; origin.ca_file adds one"},
    {X509_V_ERR_INVALID_PURPOSE, "the destination's certificate is not for a server"},
    {X509_V_ERR_CERT_REVOKED, "the destination's certificate has been revoked (crl_file)"},
    {X509_V_ERR_CRL_HAS_EXPIRED,
     "whether the destination's certificate was revoked is not known: the list of its authority "
     "has run out (crl_file)"},
    {X509_V_ERR_CRL_NOT_YET_VALID,
     "whether the destination's certificate was revoked is not known: the list of its authority "
     "is not yet valid (crl_file)"},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE,
     "whether the destination's certificate was revoked is not known: the list is not its "
     "authority's (crl_file)"},
};

#define REFUSED "the destination refuses the connection's client certificate: "

/* Reasons of OpenSSL's TLS. */
static const struct row protocol_rows[] = {
    {SSL_R_WRONG_VERSION_NUMBER, "the destination does not speak TLS on this port"},
    {SSL_R_PACKET_LENGTH_TOO_LONG, "the destination does not speak TLS on this port"},
    {SSL_R_HTTP_REQUEST, "the destination does not speak TLS on this port"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "the destination speaks no TLS of version 1.2 or later"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the destination speaks no TLS of version 1.2 or later"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
     "the destination refused the TLS handshake: it accepts none of the parameters, or wants a "
     "client certificate"},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "the destination wants a client certificate"},
    {SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL,
     "the destination speaks nothing of what was offered: http/1.1 (ALPN)"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, REFUSED "it is not valid"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, REFUSED "it is of a kind that is not taken"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, REFUSED "it was revoked"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, REFUSED "it has expired"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, REFUSED "no reason is given"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, REFUSED "its authority is not known there"},
    {SSL_R_TLSV1_ALERT_ACCESS_DENIED, REFUSED "access is denied"},
    {SSL_R_TLSV1_UNRECOGNIZED_NAME, "the destination does not serve this name"},
    {SSL_R_NO_RENEGOTIATION, "the destination wants to negotiate TLS anew"},
    {SSL_R_TLSV1_ALERT_NO_RENEGOTIATION, "the destination wants to negotiate TLS anew"},
    {SSL_R_DH_KEY_TOO_SMALL, "the destination's key exchange is too weak"},
    {SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED,
     "the destination does not know secure renegotiation (RFC 5746)"},
};

/* The same of a client's side. */
static const struct row client_rows[] = {
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA,
     "the client does not trust the authority of the certificate (unknown_ca)"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the client refuses the certificate (bad_certificate)"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN,
     "the client refuses the certificate (certificate_unknown)"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
     "the client takes the certificate for expired: its clock, or ours"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "the client speaks no TLS of version 1.2 or later"},
    {SSL_R_VERSION_TOO_LOW, "the client speaks no TLS of version 1.2 or later"},
    {SSL_R_NO_SHARED_CIPHER, "the client offers no cipher that is served"},
    {SSL_R_NO_APPLICATION_PROTOCOL, "the client does not offer http/1.1 (ALPN)"},
    {SSL_R_NO_RENEGOTIATION, "the client wants to negotiate TLS anew"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the client showed no certificate"},
    {SSL_R_EE_KEY_TOO_SMALL, "the key of the client's certificate is too weak"},
    {SSL_R_CA_KEY_TOO_SMALL, "the key of an authority of the client's certificate is too weak"},
    {SSL_R_CA_MD_TOO_WEAK, "the client's certificate is signed by a weak digest"},
    {SSL_R_WRONG_VERSION_NUMBER, "the client speaks no TLS of version 1.2 or later"},
};

/* Results of X509_verify_cert() for what a client has shown. */
static const struct row client_certificate_rows[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, "the client's certificate, or one above it, has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, "the client's certificate, or one above it, is not yet valid"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
     "the client's certificate is self-signed and not in client_ca_file"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
     "the client's certificate comes from an authority that is not in client_ca_file"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
     "the client's certificate comes from an authority that is not in client_ca_file, or it did "
     "not send the ones between"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
     "the client's certificate comes from an authority that is not in client_ca_file"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
     "the client's certificate comes from an authority that is not in client_ca_file"},
    {X509_V_ERR_INVALID_PURPOSE,
     "the client's certificate does not say that it is for clients (extendedKeyUsage clientAuth)"},
    {X509_V_ERR_CERT_REVOKED, "the client's certificate has been revoked (client_crl_file)"},
    {X509_V_ERR_CRL_HAS_EXPIRED,
     "whether the client's certificate was revoked is not known: the list of its authority has run "
     "out (client_crl_file)"},
    {X509_V_ERR_CRL_NOT_YET_VALID,
     "whether the client's certificate was revoked is not known: the list of its authority is not "
     "yet valid (client_crl_file)"},
    {X509_V_ERR_CRL_SIGNATURE_FAILURE,
     "whether the client's certificate was revoked is not known: the list is not its authority's "
     "(client_crl_file)"},
};

static const char *find(const struct row *rows, size_t n, int number)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].number == number)
            return rows[i].reason;
    return NULL;
}

static const char *certificate_reason(long result)
{
    const char *reason = find(certificate_rows, TH_COUNT_OF(certificate_rows), (int)result);

    return reason != NULL ? reason : X509_verify_cert_error_string(result);
}

static const char *protocol_reason(unsigned long code, bool handshaking)
{
    int number = ERR_GET_REASON(code);
    const char *reason = NULL;

    if (ERR_GET_LIB(code) == ERR_LIB_SSL)
        reason = find(protocol_rows, TH_COUNT_OF(protocol_rows), number);
    if (reason != NULL)
        return reason;
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && number >= SSL_AD_REASON_OFFSET)
        return handshaking ? "the destination refused the TLS handshake"
                           : "the destination ended TLS by an alert";
    return handshaking ? "the TLS handshake failed" : "what the destination sent is not valid TLS";
}

int th_tls_fail_because(struct th_tls *tls, int error, const char *reason)
{
    struct th_stream *stream = tls->stream;

    tls->error = error;
    tls->reason = reason;
    stream->handshaking = false;
    stream->broken = true;
    stream->readable = false;
    stream->writable = false;
    ERR_clear_error();
    return error;
}

static const char *client_reason(unsigned long code, bool handshaking, long result)
{
    const char *reason = NULL;

    if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
        ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        reason = find(client_certificate_rows, TH_COUNT_OF(client_certificate_rows), (int)result);
        return reason != NULL ? reason : X509_verify_cert_error_string(result);
    }

    if (ERR_GET_LIB(code) == ERR_LIB_SSL)
        reason = find(client_rows, TH_COUNT_OF(client_rows), ERR_GET_REASON(code));
    if (reason != NULL)
        return reason;
    return handshaking ? "the TLS handshake failed" : "what the client sent is not valid TLS";
}

/* The server's side. */
static int fail_client(struct th_tls *tls, unsigned long code)
{
    bool handshaking = tls->stream->handshaking;

    if (tls->ended || tls->recv_errno != 0 || tls->send_errno != 0) {
        int number = tls->recv_errno != 0 ? tls->recv_errno : ECONNRESET;
        return handshaking
                   ? th_tls_fail_because(tls, TH_E_CLIENT_TLS,
                                         "the client closed the connection in the TLS handshake")
                   : th_tls_fail_because(tls, th_error_from_origin_errno(number), NULL);
    }
    return th_tls_fail_because(tls, TH_E_CLIENT_TLS,
                               client_reason(code, handshaking, SSL_get_verify_result(tls->ssl)));
}

static uint8_t alert_of(unsigned long code)
{
    int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;

    return ERR_GET_LIB(code) == ERR_LIB_SSL && alert > 0 && alert < 256 ? (uint8_t)alert : 0;
}

int th_tls_fail_endless(struct th_tls *tls)
{
    if (tls->server != NULL)
        return th_tls_fail_because(tls, TH_E_CLIENT_TLS,
                                   "the client sends TLS records without end and no data");
    return th_tls_fail_because(tls, TH_E_ORIGIN_TLS_PROTOCOL,
                               "the destination sends TLS records without end and no data");
}

int th_tls_fail(struct th_tls *tls)
{
    unsigned long code = ERR_peek_error();
    long result = SSL_get_verify_result(tls->ssl);
    bool handshaking = tls->stream->handshaking;

    tls->alert = alert_of(code);
    if (ERR_GET_REASON(code) != ERR_R_MALLOC_FAILURE && tls->server != NULL)
        return fail_client(tls, code);
    if (handshaking && result != X509_V_OK)
        return th_tls_fail_because(tls, TH_E_ORIGIN_TLS, certificate_reason(result));
    if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
        return th_tls_fail_because(tls, TH_E_NOMEM, NULL);
    if (tls->ended || tls->recv_errno != 0 || tls->send_errno != 0) {
        if (handshaking)
            return th_tls_fail_because(
                tls, TH_E_ORIGIN_TLS_PROTOCOL,
                "the destination closed the connection in the TLS handshake");
        int number = tls->recv_errno != 0 ? tls->recv_errno : ECONNRESET;
        return th_tls_fail_because(tls, th_error_from_origin_errno(number),
                                   tls->ended ? "TLS was cut off without a farewell" : NULL);
    }
    return th_tls_fail_because(tls, TH_E_ORIGIN_TLS_PROTOCOL, protocol_reason(code, handshaking));
}
