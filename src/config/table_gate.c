/* The keys of who may do what: callers. */
#include "table.h"

static const struct th_config_key basic_keys[] = {
    {.name = "user",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_basic, user),
     .required = true,
     .max = 128,
     .doc = "The user name; without a colon."},
    {.name = "password_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_basic, password_file),
     .doc =
         "A file with the password; a line feed at its end does not count. The file is refused "
         "when others than its owner may read it. A caller's may hold hashes instead, one a line, as "
         "tokenhop password makes them; else only a digest is kept in memory."},
    {.name = "password",
     OBJECT(struct th_raw_basic, password, th_section_environment),
     .doc = "The same from the environment, in place of password_file."},
};
const struct th_section th_section_basic = {SECTION("basic", struct th_raw_basic, basic_keys),
                                            .exactly_one = {"password_file", "password"}};

static const struct th_config_key bearer_keys[] = {
    {.name = "token_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_bearer, token_file),
     .doc = "A file with the token, or with hashes of it, as a caller's password_file."},
    {.name = "token",
     OBJECT(struct th_raw_bearer, token, th_section_environment),
     .doc = "The same from the environment, in place of token_file."},
};
static const struct th_section bearer_section = {
    SECTION("bearer", struct th_raw_bearer, bearer_keys), .exactly_one = {"token_file", "token"}};

static const struct th_config_key unix_keys[] = {
    {.name = "uid",
     COUNT(struct th_raw_unix, uid),
     .max = UINT32_MAX - 1,
     .doc = "The number of its user."},
    {.name = "user",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_unix, user),
     .max = 64,
     .doc = "The name of its user; looked up when the configuration is loaded."},
    {.name = "gid",
     COUNT(struct th_raw_unix, gid),
     .max = UINT32_MAX - 1,
     .doc = "The number of a group that it is of, supplementary ones too."},
    {.name = "group",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_unix, group),
     .max = 64,
     .doc = "The name of such a group; looked up when the configuration is loaded."},
};
static const struct th_section unix_section = {SECTION("unix", struct th_raw_unix, unix_keys),
                                               .exactly_one = {"uid", "user", "gid", "group"}};

static const struct th_config_key kubernetes_keys[] = {
    {.name = "issuer",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_kubernetes, issuer),
     .required = true,
     .doc = "The cluster's issuer: the name of one of authorization_servers, or its issuer as it "
            "is there. Its keys are at its jwks_uri, or where its metadata says."},
    {.name = "audience",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_kubernetes, audience),
     .default_text = "tokenhop",
     .max = 256,
     .doc = "The audience that the token must be meant for, as the pod's volume asks for it "
            "(serviceAccountToken.audience)."},
    {.name = "namespace",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_kubernetes, namespace_name),
     .required = true,
     .max = 63,
     .doc = "The namespace of the service account."},
    {.name = "service_account",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_kubernetes, service_account),
     .required = true,
     .max = 253,
     .doc = "Its name."},
};
static const struct th_section kubernetes_section = {
    SECTION("kubernetes", struct th_raw_kubernetes, kubernetes_keys)};

static const struct th_config_key certificate_keys[] = {
    {.name = "san",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_caller_certificate, san),
     .max = 2048,
     .doc =
         "A name of its subjectAltName: a URI, \"spiffe://example.org/ns/a/sa/agent2\", to the "
         "letter, or a DNS name, whole and in any case of letters. A SPIFFE id counts only where "
         "it is the certificate's only URI."},
    {.name = "subject",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_caller_certificate, subject),
     .max = 2048,
     .doc =
         "Its subject, \"CN=agent2,O=Example\" (RFC 4514): the whole of it, what is most specific "
         "first, as openssl x509 -noout -subject -nameopt RFC2253 prints it."},
};
static const struct th_section certificate_section = {
    SECTION("caller_certificate", struct th_raw_caller_certificate, certificate_keys),
    .exactly_one = {"san", "subject"}};

static const struct th_config_key caller_keys[] = {
    {.name = "name",
     .type = TH_KEY_NAME,
     TEXT(struct th_raw_caller, head.name),
     .required = true,
     .doc = "What logs and policy rules call this caller."},
    {.name = "agent",
     .type = TH_KEY_REFERENCE,
     TEXT(struct th_raw_caller, agent),
     .required = true,
     .doc = "The agent that this caller acts as. It never gets to use another's key."},
    {.name = "basic",
     OBJECT(struct th_raw_caller, basic, th_section_basic),
     .doc = "Proved by user name and password in Proxy-Authorization (RFC 7617): what clients send "
            "that have them in the proxy's URL, http://user:password@proxy:8080."},
    {.name = "bearer",
     OBJECT(struct th_raw_caller, bearer, bearer_section),
     .doc = "Proved by a token in Proxy-Authorization (RFC 6750)."},
    {.name = "kubernetes",
     OBJECT(struct th_raw_caller, kubernetes, kubernetes_section),
     .doc = "Proved by a Kubernetes service account token in Proxy-Authorization (Bearer), which "
            "is verified by the keys that the cluster publishes."},
    {.name = "unix",
     OBJECT(struct th_raw_caller, peer, unix_section),
     .doc = "Known by the process at the other end of a unix socket, as the kernel tells it. A "
            "request that bears Proxy-Authorization is told by that instead. A user goes before "
            "a group, and of several groups the one whose caller stands first."},
    {.name = "limits",
     OBJECT(struct th_raw_caller, limits, th_section_own_share),
     .doc = "What this caller may have, in place of limits.per_caller."},
    {.name = "certificate",
     OBJECT(struct th_raw_caller, certificate, certificate_section),
     .doc = "Proved by a client certificate, which the listener has asked for (listeners.tls) or "
            "a sidecar forwards (listeners.forwarded_certificate)."},
};
const struct th_section th_section_caller = {
    SECTION("caller", struct th_raw_caller, caller_keys), .has_head = true,
    .exactly_one = {"basic", "bearer", "kubernetes", "unix", "certificate"}};
