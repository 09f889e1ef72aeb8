/* Distinguished names (X.501): of a certificate, and as people write them (RFC 4514, "CN=agent1,O=Example"), both
 * brought to one text, so that equal bytes are equal names. Attribute types are compared whatever they are called
 * ("CN", "cn", "2.5.4.3"), the attributes of one RDN in any order; values byte for byte, as nothing more lenient
 * tells two names of one authority apart for sure. No state; any thread. */
#ifndef TOKENHOP_BASE_DN_H
#define TOKENHOP_BASE_DN_H

#include "tokenhop/base/buf.h"
#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

struct X509_name_st;

#define TH_DN_MAX 4096 /* bytes of a name that is read, and of what becomes of it */

/* Adds the text that stands for `text` to `canonical` (whose `failed` is for the caller to see). White space around
 * ',', '+' and '=' does not count (RFC 2253, 4). TH_E_CONFIG with *reterr filled for what is no such name: empty,
 * not UTF-8, an attribute type without a known name, "/CN=x". */
int th_dn_read(struct th_str text, struct th_buf *canonical, struct th_errinfo *reterr) TH_MUST;
/* The same of a certificate's. TH_E_CONFIG: it is empty, or too large. */
int th_dn_of(const struct X509_name_st *name, struct th_buf *canonical) TH_MUST;

#endif
