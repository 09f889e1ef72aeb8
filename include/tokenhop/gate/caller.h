/* Callers: who sent a request, where the listener does not say. Told anew for every request, never for the
 * connection (R15). No I/O, no allocation; any thread. */
#ifndef TOKENHOP_GATE_CALLER_H
#define TOKENHOP_GATE_CALLER_H

#include "tokenhop/config/model.h"
#include "tokenhop/gate/names.h"
#include "tokenhop/http/message.h"
#include "tokenhop/net/unix_socket.h"

/* What is known of a connection, whatever its requests say. Borrowed. */
struct th_caller_facts {
    const struct th_unix_peer *peer; /* at the other end of a unix socket; NULL: it is none */
    /* The client has shown a certificate, or one was forwarded for the request; with these names. */
    bool has_certificate;
    bool has_too_many_names;
    const struct th_caller_name *names;
    size_t n_names;
};

/* What a request proved, to be shown again: a CONNECT's holds for what comes through its tunnel. A digest of
 * it, not itself; of what is known of the connection, nothing. */
struct th_caller_proof_shown {
    enum th_caller_proof proof;
    int64_t until_wall_ms; /* 0: as long as the caller is one */
    uint8_t digest[32];    /* of a field, or of the certificate's name */
};

/* By Proxy-Authorization, or where there is none by the certificate, or where there is none by the peer: 0, or
 * th_caller_refusal() and *ret_detail (constant text). Of several callers with names of one certificate it is the
 * first of the configuration. All callers are compared, in constant time. */
int th_caller_tell(const struct th_config_view *config, const struct th_head *head,
                   const struct th_caller_facts *facts, const struct th_config_caller **ret_caller,
                   struct th_caller_proof_shown *ret_shown, const char **ret_detail) TH_MUST;

/* What is answered to who is nobody: TH_E_CALLER asks for proxy credentials (407), which is of use only where some
 * caller has any; TH_E_CALLER_UNKNOWN (403) where none has. */
int th_caller_refusal(const struct th_config_view *config) TH_MUST;

/* Who has shown that, in a configuration that may be another by now; NULL: nobody any more. */
const struct th_config_caller *th_caller_find(const struct th_config_view *config,
                                              const struct th_caller_facts *facts,
                                              const struct th_caller_proof_shown *shown);

#endif
