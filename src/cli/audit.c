/* tokenhop audit: what can be asked of the files of an audit log. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "digests.h"
#include "options.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/cli/command.h"
#include "tokenhop/observe/seal.h"

#define FILES_MAX 256
#define BREAKS_SHOWN 20 /* a file, so that one that was cut up does not bury what is said of it */

static const char usage[] =
    "usage: tokenhop audit verify [OPTION...] FILE...\n"
    "\n"
    "Checks that the lines of an audit log are those that were written: each bears its number and the\n"
    "digest of the line before. Files that were rotated away are given oldest first. Says of each file which\n"
    "lines it has, and where the chain breaks; and the digest of the last line. The chain alone cannot show that\n"
    "its beginning or end was cut off, the last line edited, or all of it made anew: for that, digests that\n"
    "were kept elsewhere are compared (tokenhop writes them to its ordinary log, as audit.anchor).\n"
    "\n"
    "      --contains DIGEST[,DIGEST...]   each must be that of a line\n"
    "      --anchors FILE                  likewise each one in a file, among whatever else: such as a log\n"
    "      --after DIGEST                  the first line must follow the one with this digest; 0: be line 1\n"
    "      --last DIGEST                   the last line must have this digest\n"
    "  -h, --help                          this text\n"
    "\n"
    "Exit status: 0 the chain is whole, 1 it is not, 2 usage, or a file cannot be read.\n";

struct audit {
    struct th_seal seal;
    uint64_t n_breaks; /* of all files */
    const char *after; /* what the first line must follow; NULL: whatever it says */
    struct th_digests wanted;
};

static const char *why(enum th_seal_fault fault)
{
    switch (fault) {
    case TH_SEAL_WHOLE:
        break;
    case TH_SEAL_UNSEALED:
        return "it is not a sealed line; torn, or put in by another hand";
    case TH_SEAL_MISSING:
        return "lines before it are missing";
    case TH_SEAL_RESTARTED:
        return "a chain begins that knows nothing of the one before";
    case TH_SEAL_REORDERED:
        return "its number is not above that of the line before";
    case TH_SEAL_CHANGED:
        return "it does not follow the line before: one of the two was changed";
    case TH_SEAL_UNCHECKED:
        return "it cannot be checked: no digest can be made of it";
    }
    return "";
}

static void say_break(const char *path, uint64_t line, const struct audit *audit, uint64_t before,
                      enum th_seal_fault fault)
{
    printf("%s:%" PRIu64 ": %s", path, line, why(fault));
    if (fault == TH_SEAL_MISSING)
        printf(": %" PRIu64 " to %" PRIu64, before + 1, audit->seal.number - 1);
    else if (fault != TH_SEAL_UNSEALED && fault != TH_SEAL_UNCHECKED)
        printf(" (seq %" PRIu64 ", after %" PRIu64 ")", audit->seal.number, before);
    printf("\n");
}

/* Bytes up to a line feed, which is left out, or as many as there is room for. False: there are none. */
static bool read_line(FILE *file, char *line, size_t room, size_t *ret_len, bool *ret_is_ended)
{
    size_t len = 0;
    int c = EOF;

    while (len < room && (c = getc_unlocked(file)) != EOF && c != '\n')
        line[len++] = (char)c;
    *ret_len = len;
    *ret_is_ended = c == '\n';
    return len > 0 || *ret_is_ended;
}

/* What the chain says of lines before these files. */
static void look_before(struct audit *audit, const char *path, struct th_str line)
{
    struct th_seal_read read;

    if (audit->seal.number > 0 || !th_seal_read(line, &read))
        return;
    th_digests_see(&audit->wanted, read.previous);
    if (audit->after != NULL && !th_str_equal(read.previous, th_str_of(audit->after))) {
        printf("%s: the first line does not follow %s, but %.*s\n", path, audit->after,
               TH_STR_ARGS(read.previous));
        audit->n_breaks++;
    } else if (read.number > 1) {
        printf("%s: begins with seq %" PRIu64 ": what was before is in none of these files\n", path,
               read.number);
    }
}

/* A line is what ends with a line feed. What is longer than TH_SEAL_LINE_MAX is none of ours, and is seen as
 * several. */
static void verify_lines(struct audit *audit, FILE *file, const char *path, char *line)
{
    uint64_t n_lines = 0, n_breaks = 0, first = 0;
    bool is_ended;
    size_t len;

    while (read_line(file, line, TH_SEAL_LINE_MAX, &len, &is_ended)) {
        uint64_t before = audit->seal.number;
        struct th_str text = {line, len};
        n_lines++;
        if (is_ended)
            look_before(audit, path, text);
        enum th_seal_fault fault = is_ended ? th_seal_check(&audit->seal, text) : TH_SEAL_UNSEALED;
        if (first == 0)
            first = audit->seal.number;
        if (fault != TH_SEAL_UNSEALED)
            th_digests_see(&audit->wanted, th_str_of(audit->seal.digest));
        if (fault != TH_SEAL_WHOLE && n_breaks++ < BREAKS_SHOWN)
            say_break(path, n_lines, audit, before, fault);
    }
    if (n_breaks > BREAKS_SHOWN)
        printf("%s: and %" PRIu64 " breaks more\n", path, n_breaks - BREAKS_SHOWN);
    if (n_lines == 0)
        printf("%s: empty\n", path);
    else
        printf("%s: %" PRIu64 " line%s, seq %" PRIu64 " to %" PRIu64 ", %s\n", path, n_lines,
               n_lines == 1 ? "" : "s", first, audit->seal.number,
               n_breaks == 0 ? "unbroken" : "broken");
    audit->n_breaks += n_breaks;
}

static int verify_file(struct audit *audit, const char *path)
{
    char *line = th_malloc(TH_SEAL_LINE_MAX);
    FILE *file = line != NULL ? fopen(path, "re") : NULL;
    int err = line != NULL ? errno : ENOMEM;

    if (file != NULL) {
        errno = 0;
        verify_lines(audit, file, path, line);
        err = ferror(file) ? errno : 0;
        fclose(file);
    }
    th_free(line);
    if (err == 0)
        return TH_EXIT_FINE;
    return th_options_refuse("audit", "%s cannot be read: %s", path, strerror(err));
}

static int verify(struct audit *audit, const char *const *paths, size_t n_paths, const char *last)
{
    th_seal_init(&audit->seal);
    for (size_t i = 0; i < n_paths; i++) {
        int status = verify_file(audit, paths[i]);
        if (status != TH_EXIT_FINE)
            return status;
    }
    printf("last digest: %s\n", audit->seal.digest);
    if (last != NULL && strcmp(last, audit->seal.digest) != 0) {
        printf("it is not the one that was to be last: %s\n", last);
        audit->n_breaks++;
    }
    for (size_t i = 0; i < audit->wanted.n; i++) {
        if (audit->wanted.items[i].is_seen)
            continue;
        printf("no line has the digest %s\n", audit->wanted.items[i].text);
        audit->n_breaks++;
    }
    if (audit->wanted.n > 0)
        printf("%zu digest%s looked for\n", audit->wanted.n, audit->wanted.n == 1 ? "" : "s");
    return audit->n_breaks == 0 ? TH_EXIT_FINE : TH_EXIT_NOT_SO;
}

/* What was kept elsewhere. */
static int gather(struct th_digests *wanted, const char *command, const char *contains,
                  const char *anchors)
{
    size_t n = 0;

    if (contains != NULL && (!th_digests_add_list(wanted, contains, &n) || n == 0))
        return th_options_refuse(command, "--contains has what is no digest: %d hex digits",
                                 TH_SEAL_DIGEST_LEN);
    if (anchors == NULL)
        return TH_EXIT_FINE;
    int err = th_digests_add_file(wanted, anchors, &n);
    if (err != 0)
        return th_options_refuse(command, "%s cannot be read: %s", anchors, strerror(err));
    /* Else a file that was named by mistake, or emptied, would prove anything. */
    return n > 0 ? TH_EXIT_FINE : th_options_refuse(command, "%s has no digest", anchors);
}

static int run(int argc, char **argv)
{
    const char *last = NULL, *contains = NULL, *anchors = NULL, *after = NULL;
    const char *words[1 + FILES_MAX] = {NULL};
    const struct th_option options[] = {{"last", '\0', &last, NULL},
                                        {"contains", '\0', &contains, NULL},
                                        {"anchors", '\0', &anchors, NULL},
                                        {"after", '\0', &after, NULL}};
    int status = th_options_parse(argc, argv, usage, options, TH_COUNT_OF(options), words,
                                  TH_COUNT_OF(words));
    size_t n_words = 0;

    if (status >= 0)
        return status;
    while (n_words < TH_COUNT_OF(words) && words[n_words] != NULL)
        n_words++;
    if (n_words == 0 || strcmp(words[0], "verify") != 0)
        return th_options_refuse(argv[0], "it can only verify");
    if (n_words == 1)
        return th_options_refuse(argv[0], "no file named");
    if (last != NULL && !th_seal_is_digest(th_str_of(last)))
        return th_options_refuse(argv[0], "--last is no digest: %d hex digits", TH_SEAL_DIGEST_LEN);
    if (after != NULL && strcmp(after, "0") == 0)
        after = TH_SEAL_NOTHING;
    if (after != NULL && !th_seal_is_digest(th_str_of(after)))
        return th_options_refuse(argv[0], "--after is no digest: %d hex digits, or 0",
                                 TH_SEAL_DIGEST_LEN);
    struct audit audit = {.after = after};
    status = gather(&audit.wanted, argv[0], contains, anchors);
    if (status == TH_EXIT_FINE)
        status = verify(&audit, words + 1, n_words - 1, last);
    th_digests_fini(&audit.wanted);
    return status;
}

const struct th_command th_command_audit = {"audit", "checks the files of an audit log", usage,
                                            run};
