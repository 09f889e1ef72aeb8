/* Self-signed certificates of clients, FOLDER/NAME.crt: what Entra has registered of an app. */
#ifndef TOKENHOP_SRC_SANDBOX_CERTIFICATE_H
#define TOKENHOP_SRC_SANDBOX_CERTIFICATE_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "tokenhop/base/error.h"

/* Reads it, or makes it for the private key in `key_file`. The digests are base64url of SHA-1 and SHA-256
 * of the DER (RFC 7515, 4.1.7 and 4.1.8). */
int th_sandbox_certificate_open(const char *folder, const char *name, const char *key_file,
                                char ret_x5t[28], char ret_x5t_s256[44], char **ret_file,
                                struct th_errinfo *reterr) TH_MUST;
/* Whether it is of the private key in `key_file`. */
bool th_sandbox_certificate_is_of(const X509 *certificate, const char *key_file);
void th_sandbox_certificate_close(char **file, bool remove_file);

#endif
