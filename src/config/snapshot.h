/* The snapshot's inside: one arena that everything in it lives in, and the secrets that it holds. */
#ifndef TOKENHOP_SRC_CONFIG_SNAPSHOT_H
#define TOKENHOP_SRC_CONFIG_SNAPSHOT_H

#include "tokenhop/base/arena.h"
#include "tokenhop/base/ref.h"
#include "tokenhop/config/model.h"

struct th_held_secret {
    struct th_held_secret *next;
    struct th_secret *secret;
};

struct th_held_identity {
    struct th_held_identity *next;
    struct th_identity *identity;
};

struct th_config {
    struct th_ref ref;
    struct th_arena arena;
    struct th_held_secret *secrets;
    struct th_held_identity *identities;
    struct th_config_view view;
};

/* Empty, with one reference. NULL when memory is short. */
struct th_config *th_config_new(void) TH_MUST;
/* Takes over the reference: the snapshot gives it back at its end. TH_E_NOMEM: taken over too. */
int th_config_hold(struct th_config *config, struct th_secret *secret) TH_MUST;
/* Gives it back now, as nothing of the snapshot has it. */
void th_config_let_go(struct th_config *config, const struct th_secret *secret);
int th_config_hold_identity(struct th_config *config, struct th_identity *identity) TH_MUST;

#endif
