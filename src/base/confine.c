#include "tokenhop/base/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tokenhop/base/mem.h"

/* The kernel's names for what came later than the headers of Debian 12. */
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)
#define SCOPE_SIGNAL (UINT64_C(1) << 1)

/* struct landlock_ruleset_attr as it has grown; its size says how much of it is meant. */
struct ruleset {
    uint64_t files;
    uint64_t ports;  /* since 4: not ours, who may connect where is a matter of egress rules */
    uint64_t scopes; /* since 6 */
};

#define FS_OF_FILES                                                                                \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |   \
     FS_TRUNCATE | FS_IOCTL_DEV)

struct th_confine {
    int fd;
    uint64_t handled;
};

unsigned th_confine_version(void)
{
    long version =
        syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);
    return version > 0 ? (unsigned)version : 0;
}

static uint64_t handled_by(unsigned version)
{
    uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1; /* the thirteen of the first version */

    if (version >= 2)
        all |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3)
        all |= FS_TRUNCATE;
    if (version >= 5)
        all |= FS_IOCTL_DEV;
    return all;
}

static int refused(struct th_errinfo *reterr, const char *where, const char *call)
{
    int err = errno;
    return th_errinfo_set(reterr, TH_E_IO, where,
                          "\"hardening\": {\"landlock\": false} goes without", "%s: %s", call,
                          strerror(err));
}

int th_confine_new(struct th_confine **ret_confine, struct th_errinfo *reterr)
{
    unsigned version = th_confine_version();
    struct ruleset ruleset = {.files = handled_by(version)};
    size_t size = version >= 6 ? sizeof ruleset : version >= 4 ? 16 : 8;
    struct th_confine *confine = th_calloc(1, sizeof *confine);

    if (confine == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
    /* Signals to other processes are of no use to a proxy. Abstract sockets of others are: a service
     * manager may listen there (NOTIFY_SOCKET). */
    if (version >= 6)
        ruleset.scopes = SCOPE_SIGNAL;
    confine->handled = ruleset.files;
    confine->fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, size, 0);
    if (confine->fd < 0) {
        th_free(confine);
        return refused(reterr, NULL, "landlock_create_ruleset");
    }
    *ret_confine = confine;
    return 0;
}

struct th_confine *th_confine_free(struct th_confine *confine)
{
    if (confine != NULL) {
        close(confine->fd);
        th_free(confine);
    }
    return NULL;
}

static uint64_t rights_of(enum th_confine_use use)
{
    switch (use) {
    case TH_CONFINE_READ:
        return LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    case TH_CONFINE_WRITE:
        return LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
               LANDLOCK_ACCESS_FS_MAKE_REG;
    case TH_CONFINE_SOCKET:
        return LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;
    }
    return 0;
}

int th_confine_allow(struct th_confine *confine, const char *path, enum th_confine_use use,
                     struct th_errinfo *reterr)
{
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);

    if (fd < 0)
        return 0;
    struct landlock_path_beneath_attr rule = {.parent_fd = fd,
                                              .allowed_access = rights_of(use) & confine->handled};
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= FS_OF_FILES;
    long r = rule.allowed_access == 0 ? 0
                                      : syscall(SYS_landlock_add_rule, confine->fd,
                                                LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int error = r == 0 ? 0 : refused(reterr, path, "landlock_add_rule");
    close(fd);
    return error;
}

int th_confine_enforce(struct th_confine *confine, struct th_errinfo *reterr)
{
    if (syscall(SYS_landlock_restrict_self, confine->fd, 0) != 0)
        return refused(reterr, NULL, "landlock_restrict_self");
    return 0;
}
