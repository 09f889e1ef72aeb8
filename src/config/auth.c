/* An agent's authentication: the key read, held against its algorithm, and kept. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "loader.h"
#include "private_key.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/secret.h"

/* A name that leads nowhere is not quoted: it may be the secret itself, put in the wrong place. */
static struct th_secret *read_key_file(struct th_loader *l, struct th_str name, uint32_t place,
                                       struct th_str *ret_path)
{
    struct th_errinfo info = {0};
    struct th_secret *secret = NULL;
    struct th_str path = th_loader_file(l, name);
    if (path.ptr == NULL)
        return NULL;
    *ret_path = path;
    if (access(path.ptr, F_OK) != 0) {
        int err = errno;
        th_loader_report(l, place, "names are relative to the configuration file's folder",
                         "the file cannot be found: %s", strerror(err));
        return NULL;
    }
    int r = th_secret_read_file(path.ptr, TH_PRIVATE_KEY_MAX_LEN, false, &secret, &info);
    if (r == TH_E_NOMEM)
        l->nomem = true;
    else if (r < 0)
        th_loader_report_info(l, place, &info);
    return secret;
}

static struct th_secret *read_environment(struct th_loader *l, struct th_str name, uint32_t place)
{
    const char *value = secure_getenv(name.ptr);
    if (value == NULL || value[0] == '\0') {
        th_loader_report(l, place, "set it in the environment that tokenhop is started with",
                         "this environment variable is not set");
        return NULL;
    }
    if (strlen(value) > TH_PRIVATE_KEY_MAX_LEN) {
        th_loader_report(l, place, NULL, "this environment variable is longer than 64 KiB");
        return NULL;
    }
    struct th_secret *secret = th_secret_new(value, strlen(value));
    if (secret == NULL)
        l->nomem = true;
    return secret;
}

void th_build_auth(struct th_loader *loader, const struct th_raw_auth *raw, uint32_t place,
                   struct th_config_auth *ret_auth)
{
    struct th_errinfo info = {0};
    struct th_secret *key = NULL;
    struct th_config_auth auth = {.method = (enum th_auth_method)raw->method,
                                  .alg = (enum th_signing_alg)raw->alg,
                                  .kid = raw->kid};
    if (raw->key_file.ptr != NULL) {
        place = th_loader_member(loader, place, "key_file");
        key = read_key_file(loader, raw->key_file, place, &auth.key_file);
    } else if (raw->key.env.ptr != NULL) {
        place = th_loader_member(loader, th_loader_member(loader, place, "key"), "env");
        key = read_environment(loader, raw->key.env, place);
    }
    if (key != NULL) {
        auth.key = key;
        if (th_config_hold(loader->config, key) < 0) {
            loader->nomem = true;
            return;
        }
        int r = th_private_key_check(th_secret_expose(key), auth.alg, &info);
        if (r == TH_E_NOMEM)
            loader->nomem = true;
        else if (r < 0)
            th_loader_report_info(loader, place, &info);
    }
    *ret_auth = auth;
}
