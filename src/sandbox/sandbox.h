/* The whole program's state, handed to every handler; and the names of its parts. One thread. */
#ifndef TOKENHOP_SRC_SANDBOX_SANDBOX_H
#define TOKENHOP_SRC_SANDBOX_SANDBOX_H

#include "faults.h"
#include "idp.h"
#include "options.h"
#include "registry.h"
#include "stats.h"
#include "web.h"
#include "web_tls.h"

struct th_sandbox;

/* One that listens: an agent or the API. */
struct th_sandbox_agent {
    struct th_sandbox *sandbox;
    const struct th_registry_resource *resource;
    int port;
};

struct th_sandbox {
    struct th_sandbox_options options;
    struct th_web web;
    struct th_registry registry;
    struct th_idp idp;
    struct th_faults faults;
    struct th_stats stats;
    int idp_port;
    struct th_web_tls idp_tls; /* of the identity provider's second port */
    int idp_tls_port;          /* 0: there is none */
    struct th_web_tls tls;     /* of agent2's second port */
    int agent2_tls_port;       /* 0: there is none */
    struct th_sandbox_agent agents[TH_RESOURCE_COUNT];
    char agent2_proxy[128]; /* made of --agent2-proxy-port */
    char folder[512];       /* of keys */
    bool folder_is_ours;    /* made for this run, removed at its end */
};

/* Handlers of the ports (web.h); call->owner is the th_sandbox, respectively the th_sandbox_agent. */
void th_sandbox_serve_idp(struct th_web_call *call);
void th_sandbox_serve_agent(struct th_web_call *call);
/* The paths under /sandbox/ of the provider's port. */
void th_sandbox_serve_admin(struct th_web_call *call, struct th_sandbox *sandbox);

/* Consumes a fault for the place, if there is one, and plays what can be played without the true
 * answer: then the call is dead and true returned. SLOW calls `again` later, once. The others are
 * returned in *ret_fault for the true answer to bear; th_fault_fini() it. */
bool th_sandbox_play_fault(struct th_web_call *call, struct th_sandbox *sandbox, const char *place,
                           void (*again)(struct th_web_call *call), struct th_fault *ret_fault);

/* Everything a client needs to know: URLs, client ids, key files, users. A new reference. */
json_t *th_sandbox_describe(const struct th_sandbox *sandbox) TH_MUST;

/* What /sandbox/mint makes; see mint.c for the parameters. */
struct th_form;
json_t *th_sandbox_mint(struct th_sandbox *sandbox, const struct th_form *form,
                        struct th_errinfo *reterr) TH_MUST;

/* A tokenhop configuration for agent1 (and agent2, if it has a port) on these ports. */
int th_sandbox_write_config(const struct th_sandbox *sandbox, const char *path,
                            struct th_errinfo *reterr) TH_MUST;

#endif
