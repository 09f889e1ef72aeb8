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
    bool is_line;          /* the digest is that of a line of a file of hashes, which was proved */
    int64_t until_wall_ms; /* 0: as long as the caller is one */
    uint8_t digest[32];    /* else of a field, or of the certificate's name */
};

/* What the only Proxy-Authorization field says, where that is Basic or Bearer. */
#define TH_CALLER_TEXT_MAX 1024 /* of "user:password"; both are bounded at load, by less */
struct th_caller_text {
    enum th_caller_proof proof;
    struct th_str user;     /* of Basic; no longer than the room */
    struct th_str password; /* or the token; not empty, but it may hold what no password does */
    struct th_str whole;    /* "user:password", or the token */
    char room[TH_CALLER_TEXT_MAX];
};
/* False: it says neither, or is malformed. Else it is wiped afterwards, as it may point into itself. */
bool th_caller_read(const struct th_head *head, struct th_caller_text *ret_text);
void th_caller_wipe(struct th_caller_text *text);

/* By Proxy-Authorization, or where there is none by the certificate, or where there is none by the peer: 0, or
 * th_caller_refusal() and *ret_detail (constant text). Of several callers with names of one certificate it is the
 * first of the configuration. All callers are compared, in constant time; but for hashes that take long, which is for
 * caller_password.h where this has found nobody. */
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
