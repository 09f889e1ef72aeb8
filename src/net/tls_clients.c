/* Which clients the server's side accepts by their certificates, and for how long a session stands for one. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "tls_private.h"

/* How long after a certificate was verified its session may be taken up: what is revoked or expires meanwhile
 * is not seen. */
#define SESSION_MAX_S 3600

static int bad(struct th_errinfo *reterr, const char *mend, const char *what)
{
    return th_errinfo_set(reterr, TH_E_CONFIG, NULL, mend, "%s", what);
}

/* --- whom --- */

/* RFC 5280, 4.2.1.12: without the extension a certificate is for anything, and so for the TLS of a server too:
 * it was not made to say who somebody is. */
static bool is_for_clients(X509 *certificate)
{
    return (X509_get_extension_flags(certificate) & EXFLAG_XKUSAGE) != 0 &&
           (X509_get_extended_key_usage(certificate) & XKU_SSL_CLIENT) != 0;
}

/* An authority without a list is as if nobody looked (tls_context.c). */
static int on_verified(int ok, X509_STORE_CTX *ctx)
{
    if (!ok && X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNABLE_TO_GET_CRL) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        ok = 1;
    }
    if (ok && X509_STORE_CTX_get_error_depth(ctx) == 0 &&
        !is_for_clients(X509_STORE_CTX_get_current_cert(ctx))) {
        X509_STORE_CTX_set_error(ctx, X509_V_ERR_INVALID_PURPOSE);
        ok = 0;
    }
    return ok;
}

static BIO *open_text(struct th_str text)
{
    return BIO_new_mem_buf(text.len > 0 ? text.ptr : "", (int)text.len);
}

/* Whether the last PEM_read_* has found the end, and nothing that it could not read. */
static bool was_at_end(void)
{
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;

    ERR_clear_error();
    return at_end;
}

/* A client chooses its certificate by the authorities that it is told of (RFC 8446, 4.2.4). */
static int add_authorities(SSL_CTX *ctx, X509_STORE *store, struct th_str text,
                           struct th_errinfo *reterr)
{
    BIO *bio = open_text(text);
    X509 *authority;
    bool fine = bio != NULL;
    size_t n = 0;

    while (fine &&
           (authority = PEM_read_bio_X509(bio, NULL, NULL, (void *)(uintptr_t) "")) != NULL) {
        fine = X509_STORE_add_cert(store, authority) == 1 &&
               SSL_CTX_add_client_CA(ctx, authority) == 1;
        X509_free(authority);
        n++;
    }
    BIO_free(bio);
    if (!fine)
        return TH_E_NOMEM;
    if (!was_at_end() || n == 0)
        return bad(reterr, "name a file of PEM certificates",
                   "the file holds no certificate in PEM form, or one that cannot be read");
    return 0;
}

static int add_lists(X509_STORE *store, struct th_str text, struct th_errinfo *reterr)
{
    BIO *bio = open_text(text);
    X509_CRL *list;
    bool fine = bio != NULL;
    size_t n = 0;

    while (fine &&
           (list = PEM_read_bio_X509_CRL(bio, NULL, NULL, (void *)(uintptr_t) "")) != NULL) {
        fine = X509_STORE_add_crl(store, list) == 1;
        X509_CRL_free(list);
        n++;
    }
    BIO_free(bio);
    if (!fine)
        return TH_E_NOMEM;
    if (!was_at_end() || n == 0)
        return bad(reterr, "name a file of PEM revocation lists",
                   "the file holds no revocation list in PEM form, or one that cannot be read");
    return 0;
}

static int fill_store(SSL_CTX *ctx, X509_STORE *store,
                      const struct th_tls_server_settings *settings, struct th_errinfo *reterr)
{
    /* As for destinations: a certificate of the file is trusted also when it is no root. */
    unsigned long flags = X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN;
    int error = add_authorities(ctx, store, settings->client_authorities, reterr);

    if (error == 0 && settings->client_lists.len > 0) {
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
        error = add_lists(store, settings->client_lists, reterr);
    }
    return error == 0 && !X509_STORE_set_flags(store, flags) ? TH_E_NOMEM : error;
}

/* --- for how long --- */

int64_t th_tls_seconds_of(const ASN1_TIME *time)
{
    struct tm tm = {0};

    return ASN1_TIME_to_tm(time, &tm) ? (int64_t)timegm(&tm) : 0;
}

int64_t th_tls_earliest_end(const STACK_OF(X509) * chain)
{
    int64_t end = INT64_MAX;

    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t until = th_tls_seconds_of(X509_get0_notAfter(sk_X509_value(chain, i)));
        end = until < end ? until : end;
    }
    return end;
}

/* A ticket bears the time until which what was verified holds. Who takes a session up gets another ticket,
 * which bears the same time, so that nobody goes on for ever by one handshake. */
static int on_ticket_made(SSL *ssl, void *arg)
{
    SSL_SESSION *session = SSL_get_session(ssl);
    int64_t of_chain = th_tls_earliest_end(SSL_get0_verified_chain(ssl)); /* NULL: no certificate */
    int64_t end = (int64_t)time(NULL) + SESSION_MAX_S;
    void *known;
    size_t len;

    (void)arg;
    if (SSL_session_reused(ssl) && SSL_SESSION_get0_ticket_appdata(session, &known, &len) == 1 &&
        len == sizeof(end))
        return 1;
    if (of_chain < end)
        end = of_chain;
    return SSL_SESSION_set1_ticket_appdata(session, &end, sizeof(end));
}

static SSL_TICKET_RETURN on_ticket_read(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                        size_t name_len, SSL_TICKET_STATUS status, void *arg)
{
    int64_t end = 0;
    void *known;
    size_t len;

    (void)ssl, (void)name, (void)name_len, (void)arg;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (SSL_SESSION_get0_ticket_appdata(session, &known, &len) == 1 && len == sizeof(end))
        memcpy(&end, known, sizeof(end));
    if (end <= (int64_t)time(NULL))
        return SSL_TICKET_RETURN_IGNORE_RENEW; /* the whole handshake, and the certificate again */
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/* --- all of it --- */

int th_tls_ask_clients(SSL_CTX *ctx, const struct th_tls_server_settings *settings,
                       struct th_errinfo *reterr)
{
    X509_STORE *store;
    int mode = SSL_VERIFY_PEER;

    if (settings->clients == TH_TLS_CLIENTS_ANY)
        return 0;
    if (settings->clients == TH_TLS_CLIENTS_MUST_SHOW)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    store = X509_STORE_new();
    if (store == NULL)
        return TH_E_NOMEM;
    SSL_CTX_set_cert_store(ctx, store); /* in place of the empty one; the context's from now on */
    SSL_CTX_set_verify(ctx, mode, on_verified);
    if (SSL_CTX_set_session_ticket_cb(ctx, on_ticket_made, on_ticket_read, NULL) != 1)
        return TH_E_NOMEM;
    return fill_store(ctx, store, settings, reterr);
}

int64_t th_stream_tls_client_until(const struct th_stream *stream)
{
    X509 *client = th_stream_tls_client(stream);
    const struct th_tls *tls = stream->layer;

    if (client == NULL)
        return INT64_MAX;
    int64_t end = th_tls_seconds_of(
        X509_get0_notAfter(client)); /* of a session that was taken up this is all there is */
    int64_t of_chain = th_tls_earliest_end(SSL_get0_verified_chain(tls->ssl));
    return of_chain < end ? of_chain : end;
}
