/* A bounded set of what was seen or issued (jti of assertions, redeemed ID-JAGs, access tokens), each
 * remembered until it expires, as SHA-256 only. Full of what has not expired, it takes nothing more: to
 * forget one would let it be replayed. One thread. */
#ifndef TOKENHOP_SRC_SANDBOX_LEDGER_H
#define TOKENHOP_SRC_SANDBOX_LEDGER_H

#include "tokenhop/base/hash.h"
#include "tokenhop/base/list.h"
#include "tokenhop/base/str.h"

#define TH_LEDGER_DIGEST_LEN 16

struct th_registry_server;
struct th_registry_client;
struct th_user_row;

struct th_ledger_entry {
    struct th_hash_node node;
    struct th_list link; /* oldest first */
    uint8_t digest[TH_LEDGER_DIGEST_LEN];
    int64_t expires_ms;
    /* of issued tokens; borrowed from the registry */
    const struct th_registry_server *server;
    const struct th_registry_client *client;
    const struct th_user_row *user;
    bool revoked;
};

struct th_ledger {
    struct th_hash_table table;
    struct th_hash_key key;
    struct th_list entries;
    size_t max;
    int64_t next_sweep_ms;
};

void th_ledger_init(struct th_ledger *ledger, size_t max);
void th_ledger_clear(struct th_ledger *ledger);
void th_ledger_fini(struct th_ledger *ledger);
size_t th_ledger_count(const struct th_ledger *ledger);
/* The pieces are hashed each with its length, so that no two lists of pieces are alike. NULL: not, or
 * no more, known. */
struct th_ledger_entry *th_ledger_find(struct th_ledger *ledger, const struct th_str *pieces,
                                       size_t count);
/* The caller has looked: it is not there. TH_E_OVERLOADED when full; the entry is the ledger's, and may be filled in
 * at once only. */
int th_ledger_add(struct th_ledger *ledger, const struct th_str *pieces, size_t count,
                  int64_t expires_ms, int64_t now_ms, struct th_ledger_entry **ret_entry) TH_MUST;

/* First 12 hexadecimal digits of SHA-256: how tokens are named in records. */
#define TH_LEDGER_NAME_LEN 12
void th_ledger_name(struct th_str token, char ret_name[TH_LEDGER_NAME_LEN + 1]);

#endif
