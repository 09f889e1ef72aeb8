#include "scan.h"

/* Short names for the rows below. */
#define TOK TH_SCAN_TOKEN
#define VAL TH_SCAN_VALUE
#define ANY (TH_SCAN_VALUE | TH_SCAN_TARGET) /* any visible character */
#define PAT (ANY | TH_SCAN_PATH | TH_SCAN_QUERY)
#define QRY (ANY | TH_SCAN_QUERY)
#define LET (PAT | TOK | TH_SCAN_HOST)

const uint8_t th_scan_classes[256] = {
    ['\t'] = VAL,        [' '] = VAL,
    ['!'] = PAT | TOK,   ['"'] = ANY,
    ['#'] = ANY | TOK,   ['$'] = PAT | TOK,
    ['%'] = PAT | TOK,   ['&'] = PAT | TOK,
    ['\''] = PAT | TOK,  ['('] = PAT,
    [')'] = PAT,         ['*'] = PAT | TOK,
    ['+'] = PAT | TOK,   [','] = PAT,
    ['-'] = LET,         ['.'] = LET,
    ['/'] = PAT,         ['0' ... '9'] = LET | TH_SCAN_HEX | TH_SCAN_DIGIT,
    [':'] = PAT,         [';'] = PAT,
    ['<'] = ANY,         ['='] = PAT,
    ['>'] = ANY,         ['?'] = QRY,
    ['@'] = PAT,         ['A' ... 'F'] = LET | TH_SCAN_HEX,
    ['G' ... 'Z'] = LET, ['['] = QRY,
    ['\\'] = QRY,        [']'] = QRY,
    ['^'] = QRY | TOK,   ['_'] = LET,
    ['`'] = QRY | TOK,   ['a' ... 'f'] = LET | TH_SCAN_HEX,
    ['g' ... 'z'] = LET, ['{'] = QRY,
    ['|'] = QRY | TOK,   ['}'] = QRY,
    ['~'] = PAT | TOK,   [0x80 ... 0xff] = VAL, /* obs-text */
};
