/* What the keys of type TH_KEY_ENUM can be; a part of the tables of keys, for them alone. */
#ifndef TOKENHOP_SRC_CONFIG_CHOICES_H
#define TOKENHOP_SRC_CONFIG_CHOICES_H

#include "key.h"
#include "raw.h"
#include "tokenhop/config/model.h"

static const struct th_config_key_choice assertion_audiences[] = {
    {"endpoint", 0}, {"issuer", 1}, {NULL, 0}};

static const struct th_config_key_choice assertion_typs[] = {
    {"none", 0}, {"JWT", 1}, {"client-authentication+jwt", 2}, {NULL, 0}};

static const struct th_config_key_choice auth_methods[] = {
    {"private_key_jwt", TH_AUTH_PRIVATE_KEY_JWT},
    {"client_secret_basic", TH_AUTH_CLIENT_SECRET_BASIC},
    {"client_secret_post", TH_AUTH_CLIENT_SECRET_POST},
    {"client_secret_jwt", TH_AUTH_CLIENT_SECRET_JWT},
    {"none", TH_AUTH_NONE},
    {"tls_client_auth", TH_AUTH_TLS_CLIENT},
    {"self_signed_tls_client_auth", TH_AUTH_SELF_SIGNED_TLS_CLIENT},
    {NULL, 0}};

static const struct th_config_key_choice x5t_choices[] = {
    {"S256", TH_X5T_S256}, {"SHA1", TH_X5T_SHA1}, {NULL, 0}};

static const struct th_config_key_choice signing_algs[] = {
    {"RS256", TH_ALG_RS256}, {"RS384", TH_ALG_RS384},
    {"RS512", TH_ALG_RS512}, {"PS256", TH_ALG_PS256},
    {"PS384", TH_ALG_PS384}, {"PS512", TH_ALG_PS512},
    {"ES256", TH_ALG_ES256}, {"ES384", TH_ALG_ES384},
    {"ES512", TH_ALG_ES512}, {"EdDSA", TH_ALG_EDDSA},
    {"HS256", TH_ALG_HS256}, {"HS384", TH_ALG_HS384},
    {"HS512", TH_ALG_HS512}, {NULL, 0}};

static const struct th_config_key_choice key_algs[] = {{"RS256", TH_ALG_RS256},
                                                       {"RS384", TH_ALG_RS384},
                                                       {"RS512", TH_ALG_RS512},
                                                       {"PS256", TH_ALG_PS256},
                                                       {"PS384", TH_ALG_PS384},
                                                       {"PS512", TH_ALG_PS512},
                                                       {"ES256", TH_ALG_ES256},
                                                       {"ES384", TH_ALG_ES384},
                                                       {"ES512", TH_ALG_ES512},
                                                       {"EdDSA", TH_ALG_EDDSA},
                                                       {NULL, 0}};

static const struct th_config_key_choice resource_types[] = {
    {"agent_to_agent", TH_TYPE_AGENT_TO_AGENT},
    {"authorization_server", TH_TYPE_AUTHORIZATION_SERVER},
    {"secret", TH_TYPE_SECRET},
    {"service_account", TH_TYPE_SERVICE_ACCOUNT},
    {"resource_server", TH_TYPE_RESOURCE_SERVER},
    {"token_exchange", TH_TYPE_TOKEN_EXCHANGE},
    {"on_behalf_of", TH_TYPE_ON_BEHALF_OF},
    {"client_credentials", TH_TYPE_CLIENT_CREDENTIALS},
    {"static", TH_TYPE_STATIC},
    {"passthrough", TH_TYPE_PASSTHROUGH},
    {NULL, 0}};

static const struct th_config_key_choice subject_sources[] = {
    {"authorization", TH_SUBJECT_FROM_AUTHORIZATION},
    {"header", TH_SUBJECT_FROM_HEADER},
    {"file", TH_SUBJECT_FROM_FILE},
    {"client_credentials", TH_SUBJECT_FROM_CLIENT_CREDENTIALS},
    {NULL, 0}};

static const struct th_config_key_choice actor_sources[] = {
    {"client_credentials", TH_ACTOR_CLIENT_CREDENTIALS},
    {"assertion", TH_ACTOR_ASSERTION},
    {"file", TH_ACTOR_FILE},
    {NULL, 0}};

static const struct th_config_key_choice parameter_legs[] = {{"last", TH_PARAMETER_LAST_LEG},
                                                             {"first", TH_PARAMETER_FIRST_LEG},
                                                             {"every", TH_PARAMETER_EVERY_LEG},
                                                             {NULL, 0}};

static const struct th_config_key_choice scope_separators[] = {
    {"space", ' '}, {"comma", ','}, {NULL, 0}};

static const struct th_config_key_choice token_uses[] = {
    {"on_behalf_of", 0}, {"none", 1}, {NULL, 0}};

static const struct th_config_key_choice inject_schemes[] = {
    {"bearer", TH_INJECT_BEARER}, {"basic", TH_INJECT_BASIC}, {NULL, 0}};

static const struct th_config_key_choice dpop_choices[] = {{"off", TH_DPOP_OFF},
                                                           {"token", TH_DPOP_TOKEN},
                                                           {"all_legs", TH_DPOP_ALL_LEGS},
                                                           {"bound_id_jag", TH_DPOP_BOUND_ID_JAG},
                                                           {NULL, 0}};

static const struct th_config_key_choice without_subject[] = {
    {"refuse", TH_WITHOUT_SUBJECT_REFUSE}, {"forward", TH_WITHOUT_SUBJECT_FORWARD}, {NULL, 0}};

static const struct th_config_key_choice shadows[] = {{"off", TH_SHADOW_OFF},
                                                      {"policy", TH_SHADOW_POLICY},
                                                      {"exchange", TH_SHADOW_EXCHANGE},
                                                      {NULL, 0}};

static const struct th_config_key_choice cookies[] = {
    {"pass", TH_COOKIES_PASS}, {"drop", TH_COOKIES_DROP}, {NULL, 0}};

static const struct th_config_key_choice unmatched_actions[] = {
    {"deny", TH_UNMATCHED_DENY}, {"forward", TH_UNMATCHED_FORWARD}, {NULL, 0}};

static const struct th_config_key_choice policy_modes[] = {
    {"enforce", 0}, {"dry_run", 1}, {NULL, 0}};

static const struct th_config_key_choice admin_modes[] = {{"0600", 0}, {"0660", 1}, {NULL, 0}};

static const struct th_config_key_choice audit_failures[] = {
    {"refuse", TH_CONFIG_AUDIT_REFUSE}, {"continue", TH_CONFIG_AUDIT_CONTINUE}, {NULL, 0}};

static const struct th_config_key_choice log_levels[] = {{"error", TH_CONFIG_LOG_ERROR},
                                                         {"warn", TH_CONFIG_LOG_WARN},
                                                         {"info", TH_CONFIG_LOG_INFO},
                                                         {"debug", TH_CONFIG_LOG_DEBUG},
                                                         {NULL, 0}};

#endif
