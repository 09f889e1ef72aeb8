/* What making a certificate takes, whoever it is for. Private to the room. */
#ifndef TOKENHOP_SRC_INTERCEPT_CERTIFICATE_H
#define TOKENHOP_SRC_INTERCEPT_CERTIFICATE_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/error.h"

#define TH_SERIAL_LEN 16 /* 128 bits, all of them random but the first, which keeps it positive */

bool th_certificate_set_serial(X509 *certificate, uint8_t ret_serial[TH_SERIAL_LEN]) TH_MUST;
bool th_certificate_set_validity(X509 *certificate, int64_t from_s, int64_t to_s) TH_MUST;
/* As openssl.cnf has it. */
bool th_certificate_add_extension(X509 *certificate, X509 *issuer, int nid,
                                  const char *value) TH_MUST;

#endif
