#include "fence.h"

#include <limits.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenhop/base/check.h"

/* Certificates, names, addresses, time zones, character sets, and what is loaded when a name is looked
 * up. What is not there is left out. */
static const char *const readable[] = {
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/lib/ssl",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/usr/share/zoneinfo",
    "/usr/share/locale",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/run/nscd",
    "/dev/urandom",
    "/dev/random",
    "/dev/null",
    "/proc/self",
    "/proc/sys/net",
    "/proc/sys/vm",
    "/proc/sys/crypto",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    "/", /* their reports read what they tell of: the program, its sources */
#endif
};

/* Root may read whatever is in /etc; so of it only these. One that is written anew under its name is
 * another file, and is not read any more: run as a user (process.user) where they change. */
static const char *const readable_of_etc[] = {
    "/etc/resolv.conf", "/etc/hosts",    "/etc/host.conf", "/etc/nsswitch.conf",
    "/etc/gai.conf",    "/etc/services", "/etc/protocols", "/etc/networks",
    "/etc/localtime",   "/etc/timezone", "/etc/passwd",    "/etc/group",
};

struct fence {
    struct th_confine *confine;
    struct th_errinfo *reterr;
    int error;
};

static void allow(struct fence *fence, const char *path, enum th_confine_use use)
{
    if (fence->error == 0)
        fence->error = th_confine_allow(fence->confine, path, use, fence->reterr);
}

/* The folder of a file, so that one which takes its place can be used too. All of the machine is not
 * a folder of ours: of a file in / only itself. */
static void allow_folder(struct fence *fence, const char *path, enum th_confine_use use)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        allow(fence, ".", use);
    } else if (slash == path || (size_t)(slash - path) >= sizeof folder) {
        allow(fence, path, use);
    } else {
        memcpy(folder, path, (size_t)(slash - path));
        folder[slash - path] = '\0';
        allow(fence, folder, use);
    }
}

/* As it is named, and where that leads: secrets of Kubernetes are links to a folder beside them. */
static void allow_file(struct fence *fence, const char *path)
{
    char real[PATH_MAX];

    allow_folder(fence, path, TH_CONFINE_READ);
    if (realpath(path, real) != NULL)
        allow_folder(fence, real, TH_CONFINE_READ);
}

/* A device or pipe is written where it is; a folder of such is none of ours. */
static void allow_log(struct fence *fence, struct th_str path)
{
    struct stat st;

    if (path.len == 0 || th_str_equal(path, TH_STR("-")))
        return;
    if (stat(path.ptr, &st) == 0 && !S_ISREG(st.st_mode))
        allow(fence, path.ptr, TH_CONFINE_WRITE);
    else
        allow_folder(fence, path.ptr, TH_CONFINE_WRITE);
}

static void allow_system(struct fence *fence, bool becomes_user)
{
    for (size_t i = 0; i < TH_COUNT_OF(readable); i++)
        allow(fence, readable[i], TH_CONFINE_READ);
    for (size_t i = 0; !becomes_user && i < TH_COUNT_OF(readable_of_etc); i++)
        allow(fence, readable_of_etc[i], TH_CONFINE_READ);
    if (becomes_user)
        allow(fence, "/etc", TH_CONFINE_READ);
    const char *const variables[] = {X509_get_default_cert_file_env(),
                                     X509_get_default_cert_dir_env()};
    for (size_t i = 0; i < TH_COUNT_OF(variables); i++) {
        const char *named = secure_getenv(variables[i]);
        if (named != NULL)
            allow_file(fence, named);
        if (named != NULL)
            allow(fence, named, TH_CONFINE_READ);
    }
}

static void allow_configured(struct fence *fence, const struct th_config_view *view,
                             const char *config_path)
{
    allow_file(fence, config_path);
    for (const struct th_config_file *file = view->read_files; file != NULL; file = file->next)
        allow_file(fence, file->path.ptr);
    allow_log(fence, view->log.access_file);
    allow_log(fence, view->log.audit_file);
    if (view->admin.path.len > 0)
        allow_folder(fence, view->admin.path.ptr, TH_CONFINE_SOCKET);
    for (size_t i = 0; i < view->n_listeners; i++)
        if (view->listeners[i].path.len > 0)
            allow_folder(fence, view->listeners[i].path.ptr, TH_CONFINE_SOCKET);
}

int th_fence_raise(const struct th_config *config, const char *config_path, bool becomes_user,
                   struct th_errinfo *reterr)
{
    struct fence fence = {.reterr = reterr};

    fence.error = th_confine_new(&fence.confine, reterr);
    if (fence.error != 0)
        return fence.error;
    allow_system(&fence, becomes_user);
    allow_configured(&fence, th_config_get(config), config_path);
    if (fence.error == 0)
        fence.error = th_confine_enforce(fence.confine, reterr);
    th_confine_free(fence.confine);
    return fence.error;
}
