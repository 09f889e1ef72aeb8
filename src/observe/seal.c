#include "tokenhop/observe/seal.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/utf8.h"

#define SEQ TH_STR(",\"seq\":")
#define PREV TH_STR(",\"prev\":\"")
#define END TH_STR("\"}")

void th_seal_init(struct th_seal *seal)
{
    *seal = (struct th_seal){0};
    memcpy(seal->digest, TH_SEAL_NOTHING, sizeof seal->digest);
}

static bool digest_of(struct th_str line, char ret_digest[TH_SEAL_DIGEST_LEN + 1])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[TH_SEAL_DIGEST_LEN / 2];
    if (EVP_Digest(line.ptr, line.len, bytes, NULL, EVP_sha256(), NULL) != 1)
        return false;
    for (size_t i = 0; i < sizeof bytes; i++) {
        ret_digest[2 * i] = hex[bytes[i] >> 4];
        ret_digest[2 * i + 1] = hex[bytes[i] & 15];
    }
    ret_digest[TH_SEAL_DIGEST_LEN] = '\0';
    return true;
}

/* `line` without its line feed. */
static bool seal_line(struct th_seal *seal, struct th_str line, struct th_buf *out)
{
    size_t start = out->len;
    if (TH_CHECK_FAILS(line.len > 2 && line.ptr[line.len - 1] == '}'))
        return false;
    th_buf_add_str(out, (struct th_str){line.ptr, line.len - 1});
    th_buf_printf(out, ",\"seq\":%llu,\"prev\":\"%s\"}", (unsigned long long)seal->number + 1,
                  seal->digest);
    if (out->failed ||
        !digest_of((struct th_str){out->ptr + start, out->len - start}, seal->digest))
        return false;
    seal->number++;
    th_buf_add_char(out, '\n');
    return !out->failed;
}

int th_seal_lines(struct th_seal *seal, struct th_str lines, struct th_buf *out)
{
    const struct th_seal before = *seal;
    while (lines.len > 0) {
        const char *end = memchr(lines.ptr, '\n', lines.len);
        size_t len = end != NULL ? (size_t)(end - lines.ptr) : lines.len;
        if (!seal_line(seal, (struct th_str){lines.ptr, len}, out)) {
            *seal = before;
            return TH_E_NOMEM;
        }
        size_t step = end != NULL ? len + 1 : len;
        lines = (struct th_str){lines.ptr + step, lines.len - step};
    }
    return 0;
}

static bool take_end(struct th_str *line, struct th_str end)
{
    if (line->len < end.len || memcmp(line->ptr + line->len - end.len, end.ptr, end.len) != 0)
        return false;
    line->len -= end.len;
    return true;
}

bool th_seal_is_digest(struct th_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((text.ptr[i] < '0' || text.ptr[i] > '9') && (text.ptr[i] < 'a' || text.ptr[i] > 'f'))
            return false;
    return text.len == TH_SEAL_DIGEST_LEN;
}

/* As th_buf_add_json() writes strings, and members are put together: no control, C1 included, is ever in a
 * line. */
static bool is_clean(struct th_str line)
{
    const unsigned char *s = (const unsigned char *)line.ptr;
    for (size_t i = 0; i < line.len; i++)
        if (s[i] < 0x20 || s[i] == 0x7F || (s[i] == 0xC2 && i + 1 < line.len && s[i + 1] < 0xA0))
            return false;
    return th_utf8_is_whole(line);
}

/* The digits are before fixed text at its end, so that no member's value is taken for them. */
bool th_seal_read(struct th_str line, struct th_seal_read *ret_read)
{
    if (!is_clean(line) || line.len == 0 || line.ptr[0] != '{' || !take_end(&line, END) ||
        line.len < TH_SEAL_DIGEST_LEN)
        return false;
    line.len -= TH_SEAL_DIGEST_LEN;
    ret_read->previous = (struct th_str){line.ptr + line.len, TH_SEAL_DIGEST_LEN};
    if (!th_seal_is_digest(ret_read->previous) || !take_end(&line, PREV))
        return false;
    size_t n_digits = 0;
    while (n_digits < line.len && line.ptr[line.len - 1 - n_digits] >= '0' &&
           line.ptr[line.len - 1 - n_digits] <= '9')
        n_digits++;
    struct th_str digits = {line.ptr + line.len - n_digits, n_digits};
    line.len -= n_digits;
    return n_digits > 0 && digits.ptr[0] != '0' && take_end(&line, SEQ) &&
           th_str_to_u64(digits, UINT64_MAX - 1, &ret_read->number) == 0;
}

enum th_seal_fault th_seal_check(struct th_seal *seal, struct th_str line)
{
    struct th_seal_read read;
    enum th_seal_fault fault = TH_SEAL_WHOLE;
    char digest[TH_SEAL_DIGEST_LEN + 1];
    if (!th_seal_read(line, &read))
        return TH_SEAL_UNSEALED;
    if (!digest_of(line, digest))
        return TH_SEAL_UNCHECKED;
    bool follows = th_str_equal(read.previous, th_str_of(seal->digest));
    if (seal->number == 0) /* nothing is known of what was before, unless nothing was */
        fault = read.number == 1 && !follows ? TH_SEAL_CHANGED : TH_SEAL_WHOLE;
    else if (read.number == 1)
        fault = TH_SEAL_RESTARTED;
    else if (read.number <= seal->number)
        fault = TH_SEAL_REORDERED;
    else if (read.number > seal->number + 1)
        fault = TH_SEAL_MISSING;
    else if (!follows)
        fault = TH_SEAL_CHANGED;
    seal->number = read.number;
    memcpy(seal->digest, digest, sizeof seal->digest);
    return fault;
}

/* ---- going on ---- */

static int failed(struct th_errinfo *reterr, const char *path)
{
    return th_errinfo_set(reterr, TH_E_IO, path, "the last line is read, so that the chain goes on",
                          "%s cannot be read: %s", path, strerror(errno));
}

/* The last line that ends with a line feed. */
static struct th_str last_line(struct th_str text)
{
    while (text.len > 0 && text.ptr[text.len - 1] != '\n')
        text.len--;
    if (text.len == 0)
        return TH_STR_NONE;
    text.len--;
    size_t start = text.len;
    while (start > 0 && text.ptr[start - 1] != '\n')
        start--;
    return (struct th_str){text.ptr + start, text.len - start};
}

static int read_end(int fd, struct th_buf *ret_end)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -1;
    off_t from = st.st_size > (off_t)TH_SEAL_LINE_MAX ? st.st_size - (off_t)TH_SEAL_LINE_MAX : 0;
    for (;;) {
        char *at = th_buf_reserve(ret_end, 64 * 1024);
        ssize_t n = at != NULL ? pread(fd, at, 64 * 1024, from) : 0;
        if (n <= 0)
            return (int)n;
        th_buf_commit(ret_end, (size_t)n);
        from += n;
    }
}

int th_seal_resume(struct th_seal *seal, int fd, const char *path, bool *ret_is_torn,
                   struct th_errinfo *reterr)
{
    struct th_buf end;
    struct th_seal_read read;
    int error = 0;
    th_seal_init(seal);
    th_buf_init(&end, 4 * TH_SEAL_LINE_MAX);
    if (read_end(fd, &end) < 0)
        error = failed(reterr, path);
    *ret_is_torn = end.len > 0 && end.ptr[end.len - 1] != '\n';
    struct th_str line = error == 0 ? last_line(th_buf_str(&end)) : TH_STR_NONE;
    if (th_seal_read(line, &read)) {
        seal->number = read.number;
        if (!digest_of(line, seal->digest))
            error = th_errinfo_set(reterr, TH_E_INTERNAL, path, NULL,
                                   "no digest can be made of the last line of %s", path);
    }
    th_buf_fini(&end);
    return error;
}
