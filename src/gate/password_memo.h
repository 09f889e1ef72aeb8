/* What has been found out of passwords: keyed digests of questions, and of each the digest of the line that
 * it is the password of, or none. Bounded: the one that was not asked for the longest goes. Under its
 * owner's lock. Private to the room. */
#ifndef TOKENHOP_GATE_PASSWORD_MEMO_H
#define TOKENHOP_GATE_PASSWORD_MEMO_H

#include "tokenhop/base/hash.h"
#include "tokenhop/base/list.h"
#include "tokenhop/config/model.h"

struct th_password_memo {
    struct th_hash_table table;
    struct th_list order; /* those asked for last are at the end */
    size_t n, max;
};

void th_password_memo_init(struct th_password_memo *memo, size_t max);
void th_password_memo_fini(struct th_password_memo *memo);
/* Whether it is there; compared in constant time. */
bool th_password_memo_find(struct th_password_memo *memo, const uint8_t key[32],
                           uint8_t ret_digest[32]);
/* Without memory nothing is remembered. */
void th_password_memo_add(struct th_password_memo *memo, const uint8_t key[32],
                          const uint8_t digest[32]);
/* All whose line is not among the configuration's slow ones. */
void th_password_memo_keep(struct th_password_memo *memo, const struct th_config_view *config);
void th_password_memo_clear(struct th_password_memo *memo);

#endif
