#include "options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/cli/command.h"
#include "tokenhop/config/load.h"

#define LONG_OPTION_BASE 256 /* beyond every letter */
#define NAME_SHOWN_MAX 24    /* no option has a longer name; a token would */

static void fill(const struct th_option *options, size_t n_options, struct option *ret_long,
                 char *ret_short)
{
    *ret_short++ = ':'; /* a missing argument is told apart */
    *ret_short++ = 'h';
    for (size_t i = 0; i < n_options; i++) {
        int argument = options[i].value != NULL ? required_argument : no_argument;
        ret_long[i] = (struct option){options[i].name, argument, NULL, (int)(LONG_OPTION_BASE + i)};
        if (options[i].letter == '\0')
            continue;
        *ret_short++ = options[i].letter;
        if (argument == required_argument)
            *ret_short++ = ':';
    }
    ret_long[n_options] = (struct option){"help", no_argument, NULL, 'h'};
    *ret_short = '\0';
}

static const struct th_option *find(const struct th_option *options, size_t n_options, int code)
{
    for (size_t i = 0; i < n_options; i++)
        if (code == LONG_OPTION_BASE + (int)i || (code != 0 && code == options[i].letter))
            return &options[i];
    return NULL;
}

/* Says which option is at fault, but not what was given to it. `code` is getopt's answer. */
static int refuse_option(char **argv, const struct th_option *options, size_t n_options, int code)
{
    const struct th_option *option = find(options, n_options, optopt);

    if (option != NULL)
        return th_options_refuse(
            argv[0], code == ':' ? "--%s needs an argument" : "--%s takes none", option->name);
    if (optopt != 0)
        return th_options_refuse(argv[0], "an option of one letter is not known");
    const char *word = argv[optind - 1];
    size_t len = strcspn(word, "=");
    if (len > NAME_SHOWN_MAX)
        return th_options_refuse(argv[0], "an option is not known");
    return th_options_refuse(argv[0], "%.*s is not one of its options", (int)len, word);
}

int th_options_parse(int argc, char **argv, const char *usage, const struct th_option *options,
                     size_t n_options, const char **words, size_t max_words)
{
    struct option longs[TH_OPTIONS_MAX + 2] = {0};
    char shorts[2 + 2 * TH_OPTIONS_MAX + 1];
    int code;

    TH_REQUIRE(n_options <= TH_OPTIONS_MAX);
    fill(options, n_options, longs, shorts);
    optind = 1;
    opterr = 0;
    while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (code == 'h') {
            fputs(usage, stdout);
            return TH_EXIT_FINE;
        }
        if (code == '?' || code == ':')
            return refuse_option(argv, options, n_options, code);
        const struct th_option *option = find(options, n_options, code);
        if (option->value != NULL)
            *option->value = optarg;
        if (option->given != NULL)
            *option->given = true;
    }
    if ((size_t)(argc - optind) > max_words)
        return th_options_refuse(argv[0], "word %zu after the command is not one of its options",
                                 (size_t)optind + max_words);
    for (size_t i = 0; optind < argc; i++, optind++)
        words[i] = argv[optind];
    return -1;
}

int th_options_config(int argc, char **argv, const char *usage, const char **ret_path)
{
    const struct th_option options[] = {{"config", 'c', ret_path, NULL}};
    int status = th_options_parse(argc, argv, usage, options, TH_COUNT_OF(options), NULL, 0);

    if (status < 0 && *ret_path == NULL)
        return th_options_refuse(argv[0], "no configuration named; add -c FILE");
    return status;
}

int th_options_refuse(const char *command, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "tokenhop %s: ", command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "; see: tokenhop %s --help\n", command);
    return TH_EXIT_USAGE;
}

void th_options_print_error(const char *command, const struct th_errinfo *info)
{
    fprintf(stderr, "tokenhop %s: %s%s%s%s%s\n", command, info->where,
            info->where[0] != '\0' ? ": " : "", info->what, info->mend[0] != '\0' ? "; " : "",
            info->mend);
}

int th_options_load(const char *path, struct th_config **ret_config)
{
    struct th_config_mistakes mistakes = {0};
    int error = th_config_load(path, ret_config, &mistakes);

    if (error < 0) {
        th_config_mistakes_print(&mistakes, path, stderr);
        fprintf(stderr, "tokenhop: %s: %zu mistake%s\n", path, mistakes.count + mistakes.left_out,
                mistakes.count + mistakes.left_out == 1 ? "" : "s");
    }
    th_config_mistakes_fini(&mistakes);
    return error < 0 ? TH_EXIT_USAGE : TH_EXIT_FINE;
}
