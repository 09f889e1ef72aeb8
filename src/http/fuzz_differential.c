#include "differential.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    th_differential_requests((const char *)bytes, len);
    th_differential_response((const char *)bytes, len, TH_METHOD_GET);
    th_differential_response((const char *)bytes, len, TH_METHOD_HEAD);
    return 0;
}
