#include "options.h"

#include <getopt.h>
#include <stdio.h>

#include "tokenhop/cli/command.h"
#include "tokenhop/config/load.h"

int th_options_config(int argc, char **argv, const char *usage, const char **ret_path)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;

    optind = 1;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return TH_EXIT_FINE;
        }
        if (option != 'c') {
            fprintf(stderr, "see: tokenhop %s --help\n", argv[0]);
            return TH_EXIT_USAGE;
        }
        *ret_path = optarg;
    }
    if (*ret_path == NULL || optind < argc) {
        if (*ret_path == NULL)
            fprintf(stderr, "tokenhop %s: no configuration named; add -c FILE\n", argv[0]);
        else
            fprintf(stderr, "tokenhop %s: '%s' is not an option; see: tokenhop %s --help\n",
                    argv[0], argv[optind], argv[0]);
        return TH_EXIT_USAGE;
    }
    return -1;
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
