/* What holds for every input of the parser of proxy headers: for its unit test and its fuzz target. */
#ifndef TH_NET_PROXY_PROPERTIES_H
#define TH_NET_PROXY_PROPERTIES_H

#include <stddef.h>
#include <stdint.h>

void th_property_proxy_header(const uint8_t *bytes, size_t len);

#endif
