/* Assertions that first legs have yielded (ID-JAGs), kept for the second legs to come of connections that
 * say so ("reuse_id_jag"; reference, 4.7): by agent, connection and its version, and the whole subject
 * token, while they are valid. A server may take such a one but once; what it does not take is got anew.
 *
 * One set a process, shared by the exchangers of all workers. At most TH_GRANTS_MAX; beyond, the one that
 * ends first leaves. Any thread; one lock, a leaf, held for the look at a short list. */
#ifndef TOKENHOP_OAUTH_GRANTS_H
#define TOKENHOP_OAUTH_GRANTS_H

#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/config/model.h"

#define TH_GRANTS_MAX 256
#define TH_GRANT_KEY_LEN 32
/* It must still be valid when it arrives. */
#define TH_GRANT_MARGIN_MS 5000

struct th_grants; /* counted */

int th_grants_new(struct th_grants **ret_grants) TH_MUST;
struct th_grants *th_grants_ref(struct th_grants *grants);
struct th_grants *th_grants_unref(struct th_grants *grants); /* NULL is fine */

int th_grant_key(const struct th_config_agent *agent, const struct th_config_connection *connection,
                 struct th_str subject_token,
                 uint8_t ret_key[TH_GRANT_KEY_LEN]) TH_MUST; /* TH_E_NOMEM */

/* A new reference; NULL when there is none that is valid at `now_ms` (monotonic). */
struct th_secret *th_grants_find(struct th_grants *grants, const uint8_t key[TH_GRANT_KEY_LEN],
                                 int64_t now_ms) TH_MUST;
/* How often they were cleared: who asks a server notes it before, for th_grants_keep(). */
uint64_t th_grants_epoch(struct th_grants *grants);
/* In place of the one of that key. Takes a reference. Nothing is kept if they were cleared since `epoch`:
 * what was asked for before may be what was to be forgotten. */
void th_grants_keep(struct th_grants *grants, const uint8_t key[TH_GRANT_KEY_LEN], uint64_t epoch,
                    struct th_secret *grant, int64_t until_ms);
/* It was not taken. */
void th_grants_drop(struct th_grants *grants, const uint8_t key[TH_GRANT_KEY_LEN]);
/* All of them: who empties the cache means these too. */
void th_grants_clear(struct th_grants *grants);

#endif
