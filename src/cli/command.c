#include "tokenhop/cli/command.h"

#include <stdio.h>
#include <string.h>

#include "tokenhop/base/check.h"

static const struct th_command *const commands[] = {
    &th_command_run,    &th_command_check,   &th_command_explain, &th_command_exchange,
    &th_command_keygen, &th_command_ca,      &th_command_exec,    &th_command_ctl,
    &th_command_audit,  &th_command_password};

static void print_help(FILE *out)
{
    fputs(
        "usage: tokenhop COMMAND ...\n"
        "\n"
        "A forward HTTP proxy that gives AI agents delegated identity: it exchanges the token that a\n"
        "request arrives with for one that its destination accepts.\n"
        "\n",
        out);
    for (size_t i = 0; i < TH_COUNT_OF(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\ntokenhop COMMAND --help says more; tokenhop --version says which this is.\n", out);
}

int th_cli_main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return TH_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return TH_EXIT_FINE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("tokenhop " TH_VERSION);
        return TH_EXIT_FINE;
    }
    for (size_t i = 0; i < TH_COUNT_OF(commands); i++)
        if (strcmp(argv[1], commands[i]->name) == 0)
            return commands[i]->run(argc - 1, argv + 1);
    fprintf(stderr, "tokenhop: '%s' is not a command; see: tokenhop --help\n", argv[1]);
    return TH_EXIT_USAGE;
}
