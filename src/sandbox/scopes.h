/* Scopes: lists separated by single spaces (RFC 6749, 3.3). */
#ifndef TOKENHOP_SRC_SANDBOX_SCOPES_H
#define TOKENHOP_SRC_SANDBOX_SCOPES_H

#include "tokenhop/base/str.h"

/* Tokens of the allowed characters, one space between two, none twice. */
bool th_scopes_are_well_formed(struct th_str list);
bool th_scopes_contain(struct th_str list, struct th_str scope);
bool th_scopes_within(struct th_str list, struct th_str allowed);
/* openid and its like: no custom scopes. */
bool th_scopes_have_system(struct th_str list);
/* Takes the first from the list; false at its end. */
bool th_scopes_next(struct th_str *list, struct th_str *ret_scope);

#endif
