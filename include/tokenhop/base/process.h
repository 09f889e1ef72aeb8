/* What the process gives up before it holds a secret. Once, in main(), before threads start. */
#ifndef TOKENHOP_BASE_PROCESS_H
#define TOKENHOP_BASE_PROCESS_H

#include "tokenhop/base/error.h"

/* No core dumps and no tracing by the user's other processes (R16), no new privileges through exec,
 * and as many descriptors as the system grants. A program that is executed later is dumpable again,
 * and keeps the rest. TH_E_IO when the kernel refuses. */
int th_process_harden(struct th_errinfo *reterr) TH_MUST;

#endif
