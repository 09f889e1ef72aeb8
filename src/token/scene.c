#include "scene.h"

#include <stdio.h>

#include "tokenhop/config/load.h"

struct th_directory *directory_of(const char *text)
{
    struct th_config *config = NULL;
    struct th_config_mistakes mistakes = {0};
    struct th_directory *directory;
    int error = th_config_load_text(th_str_of(text), ".", &config, &mistakes);
    if (error != 0)
        th_config_mistakes_print(&mistakes, "test", stderr);
    th_config_mistakes_fini(&mistakes);
    assert_int_equal(error, 0);
    assert_int_equal(th_directory_new(config, &directory), 0);
    th_config_unref(config);
    return directory;
}

void scene_force(struct scene *scene, const char *config, struct th_dropped *ret_dropped,
                 size_t n_expected)
{
    th_directory_unref(scene->directory);
    scene->directory = directory_of(config);
    assert_int_equal(th_broker_set_directory(scene->house.broker, scene->directory, ret_dropped),
                     n_expected);
}

struct th_broker_request scene_request(const struct th_directory *directory, const char *connection,
                                       size_t agent, const char *subject)
{
    struct th_config *config = th_directory_config(directory);
    const struct th_config_view *view = th_config_get(config);
    struct th_broker_request request = {.config = config, .subject_token = th_str_of(subject)};
    for (size_t i = 0; i < view->n_connections; i++)
        if (th_str_equal(view->connections[i].name, th_str_of(connection)))
            request.connection = &view->connections[i];
    assert_non_null(request.connection);
    request.agent = request.connection->agents[agent];
    th_broker_scope(request.agent, request.connection, request.key.scope);
    th_broker_digest(request.subject_token, request.key.subject);
    return request;
}

static void on_told(struct th_broker_waiter *waiter, struct th_credential *credential,
                    struct th_refusal *refusal)
{
    struct asker *asker = (struct asker *)waiter;
    asker->n_told++;
    asker->error = refusal != NULL ? refusal->error : 0;
    if (credential != NULL)
        (void)snprintf(asker->value, sizeof asker->value, "%.*s",
                       TH_STR_ARGS(th_secret_expose(credential->value)));
}

int scene_ask(struct scene *scene, const struct th_directory *directory, const char *connection,
              size_t agent, const char *subject, struct asker *asker)
{
    struct th_broker_request request = scene_request(directory, connection, agent, subject);
    struct th_credential *credential;
    struct th_refusal *refusal;
    *asker = (struct asker){.waiter.fn = on_told};
    int error = th_broker_get(scene->house.desks[0], &request, INT64_MAX, &asker->waiter,
                              &credential, &asker->state, &refusal);
    if (credential != NULL)
        (void)snprintf(asker->value, sizeof asker->value, "%.*s",
                       TH_STR_ARGS(th_secret_expose(credential->value)));
    th_credential_unref(credential);
    th_refusal_unref(refusal);
    return error;
}

void scene_fill(struct scene *scene, const char *connection, size_t agent, const char *subject)
{
    struct asker asker;
    struct th_exchange_result result = result_of_token(130000);
    char token[64];
    (void)snprintf(token, sizeof token, "%s.%zu.%s", connection, agent + 1, subject);
    assert_int_equal(scene_ask(scene, scene->directory, connection, agent, subject, &asker),
                     TH_AGAIN);
    office_end_all(&scene->house.offices[0], &result, token);
    assert_int_equal(asker.n_told, 1);
}

void scene_open(struct scene *scene)
{
    static const char *const connections[] = {"one", "two"}, *const subjects[] = {"alice", "bob"};
    *scene = (struct scene){.directory = NULL};
    house_open(&scene->house, NULL);
    scene_force(scene, USUAL, NULL, 0);
    for (size_t i = 0; i < 8; i++)
        scene_fill(scene, connections[i & 1], i >> 1 & 1, subjects[i >> 2]);
    assert_int_equal(house_count(&scene->house).entries, 8);
}

void scene_close(struct scene *scene)
{
    th_directory_unref(scene->directory);
    house_close(&scene->house);
    assert_int_equal(th_secret_bytes_held(), 0);
}

bool scene_has(struct scene *scene, const char *connection, size_t agent, const char *subject)
{
    struct asker asker;
    int error = scene_ask(scene, scene->directory, connection, agent, subject, &asker);
    th_broker_leave(&asker.waiter);
    return error == 0;
}
