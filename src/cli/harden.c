#include "harden.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int th_harden_begin(struct th_harden *harden, const struct th_config *config,
                    struct th_errinfo *reterr)
{
    const struct th_config_process *process = &th_config_get(config)->process;
    int error = th_process_harden(reterr);

    th_process_keep_files_private();
    harden->changes_user = process->user.len > 0;
    if (error == 0 && harden->changes_user)
        error = th_process_find_user(process->user, process->group, &harden->user, reterr);
    if (error == 0 && harden->changes_user)
        error = th_process_borrow_files(&harden->user, reterr);
    return error;
}

int th_harden_finish(struct th_harden *harden, struct th_errinfo *reterr)
{
    return harden->changes_user ? th_process_become(&harden->user, reterr) : 0;
}

/* A reload would fail by it: better to know now than when a key is rotated. */
static void tell_if_closed(struct th_log *log, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd >= 0) {
        close(fd);
        return;
    }
    TH_LOG(
        log, TH_LEVEL_WARN, "process.cannot_reload",
        "This file was read at start; the user that tokenhop runs as now cannot read it, so that "
        "a reload will be refused",
        TH_LOG_TEXT("file", path), TH_LOG_TEXT("error", strerror(errno)));
}

void th_harden_tell(const struct th_harden *harden, const struct th_config *config,
                    const char *config_path, struct th_log *log)
{
    struct th_process_state state;

    th_process_look(&state);
    TH_LOG(log, TH_LEVEL_INFO, "process.hardened", "The process has given up what it does not need",
           TH_LOG_UINT("uid", state.uid), TH_LOG_UINT("gid", state.gid),
           TH_LOG_BOOL("capabilities", state.has_capabilities),
           TH_LOG_BOOL("secrets_locked", state.secret_locked == state.secret_mapped));
    if (!harden->changes_user)
        return;
    tell_if_closed(log, config_path);
    for (const struct th_config_file *file = th_config_get(config)->read_files; file != NULL;
         file = file->next)
        tell_if_closed(log, file->path.ptr);
}
