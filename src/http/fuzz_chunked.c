#include "properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* The bytes themselves choose where they are cut, so that a seed is a body as it is. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    unsigned seed = 1;
    for (size_t i = 0; i < len && i < 64; i++)
        seed = seed * 31 + bytes[i];
    th_property_chunked((const char *)bytes, len, seed);
    return 0;
}
