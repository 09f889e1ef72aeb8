#include "properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* The answer to each kind of request that a body depends on. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    th_property_response_head((const char *)bytes, len, TH_METHOD_POST);
    th_property_response_head((const char *)bytes, len, TH_METHOD_HEAD);
    th_property_response_head((const char *)bytes, len, TH_METHOD_CONNECT);
    return 0;
}
