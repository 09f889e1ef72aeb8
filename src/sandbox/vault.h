/* What the provider holds for others: secrets, accounts, and third parties' tokens with each user's consent
 * (reference, sections 5 to 7). Made up at random, new after a reset. One thread. */
#ifndef TOKENHOP_SRC_SANDBOX_VAULT_H
#define TOKENHOP_SRC_SANDBOX_VAULT_H

#include <jansson.h>

#include "tokenhop/base/str.h"
#include "world.h"

#define TH_VAULT_TEXT_LEN 48

/* A user's grant at a third party. */
struct th_vault_grant {
    char handle[TH_VAULT_TEXT_LEN + 1]; /* of the page that asks for consent; "": not asked */
    int64_t handle_until_ms;            /* then another is made; 0: never */
    char token[TH_VAULT_TEXT_LEN + 1];  /* "": none is stored */
    bool consented;                     /* a refresh token is held */
    bool dead;                          /* the third party does not take `token` any more */
};

struct th_vault_item {
    const struct th_vault_row *row;
    char value[TH_VAULT_TEXT_LEN + 1]; /* API key or password */
    struct th_vault_grant grants[TH_USER_COUNT];
};

struct th_vault {
    struct th_vault_item *items; /* one a row of the world */
};

int th_vault_init(struct th_vault *vault) TH_MUST; /* TH_E_NOMEM */
void th_vault_fini(struct th_vault *vault);        /* zeroed is fine */
void th_vault_reset(struct th_vault *vault);       /* new values, no consents */

struct th_vault_item *th_vault_find(struct th_vault *vault, struct th_str name);
/* The connection of this agent with this resource, of this kind. */
struct th_vault_item *th_vault_find_connection(struct th_vault *vault, enum th_vault_kind kind,
                                               enum th_world_client agent, struct th_str resource);
/* The one that the origins of the sandbox ask for. */
struct th_vault_item *th_vault_find_kind(struct th_vault *vault, enum th_vault_kind kind);
void th_vault_rotate(struct th_vault_item *item);

/* The stored token; a new one, silently, after a consent; NULL: the user must consent, and grant->handle
 * names the page, for `lifetime_ms` (0: until it is used). */
const char *th_vault_get_token(struct th_vault_grant *grant, int64_t now_ms, int64_t lifetime_ms);
/* What the page does: true once for each handle that is still good. */
bool th_vault_consent(struct th_vault *vault, struct th_str handle, int64_t now_ms);
/* Forgets a stored token of this agent's connections; the consent too, unless `keeps_consent`. */
void th_vault_revoke(struct th_vault *vault, enum th_world_client agent, struct th_str token,
                     bool keeps_consent);
/* Whose token this is at the third party, if it takes it; else NULL. */
const struct th_user_row *th_vault_owner(const struct th_vault *vault, struct th_str token);

/* All that is secret in it, by connection: for tests, which look for it where it must not be. */
json_t *th_vault_json(const struct th_vault *vault) TH_MUST;

#endif
