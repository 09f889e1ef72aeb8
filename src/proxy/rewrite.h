/* What is written on instead of what came: heads made anew from what was parsed. Private to the
 * room. */
#ifndef TOKENHOP_PROXY_REWRITE_H
#define TOKENHOP_PROXY_REWRITE_H

#include "hop.h"

/* The request's head for the origin: its own target form, Host from the URL, the caller's
 * credential fields gone where the gate said so, the new credential in. */
void th_rewrite_request(const struct th_hop *hop, struct th_writer *w);
/* The response's head for the client; decides how the body is framed there. */
void th_rewrite_response(const struct th_hop *hop, enum th_body_out *ret_out, bool *ret_close_ends,
                         struct th_writer *w);
/* A 101 that switches to what was asked for. */
void th_rewrite_switch(const struct th_hop *hop, struct th_writer *w);
/* An interim response (1xx). */
void th_rewrite_interim(const struct th_hop *hop, struct th_writer *w);
/* R11: whether some connection takes subject tokens from a field of that name: it goes nowhere, mapped or not. */
bool th_rewrite_takes_subject(const struct th_hop *hop, struct th_str name);

#endif
