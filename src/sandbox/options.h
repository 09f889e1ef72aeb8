/* The command line of tokenhop-sandbox. */
#ifndef TOKENHOP_SRC_SANDBOX_OPTIONS_H
#define TOKENHOP_SRC_SANDBOX_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "settings.h"
#include "world.h"

struct th_sandbox_options { /* strings are argv's */
    const char *address;
    int idp_port;
    int ports[TH_RESOURCE_COUNT];        /* of those that listen; 0: a free one */
    int idp_tls_port;                    /* a second one, of TLS; -1: none */
    int agent2_tls_port;                 /* a second one of agent2, of TLS; -1: none */
    const char *urls[TH_RESOURCE_COUNT]; /* NULL: from the address and port */
    const char *idp_url;                 /* NULL: likewise */
    const char *state;
    const char *write_config;
    const char *config_alg; /* of the agents' keys in that configuration */
    int proxy_port;
    int agent2_proxy_port;
    const char *agent2_proxy; /* URL of the proxy that agent2 calls agent3 through */
    bool any_address;
    struct th_sandbox_settings settings;
};

/* 0; 1: --help or --version was printed, exit 0; TH_E_CONFIG with what is wrong. */
int th_sandbox_options_parse(int argc, char **argv, struct th_sandbox_options *ret_options,
                             struct th_errinfo *reterr) TH_MUST;
void th_sandbox_options_help(FILE *out);

#endif
