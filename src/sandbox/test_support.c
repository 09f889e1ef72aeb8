#include "test_support.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tokenhop/base/check.h"

int test_world_setup(void **state)
{
    static const char *const urls[TH_RESOURCE_COUNT] = {
        TEST_URL_AGENT1, TEST_URL_AGENT2, TEST_URL_AGENT3, TEST_URL_API, "https://store.test"};
    struct th_errinfo info = {0};
    struct test_world *world = calloc(1, sizeof *world);
    if (world == NULL)
        return -1;
    snprintf(world->folder, sizeof world->folder, "/tmp/tokenhop-test-XXXXXX");
    if (mkdtemp(world->folder) == NULL ||
        th_registry_init(&world->registry, world->folder, TEST_BASE, urls, &info) != 0) {
        fprintf(stderr, "%s: %s\n", info.where, info.what);
        return -1;
    }
    th_clock_init_fake(&world->clock, TEST_NOW_MS);
    assert_int_equal(th_idp_init(&world->idp, &world->registry, &world->clock), 0);
    *state = world;
    return 0;
}

int test_world_teardown(void **state)
{
    struct test_world *world = *state;
    th_idp_fini(&world->idp);
    th_registry_fini(&world->registry, true);
    rmdir(world->folder);
    free(world);
    return 0;
}

int test_world_reset(void **state)
{
    struct test_world *world = *state;
    th_clock_init_fake(&world->clock, TEST_NOW_MS);
    th_idp_reset(&world->idp);
    th_sandbox_settings_init(&world->idp.settings);
    return 0;
}

static void apply(json_t *object, const json_t *changes)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)changes, name, value)
    {
        if (json_is_null(value))
            json_object_del(object, name);
        else
            json_object_set(object, name, value);
    }
}

static char *sign(const struct th_key *key, enum th_alg alg, const char *kid, const char *typ,
                  json_t *claims)
{
    struct th_secret *token = NULL;
    assert_int_equal(th_jwt_sign(key, alg, th_str_of(kid), th_str_of(typ), claims, &token), 0);
    json_decref(claims);
    char *copy = strdup(th_secret_expose(token).ptr);
    th_secret_unref(token);
    assert_non_null(copy);
    return copy;
}

char *test_make_assertion(struct test_world *world, enum th_world_client client,
                          const char *audience, const char *patch, const struct th_key *signer)
{
    char jti[32];
    const struct th_registry_client *who = &world->registry.clients[client];
    const struct th_registry_key *key = &who->keys[0];
    json_int_t now = (json_int_t)(th_clock_wall_ms(&world->clock) / 1000);
    json_t *changes = json_loads(patch != NULL ? patch : "{}", 0, NULL);
    json_t *header = json_object_get(changes, "header");
    const char *kid = json_string_value(json_object_get(header, "kid"));
    const char *typ = json_string_value(json_object_get(header, "typ"));
    /* Within one test the number of assertions seen grows, so that the jti is fresh. */
    snprintf(jti, sizeof jti, "jti-%zu", th_ledger_count(&world->idp.assertions));
    json_t *claims =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "iss", who->row->client_id, "sub",
                  who->row->client_id, "aud", audience, "jti", jti, "iat", now, "exp", now + 60);
    assert_non_null(claims);
    assert_non_null(changes);
    apply(claims, json_object_get(changes, "claims"));
    char *token = sign(signer != NULL ? signer : key->key, key->alg, kid != NULL ? kid : key->kid,
                       typ != NULL ? typ : "", claims);
    json_decref(changes);
    return token;
}

char *test_make_token(struct test_world *world, enum th_world_server server, const char *typ,
                      json_t *claims)
{
    const struct th_registry_key *key = &world->registry.servers[server].signing;
    assert_non_null(claims);
    return sign(key->key, key->alg, key->kid, typ, claims);
}

static char *patched_token(struct test_world *world, enum th_world_server server, json_t *claims,
                           const char *patch)
{
    json_t *changes = json_loads(patch != NULL ? patch : "{}", 0, NULL);
    assert_non_null(changes);
    apply(claims, changes);
    json_decref(changes);
    return test_make_token(world, server, "", claims);
}

char *test_make_id_token(struct test_world *world, const char *patch)
{
    json_int_t now = (json_int_t)(th_clock_wall_ms(&world->clock) / 1000);
    return patched_token(world, TH_SERVER_ORG,
                         json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", TEST_BASE, "sub",
                                   th_world_users[TH_USER_ALICE].id, "aud",
                                   th_world_clients[TH_CLIENT_AGENT1].client_id, "iat", now, "exp",
                                   now + 3600),
                         patch);
}

char *test_make_access_token(struct test_world *world, const char *patch)
{
    json_int_t now = (json_int_t)(th_clock_wall_ms(&world->clock) / 1000);
    const char *service = th_world_clients[TH_CLIENT_SERVICE].client_id;
    return patched_token(world, TH_SERVER_AUS1,
                         json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "iss",
                                   TEST_BASE "/oauth2/aus1", "sub", service, "cid", service, "aud",
                                   TEST_URL_AGENT1, "iat", now, "exp", now + 3600),
                         patch);
}

static void add_escaped(struct th_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                     (*text >= '0' && *text <= '9') || strchr("-._~", *text) != NULL;
        if (plain)
            th_buf_add_char(out, *text);
        else
            th_buf_printf(out, "%%%02X", (unsigned char)*text);
    }
}

char *test_make_body(const char *first, ...)
{
    struct th_buf body;
    va_list list;
    th_buf_init(&body, 1024 * 1024);
    va_start(list, first);
    for (const char *name = first; name != NULL; name = va_arg(list, const char *)) {
        const char *value = va_arg(list, const char *);
        if (value == NULL)
            continue;
        if (body.len > 0)
            th_buf_add_char(&body, '&');
        add_escaped(&body, name);
        th_buf_add_char(&body, '=');
        add_escaped(&body, value);
    }
    va_end(list);
    assert_false(body.failed);
    char *copy = strdup(body.ptr);
    th_buf_fini(&body);
    assert_non_null(copy);
    return copy;
}

char *test_make_basic(const char *client_id, const struct th_secret *secret)
{
    struct th_buf pair;
    char text[1024] = "Basic ";
    th_buf_init_secret(&pair, 512);
    add_escaped(&pair, client_id);
    th_buf_add_char(&pair, ':');
    add_escaped(&pair, th_secret_expose(secret).ptr);
    assert_false(pair.failed);
    (void)EVP_EncodeBlock((unsigned char *)text + 6, (const unsigned char *)pair.ptr,
                          (int)pair.len);
    th_buf_fini(&pair);
    char *copy = strdup(text);
    assert_non_null(copy);
    return copy;
}

struct th_idp_answer test_post(struct test_world *world, enum th_world_server server,
                               const char *body)
{
    struct th_idp_answer answer;
    struct th_idp_request request = {
        .server = &world->registry.servers[server],
        .endpoint = TH_ENDPOINT_TOKEN,
        .method = TH_STR("POST"),
        .content_type = TH_STR("application/x-www-form-urlencoded"),
        .body = th_str_of(body),
    };
    th_idp_handle(&world->idp, &request, &answer);
    return answer;
}

void test_expect(struct th_idp_answer *answer, int status, const char *error, const char *reason)
{
    const char *said = json_string_value(json_object_get(answer->body, "error"));
    if (reason == NULL && answer->reason != NULL)
        fail_msg("refused: %s", answer->reason);
    if (reason != NULL && answer->reason == NULL)
        fail_msg("granted, where %s was expected", reason);
    if (reason != NULL)
        assert_string_equal(answer->reason, reason);
    if (error != NULL) {
        assert_non_null(said);
        assert_string_equal(said, error);
    } else {
        assert_null(said);
    }
    assert_int_equal(answer->status, status);
    th_idp_answer_fini(answer);
}
