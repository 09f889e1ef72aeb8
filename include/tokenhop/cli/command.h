/* The subcommands of the one binary, a row each. A command gets its own arguments (argv[0] is its
 * name) and returns the process's exit status: 0 fine, 1 the thing asked about is not so, 2 usage
 * or configuration. Errors go to standard error with what, where and how to mend it. */
#ifndef TOKENHOP_CLI_COMMAND_H
#define TOKENHOP_CLI_COMMAND_H

struct th_command {
    const char *name;
    const char *summary; /* one line for the list of commands */
    const char *usage;   /* the text of --help */
    int (*run)(int argc, char **argv);
};

enum { TH_EXIT_FINE = 0, TH_EXIT_NOT_SO = 1, TH_EXIT_USAGE = 2 };

extern const struct th_command th_command_run;
extern const struct th_command th_command_check;
extern const struct th_command th_command_explain;
extern const struct th_command th_command_exchange;
extern const struct th_command th_command_keygen;
extern const struct th_command th_command_ca;
extern const struct th_command th_command_exec;
extern const struct th_command th_command_ctl;
extern const struct th_command th_command_audit;
extern const struct th_command th_command_password;

/* Finds the command and runs it; `tokenhop --help`, `--version` too. */
int th_cli_main(int argc, char **argv);

#endif
