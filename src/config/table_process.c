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

static const struct th_config_key_choice seccomp_modes[] = {{"on", TH_CONFIG_SECCOMP_ON},
                                                            {"log", TH_CONFIG_SECCOMP_LOG},
                                                            {"off", TH_CONFIG_SECCOMP_OFF},
                                                            {NULL, 0}};

static const struct th_config_key hardening_keys[] = {
    {.name = "seccomp",
     ENUM(struct th_raw_hardening, seccomp, seccomp_modes),
     .default_text = "on",
     .needs_restart = true,
     .doc =
         "Whether the kernel refuses system calls that tokenhop has no use for; those that only an "
         "attacker has use for end it. \"log\": the kernel logs what would be refused, and does "
         "it."},
    {.name = "landlock",
     BOOLEAN(struct th_raw_hardening, landlock),
     .default_text = "true",
     .needs_restart = true,
     .doc =
         "Whether the kernel, where it can (Linux 5.13), keeps tokenhop to the folders of the files "
         "that the configuration names and what the system's libraries read. A reload that names "
         "a file elsewhere is refused: that takes a restart."},
};
const struct th_section th_section_hardening = {
    SECTION("hardening", struct th_raw_hardening, hardening_keys)};
