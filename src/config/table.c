/* The table of keys. A row's order is the order on the reference page. */
#include "table.h"

#include "choices.h"

static const struct th_config_key server_keys[] = {
    {.name = "issuer",
     .type = TH_KEY_URL,
     TEXT(struct th_raw_server, issuer),
     .required = true,
     .doc = "The server's issuer, character for character as its tokens have it. Okta's endpoints "
            "follow from it: an issuer without path is an org server, one with the path "
            "/oauth2/ID a custom one. Any other is asked for its metadata (RFC 8414, OpenID "
            "Connect Discovery) when it is first needed."},
    {.name = "token_endpoint",
     .type = TH_KEY_URL,
     TEXT(struct th_raw_server, token_endpoint),
     .doc = "Where tokens are exchanged. Follows from an Okta issuer, or "
            "is in the server's metadata."},
    {.name = "revocation_endpoint",
     .type = TH_KEY_URL,
     TEXT(struct th_raw_server, revocation_endpoint),
     .doc = "Where tokens are revoked (RFC 7009). Follows from an Okta issuer, or "
            "is in the server's metadata."},
    {.name = "jwks_uri",
     .type = TH_KEY_URL,
     TEXT(struct th_raw_server, jwks_uri),
     .doc = "Where the server's public keys are. Follows from an Okta issuer, or "
            "is in the server's metadata."},
    {.name = "ca_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_server, ca_file),
     .doc = "PEM certificates of the authorities that vouch for this server, in place of the "
            "system's."},
    {.name = "allow_cleartext",
     BOOLEAN(struct th_raw_server, allow_cleartext),
     .default_text = "false",
     .doc = "Allows http:// URLs of this server. Tokens and client assertions then cross the "
            "network for all to read; loopback addresses need no permission."},
    {.name = "assertion_audience",
     ENUM(struct th_raw_server, assertion_audience, assertion_audiences),
     .default_text = "endpoint",
     .doc = "The audience of the client assertions that agents sign: the \"endpoint\" that is "
            "called, as Okta wants it, or the \"issuer\"."},
    {.name = "assertion_typ",
     ENUM(struct th_raw_server, assertion_typ, assertion_typs),
     .default_text = "none",
     .doc = "The typ in the header of client assertions: \"none\" leaves it out, "
            "\"client-authentication+jwt\" is what servers want that follow the revision of "
            "RFC 7523."},
    {.name = "client_id_in_body",
     BOOLEAN(struct th_raw_server, client_id_in_body),
     .default_text = "false",
     .doc = "Sends client_id beside a client assertion too, for a server that asks for it."},
    {.name = "assertion_nbf",
     BOOLEAN(struct th_raw_server, assertion_nbf),
     .default_text = "false",
     .doc = "Puts into client assertions too from when they hold (nbf), for a server that asks for "
            "it, as Microsoft Entra does."},
    {.name = "quota",
     OBJECT(struct th_raw_server, quota, th_section_quota),
     .doc = "How many exchanges this server grants a user: they are counted, a warning is logged "
            "before they are used up, and nobody is refused. A month (UTC) or start begins anew."},
};
static const struct th_section server_section = {
    SECTION("authorization_server", struct th_raw_server, server_keys), .has_head = true};

static const struct th_config_key environment_keys[] = {
    {.name = "env",
     .type = TH_KEY_VARIABLE,
     TEXT(struct th_raw_key, env),
     .required = true,
     .doc = "The name of the environment variable that holds the secret."},
};
const struct th_section th_section_environment = {
    SECTION("environment", struct th_raw_key, environment_keys)};

static const struct th_config_key next_keys[] = {
    {.name = "key_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_next, key_file),
     .doc = "The other private key, PEM or JWK."},
    {.name = "key",
     OBJECT(struct th_raw_next, key, th_section_environment),
     .doc = "The same from the environment, in place of key_file."},
    {.name = "kid",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_next, kid),
     .doc = "The id under which its public key is registered."},
    {.name = "alg",
     ENUM(struct th_raw_next, alg, key_algs),
     .default_text = "RS256",
     .doc = "Its signature algorithm."},
    {.name = "cert_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_next, cert_file),
     .doc = "Its certificate, as in auth.cert_file."},
};
static const struct th_section next_section = {SECTION("next_key", struct th_raw_next, next_keys),
                                               .exactly_one = {"key_file", "key"},
                                               .at_least_one = {"kid", "cert_file"}};

static const struct th_config_key auth_keys[] = {
    {.name = "method",
     ENUM(struct th_raw_auth, method, auth_methods),
     .required = true,
     .doc = "How the agent proves at a token endpoint who it is. \"private_key_jwt\": by an "
            "assertion that it signs with its key (RFC 7523). \"client_secret_jwt\": by one that "
            "the secret signs. \"client_secret_basic\" and \"client_secret_post\": by the secret "
            "itself, in the Authorization field or in the form. \"tls_client_auth\": by a "
            "certificate that the TLS of the request shows, of an authority that the server "
            "trusts (RFC 8705). \"self_signed_tls_client_auth\": by one that is itself registered "
            "at the server. \"none\": not at all; the client id is sent alone."},
    {.name = "key_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_auth, key_file),
     .doc = "The agent's private key, PEM or JWK. It is refused when others than its owner may "
            "read it."},
    {.name = "key",
     OBJECT(struct th_raw_auth, key, th_section_environment),
     .doc = "The same from the environment, in place of key_file."},
    {.name = "kid",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_auth, kid),
     .doc = "The id under which the public key is registered at the authorization server."},
    {.name = "alg",
     ENUM(struct th_raw_auth, alg, signing_algs),
     .doc = "The signature algorithm. With a key: RS256 (unless another is said) to RS512 and "
            "PS256 to PS512 with an RSA key of at least 2048 bits, ES256, ES384 and ES512 with one "
            "on P-256, P-384 and P-521, EdDSA with an Ed25519 key. With a secret: HS256 (unless "
            "another is said), HS384, HS512; it must be of at least 32, 48 or 64 bytes."},
    {.name = "cert_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_auth, cert_file),
     .doc = "The certificate of the key, PEM, and after it what leads to the authority. With the "
            "tls methods it is what the server is shown, at the mtls_endpoint_aliases of its "
            "metadata where it has some. With private_key_jwt the header of the assertion names "
            "the key by it (see x5t), in place of kid or beside it. It must be valid, and the "
            "key's, when the configuration is loaded."},
    {.name = "x5t",
     ENUM(struct th_raw_auth, x5t, x5t_choices),
     .default_text = "S256",
     .doc = "With private_key_jwt and cert_file: which digest of the certificate the header of an "
            "assertion has, \"S256\" (x5t#S256) or \"SHA1\" (x5t, RFC 7515, 4.1.7)."},
    {.name = "next",
     OBJECT(struct th_raw_auth, next, next_section),
     .doc = "The agent's other key while one takes the place of the other. When the server refuses "
            "the agent (invalid_client), the request is made once more with the key that was not "
            "used. Add it here and at the server, make it the key, then remove the old one."},
    {.name = "secret_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_auth, secret_file),
     .doc = "The agent's client secret; a line feed at its end does not count. The file is refused "
            "when others than its owner may read it."},
    {.name = "secret",
     OBJECT(struct th_raw_auth, secret, th_section_environment),
     .doc = "The same from the environment, in place of secret_file."},
};

#define OF_A_KEY "key_file", "key", "kid", "next", "cert_file", "x5t"
#define BY_SECRET .exactly_one = {"secret_file", "secret"}
#define BY_CERTIFICATE                                                                             \
    .required = {"cert_file"}, .exactly_one = {"key_file", "key"},                                 \
    .excluded = {"kid", "next", "x5t", "alg", "secret_file", "secret"},                            \
    .why = "it shows a certificate, and signs nothing but TLS"
static const struct th_section_rule method_rules[] = {
    {"method", "private_key_jwt", .exactly_one = {"key_file", "key"},
     .at_least_one = {"kid", "cert_file"}, .excluded = {"secret_file", "secret"},
     .why = "it proves a private key, and has no secret"},
    {"method", "client_secret_basic", BY_SECRET, .excluded = {OF_A_KEY, "alg"},
     .why = "it sends the secret, and signs nothing"},
    {"method", "client_secret_post", BY_SECRET, .excluded = {OF_A_KEY, "alg"},
     .why = "it sends the secret, and signs nothing"},
    {"method", "client_secret_jwt", BY_SECRET, .excluded = {OF_A_KEY},
     .why = "the secret signs, and no key"},
    {"method", "tls_client_auth", BY_CERTIFICATE},
    {"method", "self_signed_tls_client_auth", BY_CERTIFICATE},
    {"method", "none", .excluded = {OF_A_KEY, "alg", "secret_file", "secret"},
     .why = "it proves nothing"},
};
const struct th_section th_section_auth = {SECTION("auth", struct th_raw_auth, auth_keys),
                                           .rules = method_rules,
                                           .n_rules = TH_COUNT_OF(method_rules)};

static const struct th_config_key registration_keys[] = {
    {.name = "client_id",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_registration, client_id),
     .required = true,
     .doc = "The agent's client id at that server."},
    {.name = "auth",
     OBJECT(struct th_raw_registration, auth, th_section_auth),
     .required = true,
     .doc = "How the agent authenticates at that server."},
};
static const struct th_section registration_section = {
    SECTION("registration", struct th_raw_registration, registration_keys), .has_head = true};

static const struct th_config_key agent_keys[] = {
    {.name = "client_id",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_agent, client_id),
     .required = true,
     .doc = "The agent's client id at the identity provider."},
    {.name = "auth",
     OBJECT(struct th_raw_agent, auth, th_section_auth),
     .required = true,
     .doc = "How the agent authenticates, at every authorization server without a registration "
            "of its own."},
    {.name = "dpop_key_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_agent, dpop_key_file),
     .doc =
         "The private key, PEM or JWK, that the agent's access tokens are bound to where a "
         "connection says \"dpop\". It need not be registered anywhere, and must not be the key "
         "of auth. Unless one is named, tokenhop makes one when it starts and keeps it in memory."},
    {.name = "dpop_key",
     OBJECT(struct th_raw_agent, dpop_key, th_section_environment),
     .doc = "The same from the environment, in place of dpop_key_file."},
    {.name = "dpop_alg",
     ENUM(struct th_raw_agent, dpop_alg, key_algs),
     .doc =
         "The signature algorithm of DPoP proofs: ES256 unless another is said. One that is slow "
         "(RSA, P-384, P-521) costs about a millisecond a request, on another thread."},
    {.name = "resource",
     .type = TH_KEY_RESOURCE,
     TEXT(struct th_raw_agent, resource),
     .doc = "The agent's own resource URL. An access token with this audience is recognised as a "
            "subject token for the agent."},
    {.name = "authorization_server",
     .type = TH_KEY_REFERENCE,
     TEXT(struct th_raw_agent, server),
     .required = true,
     .doc = "Where subject tokens are exchanged first: at Okta, the org authorization server."},
    {.name = "linked_client_ids",
     .type = TH_KEY_STRING,
     TEXTS(struct th_raw_agent, linked_client_ids),
     .default_text = "",
     .doc = "Other client ids whose ID tokens this agent may present."},
    {.name = "registrations",
     .shape = TH_KEY_MAP,
     OBJECTS(struct th_raw_agent, registrations, registration_section),
     .default_text = "",
     .doc = "By the name of an authorization server: client id and authentication there, where "
            "they differ from the agent's own."},
};
static const struct th_section agent_section = {SECTION("agent", struct th_raw_agent, agent_keys),
                                                .has_head = true};

static const struct th_config_key rule_keys[] = {
    {.name = "url",
     .type = TH_KEY_PATTERN,
     TEXT(struct th_raw_rule, url),
     .required = true,
     .doc = "The pattern of the URLs that this rule is for, as in a connection."},
    {.name = "action",
     ENUM(struct th_raw_rule, action, unmatched_actions),
     .required = true,
     .doc = "\"forward\" sends the request on as an ordinary proxy does, \"deny\" refuses it."},
};
static const struct th_section rule_section = {
    SECTION("unmatched_rule", struct th_raw_rule, rule_keys), .has_head = true};

static const struct th_config_key egress_keys[] = {
    {.name = "allow",
     .type = TH_KEY_NETWORK,
     TEXTS(struct th_raw_egress, allow),
     .default_text = "",
     .doc = "Addresses that may be connected to beyond those that are allowed anyway: a network "
            "(\"10.1.0.0/16\", \"fd00::/8\"), an address, or an address and port "
            "(\"127.0.0.1:9001\", \"[::1]:80\"). Loopback destinations must be named here; "
            "link-local addresses and those of metadata services by the address itself."},
    {.name = "connect_ports",
     .type = TH_KEY_PORTS,
     TEXTS(struct th_raw_egress, connect_ports),
     .default_text = "443",
     .doc = "Ports that a CONNECT may name for what `unmatched` forwards: numbers and ranges "
            "(\"8000-8999\"). Those of connections are always allowed."},
};
static const struct th_section egress_section = {
    SECTION("egress", struct th_raw_egress, egress_keys)};

static const struct th_config_key origin_keys[] = {
    {.name = "idle_timeout",
     DURATION(struct th_config_origin, idle_timeout_ms),
     .default_text = "30s",
     .max = HOUR,
     .doc = "How long an unused connection to an origin is kept."},
    {.name = "max_idle",
     COUNT(struct th_config_origin, max_idle),
     .default_text = "256",
     .max = 100000,
     .doc = "How many unused connections to origins each worker keeps."},
    {.name = "ca_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_config_origin, ca_file),
     .doc = "PEM certificates of private authorities that origins are trusted by, besides the "
            "system's. It is read again by a reload."},
    {.name = "crl_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_config_origin, crl_file),
     .doc =
         "PEM revocation lists of the authorities that vouch for origins: a certificate that its "
         "authority's list names is refused, and so is every one of that authority once the "
         "list has run out. Authorities without a list in the file are not looked at for it. "
         "It is read again by a reload."},
};
static const struct th_section origin_section = {
    SECTION("origin", struct th_config_origin, origin_keys)};

static const struct th_config_key cache_keys[] = {
    {.name = "max_entries",
     COUNT(struct th_config_cache, max_entries),
     .default_text = "100000",
     .min = 1,
     .max = 100000000,
     .needs_restart = true,
     .doc = "How many credentials are kept at most; the least recently used leaves first."},
    {.name = "max_bytes",
     SIZE(struct th_config_cache, max_bytes),
     .default_text = "128MiB",
     .min = 64 * KIB,
     .max = 1024 * GIB,
     .needs_restart = true,
     .doc = "How much memory the kept credentials take at most."},
    {.name = "margin",
     DURATION(struct th_config_cache, margin_ms),
     .default_text = "30s",
     .max = HOUR,
     .needs_restart = true,
     .doc = "How long before its expiry a credential is no longer used, so that it is still "
            "valid when it arrives."},
    {.name = "max_lifetime",
     DURATION(struct th_config_cache, max_lifetime_ms),
     .default_text = "1h",
     .min = 1000,
     .max = 24 * HOUR,
     .needs_restart = true,
     .doc = "How long a credential is kept at most, whatever its own expiry says."},
};
static const struct th_section cache_section = {
    SECTION("cache", struct th_config_cache, cache_keys)};

static const struct th_config_key timeout_keys[] = {
    {.name = "head",
     DURATION(struct th_config_timeouts, head_ms),
     .default_text = "15s",
     .min = 1,
     .max = HOUR,
     .doc = "For a request's head to arrive whole. Beyond it: 408."},
    {.name = "idle",
     DURATION(struct th_config_timeouts, idle_ms),
     .default_text = "75s",
     .min = 1,
     .max = 24 * HOUR,
     .doc = "For the next request on a client's connection."},
    {.name = "body",
     DURATION(struct th_config_timeouts, body_ms),
     .default_text = "60s",
     .min = 1,
     .max = 24 * HOUR,
     .doc = "For progress of a body, in either direction."},
    {.name = "connect",
     DURATION(struct th_config_timeouts, connect_ms),
     .default_text = "10s",
     .min = 1,
     .max = HOUR,
     .doc = "For the connection to an origin, its name's resolution included."},
    {.name = "exchange",
     DURATION(struct th_config_timeouts, exchange_ms),
     .default_text = "10s",
     .min = 1,
     .max = HOUR,
     .doc = "For all legs of an exchange together. Beyond it: 504."},
    {.name = "first_byte",
     DURATION(struct th_config_timeouts, first_byte_ms),
     .default_text = "120s",
     .min = 1,
     .max = 24 * HOUR,
     .doc = "For the response's first byte, once the request is sent. Beyond it: 504."},
    {.name = "stream_idle",
     DURATION(struct th_config_timeouts, stream_idle_ms),
     .default_text = "15m",
     .min = 1,
     .max = 24 * HOUR,
     .doc = "For the next byte of a response that streams: agents think for minutes. And for the "
            "next one of a plain tunnel, in either direction."},
    {.name = "drain",
     DURATION(struct th_config_timeouts, drain_ms),
     .default_text = "30s",
     .max = HOUR,
     .doc = "For requests under way to end when tokenhop is told to stop."},
    {.name = "revoke",
     DURATION(struct th_config_timeouts, revoke_ms),
     .default_text = "10s",
     .min = 1,
     .max = HOUR,
     .doc = "For all credentials that are revoked together, on exit after the drain. What is not "
            "revoked by then lives until it expires. Each answer may take a quarter of it."},
};
static const struct th_section timeouts_section = {
    SECTION("timeouts", struct th_config_timeouts, timeout_keys)};

static const struct th_config_key files_keys[] = {
    {.name = "watch",
     DURATION(struct th_config_files, watch_ms),
     .default_text = "2s",
     .max = HOUR,
     .doc = "How often tokenhop looks whether one of the files was written that the configuration "
            "names: keys, secrets, tokens, certificates. When one was, the configuration is loaded "
            "anew as by SIGHUP, and the old one stays in force while there is a mistake. \"0s\" is "
            "never: then only a reload reads them again."},
};
static const struct th_section files_section = {
    SECTION("files", struct th_config_files, files_keys)};

static const struct th_config_key log_keys[] = {
    {.name = "level",
     ENUM(struct th_config_log, level, log_levels),
     .default_text = "info",
     .doc = "What is logged to standard error: messages of this level and above it."},
    {.name = "access_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_config_log, access_file),
     .default_text = "-",
     .may_be_empty = true,
     .needs_restart = true,
     .doc = "Where the access log goes, one JSON line a request: a file, \"-\" for standard "
            "output, or \"\" for nowhere."},
    {.name = "audit_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_config_log, audit_file),
     .default_text = "",
     .may_be_empty = true,
     .needs_restart = true,
     .doc = "Where the audit log goes, one JSON line a decision, each with the digest "
            "of the one before: a file, \"-\" for standard output, or \"\" for nowhere. "
            "tokenhop audit verify checks such a file."},
    {.name = "audit_on_failure",
     ENUM(struct th_config_log, audit_on_failure, audit_failures),
     .default_text = "refuse",
     .needs_restart = true,
     .doc =
         "\"refuse\": what needs a credential or goes on unmatched leaves only once its line is written, and is "
         "answered 503 where it cannot be (a full disk, a reader that hangs). \"continue\" goes on, and counts "
         "what is lost."},
};
static const struct th_section log_section = {SECTION("log", struct th_config_log, log_keys)};

static const struct th_config_key admin_keys[] = {
    {.name = "address",
     .type = TH_KEY_ENDPOINT,
     TEXT(struct th_raw_admin, address),
     .required = true,
     .needs_restart = true,
     .doc = "Where the admin listener is: a unix socket (\"unix:/run/tokenhop/admin.sock\"; a "
            "relative path is relative to this file), or an address and port. An address that is "
            "not loopback needs a token. The probes /live and /ready ask for none."},
    {.name = "mode",
     ENUM(struct th_raw_admin, mode, admin_modes),
     .default_text = "0600",
     .needs_restart = true,
     .doc = "Who may use the unix socket. \"0600\": root and the user that tokenhop runs as; "
            "\"0660\": those of its group too."},
    {.name = "token_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_admin, token_file),
     .doc =
         "A file with a bearer token that every request to the admin listener must bear, but for "
         "the probes; a line feed at its end does not count. The file is refused when others "
         "than its owner may read it. It is read again by a reload."},
    {.name = "token",
     OBJECT(struct th_raw_admin, token, th_section_environment),
     .doc = "The same from the environment, in place of token_file."},
};
static const struct th_section admin_section = {SECTION("admin", struct th_raw_admin, admin_keys)};

static const struct th_config_key interception_keys[] = {
    {.name = "cert_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_interception, cert_file),
     .required = true,
     .doc = "The certificate of the authority, PEM; those that vouch for it may follow. `tokenhop "
            "ca init` makes it, and its key, for the hosts of the connections and no others. "
            "Callers must trust it."},
    {.name = "key_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_interception, key_file),
     .required = true,
     .doc = "The authority's private key, PEM. It is refused when others than its owner may read "
            "it."},
};
static const struct th_section interception_section = {
    SECTION("interception", struct th_raw_interception, interception_keys)};

static const struct th_config_key root_keys[] = {
    {.name = "$schema",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_root, schema),
     .doc = "The JSON Schema of this file, for editors. tokenhop does not read it."},
    {.name = "listeners",
     .shape = TH_KEY_LIST,
     OBJECTS(struct th_raw_root, listeners, th_section_listener),
     .min_items = 1,
     .max_items = 64,
     .required = true,
     .doc = "Where callers connect."},
    {.name = "authorization_servers",
     .shape = TH_KEY_MAP,
     OBJECTS(struct th_raw_root, servers, server_section),
     .min_items = 1,
     .required = true,
     .doc = "The authorization servers that agents and connections refer to, by a name of your "
            "choice."},
    {.name = "agents",
     .shape = TH_KEY_MAP,
     OBJECTS(struct th_raw_root, agents, agent_section),
     .min_items = 1,
     .required = true,
     .doc = "The workload identities that tokenhop authenticates as, by a name of your choice."},
    {.name = "connections",
     .shape = TH_KEY_LIST,
     OBJECTS(struct th_raw_root, connections, th_section_connection),
     .max_items = 65536,
     .default_text = "",
     .doc = "The resource connections: what may be called, and with what."},
    {.name = "unmatched",
     .type = TH_KEY_RULES,
     .offset = FIELD(struct th_raw_root, unmatched, struct th_raw_rules),
     .choices = unmatched_actions,
     .section = &rule_section,
     .default_text = "deny",
     .doc = "What becomes of a request that no connection matches: \"deny\", \"forward\" (an "
            "ordinary proxy, without a credential), or a list of rules of which the first that "
            "matches decides, and \"deny\" where none does."},
    {.name = "egress",
     OBJECT(struct th_raw_root, egress, egress_section),
     .doc = "Which addresses may be connected to."},
    {.name = "origin",
     OBJECT(struct th_raw_root, origin, origin_section),
     .doc = "Connections to destinations."},
    {.name = "cache",
     OBJECT(struct th_raw_root, cache, cache_section),
     .doc = "The credentials that are kept."},
    {.name = "timeouts",
     OBJECT(struct th_raw_root, timeouts, timeouts_section),
     .doc = "How long tokenhop waits."},
    {.name = "limits",
     OBJECT(struct th_raw_root, limits, th_section_limits),
     .doc = "How much of everything."},
    {.name = "files",
     OBJECT(struct th_raw_root, files, files_section),
     .doc = "The files that this one names."},
    {.name = "workers",
     COUNT(struct th_raw_root, workers),
     .default_text = "0",
     .max = 1024,
     .needs_restart = true,
     .doc = "Threads that carry requests; 0 is one for each core that tokenhop may use."},
    {.name = "process",
     OBJECT(struct th_raw_root, process, th_section_process),
     .doc = "Whom tokenhop runs as when root starts it. Without it, as whoever started it."},
    {.name = "hardening",
     OBJECT(struct th_raw_root, hardening, th_section_hardening),
     .doc = "What the kernel is asked to refuse to tokenhop itself."},
    {.name = "log", OBJECT(struct th_raw_root, log, log_section), .doc = "What is written where."},
    {.name = "callers",
     .shape = TH_KEY_LIST,
     OBJECTS(struct th_raw_root, callers, th_section_caller),
     .max_items = 4096,
     .default_text = "",
     .doc =
         "Who may connect to a listener that names no agent, how that is proved, and which agent "
         "it acts as. Every request proves it anew; one that does not gets 407, or 403 where "
         "no caller has proxy credentials."},
    {.name = "parents",
     .shape = TH_KEY_LIST,
     OBJECTS(struct th_raw_root, parents, th_section_parent),
     .default_text = "",
     .doc = "Other proxies that destinations and authorization servers are reached through. The "
            "first that is for a destination counts; what none is for is reached directly. The "
            "environment never names one."},
    POLICY_KEYS,
    {.name = "interception",
     OBJECT(struct th_raw_root, interception, interception_section),
     .doc = "The authority that vouches towards callers for the hosts of connections, so that "
            "https:// calls (CONNECT) to them can be served: TLS ends at tokenhop, and each "
            "request inside is treated like any other. Without it such a CONNECT is refused. "
            "Hosts without a connection are never intercepted."},
    {.name = "admin",
     OBJECT(struct th_raw_root, admin, admin_section),
     .doc =
         "Where a running tokenhop is looked at and steered (`tokenhop ctl`). Without it there is "
         "no such place."},
    {.name = "telemetry",
     OBJECT(struct th_raw_root, telemetry, th_section_telemetry),
     .doc = "Traces and metrics for an OpenTelemetry collector. Without it none are exported."},
    {.name = "revoke_on_exit",
     BOOLEAN(struct th_raw_root, revoke_on_exit),
     .default_text = "false",
     .doc = "Whether the credentials that are kept are revoked (RFC 7009) when tokenhop is told to "
            "stop, after requests have ended. Access tokens of authorization servers and third "
            "parties' tokens can be; vaulted secrets and service accounts cannot. A token that a "
            "destination verifies by itself is taken there until it expires, revoked or not."},
    {.name = "revoke_on_removal",
     BOOLEAN(struct th_raw_root, revoke_on_removal),
     .default_text = "false",
     .doc = "Whether credentials are revoked that a reload drops: those of connections that were "
            "removed or changed. The value before it counts, and the agents' keys before it."},
};
const struct th_section th_section_root = {SECTION("root", struct th_raw_root, root_keys)};
