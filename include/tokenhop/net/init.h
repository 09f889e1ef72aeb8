/* What the libraries of this room need once a process, before threads start and after they have
 * ended: libcurl, OpenSSL, and that a write to a closed socket is an error and no signal. The main
 * thread. */
#ifndef TOKENHOP_NET_INIT_H
#define TOKENHOP_NET_INIT_H

#include "tokenhop/base/error.h"

int th_net_global_init(void) TH_MUST;
void th_net_global_fini(void);

#endif
