/* Token exchange for what is named by a resource alone (reference, sections 5 to 7, 9, 14). */
#include <stdio.h>
#include <stdlib.h>

#include "grants.h"
#include "test_support.h"
#include "tokenhop/base/check.h"

#define ORG_TOKEN TEST_BASE "/oauth2/v1/token"
#define ORG_REVOKE TEST_BASE "/oauth2/v1/revoke"

static const char *resource_of(const char *name)
{
    for (size_t i = 0; i < th_world_vault_count; i++) {
        if (strcmp(th_world_vault[i].name, name) == 0)
            return th_world_vault[i].resource;
    }
    fail_msg("no connection %s", name);
    return NULL;
}

static struct th_idp_answer ask(struct test_world *world, enum th_world_client client,
                                const char *subject, const char *type, const char *resource,
                                const char *audience, const char *scope)
{
    char *assertion = test_make_assertion(world, client, ORG_TOKEN, NULL, NULL);
    char *body = test_make_body("grant_type", TH_GRANT_EXCHANGE, "subject_token", subject,
                                "subject_token_type", TH_TYPE_ID_TOKEN, "requested_token_type",
                                type, "resource", resource, "audience", audience, "scope", scope,
                                "client_assertion_type", TH_ASSERTION_TYPE, "client_assertion",
                                assertion, NULL);
    struct th_idp_answer answer = test_post(world, TH_SERVER_ORG, body);
    free(body);
    free(assertion);
    return answer;
}

static const char *text_in(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static const struct vault_row {
    const char *name;
    const char *type;
    const char *connection; /* whose resource is asked for; NULL: `resource` */
    const char *resource;
    const char *audience, *scope;
    const char *error, *reason; /* NULL: granted */
} rows[] = {
    {"secret", TH_TYPE_VAULTED_SECRET, "agent1-weather"},
    {"account", TH_TYPE_ACCOUNT, "agent1-ledger"},
    {"consent first", TH_TYPE_OAUTH_STS, "agent1-code", NULL, NULL, NULL, "interaction_required",
     "interaction_required"},
    {"no resource", TH_TYPE_VAULTED_SECRET, NULL, NULL, NULL, NULL, "invalid_target",
     "resource_missing"},
    {"another agent's", TH_TYPE_VAULTED_SECRET, "agent2-weather", NULL, NULL, NULL,
     "invalid_target", "resource"},
    {"of another type", TH_TYPE_VAULTED_SECRET, "agent1-ledger", NULL, NULL, NULL, "invalid_target",
     "resource"},
    {"nobody's", TH_TYPE_ACCOUNT, NULL, "orn:okta:pam:none", NULL, NULL, "invalid_target",
     "resource"},
    {"audience", TH_TYPE_VAULTED_SECRET, "agent1-weather", NULL, TEST_BASE, NULL, "invalid_request",
     "not_for_this_type"},
    {"scope", TH_TYPE_OAUTH_STS, "agent1-code", NULL, NULL, "repo", "invalid_request",
     "not_for_this_type"},
    {"the typo of a page", "urn:okta:params:oauthtoken-type:oauth-sts", "agent1-code", NULL, NULL,
     NULL, "invalid_request", "requested_type"},
};

static void test_rows(void **state)
{
    struct test_world *world = *state;
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        const struct vault_row *row = &rows[i];
        char *subject = test_make_id_token(world, NULL);
        struct th_idp_answer answer =
            ask(world, TH_CLIENT_AGENT1, subject, row->type,
                row->connection != NULL ? resource_of(row->connection) : row->resource,
                row->audience, row->scope);
        print_message("%s\n", row->name);
        test_expect(&answer, row->error == NULL ? 200 : 400, row->error, row->reason);
        free(subject);
    }
}

static void test_answers(void **state)
{
    struct test_world *world = *state;
    char *subject = test_make_id_token(world, NULL);
    struct th_vault_item *item = th_vault_find(&world->idp.vault, TH_STR("agent1-weather"));
    struct th_idp_answer answer = ask(world, TH_CLIENT_AGENT1, subject, TH_TYPE_VAULTED_SECRET,
                                      item->row->resource, NULL, NULL);
    const json_t *object = json_object_get(answer.body, "vaulted_secret");
    assert_string_equal(text_in(answer.body, "issued_token_type"), TH_TYPE_VAULTED_SECRET);
    assert_string_equal(text_in(answer.body, "token_type"), "N_A");
    assert_int_equal(json_integer_value(json_object_get(answer.body, "expires_in")), 300);
    assert_string_equal(text_in(object, "api_key"), item->value);
    assert_true(json_is_null(json_object_get(object, "region")));
    assert_null(json_object_get(answer.body, "access_token"));
    th_idp_answer_fini(&answer);

    world->idp.settings.short_secret_names = 1;
    answer = ask(world, TH_CLIENT_AGENT1, subject, TH_TYPE_VAULTED_SECRET, item->row->resource,
                 NULL, NULL);
    assert_string_equal(text_in(answer.body, "issued_token_type"), TH_TYPE_SECRET_SHORT);
    assert_string_equal(text_in(json_object_get(answer.body, "secret"), "api_key"), item->value);
    th_idp_answer_fini(&answer);

    item = th_vault_find(&world->idp.vault, TH_STR("agent1-ledger"));
    answer =
        ask(world, TH_CLIENT_AGENT1, subject, TH_TYPE_ACCOUNT, item->row->resource, NULL, NULL);
    object = json_object_get(answer.body, "service_account");
    assert_string_equal(text_in(object, "username"), item->row->username);
    assert_string_equal(text_in(object, "password"), item->value);
    th_idp_answer_fini(&answer);
    free(subject);
}

static struct th_idp_answer ask_sts(struct test_world *world, const char *subject)
{
    return ask(world, TH_CLIENT_AGENT1, subject, TH_TYPE_OAUTH_STS, resource_of("agent1-code"),
               NULL, NULL);
}

static void revoke(struct test_world *world, enum th_world_client client, const char *token,
                   const char *hint)
{
    char *assertion = test_make_assertion(world, client, ORG_REVOKE, NULL, NULL);
    char *body = test_make_body("token", token, "token_type_hint", hint, "client_assertion_type",
                                TH_ASSERTION_TYPE, "client_assertion", assertion, NULL);
    struct th_idp_request request = {
        .server = &world->registry.servers[TH_SERVER_ORG],
        .endpoint = TH_ENDPOINT_REVOKE,
        .method = TH_STR("POST"),
        .content_type = TH_STR("application/x-www-form-urlencoded"),
        .body = th_str_of(body),
    };
    struct th_idp_answer answer;
    th_idp_handle(&world->idp, &request, &answer);
    test_expect(&answer, 200, NULL, NULL);
    free(body);
    free(assertion);
}

/* The token that is handed out now, in `ret_token`; "" where the user must consent. */
static void token_now(struct test_world *world, const char *subject, char ret_token[64])
{
    struct th_idp_answer answer = ask_sts(world, subject);
    snprintf(ret_token, 64, "%s", text_in(answer.body, "access_token"));
    th_idp_answer_fini(&answer);
}

static void test_consent(void **state)
{
    struct test_world *world = *state;
    struct th_vault *vault = &world->idp.vault;
    char *subject = test_make_id_token(world, NULL), first[64], again[64];
    struct th_idp_answer answer = ask_sts(world, subject);
    struct th_vault_grant *grant =
        &th_vault_find(vault, TH_STR("agent1-code"))->grants[TH_USER_ALICE];
    char uri[256], handle[64];
    snprintf(handle, sizeof handle, "%s", grant->handle);
    snprintf(uri, sizeof uri, TEST_BASE TH_STS_PAGE "?dataHandle=%s", handle);
    assert_int_equal(strlen(handle), 32);
    assert_string_equal(text_in(answer.body, "interaction_uri"), uri);
    assert_false(th_vault_consent(vault, TH_STR(""), TEST_NOW_MS));
    assert_false(th_vault_consent(vault, TH_STR("0123456789abcdef0123456789abcdef"), TEST_NOW_MS));
    assert_true(th_vault_consent(vault, th_str_of(handle), TEST_NOW_MS));
    assert_false(th_vault_consent(vault, th_str_of(handle), TEST_NOW_MS)); /* once */
    th_idp_answer_fini(&answer);
    token_now(world, subject, first);
    assert_true(first[0] != '\0');
    assert_ptr_equal(th_vault_owner(vault, th_str_of(first)), &th_world_users[TH_USER_ALICE]);
    token_now(world, subject, again);
    assert_string_equal(first, again); /* it stores one */
    /* another's, or without the hint: it stays */
    revoke(world, TH_CLIENT_AGENT2, first, "oauth_sts");
    revoke(world, TH_CLIENT_AGENT1, first, "access_token");
    token_now(world, subject, again);
    assert_string_equal(first, again);
    revoke(world, TH_CLIENT_AGENT1, first, "oauth_sts");
    assert_null(th_vault_owner(vault, th_str_of(first)));
    token_now(world, subject, again); /* silently */
    assert_true(again[0] != '\0' && strcmp(first, again) != 0);
    world->idp.settings.sts_keeps_consent = 0;
    revoke(world, TH_CLIENT_AGENT1, again, "oauth_sts");
    token_now(world, subject, again);
    assert_string_equal(again, "");
    free(subject);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_rows, test_world_reset),
        cmocka_unit_test_setup(test_answers, test_world_reset),
        cmocka_unit_test_setup(test_consent, test_world_reset),
    };
    return cmocka_run_group_tests(tests, test_world_setup, test_world_teardown);
}
