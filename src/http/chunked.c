#include "tokenhop/http/http1.h"

#include "line.h"
#include "scan.h"

#define DIGITS_MAX 16
#define SIZE_MAX_VALUE ((uint64_t)INT64_MAX) /* as a Content-Length */
#define LINE_MAX_LEN 4096                    /* a size and its extensions */
#define EXTENSIONS_MAX 16384 /* in all, beyond one byte for each byte of data: nobody needs any */
#define TRAILER_FIELDS_MAX 100

enum state {
    STATE_SIZE_START, /* a digit must come */
    STATE_SIZE,
    STATE_SIZE_BLANK, /* a blank behind the size or an extension: only another extension follows */
    STATE_NAME_START, /* behind ';' */
    STATE_NAME,
    STATE_NAME_BLANK,  /* only '=' or ';' follows */
    STATE_VALUE_START, /* behind '=' */
    STATE_VALUE,
    STATE_QUOTED,
    STATE_QUOTED_PAIR, /* behind a backslash */
    STATE_QUOTED_END,  /* behind the closing quote */
    STATE_SIZE_LF,
    STATE_DATA,
    STATE_DATA_CR,
    STATE_DATA_LF,
    STATE_TRAILER_START, /* of a line: a field's name, or the empty line */
    STATE_TRAILER_NAME,
    STATE_TRAILER_VALUE,
    STATE_TRAILER_LF,
    STATE_END_LF,
    STATE_DONE,
    STATE_FAILED
};

void th_chunked_init(struct th_chunked *chunked)
{
    *chunked = (struct th_chunked){.state = STATE_SIZE_START};
}

static enum state after_size_line(struct th_chunked *chunked)
{
    chunked->line = 0;
    chunked->digits = 0; /* counts trailer fields from here on, if this was the last chunk */
    if (chunked->remaining == 0)
        return STATE_TRAILER_START;
    /* data pays for the extensions that came with it: a long stream is not cut for having some */
    chunked->extensions -= chunked->remaining < chunked->extensions ? (uint32_t)chunked->remaining
                                                                    : chunked->extensions;
    return STATE_DATA;
}

static enum state take_digit(struct th_chunked *chunked, char c)
{
    if (++chunked->digits > DIGITS_MAX)
        return STATE_FAILED;
    chunked->remaining = chunked->remaining << 4 | th_scan_hex_value(c);
    return chunked->remaining > SIZE_MAX_VALUE ? STATE_FAILED : STATE_SIZE;
}

/* What may follow a whole extension, or the size. */
static enum state after_extension(char c)
{
    switch (c) {
    case ';':
        return STATE_NAME_START;
    case ' ':
    case '\t':
        return STATE_SIZE_BLANK;
    case '\r':
        return STATE_SIZE_LF;
    }
    return STATE_FAILED;
}

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One byte of a size line: RFC 9112, 7.1 and 7.1.1:
 *     chunk-size *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) CRLF
 * Extensions are known to be a place for smuggling (a LF within, a quote that hides the end), so
 * they are parsed to the letter, and dropped. */
static enum state step_size_line(struct th_chunked *chunked, char c)
{
    switch ((enum state)chunked->state) {
    case STATE_SIZE_START:
        return th_scan_is(c, TH_SCAN_HEX) ? take_digit(chunked, c) : STATE_FAILED;
    case STATE_SIZE:
        return th_scan_is(c, TH_SCAN_HEX) ? take_digit(chunked, c) : after_extension(c);
    case STATE_SIZE_BLANK:
        return c == '\r' ? STATE_FAILED : after_extension(c);
    case STATE_NAME_START:
        if (is_blank(c))
            return STATE_NAME_START;
        return th_scan_is(c, TH_SCAN_TOKEN) ? STATE_NAME : STATE_FAILED;
    case STATE_NAME:
        if (th_scan_is(c, TH_SCAN_TOKEN))
            return STATE_NAME;
        if (c == '=')
            return STATE_VALUE_START;
        return is_blank(c) ? STATE_NAME_BLANK : after_extension(c);
    case STATE_NAME_BLANK:
        if (is_blank(c))
            return STATE_NAME_BLANK;
        if (c == '=')
            return STATE_VALUE_START;
        return c == ';' ? STATE_NAME_START : STATE_FAILED;
    case STATE_VALUE_START:
        if (is_blank(c))
            return STATE_VALUE_START;
        if (c == '"')
            return STATE_QUOTED;
        return th_scan_is(c, TH_SCAN_TOKEN) ? STATE_VALUE : STATE_FAILED;
    case STATE_VALUE:
        return th_scan_is(c, TH_SCAN_TOKEN) ? STATE_VALUE : after_extension(c);
    case STATE_QUOTED:
        if (c == '"')
            return STATE_QUOTED_END;
        if (c == '\\')
            return STATE_QUOTED_PAIR;
        return th_scan_is(c, TH_SCAN_VALUE) ? STATE_QUOTED : STATE_FAILED;
    case STATE_QUOTED_PAIR:
        return th_scan_is(c, TH_SCAN_VALUE) ? STATE_QUOTED : STATE_FAILED;
    case STATE_QUOTED_END:
        return after_extension(c);
    case STATE_SIZE_LF:
        return c == '\n' ? after_size_line(chunked) : STATE_FAILED;
    case STATE_DATA:
    case STATE_DATA_CR:
    case STATE_DATA_LF:
    case STATE_TRAILER_START:
    case STATE_TRAILER_NAME:
    case STATE_TRAILER_VALUE:
    case STATE_TRAILER_LF:
    case STATE_END_LF:
    case STATE_DONE:
    case STATE_FAILED:
        break;
    }
    return STATE_FAILED;
}

static enum state step_trailer(struct th_chunked *chunked, char c)
{
    switch ((enum state)chunked->state) {
    case STATE_TRAILER_START:
        if (c == '\r')
            return STATE_END_LF;
        if (!th_scan_is(c, TH_SCAN_TOKEN) || ++chunked->digits > TRAILER_FIELDS_MAX)
            return STATE_FAILED;
        return STATE_TRAILER_NAME;
    case STATE_TRAILER_NAME:
        if (c == ':')
            return STATE_TRAILER_VALUE;
        return th_scan_is(c, TH_SCAN_TOKEN) ? STATE_TRAILER_NAME : STATE_FAILED;
    case STATE_TRAILER_VALUE:
        if (c == '\r')
            return STATE_TRAILER_LF;
        return th_scan_is(c, TH_SCAN_VALUE) ? STATE_TRAILER_VALUE : STATE_FAILED;
    case STATE_TRAILER_LF:
        return c == '\n' ? STATE_TRAILER_START : STATE_FAILED;
    case STATE_END_LF:
        return c == '\n' ? STATE_DONE : STATE_FAILED;
    case STATE_SIZE_START:
    case STATE_SIZE:
    case STATE_SIZE_BLANK:
    case STATE_NAME_START:
    case STATE_NAME:
    case STATE_NAME_BLANK:
    case STATE_VALUE_START:
    case STATE_VALUE:
    case STATE_QUOTED:
    case STATE_QUOTED_PAIR:
    case STATE_QUOTED_END:
    case STATE_SIZE_LF:
    case STATE_DATA:
    case STATE_DATA_CR:
    case STATE_DATA_LF:
    case STATE_DONE:
    case STATE_FAILED:
        break;
    }
    return STATE_FAILED;
}

static enum state take_size_line(struct th_chunked *chunked, char c)
{
    if (++chunked->line > LINE_MAX_LEN)
        return STATE_FAILED;
    enum state next = step_size_line(chunked, c);
    if (next >= STATE_SIZE_BLANK && next <= STATE_QUOTED_END &&
        ++chunked->extensions > EXTENSIONS_MAX)
        return STATE_FAILED;
    return next;
}

static enum state take_trailer(struct th_chunked *chunked, char c)
{
    enum state next = step_trailer(chunked, c);
    if (next == STATE_END_LF || next == STATE_DONE || next == STATE_FAILED)
        return next;
    if (++chunked->line > TH_CHUNKED_TRAILER_MAX)
        return STATE_FAILED;
    if (chunked->trailer != NULL) {
        if (chunked->trailer_len == chunked->trailer_size)
            return STATE_FAILED;
        chunked->trailer[chunked->trailer_len++] = c;
    }
    return next;
}

static enum state take_byte(struct th_chunked *chunked, char c)
{
    enum state state = (enum state)chunked->state;
    if (state == STATE_DATA_CR)
        return c == '\r' ? STATE_DATA_LF : STATE_FAILED;
    if (state == STATE_DATA_LF)
        return c == '\n' ? STATE_SIZE_START : STATE_FAILED;
    return state <= STATE_SIZE_LF ? take_size_line(chunked, c) : take_trailer(chunked, c);
}

int th_chunked_decode(struct th_chunked *chunked, char *bytes, size_t len, size_t *ret_taken,
                      size_t *ret_data)
{
    size_t at = 0;
    size_t data = 0;
    while (at < len && chunked->state != STATE_DONE && chunked->state != STATE_FAILED) {
        if (chunked->state != STATE_DATA) {
            chunked->state = (uint8_t)take_byte(chunked, bytes[at++]);
            continue;
        }
        size_t run = len - at < chunked->remaining ? len - at : (size_t)chunked->remaining;
        if (at != data)
            memmove(bytes + data, bytes + at, run);
        at += run;
        data += run;
        chunked->remaining -= run;
        if (chunked->remaining == 0)
            chunked->state = STATE_DATA_CR;
    }
    if (chunked->state == STATE_FAILED)
        return TH_E_BAD_CHUNK;
    *ret_taken = at;
    *ret_data = data;
    return chunked->state == STATE_DONE ? TH_CHUNKED_DONE : 0;
}

int th_chunked_parse_trailers(struct th_str trailer, struct th_field *fields, size_t max_fields)
{
    if (trailer.len == 0)
        return 0;
    const char *p = trailer.ptr;
    const char *end = p + trailer.len;
    int count = 0;
    while (p < end) {
        if ((size_t)count >= max_fields || th_line_take_field(&p, end, &fields[count]) != 0)
            return TH_E_BAD_CHUNK;
        enum th_header_id id = (enum th_header_id)fields[count].id;
        /* R3; what is unknown may be meant as a trailer and passes */
        fields[count].dropped =
            (th_header_get(id)->flags & (TH_HEADER_NO_TRAILER | TH_HEADER_HOP | TH_HEADER_FRAMING |
                                         TH_HEADER_CREDENTIAL)) != 0;
        count++;
    }
    return count;
}

size_t th_chunked_write_line(char ret_line[TH_CHUNKED_LINE_MAX], uint64_t size)
{
    static const char digits[] = "0123456789abcdef";
    unsigned n_digits = size == 0 ? 1 : (unsigned)(67 - __builtin_clzll(size)) / 4;
    for (unsigned i = n_digits; i-- > 0; size >>= 4)
        ret_line[i] = digits[size & 0xf];
    ret_line[n_digits] = '\r';
    ret_line[n_digits + 1] = '\n';
    return n_digits + 2;
}
