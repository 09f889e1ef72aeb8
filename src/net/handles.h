/* The making of handle tables: the worker's alone. */
#ifndef TH_NET_HANDLES_H
#define TH_NET_HANDLES_H

#include "tokenhop/net/mailbox.h"

struct th_handles *th_handles_new(void) TH_MUST;
struct th_handles *th_handles_free(struct th_handles *handles); /* NULL is fine */

#endif
