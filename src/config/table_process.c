/* The keys of the process: whom it runs as. */
#include "table.h"

static const struct th_config_key process_keys[] = {
    {.name = "user",
     .type = TH_KEY_STRING,
     TEXT(struct th_config_process, user),
     .required = true,
     .max = 63,
     .needs_restart = true,
     .doc = "The name or number of a user. Started as root, tokenhop reads the configuration and "
            "the files that it names, opens log files and sockets as theirs, binds its addresses, "
            "and becomes this user for good. What it reads or opens again later it does as this "
            "user: keys and secrets must be theirs, or a reload is refused."},
    {.name = "group",
     .type = TH_KEY_STRING,
     TEXT(struct th_config_process, group),
     .max = 63,
     .needs_restart = true,
     .doc = "The name or number of a group; unless it is given, the user's own."},
};
const struct th_section th_section_process = {
    SECTION("process", struct th_config_process, process_keys)};
