/* Key material in the state folder, 0600: NAME.pem, PKCS#8; NAME.secret, a client secret. */
#ifndef TOKENHOP_SRC_SANDBOX_KEYS_H
#define TOKENHOP_SRC_SANDBOX_KEYS_H

#include "registry.h"

/* Reads FOLDER/NAME.pem, or makes it. Two processes that make the same one end up with the same key. */
int th_sandbox_key_open(const char *folder, const char *name, const char *kid, enum th_alg alg,
                        struct th_registry_key *ret_key, struct th_errinfo *reterr) TH_MUST;
void th_sandbox_key_close(struct th_registry_key *key, bool remove_file);

/* Likewise of FOLDER/NAME.secret. Close leaves both NULL. */
int th_sandbox_secret_open(const char *folder, const char *name, struct th_secret **ret_secret,
                           char **ret_file, struct th_errinfo *reterr) TH_MUST;
void th_sandbox_secret_close(struct th_secret **secret, char **file, bool remove_file);

/* Writes a file (0600) unless it is there already; nobody ever reads half of it. */
int th_sandbox_publish(const char *file, struct th_str bytes, struct th_errinfo *reterr) TH_MUST;

#endif
