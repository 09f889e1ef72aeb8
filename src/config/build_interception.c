/* The authority for interception: its files, and whether it is one that can do what the connections ask. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/config/authority.h"

#define MAX_LEN ((size_t)256 * 1024)

static const char make_one[] = "make one with tokenhop ca init";

static const char *read_certificates(const char *path, struct th_buf *buf)
{
    char piece[4096];
    struct stat st;
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == EACCES
                   ? "the file cannot be opened: Permission denied: " TH_SECRET_MEND_DENIED
                   : "the file cannot be opened";
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    while (regular && ((got = read(fd, piece, sizeof(piece))) > 0 || (got < 0 && errno == EINTR)))
        if (got > 0)
            th_buf_add(buf, piece, (size_t)got);
    (void)close(fd);
    if (!regular || got < 0 || buf->failed)
        return "the file is not a regular one, or is too large, or cannot be read";
    return NULL;
}

/* What an authority must be, whatever it vouches for. NULL: it is. */
static const char *look_at(X509 *certificate)
{
    if (X509_check_ca(certificate) < 1)
        return "the certificate is not that of an authority (basicConstraints CA, keyCertSign)";
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
        return "the authority's certificate has expired";
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
        return "the authority's certificate is not yet valid";
    return NULL;
}

static bool is_https(const struct th_config_pattern *pattern)
{
    return th_str_equal(pattern->scheme, TH_STR("https"));
}

static bool chain_covers(STACK_OF(X509) * chain, const struct th_config_pattern *pattern)
{
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (!th_authority_covers(sk_X509_value(chain, i), pattern))
            return false;
    return true;
}

static void check_coverage(struct th_loader *l, STACK_OF(X509) * chain, uint32_t place)
{
    const struct th_config_view *view = &l->config->view;
    for (size_t i = 0; i < view->n_connections; i++) {
        const struct th_config_connection *connection = &view->connections[i];
        for (size_t k = 0; k < connection->n_patterns; k++) {
            if (!is_https(&connection->patterns[k]) ||
                chain_covers(chain, &connection->patterns[k]))
                continue;
            th_loader_report(l, place, make_one,
                             "the authority's name constraints leave out a host of the connection "
                             "\"%.*s\"",
                             TH_STR_ARGS(connection->name));
            break;
        }
    }
}

static void check_key(struct th_loader *l, const struct th_secret *secret, const X509 *certificate,
                      uint32_t place)
{
    EVP_PKEY *key = th_authority_read_key(th_secret_expose(secret));
    if (key == NULL)
        th_loader_report(l, place, "store it without a password",
                         "the file holds no private key in PEM form");
    else if (X509_check_private_key(certificate, key) != 1)
        th_loader_report(l, place, NULL, "the key is not that of the certificate");
    EVP_PKEY_free(key);
}

static void build_chain(struct th_loader *l, struct th_str pem, uint32_t place, uint32_t key_place)
{
    struct th_config_interception *interception = &l->config->view.interception;
    STACK_OF(X509) *chain = th_authority_read(pem);
    const char *what = NULL;
    if (chain == NULL)
        what = "the file holds no certificate in PEM form, or one that cannot be read";
    for (int i = 0; what == NULL && i < sk_X509_num(chain); i++)
        what = look_at(sk_X509_value(chain, i));
    if (what != NULL) {
        th_loader_report(l, place, make_one, "%s", what);
    } else {
        interception->certificates = th_loader_copy(l, pem);
        if (interception->key != NULL)
            check_key(l, interception->key, sk_X509_value(chain, 0), key_place);
        check_coverage(l, chain, place);
    }
    sk_X509_pop_free(chain, X509_free);
}

void th_build_interception(struct th_loader *loader)
{
    const struct th_raw_interception *raw = &loader->raw.interception;
    struct th_config_interception *interception = &loader->config->view.interception;
    uint32_t place = th_loader_member(loader, 0, "interception"), key_place;
    struct th_buf buf;

    if (raw->cert_file.ptr == NULL || raw->key_file.ptr == NULL) /* not there, or refused already */
        return;
    interception->cert_file = th_loader_file(loader, raw->cert_file);
    interception->key_file = th_loader_file(loader, raw->key_file);
    if (loader->without_authority || interception->cert_file.ptr == NULL ||
        th_loader_watch(loader, interception->cert_file) == NULL)
        return;
    interception->key =
        th_build_secret(loader, raw->key_file, TH_STR_NONE, "key", place, &key_place);
    place = th_loader_member(loader, place, "cert_file");
    th_buf_init(&buf, MAX_LEN);
    const char *what = read_certificates(interception->cert_file.ptr, &buf);
    if (what != NULL)
        th_loader_report(loader, place, make_one, "%s", what);
    else
        build_chain(loader, th_buf_str(&buf), place, key_place);
    th_buf_fini(&buf);
}
