/* What several commands ask of their arguments. Private to the room. */
#ifndef TOKENHOP_CLI_OPTIONS_H
#define TOKENHOP_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenhop/config/model.h"

/* One option of a command, --name or -letter; --help and -h are every command's. */
struct th_option {
    const char *name;
    char letter;        /* '\0': none */
    const char **value; /* where its argument goes; NULL: it takes none */
    bool *given;        /* may be NULL */
};
#define TH_OPTIONS_MAX 12

/* Parses the options and up to `max_words` words besides. -1: go on; else the exit status, everything
 * said. What was typed is not repeated, as a secret may have been put in the wrong place. */
int th_options_parse(int argc, char **argv, const char *usage, const struct th_option *options,
                     size_t n_options, const char **words, size_t max_words);

/* Parses "-c FILE" and "--help" of a command that takes nothing else. -1: go on with *ret_path;
 * else the exit status, everything said. */
int th_options_config(int argc, char **argv, const char *usage, const char **ret_path);
/* Loads, and prints every mistake to standard error. The exit status. */
int th_options_load(const char *path, struct th_config **ret_config);

/* "tokenhop COMMAND: what", and on usage where to read more. Returns TH_EXIT_USAGE. */
int th_options_refuse(const char *command, const char *format, ...) TH_PRINTF(2, 3);
/* "where: what; mend" */
void th_options_print_error(const char *command, const struct th_errinfo *info);

#endif
