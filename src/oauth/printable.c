#include "printable.h"

#include <ctype.h>

#define RUN_MAX 20 /* of characters that a token is made of; an identifier of Okta's has 20 */

void th_printable_copy(char *ret_text, size_t size, struct th_str text)
{
    size_t len = text.len < size ? text.len : size - 1;
    for (size_t i = 0; i < len; i++)
        ret_text[i] = text.ptr[i] >= 0x20 && text.ptr[i] < 0x7f ? text.ptr[i] : '?';
    ret_text[len] = '\0';
}

/* base64, base64url and hexadecimal; not '.', '/' and ':', which part the pieces of a URL. */
static bool is_token_char(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '+' || c == '=' || c == '~';
}

bool th_printable_hides_token(struct th_str text)
{
    size_t run = 0;
    bool has_digit = false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_token_char(text.ptr[i])) {
            run = 0;
            has_digit = false;
            continue;
        }
        run++;
        has_digit = has_digit || isdigit((unsigned char)text.ptr[i]);
        if (run > RUN_MAX * 2 || (run > RUN_MAX && has_digit))
            return true;
        if (text.len - i >= 3 && memcmp(text.ptr + i, "eyJ", 3) == 0) /* base64url of {" */
            return true;
    }
    return false;
}
