/* Key material in the state folder: NAME.pem, PKCS#8, 0600. */
#ifndef TOKENHOP_SRC_SANDBOX_KEYS_H
#define TOKENHOP_SRC_SANDBOX_KEYS_H

#include "registry.h"

/* Reads FOLDER/NAME.pem, or makes it. Two processes that make the same one end up with the same key. */
int th_sandbox_key_open(const char *folder, const char *name, const char *kid, enum th_alg alg,
                        struct th_registry_key *ret_key, struct th_errinfo *reterr) TH_MUST;
void th_sandbox_key_close(struct th_registry_key *key, bool remove_file);

#endif
