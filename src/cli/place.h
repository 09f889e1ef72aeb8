/* Where an agent finds the proxy. Main thread. Private to the room. */
#ifndef TOKENHOP_CLI_PLACE_H
#define TOKENHOP_CLI_PLACE_H

#include <stdbool.h>

#include "tokenhop/config/model.h"

/* Where the proxy is, and how it is asked. */
struct th_proxy_place {
    char host[256]; /* without brackets */
    unsigned port;
    bool is_https;
    /* "http://user:password@host:port": what a child's variables have. */
    struct th_secret *url;
    bool has_password;
    const char *direct; /* hosts that are called without it, by commas; may be empty */
    /* Variables that the agent does not get: each ends with NUL, and after the last is one more. */
    const char *withheld;
};

/* Fills in host and port: of the listener, an address that everybody listens on as loopback, unless `text` (may be
 * NULL) says otherwise: "HOST", "HOST:PORT", "[ADDRESS]:PORT". TH_E_CONFIG where no variable could say it. */
int th_place_find(const struct th_config_listener *listener, const char *text,
                  struct th_proxy_place *place, struct th_errinfo *reterr) TH_MUST;
/* Fills in the URL, of what is filled in; `password` NULL: without. TH_E_NOMEM. */
int th_place_make_url(struct th_proxy_place *place, struct th_str user,
                      const struct th_secret *password) TH_MUST;
/* Whether somebody accepts connections there; true also where that cannot be known. Takes half a second at
 * most. */
bool th_place_is_accepting(const struct th_proxy_place *place);

#endif
