#include "tokenhop/base/password.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/utf8.h"

#define DIGEST_PREFIX TH_STR("sha256:")
#define SALT_MIN 8 /* characters of 6 bits: fewer may meet again */
#define BCRYPT_SALT_LEN 22
#define BCRYPT_HASH_LEN 31
#define BCRYPT_BYTES 72 /* of a password, that bcrypt looks at */

/* What a wrong password may cost, and what a guess at least does. */
#define BCRYPT_COST_MIN 10
#define BCRYPT_COST_MAX 14
#define SHA_ROUNDS_MIN 5000 /* the default of sha-crypt */
#define SHA_ROUNDS_MAX 1000000
#define YESCRYPT_ONE_DIGIT 48 /* the numbers up to it; what stands for more begins one of two */
#define YESCRYPT_BYTES_MIN ((uint64_t)4 << 20)
#define YESCRYPT_BYTES_MAX ((uint64_t)128 << 20)

static const char unknown[] =
    "this is no hash that is known here; these are: $y$ (yescrypt), $2b$ and $2y$ (bcrypt), $6$ and $5$ "
    "(sha-crypt), sha256:";
static const char malformed[] = "this hash is not well-formed: is the line whole?";
static const char too_cheap[] =
    "this hash is too weak: bcrypt's cost must be 10 or more, sha-crypt's rounds 5000, yescrypt's "
    "memory 4 MiB";
static const char too_dear[] =
    "this hash would take too long to verify: bcrypt's cost must be 14 at most, sha-crypt's rounds "
    "1000000, yescrypt's memory 128 MiB";

/* --- files --- */

bool th_password_is_hashed(struct th_str text)
{
    struct th_str begin = th_str_trim_lines(text);

    return begin.len > 0 &&
           (begin.ptr[0] == '$' || begin.ptr[0] == '#' || th_password_is_digest(begin));
}

bool th_password_next_line(struct th_str *text, unsigned *line, struct th_str *ret_line)
{
    while (text->len > 0) {
        const char *end = memchr(text->ptr, '\n', text->len);
        size_t len = end != NULL ? (size_t)(end - text->ptr) : text->len;
        struct th_str found = th_str_trim_lines((struct th_str){text->ptr, len});
        size_t taken = end != NULL ? len + 1 : len;
        *text = (struct th_str){text->ptr + taken, text->len - taken};
        ++*line;
        if (found.len > 0 && found.ptr[0] != '#') {
            *ret_line = found;
            return true;
        }
    }
    return false;
}

/* --- forms --- */

/* The digits of crypt(5), which bcrypt has in another order. */
static int digit_of(char c)
{
    static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

static bool is_digits(struct th_str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (digit_of(s.ptr[i]) < 0)
            return false;
    return true;
}

/* What stands before the next '$', which is taken too. False: there is none. */
static bool cut_part(struct th_str *rest, struct th_str *ret_part)
{
    const char *end = memchr(rest->ptr, '$', rest->len);

    if (end == NULL)
        return false;
    *ret_part = (struct th_str){rest->ptr, (size_t)(end - rest->ptr)};
    *rest = (struct th_str){end + 1, rest->len - ret_part->len - 1};
    return true;
}

static bool is_salt_and_hash(struct th_str rest, size_t salt_max, size_t hash_len)
{
    struct th_str salt;

    return cut_part(&rest, &salt) && salt.len >= SALT_MIN && salt.len <= salt_max &&
           is_digits(salt) && rest.len == hash_len && is_digits(rest);
}

static const char *check_bounds(uint64_t cost, uint64_t min, uint64_t max)
{
    if (cost < min)
        return too_cheap;
    return cost > max ? too_dear : NULL;
}

/* [rounds=N$]SALT$HASH */
static const char *check_sha(struct th_str rest, size_t hash_len)
{
    uint64_t rounds = SHA_ROUNDS_MIN;
    struct th_str part;

    if (th_str_starts_with(rest, TH_STR("rounds="))) {
        if (!cut_part(&rest, &part) || part.ptr[7] == '0' ||
            th_str_to_u64((struct th_str){part.ptr + 7, part.len - 7}, 999999999, &rounds) < 0)
            return malformed;
    }
    if (!is_salt_and_hash(rest, 16, hash_len))
        return malformed;
    return check_bounds(rounds, SHA_ROUNDS_MIN, SHA_ROUNDS_MAX);
}

/* NN$ and salt and hash at one. The last digit of the salt stands for 2 bits, at its other end; a hash with any other
 * there is made by no bcrypt, and would be nobody's. */
static const char *check_bcrypt(struct th_str rest)
{
    struct th_str part;
    uint64_t cost;

    if (!cut_part(&rest, &part) || part.len != 2 || th_str_to_u64(part, 31, &cost) < 0 ||
        rest.len != BCRYPT_SALT_LEN + BCRYPT_HASH_LEN || !is_digits(rest) ||
        memchr(".Oeu", rest.ptr[BCRYPT_SALT_LEN - 1], 4) == NULL)
        return malformed;
    return check_bounds(cost, BCRYPT_COST_MIN, BCRYPT_COST_MAX);
}

/* Whole bytes in digits, which crypt(5) writes from the lowest bits on: as many digits as it takes, and none of the
 * bits that the last one has over. */
static bool is_whole_bytes(struct th_str digits)
{
    size_t over = digits.len % 4;

    if (over == 0)
        return true;
    int last = digit_of(digits.ptr[digits.len - 1]);
    return over != 1 && last < (over == 2 ? 4 : 16);
}

/* PARAMETERS$SALT$HASH. The parameters are numbers of few digits: the flavor, of which only 'j' is ever made; the
 * logarithm of the number of blocks, less 1; their size in units of 128 bytes, less 1. More may follow
 * (threads, time, a ROM), which nobody asks for. Values that take a second digit are far beyond the bounds. */
static const char *check_yescrypt(struct th_str rest)
{
    struct th_str part;

    if (!cut_part(&rest, &part) || part.len < 3 || !is_digits(part) ||
        !is_salt_and_hash(rest, 86, 43) ||
        !is_whole_bytes((struct th_str){rest.ptr, rest.len - 44}))
        return malformed;
    if (part.len != 3 || part.ptr[0] != 'j')
        return too_dear;
    int log_blocks = digit_of(part.ptr[1]) + 1, units = digit_of(part.ptr[2]) + 1;
    if (log_blocks > YESCRYPT_ONE_DIGIT)
        return too_dear;
    if (units > YESCRYPT_ONE_DIGIT)
        return malformed;
    return check_bounds((uint64_t)128 * (unsigned)units << log_blocks, YESCRYPT_BYTES_MIN,
                        YESCRYPT_BYTES_MAX);
}

static const char *check_digest(struct th_str rest)
{
    char nothing[TH_PASSWORD_DIGEST_LEN + 1];

    if (rest.len != TH_PASSWORD_DIGEST_LEN - DIGEST_PREFIX.len)
        return "after sha256: there must be 64 hexadecimal digits";
    for (size_t i = 0; i < rest.len; i++)
        if (strchr("0123456789abcdefABCDEF", rest.ptr[i]) == NULL || rest.ptr[i] == '\0')
            return "after sha256: there must be 64 hexadecimal digits";
    th_password_digest(TH_STR_NONE, nothing);
    if (th_str_equal_nocase(rest, th_str_of(nothing + DIGEST_PREFIX.len)))
        return "this is the digest of nothing: of a variable that was not set?";
    return NULL;
}

static const struct {
    struct th_str prefix;
    const char *why;
} weak[] = {
    {TH_STR("$1$"), "md5crypt ($1$) is too weak: such hashes are guessed at billions a second"},
    {TH_STR("$apr1$"),
     "md5crypt ($apr1$) is too weak: such hashes are guessed at billions a second"},
    {TH_STR("$md5"), "$md5 hashes are too weak"},
    {TH_STR("$3$"), "$3$ (NT) hashes are too weak"},
    {TH_STR("$sha1$"), "$sha1$ hashes are too weak"},
    {TH_STR("$2a$"),
     "$2a$ may have been made by a bcrypt with a known flaw; $2b$ and $2y$ are without"},
    {TH_STR("$2x$"), "$2x$ is made by a bcrypt with a known flaw; $2b$ and $2y$ are without"},
};

/* Without a NUL, which would end what crypt(3) sees. */
static struct th_str after(struct th_str line, size_t len)
{
    return (struct th_str){line.ptr + len, line.len - len};
}

const char *th_password_find_fault(struct th_str line)
{
    if (th_password_is_digest(line))
        return check_digest(after(line, DIGEST_PREFIX.len));
    if (th_str_starts_with(line, TH_STR("$y$")))
        return check_yescrypt(after(line, 3));
    if (th_str_starts_with(line, TH_STR("$2b$")) || th_str_starts_with(line, TH_STR("$2y$")))
        return check_bcrypt(after(line, 4));
    if (th_str_starts_with(line, TH_STR("$6$")))
        return check_sha(after(line, 3), 86);
    if (th_str_starts_with(line, TH_STR("$5$")))
        return check_sha(after(line, 3), 43);
    for (size_t i = 0; i < TH_COUNT_OF(weak); i++)
        if (th_str_starts_with(line, weak[i].prefix))
            return weak[i].why;
    /* 13 digits, and nothing to tell it by; within a file of hashes it can be nothing else. */
    if (line.len == 13 && is_digits(line))
        return "DES hashes are too weak: their passwords have 8 characters at most";
    return unknown;
}

bool th_password_is_digest(struct th_str line)
{
    return th_str_starts_with(line, DIGEST_PREFIX);
}

/* --- work --- */

void th_password_digest(struct th_str password, char ret_line[TH_PASSWORD_DIGEST_LEN + 1])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    memcpy(ret_line, DIGEST_PREFIX.ptr, DIGEST_PREFIX.len);
    SHA256((const unsigned char *)password.ptr, password.len, digest);
    th_str_format_hex(digest, sizeof digest, ret_line + DIGEST_PREFIX.len);
    th_wipe(digest, sizeof digest);
}

const char *th_password_find_flaw(struct th_str password)
{
    if (password.len < TH_PASSWORD_MIN)
        return "it must be of 8 characters at least";
    if (password.len > TH_PASSWORD_MAX)
        return "it must be of 511 bytes at most";
    if (th_str_has_control(password))
        return "it has a control character, which no client can send";
    if (!th_utf8_is_whole(password))
        return "it is not UTF-8, as which clients are asked to send it";
    return NULL;
}

struct work {
    char password[TH_PASSWORD_MAX + 1];
    struct crypt_data data; /* 32 KiB; libcrypt leaves what it calculated with in here */
};

static struct work *work_new(struct th_str password)
{
    struct work *work = th_calloc(1, sizeof *work);

    if (work != NULL)
        memcpy(work->password, password.ptr, password.len);
    return work;
}

static void work_free(struct work *work)
{
    th_wipe(work, sizeof *work);
    th_free(work);
}

static bool can_be_of(struct th_str line, struct th_str password)
{
    bool is_bcrypt = th_str_starts_with(line, TH_STR("$2"));

    return password.len > 0 && password.len <= (is_bcrypt ? BCRYPT_BYTES : TH_PASSWORD_MAX) &&
           memchr(password.ptr, '\0', password.len) == NULL;
}

int th_password_verify(const struct th_secret *line, struct th_str password, bool *ret_is_right)
{
    struct th_str wanted = th_secret_expose(line);

    *ret_is_right = false;
    if (!can_be_of(wanted, password))
        return 0;
    struct work *work = work_new(password);
    if (work == NULL)
        return TH_E_NOMEM;
    const char *got = crypt_rn(work->password, wanted.ptr, &work->data, (int)sizeof work->data);
    /* The line has no fault and the password fits: all that is left to fail is memory. */
    int error = got != NULL ? 0 : TH_E_NOMEM;
    *ret_is_right =
        got != NULL && strlen(got) == wanted.len && CRYPTO_memcmp(got, wanted.ptr, wanted.len) == 0;
    work_free(work);
    return error;
}

int th_password_make(struct th_str password, struct th_secret **ret_line)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    struct work *work = can_be_of(TH_STR("$y$"), password) ? work_new(password) : NULL;

    if (work == NULL)
        return TH_E_NOMEM;
    const char *line = NULL;
    if (crypt_gensalt_rn("$y$", 0, NULL, 0, setting, (int)sizeof setting) != NULL)
        line = crypt_rn(work->password, setting, &work->data, (int)sizeof work->data);
    *ret_line = line != NULL ? th_secret_new(line, strlen(line)) : NULL;
    work_free(work);
    return *ret_line != NULL ? 0 : TH_E_NOMEM;
}
