/* What commands show to a person. Texts of tokens and servers are escaped: nothing reaches a terminal
 * but printable ASCII and line feeds. Private to the room. */
#ifndef TOKENHOP_CLI_SHOW_H
#define TOKENHOP_CLI_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tokenhop/config/model.h"

/* Pretty, each line after `indent` spaces, with a line feed at the end. */
void th_show_json(FILE *out, int indent, const json_t *json);
/* The text with '?' for what is not printable. */
void th_show_text(FILE *out, struct th_str text);
/* The same on a line, after `before`; to standard output. */
void th_show_value(const char *before, struct th_str value);
/* "expires in 3600 s" of a token's claims, or nothing when they do not say. */
void th_show_expiry(FILE *out, int indent, const json_t *claims, int64_t wall_ms);
/* The chain of actors (RFC 8693, 4.1) as a tree: `sub`, below it `act` and what that nests; known client ids
 * with the agent's name. */
void th_show_chain(FILE *out, int indent, const json_t *claims,
                   const struct th_config_view *config);

/* ", by ...": how it is told that a request is of this caller. */
void th_show_proof(const struct th_config_caller *caller);

/* ", TLS, ...": how a listener's clients connect, and whose word on them counts; nothing where that is not said. */
void th_show_security(const struct th_config_listener *listener);

#endif
