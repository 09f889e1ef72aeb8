/* What good files become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/stat.h>

#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/config/load.h"

/* Everything that a file needs, and nothing more. */
static const char minimal[] =
    "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\", \"agent\": \"a\"}],\n"
    " \"authorization_servers\": {\"org\": {\"issuer\": \"https://example.okta.com\"}},\n"
    " \"agents\": {\"a\": {\"client_id\": \"wlp1\", \"authorization_server\": \"org\",\n"
    "   \"auth\": {\"method\": \"private_key_jwt\", \"key_file\": \"rsa.pem\", \"kid\": \"k\"}}}}\n";

/* Every key, each with another value than its default. */
static const char whole[] =
    "{\n"
    "\"$schema\": \"./tokenhop.schema.json\",\n"
    "\"listeners\": [\n"
    "  {\"name\": \"in\", \"address\": \"127.0.0.1:8080\", \"mode\": \"forward\", \"agent\": \"a1\"},\n"
    "  {\"name\": \"in6\", \"address\": \"[::1]:8081\", \"agent\": \"a2\"}],\n"
    "\"authorization_servers\": {\n"
    "  \"org\": {\"issuer\": \"https://example.okta.com\"},\n"
    "  \"custom\": {\"issuer\": \"https://example.okta.com/oauth2/aus1\", \"ca_file\": \"ca.pem\",\n"
    "    \"revocation_endpoint\": \"https://other.example/revoke\",\n"
    "    \"assertion_audience\": \"issuer\", \"client_id_in_body\": true,\n"
    "    \"quota\": {\"exchanges_per_user_month\": 3, \"warn_at\": \"50%\"},\n"
    "    \"assertion_typ\": \"client-authentication+jwt\"},\n"
    "  \"other\": {\"issuer\": \"http://idp.example/realms/x/\", \"allow_cleartext\": true,\n"
    "    \"token_endpoint\": \"http://idp.example/token?a=b\"},\n"
    "  \"sandbox\": {\"issuer\": \"http://127.0.0.1:9000\"},\n"
    "  \"asked\": {\"issuer\": \"https://idp.example/realms/y\"}},\n"
    "\"agents\": {\n"
    "  \"a1\": {\"client_id\": \"wlp1\", \"resource\": \"https://agent1.example.com\",\n"
    "    \"auth\": {\"method\": \"private_key_jwt\", \"key_file\": \"rsa.pem\", \"kid\": \"k1\"},\n"
    "    \"authorization_server\": \"org\", \"linked_client_ids\": [\"0oa1\", \"0oa2\"],\n"
    "    \"registrations\": {\"custom\": {\"client_id\": \"other-id\", \"auth\":\n"
    "      {\"method\": \"private_key_jwt\", \"key_file\": \"sub/ec.jwk\", \"kid\": \"k2\",\n"
    "       \"alg\": \"ES256\"}}}},\n"
    "  \"a2\": {\"client_id\": \"wlp2\", \"authorization_server\": \"org\", \"auth\":\n"
    "    {\"method\": \"private_key_jwt\", \"key\": {\"env\": \"TEST_AGENT_KEY\"}, \"kid\": \"k3\",\n"
    "     \"alg\": \"ES256\"}}},\n"
    "\"connections\": [\n"
    "  {\"name\": \"c1\", \"url\": \"https://agent2.example.com/a2a/\", \"type\": \"agent_to_agent\",\n"
    "   \"agents\": [\"a1\", \"a2\"], \"authorization_server\": \"custom\",\n"
    "   \"resource\": \"https://agent2.example.com\", \"scopes\": [\"r\", \"w\"]},\n"
    "  {\"name\": \"c2\", \"url\": [\"https://*.example.com\", \"http://127.0.0.1:9001/x\"],\n"
    "   \"type\": \"authorization_server\", \"agents\": [\"a2\"],\n"
    "   \"authorization_server\": \"sandbox\", \"audience\": \"api://x\", \"scopes\": [\"r\", \"w\"],\n"
    "   \"second_leg_scopes\": [\"w\"], \"subject\": {\"from\": \"header\", \"name\": \"X-User\",\n"
    "   \"type\": \"access_token\", \"verify\": true, \"issuers\": [\"sandbox\", \"org\"]},\n"
    "   \"without_subject\": \"forward\", \"public\": [\"/card\"],\n"
    "   \"cookies\": \"drop\", \"allow_cleartext\": true, \"issued_checks\": {\"audience\": false,\n"
    "   \"subject\": false, \"scope\": false, \"chain\": false},\n"
    "   \"inject\": {\"header\": \"X-Token\", \"template\": \"a{{{access_token}:{b}}}\"}}],\n"
    "\"unmatched\": [{\"url\": \"https://*.a.example\", \"action\": \"forward\"},\n"
    "  {\"url\": \"http://b.example/\", \"action\": \"deny\"}],\n"
    "\"egress\": {\"allow\": [\"10.1.0.0/16\", \"127.0.0.1:9001\"],\n"
    "            \"connect_ports\": [443, \"8443\", \"8000-8999\"]},\n"
    "\"origin\": {\"idle_timeout\": \"31s\", \"max_idle\": 257, \"ca_file\": \"ca.pem\"},\n"
    "\"cache\": {\"max_entries\": 7, \"max_bytes\": \"1MiB\", \"margin\": \"5s\", \"max_lifetime\": \"2h\"},\n"
    "\"timeouts\": {\"head\": \"1s\", \"idle\": \"2s\", \"body\": \"3s\", \"connect\": \"4s\",\n"
    "  \"exchange\": \"5s\", \"first_byte\": \"6s\", \"stream_idle\": \"7s\", \"drain\": \"8s\",\n"
    "  \"revoke\": \"9s\"},\n"
    "\"revoke_on_exit\": true, \"revoke_on_removal\": true,\n"
    "\"limits\": {\"connections\": 1, \"head\": \"2KiB\", \"fields\": 30, \"replay_body\": \"4B\",\n"
    "  \"waiting_exchanges\": 5},\n"
    "\"workers\": 3,\n"
    "\"log\": {\"level\": \"debug\", \"access_file\": \"access.jsonl\",\n"
    " \"audit_file\": \"audit.jsonl\"},\n"
    "\"process\": {\"user\": \"tokenhop\", \"group\": \"4711\"}\n"
    "}\n";

static char *folder;

static struct th_config *load(const char *text)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    int r = th_config_load_text(th_str_of(text), folder, &config, &mistakes);
    if (r != 0)
        th_config_mistakes_print(&mistakes, "file", stderr);
    assert_int_equal(r, 0);
    assert_int_equal(mistakes.count, 0);
    th_config_mistakes_fini(&mistakes);
    return config;
}

static void assert_str(struct th_str got, const char *wanted)
{
    if (!th_str_equal(got, th_str_of(wanted)))
        fail_msg("\"%.*s\" is not \"%s\"", TH_STR_ARGS(got), wanted);
}

static void assert_file(struct th_str got, const char *name)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_str(got, path);
}

static void test_defaults(void **state)
{
    struct th_config *config = load(minimal);
    const struct th_config_view *v = th_config_get(config);
    assert_int_equal(v->n_connections, 0);
    assert_int_equal(v->unmatched, TH_UNMATCHED_DENY);
    assert_int_equal(v->n_unmatched_rules, 0);
    assert_int_equal(v->egress.n_allow, 0);
    assert_int_equal(v->egress.n_connect_ports, 1);
    assert_int_equal(v->egress.connect_ports[0].first, 443);
    assert_int_equal(v->egress.connect_ports[0].last, 443);
    assert_int_equal(v->origin.idle_timeout_ms, 30000);
    assert_int_equal(v->origin.max_idle, 256);
    assert_int_equal(v->origin.ca_file.len, 0);
    assert_int_equal(v->cache.max_entries, 100000);
    assert_int_equal(v->cache.max_bytes, 128 << 20);
    assert_int_equal(v->cache.margin_ms, 30000);
    assert_int_equal(v->cache.max_lifetime_ms, 3600000);
    assert_int_equal(v->timeouts.head_ms, 15000);
    assert_int_equal(v->timeouts.idle_ms, 75000);
    assert_int_equal(v->timeouts.body_ms, 60000);
    assert_int_equal(v->timeouts.connect_ms, 10000);
    assert_int_equal(v->timeouts.exchange_ms, 10000);
    assert_int_equal(v->timeouts.first_byte_ms, 120000);
    assert_int_equal(v->timeouts.stream_idle_ms, 900000);
    assert_int_equal(v->timeouts.drain_ms, 30000);
    assert_int_equal(v->timeouts.revoke_ms, 10000);
    assert_false(v->revoke_on_exit);
    assert_false(v->revoke_on_removal);
    assert_int_equal(v->limits.connections, 20000);
    assert_int_equal(v->limits.head, 65536);
    assert_int_equal(v->limits.fields, 100);
    assert_int_equal(v->limits.replay_body, 65536);
    assert_int_equal(v->limits.waiting_exchanges, 2000);
    assert_in_range(v->workers, 1, 4096);
    assert_int_equal(v->log.level, TH_CONFIG_LOG_INFO);
    assert_str(v->log.access_file, "-");
    assert_int_equal(v->agents[0].auth.alg, TH_ALG_RS256);
    assert_int_equal(v->agents[0].n_linked_client_ids, 0);
    assert_int_equal(v->agents[0].resource.len, 0);
    assert_false(v->servers[0].allow_cleartext);
    assert_false(v->servers[0].assertion_audience_issuer);
    assert_false(v->servers[0].client_id_in_body);
    assert_int_equal(v->servers[0].quota.exchanges_per_user_month, 0);
    assert_int_equal(v->servers[0].quota.warn_at, 0);
    assert_int_equal(v->servers[0].assertion_typ.len, 0);
    th_config_unref(config);
}

static void test_servers(void **state)
{
    struct th_config *config = load(whole);
    const struct th_config_view *v = th_config_get(config);
    assert_int_equal(v->n_servers, 5);
    assert_str(v->servers[0].name, "org");
    assert_str(v->servers[0].issuer, "https://example.okta.com");
    assert_str(v->servers[0].token_endpoint, "https://example.okta.com/oauth2/v1/token");
    assert_str(v->servers[0].revocation_endpoint, "https://example.okta.com/oauth2/v1/revoke");
    assert_str(v->servers[0].jwks_uri, "https://example.okta.com/oauth2/v1/keys");
    assert_int_equal(v->servers[0].ca_file.len, 0);
    assert_str(v->servers[1].token_endpoint, "https://example.okta.com/oauth2/aus1/v1/token");
    assert_str(v->servers[1].revocation_endpoint, "https://other.example/revoke");
    assert_str(v->servers[1].jwks_uri, "https://example.okta.com/oauth2/aus1/v1/keys");
    assert_file(v->servers[1].ca_file, "ca.pem");
    assert_true(v->servers[1].assertion_audience_issuer);
    assert_true(v->servers[1].client_id_in_body);
    assert_int_equal(v->servers[1].quota.exchanges_per_user_month, 3);
    assert_int_equal(v->servers[1].quota.warn_at, 2);
    assert_str(v->servers[1].assertion_typ, "client-authentication+jwt");
    assert_str(v->servers[2].issuer, "http://idp.example/realms/x/");
    assert_str(v->servers[2].token_endpoint, "http://idp.example/token?a=b");
    assert_int_equal(v->servers[2].jwks_uri.len, 0);
    assert_true(v->servers[2].allow_cleartext);
    assert_str(v->servers[3].token_endpoint, "http://127.0.0.1:9000/oauth2/v1/token");
    /* Not Okta's: its metadata says where they are. */
    assert_int_equal(v->servers[4].token_endpoint.len, 0);
    assert_int_equal(v->servers[4].revocation_endpoint.len, 0);
    assert_int_equal(v->servers[4].jwks_uri.len, 0);
    th_config_unref(config);
}

static void test_agents(void **state)
{
    struct th_config *config = load(whole);
    const struct th_config_view *v = th_config_get(config);
    const struct th_config_agent *a1 = &v->agents[0], *a2 = &v->agents[1];
    const struct th_config_auth *auth;
    struct th_str client_id;
    assert_int_equal(v->n_agents, 2);
    assert_str(a1->name, "a1");
    assert_str(a1->client_id, "wlp1");
    assert_str(a1->resource, "https://agent1.example.com");
    assert_ptr_equal(a1->server, &v->servers[0]);
    assert_int_equal(a1->n_subject_issuers, 2); /* the org and its custom server */
    assert_ptr_equal(a1->subject_issuers[0], &v->servers[0]);
    assert_ptr_equal(a1->subject_issuers[1], &v->servers[1]);
    assert_int_equal(a1->n_linked_client_ids, 2);
    assert_str(a1->linked_client_ids[1], "0oa2");
    assert_str(a1->auth.kid, "k1");
    assert_file(a1->auth.key_file, "rsa.pem");
    assert_true(th_str_starts_with(th_secret_expose(a1->auth.key), TH_STR("-----BEGIN")));
    assert_int_equal(a2->auth.alg, TH_ALG_ES256);
    assert_int_equal(a2->auth.key_file.len, 0);
    assert_true(th_str_starts_with(th_secret_expose(a2->auth.key), TH_STR("-----BEGIN")));

    th_config_agent_registration(a1, &v->servers[1], &client_id, &auth);
    assert_str(client_id, "other-id");
    assert_str(auth->kid, "k2");
    assert_int_equal(auth->alg, TH_ALG_ES256);
    assert_file(auth->key_file, "sub/ec.jwk");
    th_config_agent_registration(a1, &v->servers[0], &client_id, &auth);
    assert_str(client_id, "wlp1");
    assert_ptr_equal(auth, &a1->auth);
    th_config_agent_registration(a2, &v->servers[1], &client_id, &auth);
    assert_str(client_id, "wlp2");

    assert_int_equal(v->n_listeners, 2);
    assert_str(v->listeners[0].name, "in");
    assert_str(v->listeners[0].address_text, "127.0.0.1:8080");
    assert_int_equal(v->listeners[0].address.ss_family, AF_INET);
    assert_int_equal(v->listeners[1].address.ss_family, AF_INET6);
    assert_int_equal(v->listeners[1].address_len, sizeof(struct sockaddr_in6));
    assert_ptr_equal(v->listeners[0].agent, a1);
    assert_ptr_equal(v->listeners[1].agent, a2);
    th_config_unref(config);
}

static void test_connections(void **state)
{
    struct th_config *config = load(whole);
    const struct th_config_view *v = th_config_get(config);
    const struct th_config_connection *c1 = &v->connections[0], *c2 = &v->connections[1];
    assert_int_equal(v->n_connections, 2);
    assert_str(c1->name, "c1");
    assert_int_equal(c1->index, 0);
    assert_int_equal(c1->type, TH_TYPE_AGENT_TO_AGENT);
    assert_int_equal(c1->n_patterns, 1);
    assert_str(c1->patterns[0].path, "/a2a/");
    assert_int_equal(c1->n_agents, 2);
    assert_ptr_equal(c1->agents[1], &v->agents[1]);
    assert_ptr_equal(c1->server, &v->servers[1]);
    assert_str(c1->audience, "https://example.okta.com/oauth2/aus1");
    assert_str(c1->resource, "https://agent2.example.com");
    assert_str(c1->scope_text, "r w");
    assert_int_equal(c1->n_scopes, 2);
    assert_str(c1->scopes[1], "w");
    assert_int_equal(c1->second_leg_scope_text.len, 0);
    assert_int_equal(c1->subject_type, TH_SUBJECT_AUTO);
    assert_int_equal(c1->subject_verify, TH_SUBJECT_VERIFY_KNOWN);
    assert_int_equal(c1->n_subject_issuers, 0);
    assert_int_equal(c1->without_subject, TH_WITHOUT_SUBJECT_REFUSE);
    assert_int_equal(c1->cookies, TH_COOKIES_PASS);
    assert_false(c1->allow_cleartext);
    assert_int_equal(c1->n_public_paths, 2);
    assert_str(c1->public_paths[0], "/.well-known/agent-card.json");
    assert_str(c1->public_paths[1], "/.well-known/oauth-protected-resource");
    assert_true(c1->issued_checks.audience && c1->issued_checks.subject);
    assert_true(c1->issued_checks.scope && c1->issued_checks.chain);

    assert_int_equal(c2->index, 1);
    assert_int_equal(c2->type, TH_TYPE_AUTHORIZATION_SERVER);
    assert_int_equal(c2->n_patterns, 2);
    assert_true(c2->patterns[0].wildcard);
    assert_int_equal(c2->patterns[1].port, 9001);
    assert_str(c2->audience, "api://x");
    assert_int_equal(c2->resource.len, 0);
    assert_str(c2->second_leg_scope_text, "w");
    assert_int_equal(c2->subject_type, TH_SUBJECT_ACCESS_TOKEN);
    assert_int_equal(c2->subject_verify, TH_SUBJECT_VERIFY_ALWAYS);
    assert_int_equal(c2->n_subject_issuers, 2);
    assert_str(c2->subject_header, "X-User");
    assert_int_equal(c1->subject_header.len, 0);
    assert_int_equal(v->n_subject_headers, 1);
    assert_str(v->subject_headers[0], "X-User");
    assert_ptr_equal(c2->subject_issuers[0], &v->servers[3]);
    assert_ptr_equal(c2->subject_issuers[1], &v->servers[0]);
    assert_int_equal(c2->without_subject, TH_WITHOUT_SUBJECT_FORWARD);
    assert_int_equal(c2->cookies, TH_COOKIES_DROP);
    assert_true(c2->allow_cleartext);
    assert_int_equal(c2->n_public_paths, 1);
    assert_false(c2->issued_checks.audience || c2->issued_checks.subject);
    assert_false(c2->issued_checks.scope || c2->issued_checks.chain);
    assert_str(c1->inject.header, "Authorization");
    assert_int_equal(c1->inject.scheme, TH_INJECT_BEARER);
    assert_true(c1->inject.is_authorization);
    assert_int_equal(c1->inject.n_parts, 0);
    assert_str(c2->inject.header, "X-Token");
    assert_int_equal(c2->inject.scheme, TH_INJECT_TEMPLATE);
    assert_false(c2->inject.is_authorization);
    assert_int_equal(c2->inject.n_parts, 6);
    assert_true(c2->inject.parts[2].is_name);
    assert_str(c2->inject.parts[2].text, "access_token");
    th_config_unref(config);
}

/* The types whose one leg goes to the agent's own server. */
static void test_one_leg(void **state)
{
    char text[2048];
    snprintf(text, sizeof(text), "%.*s,\n \"connections\": [\n%s]}\n",
             (int)(strlen(minimal) - strlen("}\n")), minimal,
             "{\"name\": \"s\", \"type\": \"secret\", \"url\": \"https://a.example/\",\n"
             " \"agents\": [\"a\"], \"resource\": \"the admin's own string\",\n"
             " \"inject\": {\"header\": \"authorization\", \"template\": \"Key {api_key}\"}},\n"
             "{\"name\": \"p\", \"type\": \"service_account\", \"url\": \"https://b.example/\",\n"
             " \"agents\": [\"a\"], \"resource\": \"orn:okta:pam:1:apps:x\"},\n"
             "{\"name\": \"t\", \"type\": \"resource_server\", \"url\": \"https://c.example/\",\n"
             " \"agents\": [\"a\"], \"resource\": \"org:github:application\"}");
    struct th_config *config = load(text);
    const struct th_config_connection *c = th_config_get(config)->connections;
    for (size_t i = 0; i < 3; i++) {
        assert_null(c[i].server);
        assert_int_equal(c[i].audience.len + c[i].scope_text.len + c[i].n_scopes, 0);
        assert_true(c[i].inject.is_authorization);
    }
    assert_int_equal(c[0].type, TH_TYPE_SECRET);
    assert_str(c[0].resource, "the admin's own string");
    assert_int_equal(c[0].inject.scheme, TH_INJECT_TEMPLATE);
    assert_str(c[0].inject.header, "authorization");
    assert_int_equal(c[1].type, TH_TYPE_SERVICE_ACCOUNT);
    assert_int_equal(c[1].inject.scheme, TH_INJECT_BASIC);
    assert_int_equal(c[2].type, TH_TYPE_RESOURCE_SERVER);
    assert_int_equal(c[2].inject.scheme, TH_INJECT_BEARER);
    th_config_unref(config);
}

static void test_rest(void **state)
{
    struct th_config *config = load(whole);
    const struct th_config_view *v = th_config_get(config);
    assert_int_equal(v->unmatched, TH_UNMATCHED_DENY);
    assert_int_equal(v->n_unmatched_rules, 2);
    assert_int_equal(v->unmatched_rules[0].action, TH_UNMATCHED_FORWARD);
    assert_true(v->unmatched_rules[0].pattern.wildcard);
    assert_int_equal(v->unmatched_rules[1].action, TH_UNMATCHED_DENY);
    assert_int_equal(v->egress.n_allow, 2);
    assert_int_equal(v->egress.allow[0].prefix, 112);
    assert_int_equal(v->egress.allow[1].port, 9001);
    assert_int_equal(v->egress.n_connect_ports, 3);
    assert_int_equal(v->egress.connect_ports[0].last, 443);
    assert_int_equal(v->egress.connect_ports[1].first, 8443);
    assert_int_equal(v->egress.connect_ports[2].first, 8000);
    assert_int_equal(v->egress.connect_ports[2].last, 8999);
    assert_int_equal(v->origin.idle_timeout_ms, 31000);
    assert_int_equal(v->origin.max_idle, 257);
    assert_file(v->origin.ca_file, "ca.pem");
    assert_int_equal(v->cache.max_entries, 7);
    assert_int_equal(v->cache.max_bytes, 1 << 20);
    assert_int_equal(v->cache.margin_ms, 5000);
    assert_int_equal(v->cache.max_lifetime_ms, 7200000);
    assert_int_equal(v->timeouts.head_ms, 1000);
    assert_int_equal(v->timeouts.idle_ms, 2000);
    assert_int_equal(v->timeouts.body_ms, 3000);
    assert_int_equal(v->timeouts.connect_ms, 4000);
    assert_int_equal(v->timeouts.exchange_ms, 5000);
    assert_int_equal(v->timeouts.first_byte_ms, 6000);
    assert_int_equal(v->timeouts.stream_idle_ms, 7000);
    assert_int_equal(v->timeouts.drain_ms, 8000);
    assert_int_equal(v->timeouts.revoke_ms, 9000);
    assert_true(v->revoke_on_exit);
    assert_true(v->revoke_on_removal);
    assert_int_equal(v->limits.connections, 1);
    assert_int_equal(v->limits.head, 2048);
    assert_int_equal(v->limits.fields, 30);
    assert_int_equal(v->limits.replay_body, 4);
    assert_int_equal(v->limits.waiting_exchanges, 5);
    assert_int_equal(v->workers, 3);
    assert_int_equal(v->log.level, TH_CONFIG_LOG_DEBUG);
    assert_file(v->log.access_file, "access.jsonl");
    assert_file(v->log.audit_file, "audit.jsonl");
    assert_str(v->process.user, "tokenhop");
    assert_str(v->process.group, "4711");
    th_config_unref(config);
}

/* The version of c1 after one replacement in the file. */
static void version_after(const char *find, const char *replace, uint8_t ret_version[16])
{
    const char *at = strstr(whole, find);
    char *text;
    assert_non_null(at);
    assert_true(asprintf(&text, "%.*s%s%s", (int)(at - whole), whole, replace, at + strlen(find)) >
                0);
    struct th_config *config = load(text);
    memcpy(ret_version, th_config_get(config)->connections[0].version, 16);
    th_config_unref(config);
    free(text);
}

/* R14: the version is part of the cache's key; what decides which credential is got changes it. */
static void test_r14_version(void **state)
{
    static const struct {
        const char *find, *replace;
        bool same;
    } rows[] = {
        {"\"workers\": 3", "\"workers\": 4", true},
        {"/a2a/", "/a2b/", true},
        {"\"kid\": \"k1\"", "\"kid\": \"k9\"", true},
        {"[\"a1\", \"a2\"]", "[\"a2\", \"a1\"]", true},
        {"\"scopes\": [\"r\", \"w\"]}", "\"scopes\": [\"r\", \"w\"], \"cookies\": \"drop\"}", true},
        {"\"name\": \"c1\"", "\"name\": \"c9\"", false},
        {"\"agent_to_agent\"", "\"authorization_server\"", false},
        {"\"resource\": \"https://agent2.example.com\"", "\"resource\": \"https://x.example\"",
         false},
        {"\"scopes\": [\"r\", \"w\"]}", "\"scopes\": [\"r\"]}", false},
        {"\"scopes\": [\"r\", \"w\"]}", "\"scopes\": [\"rw\"]}", false},
        {"\"scopes\": [\"r\", \"w\"]}",
         "\"scopes\": [\"r\", \"w\"], \"second_leg_scopes\": [\"r\"]}", false},
        {"\"scopes\": [\"r\", \"w\"]}", "\"scopes\": [\"r\", \"w\"], \"audience\": \"api://y\"}",
         false},
        {"\"scopes\": [\"r\", \"w\"]}",
         "\"scopes\": [\"r\", \"w\"], \"subject\": {\"type\": \"id_token\"}}", false},
        {"\"scopes\": [\"r\", \"w\"]}",
         "\"scopes\": [\"r\", \"w\"], \"issued_checks\": {\"chain\": false}}", false},
        {"\"scopes\": [\"r\", \"w\"]}",
         "\"scopes\": [\"r\", \"w\"], \"subject\": {\"verify\": false}}", false},
        {"\"scopes\": [\"r\", \"w\"]}",
         "\"scopes\": [\"r\", \"w\"], \"subject\": {\"verify\": true}}", false},
        {"\"scopes\": [\"r\", \"w\"]}",
         "\"scopes\": [\"r\", \"w\"], \"subject\": {\"issuers\": [\"org\"]}}", false},
        {"\"authorization_server\": \"custom\"", "\"authorization_server\": \"sandbox\"", false},
        {"\"assertion_audience\": \"issuer\"", "\"assertion_audience\": \"endpoint\"", false},
        {"\"issuer\": \"https://example.okta.com\"", "\"issuer\": \"https://b.okta.com\"", false},
        {"\"client_id\": \"wlp1\"", "\"client_id\": \"wlp9\"", false},
        {"\"client_id\": \"other-id\"", "\"client_id\": \"other\"", false},
        {"[\"0oa1\", \"0oa2\"]", "[\"0oa1\"]", false},
        {"[\"a1\", \"a2\"]", "[\"a1\"]", false},
    };
    uint8_t first[16], again[16], zero[16] = {0};
    version_after("", "", first);
    version_after("", "", again);
    assert_memory_equal(first, again, 16);
    assert_memory_not_equal(first, zero, 16);
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        version_after(rows[i].find, rows[i].replace, again);
        if ((memcmp(first, again, 16) == 0) != rows[i].same)
            fail_msg("%s", rows[i].replace);
    }
}

/* R16: a key that others than its owner may use is refused, whatever the bit. */
/* `minimal` with that authentication. */
static struct th_config *load_auth(const char *auth)
{
    static const char was[] =
        "\"method\": \"private_key_jwt\", \"key_file\": \"rsa.pem\", \"kid\": \"k\"";
    const char *at = strstr(minimal, was);
    char text[2048];
    assert_non_null(at);
    snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - minimal), minimal, auth,
             at + sizeof(was) - 1);
    return load(text);
}

#define S "0123456789abcdef0123456789abcdef"

static void test_methods(void **state)
{
    static const struct {
        const char *text;
        enum th_auth_method method;
        enum th_signing_alg alg;
        const char *secret; /* NULL: none */
    } cases[] = {
        {"\"method\": \"client_secret_basic\", \"secret_file\": \"secret\"",
         TH_AUTH_CLIENT_SECRET_BASIC, TH_ALG_UNSAID, S},
        {"\"method\": \"client_secret_post\", \"secret\": {\"env\": \"TEST_SECRET\"}",
         TH_AUTH_CLIENT_SECRET_POST, TH_ALG_UNSAID, "a: secret%"},
        {"\"method\": \"client_secret_jwt\", \"secret_file\": \"secret\"",
         TH_AUTH_CLIENT_SECRET_JWT, TH_ALG_HS256, S},
        {"\"method\": \"client_secret_jwt\", \"secret_file\": \"long.secret\", \"alg\": \"HS512\"",
         TH_AUTH_CLIENT_SECRET_JWT, TH_ALG_HS512, S S},
        {"\"method\": \"none\"", TH_AUTH_NONE, TH_ALG_UNSAID, NULL},
    };
    setenv("TEST_SECRET", "a: secret%", 1);
    test_write_file(folder, "secret", S "\n", 0600);
    test_write_file(folder, "long.secret", S S, 0600);
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_config *config = load_auth(cases[i].text);
        const struct th_config_auth *auth = &th_config_get(config)->agents[0].auth;
        assert_int_equal(auth->method, cases[i].method);
        assert_int_equal(auth->alg, cases[i].alg);
        assert_null(auth->key);
        assert_null(auth->next);
        if (cases[i].secret == NULL)
            assert_null(auth->secret);
        else
            assert_str(th_secret_expose(auth->secret), cases[i].secret);
        th_config_unref(config);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
}

/* Every algorithm loads with the key that is its own, as PEM and as JWK. */
static void test_algorithms(void **state)
{
    static const struct {
        const char *name;
        enum th_signing_alg alg;
        const char *key;
    } cases[] = {
        {"RS256", TH_ALG_RS256, "rsa.pem"}, {"RS384", TH_ALG_RS384, "rsa.pem"},
        {"RS512", TH_ALG_RS512, "rsa.pem"}, {"PS256", TH_ALG_PS256, "rsa.pem"},
        {"PS384", TH_ALG_PS384, "rsa.pem"}, {"PS512", TH_ALG_PS512, "rsa.pem"},
        {"ES256", TH_ALG_ES256, "a.pem"},   {"ES384", TH_ALG_ES384, "b.pem"},
        {"ES512", TH_ALG_ES512, "c.pem"},   {"EdDSA", TH_ALG_EDDSA, "d.pem"},
        {"ES256", TH_ALG_ES256, "a.jwk"},   {"ES384", TH_ALG_ES384, "b.jwk"},
        {"ES512", TH_ALG_ES512, "c.jwk"},   {"EdDSA", TH_ALG_EDDSA, "d.jwk"},
    };
    static const struct {
        const char *curve, *pem, *jwk;
    } keys[] = {
        {"P-256", "a.pem", "a.jwk"}, {"P-384", "b.pem", "b.jwk"}, {"P-521", "c.pem", "c.jwk"}};
    for (size_t i = 0; i < TH_COUNT_OF(keys); i++) {
        test_write_pem(folder, keys[i].pem, 0, keys[i].curve);
        test_write_jwk(folder, keys[i].jwk, 0, keys[i].curve);
    }
    test_write_ed25519(folder, "d.pem");
    test_write_file(folder, "d.jwk", /* RFC 8037, A.1 */
                    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                    "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\","
                    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
                    0600);
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        char text[256];
        snprintf(text, sizeof(text),
                 "\"method\": \"private_key_jwt\", \"key_file\": \"%s\", \"kid\": \"k\", "
                 "\"alg\": \"%s\"",
                 cases[i].key, cases[i].name);
        struct th_config *config = load_auth(text);
        assert_int_equal(th_config_get(config)->agents[0].auth.alg, cases[i].alg);
        th_config_unref(config);
    }
}

static void test_next_key(void **state)
{
    struct th_config *config =
        load_auth("\"method\": \"private_key_jwt\", \"key_file\": \"rsa.pem\", \"kid\": \"k1\", "
                  "\"next\": {\"key_file\": \"sub/ec.jwk\", \"kid\": \"k2\", \"alg\": \"ES256\"}");
    const struct th_config_auth *auth = &th_config_get(config)->agents[0].auth;
    assert_int_equal(auth->alg, TH_ALG_RS256); /* unless said */
    assert_non_null(auth->next);
    assert_str(auth->next->kid, "k2");
    assert_int_equal(auth->next->alg, TH_ALG_ES256);
    assert_int_equal(auth->next->method, TH_AUTH_PRIVATE_KEY_JWT);
    assert_non_null(auth->next->key);
    assert_null(auth->next->next);
    th_config_unref(config);
}

static void test_r16_key_file_mode(void **state)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/rsa.pem", folder);
    for (unsigned bit = 0; bit < 9; bit++) {
        struct th_config_mistakes mistakes;
        struct th_config *config = NULL;
        bool owner = bit >= 6;
        assert_int_equal(chmod(path, S_IRUSR | 1u << bit), 0);
        int r = th_config_load_text(th_str_of(minimal), folder, &config, &mistakes);
        assert_int_equal(r, owner ? 0 : TH_E_CONFIG);
        if (!owner) {
            assert_string_equal(mistakes.items[0].path, "$.agents.a.auth.key_file");
            assert_non_null(strstr(mistakes.items[0].mend, "chmod 600"));
        }
        th_config_unref(config);
        th_config_mistakes_fini(&mistakes);
    }
    assert_int_equal(chmod(path, S_IRUSR | S_IWUSR), 0);
}

static void test_references(void **state)
{
    struct th_config *config = load(whole);
    assert_true(th_secret_bytes_held() > 0);
    assert_ptr_equal(th_config_ref(config), config);
    assert_null(th_config_unref(config));
    assert_str(th_config_get(config)->agents[0].name, "a1");
    assert_null(th_config_unref(config));
    assert_null(th_config_unref(NULL));
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void test_file(void **state)
{
    char path[300];
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    test_write_file(folder, "tokenhop.jsonc", minimal, 0644);
    snprintf(path, sizeof(path), "%s/tokenhop.jsonc", folder);
    assert_int_equal(th_config_load(path, &config, &mistakes), 0);
    assert_file(th_config_get(config)->agents[0].auth.key_file, "rsa.pem");
    th_config_unref(config);
    th_config_mistakes_fini(&mistakes);

    snprintf(path, sizeof(path), "%s/nowhere.jsonc", folder);
    assert_int_equal(th_config_load(path, &config, &mistakes), TH_E_CONFIG);
    assert_int_equal(mistakes.count, 1);
    assert_int_equal(mistakes.items[0].line, 0);
    assert_non_null(strstr(mistakes.items[0].what, "cannot be read: No such file"));
    th_config_mistakes_fini(&mistakes);
    assert_int_equal(th_config_load(folder, &config, &mistakes), TH_E_CONFIG);
    assert_non_null(strstr(mistakes.items[0].what, "Is a directory"));
    th_config_mistakes_fini(&mistakes);
}

static void test_large_file(void **state)
{
    char path[300];
    size_t len = ((size_t)4 << 20) + 1;
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    char *text = calloc(1, len + 1);
    memset(text, ' ', len);
    test_write_file(folder, "large.jsonc", text, 0644);
    snprintf(path, sizeof(path), "%s/large.jsonc", folder);
    assert_int_equal(th_config_load(path, &config, &mistakes), TH_E_CONFIG);
    assert_non_null(strstr(mistakes.items[0].what, "larger than 4 MiB"));
    th_config_mistakes_fini(&mistakes);
    free(text);
}

static int make_folder(void **state)
{
    char path[300];
    size_t len;
    folder = test_folder_new();
    test_write_pem(folder, "rsa.pem", 2048, NULL);
    test_write_jwk(folder, "sub/ec.jwk", 0, "P-256");
    test_write_pem(folder, "ec.pem", 0, "P-256");
    test_write_certificate(folder, "ca.pem");
    snprintf(path, sizeof(path), "%s/ec.pem", folder);
    char *pem = test_read_file(path, &len);
    setenv("TEST_AGENT_KEY", pem, 1);
    free(pem);
    return 0;
}

static int remove_folder(void **state)
{
    test_folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_servers),
        cmocka_unit_test(test_agents),      cmocka_unit_test(test_connections),
        cmocka_unit_test(test_one_leg),     cmocka_unit_test(test_rest),
        cmocka_unit_test(test_r14_version), cmocka_unit_test(test_r16_key_file_mode),
        cmocka_unit_test(test_methods),     cmocka_unit_test(test_algorithms),
        cmocka_unit_test(test_next_key),    cmocka_unit_test(test_references),
        cmocka_unit_test(test_file),        cmocka_unit_test(test_large_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
