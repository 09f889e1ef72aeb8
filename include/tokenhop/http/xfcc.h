/* X-Forwarded-Client-Cert, as Envoy writes it: a proxy that has ended the TLS of its client says by which certificate
 * that was. One element a proxy, the nearest last, parted by commas; in it pairs of a key and a value, parted by
 * semicolons:
 *
 *     By=spiffe://mesh/ns/a/sa/b;Hash=4f2a...;Subject="CN=agent1,O=Example";URI=spiffe://mesh/ns/a/sa/agent1
 *
 * There is no standard; this is read strictly, as what stands before the last element is what somebody else has sent,
 * and must not be taken for the word of the one who appended to it. No allocation; any thread. */
#ifndef TOKENHOP_HTTP_XFCC_H
#define TOKENHOP_HTTP_XFCC_H

#include <stdbool.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

enum th_xfcc_key {
    TH_XFCC_OTHER, /* By, Hash, Cert, Chain, and what is not known */
    TH_XFCC_SUBJECT,
    TH_XFCC_URI, /* may come several times, as DNS */
    TH_XFCC_DNS
};

struct th_xfcc_pair {
    enum th_xfcc_key key;
    struct th_str
        value; /* without the quotes around it; a backslash and what it escapes stay as they are */
};

/* The last element of the whole field's value: 0, or TH_E_BAD_REQUEST where any part of the value is malformed: a key
 * that is not letters, an empty element, a bare quote, control or (unquoted) white space, more behind a closing
 * quote, a quote that nothing closes, Hash, Cert, Chain or Subject twice in one element. Values may be empty. */
int th_xfcc_find_last(struct th_str value, struct th_str *ret_element) TH_MUST;
/* Takes the next pair off an element that the above has found; false: there is none. */
bool th_xfcc_next(struct th_str *rest, struct th_xfcc_pair *ret_pair);

#endif
