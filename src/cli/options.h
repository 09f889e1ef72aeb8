/* What several commands ask of their arguments. Private to the room. */
#ifndef TOKENHOP_CLI_OPTIONS_H
#define TOKENHOP_CLI_OPTIONS_H

#include "tokenhop/config/model.h"

/* Parses "-c FILE" and "--help" of a command that takes nothing else. -1: go on with *ret_path;
 * else the exit status, everything said. */
int th_options_config(int argc, char **argv, const char *usage, const char **ret_path);
/* Loads, and prints every mistake to standard error. The exit status. */
int th_options_load(const char *path, struct th_config **ret_config);

#endif
