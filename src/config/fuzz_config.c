/* Any bytes as a configuration file: a snapshot that holds what the model promises, or mistakes that
 * a person can use; never a crash, a leak or a wait. Names of files lead to a folder made at start,
 * with keys and certificates under the names that the seeds use.
 *
 *     build/src/config/fuzz_config -dict=tests/fuzz/config.dict tests/fuzz/corpus/config */
#include <stdint.h>
#include <stdlib.h>

#include "source.h"
#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/config/load.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static char *folder; /* of the process */

static void remove_folder(void)
{
    test_folder_remove(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    folder = test_folder_new();
    test_write_pem(folder, "agent1.pem", 2048, NULL);
    test_write_pem(folder, "assistant.pem", 0, "P-256");
    test_write_jwk(folder, "ec.jwk", 0, "P-256");
    test_write_file(folder, "agent1.secret",
                    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", 0600);
    test_write_certificate(folder, "ca.pem");
    return atexit(remove_folder);
}

static void check_text(struct th_str text)
{
    TH_REQUIRE(text.ptr != NULL && text.len > 0 && memchr(text.ptr, '\0', text.len) == NULL);
}

static void check_pattern(const struct th_config_pattern *pattern)
{
    check_text(pattern->text);
    check_text(pattern->scheme);
    check_text(pattern->host);
    check_text(pattern->path);
    TH_REQUIRE(pattern->port > 0 && pattern->path.ptr[0] == '/');
    for (size_t i = 0; i < pattern->host.len; i++)
        TH_REQUIRE(pattern->host.ptr[i] > 0x20 &&
                   strchr("ABCXYZ@/\\", pattern->host.ptr[i]) == NULL);
}

static void check_auth(const struct th_config_auth *auth)
{
    bool has_key = auth->method == TH_AUTH_PRIVATE_KEY_JWT;
    if (has_key)
        check_text(auth->kid);
    TH_REQUIRE((auth->key != NULL) == has_key &&
               (auth->key == NULL || th_secret_len(auth->key) > 0));
    TH_REQUIRE((auth->secret != NULL) == (!has_key && auth->method != TH_AUTH_NONE));
    TH_REQUIRE(auth->secret == NULL || th_secret_len(auth->secret) > 0);
    if (auth->next != NULL)
        check_auth(auth->next);
}

static void check_agent(const struct th_config_agent *agent)
{
    check_text(agent->name);
    check_text(agent->client_id);
    check_auth(&agent->auth);
    TH_REQUIRE(agent->server != NULL && agent->n_subject_issuers > 0);
    for (size_t i = 0; i < agent->n_subject_issuers; i++)
        TH_REQUIRE(agent->subject_issuers[i] != NULL);
    for (size_t i = 0; i < agent->n_registrations; i++) {
        TH_REQUIRE(agent->registrations[i].server != NULL);
        check_auth(&agent->registrations[i].auth);
    }
}

static void check_connection(const struct th_config_connection *connection)
{
    check_text(connection->name);
    TH_REQUIRE(connection->n_patterns > 0 && connection->n_agents > 0);
    if (connection->type == TH_TYPE_AGENT_TO_AGENT ||
        connection->type == TH_TYPE_AUTHORIZATION_SERVER) {
        TH_REQUIRE(connection->server != NULL);
        check_text(connection->audience);
    } else {
        TH_REQUIRE(connection->server == NULL && connection->n_scopes == 0);
        check_text(connection->resource);
    }
    check_text(connection->inject.header);
    TH_REQUIRE((connection->inject.scheme == TH_INJECT_TEMPLATE) ==
               (connection->inject.n_parts > 0));
    for (size_t i = 0; i < connection->n_patterns; i++)
        check_pattern(&connection->patterns[i]);
    for (size_t i = 0; i < connection->n_agents; i++)
        TH_REQUIRE(connection->agents[i] != NULL);
    for (size_t i = 0; i < connection->n_scopes; i++)
        check_text(connection->scopes[i]);
    for (size_t i = 0; i < connection->n_subject_issuers; i++)
        TH_REQUIRE(connection->subject_issuers[i] != NULL);
    for (size_t i = 0; i < connection->n_public_paths; i++)
        check_text(connection->public_paths[i]);
}

static void check_view(const struct th_config_view *view)
{
    TH_REQUIRE(view->n_listeners > 0 && view->n_agents > 0 && view->n_servers > 0);
    TH_REQUIRE(view->workers > 0);
    for (size_t i = 0; i < view->n_listeners; i++)
        TH_REQUIRE(view->listeners[i].agent != NULL && view->listeners[i].address_len > 0);
    for (size_t i = 0; i < view->n_servers; i++) {
        check_text(view->servers[i].issuer);
    }
    for (size_t i = 0; i < view->n_agents; i++)
        check_agent(&view->agents[i]);
    for (size_t i = 0; i < view->n_connections; i++)
        check_connection(&view->connections[i]);
    for (size_t i = 0; i < view->n_unmatched_rules; i++)
        check_pattern(&view->unmatched_rules[i].pattern);
}

static void check_mistakes(const struct th_config_mistakes *mistakes)
{
    TH_REQUIRE(mistakes->count > 0);
    for (size_t i = 0; i < mistakes->count; i++) {
        const struct th_config_mistake *m = &mistakes->items[i];
        TH_REQUIRE(m->line > 0 && m->column > 0 && m->path[0] == '$' && m->what[0] != '\0');
        TH_REQUIRE(i == 0 || m->line >= m[-1].line);
        for (const char *c = m->what; *c != '\0'; c++)
            TH_REQUIRE((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}

/* jansson reads the text as we do, but for our limits; and it passes over NUL bytes. */
static void check_against_jansson(struct th_str text)
{
    struct th_source source;
    json_t *ours = NULL;
    if (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL)
        return;
    th_source_init(&source, text);
    int r = th_source_scan(&source);
    if (r == 0)
        r = th_source_to_json(&source, &ours);
    bool limited = r < 0 && (strstr(source.error_what, "nested") != NULL ||
                             strstr(source.error_what, "too many") != NULL ||
                             strstr(source.error_what, "larger than 4") != NULL);
    if (source.copy != NULL && !limited) {
        json_t *theirs =
            json_loadb(source.blanked, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
        TH_REQUIRE((ours != NULL) == (theirs != NULL));
        TH_REQUIRE(ours == NULL || json_equal(ours, theirs));
        json_decref(theirs);
    }
    json_decref(ours);
    th_source_fini(&source);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    struct th_str text = {(const char *)bytes, len};
    check_against_jansson(text);
    int r = th_config_load_text(text, folder, &config, &mistakes);
    if (r == 0) {
        TH_REQUIRE(mistakes.count == 0);
        check_view(th_config_get(config));
    } else {
        TH_REQUIRE(r == TH_E_CONFIG && config == NULL);
        check_mistakes(&mistakes);
    }
    th_config_unref(config);
    th_config_mistakes_fini(&mistakes);
    TH_REQUIRE(th_secret_bytes_held() == 0);
    return 0;
}
