/* What holds of the parser of first messages for any input; for the fuzz target and the tests. */
#ifndef TOKENHOP_SRC_INTERCEPT_PROPERTIES_H
#define TOKENHOP_SRC_INTERCEPT_PROPERTIES_H

#include <stddef.h>
#include <stdint.h>

/* More bytes never change a verdict, the records that a message is cut into never do, and OpenSSL, where it
 * accepts the message, reads the same name and protocols from it. Aborts where that does not hold. */
void th_property_client_hello(const uint8_t *bytes, size_t len);

#endif
