/* What the file says, before references are followed and files are read: the structs that the
 * table's rows fill. They live in the loader's arena. Parts that need nothing further are the
 * model's own structs. */
#ifndef TOKENHOP_SRC_CONFIG_RAW_H
#define TOKENHOP_SRC_CONFIG_RAW_H

#include <stdint.h>

#include "tokenhop/config/model.h"

/* A text that was refused is an item with a NULL pointer, so that ordinals still fit the file. */
struct th_raw_list {
    const struct th_str *items;
    size_t n;
};

struct th_raw_objects {
    void *items;
    size_t n;
};

struct th_raw_rules {
    unsigned choice;
    struct th_raw_objects rules;
};

/* Begins every struct that stands in a list or map. */
struct th_raw_head {
    uint32_t place;     /* of the object in the file (source.h) */
    struct th_str name; /* its key in a map, or its "name" */
};

struct th_raw_listener_tls {
    struct th_str cert_file;
    struct th_str key_file;
    struct th_str client_ca_file;
    struct th_str client_crl_file;
    unsigned client_certificate; /* enum th_client_certificate */
};

struct th_raw_forwarded {
    struct th_str header;
    struct th_raw_list from;
};

struct th_raw_proxy_protocol {
    struct th_raw_list from;
};

struct th_raw_listener {
    struct th_raw_head head;
    struct th_str address;
    struct th_str socket_mode;
    struct th_str socket_group;
    struct th_raw_proxy_protocol proxy_protocol;
    unsigned mode;
    unsigned scheme; /* 1: https */
    unsigned original;
    unsigned redirected_by;        /* 1: tproxy */
    unsigned original_destination; /* 1: ignore */
    struct th_str agent;
    struct th_raw_listener_tls tls;
    struct th_raw_forwarded forwarded;
};

struct th_raw_quota {
    uint64_t exchanges_per_user_month;
    struct th_str warn_at;
};

struct th_raw_server {
    struct th_raw_head head;
    struct th_str issuer;
    struct th_str token_endpoint;
    struct th_str revocation_endpoint;
    struct th_str jwks_uri;
    struct th_str ca_file;
    bool allow_cleartext;
    unsigned assertion_audience;
    unsigned assertion_typ;
    bool client_id_in_body;
    bool assertion_nbf;
    struct th_raw_quota quota;
};

struct th_raw_key {
    struct th_str env;
};

struct th_raw_basic {
    struct th_str user;
    struct th_str password_file;
    struct th_raw_key password;
};

struct th_raw_bearer {
    struct th_str token_file;
    struct th_raw_key token;
};

struct th_raw_unix {
    uint64_t uid, gid; /* whether they are there is asked of the file */
    struct th_str user;
    struct th_str group;
};

struct th_raw_kubernetes {
    struct th_str issuer;
    struct th_str audience;
    struct th_str namespace_name;
    struct th_str service_account;
};

struct th_raw_caller_certificate {
    struct th_str san;
    struct th_str subject;
};

struct th_raw_caller {
    struct th_raw_head head;
    struct th_str agent;
    struct th_raw_basic basic;
    struct th_raw_bearer bearer;
    struct th_raw_unix peer;
    struct th_raw_kubernetes kubernetes;
    struct th_config_share limits;
    struct th_raw_caller_certificate certificate;
};

struct th_raw_next {
    struct th_str key_file;
    struct th_raw_key key;
    struct th_str kid;
    unsigned alg;
    struct th_str cert_file;
};

struct th_raw_auth {
    unsigned method;
    struct th_str key_file;
    struct th_raw_key key;
    struct th_str kid;
    unsigned alg;
    struct th_str cert_file;
    unsigned x5t;
    struct th_raw_next next;
    struct th_str secret_file;
    struct th_raw_key secret;
};

struct th_raw_registration {
    struct th_raw_head head;
    struct th_str client_id;
    struct th_raw_auth auth;
};

struct th_raw_agent {
    struct th_raw_head head;
    struct th_str client_id;
    struct th_raw_auth auth;
    struct th_str dpop_key_file;
    struct th_raw_key dpop_key;
    unsigned dpop_alg;
    struct th_str resource;
    struct th_str server;
    struct th_raw_list linked_client_ids;
    struct th_raw_objects registrations;
};

enum th_raw_subject_from {
    TH_SUBJECT_FROM_AUTHORIZATION,
    TH_SUBJECT_FROM_HEADER,
    TH_SUBJECT_FROM_FILE,
    TH_SUBJECT_FROM_CLIENT_CREDENTIALS
};

struct th_raw_subject {
    unsigned from;
    struct th_str name;
    struct th_str file;
    struct th_str type;
    bool verify;
    struct th_raw_list issuers;
    struct th_str server;
    struct th_str client_id;
    struct th_raw_auth auth;
    struct th_raw_list scopes;
};

struct th_raw_actor {
    unsigned from; /* enum th_actor_source */
    struct th_str file;
    struct th_str type;
    struct th_raw_list scopes;
    struct th_str resource;
};

struct th_raw_parameter {
    struct th_raw_head head;
    struct th_str name;
    struct th_str value;
    unsigned leg;
};

/* Which requests ask for other scopes than the connection's. */
struct th_raw_scoping {
    struct th_raw_head head;
    struct th_raw_list methods;
    struct th_raw_list paths;
    struct th_raw_list rpc_methods;
    struct th_raw_list tools;
    struct th_raw_list scopes;
};

struct th_raw_inject {
    unsigned scheme; /* where there is no template */
    struct th_str header;
    struct th_str template;
};

struct th_raw_value {
    struct th_raw_head head;
    struct th_str file;
    struct th_str env;
};

/* What is shown to a destination that asks for a client certificate. */
struct th_raw_certificate {
    struct th_str cert_file;
    struct th_str key_file;
    struct th_raw_key key;
};

struct th_raw_connection {
    struct th_raw_head head;
    struct th_raw_list urls;
    unsigned type;
    struct th_raw_list agents;
    struct th_str server;
    struct th_raw_list audiences;
    struct th_raw_list resources;
    struct th_raw_list scopes;
    unsigned scope_separator;
    struct th_raw_list second_leg_scopes;
    struct th_raw_objects scopes_for;
    struct th_raw_list step_up_scopes;
    bool second_leg_resource;
    bool reuse_id_jag;
    struct th_str requested_token_type;
    struct th_str grant_type;
    unsigned requested_token_use;
    struct th_raw_actor actor;
    struct th_raw_objects parameters;
    struct th_raw_subject subject;
    struct th_raw_inject inject;
    unsigned dpop;
    struct th_str value_file;
    struct th_raw_key value;
    struct th_raw_objects values;
    unsigned without_subject;
    struct th_raw_list public_paths;
    unsigned cookies;
    unsigned shadow;
    bool allow_cleartext;
    struct th_config_issued_checks issued_checks;
    struct th_raw_certificate client_certificate;
    struct th_str ca_file;
    struct th_str crl_file;
};

struct th_raw_rule {
    struct th_raw_head head;
    struct th_str url;
    unsigned action;
};

struct th_raw_egress {
    struct th_raw_list allow;
    struct th_raw_list connect_ports;
};

struct th_raw_parent {
    struct th_raw_head head;
    struct th_raw_list destinations;
    struct th_str proxy;
    unsigned carries;
    struct th_raw_basic basic;
    struct th_str ca_file;
    bool allow_cleartext;
};

struct th_raw_interception {
    struct th_str cert_file;
    struct th_str key_file;
};

struct th_raw_admin {
    struct th_str address;
    unsigned mode; /* 1: 0660 */
    struct th_str token_file;
    struct th_raw_key token;
};

struct th_raw_telemetry {
    struct th_str otlp_endpoint;
    struct th_str authorization_file;
    struct th_str ca_file;
    bool allow_cleartext;
    struct th_str service_name;
    uint64_t sample_percent;
    int64_t metrics_interval_ms;
};

struct th_raw_hardening {
    unsigned seccomp;
    bool landlock;
};

struct th_raw_root {
    struct th_str schema;
    struct th_raw_objects listeners;
    struct th_raw_objects servers;
    struct th_raw_objects agents;
    struct th_raw_objects connections;
    struct th_raw_rules unmatched;
    struct th_raw_egress egress;
    struct th_config_origin origin;
    struct th_config_cache cache;
    struct th_config_timeouts timeouts;
    bool revoke_on_exit;
    bool revoke_on_removal;
    struct th_config_limits limits;
    uint64_t workers;
    struct th_config_files files;
    struct th_config_process process;
    struct th_raw_hardening hardening;
    struct th_config_log log;
    struct th_raw_interception interception;
    struct th_raw_admin admin;
    struct th_raw_objects callers;
    struct th_raw_objects policy; /* raw_policy.h */
    unsigned policy_mode;         /* 1: a dry run */
    struct th_raw_objects parents;
    struct th_raw_telemetry telemetry;
};

#endif
