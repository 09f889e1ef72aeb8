#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "made.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/config/authority.h"
#include "write_file.h"

#define PEM_MAX ((size_t)16 << 20)
/* Of what Java's key stores mark certificates with that are trusted, and for what: anything. */
#define TRUSTED_KEY_USAGE "2.16.840.1.113894.746875.1.1"

/* Where systems keep their roots in one file: Debian, Fedora, openSUSE, Alpine and the BSDs. */
static const char *const places[] = {
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

enum kind {
    KIND_BUNDLE,
    KIND_EXTRA, /* without the system's roots */
    KIND_OTHER
};
static const char *const kind_names[] = {[KIND_BUNDLE] = "bundle", [KIND_EXTRA] = "authority"};

/* A file that was made. */
struct th_trust_bundle {
    struct th_trust_bundle *next;
    enum kind kind;
    char *base; /* NULL: none was named */
    char *path;
};

/* --- reading --- */

static int read_certificates(const char *path, const char *mend, STACK_OF(X509) * *ret_list,
                             struct th_errinfo *reterr)
{
    FILE *file = fopen(path, "re");
    struct th_buf text;
    char piece[8192];
    size_t n;

    if (file == NULL)
        return th_write_refuse(path, mend, "no certificates can be read", errno, reterr);
    th_buf_init(&text, PEM_MAX);
    while (!text.failed && (n = fread(piece, 1, sizeof piece, file)) > 0)
        th_buf_add(&text, piece, n);
    bool failed = ferror(file) || text.failed;
    (void)fclose(file);
    *ret_list = failed || text.len == 0 ? NULL : th_authority_read(th_buf_str(&text));
    th_buf_fini(&text);
    if (*ret_list != NULL)
        return 0;
    return th_errinfo_set(reterr, TH_E_IO, path, mend,
                          "it holds no certificates in PEM form, or one that cannot be read");
}

static int read_roots(struct th_trust *trust, struct th_errinfo *reterr)
{
    static const char mend[] = "install ca-certificates, or name a PEM file by --roots FILE";

    if (trust->roots != NULL)
        return 0;
    const char *file = trust->roots_file;
    for (size_t i = 0; file == NULL && i < TH_COUNT_OF(places); i++)
        if (access(places[i], R_OK) == 0)
            file = places[i];
    if (file == NULL)
        return th_errinfo_set(reterr, TH_E_IO, places[0], mend,
                              "the system's roots are at none of the usual places");
    return read_certificates(file, mend, &trust->roots, reterr);
}

/* --- writing --- */

static char *name_file(const struct th_trust *trust, const char *name)
{
    size_t size = strlen(trust->folder) + strlen(name) + 2;
    char *path = th_malloc(size);

    if (path != NULL)
        (void)snprintf(path, size, "%s/%s", trust->folder, name);
    return path;
}

static int no_memory(struct th_errinfo *reterr)
{
    return th_errinfo_set(reterr, TH_E_NOMEM, NULL, NULL, "there is not enough memory");
}

/* Takes `path`, and remembers it. */
static int keep(struct th_trust *trust, const char *base, enum kind kind, char *path,
                const char **ret_path, struct th_errinfo *reterr)
{
    struct th_trust_bundle *bundle = path != NULL ? th_calloc(1, sizeof *bundle) : NULL;

    if (bundle != NULL && base != NULL && (bundle->base = th_strdup(base)) == NULL) {
        th_free(bundle);
        bundle = NULL;
    }
    if (bundle == NULL) {
        th_free(path);
        return no_memory(reterr);
    }
    bundle->kind = kind;
    bundle->path = path;
    bundle->next = trust->bundles;
    trust->bundles = bundle;
    *ret_path = path;
    return 0;
}

/* In a folder that stays there is a whole file at any time; one of its own is nobody's to read yet, and need
 * not outlive the machine: to wait for the disk would be most of what a start takes. */
static int write_text(const struct th_trust *trust, const char *name, const char *path,
                      struct th_str text, struct th_errinfo *reterr)
{
    if (trust->stays) { /* what is not ours there stays as well */
        int error = th_made_claim(trust->folder, name, text, reterr);
        return error == 0 ? th_write_file(path, text, 0644, true, reterr) : error;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return th_write_refuse(path, NULL, "the file cannot be made", errno, reterr);
    bool failed = th_write_all(fd, text) < 0;
    int err = errno;
    (void)close(fd);
    return failed ? th_write_refuse(path, NULL, "it cannot be written", err, reterr) : 0;
}

static int write_kept(struct th_trust *trust, const char *name, const char *base, enum kind kind,
                      struct th_str text, const char **ret_path, struct th_errinfo *reterr)
{
    char *path = name_file(trust, name);
    int error = path == NULL ? no_memory(reterr) : write_text(trust, name, path, text, reterr);

    if (error == 0)
        return keep(trust, base, kind, path, ret_path, reterr);
    th_free(path);
    return error;
}

int th_trust_make_file(struct th_trust *trust, const char *name, struct th_str text,
                       const char **ret_path, struct th_errinfo *reterr)
{
    return write_kept(trust, name, name, KIND_OTHER, text, ret_path, reterr);
}

static void add_list(BIO *bio, const STACK_OF(X509) * list, bool *fine)
{
    for (int i = 0; *fine && i < sk_X509_num(list); i++)
        *fine = PEM_write_bio_X509(bio, sk_X509_value(list, i)) == 1;
}

/* Only what are certificates: a file that is named as a bundle may hold a key, too. */
static int write_pem(struct th_trust *trust, const char *name, const char *base, enum kind kind,
                     const STACK_OF(X509) * roots, const char **ret_path, struct th_errinfo *reterr)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool fine = bio != NULL;
    char *bytes = NULL;

    add_list(bio, roots, &fine);
    add_list(bio, trust->authority, &fine);
    long len = fine ? BIO_get_mem_data(bio, &bytes) : 0;
    int error = fine ? write_kept(trust, name, base, kind, (struct th_str){bytes, (size_t)len},
                                  ret_path, reterr)
                     : no_memory(reterr);
    BIO_free(bio);
    return error;
}

static const struct th_trust_bundle *find_made(const struct th_trust *trust, const char *base,
                                               enum kind kind, unsigned *ret_count)
{
    *ret_count = 1;
    for (const struct th_trust_bundle *at = trust->bundles; at != NULL; at = at->next) {
        if (at->kind != kind)
            continue;
        if (base == NULL ? at->base == NULL : at->base != NULL && strcmp(at->base, base) == 0)
            return at;
        *ret_count += 1;
    }
    return NULL;
}

/* What the environment names is often the system's roots; and where others were asked for, these count. */
static bool are_roots(const struct th_trust *trust, const char *path)
{
    bool same = trust->roots_file != NULL;

    for (size_t i = 0; !same && i < TH_COUNT_OF(places); i++)
        same = strcmp(places[i], path) == 0;
    return same;
}

static int make_pem(struct th_trust *trust, const char *base, enum kind kind, const char **ret_path,
                    struct th_errinfo *reterr)
{
    static const char mend[] = "the environment names it: mend it there";
    STACK_OF(X509) *own = NULL;
    char name[40];
    unsigned number;
    int error = 0;

    if (kind == KIND_BUNDLE && base != NULL && are_roots(trust, base))
        base = NULL;
    const struct th_trust_bundle *made = find_made(trust, base, kind, &number);
    if (made != NULL) {
        *ret_path = made->path;
        return 0;
    }
    if (base != NULL)
        error = read_certificates(base, mend, &own, reterr);
    else if (kind == KIND_BUNDLE || trust->roots_file != NULL)
        error = read_roots(trust, reterr);
    if (base == NULL)
        (void)snprintf(name, sizeof name, "%s.pem", kind_names[kind]);
    else
        (void)snprintf(name, sizeof name, "%s-%u.pem", kind_names[kind], number);
    const STACK_OF(X509) *roots = base != NULL ? own : NULL;
    if (base == NULL && (kind == KIND_BUNDLE || trust->roots_file != NULL))
        roots = trust->roots;
    if (error == 0)
        error = write_pem(trust, name, base, kind, roots, ret_path, reterr);
    sk_X509_pop_free(own, X509_free);
    return error;
}

int th_trust_make_bundle(struct th_trust *trust, const char *base, const char **ret_path,
                         struct th_errinfo *reterr)
{
    return make_pem(trust, base, KIND_BUNDLE, ret_path, reterr);
}

int th_trust_make_extra(struct th_trust *trust, const char *base, const char **ret_path,
                        struct th_errinfo *reterr)
{
    return make_pem(trust, base, KIND_EXTRA, ret_path, reterr);
}

/* --- a folder --- */

/* HASH.0, or the next number where another has the same hash. */
static int write_hashed(const char *folder, X509 *certificate, struct th_errinfo *reterr)
{
    unsigned long hash = X509_subject_name_hash(certificate);
    char path[PATH_MAX];
    int fd = -1;

    for (unsigned n = 0; fd < 0; n++) {
        int len = snprintf(path, sizeof path, "%s/%08lx.%u", folder, hash, n);
        if (len < 0 || (size_t)len >= sizeof path)
            return th_write_refuse(folder, NULL, "it cannot be written", ENAMETOOLONG, reterr);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd < 0 && errno != EEXIST)
            return th_write_refuse(path, NULL, "it cannot be made", errno, reterr);
    }
    FILE *file = fdopen(fd, "w");
    bool fine = file != NULL && PEM_write_X509(file, certificate) == 1;
    if (file == NULL)
        close(fd);
    else if (fclose(file) != 0)
        fine = false;
    return fine ? 0 : th_write_refuse(path, NULL, "it cannot be written", errno, reterr);
}

static int write_all_hashed(const char *folder, const STACK_OF(X509) * list,
                            struct th_errinfo *reterr)
{
    int error = 0;

    for (int i = 0; error == 0 && i < sk_X509_num(list); i++)
        error = write_hashed(folder, sk_X509_value(list, i), reterr);
    return error;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    (void)remove(path);
    return 0;
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Named as those that are written here: nothing else in a folder that others may use is removed. */
static bool is_hashed_name(const char *name)
{
    size_t n = strspn(name, "0123456789abcdef");

    return n == 8 && name[n] == '.' && strspn(name + n + 1, "0123456789") == strlen(name + n + 1);
}

static int remove_hashed(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    if (at->level == 0)
        (void)rmdir(path);
    else if (at->level == 1 && (type == FTW_F || type == FTW_SL) && is_hashed_name(path + at->base))
        (void)unlink(path);
    return 0;
}

int th_trust_make_folder(struct th_trust *trust, const char **ret_path, struct th_errinfo *reterr)
{
    static const char name[] = "tokenhop-certs";
    char *path = name_file(trust, name);
    int error = path != NULL ? read_roots(trust, reterr) : no_memory(reterr);

    if (error == 0) {
        (void)nftw(path, remove_hashed, 8, FTW_DEPTH | FTW_PHYS); /* of an earlier authority */
        if (mkdir(path, 0755) != 0)
            error = th_write_refuse(path, NULL, "the folder cannot be made", errno, reterr);
    }
    /* The authority first: most lookups are for it. */
    if (error == 0)
        error = write_all_hashed(path, trust->authority, reterr);
    if (error == 0)
        error = write_all_hashed(path, trust->roots, reterr);
    if (error == 0)
        return keep(trust, name, KIND_OTHER, path, ret_path, reterr);
    th_free(path);
    return error;
}

/* --- for Java --- */

static bool add_trusted(STACK_OF(PKCS12_SAFEBAG) * *bags, X509 *certificate, const char *alias,
                        ASN1_OBJECT *any)
{
    PKCS12_SAFEBAG *bag = PKCS12_add_cert(bags, certificate);

    return bag != NULL && PKCS12_add_friendlyname_utf8(bag, alias, -1) == 1 &&
           PKCS12_add1_attr_by_txt(bag, TRUSTED_KEY_USAGE, V_ASN1_OBJECT,
                                   (const unsigned char *)any, -1) == 1;
}

static bool add_all_trusted(STACK_OF(PKCS12_SAFEBAG) * *bags, const STACK_OF(X509) * list,
                            const char *kind, ASN1_OBJECT *any)
{
    char alias[40];
    bool fine = true;

    for (int i = 0; fine && i < sk_X509_num(list); i++) {
        (void)snprintf(alias, sizeof alias, "%s%d", kind, i);
        fine = add_trusted(bags, sk_X509_value(list, i), alias, any);
    }
    return fine;
}

/* Neither encrypted nor with a MAC: there is no secret in it, and Java reads one without a password so. */
static PKCS12 *make_store(const struct th_trust *trust)
{
    ASN1_OBJECT *any = OBJ_nid2obj(NID_anyExtendedKeyUsage);
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
    STACK_OF(PKCS7) *safes = NULL;
    PKCS12 *store = NULL;

    if (any != NULL && add_all_trusted(&bags, trust->authority, "tokenhop", any) &&
        add_all_trusted(&bags, trust->roots, "root", any) &&
        PKCS12_add_safe(&safes, bags, -1, 0, NULL) == 1)
        store = PKCS12_add_safes(safes, 0);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    sk_PKCS7_pop_free(safes, PKCS7_free);
    return store;
}

int th_trust_make_store(struct th_trust *trust, const char **ret_path, struct th_errinfo *reterr)
{
    static const char name[] = "truststore.p12";
    unsigned char *der = NULL;
    int error = read_roots(trust, reterr);

    if (error < 0)
        return error;
    PKCS12 *store = make_store(trust);
    int len = store != NULL ? i2d_PKCS12(store, &der) : -1;
    error = len <= 0
                ? no_memory(reterr)
                : write_kept(trust, name, name, KIND_OTHER,
                             (struct th_str){(const char *)der, (size_t)len}, ret_path, reterr);
    OPENSSL_free(der);
    PKCS12_free(store);
    return error;
}

/* --- the whole --- */

static bool is_folder(const char *path)
{
    struct stat st;
    return path != NULL && path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
           access(path, W_OK | X_OK) == 0;
}

/* Whoever can write there decides what the agent trusts, and what its Node loads. Where each may remove
 * only what is his own (the sticky bit), `is_above` is enough. */
static bool is_of_others(const char *path, bool is_above)
{
    struct stat st;

    if (stat(path, &st) != 0 || (st.st_uid != geteuid() && st.st_uid != 0))
        return true;
    return (st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !(is_above && (st.st_mode & S_ISVTX) != 0);
}

/* Variables part names of files by these, or end there. */
static int check_name(const char *path, struct th_errinfo *reterr)
{
    if (strpbrk(path, ":\"\\\n") == NULL)
        return 0;
    return th_errinfo_set(reterr, TH_E_IO, path, "name another folder by --dir",
                          "the folder's name has a character that variables cannot hold");
}

static int make_own_folder(struct th_trust *trust, struct th_errinfo *reterr)
{
    const char *const above[] = {getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp"};
    char path[PATH_MAX];
    size_t i = 0;

    while (i + 1 < TH_COUNT_OF(above) && (!is_folder(above[i]) || is_of_others(above[i], true)))
        i++;
    int len = snprintf(path, sizeof path, "%s/tokenhop-exec.XXXXXX", above[i]);
    if (len < 0 || (size_t)len >= sizeof path || mkdtemp(path) == NULL)
        return th_write_refuse(above[i], "name a folder by --dir", "no folder can be made there",
                               errno, reterr);
    trust->folder = th_strdup(path);
    if (trust->folder != NULL)
        return 0;
    rmdir(path);
    return no_memory(reterr);
}

/* Absolute: the command may change its folder. */
static int take_folder(struct th_trust *trust, const char *folder, struct th_errinfo *reterr)
{
    char path[PATH_MAX];

    trust->stays = true;
    if (mkdir(folder, 0755) != 0 && errno != EEXIST)
        return th_write_refuse(folder, NULL, "the folder cannot be made", errno, reterr);
    if (realpath(folder, path) == NULL || !is_folder(path))
        return th_write_refuse(folder, "name a folder that you can write to",
                               "it is no such folder", errno, reterr);
    if (is_of_others(path, false))
        return th_errinfo_set(reterr, TH_E_IO, folder, "name one that is yours, chmod 755",
                              "others can write to this folder");
    trust->folder = th_strdup(path);
    return trust->folder != NULL ? 0 : no_memory(reterr);
}

int th_trust_init(struct th_trust *trust, const char *folder, const char *roots_file,
                  const char *authority_file, struct th_errinfo *reterr)
{
    *trust = (struct th_trust){.roots_file = roots_file};
    int error =
        folder != NULL ? take_folder(trust, folder, reterr) : make_own_folder(trust, reterr);
    if (error == 0)
        error = check_name(trust->folder, reterr);
    if (error == 0 && authority_file != NULL)
        error = read_certificates(authority_file, "make one with tokenhop ca init",
                                  &trust->authority, reterr);
    return error;
}

void th_trust_fini(struct th_trust *trust)
{
    struct th_trust_bundle *next;

    if (trust->folder != NULL && !trust->stays)
        remove_tree(trust->folder);
    for (struct th_trust_bundle *at = trust->bundles; at != NULL; at = next) {
        next = at->next;
        th_free(at->base);
        th_free(at->path);
        th_free(at);
    }
    sk_X509_pop_free(trust->authority, X509_free);
    sk_X509_pop_free(trust->roots, X509_free);
    th_free(trust->folder);
    *trust = (struct th_trust){0};
}
