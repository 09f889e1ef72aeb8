#ifndef TOKENHOP_SRC_CONFIG_VERSION_H
#define TOKENHOP_SRC_CONFIG_VERSION_H

#include "tokenhop/config/model.h"

/* A digest of everything that decides which credential a connection gets: what is asked for, of
 * which servers, by whom, and what is checked of the answer. What was got under another version is
 * not used again. URLs, cookies and public paths are not part of it, nor are keys: a key may be
 * rotated without a new exchange for every caller. 0 or TH_E_NOMEM. */
int th_config_version_digest(const struct th_config_connection *connection,
                             uint8_t ret_version[16]) TH_MUST;

#endif
