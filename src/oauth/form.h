/* The form of a request to a token endpoint: application/x-www-form-urlencoded, every name and value
 * encoded by itself (R12). `form` is a secret buffer, as tokens are among the values. */
#ifndef TOKENHOP_SRC_OAUTH_FORM_H
#define TOKENHOP_SRC_OAUTH_FORM_H

#include "tokenhop/base/buf.h"

#define TH_FORM_CONTENT_TYPE TH_STR("application/x-www-form-urlencoded")

/* Adds "name=value", parted from what is there; nothing at all when the value is empty, as servers
 * must take that for the same (RFC 6749, 3.2) and some do not. */
void th_form_add(struct th_buf *form, struct th_str name, struct th_str value);

/* One name or value by itself, for client_secret_basic too (RFC 6749, 2.3.1). */
void th_form_encode(struct th_buf *out, struct th_str text);

#endif
