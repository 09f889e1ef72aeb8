/* Classes of bytes (RFC 9110, 5.6; RFC 3986) and the loops over them that the head parser spends
 * its time in. Constant data; any thread. */
#ifndef TH_HTTP_SCAN_H
#define TH_HTTP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tokenhop/base/str.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum th_scan_class {
    TH_SCAN_TOKEN = 1 << 0,  /* tchar */
    TH_SCAN_VALUE = 1 << 1,  /* VCHAR, obs-text, SP, HTAB: may stand in a field's value */
    TH_SCAN_TARGET = 1 << 2, /* VCHAR: may stand in a request target */
    TH_SCAN_PATH = 1 << 3,   /* pchar and '/'; '%' too, which wants two digits after it */
    TH_SCAN_QUERY = 1 << 4,  /* see th_url_parse() */
    TH_SCAN_HOST = 1 << 5,   /* letters, digits, '-', '_', '.' */
    TH_SCAN_HEX = 1 << 6,
    TH_SCAN_DIGIT = 1 << 7
};

extern const uint8_t th_scan_classes[256];

static inline bool th_scan_is(char c, unsigned classes)
{
    return (th_scan_classes[(unsigned char)c] & classes) != 0;
}

/* The first byte from `p` on that is not of the class, or `end`. */
static inline const char *th_scan_class(const char *p, const char *end, unsigned class_bit)
{
    while (p < end && th_scan_is(*p, class_bit))
        p++;
    return p;
}

static inline bool th_scan_all(struct th_str s, unsigned class_bit)
{
    return th_scan_class(s.ptr, s.ptr + s.len, class_bit) == s.ptr + s.len;
}

static inline unsigned th_scan_hex_value(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* As th_scan_class() for values and targets, eight bytes at a time. A word that may hold an end is
 * looked at byte by byte, so that the tests on words may be too careful and byte order is all one. */
static inline const char *th_scan_words(const char *p, const char *end, unsigned class_bit)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t highs = ones << 7;
    /* a value may hold bytes from 0x80 on (obs-text), a target neither these nor the space */
    bool is_value = class_bit == TH_SCAN_VALUE;
    const uint64_t least = ones * (is_value ? 0x20 : 0x21);
    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        uint64_t low = (word - least) & ~word & highs;
        uint64_t del = word ^ (ones * 0x7f);
        del = (del - ones) & ~del & highs;
        if ((low | del | (is_value ? 0 : word & highs)) != 0) {
            const char *stop = th_scan_class(p, p + 8, class_bit);
            if (stop != p + 8)
                return stop;
        }
        p += 8;
    }
    return th_scan_class(p, end, class_bit);
}

#ifdef __SSE2__
static inline const char *th_scan_vectors(const char *p, const char *end, unsigned class_bit)
{
    const __m128i del = _mm_set1_epi8(0x7f);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i bad;
        if (class_bit == TH_SCAN_VALUE) {
            __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
            bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\t')), control),
                               _mm_cmpeq_epi8(v, del));
        } else {
            /* signed: bytes from 0x80 on are below zero */
            bad = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x21)), _mm_cmpeq_epi8(v, del));
        }
        unsigned mask = (unsigned)_mm_movemask_epi8(bad);
        if (mask != 0)
            return p + __builtin_ctz(mask);
        p += 16;
    }
    return th_scan_class(p, end, class_bit);
}
#else
#define th_scan_vectors th_scan_words
#endif

/* The first byte that may not stand in a field's value (CR and LF are such), or `end`. */
static inline const char *th_scan_value(const char *p, const char *end)
{
    return th_scan_vectors(p, end, TH_SCAN_VALUE);
}

/* The first byte that may not stand in a request target, or `end`. */
static inline const char *th_scan_target(const char *p, const char *end)
{
    return th_scan_vectors(p, end, TH_SCAN_TARGET);
}

#endif
