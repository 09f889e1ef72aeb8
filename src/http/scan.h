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

/* Not 0 when one of the eight bytes at `p` may be none of the class, which is that of values or of
 * targets. Too careful rather than exact (a tab counts), so whoever asks looks again byte by byte.
 */
static inline uint64_t th_scan_doubt_word(const char *p, unsigned class_bit)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t highs = ones << 7;
    /* a value may hold bytes from 0x80 on (obs-text), a target neither these nor the space */
    bool is_value = class_bit == TH_SCAN_VALUE;
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    uint64_t low = (word - ones * (is_value ? 0x20 : 0x21)) & ~word & highs;
    uint64_t del = word ^ (ones * 0x7f);
    del = (del - ones) & ~del & highs;
    return low | del | (is_value ? 0 : word & highs);
}

/* As th_scan_class() for values and targets, eight bytes at a time. */
static inline const char *th_scan_words(const char *p, const char *end, unsigned class_bit)
{
    for (; end - p >= 8; p += 8) {
        if (th_scan_doubt_word(p, class_bit) == 0)
            continue;
        const char *stop = th_scan_class(p, p + 8, class_bit);
        if (stop != p + 8)
            return stop;
    }
    return th_scan_class(p, end, class_bit);
}

#ifdef __SSE2__
/* A bit for each of the sixteen bytes at `p` that is none of the class. Exact. */
static inline unsigned th_scan_bad_vector(const char *p, unsigned class_bit)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i bad = _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f));
    if (class_bit == TH_SCAN_VALUE) {
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
        __m128i tab = _mm_cmpeq_epi8(v, _mm_set1_epi8('\t'));
        bad = _mm_or_si128(bad, _mm_andnot_si128(tab, control));
    } else {
        /* signed: bytes from 0x80 on are below zero */
        bad = _mm_or_si128(bad, _mm_cmplt_epi8(v, _mm_set1_epi8(0x21)));
    }
    return (unsigned)_mm_movemask_epi8(bad);
}

static inline const char *th_scan_vectors(const char *p, const char *end, unsigned class_bit)
{
    for (; end - p >= 16; p += 16) {
        unsigned bad = th_scan_bad_vector(p, class_bit);
        if (bad != 0)
            return p + __builtin_ctz(bad);
    }
    return th_scan_class(p, end, class_bit);
}
#else
#define th_scan_vectors th_scan_words
#endif

/* Whether all of a value (or target) is of its class: with no place to tell, the end is looked at
 * by a last word or vector that overlaps the one before. */
static inline bool th_scan_holds(struct th_str s, unsigned class_bit)
{
    if (s.len < 8)
        return s.len == 0 || th_scan_all(s, class_bit);
#ifdef __SSE2__
    if (s.len >= 16) {
        unsigned bad = 0;
        for (size_t i = 0; i + 16 < s.len; i += 16)
            bad |= th_scan_bad_vector(s.ptr + i, class_bit);
        return (bad | th_scan_bad_vector(s.ptr + s.len - 16, class_bit)) == 0;
    }
#endif
    uint64_t doubt = 0;
    for (size_t i = 0; i + 8 < s.len; i += 8)
        doubt |= th_scan_doubt_word(s.ptr + i, class_bit);
    doubt |= th_scan_doubt_word(s.ptr + s.len - 8, class_bit);
    return doubt == 0 || th_scan_all(s, class_bit);
}

/* The place of the first ':' in the sixteen bytes at `p`, or -1. */
static inline int th_scan_colon(const char *p)
{
#ifdef __SSE2__
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    unsigned at = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(':')));
    return at != 0 ? __builtin_ctz(at) : -1;
#else
    const char *colon = memchr(p, ':', 16);
    return colon != NULL ? (int)(colon - p) : -1;
#endif
}

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
