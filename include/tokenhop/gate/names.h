/* The names that a client's certificate bears, by which callers are found: a digest each, as callers have one in the
 * configuration. A certificate is that of the connection (verified by TLS), or one that a proxy before us forwards
 * in a field (http/xfcc.h). Any thread. */
#ifndef TOKENHOP_GATE_NAMES_H
#define TOKENHOP_GATE_NAMES_H

#include <openssl/x509.h>

#include "tokenhop/config/model.h"
#include "tokenhop/net/address.h"

#define TH_CALLER_NAMES_MAX 64

struct th_caller_name {
    uint8_t proof; /* enum th_caller_proof: which kind of name */
    uint8_t digest[32];
};

/* A URI to the letter, a DNS name in lower case, the subject as dn.h has it. A SPIFFE id is none where the
 * certificate has another URI beside it (X.509-SVID, 2). */
struct th_caller_names {
    size_t n;
    bool too_many; /* there are more than are looked at: it bears no name then */
    struct th_caller_name items[TH_CALLER_NAMES_MAX];
};

/* Where memory is short a name is missing: nobody is taken for another by that. */
void th_caller_names_of(X509 *certificate, struct th_caller_names *ret_names);
/* The same, of the last element of a field: 0 or TH_E_BAD_REQUEST. */
int th_caller_names_forwarded(struct th_str value, struct th_caller_names *ret_names) TH_MUST;
/* Whether the word of that peer, an address or a unix socket's, counts. */
bool th_caller_names_trusts(const struct th_config_forwarded_certificate *forwarded,
                            const struct th_address *peer);

#endif
