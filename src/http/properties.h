/* What must hold for any bytes at all, said once for the fuzz targets and the unit tests. Each
 * aborts (TH_REQUIRE) when it does not hold. Tests only. */
#ifndef TH_HTTP_PROPERTIES_H
#define TH_HTTP_PROPERTIES_H

#include "tokenhop/http/http1.h"

/* The limits that the heads below are parsed under: small, so that a fuzzer reaches them. */
#define PROPERTY_HEAD_MAX 1024
#define PROPERTY_FIELDS_MAX 16

/* A head that comes in two pieces, parted anywhere, or byte by byte, is judged as one that comes
 * whole; what is accepted holds no byte that another parser may take for a line's end; written anew
 * and parsed again it says the same. */
void th_property_request_head(const char *bytes, size_t len);
void th_property_response_head(const char *bytes, size_t len, enum th_method request_method);
/* Cut into pieces, by `seed`, a chunked body gives the same data and trailers and ends at the same
 * byte; its data encoded anew is decoded to itself. */
void th_property_chunked(const char *bytes, size_t len, unsigned seed);
/* An accepted URL is in normal form: written from its parts it is parsed to the same parts; a path
 * that is not ambiguous is left alone by decoding and by removing dot segments. */
void th_property_url(const char *bytes, size_t len);
/* Whatever was sent before, what a proxy appends is the last element, or the whole is malformed; the pairs of what is
 * accepted are the whole of its last element. */
void th_property_xfcc(const char *bytes, size_t len);

#endif
