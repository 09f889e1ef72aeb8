/* How an exchange comes by its th_delegation. */
#ifndef TOKENHOP_SRC_OAUTH_DELEGATION_PRIVATE_H
#define TOKENHOP_SRC_OAUTH_DELEGATION_PRIVATE_H

#include "exchange_run.h"

/* Fills ex->result.delegation, once, if the exchanger keeps them. `issued`: the claims of what was issued;
 * NULL: opaque, or nothing was. */
void th_delegation_note(struct th_exchange *ex, const json_t *issued);

#endif
