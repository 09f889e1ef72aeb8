#include "tokenhop/base/utf8.h"

int th_utf8_len(const unsigned char *s, size_t room)
{
    unsigned char low = 0x80, high = 0xBF;
    int len;
    if (s[0] >= 0xC2 && s[0] <= 0xDF) {
        len = 2;
    } else if ((s[0] & 0xF0) == 0xE0) {
        len = 3;
        low = s[0] == 0xE0 ? 0xA0 : low;
        high = s[0] == 0xED ? 0x9F : high;
    } else if (s[0] >= 0xF0 && s[0] <= 0xF4) {
        len = 4;
        low = s[0] == 0xF0 ? 0x90 : low;
        high = s[0] == 0xF4 ? 0x8F : high;
    } else {
        return -1;
    }
    for (int i = 1; i < len; i++) {
        if ((size_t)i >= room || s[i] < low || s[i] > high)
            return -i;
        low = 0x80;
        high = 0xBF;
    }
    return len;
}

bool th_utf8_is_whole(struct th_str text)
{
    const unsigned char *s = (const unsigned char *)text.ptr;
    size_t i = 0;
    while (i < text.len) {
        int len = s[i] < 0x80 ? 1 : th_utf8_len(s + i, text.len - i);
        if (len < 0)
            return false;
        i += (size_t)len;
    }
    return true;
}

#define MAX_LEN 4

struct th_str th_utf8_cut(struct th_str text, size_t max)
{
    if (text.len <= max)
        return text;
    /* Where the character begins that reaches over the end; what is none is cut anywhere. */
    for (size_t back = 1; back < MAX_LEN && back <= max; back++) {
        const unsigned char *s = (const unsigned char *)text.ptr + max - back;
        if (*s < 0x80)
            break;
        if (*s >= 0xC0) {
            int len = th_utf8_len(s, text.len - (max - back));
            return (struct th_str){text.ptr, len > (int)back ? max - back : max};
        }
    }
    return (struct th_str){text.ptr, max};
}
