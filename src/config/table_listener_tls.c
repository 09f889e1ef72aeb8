/* The keys of listeners that speak TLS, and of clients' certificates. */
#include "table.h"

static const struct th_config_key_choice client_certificates[] = {
    {"none", TH_CLIENT_CERTIFICATE_NONE},
    {"optional", TH_CLIENT_CERTIFICATE_OPTIONAL},
    {"required", TH_CLIENT_CERTIFICATE_REQUIRED},
    {NULL, 0}};

static const struct th_config_key tls_keys[] = {
    {.name = "cert_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_listener_tls, cert_file),
     .required = true,
     .doc = "The certificate that is shown to clients, PEM; behind it in the file those that lead "
            "to its authority, each the issuer of the one before."},
    {.name = "key_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_listener_tls, key_file),
     .required = true,
     .doc = "Its private key, PEM; may be the same file. It is refused when others than its owner "
            "may read it."},
    {.name = "client_certificate",
     ENUM(struct th_raw_listener_tls, client_certificate, client_certificates),
     .default_text = "none",
     .doc =
         "Whether clients are asked for a certificate. \"optional\": who has none may connect "
         "without; \"required\": nobody does. One that is shown must be valid in any case: of an "
         "authority of client_ca_file, not expired, not revoked, for clients (its "
         "extendedKeyUsage has clientAuth). Callers are known by it (callers.certificate)."},
    {.name = "client_ca_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_listener_tls, client_ca_file),
     .doc = "PEM certificates of the authorities that vouch for clients; no other does."},
    {.name = "client_crl_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_listener_tls, client_crl_file),
     .doc = "PEM revocation lists of these authorities. Who is on its authority's list is refused, "
            "and everybody is when that list has run out; an authority without a list in the file "
            "is as if nobody looked."},
};
static const struct th_section_rule client_rules[] = {
    {"client_certificate", "none", .excluded = {"client_ca_file", "client_crl_file"},
     .why = "no client is asked for a certificate"},
    {"client_certificate", "optional", .required = {"client_ca_file"}},
    {"client_certificate", "required", .required = {"client_ca_file"}},
};
const struct th_section th_section_listener_tls = {
    SECTION("listener_tls", struct th_raw_listener_tls, tls_keys), .rules = client_rules,
    .n_rules = TH_COUNT_OF(client_rules)};

static const struct th_config_key forwarded_keys[] = {
    {.name = "header",
     .type = TH_KEY_FIELD,
     TEXT(struct th_raw_forwarded, header),
     .default_text = "X-Forwarded-Client-Cert",
     .doc = "The field, in the form in which Envoy writes it. Its last element counts: that of the "
            "proxy which connects here. No request is passed on with the field."},
    {.name = "from",
     .type = TH_KEY_SOURCE,
     TEXTS(struct th_raw_forwarded, from),
     .required = true,
     .min_items = 1,
     .max_items = 64,
     .doc =
         "Who is believed: addresses and networks, or \"unix\" for whoever may connect to a unix "
         "socket. What others send in the field is removed and does not count."},
};
const struct th_section th_section_forwarded_certificate = {
    SECTION("forwarded_certificate", struct th_raw_forwarded, forwarded_keys)};
