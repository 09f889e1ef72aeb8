/* The first message of a TLS client, looked into before anything is answered: which server it means to
 * speak with (RFC 8446, 4.1.2; RFC 6066, 3; RFC 7301). No allocation; any thread. */
#ifndef TOKENHOP_INTERCEPT_HELLO_H
#define TOKENHOP_INTERCEPT_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/str.h"

#define TH_HELLO_MAX 16384 /* bytes, record headers included */
#define TH_HELLO_NAME_MAX 255

struct th_hello {
    bool has_name;
    uint8_t name_len;
    char name[TH_HELLO_NAME_MAX + 1]; /* as it was sent, ended by a NUL */
    bool has_protocols;               /* ALPN */
    bool offers_http11;
    bool offers_h2;
};

/* `bytes` are all that has come so far, in however many records. 0; TH_AGAIN where the message is not
 * whole; TH_E_BAD_REQUEST where it is none, is malformed, or cannot be whole in TH_HELLO_MAX. */
int th_hello_parse(const void *bytes, size_t len, struct th_hello *ret_hello) TH_MUST;

#endif
