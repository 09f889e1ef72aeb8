/* What the unit tests of this room share: a small world of configuration, tokens made to measure, and
 * an authorization server in the shape of a scripted fetcher. */
#ifndef TOKENHOP_SRC_OAUTH_TEST_SUPPORT_H
#define TOKENHOP_SRC_OAUTH_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "testdata.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/config/model.h"
#include "tokenhop/oauth/jose.h"
#include "tokenhop/oauth/json.h"

#define NOW_S INT64_C(1700000000)
#define NOW_MS (NOW_S * 1000)

#define ORG "https://example.okta.com"
#define CUSTOM "https://example.okta.com/oauth2/aus1"
#define ORG_TOKEN ORG "/oauth2/v1/token"
#define CUSTOM_TOKEN CUSTOM "/v1/token"
#define AGENT2 "https://agent2.example.com"
#define TX "urn:ietf:params:oauth:grant-type:token-exchange"
#define JB "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define TT "urn:ietf:params:oauth:token-type:"

struct world {
    struct th_config_authorization_server org, custom;
    struct th_config_agent agent;
    struct th_config_connection connection;
    struct th_str scopes[2];
    struct th_str linked[1];
    const struct th_config_agent *agents[1];
    const struct th_config_authorization_server *issuers[2];
};

static inline void world_open(struct world *w, const char *key, enum th_signing_alg alg)
{
    *w = (struct world){
        .org = {.name = TH_STR("org"), .issuer = TH_STR(ORG), .token_endpoint = TH_STR(ORG_TOKEN)},
        .custom = {.name = TH_STR("custom"),
                   .issuer = TH_STR(CUSTOM),
                   .token_endpoint = TH_STR(CUSTOM_TOKEN)},
        .scopes = {TH_STR("chat.read"), TH_STR("chat.history")},
        .linked = {TH_STR("0oaLinked")},
    };
    w->agent = (struct th_config_agent){
        .name = TH_STR("agent1"),
        .client_id = TH_STR("wlpA1"),
        .auth = {.method = TH_AUTH_PRIVATE_KEY_JWT,
                 .alg = alg,
                 .kid = TH_STR("k1"),
                 .key = key != NULL ? th_secret_new(key, strlen(key)) : NULL},
        .resource = TH_STR("https://agent1.example.com"),
        .server = &w->org,
        .linked_client_ids = w->linked,
        .n_linked_client_ids = 1,
    };
    w->agents[0] = &w->agent;
    w->issuers[0] = &w->org;
    w->issuers[1] = &w->custom;
    w->agent.subject_issuers = w->issuers;
    w->agent.n_subject_issuers = 2;
    w->connection = (struct th_config_connection){
        .name = TH_STR("agent2"),
        .type = TH_TYPE_AGENT_TO_AGENT,
        .agents = w->agents,
        .n_agents = 1,
        .server = &w->custom,
        .audience = TH_STR(CUSTOM),
        .resource = TH_STR(AGENT2),
        .scopes = w->scopes,
        .n_scopes = 2,
        .scope_text = TH_STR("chat.read chat.history"),
        .subject_type = TH_SUBJECT_AUTO,
        .issued_checks = {true, true, true, true},
    };
}

static inline void world_close(struct world *w)
{
    th_secret_unref(w->agent.auth.key);
}

/* A token with these claims (' stands for "), signed by nobody. */
static inline void make_token(struct th_buf *out, const char *header, const char *claims)
{
    const char *const parts[] = {header, claims};
    th_buf_init(out, 200000);
    for (size_t i = 0; i < 2; i++) {
        char *text = th_strdup(parts[i]);
        assert_non_null(text);
        for (char *c = text; *c != '\0'; c++)
            *c = *c == '\'' ? '"' : *c;
        th_base64url_encode(out, text, strlen(text));
        th_buf_add_char(out, '.');
        th_free(text);
    }
    th_buf_add_str(out, TH_STR("c2lnbmF0dXJl"));
}

#endif
