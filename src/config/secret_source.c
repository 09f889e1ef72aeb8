/* Keys, secrets and tokens from where the configuration says they are: a file, or the environment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "loader.h"
#include "private_key.h"
#include "tokenhop/base/secret.h"

#define SECRET_MAX_LEN TH_PRIVATE_KEY_MAX_LEN /* of anything that is read here */

/* A name that leads nowhere is not quoted: it may be the secret itself, put in the wrong place. */
static struct th_secret *read_file(struct th_loader *l, struct th_str name, bool trim,
                                   uint32_t place, struct th_str *ret_path)
{
    struct th_errinfo info = {0};
    struct th_secret *secret = NULL;
    struct th_str path = th_loader_file(l, name);
    if (path.ptr == NULL || th_loader_watch(l, path) == NULL)
        return NULL;
    *ret_path = path;
    if (access(path.ptr, F_OK) != 0) {
        int err = errno;
        th_loader_report(l, place,
                         err == EACCES ? TH_SECRET_MEND_DENIED
                                       : "names are relative to the configuration file's folder",
                         "the file cannot be found: %s", strerror(err));
        return NULL;
    }
    int r = th_secret_read_file(path.ptr, SECRET_MAX_LEN, trim, &secret, &info);
    if (r == TH_E_NOMEM)
        l->nomem = true;
    else if (r < 0)
        th_loader_report_info(l, place, &info);
    return secret;
}

static void note_variable(struct th_loader *l, struct th_str name)
{
    struct th_config_variable *variable = th_loader_alloc(l, 1, sizeof(*variable));
    if (variable == NULL)
        return;
    *variable = (struct th_config_variable){l->config->view.secret_variables, name};
    l->config->view.secret_variables = variable;
}

static struct th_secret *read_environment(struct th_loader *l, struct th_str name, uint32_t place)
{
    const char *value = secure_getenv(name.ptr);
    if (value == NULL || value[0] == '\0') {
        th_loader_report(l, place, "set it in the environment that tokenhop is started with",
                         "this environment variable is not set");
        return NULL;
    }
    if (strlen(value) > SECRET_MAX_LEN) {
        th_loader_report(l, place, NULL, "this environment variable is longer than 64 KiB");
        return NULL;
    }
    struct th_secret *secret = th_secret_new(value, strlen(value));
    if (secret == NULL)
        l->nomem = true;
    return secret;
}

struct th_secret *th_build_secret_of(struct th_loader *loader, const struct th_secret_names *names,
                                     bool trim, uint32_t place, uint32_t *ret_place,
                                     struct th_str *ret_path)
{
    struct th_secret *secret = NULL;
    *ret_place = place;
    if (names->file.ptr != NULL) {
        *ret_place = th_loader_member(loader, place, names->file_key);
        secret = read_file(loader, names->file, trim, *ret_place, ret_path);
    } else if (names->variable.ptr != NULL) {
        note_variable(loader, names->variable);
        if (loader->without_files)
            return NULL;
        if (names->variable_key != NULL)
            place = th_loader_member(loader, place, names->variable_key);
        *ret_place = th_loader_member(loader, place, "env");
        secret = read_environment(loader, names->variable, *ret_place);
    }
    if (secret != NULL && th_config_hold(loader->config, secret) < 0) {
        loader->nomem = true; /* and let go of */
        return NULL;
    }
    return secret;
}

struct th_secret *th_build_secret(struct th_loader *loader, struct th_str file,
                                  struct th_str variable, const char *key, uint32_t place,
                                  uint32_t *ret_place)
{
    char file_key[64];
    struct th_str path;
    snprintf(file_key, sizeof(file_key), "%s_file", key);
    const struct th_secret_names names = {file, variable, file_key, key};
    if (file.ptr != NULL && variable.ptr != NULL)
        th_loader_report(loader, th_loader_member(loader, place, key), "leave one of them out",
                         "\"%s\" and \"%s\" are the same, and both are given", file_key, key);
    return th_build_secret_of(loader, &names, true, place, ret_place, &path);
}
