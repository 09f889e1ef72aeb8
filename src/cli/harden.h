/* What a running tokenhop gives up, in order: before anything is opened, and after all that needs
 * root was. On the main thread. Private to the room. */
#ifndef TOKENHOP_CLI_HARDEN_H
#define TOKENHOP_CLI_HARDEN_H

#include "tokenhop/base/process.h"
#include "tokenhop/config/model.h"
#include "tokenhop/observe/log.h"

struct th_harden {
    bool changes_user;
    struct th_process_user user;
    enum th_config_seccomp seccomp; /* in force */
    unsigned landlock;              /* the version in force; 0: none */
};

/* Before the service is made, and any thread. */
int th_harden_begin(struct th_harden *harden, const struct th_config *config,
                    const char *config_path, struct th_errinfo *reterr) TH_MUST;
/* Once everything is bound; before anybody is served. */
int th_harden_finish(struct th_harden *harden, const struct th_config *config,
                     struct th_errinfo *reterr) TH_MUST;
const char *th_harden_seccomp_name(enum th_config_seccomp seccomp);
/* Logs what is in force, and which files could not be read anew by whom the process is now. */
void th_harden_tell(const struct th_harden *harden, const struct th_config *config,
                    const char *config_path, struct th_log *log);

#endif
