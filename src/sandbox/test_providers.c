/* The servers that are not Okta's: for each a request that is right, and what must be refused of it. */
#include <stdlib.h>

#include "test_providers_rows.h"
#include "tokenhop/base/check.h"

static json_t *parse(const char *text)
{
    char *copy = strdup(text);
    assert_non_null(copy);
    for (char *at = copy; *at != '\0'; at++)
        *at = *at == '\'' ? '"' : *at;
    json_error_t why;
    json_t *object = json_loads(copy, 0, &why);
    if (object == NULL)
        fail_msg("%s: %s", why.text, copy);
    free(copy);
    return object;
}

static const struct base_row *find_base(const char *name)
{
    for (size_t i = 0; i < TH_COUNT_OF(bases); i++) {
        if (strcmp(bases[i].name, name) == 0)
            return &bases[i];
    }
    fail_msg("no base %s", name);
    return NULL;
}

/* Of alice, for agent1 as the asked server knows it. */
static char *make_token(struct test_world *world, enum th_world_server asked, const json_t *patch)
{
    char jti[32];
    const char *name = json_string_value(json_object_get(patch, "$server"));
    const char *typ = json_string_value(json_object_get(patch, "$typ"));
    const struct th_registry_server *server =
        name != NULL ? th_registry_find_server(&world->registry, th_str_of(name))
                     : &world->registry.servers[asked];
    const struct th_provider_row *provider = th_world_providers[asked];
    const struct th_registered_row *row = &provider->clients[0];
    bool id = json_is_true(json_object_get(patch, "$id"));
    const char *aud = id ? row->client_id : row->audience;
    const char *member;
    json_t *value;
    assert_non_null(server);
    snprintf(jti, sizeof jti, "%08lx", random());
    json_int_t now = TEST_NOW_MS / 1000;
    json_t *claims = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "iss", server->issuer, "sub",
                               "00u1alicesandbox0001", "jti", jti, "aud", aud != NULL ? aud : "",
                               "iat", now, "exp", now + 600);
    json_object_foreach((json_t *)patch, member, value)
    {
        if (json_is_null(value))
            json_object_del(claims, member);
        else if (member[0] != '$')
            json_object_set(claims, member, value);
    }
    return test_make_token(world, (enum th_world_server)(server - world->registry.servers),
                           typ != NULL ? typ : "", claims);
}

static void add_pair(struct th_buf *body, const char *name, const char *value)
{
    char *pair = test_make_body(name, value, NULL);
    th_buf_printf(body, "%s%s", body->len > 0 ? "&" : "", pair);
    free(pair);
}

static void add_member(struct test_world *world, enum th_world_server server, struct th_buf *body,
                       const char *name, const json_t *value)
{
    if (json_is_string(value))
        add_pair(body, name, json_string_value(value));
    for (size_t i = 0; i < json_array_size(value); i++)
        add_pair(body, name, json_string_value(json_array_get(value, i)));
    if (json_is_object(value)) {
        char *token = make_token(world, server, value);
        add_pair(body, name, token);
        free(token);
    }
}

/* Whatever agent1's registration wants, unless the form has it. *ret_header is freed by the caller. */
static void authenticate(struct test_world *world, enum th_world_server server, const json_t *form,
                         struct th_buf *body, char **ret_header)
{
    const struct th_registry_server *at = &world->registry.servers[server];
    const struct th_registry_registration *own = &at->registrations[0];
    char patch[256], *assertion;
    *ret_header = NULL;
    if (own->client == NULL)
        return;
    switch (own->row->method) {
    case TH_CLIENT_BY_KEY:
        snprintf(patch, sizeof patch, "{\"claims\":{\"iss\":\"%s\",\"sub\":\"%s\"}}",
                 own->row->client_id, own->row->client_id);
        assertion = test_make_assertion(world, TH_CLIENT_AGENT1, at->token_url, patch, NULL);
        add_pair(body, "client_assertion_type", TH_ASSERTION_TYPE);
        add_pair(body, "client_assertion", assertion);
        free(assertion);
        return;
    case TH_CLIENT_BY_BASIC:
        *ret_header = test_make_basic(own->row->client_id, own->secret);
        return;
    case TH_CLIENT_BY_POST:
    case TH_CLIENT_BY_NOTHING:
        if (json_object_get(form, "client_id") == NULL)
            add_pair(body, "client_id", own->row->client_id);
        if (own->secret != NULL && json_object_get(form, "client_secret") == NULL)
            add_pair(body, "client_secret", th_secret_expose(own->secret).ptr);
        return;
    case TH_CLIENT_BY_SECRET_JWT:
    case TH_CLIENT_BY_TLS:
    case TH_CLIENT_BY_CERTIFICATE:
        break;
    }
    fail_msg("agent1 is not registered so");
}

static struct th_idp_answer post(struct test_world *world, const char *base_name,
                                 const char *change)
{
    const struct base_row *base = find_base(base_name);
    json_t *form = parse(base->form);
    json_t *patch = parse(change != NULL ? change : "{}");
    struct th_buf body;
    const char *name;
    json_t *value;
    char *header = NULL;
    json_object_update(form, patch);
    th_buf_init_secret(&body, 65536);
    json_object_foreach(form, name, value) add_member(world, base->server, &body, name, value);
    authenticate(world, base->server, form, &body, &header);
    assert_false(body.failed);
    struct th_idp_request request = {
        .server = &world->registry.servers[base->server],
        .endpoint = TH_ENDPOINT_TOKEN,
        .method = TH_STR("POST"),
        .content_type = TH_STR("application/x-www-form-urlencoded"),
        .authorization = th_str_of(header),
        .body = th_buf_str(&body),
    };
    struct th_idp_answer answer;
    th_idp_handle(&world->idp, &request, &answer);
    th_buf_fini(&body);
    free(header);
    json_decref(patch);
    json_decref(form);
    return answer;
}

static void checks_every_part(void **state)
{
    struct test_world *world = *state;
    for (size_t i = 0; i < TH_COUNT_OF(changes); i++) {
        const struct change_row *row = &changes[i];
        print_message("  %s %s\n", row->base, row->change != NULL ? row->change : "as it is");
        struct th_idp_answer answer = post(world, row->base, row->change);
        test_expect(&answer, row->status, row->error, row->reason);
    }
}

/* The claims of what was issued; the answer's other members are checked by the caller. */
static json_t *claims_of(const struct th_idp_answer *answer)
{
    struct th_jwt jwt = {0};
    const char *token = json_string_value(json_object_get(answer->body, "access_token"));
    assert_non_null(token);
    assert_int_equal(th_jwt_parse(th_str_of(token), &jwt), 0);
    json_t *claims = json_incref(jwt.claims);
    th_jwt_fini(&jwt);
    return claims;
}

static void expect_json(const json_t *value, const char *text)
{
    json_t *wanted = parse(text);
    char *said = json_dumps(value, JSON_ENCODE_ANY);
    if (!json_equal((json_t *)value, wanted))
        fail_msg("%s is not %s", said != NULL ? said : "nothing", text);
    free(said);
    json_decref(wanted);
}

static void answers_in_each_shape(void **state)
{
    struct test_world *world = *state;
    static const char *const common[] = {"iss", "sub", "jti", "iat", "exp"};
    for (size_t i = 0; i < TH_COUNT_OF(shapes); i++) {
        print_message("  %s\n", shapes[i].base);
        struct th_idp_answer answer = post(world, shapes[i].base, shapes[i].change);
        json_t *claims = claims_of(&answer);
        assert_string_equal(json_string_value(json_object_get(claims, "sub")),
                            "00u1alicesandbox0001");
        assert_string_equal(json_string_value(json_object_get(claims, "iss")),
                            world->registry.servers[find_base(shapes[i].base)->server].issuer);
        for (size_t k = 0; k < TH_COUNT_OF(common); k++)
            json_object_del(claims, common[k]);
        expect_json(claims, shapes[i].claims);
        json_object_del(answer.body, "access_token");
        expect_json(answer.body, shapes[i].body);
        json_decref(claims);
        th_idp_answer_fini(&answer);
    }
}

static void googles_tokens_are_opaque(void **state)
{
    struct test_world *world = *state;
    struct th_jwt jwt = {0};
    struct th_idp_answer answer = post(world, "google", NULL);
    struct th_str token = th_jwt_text(answer.body, "access_token");
    assert_true(token.len > 20);
    assert_int_not_equal(th_jwt_parse(token, &jwt), 0);
    th_jwt_fini(&jwt);
    assert_non_null(th_ledger_find(&world->idp.issued, &token, 1));
    th_idp_answer_fini(&answer);
}

/* The same bytes twice: once more is refused where that is the rule. */
static void an_assertion_is_good_once(void **state)
{
    struct test_world *world = *state;
    static const struct {
        const char *base, *assertion;
        bool twice;
    } rows[] = {
        {"bearer", "{'assertion':{'$server':'org','jti':'the same','aud':'" TEST_BASE "/bearer'}}",
         false},
        {"partner",
         "{'assertion':{'$server':'rfc8693','jti':'the same','aud':'" TEST_BASE "/partner/as'}}",
         false},
        {"id_jag",
         "{'assertion':{'$server':'org','$typ':'oauth-id-jag+jwt','jti':'the same','aud':'" TEST_BASE
         "/auth0/','client_id':'a0Agent1SandboxClientId000000001','scope':'orders.read'}}",
         true}, /* reference, 10: it may be presented again */
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        struct th_idp_answer answer = post(world, rows[i].base, rows[i].assertion);
        test_expect(&answer, 200, NULL, NULL);
        answer = post(world, rows[i].base, rows[i].assertion);
        if (rows[i].twice)
            test_expect(&answer, 200, NULL, NULL);
        else
            test_expect(&answer, 400, "invalid_grant", "assertion_used");
    }
    world->idp.settings.assertion_single_use = 0;
    struct th_idp_answer answer = post(world, rows[0].base, rows[0].assertion);
    test_expect(&answer, 200, NULL, NULL);
}

static void the_vault_wants_a_linked_account(void **state)
{
    struct test_world *world = *state;
    struct th_vault_item *item = th_vault_find(&world->idp.vault, TH_STR("agent1-linked"));
    item->grants[TH_USER_ALICE].consented = true;
    struct th_idp_answer answer = post(world, "vault", NULL);
    struct th_str token = th_jwt_text(answer.body, "access_token");
    assert_ptr_equal(th_vault_owner(&world->idp.vault, token), &th_world_users[TH_USER_ALICE]);
    assert_string_equal(th_jwt_text(answer.body, "issued_token_type").ptr, TH_TYPE_VAULT);
    th_idp_answer_fini(&answer);
    answer = post(world, "vault", "{'subject_token':{'sub':'00u2bobsandbox000002'}}");
    test_expect(&answer, 401, "federated_connection_refresh_token_not_found", "not_linked");
}

static void the_action_decides(void **state)
{
    struct test_world *world = *state;
    world->idp.settings.auth0_action = 1;
    struct th_idp_answer answer = post(world, "custom", NULL);
    test_expect(&answer, 400, "invalid_request", "action_invalid");
    world->idp.settings.auth0_action = 2;
    answer = post(world, "custom", NULL);
    test_expect(&answer, 403, "access_denied", "action_denied");
}

static void entra_says_what_it_wants(void **state)
{
    struct test_world *world = *state;
    world->idp.settings.entra_claims = 1;
    struct th_idp_answer answer = post(world, "entra", NULL);
    expect_json(json_object_get(answer.body, "error_codes"), "[50076]");
    assert_string_equal(th_jwt_text(answer.body, "suberror").ptr, "basic_action");
    assert_true(
        th_str_starts_with(th_jwt_text(answer.body, "error_description"), TH_STR("AADSTS50076: ")));
    json_t *claims = json_loads(th_jwt_text(answer.body, "claims").ptr, 0, NULL);
    assert_non_null(json_object_get(claims, "access_token"));
    json_decref(claims);
    test_expect(&answer, 400, "interaction_required", "claims_challenge");
    answer = post(world, "entra", "{'assertion':{'acrs':['c1']}}");
    test_expect(&answer, 200, NULL, NULL);
    world->idp.settings.entra_consent = 0;
    answer = post(world, "entra", "{'assertion':{'acrs':['c1']}}");
    expect_json(json_object_get(answer.body, "error_codes"), "[65001]");
    assert_string_equal(th_jwt_text(answer.body, "suberror").ptr, "consent_required");
    test_expect(&answer, 400, "invalid_grant", "consent_missing");
}

/* What one server issued is a subject or a credential at no other. */
static void okta_takes_no_tokens_of_others(void **state)
{
    struct test_world *world = *state;
    char *assertion =
        test_make_assertion(world, TH_CLIENT_AGENT1, TEST_BASE "/oauth2/v1/token", NULL, NULL);
    char *subject = make_token(world, TH_SERVER_KEYCLOAK, NULL);
    char *body = test_make_body("grant_type", TH_GRANT_EXCHANGE, "subject_token", subject,
                                "subject_token_type", TH_TYPE_ACCESS_TOKEN, "requested_token_type",
                                TH_TYPE_ID_JAG, "client_assertion_type", TH_ASSERTION_TYPE,
                                "client_assertion", assertion, NULL);
    struct th_idp_answer answer = test_post(world, TH_SERVER_ORG, body);
    test_expect(&answer, 400, "invalid_grant", "subject_issuer");
    free(body);
    free(subject);
    free(assertion);
}

/* An id and a secret of one server mean nothing at another. */
static void registrations_are_kept_apart(void **state)
{
    struct test_world *world = *state;
    struct th_str seen[2 * TH_SERVER_COUNT];
    size_t n = 0;
    for (size_t i = 0; i < TH_SERVER_COUNT; i++) {
        for (size_t k = 0; k < TH_REGISTRY_REGISTRATIONS; k++) {
            const struct th_secret *secret = world->registry.servers[i].registrations[k].secret;
            if (secret == NULL)
                continue;
            seen[n] = th_secret_expose(secret);
            for (size_t m = 0; m < n; m++)
                assert_false(th_str_equal(seen[m], seen[n]));
            n++;
        }
    }
    assert_true(n >= 6);
    struct th_idp_answer answer = post(world, "entra", "{'client_id':'wlp1agentsandbox0001'}");
    test_expect(&answer, 400, "unauthorized_client", "client_unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(checks_every_part, test_world_reset),
        cmocka_unit_test_setup(answers_in_each_shape, test_world_reset),
        cmocka_unit_test_setup(googles_tokens_are_opaque, test_world_reset),
        cmocka_unit_test_setup(an_assertion_is_good_once, test_world_reset),
        cmocka_unit_test_setup(the_vault_wants_a_linked_account, test_world_reset),
        cmocka_unit_test_setup(the_action_decides, test_world_reset),
        cmocka_unit_test_setup(entra_says_what_it_wants, test_world_reset),
        cmocka_unit_test_setup(okta_takes_no_tokens_of_others, test_world_reset),
        cmocka_unit_test_setup(registrations_are_kept_apart, test_world_reset),
    };
    return cmocka_run_group_tests(tests, test_world_setup, test_world_teardown);
}
