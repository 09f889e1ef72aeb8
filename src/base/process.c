#include "tokenhop/base/process.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "secret_store.h"
#include "tokenhop/base/mem.h"

static int refused(struct th_errinfo *reterr, const char *what)
{
    int err = errno;
    return th_errinfo_set(reterr, TH_E_IO, what,
                          "look for a seccomp profile or security module that forbids it",
                          "the process could not be hardened: %s", strerror(err));
}

/* Root may have any amount; where nothing can be had, secrets are kept out of dumps only. */
static void raise_lock_limit(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0 || getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_MEMLOCK, &limit);
}

int th_process_harden(struct th_errinfo *reterr)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return refused(reterr, "prctl(PR_SET_DUMPABLE)");
    /* A core pattern that pipes to a program ignores a limit of 0 unless the process is undumpable
     * too; one that writes files is stopped by either. */
    struct rlimit no_core = {0, 0};
    if (setrlimit(RLIMIT_CORE, &no_core) != 0)
        return refused(reterr, "setrlimit(RLIMIT_CORE)");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return refused(reterr, "prctl(PR_SET_NO_NEW_PRIVS)");
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return refused(reterr, "getrlimit(RLIMIT_NOFILE)");
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        return refused(reterr, "setrlimit(RLIMIT_NOFILE)");
    raise_lock_limit();
    return 0;
}

void th_process_keep_files_private(void)
{
    (void)umask(077);
}

/* --- another user --- */

static bool is_number(struct th_str text, unsigned *ret_number)
{
    char room[16], *end;
    if (text.len == 0 || text.len >= sizeof room || text.ptr[0] < '0' || text.ptr[0] > '9')
        return false;
    snprintf(room, sizeof room, "%.*s", TH_STR_ARGS(text));
    unsigned long number = strtoul(room, &end, 10);
    *ret_number = (unsigned)number;
    return *end == '\0' && number < UINT32_MAX;
}

static int find_by_name(const char *name, struct th_process_user *user, struct th_errinfo *reterr)
{
    errno = 0;
    const struct passwd *entry = getpwnam(name); /* no thread but this one yet */
    if (entry == NULL)
        return th_errinfo_set(reterr, TH_E_CONFIG, "$.process.user",
                              "make it (useradd --system), or name another",
                              "there is no user \"%s\"%s%s", name, errno != 0 ? ": " : "",
                              errno != 0 ? strerror(errno) : "");
    user->uid = entry->pw_uid;
    user->gid = entry->pw_gid;
    return 0;
}

static int find_group(struct th_str group, struct th_process_user *user, struct th_errinfo *reterr)
{
    char name[sizeof user->name];
    unsigned number;
    if (is_number(group, &number)) {
        user->gid = number;
        return 0;
    }
    snprintf(name, sizeof name, "%.*s", TH_STR_ARGS(group));
    const struct group *entry = getgrnam(name);
    if (entry == NULL)
        return th_errinfo_set(reterr, TH_E_CONFIG, "$.process.group",
                              "make it (groupadd --system), or name another",
                              "there is no group \"%s\"", name);
    user->gid = entry->gr_gid;
    return 0;
}

int th_process_find_user(struct th_str user, struct th_str group, struct th_process_user *ret_user,
                         struct th_errinfo *reterr)
{
    unsigned number;
    int error = 0;

    memset(ret_user, 0, sizeof *ret_user);
    snprintf(ret_user->name, sizeof ret_user->name, "%.*s", TH_STR_ARGS(user));
    if (is_number(user, &number)) {
        const struct passwd *entry = getpwuid(number);
        ret_user->uid = number;
        ret_user->gid = entry != NULL ? entry->pw_gid : number;
    } else {
        error = find_by_name(ret_user->name, ret_user, reterr);
    }
    if (error == 0 && group.len > 0)
        error = find_group(group, ret_user, reterr);
    if (error != 0)
        return error;
    bool is_already = getuid() == ret_user->uid && geteuid() == ret_user->uid &&
                      getgid() == ret_user->gid && getegid() == ret_user->gid;
    if (geteuid() != 0 && !is_already)
        return th_errinfo_set(reterr, TH_E_CONFIG, "$.process",
                              "start it as root, or leave \"process\" out",
                              "only root may become the user \"%s\"", ret_user->name);
    return 0;
}

static int not_become(struct th_errinfo *reterr, const struct th_process_user *user,
                      const char *what)
{
    int err = errno;
    return th_errinfo_set(
        reterr, TH_E_IO, what, "it needs the capabilities CAP_SETUID and CAP_SETGID",
        "the process cannot become the user \"%s\": %s", user->name, strerror(err));
}

int th_process_borrow_files(const struct th_process_user *user, struct th_errinfo *reterr)
{
    const struct passwd *entry = getpwuid(user->uid);

    if (geteuid() != 0)
        return 0; /* it is them already */
    if ((entry != NULL ? initgroups(entry->pw_name, user->gid) : setgroups(1, &user->gid)) != 0)
        return not_become(reterr, user, "setgroups");
    /* They tell of no failure: whether it was done is seen by asking again. */
    (void)setfsgid(user->gid);
    (void)setfsuid(user->uid);
    if ((gid_t)setfsgid((gid_t)-1) != user->gid || (uid_t)setfsuid((uid_t)-1) != user->uid)
        return not_become(reterr, user, "setfsuid");
    return 0;
}

static bool has_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &header, data) != 0)
        return true;
    return (data[0].permitted | data[1].permitted) != 0;
}

int th_process_become(const struct th_process_user *user, struct th_errinfo *reterr)
{
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    /* glibc does it in every thread. With the last id that was 0 all capabilities go. */
    if (setresgid(user->gid, user->gid, user->gid) != 0)
        return not_become(reterr, user, "setresgid");
    if (setresuid(user->uid, user->uid, user->uid) != 0)
        return not_become(reterr, user, "setresuid");
    errno = EPERM;
    if (user->uid != 0 && (setuid(0) == 0 || (geteuid() == user->uid && has_capabilities())))
        return not_become(reterr, user, "it could become root again");
    /* A change of user sets it to what the system says of such programs. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return refused(reterr, "prctl(PR_SET_DUMPABLE)");
    return 0;
}

/* --- what holds --- */

void th_process_look(struct th_process_state *ret_state)
{
    struct rlimit core = {1, 1};

    memset(ret_state, 0, sizeof *ret_state);
    ret_state->no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
    ret_state->is_dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0;
    (void)getrlimit(RLIMIT_CORE, &core);
    ret_state->may_dump_core = core.rlim_cur != 0;
    ret_state->uid = geteuid();
    ret_state->gid = getegid();
    ret_state->has_capabilities = has_capabilities();
    int mode = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
    ret_state->seccomp = mode > 0 ? (unsigned)mode : 0;
    ret_state->secrets_locked =
        th_secret_store_mapped() > 0 && th_secret_store_locked() == th_secret_store_mapped();
}
