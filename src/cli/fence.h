/* Which files a running tokenhop may use, made from its configuration (base/confine.h). Private to the
 * room. */
#ifndef TOKENHOP_CLI_FENCE_H
#define TOKENHOP_CLI_FENCE_H

#include <stdbool.h>

#include "tokenhop/base/confine.h"
#include "tokenhop/config/model.h"

/* Before any thread. `becomes_user`: it will not be root, so that /etc is guarded by its modes. */
int th_fence_raise(const struct th_config *config, const char *config_path, bool becomes_user,
                   struct th_errinfo *reterr) TH_MUST;

#endif
