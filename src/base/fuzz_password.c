/* Files of hashes: what is said to be without fault can be given to crypt(3), and is not the hash of a guess. */
#include <stdlib.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/password.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* What crypt(3) makes of a line takes milliseconds, or a second: the cheap ones of each form only. */
static bool is_cheap(struct th_str line)
{
    static const struct th_str begins[] = {TH_STR("$5$"), TH_STR("$6$"), TH_STR("$y$j7"),
                                           TH_STR("$2b$10$"), TH_STR("$2y$10$")};

    if (th_str_starts_with(line, TH_STR("$5$rounds=")) ||
        th_str_starts_with(line, TH_STR("$6$rounds=")))
        return false;
    for (size_t i = 0; i < TH_COUNT_OF(begins); i++)
        if (th_str_starts_with(line, begins[i]))
            return true;
    return false;
}

static void check_line(struct th_str line)
{
    bool is_right = true;

    if (!is_cheap(line))
        return;
    struct th_secret *secret = th_secret_new(line.ptr, line.len);
    TH_REQUIRE(secret != NULL);
    TH_REQUIRE(th_password_verify(secret, TH_STR("a guess"), &is_right) == 0 && !is_right);
    th_secret_unref(secret);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    /* A copy without anything behind it, so that reading on is noticed. */
    char *copy = malloc(len > 0 ? len : 1);
    struct th_str text = {copy, len}, line;
    unsigned number = 0, before = 0;

    TH_REQUIRE(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    (void)th_password_is_hashed(text);
    (void)th_password_find_flaw(text);
    while (th_password_next_line(&text, &number, &line)) {
        TH_REQUIRE(number > before && line.len > 0 && line.ptr[0] != '#');
        TH_REQUIRE(memchr(line.ptr, '\n', line.len) == NULL);
        before = number;
        if (th_password_find_fault(line) != NULL)
            continue;
        TH_REQUIRE(memchr(line.ptr, '\0', line.len) == NULL && line.len < 384);
        if (!th_password_is_digest(line))
            check_line(line);
    }
    TH_REQUIRE(text.len == 0);
    free(copy);
    return 0;
}
