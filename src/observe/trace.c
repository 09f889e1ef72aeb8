#include "tokenhop/observe/trace.h"

#include <string.h>

#include "tokenhop/base/random.h"

/* Where the parts of "00-<trace>-<span>-<flags>" begin. */
enum { AT_ID = 3, AT_SPAN = 36, AT_FLAGS = 53 };

static const char hex[] = "0123456789abcdef";

/* Lower case only (Trace Context, 3.2.2). */
static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_digits(const char *from, size_t len, char *ret_text)
{
    for (size_t i = 0; i < len; i++) {
        if (digit_of(from[i]) < 0)
            return false;
    }
    memcpy(ret_text, from, len);
    ret_text[len] = '\0';
    return true;
}

static bool is_all_zero(const char *digits)
{
    return digits[strspn(digits, "0")] == '\0';
}

int th_trace_parse(struct th_str s, struct th_trace *ret_trace)
{
    struct th_trace trace = {0};
    char version[3], flags[3];
    if (s.len < TH_TRACE_PARENT_LEN || s.ptr[AT_ID - 1] != '-' || s.ptr[AT_SPAN - 1] != '-' ||
        s.ptr[AT_FLAGS - 1] != '-')
        return TH_E_BAD_REQUEST;
    if (!take_digits(s.ptr, 2, version) || !take_digits(s.ptr + AT_ID, TH_TRACE_ID_LEN, trace.id) ||
        !take_digits(s.ptr + AT_SPAN, TH_TRACE_SPAN_LEN, trace.parent) ||
        !take_digits(s.ptr + AT_FLAGS, 2, flags))
        return TH_E_BAD_REQUEST;
    if (is_all_zero(trace.id) || is_all_zero(trace.parent) || strcmp(version, "ff") == 0)
        return TH_E_BAD_REQUEST;
    /* Version 00 ends here; a later one may go on after another dash (4.1). */
    if (s.len > TH_TRACE_PARENT_LEN &&
        (strcmp(version, "00") == 0 || s.ptr[TH_TRACE_PARENT_LEN] != '-'))
        return TH_E_BAD_REQUEST;
    trace.flags = (uint8_t)(digit_of(flags[0]) * 16 + digit_of(flags[1]));
    *ret_trace = trace;
    return 0;
}

/* Random and not all zero, which would be no id. */
static void make_id(char *ret_text, size_t len)
{
    unsigned char bytes[TH_TRACE_ID_LEN / 2];
    do {
        th_random_bytes(bytes, len / 2);
        for (size_t i = 0; i < len / 2; i++) {
            ret_text[2 * i] = hex[bytes[i] >> 4];
            ret_text[2 * i + 1] = hex[bytes[i] & 15];
        }
        ret_text[len] = '\0';
    } while (is_all_zero(ret_text));
}

bool th_trace_start(struct th_str traceparent, struct th_trace *ret_trace)
{
    bool goes_on = th_trace_parse(traceparent, ret_trace) == 0;
    if (!goes_on) {
        *ret_trace = (struct th_trace){0};
        make_id(ret_trace->id, TH_TRACE_ID_LEN);
    }
    make_id(ret_trace->span, TH_TRACE_SPAN_LEN);
    return goes_on;
}

void th_trace_format(const struct th_trace *trace, char ret_text[TH_TRACE_PARENT_LEN + 1])
{
    /* Of the flags only those that version 00 defines go on (4.2.1, 2.2.2): sampled. */
    unsigned flags = trace->flags & 1;
    memcpy(ret_text, "00-", AT_ID);
    memcpy(ret_text + AT_ID, trace->id, TH_TRACE_ID_LEN);
    ret_text[AT_SPAN - 1] = '-';
    memcpy(ret_text + AT_SPAN, trace->span, TH_TRACE_SPAN_LEN);
    ret_text[AT_FLAGS - 1] = '-';
    ret_text[AT_FLAGS] = '0';
    ret_text[AT_FLAGS + 1] = hex[flags];
    ret_text[TH_TRACE_PARENT_LEN] = '\0';
}
