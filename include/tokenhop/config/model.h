/* The configuration as the program sees it: made by config/load.h from one file, complete (every
 * default filled in, every reference resolved, every file named in it read), immutable afterwards,
 * counted. A reload makes a new one and swaps it whole. Everything inside belongs to the snapshot
 * and lives as long as it. Any thread may read. Durations are milliseconds, sizes bytes. */
#ifndef TOKENHOP_CONFIG_MODEL_H
#define TOKENHOP_CONFIG_MODEL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "tokenhop/base/file_mark.h"
#include "tokenhop/base/identity.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/base/str.h"
#include "tokenhop/config/password.h"
#include "tokenhop/config/pattern.h"

struct th_config;

enum th_listener_mode {
    TH_LISTENER_FORWARD,
    TH_LISTENER_GATEWAY,    /* requests name a path, and their destination by Host */
    TH_LISTENER_AUTHZ,      /* a data plane asks what to send with a request */
    TH_LISTENER_TRANSPARENT /* connections come that the kernel has redirected */
};
/* Where such a question names the request that it is about. */
enum th_original {
    TH_ORIGINAL_REQUEST, /* in its own request line and Host */
    TH_ORIGINAL_X_ORIGINAL,
    TH_ORIGINAL_X_FORWARDED
};

/* A range of addresses: of egress, or of proxies before a listener. */
struct th_config_network {
    struct in6_addr address; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t prefix;          /* 0..128 of the 128-bit form */
    uint16_t port;           /* 0: any */
};

/* Whether TLS asks its clients for a certificate. */
enum th_client_certificate {
    TH_CLIENT_CERTIFICATE_NONE,
    TH_CLIENT_CERTIFICATE_OPTIONAL,
    TH_CLIENT_CERTIFICATE_REQUIRED
};

/* The TLS that a listener's clients speak. */
struct th_config_listener_tls {
    bool is_spoken;
    struct th_str cert_file;
    struct th_identity *identity; /* shown to them; NULL where the files were not read */
    enum th_client_certificate client_certificate;
    /* PEM: who vouches for clients, and what of that is revoked; empty: none, and nobody looks. */
    struct th_str client_authorities;
    struct th_str client_lists;
};

/* A field in which who has ended the client's TLS says by which certificate that was. */
struct th_config_forwarded_certificate {
    struct th_str header;                 /* empty: there is none */
    const struct th_config_network *from; /* whose word counts */
    size_t n_from;
    bool from_unix; /* and that of peers on a unix socket */
};

struct th_config_listener {
    struct th_str name;
    struct th_str address_text; /* "127.0.0.1:8080", "[::1]:8080", "unix:/run/tokenhop/x.sock" */
    struct sockaddr_storage address; /* AF_UNIX, AF_INET or AF_INET6; AF_UNSPEC with `activation` */
    socklen_t address_len;
    struct th_str activation; /* the name of what a supervisor hands over; else empty */
    struct th_str path;       /* of a unix socket; else empty */
    uint32_t socket_mode;     /* of it */
    gid_t socket_group;       /* (gid_t)-1: as it comes */
    /* Of proxies that tell who their client is, by the PROXY protocol; and whether those of a unix socket do. */
    const struct th_config_network *header_sources;
    size_t n_header_sources;
    bool takes_unix_headers;
    enum th_listener_mode mode;
    bool is_https; /* the destinations of a gateway's requests, and of those asked about */
    enum th_original original;
    bool by_tproxy; /* a transparent one's connections; false: by NAT */
    bool
        by_name; /* any address of the name that they name is connected to; false: the original one */
    /* Whom every caller of this listener acts as; NULL: it must prove to be one of `callers`. */
    const struct th_config_agent *agent;
    struct th_config_listener_tls tls;
    struct th_config_forwarded_certificate forwarded;
};

/* What one caller, or all that act as one agent, may have; 0: no limit of its own. */
struct th_config_share {
    uint64_t connections;
    uint64_t requests_per_second;
    uint64_t exchanges_per_second;
    uint64_t waiting;
};

/* Whether its clients can be known by certificates. */
static inline bool th_config_listener_takes_certificates(const struct th_config_listener *listener)
{
    return listener->tls.client_certificate != TH_CLIENT_CERTIFICATE_NONE ||
           listener->forwarded.header.len > 0;
}

/* How a caller proves who it is. */
enum th_caller_proof {
    TH_CALLER_BASIC,      /* Proxy-Authorization, RFC 7617 */
    TH_CALLER_BEARER,     /* likewise, RFC 6750 */
    TH_CALLER_KUBERNETES, /* likewise, by a service account token */
    TH_CALLER_UNIX,       /* the process at the other end of a unix socket */
    /* A certificate with that name: a URI or DNS name of its subjectAltName, or its subject. */
    TH_CALLER_URI,
    TH_CALLER_DNS,
    TH_CALLER_SUBJECT
};

static inline bool th_caller_is_by_certificate(enum th_caller_proof proof)
{
    return proof == TH_CALLER_URI || proof == TH_CALLER_DNS || proof == TH_CALLER_SUBJECT;
}

struct th_config_authorization_server;

/* A workload that its platform vouches for: a Kubernetes service account. */
struct th_config_workload {
    const struct th_config_authorization_server *issuer; /* of the cluster */
    struct th_str audience;                              /* that tokens for us are meant for */
    struct th_str namespace_name;
    struct th_str service_account;
};

/* Who may connect where a listener names no agent, and whom it acts as. */
struct th_config_caller {
    struct th_str name;
    const struct th_config_agent *agent;
    enum th_caller_proof proof;
    struct th_str user;           /* of TH_CALLER_BASIC */
    struct th_str proof_file;     /* where its password or token is; empty: not in a file */
    struct th_str proof_variable; /* of the environment, likewise */
    struct th_str certificate;    /* the name that its certificate bears, as configured */
    /* SHA-256 of "user:password", of the token: neither is kept; or of the certificate's name
     * (gate/caller.h). With any of the next two: none. */
    uint8_t digest[32];
    struct th_config_passwords slow; /* hashes that take long, any of which proves who it is */
    struct th_config_passwords fast; /* digests, likewise */
    /* Of TH_CALLER_UNIX: a user's, or else a group's. */
    bool is_group;
    uint32_t unix_id;
    struct th_config_workload workload; /* of TH_CALLER_KUBERNETES */
    struct th_config_share limits; /* whole: what its entry does not say is limits.per_caller's */
};

/* How many exchanges an authorization server grants a user (quota.h of token). */
struct th_config_quota {
    uint64_t exchanges_per_user_month; /* 0: it is not said */
    uint64_t warn_at;                  /* so many of them; 0 without */
};

struct th_config_authorization_server {
    struct th_str name;
    struct th_str issuer; /* byte for byte as configured */
    /* Configured, or derived from an Okta issuer; empty: as the server's metadata has it. */
    struct th_str token_endpoint;
    struct th_str revocation_endpoint;
    struct th_str jwks_uri;
    struct th_str ca_file;       /* empty: the system's store */
    struct th_file_mark ca_mark; /* of ca_file, before it was looked at */
    bool allow_cleartext;
    bool assertion_audience_issuer; /* client assertions are for the issuer, not the endpoint */
    struct th_str assertion_typ;    /* of their headers; empty: none */
    bool client_id_in_body;         /* beside a client assertion */
    bool is_okta;                   /* its endpoints follow from the form of its issuer */
    bool assertion_nbf;             /* client assertions say from when they hold */
    struct th_config_quota quota;
};

enum th_auth_method {
    TH_AUTH_PRIVATE_KEY_JWT,
    TH_AUTH_CLIENT_SECRET_BASIC,
    TH_AUTH_CLIENT_SECRET_POST,
    TH_AUTH_CLIENT_SECRET_JWT,
    TH_AUTH_NONE, /* the client id alone */
    /* A certificate in the TLS of the request (RFC 8705): of an authority that the server trusts, or
     * registered itself. */
    TH_AUTH_TLS_CLIENT,
    TH_AUTH_SELF_SIGNED_TLS_CLIENT
};

/* What signs a client assertion. HS* take a secret, all others a private key; no value is of both. */
enum th_signing_alg {
    TH_ALG_UNSAID, /* the method signs nothing */
    TH_ALG_RS256,
    TH_ALG_RS384,
    TH_ALG_RS512,
    TH_ALG_PS256,
    TH_ALG_PS384,
    TH_ALG_PS512,
    TH_ALG_ES256,
    TH_ALG_ES384,
    TH_ALG_ES512,
    TH_ALG_EDDSA,
    TH_ALG_HS256,
    TH_ALG_HS384,
    TH_ALG_HS512
};

/* By which thumbprint of its certificate the header of an assertion names the key. */
enum th_x5t { TH_X5T_S256, TH_X5T_SHA1 };

/* How an agent authenticates at an authorization server. */
struct th_config_auth {
    enum th_auth_method method;
    enum th_signing_alg alg;
    struct th_str kid;        /* with a key only */
    struct th_str key_file;   /* of the key or the secret; empty: from the environment, or none */
    struct th_secret *key;    /* the file's content: PEM or JWK, private; NULL: none */
    struct th_secret *secret; /* of the client_secret methods, else NULL */
    /* With its key: what TLS shows, where that is the method. Without: what an assertion names its
     * key by. NULL: none. */
    struct th_identity *identity;
    enum th_x5t x5t;
    const struct th_config_auth *next; /* the other key while they change; NULL: none */
};

struct th_config_registration { /* of one agent at one server where it differs from its own */
    const struct th_config_authorization_server *server;
    struct th_str client_id;
    struct th_config_auth auth;
};

/* What an agent proves possession of where a connection wants that (RFC 9449). */
struct th_config_dpop_key {
    enum th_signing_alg alg;
    struct th_str key_file; /* empty: from the environment, or none */
    struct th_secret *key;  /* PEM or JWK, private; NULL: one that the process makes and keeps */
};

struct th_config_agent {
    struct th_str name;
    struct th_str client_id;
    struct th_config_auth auth;
    struct th_config_dpop_key dpop_key;
    struct th_str resource;                              /* this agent's own URL; may be empty */
    const struct th_config_authorization_server *server; /* where leg 1 goes */
    const struct th_str *linked_client_ids;              /* whose ID tokens it may present */
    size_t n_linked_client_ids;
    const struct th_config_registration *registrations;
    size_t n_registrations;
    /* Whose tokens it may present: `server`, and the servers whose issuers are at the same origin. */
    const struct th_config_authorization_server *const *subject_issuers;
    size_t n_subject_issuers;
};

enum th_resource_type {
    TH_TYPE_AGENT_TO_AGENT,
    TH_TYPE_AUTHORIZATION_SERVER,
    TH_TYPE_SECRET,
    TH_TYPE_SERVICE_ACCOUNT,
    TH_TYPE_RESOURCE_SERVER,
    TH_TYPE_TOKEN_EXCHANGE,     /* RFC 8693 in one leg, at any server */
    TH_TYPE_ON_BEHALF_OF,       /* RFC 7523 with the subject token, as Microsoft Entra has it */
    TH_TYPE_CLIENT_CREDENTIALS, /* the agent for itself: there is no subject */
    TH_TYPE_STATIC,             /* a configured secret; nothing is exchanged */
    TH_TYPE_PASSTHROUGH         /* the caller's own Authorization; nothing is exchanged */
};
enum th_subject_type {
    TH_SUBJECT_AUTO,
    TH_SUBJECT_ID_TOKEN,
    TH_SUBJECT_ACCESS_TOKEN,
    TH_SUBJECT_OTHER /* what the connection's subject_type_uri says */
};
/* Whether a subject token is verified before an exchange is spent on it. */
enum th_subject_verify {
    TH_SUBJECT_VERIFY_KNOWN, /* a JWT of an issuer that may issue for the agent is */
    TH_SUBJECT_VERIFY_ALWAYS,
    TH_SUBJECT_VERIFY_NEVER
};

/* Which legs bear a DPoP proof, so that what they yield may be bound to the agent's DPoP key. */
enum th_dpop {
    TH_DPOP_OFF,
    TH_DPOP_TOKEN,       /* the last: the credential is bound */
    TH_DPOP_ALL_LEGS,    /* every one: so may be what comes before */
    TH_DPOP_BOUND_ID_JAG /* likewise, and only a bound ID-JAG is redeemed, by the grant for such */
};

enum th_without_subject { TH_WITHOUT_SUBJECT_REFUSE, TH_WITHOUT_SUBJECT_FORWARD };
enum th_cookies { TH_COOKIES_PASS, TH_COOKIES_DROP };
/* Watched only: by the rules alone, or with an exchange made beside each request. */
enum th_shadow { TH_SHADOW_OFF, TH_SHADOW_POLICY, TH_SHADOW_EXCHANGE };
const char *th_config_shadow_name(enum th_shadow shadow);

enum th_inject_scheme {
    TH_INJECT_BEARER,  /* "Bearer " and the token */
    TH_INJECT_BASIC,   /* RFC 7617, of username and password */
    TH_INJECT_TEMPLATE /* the parts, one after the other */
};

/* A part of a template: text as it is, or the name of one of the credential's values. */
struct th_config_template_part {
    struct th_str text;
    bool is_name;
};

/* How a credential is put on a request. */
struct th_config_inject {
    enum th_inject_scheme scheme;
    struct th_str header;  /* "Authorization", but for templates */
    bool is_authorization; /* the header is that one, in any case of letters */
    const struct th_config_template_part *parts;
    size_t n_parts;
};

/* One value of a static credential. */
struct th_config_value {
    struct th_str name; /* "value" where it is the only one and has none */
    struct th_secret *secret;
};

/* Checks of what was issued against what was asked (R26); all on unless switched off. */
struct th_config_issued_checks {
    bool audience;
    bool subject;
    bool scope;
    bool chain;
    bool type;
};

/* A client that is no agent: who begins, where tokenhop gets the subject token itself. */
struct th_config_client {
    const struct th_config_authorization_server *server;
    struct th_str client_id;
    struct th_config_auth auth;
    struct th_str scope_text; /* joined by spaces; empty: none are asked for */
};

enum th_actor_source {
    TH_ACTOR_NONE,
    TH_ACTOR_CLIENT_CREDENTIALS, /* the agent's own access token, of the leg's server */
    TH_ACTOR_ASSERTION,          /* a JWT that the agent signs for the leg's token endpoint */
    TH_ACTOR_FILE                /* of the configuration */
};

/* Who acts, where that is said beside the subject (RFC 8693, 2.1). */
struct th_config_actor {
    enum th_actor_source source;
    struct th_secret *token;  /* with TH_ACTOR_FILE, else NULL */
    struct th_str token_type; /* a URI */
    struct th_str scope_text; /* of client_credentials; joined by spaces, may be empty */
    struct th_str resource;   /* likewise */
};

/* Of the legs of a connection's type: which of them bear a parameter. */
enum th_parameter_leg { TH_PARAMETER_LAST_LEG, TH_PARAMETER_FIRST_LEG, TH_PARAMETER_EVERY_LEG };

/* A parameter of token requests beyond those that a type has; never one of these. */
struct th_config_parameter {
    struct th_str name;
    struct th_str value;
    enum th_parameter_leg leg;
};

/* Which requests ask for other scopes. Lists that are empty say nothing; else one of each must hold. */
struct th_config_scoping {
    const struct th_str *methods, *paths, *rpc_methods, *tools;
    size_t n_methods, n_paths, n_rpc_methods, n_tools;
    struct th_str scope_text; /* of its variant */
};

struct th_config_connection {
    struct th_str name;
    uint32_t index; /* place in the file */
    uint8_t version
        [16]; /* digest of all that decides which credential is got: part of the cache's key */
    enum th_resource_type type;
    const struct th_config_pattern *patterns;
    size_t n_patterns;
    const struct th_config_agent *const *agents; /* who may use it */
    size_t n_agents;
    /* Of leg 2, or of the type's one leg; NULL: the type has none, or it is the agent's. */
    const struct th_config_authorization_server *server;
    struct th_str audience; /* that server's issuer for an ID-JAG unless configured; may be empty */
    struct th_str resource; /* may be empty */
    const struct th_str *more_audiences; /* with TH_TYPE_TOKEN_EXCHANGE alone */
    size_t n_more_audiences;
    const struct th_str *more_resources; /* likewise */
    size_t n_more_resources;
    const struct th_str *scopes;
    size_t n_scopes;
    struct th_str scope_text;                 /* joined by the separator */
    struct th_str second_leg_scope_text;      /* empty: not sent */
    const struct th_config_scoping *scopings; /* the first whose conditions hold decides */
    size_t n_scopings;
    const struct th_str *step_up_scopes;
    size_t n_step_up_scopes; /* at most TH_STEP_UP_MAX */
    /* The same connection with each other set of scopes that a request may ask for: th_config_variant(). Of
     * a variant itself: none. */
    struct th_config_connection *variants;
    size_t n_variants;
    char scope_separator;
    bool second_leg_resource; /* sends `resource` there too */
    bool reuse_id_jag;        /* what leg 1 yielded serves leg 2 again while it is valid */
    struct th_str requested_token_type; /* a URI; empty: the plan's, or none */
    struct th_str requested_token_use;  /* empty: not sent */
    struct th_str grant_type;           /* in place of the plan's; empty: that */
    struct th_config_actor actor;
    const struct th_config_parameter *parameters;
    size_t n_parameters;
    enum th_subject_type subject_type;
    struct th_str subject_type_uri; /* with TH_SUBJECT_OTHER */
    /* Gets the subject token, a new one for each exchange; NULL: somebody else has it. */
    const struct th_config_client *subject_client;
    struct th_config_inject inject;
    struct th_str subject_header;    /* the field that bears it; empty: Authorization */
    struct th_secret *subject_token; /* the content of subject.file; NULL: the caller sends it */
    const struct th_config_value *values; /* with TH_TYPE_STATIC alone */
    size_t n_values;
    enum th_subject_verify subject_verify;
    /* Who may issue subject tokens; n 0: the agent's subject_issuers. */
    const struct th_config_authorization_server *const *subject_issuers;
    size_t n_subject_issuers;
    enum th_dpop dpop;
    enum th_without_subject without_subject;
    enum th_cookies cookies;
    enum th_shadow shadow; /* other than OFF: requests go on as they came (no part of `version`) */
    bool allow_cleartext;
    const struct th_str *public_paths; /* absolute paths at the origin, exact */
    size_t n_public_paths;
    struct th_config_issued_checks issued_checks;
    struct th_identity *client_certificate; /* shown to the destination; NULL: none */
    struct th_str
        ca_file; /* trusted in place of the system's and of origin.ca_file; empty: these */
    struct th_str crl_file; /* what of it is revoked; empty: as origin.crl_file says */
};

#define TH_STEP_UP_MAX 4

/* The place of a variant: of what is asked for by scopings[scoping - 1] (0: the connection's own scopes), and
 * the step-up scopes whose bits are set. 0 is the connection itself, n is variants[n - 1]. */
static inline size_t th_config_variant_index(const struct th_config_connection *connection,
                                             size_t scoping, unsigned step_ups)
{
    return (scoping << connection->n_step_up_scopes) + step_ups;
}

static inline const struct th_config_connection *th_config_variant(
    const struct th_config_connection *connection, size_t index)
{
    return index == 0 ? connection : &connection->variants[index - 1];
}

/* Whether the agent is known by the certificate that TLS shows (RFC 8705, 2). */
static inline bool th_config_auth_is_by_certificate(const struct th_config_auth *auth)
{
    return auth->method == TH_AUTH_TLS_CLIENT || auth->method == TH_AUTH_SELF_SIGNED_TLS_CLIENT;
}

enum th_unmatched_action { TH_UNMATCHED_DENY, TH_UNMATCHED_FORWARD };

struct th_config_unmatched_rule {
    struct th_config_pattern pattern;
    enum th_unmatched_action action;
};

enum th_config_log_level {
    TH_CONFIG_LOG_ERROR,
    TH_CONFIG_LOG_WARN,
    TH_CONFIG_LOG_INFO,
    TH_CONFIG_LOG_DEBUG
};

struct th_config_ports {
    uint16_t first, last;
};

struct th_config_egress {
    const struct th_config_network *allow;
    size_t n_allow;
    const struct th_config_ports *connect_ports; /* of CONNECT to what no connection matches */
    size_t n_connect_ports;
};

/* What of tokenhop's own connections goes through another proxy. */
enum th_parent_carries {
    TH_PARENT_CARRIES_ALL,
    TH_PARENT_CARRIES_ORIGINS,
    TH_PARENT_CARRIES_SERVERS /* what is asked of authorization servers */
};

/* Destinations that a parent proxy is for: hosts, or, where `host` is empty, addresses in URLs. */
struct th_config_parent_for {
    struct th_str scheme; /* "http" or "https"; empty: either */
    struct th_str host;   /* without the "*." when wildcard */
    bool wildcard;        /* what is below `host`, however deep */
    uint16_t port;        /* 0: any */
    struct th_config_network network;
};

/* Another proxy on the way to destinations, or that there is none (parent.h). */
struct th_config_parent {
    uint32_t index;     /* place in the file */
    bool is_direct;     /* no proxy: the rest is empty */
    bool is_https;      /* it is spoken to by TLS */
    struct th_str url;  /* as configured, for messages */
    struct th_str host; /* lower case; IPv6 without brackets */
    uint16_t port;
    const struct th_config_parent_for *destinations; /* n 0: all */
    size_t n_destinations;
    enum th_parent_carries carries;
    struct th_str ca_file;           /* trusted in place of the system's; empty: these */
    struct th_file_mark ca_mark;     /* of it, before it was looked at */
    struct th_secret *authorization; /* the whole field value; NULL: none */
};

struct th_config_origin {
    int64_t idle_timeout_ms;
    uint64_t max_idle;      /* idle origin connections that a worker keeps */
    struct th_str ca_file;  /* trusted besides the system's; empty: none */
    struct th_str crl_file; /* what is revoked; empty: that is not looked at */
};

struct th_config_cache {
    uint64_t max_entries;
    uint64_t max_bytes;
    int64_t margin_ms;
    int64_t max_lifetime_ms;
};

struct th_config_timeouts {
    int64_t head_ms;
    int64_t idle_ms;
    int64_t body_ms;
    int64_t connect_ms;
    int64_t exchange_ms;
    int64_t first_byte_ms;
    int64_t stream_idle_ms;
    int64_t drain_ms;
    int64_t revoke_ms;
};

struct th_config_limits {
    struct th_config_share per_caller; /* unless the caller's entry says otherwise */
    struct th_config_share per_agent;
    uint64_t connections;
    uint64_t tunnels;
    uint64_t head;
    uint64_t fields;
    uint64_t replay_body;
    uint64_t waiting_exchanges;
};

/* While the audit log cannot be written. */
enum th_config_audit_failure {
    TH_CONFIG_AUDIT_REFUSE, /* no credential is given */
    TH_CONFIG_AUDIT_CONTINUE
};

/* A file that was read for the snapshot, as it was before. */
struct th_config_file {
    const struct th_config_file *next;
    struct th_str path;
    struct th_file_mark mark;
};

/* A variable of the environment that holds a secret, by the configuration. */
struct th_config_variable {
    const struct th_config_variable *next;
    struct th_str name;
};

struct th_config_files {
    int64_t watch_ms; /* how often they are looked at; 0: never */
};

/* Whom root makes the process; needed at start only. */
struct th_config_process {
    struct th_str user; /* empty: it stays who it is */
    struct th_str group;
};

/* What the kernel is asked to refuse; at start only. */
enum th_config_seccomp { TH_CONFIG_SECCOMP_ON, TH_CONFIG_SECCOMP_LOG, TH_CONFIG_SECCOMP_OFF };
struct th_config_hardening {
    enum th_config_seccomp seccomp;
    bool landlock;
};

struct th_config_log {
    enum th_config_log_level level;
    struct th_str access_file; /* empty: none; "-": standard output */
    struct th_str audit_file;  /* likewise */
    enum th_config_audit_failure audit_on_failure;
};

/* Where a running tokenhop is looked at and steered. */
struct th_config_admin {
    struct th_str address_text;      /* as configured; empty: there is no admin listener */
    struct sockaddr_storage address; /* AF_UNIX, AF_INET or AF_INET6 */
    socklen_t address_len;
    struct th_str path;      /* of a unix socket; else empty */
    bool for_group;          /* the unix socket: for those of the process's group too */
    struct th_secret *token; /* that requests must bear; NULL: none */
};

/* The authority that vouches towards callers for the hosts of connections. */
struct th_config_interception {
    struct th_str cert_file; /* empty: there is no interception */
    struct th_str key_file;
    struct th_str certificates; /* PEM: the authority's first, then those above it */
    struct th_secret *key;      /* PEM; NULL where the files were not read */
};

/* Traces and metrics for a collector (OTLP over HTTP). */
struct th_config_telemetry {
    struct th_str otlp_endpoint;     /* without a slash at the end; empty: nothing is exported */
    struct th_secret *authorization; /* the whole field value; NULL: none */
    struct th_str ca_file;           /* empty: the system's store */
    bool allow_cleartext;
    struct th_str service_name;
    uint64_t sample_percent;     /* of traces that begin here */
    int64_t metrics_interval_ms; /* 0: never */
};

struct th_policy_rule; /* policy.h */

/* What a snapshot holds; all of it constant once loaded. */
struct th_config_view {
    const struct th_config_listener *listeners;
    size_t n_listeners;
    const struct th_config_authorization_server *servers;
    size_t n_servers;
    const struct th_config_agent *agents;
    size_t n_agents;
    const struct th_config_caller *callers;
    size_t n_callers;
    struct th_config_passwords slow_bearers; /* of all that prove it by a bearer token */
    /* Of all users and what proves each. A secret as the hashes are: gate/caller_password.h. */
    uint8_t users_version[32];
    const struct th_config_connection *connections;
    size_t n_connections;
    const struct th_policy_rule *policy; /* the first that matches decides */
    size_t n_policy;
    bool has_dry_policy;                  /* rules of a dry run are among them */
    const uint8_t *policy_concerns;       /* by the connection's index: enum th_policy_concern */
    const struct th_str *subject_headers; /* of all connections: fields that bear subject tokens */
    size_t n_subject_headers;
    enum th_unmatched_action unmatched; /* when no rule matches */
    const struct th_config_unmatched_rule *unmatched_rules;
    size_t n_unmatched_rules;
    struct th_config_egress egress;
    const struct th_config_parent *parents;
    size_t n_parents;
    struct th_config_origin origin;
    struct th_config_cache cache;
    struct th_config_timeouts timeouts;
    bool revoke_on_exit;
    bool revoke_on_removal;
    struct th_config_limits limits;
    struct th_config_files files;
    const struct th_config_file *read_files; /* keys, secrets, certificates: each, in no order */
    const struct th_config_variable *secret_variables; /* likewise */
    struct th_config_process process;
    struct th_config_hardening hardening;
    struct th_config_log log;
    struct th_config_admin admin;
    struct th_config_interception interception;
    struct th_config_telemetry telemetry;
    uint64_t workers; /* never 0: one a core was filled in */
};

/* Whether a request through it must bear a subject token. Without, an exchange is given none, or the
 * one of subject_token. */
static inline bool th_config_asks_subject(const struct th_config_connection *connection)
{
    return connection->subject_token == NULL && connection->subject_client == NULL &&
           connection->type != TH_TYPE_CLIENT_CREDENTIALS && connection->type != TH_TYPE_STATIC;
}

bool th_config_network_holds(const struct th_config_network *network,
                             const struct in6_addr *address, uint16_t port);

const struct th_config_view *th_config_get(const struct th_config *config);
struct th_config *th_config_ref(struct th_config *config);
struct th_config *th_config_unref(struct th_config *config); /* NULL is fine; returns NULL */

/* The agent's client id and authentication at `server`: its registration there, else its own. */
void th_config_agent_registration(const struct th_config_agent *agent,
                                  const struct th_config_authorization_server *server,
                                  struct th_str *ret_client_id,
                                  const struct th_config_auth **ret_auth);

#endif
