/* Callers whose passwords or tokens are kept as hashes that take long to hold something against: which hashes those are
 * for a request. The work is for passwords.h. No I/O, no allocation; any thread.
 *
 * What a wrong password costs must not tell whether its user is one of the callers. So one who is nobody is treated as
 * some caller is, and always as the same one, as long as the configuration says the same of all: also where that
 * one's password is not hashed slowly, and the answer comes at once. */
#ifndef TOKENHOP_GATE_CALLER_PASSWORD_H
#define TOKENHOP_GATE_CALLER_PASSWORD_H

#include "tokenhop/gate/caller.h"

struct th_caller_hashes {
    const struct th_config_passwords *passwords; /* of the configuration */
    bool is_stand_in; /* they are somebody else's: even what they prove proves nothing */
};
/* Whether what the request shows must be held against any. Where th_caller_tell() has found nobody. */
bool th_caller_find_hashes(const struct th_config_view *config, const struct th_caller_text *text,
                           struct th_caller_hashes *ret_hashes);

#endif
