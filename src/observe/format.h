/* Numbers, times and JSON strings written by hand, without printf: one access line a hop is on the
 * hot path. Each function writes at `at` and returns the end; the caller has made room. */
#ifndef TOKENHOP_SRC_OBSERVE_FORMAT_H
#define TOKENHOP_SRC_OBSERVE_FORMAT_H

#include <stdint.h>

#include "tokenhop/base/buf.h"
#include "tokenhop/base/str.h"

#define TH_FORMAT_U64_MAX 20 /* characters */
#define TH_FORMAT_I64_MAX 20
#define TH_FORMAT_TIME_LEN 24

char *th_format_u64(char *at, uint64_t value);
char *th_format_i64(char *at, int64_t value);
/* RFC 3339 in UTC: 2026-01-31T23:59:59.999Z. The years 1970 to 9999; what lies beyond is clamped.
 */
char *th_format_time(char *at, int64_t wall_ms);
/* The bytes from the front of `text` that need no escape in a JSON string; returns how many were
 * copied. */
size_t th_format_plain(char *at, struct th_str text);

#endif
