/* TLS for a port of the sandbox: a certificate for its address, made at start, from an authority that was
 * made for it. */
#ifndef TOKENHOP_SRC_SANDBOX_WEB_TLS_H
#define TOKENHOP_SRC_SANDBOX_WEB_TLS_H

#include <event2/http.h>
#include <openssl/ssl.h>

#include "tokenhop/base/error.h"

struct th_web_tls {
    SSL_CTX *ctx; /* NULL: not made */
    char ca_file[512];
};

/* The authority's certificate goes to `ca_name` in `folder`; its key nowhere. `url` (may be NULL): its
 * host is one more name of the certificate. `asks`: clients may show a certificate, whoever made it. */
int th_web_tls_init(struct th_web_tls *tls, const char *folder, const char *ca_name,
                    const char *address, const char *url, bool asks,
                    struct th_errinfo *reterr) TH_MUST;
/* What the client of a request has shown; NULL: nothing, or it came in clear. Borrowed. */
const X509 *th_web_tls_peer(struct evhttp_request *request);
/* Zeroed is fine. `forget`: the file goes too. */
void th_web_tls_fini(struct th_web_tls *tls, bool forget);
/* What the server accepts from now on speaks TLS. */
void th_web_tls_use(struct th_web_tls *tls, struct evhttp *http);

#endif
