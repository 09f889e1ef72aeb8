/* Standard input, whole. Private to the room. */
#ifndef TOKENHOP_CLI_READ_INPUT_H
#define TOKENHOP_CLI_READ_INPUT_H

#include "tokenhop/base/buf.h"
#include "tokenhop/base/error.h"

/* Appends all of it. `too_long`: what is said of more than the buffer may hold (TH_E_CONFIG); TH_E_IO. */
int th_read_input(struct th_buf *text, const char *too_long, struct th_errinfo *reterr) TH_MUST;

#endif
