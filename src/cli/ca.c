/* tokenhop ca: the authority for interception. */
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/clock.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/process.h"
#include "tokenhop/cli/command.h"
#include "tokenhop/config/authority.h"
#include "tokenhop/config/load.h"
#include "tokenhop/intercept/ca.h"
#include "write_file.h"

#define CERTIFICATE_MAX ((size_t)8 << 20)
#define DAYS_DEFAULT 825
#define DAYS_MAX 3650

static const char usage[] =
    "usage: tokenhop ca init -c FILE [--cert FILE] [--key FILE] [--days N] [--force]\n"
    "       tokenhop ca show -c FILE [--cert FILE]\n"
    "\n"
    "init makes the authority that `interception` needs: it vouches towards callers for the hosts of the\n"
    "configured connections with an https:// URL, and its name constraints keep it from vouching for any\n"
    "other. show says what it is, and whether it covers all of these connections: 1 when it does not.\n"
    "\n"
    "  -c, --config FILE   the configuration\n"
    "      --cert FILE     the certificate (default: interception.cert_file)\n"
    "      --key FILE      its private key, that its owner alone can read (default: key_file)\n"
    "      --days N        how long it is valid (default: 825)\n"
    "      --force         replaces files that are there; callers must trust the new one then\n"
    "  -h, --help          this text\n";

struct order {
    const char *verb;
    const char *config;
    const char *cert;
    const char *key;
    const char *days_text;
    unsigned days;
    bool force;
};

static int load(const char *path, struct th_config **ret_config)
{
    struct th_config_mistakes mistakes = {0};
    int error = th_config_load_without_authority(path, ret_config, &mistakes);

    if (error < 0)
        th_config_mistakes_print(&mistakes, path, stderr);
    th_config_mistakes_fini(&mistakes);
    return error < 0 ? TH_EXIT_USAGE : TH_EXIT_FINE;
}

/* --- what it is --- */

static void print_name(const char *label, X509_NAME *name)
{
    BIO *bio = BIO_new_fp(stdout, BIO_NOCLOSE);

    printf("%-13s", label);
    fflush(stdout);
    if (bio != NULL)
        X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
    BIO_free(bio);
    putchar('\n');
}

static void print_time(const char *label, const ASN1_TIME *time)
{
    struct tm tm = {0};
    char text[40] = "?";

    if (ASN1_TIME_to_tm(time, &tm))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    printf("%-13s%s\n", label, text);
}

static void print_fingerprint(const X509 *certificate)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    printf("%-13s", "sha256");
    if (X509_digest(certificate, EVP_sha256(), digest, &len) != 1)
        len = 0;
    for (unsigned i = 0; i < len; i++)
        printf("%s%02X", i > 0 ? ":" : "", digest[i]);
    putchar('\n');
}

static void print_constraints(const X509 *certificate)
{
    BIO *bio = BIO_new_fp(stdout, BIO_NOCLOSE);
    int at = X509_get_ext_by_NID(certificate, NID_name_constraints, -1);

    fflush(stdout);
    if (at < 0)
        printf("%-13snone: whoever has its key can vouch for any host\n", "constraints");
    else if (bio != NULL) {
        puts("constraints");
        fflush(stdout);
        X509V3_EXT_print(bio, X509_get_ext(certificate, at), 0, 2);
        putchar('\n');
    }
    BIO_free(bio);
}

/* One of another make, or of an earlier version, works as well, and is worth more to a thief. */
static void print_usage(X509 *certificate)
{
    bool limited = (X509_get_extension_flags(certificate) & EXFLAG_XKUSAGE) != 0;
    bool servers = limited && X509_get_extended_key_usage(certificate) == XKU_SSL_SERVER;

    printf(
        "%-13s%s\n", "good for",
        servers
            ? "servers of TLS alone"
            : "more than servers of TLS: whoever has its key can vouch for clients, mail or code; "
              "make another by tokenhop ca init");
}

static void print_certificate(X509 *certificate)
{
    print_name("subject", X509_get_subject_name(certificate));
    print_fingerprint(certificate);
    print_time("valid from", X509_get0_notBefore(certificate));
    print_time("until", X509_get0_notAfter(certificate));
    print_usage(certificate);
    print_constraints(certificate);
}

static void print_trust(const char *cert)
{
    printf(
        "\nLet the callers trust it, and nobody else:\n"
        "  curl        curl --cacert %s ...\n"
        "  Node        NODE_EXTRA_CA_CERTS=%s\n"
        "  Python      SSL_CERT_FILE=%s (httpx, aiohttp), REQUESTS_CA_BUNDLE=%s (requests):\n"
        "              both stand in the place of the system's roots; for both kinds of hosts join\n"
        "              cat /etc/ssl/certs/ca-certificates.crt %s > bundle.pem\n"
        "  Go          SSL_CERT_FILE=bundle.pem, joined as above\n"
        "  Java        keytool -importcert -noprompt -alias tokenhop -file %s \\\n"
        "                -keystore trust.p12 -storepass changeit, then\n"
        "              -Djavax.net.ssl.trustStore=trust.p12 -Djavax.net.ssl.trustStorePassword=changeit\n"
        "  Debian      cp %s /usr/local/share/ca-certificates/tokenhop.crt && "
        "update-ca-certificates\n",
        cert, cert, cert, cert, cert, cert, cert);
}

/* --- init --- */

static int write_both(const struct order *order, const struct th_buf *certificate,
                      const struct th_secret *key, struct th_errinfo *reterr)
{
    int error = th_write_file(order->key, th_secret_expose(key), 0600, order->force, reterr);

    if (error == 0) {
        error = th_write_file(order->cert, th_buf_str(certificate), 0644, order->force, reterr);
        if (error < 0 && !order->force)
            unlink(order->key); /* just made: it is of use to nobody */
    }
    return error;
}

static int init(const struct order *order, const struct th_config_view *view)
{
    TH_CLEANUP(th_secret_unrefp) struct th_secret *key = NULL;
    struct th_errinfo info = {0};
    struct th_buf certificate;

    th_buf_init(&certificate, CERTIFICATE_MAX);
    int64_t now_s = th_clock_wall_ms(&th_clock_system) / 1000;
    int error = th_process_harden(&info);
    if (error == 0)
        error = th_ca_make(view, now_s, order->days, &certificate, &key, &info);
    if (error == 0)
        error = write_both(order, &certificate, key, &info);
    if (error < 0) {
        th_options_print_error("ca init", &info);
    } else {
        STACK_OF(X509) *made = th_authority_read(th_buf_str(&certificate));
        if (made != NULL)
            print_certificate(sk_X509_value(made, 0));
        sk_X509_pop_free(made, X509_free);
        printf("\n%s holds the certificate, %s its key. In the configuration:\n"
               "  \"interception\": { \"cert_file\": \"%s\", \"key_file\": \"%s\" }\n",
               order->cert, order->key, order->cert, order->key);
        print_trust(order->cert);
    }
    th_buf_fini(&certificate);
    return error < 0 ? TH_EXIT_NOT_SO : TH_EXIT_FINE;
}

/* --- show --- */

/* Whether all is covered; says what is not. */
static bool print_coverage(const X509 *certificate, const struct th_config_view *view)
{
    bool all = true;

    for (size_t i = 0; i < view->n_connections; i++) {
        const struct th_config_connection *connection = &view->connections[i];
        for (size_t k = 0; k < connection->n_patterns; k++) {
            const struct th_config_pattern *pattern = &connection->patterns[k];
            if (!th_str_equal(pattern->scheme, TH_STR("https")) ||
                th_authority_covers(certificate, pattern))
                continue;
            all = false;
            printf("not covered: %.*s of the connection \"%.*s\"\n", TH_STR_ARGS(pattern->text),
                   TH_STR_ARGS(connection->name));
        }
    }
    return all;
}

static STACK_OF(X509) * read_chain(const char *path)
{
    FILE *file = fopen(path, "re");
    struct th_buf buf;
    char piece[4096];
    size_t n;

    if (file == NULL)
        return NULL;
    th_buf_init(&buf, CERTIFICATE_MAX);
    while ((n = fread(piece, 1, sizeof piece, file)) > 0)
        th_buf_add(&buf, piece, n);
    fclose(file);
    STACK_OF(X509) *chain = buf.len > 0 ? th_authority_read(th_buf_str(&buf)) : NULL;
    th_buf_fini(&buf);
    return chain;
}

static int show(const struct order *order, const struct th_config_view *view)
{
    STACK_OF(X509) *chain = read_chain(order->cert);
    struct th_errinfo info = {0};
    bool fine;

    if (chain == NULL) {
        th_errinfo_set(&info, TH_E_IO, order->cert, "make one with tokenhop ca init",
                       "no certificate can be read there");
        th_options_print_error("ca show", &info);
        return TH_EXIT_NOT_SO;
    }
    X509 *certificate = sk_X509_value(chain, 0);
    print_certificate(certificate);
    fine = print_coverage(certificate, view);
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
        puts("it has expired");
        fine = false;
    }
    if (fine)
        puts("it covers every https:// URL of the connections");
    print_trust(order->cert);
    sk_X509_pop_free(chain, X509_free);
    return fine ? TH_EXIT_FINE : TH_EXIT_NOT_SO;
}

/* --- the order --- */

static int fill_order(struct order *order, const struct th_config_interception *config, bool making)
{
    uint64_t days = DAYS_DEFAULT;

    if (order->cert == NULL && config->cert_file.len > 0)
        order->cert = config->cert_file.ptr;
    if (order->key == NULL && config->key_file.len > 0)
        order->key = config->key_file.ptr;
    if (order->cert == NULL || (making && order->key == NULL))
        return th_options_refuse("ca", "the configuration has no \"interception\"; say where the "
                                       "files are by --cert and --key");
    if (order->days_text != NULL &&
        (th_str_to_u64(th_str_of(order->days_text), DAYS_MAX, &days) < 0 || days == 0))
        return th_options_refuse("ca", "--days must be a number from 1 to %d", DAYS_MAX);
    order->days = (unsigned)days;
    return -1;
}

static int ca(int argc, char **argv)
{
    struct order order = {0};
    struct th_config *config = NULL;
    const struct th_option options[] = {{"config", 'c', &order.config, NULL},
                                        {"cert", '\0', &order.cert, NULL},
                                        {"key", '\0', &order.key, NULL},
                                        {"days", '\0', &order.days_text, NULL},
                                        {"force", '\0', NULL, &order.force}};
    int status = th_options_parse(argc, argv, usage, options, TH_COUNT_OF(options), &order.verb, 1);

    if (status >= 0)
        return status;
    bool making = order.verb != NULL && strcmp(order.verb, "init") == 0;
    if (!making && (order.verb == NULL || strcmp(order.verb, "show") != 0))
        return th_options_refuse("ca", "say what to do: init or show");
    if (order.config == NULL)
        return th_options_refuse("ca", "say which configuration; add -c FILE");
    status = load(order.config, &config);
    if (status == TH_EXIT_FINE) {
        const struct th_config_view *view = th_config_get(config);
        status = fill_order(&order, &view->interception, making);
        if (status < 0)
            status = making ? init(&order, view) : show(&order, view);
    }
    th_config_unref(config);
    return status;
}

const struct th_command th_command_ca = {"ca", "makes or shows the authority for interception",
                                         usage, ca};
