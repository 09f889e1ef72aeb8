#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

#define PEM_MAX 16384
#define SECRET_BYTES 48
#define SECRET_MAX 128

static int write_all(int fd, struct th_str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return TH_E_IO;
        bytes.ptr += n;
        bytes.len -= (size_t)n;
    }
    return 0;
}

/* Written beside, then linked: link() fails when another process was first. */
int th_sandbox_publish(const char *file, struct th_str pem, struct th_errinfo *reterr)
{
    char beside[4096];
    int len = snprintf(beside, sizeof beside, "%s.%ld", file, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof beside)
        return th_errinfo_set(reterr, TH_E_IO, file, "choose a shorter --state", "name too long");
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return th_errinfo_set(reterr, TH_E_IO, beside, "check --state", "cannot create: %s",
                              strerror(errno));
    int e = write_all(fd, pem);
    if (close(fd) != 0 || e != 0)
        e = th_errinfo_set(reterr, TH_E_IO, beside, NULL, "cannot write: %s", strerror(errno));
    else if (link(beside, file) != 0 && errno != EEXIST)
        e = th_errinfo_set(reterr, TH_E_IO, file, NULL, "cannot create: %s", strerror(errno));
    unlink(beside);
    return e;
}

static int make_key(const char *file, enum th_alg alg, struct th_errinfo *reterr)
{
    struct th_key *key = NULL;
    TH_CLEANUP(th_secret_unrefp) struct th_secret *pem = NULL;
    int e = th_key_generate(alg, &key);
    if (e == 0)
        e = th_key_to_private_pem(key, &pem);
    th_key_unref(key);
    if (e != 0)
        return th_errinfo_set(reterr, e, file, NULL, "cannot make a key");
    return th_sandbox_publish(file, th_secret_expose(pem), reterr);
}

/* 64 letters, and then some that a form or a header must not change on the way. */
static int make_secret(const char *file, struct th_errinfo *reterr)
{
    unsigned char random[SECRET_BYTES];
    struct th_buf text;
    th_buf_init_secret(&text, SECRET_MAX);
    th_random_bytes(random, sizeof random);
    th_base64url_encode(&text, random, sizeof random);
    th_wipe(random, sizeof random);
    th_buf_add_str(&text, TH_STR(" +%:&=/~*\n"));
    int e = text.failed ? th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory")
                        : th_sandbox_publish(file, th_buf_str(&text), reterr);
    th_buf_fini(&text);
    return e;
}

int th_sandbox_secret_open(const char *folder, const char *name, struct th_secret **ret_secret,
                           char **ret_file, struct th_errinfo *reterr)
{
    size_t size = strlen(folder) + strlen(name) + sizeof "/.secret";
    TH_CLEANUP(th_freep) char *file = th_malloc(size);
    if (file == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
    snprintf(file, size, "%s/%s.secret", folder, name);
    int e = access(file, F_OK) != 0 ? make_secret(file, reterr) : 0;
    if (e == 0)
        e = th_secret_read_file(file, SECRET_MAX, true, ret_secret, reterr);
    if (e == 0)
        *ret_file = th_take(&file);
    return e;
}

void th_sandbox_secret_close(struct th_secret **secret, char **file, bool remove_file)
{
    if (remove_file && *file != NULL)
        unlink(*file);
    *secret = th_secret_unref(*secret);
    th_free(*file);
    *file = NULL;
}

int th_sandbox_key_open(const char *folder, const char *name, const char *kid, enum th_alg alg,
                        struct th_registry_key *ret_key, struct th_errinfo *reterr)
{
    TH_CLEANUP(th_secret_unrefp) struct th_secret *pem = NULL;
    size_t size = strlen(folder) + strlen(name) + sizeof "/.pem";
    TH_CLEANUP(th_freep) char *file = th_malloc(size);
    if (file == NULL)
        return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "out of memory");
    snprintf(file, size, "%s/%s.pem", folder, name);
    if (access(file, F_OK) != 0) {
        int e = make_key(file, alg, reterr);
        if (e != 0)
            return e;
    }
    struct th_key *key = NULL;
    int e = th_secret_read_file(file, PEM_MAX, false, &pem, reterr);
    if (e == 0)
        e = th_key_parse(th_secret_expose(pem), &key, reterr);
    if (e != 0)
        return e;
    if (!th_key_is_private(key) || !th_key_fits(key, alg)) {
        th_key_unref(key);
        return th_errinfo_set(reterr, TH_E_CONFIG, file, "delete it, and a new one is made",
                              "holds no private key for %.*s", TH_STR_ARGS(th_alg_name(alg)));
    }
    *ret_key = (struct th_registry_key){kid, alg, key, th_take(&file)};
    return 0;
}

void th_sandbox_key_close(struct th_registry_key *key, bool remove_file)
{
    if (remove_file && key->file != NULL)
        unlink(key->file);
    th_free(key->file);
    th_key_unref(key->key);
    memset(key, 0, sizeof *key);
}
