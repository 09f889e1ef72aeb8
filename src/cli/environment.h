/* The environment of an agent: the caller's own, with every variable of runtimes.h set for it. Main thread.
 * Private to the room. */
#ifndef TOKENHOP_CLI_ENVIRONMENT_H
#define TOKENHOP_CLI_ENVIRONMENT_H

#include <stdbool.h>
#include <stdio.h>

#include "place.h"
#include "tokenhop/base/error.h"
#include "trust.h"

struct th_environment {
    char **list; /* for execve(); ends with NULL */
    size_t count;
    /* Of `list`, those of runtimes.h: first, in that order. */
    size_t n_set;
};

/* The files that it names are made in `trust`. What the runtimes' variables name now is kept: bundles are
 * added to, options appended to; but of a proxy nothing is. Trust is set where `trust` has an authority,
 * or roots that were named. *environment is zeroed before; th_environment_fini() in any case. */
int th_environment_init(struct th_environment *environment, const struct th_proxy_place *place,
                        struct th_trust *trust, struct th_errinfo *reterr) TH_MUST;
void th_environment_fini(struct th_environment *environment); /* wipes it */
/* "export NAME='VALUE'" of those that were set. */
void th_environment_print(const struct th_environment *environment, FILE *out);

#endif
