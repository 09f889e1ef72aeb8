/* What must hold of parsers whatever the bytes: asked by the fuzzer, and by a test of the corpus. A
 * property that does not hold aborts. */
#ifndef TOKENHOP_SRC_OAUTH_PROPERTIES_H
#define TOKENHOP_SRC_OAUTH_PROPERTIES_H

#include <stddef.h>

/* Of a token, or where it begins with '{' or '-', of a key. */
void th_property_token(const char *bytes, size_t len);
/* Of a token endpoint's answer: the first byte chooses the leg, the second the status. */
void th_property_token_response(const char *bytes, size_t len);
/* Of what a server publishes: a key set, or where it begins with 'M', metadata. */
void th_property_document(const char *bytes, size_t len);

#endif
