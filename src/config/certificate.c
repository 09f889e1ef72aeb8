/* Certificates of our own, and what certificates of others are looked at with: read from the files that
 * the configuration names, and held against their keys. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader.h"
#include "private_key.h"
#include "tokenhop/base/buf.h"

#define FILE_MAX_LEN ((size_t)1 << 20)
#define NAMES_ARE "names are relative to the configuration file's folder"

static int no_password(char *buf, int size, int writing, void *arg)
{
    return -1;
}

/* Into a buffer that is wiped: the file may hold the key too. NULL when it was read, else what is
 * wrong. */
static const char *read_file(const char *path, struct th_buf *buf)
{
    struct stat st;
    const char *what = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == EACCES
                   ? "the file cannot be opened: Permission denied: " TH_SECRET_MEND_DENIED
                   : "the file cannot be opened";
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        what = "the file is not a regular file";
    } else if (st.st_size > (off_t)FILE_MAX_LEN) {
        what = "the file is larger than 1 MiB";
    } else {
        char *at = th_buf_reserve(buf, (size_t)st.st_size + 1);
        ssize_t n = at != NULL ? read(fd, at, (size_t)st.st_size + 1) : 0;
        if (n < 0)
            what = "the file cannot be read";
        else if (at != NULL)
            th_buf_commit(buf, (size_t)n);
    }
    (void)close(fd);
    return what;
}

/* Borrowed from the snapshot; NULL when there is none, which was reported if one was named. */
static struct th_identity *read_identity(struct th_loader *l, struct th_str name, uint32_t place)
{
    struct th_errinfo info = {0};
    struct th_identity *identity = NULL;
    struct th_str path = th_loader_file(l, name);
    struct th_buf text;
    if (name.ptr == NULL || path.ptr == NULL || th_loader_watch(l, path) == NULL)
        return NULL;
    th_buf_init_secret(&text, FILE_MAX_LEN + 2);
    const char *what = read_file(path.ptr, &text);
    int error = what != NULL  ? th_errinfo_set(&info, TH_E_CONFIG, NULL, NAMES_ARE, "%s", what)
                : text.failed ? TH_E_NOMEM
                              : th_identity_new(th_buf_str(&text), &identity, &info);
    th_buf_fini(&text);
    if (error == 0)
        error = th_config_hold_identity(l->config, identity);
    if (error == TH_E_NOMEM)
        l->nomem = true;
    else if (error != 0)
        th_loader_report_info(l, place, &info);
    return error == 0 ? identity : NULL;
}

static bool report(struct th_loader *l, uint32_t place, int error, const struct th_errinfo *info)
{
    if (error == TH_E_NOMEM)
        l->nomem = true;
    else if (error != 0)
        th_loader_report_info(l, place, info);
    return error == 0;
}

/* What TLS shows on one of its sides: what is said of a certificate that is not for it. */
struct side {
    bool (*is_for)(const struct th_identity *identity);
    const char *what, *mend;
};

static struct th_identity *build_identity(struct th_loader *loader, struct th_str cert_file,
                                          const struct th_secret *key, uint32_t place,
                                          uint32_t key_place, const struct side *side)
{
    struct th_errinfo info = {0};
    uint32_t cert_place = th_loader_member(loader, place, "cert_file");
    struct th_identity *identity = read_identity(loader, cert_file, cert_place);
    if (identity == NULL || key == NULL)
        return NULL;
    if (!report(loader, key_place, th_identity_set_key(identity, th_secret_expose(key), &info),
                &info))
        return NULL;
    if (!side->is_for(identity)) {
        th_loader_report(loader, cert_place, side->mend, "%s", side->what);
        return NULL;
    }
    return identity;
}

struct th_identity *th_build_identity(struct th_loader *loader, struct th_str cert_file,
                                      const struct th_secret *key, uint32_t place,
                                      uint32_t key_place)
{
    static const struct side client = {
        th_identity_is_for_clients,
        "the certificate is not for clients: its extendedKeyUsage says so",
        "have one issued for clients (clientAuth)"};

    return build_identity(loader, cert_file, key, place, key_place, &client);
}

struct th_identity *th_build_server_identity(struct th_loader *loader, struct th_str cert_file,
                                             const struct th_secret *key, uint32_t place,
                                             uint32_t key_place)
{
    static const struct side server = {
        th_identity_is_for_servers,
        "the certificate is not for servers: its extendedKeyUsage says so",
        "have one issued for servers (serverAuth)"};

    return build_identity(loader, cert_file, key, place, key_place, &server);
}

struct th_identity *th_build_assertion_certificate(struct th_loader *loader,
                                                   struct th_str cert_file,
                                                   const struct th_secret *key, uint32_t place)
{
    struct th_errinfo info = {0};
    uint32_t cert_place = th_loader_member(loader, place, "cert_file");
    struct th_identity *identity = read_identity(loader, cert_file, cert_place);
    if (identity == NULL || key == NULL)
        return NULL;
    int error = th_private_key_check_certificate(th_secret_expose(key), identity, &info);
    return report(loader, cert_place, error, &info) ? identity : NULL;
}

/* NULL when all of it are revocation lists that can be read, else what is wrong. */
static const char *check_lists(struct th_str text)
{
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    X509_CRL *list;
    size_t n = 0;
    ERR_clear_error();
    while (bio != NULL && (list = PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL)) != NULL) {
        X509_CRL_free(list);
        n++;
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    if (!at_end)
        return "a revocation list of the file cannot be read";
    return n > 0 ? NULL : "the file holds no revocation list in PEM form";
}

/* NULL when all of it are certificates that can be read, else what is wrong. */
static const char *check_authorities(struct th_str text)
{
    BIO *bio = BIO_new_mem_buf(text.ptr, (int)text.len);
    X509 *certificate;
    size_t n = 0;
    ERR_clear_error();
    while (bio != NULL && (certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        X509_free(certificate);
        n++;
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    if (!at_end)
        return "a certificate of the file cannot be read";
    return n > 0 ? NULL : "the file holds no certificate in PEM form";
}

static struct th_str build_text(struct th_loader *l, struct th_str name, uint32_t place,
                                const char *check(struct th_str text))
{
    struct th_str copy = TH_STR_NONE;
    struct th_buf text;
    struct th_str path = th_loader_file(l, name);
    if (name.ptr == NULL || path.ptr == NULL || th_loader_watch(l, path) == NULL)
        return copy;
    th_buf_init(&text, FILE_MAX_LEN + 2);
    const char *what = read_file(path.ptr, &text);
    l->nomem = l->nomem || text.failed;
    if (what == NULL && !text.failed)
        what = check(th_buf_str(&text));
    if (what != NULL)
        th_loader_report(l, place, NAMES_ARE, "%s", what);
    else if (!text.failed)
        copy = th_loader_copy(l, th_buf_str(&text));
    th_buf_fini(&text);
    return copy;
}

struct th_str th_build_authorities_text(struct th_loader *loader, struct th_str name,
                                        uint32_t place)
{
    return build_text(loader, name, place, check_authorities);
}

struct th_str th_build_lists_text(struct th_loader *loader, struct th_str name, uint32_t place)
{
    return build_text(loader, name, place, check_lists);
}

struct th_str th_build_crl_file(struct th_loader *loader, struct th_str name, uint32_t place)
{
    struct th_buf text;
    if (name.ptr == NULL)
        return TH_STR_NONE;
    struct th_str path = th_loader_file(loader, name);
    if (path.ptr == NULL || th_loader_watch(loader, path) == NULL)
        return TH_STR_NONE;
    th_buf_init(&text, FILE_MAX_LEN + 2);
    const char *what = read_file(path.ptr, &text);
    if (what == NULL && !text.failed)
        what = check_lists(th_buf_str(&text));
    loader->nomem = loader->nomem || text.failed;
    th_buf_fini(&text);
    if (what != NULL)
        th_loader_report(loader, th_loader_member(loader, place, "crl_file"), NAMES_ARE, "%s",
                         what);
    return path;
}

/* A certificate is shown in TLS only, and so are certificates looked at. */
static void check_scheme(struct th_loader *l, const struct th_config_connection *connection,
                         uint32_t place, const char *member)
{
    if (th_source_find_member(&l->source, place, member) == TH_SOURCE_NONE)
        return;
    for (size_t i = 0; i < connection->n_patterns; i++) {
        if (th_str_equal(connection->patterns[i].scheme, TH_STR("https")))
            continue;
        th_loader_report(l, th_loader_member(l, place, member),
                         "write https:// in \"url\": callers may still call http://",
                         "the connection has a URL without TLS, where this has no meaning");
        return;
    }
}

void th_build_connection_tls(struct th_loader *loader, const struct th_raw_connection *raw,
                             struct th_config_connection *connection)
{
    static const char *const members[] = {"client_certificate", "ca_file", "crl_file"};
    const struct th_raw_certificate *certificate = &raw->client_certificate;
    uint32_t place = raw->head.place;
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        check_scheme(loader, connection, place, members[i]);
    connection->ca_file = th_build_ca_file(loader, raw->ca_file, place, NULL);
    connection->crl_file = th_build_crl_file(loader, raw->crl_file, place);
    if (raw->crl_file.ptr != NULL && raw->ca_file.ptr == NULL)
        th_loader_report(loader, th_loader_member(loader, place, "crl_file"),
                         "name the authorities in \"ca_file\", or the list in origin.crl_file",
                         "a connection's own list is of its own authorities");
    if (certificate->cert_file.ptr == NULL)
        return;
    const struct th_secret_names names = {certificate->key_file, certificate->key.env, "key_file",
                                          "key"};
    struct th_str path;
    uint32_t key_place;
    place = th_loader_member(loader, place, "client_certificate");
    const struct th_secret *key =
        th_build_secret_of(loader, &names, false, place, &key_place, &path);
    connection->client_certificate =
        th_build_identity(loader, certificate->cert_file, key, place, key_place);
}
