#include "harden.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fence.h"
#include "tokenhop/base/syscalls.h"

/* Where the kernel has none, tokenhop runs without, and says so. */
static int raise_fence(struct th_harden *harden, const struct th_config *config,
                       const char *config_path, struct th_errinfo *reterr)
{
    unsigned version = th_config_get(config)->hardening.landlock ? th_confine_version() : 0;

    harden->landlock = version;
    return version == 0 ? 0 : th_fence_raise(config, config_path, harden->changes_user, reterr);
}

int th_harden_begin(struct th_harden *harden, const struct th_config *config,
                    const char *config_path, struct th_errinfo *reterr)
{
    const struct th_config_process *process = &th_config_get(config)->process;
    int error = th_process_harden(reterr);

    th_process_keep_files_private();
    harden->changes_user = process->user.len > 0;
    if (error == 0 && harden->changes_user)
        error = th_process_find_user(process->user, process->group, &harden->user, reterr);
    if (error == 0 && harden->changes_user)
        error = th_process_borrow_files(&harden->user, reterr);
    return error == 0 ? raise_fence(harden, config, config_path, reterr) : error;
}

static int filter_calls(struct th_harden *harden, enum th_config_seccomp wanted,
                        struct th_errinfo *reterr)
{
    static const enum th_syscalls_mode modes[] = {
        [TH_CONFIG_SECCOMP_ON] = TH_SYSCALLS_ON,
        [TH_CONFIG_SECCOMP_LOG] = TH_SYSCALLS_LOG,
        [TH_CONFIG_SECCOMP_OFF] = TH_SYSCALLS_OFF,
    };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    /* The leak checker traces the process as it ends: such builds go without, and say so. */
    wanted = TH_CONFIG_SECCOMP_OFF;
#endif
    harden->seccomp = wanted;
    return th_syscalls_filter(modes[wanted], reterr);
}

int th_harden_finish(struct th_harden *harden, const struct th_config *config,
                     struct th_errinfo *reterr)
{
    int error = harden->changes_user ? th_process_become(&harden->user, reterr) : 0;

    return error == 0 ? filter_calls(harden, th_config_get(config)->hardening.seccomp, reterr)
                      : error;
}

const char *th_harden_seccomp_name(enum th_config_seccomp seccomp)
{
    switch (seccomp) {
    case TH_CONFIG_SECCOMP_ON:
        return "on";
    case TH_CONFIG_SECCOMP_LOG:
        return "log";
    case TH_CONFIG_SECCOMP_OFF:
        return "off";
    }
    return "?";
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
           TH_LOG_BOOL("secrets_locked", state.secrets_locked),
           TH_LOG_TEXT("seccomp", th_harden_seccomp_name(harden->seccomp)),
           TH_LOG_UINT("landlock", harden->landlock));
    if (th_config_get(config)->hardening.landlock && harden->landlock == 0)
        TH_LOG(log, TH_LEVEL_INFO, "process.no_landlock",
               "This kernel cannot keep tokenhop to the folders that it needs");
    if (!harden->changes_user)
        return;
    tell_if_closed(log, config_path);
    for (const struct th_config_file *file = th_config_get(config)->read_files; file != NULL;
         file = file->next)
        tell_if_closed(log, file->path.ptr);
}
