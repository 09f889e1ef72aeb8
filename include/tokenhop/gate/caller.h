/* Callers: who sent a request, where the listener does not say. Told anew for every request, never for the
 * connection (R15). No I/O, no allocation; any thread. */
#ifndef TOKENHOP_GATE_CALLER_H
#define TOKENHOP_GATE_CALLER_H

#include "tokenhop/config/model.h"
#include "tokenhop/http/message.h"

/* What a request proved, to be shown again: a CONNECT's holds for what comes through its tunnel. A digest of
 * it, not itself. */
struct th_caller_proof_shown {
    uint8_t digest[32];
    bool is_basic;
};

/* By Proxy-Authorization: 0, or TH_E_CALLER and *ret_detail (constant text). All callers are compared, in
 * constant time. */
int th_caller_tell(const struct th_config_view *config, const struct th_head *head,
                   const struct th_config_caller **ret_caller,
                   struct th_caller_proof_shown *ret_shown, const char **ret_detail) TH_MUST;

/* Who has shown that, in a configuration that may be another by now; NULL: nobody any more. */
const struct th_config_caller *th_caller_find(const struct th_config_view *config,
                                              const struct th_caller_proof_shown *shown);

#endif
