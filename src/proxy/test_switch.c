/* Going over to another configuration: it arrives, however full the mailbox is, and the last one counts. */
#include "test_config.h"

#include "desk.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/net/init.h"

#define MAILBOX 4
#define PLACES 2

struct scene {
    struct th_config *first;
    struct th_proxy *proxy;
    struct th_worker *workers[PLACES];
    struct th_proxy_desk *desks[PLACES];
    unsigned n_delivered;
};

static const char text[] =
    TEST_CONFIG("\"connections\": [{\"name\": \"x\", \"url\": \"http://x.example.com/\","
                " \"type\": \"passthrough\", \"agents\": [\"agent1\"]}]");

static void open_scene(struct scene *scene)
{
    *scene = (struct scene){.first = test_config_load(text)};
    assert_int_equal(th_net_global_init(), 0);
    assert_int_equal(th_proxy_new(scene->first, &scene->proxy), 0);
    for (size_t i = 0; i < PLACES; i++) {
        struct th_worker_options options = {.index = (unsigned)i, .mailbox_size = MAILBOX};
        assert_int_equal(th_worker_new(&options, &scene->workers[i]), 0);
        struct th_proxy_desk_options desk = {.worker = scene->workers[i]};
        assert_int_equal(th_proxy_desk_new(scene->proxy, &desk, &scene->desks[i]), 0);
    }
}

/* As the service does it: the desks first, then the workers. */
static void close_scene(struct scene *scene)
{
    for (size_t i = 0; i < PLACES; i++)
        th_proxy_desk_free(scene->desks[i]);
    for (size_t i = 0; i < PLACES; i++)
        th_worker_free(scene->workers[i]);
    th_proxy_free(scene->proxy);
    th_config_unref(scene->first);
    th_net_global_fini();
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void on_message(struct th_worker *worker, const struct th_message *message)
{
    struct scene *scene = message->payload;
    scene->n_delivered++;
}

static void fill_mailboxes(struct scene *scene)
{
    const struct th_message message = {.fn = on_message, .payload = scene};
    for (size_t i = 0; i < PLACES; i++) {
        while (th_mailbox_post(scene->workers[i]->mailbox, &message) == 0)
            ;
        assert_int_equal(th_mailbox_post(scene->workers[i]->mailbox, &message), TH_E_OVERLOADED);
    }
}

static struct th_config *reload(struct scene *scene)
{
    struct th_config *config = test_config_load(text);
    struct th_snapshot_use *uses[PLACES];
    assert_int_equal(th_proxy_reload(scene->proxy, config, uses, PLACES), 0);
    for (size_t i = 0; i < PLACES; i++)
        th_proxy_desk_switch(scene->desks[i], uses[i]);
    return config;
}

static void turn(struct scene *scene)
{
    for (size_t i = 0; i < PLACES; i++)
        while (th_worker_turn(scene->workers[i]))
            ;
}

static void assert_all_on(const struct scene *scene, const struct th_config *config)
{
    for (size_t i = 0; i < PLACES; i++) {
        assert_ptr_equal(scene->desks[i]->current->snapshot->config, config);
        assert_ptr_equal(scene->desks[i]->listeners[0].agent,
                         th_config_get(config)->listeners[0].agent);
    }
}

static void a_full_mailbox_keeps_none_back(void **state)
{
    struct scene scene;
    open_scene(&scene);
    assert_all_on(&scene, scene.first);
    fill_mailboxes(&scene);
    struct th_config *second = reload(&scene);
    turn(&scene);
    assert_all_on(&scene, second);
    assert_int_equal(scene.n_delivered, PLACES * MAILBOX);
    th_config_unref(second);
    close_scene(&scene);
}

static void the_last_of_many_counts(void **state)
{
    struct scene scene;
    open_scene(&scene);
    fill_mailboxes(&scene);
    for (unsigned i = 0; i < 20; i++)
        th_config_unref(reload(&scene)); /* held by nobody but what is under way */
    struct th_config *last = reload(&scene);
    turn(&scene);
    assert_all_on(&scene, last);
    th_config_unref(reload(&scene));
    turn(&scene);
    th_config_unref(last);
    close_scene(&scene);
}

static void one_on_its_way_ends_with_the_desk(void **state)
{
    struct scene scene;
    open_scene(&scene);
    th_config_unref(reload(&scene));
    close_scene(&scene);
}

/* Whichever allocation fails: all go over, or none does. */
static void memory_may_run_short(void **state)
{
    struct scene scene;
    open_scene(&scene);
    struct th_config *config = test_config_load(text);
    int error = TH_E_NOMEM;
    unsigned n = 1;
    for (; error != 0 && n < 200; n++) {
        struct th_snapshot_use *uses[PLACES];
        th_mem_fail_after(n, 1);
        error = th_proxy_reload(scene.proxy, config, uses, PLACES);
        th_mem_fail_after(0, 0);
        if (error == 0)
            for (size_t i = 0; i < PLACES; i++)
                th_proxy_desk_switch(scene.desks[i], uses[i]);
        else
            assert_int_equal(error, TH_E_NOMEM);
        turn(&scene);
        assert_all_on(&scene, error == 0 ? config : scene.first);
    }
    assert_int_equal(error, 0);
    th_config_unref(config);
    close_scene(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_mailbox_keeps_none_back),
        cmocka_unit_test(the_last_of_many_counts),
        cmocka_unit_test(one_on_its_way_ends_with_the_desk),
        cmocka_unit_test(memory_may_run_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
