#include "made.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenhop/base/buf.h"
#include "write_file.h"

#define NOTES "tokenhop-exec.made"
#define NOTES_MAX ((size_t)1 << 20)
#define FILE_MAX ((size_t)16 << 20)
#define DIGEST_LEN 64 /* in hexadecimal digits */
#define LINE_MAX_LEN (DIGEST_LEN + 2 + NAME_MAX + 2)

static const char mend[] = "remove it if it is not needed, or name another folder by --dir";

/* "DIGEST  NAME\n", as sha256sum writes it. */
static int make_line(struct th_str text, const char *name, char ret_line[LINE_MAX_LEN])
{
    uint8_t digest[32];

    if (EVP_Digest(text.ptr, text.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return TH_E_NOMEM;
    th_str_format_hex(digest, sizeof digest, ret_line);
    (void)snprintf(ret_line + DIGEST_LEN, LINE_MAX_LEN - DIGEST_LEN, "  %s\n", name);
    return 0;
}

/* A regular file of this user, no link to one. 0, and *text is initialized; that there is none is no error. */
static int read_own(const char *path, size_t max, struct th_buf *text, bool *ret_is_there,
                    struct th_errinfo *reterr)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    char piece[8192];
    struct stat st;
    ssize_t n = 0;

    th_buf_init(text, max);
    *ret_is_there = fd >= 0 || errno != ENOENT;
    if (fd < 0)
        return *ret_is_there ? th_write_refuse(path, mend, "it is not overwritten", errno, reterr)
                             : 0;
    bool is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid();
    while (is_file && !text->failed && (n = read(fd, piece, sizeof piece)) > 0)
        th_buf_add(text, piece, (size_t)n);
    (void)close(fd);
    if (is_file && n == 0 && !text->failed)
        return 0;
    th_buf_fini(text);
    return th_errinfo_set(reterr, TH_E_IO, path, mend,
                          "it is no file of ours, and not overwritten");
}

static bool has_line(const struct th_buf *notes, const char *line)
{
    size_t len = strlen(line);

    for (const char *at = notes->ptr;
         at != NULL && (size_t)(notes->ptr + notes->len - at) >= len;) {
        if (memcmp(at, line, len) == 0)
            return true;
        at = memchr(at, '\n', (size_t)(notes->ptr + notes->len - at));
        at = at != NULL ? at + 1 : NULL;
    }
    return false;
}

/* By one write at its end, so that two at a time lose nothing. Before the file itself: what was noted and not
 * written is no harm. */
static int add_line(const char *path, const char *line, struct th_errinfo *reterr)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0644);

    if (fd < 0)
        return th_write_refuse(path, mend, "it cannot be written", errno, reterr);
    bool failed = th_write_all(fd, th_str_of(line)) < 0;
    int err = errno;
    (void)close(fd);
    return failed ? th_write_refuse(path, NULL, "it cannot be written", err, reterr) : 0;
}

/* Whether what lies there is what some run has written. */
static int check(const char *path, const char *name, const struct th_buf *notes,
                 struct th_errinfo *reterr)
{
    char line[LINE_MAX_LEN];
    struct th_buf there;
    bool is_there;
    int error = read_own(path, FILE_MAX, &there, &is_there, reterr);

    if (error < 0 || !is_there)
        return error;
    error = make_line(th_buf_str(&there), name, line);
    th_buf_fini(&there);
    if (error == 0 && !has_line(notes, line))
        error = th_errinfo_set(reterr, TH_E_IO, path, mend,
                               "tokenhop exec has not made this file, or it was changed since, and "
                               "it is not overwritten");
    return error;
}

int th_made_claim(const char *folder, const char *name, struct th_str text,
                  struct th_errinfo *reterr)
{
    char path[PATH_MAX], notes_path[PATH_MAX], line[LINE_MAX_LEN];
    struct th_buf notes;
    bool is_there;

    int len = snprintf(path, sizeof path, "%s/%s", folder, name);
    int notes_len = snprintf(notes_path, sizeof notes_path, "%s/" NOTES, folder);
    if (len < 0 || (size_t)len >= sizeof path || notes_len < 0 ||
        (size_t)notes_len >= sizeof notes_path)
        return th_write_refuse(folder, NULL, "it cannot be written", ENAMETOOLONG, reterr);
    int error = read_own(notes_path, NOTES_MAX, &notes, &is_there, reterr);
    if (error < 0)
        return error;
    error = check(path, name, &notes, reterr);
    if (error == 0)
        error = make_line(text, name, line);
    if (error == 0 && !has_line(&notes, line))
        error = add_line(notes_path, line, reterr);
    th_buf_fini(&notes);
    return error;
}
