/* tokenhop audit: what can be asked of the files of an audit log. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/cli/command.h"
#include "tokenhop/observe/seal.h"

#define FILES_MAX 256
#define BREAKS_SHOWN 20 /* a file, so that one that was cut up does not bury what is said of it */

static const char usage[] =
    "usage: tokenhop audit verify [--last DIGEST] FILE...\n"
    "\n"
    "Checks that the lines of an audit log are those that were written: each bears its number and the\n"
    "digest of the line before. Files that were rotated away are given oldest first. Says of each file which\n"
    "lines it has, and where the chain breaks; and the digest of the last line, to be kept elsewhere: only\n"
    "comparison with it shows that the end was cut off, or the whole chain made anew.\n"
    "\n"
    "      --last DIGEST   the last line must have this digest\n"
    "  -h, --help          this text\n"
    "\n"
    "Exit status: 0 the chain is whole, 1 it is not, 2 usage, or a file cannot be read.\n";

struct audit {
    struct th_seal seal;
    uint64_t n_breaks; /* of all files */
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
    }
    return "";
}

static void say_break(const char *path, uint64_t line, const struct audit *audit, uint64_t before,
                      enum th_seal_fault fault)
{
    printf("%s:%" PRIu64 ": %s", path, line, why(fault));
    if (fault == TH_SEAL_MISSING)
        printf(": %" PRIu64 " to %" PRIu64, before + 1, audit->seal.number - 1);
    else if (fault != TH_SEAL_UNSEALED)
        printf(" (seq %" PRIu64 ", after %" PRIu64 ")", audit->seal.number, before);
    printf("\n");
}

/* `line` has room for TH_SEAL_LINE_MAX; what is longer is no line of ours, and is seen as several. */
static void verify_lines(struct audit *audit, FILE *file, const char *path, char *line)
{
    uint64_t n_lines = 0, n_breaks = 0, first = 0;

    while (fgets(line, (int)TH_SEAL_LINE_MAX, file) != NULL) {
        uint64_t before = audit->seal.number;
        size_t len = strcspn(line, "\n");
        n_lines++;
        enum th_seal_fault fault = th_seal_check(&audit->seal, (struct th_str){line, len});
        if (first == 0)
            first = audit->seal.number;
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

static int verify(const char *const *paths, size_t n_paths, const char *last)
{
    struct audit audit = {0};

    th_seal_init(&audit.seal);
    for (size_t i = 0; i < n_paths; i++) {
        int status = verify_file(&audit, paths[i]);
        if (status != TH_EXIT_FINE)
            return status;
    }
    printf("last digest: %s\n", audit.seal.digest);
    if (last != NULL && strcmp(last, audit.seal.digest) != 0) {
        printf("it is not the one that was to be last: %s\n", last);
        audit.n_breaks++;
    }
    return audit.n_breaks == 0 ? TH_EXIT_FINE : TH_EXIT_NOT_SO;
}

static int run(int argc, char **argv)
{
    const char *last = NULL, *words[1 + FILES_MAX] = {NULL};
    const struct th_option options[] = {{"last", '\0', &last, NULL}};
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
    if (last != NULL && strspn(last, "0123456789abcdef") != TH_SEAL_DIGEST_LEN)
        return th_options_refuse(argv[0], "--last is no digest: %d hex digits", TH_SEAL_DIGEST_LEN);
    return verify(words + 1, n_words - 1, last);
}

const struct th_command th_command_audit = {"audit", "checks the files of an audit log", usage,
                                            run};
