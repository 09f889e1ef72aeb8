#include "proxy_properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    th_property_proxy_header(bytes, len);
    return 0;
}
