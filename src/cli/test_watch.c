/* Which files are looked at, when a change of one counts, and that one change counts once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tokenhop/base/check.h"
#include "tokenhop/config/load.h"
#include "watch.h"

#define LATER_MS 1000 /* after which a file is no longer just written */

static const char format[] =
    "{\"listeners\": [{\"name\": \"in\", \"address\": \"127.0.0.1:8080\", \"agent\": \"a\"}],\n"
    "\"authorization_servers\": {\"org\": {\"issuer\": \"https://example.okta.com\"}},\n"
    "\"agents\": {\"a\": {\"client_id\": \"c\", \"authorization_server\": \"org\",\n"
    "  \"auth\": {\"method\": \"client_secret_basic\", \"secret_file\": \"secret\"}}},\n"
    "\"connections\": [\n"
    "  {\"name\": \"x\", \"url\": \"https://x.example/\", \"agents\": [\"a\"],\n"
    "   \"type\": \"static\", \"value_file\": \"data/key\"}],\n"
    "\"files\": {\"watch\": \"%s\"}}";

struct scene {
    char folder[40];
    char main[64];
    struct th_clock clock;
    struct th_watch *watch;
};

static const char *path_of(const struct scene *scene, const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", scene->folder, name);
    return path;
}

/* In place, and never twice within the grain of the file system's clock. */
static void write_file(const struct scene *scene, const char *name, const char *text)
{
    usleep(20000);
    FILE *file = fopen(path_of(scene, name), "w");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0600), 0);
    fputs(text, file);
    fclose(file);
}

static void follow(struct scene *scene)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    if (th_config_load(scene->main, &config, &mistakes) != 0)
        th_config_mistakes_print(&mistakes, "test", stderr);
    assert_non_null(config);
    th_config_mistakes_fini(&mistakes);
    th_watch_follow(scene->watch, config);
    th_config_unref(config);
}

static void pass(struct scene *scene, int64_t ms)
{
    scene->clock.fake_monotonic_ms += ms;
    scene->clock.fake_wall_ms += ms;
}

static void open_scene(struct scene *scene, const char *interval)
{
    char text[2048];
    *scene = (struct scene){.folder = "/tmp/tokenhop-watch-XXXXXX"};
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->main, sizeof scene->main, "%s/config", scene->folder);
    assert_int_equal(mkdir(path_of(scene, "v1"), 0700), 0);
    assert_int_equal(mkdir(path_of(scene, "v2"), 0700), 0);
    assert_int_equal(symlink("v1", path_of(scene, "data")), 0);
    write_file(scene, "secret", "s");
    write_file(scene, "v1/key", "one");
    write_file(scene, "v2/key", "two");
    snprintf(text, sizeof text, format, interval);
    write_file(scene, "config", text);
    th_clock_init_fake(&scene->clock, th_clock_wall_ms(&th_clock_system));
    pass(scene, LATER_MS);
    assert_int_equal(th_watch_new(&scene->clock, scene->main, &scene->watch), 0);
    follow(scene);
}

static void close_scene(struct scene *scene)
{
    static const char *const names[] = {"secret", "v1/key", "v2/key", "v1", "v2", "data", "config"};
    th_watch_free(scene->watch);
    for (size_t i = 0; i < TH_COUNT_OF(names); i++)
        (void)remove(path_of(scene, names[i]));
    assert_int_equal(rmdir(scene->folder), 0);
    assert_int_equal(th_secret_bytes_held(), 0);
}

/* The name of what was written, looked for once after the interval; "" for nothing. */
static const char *look(struct scene *scene)
{
    static char name[64];
    struct th_str path;
    pass(scene, 2000);
    name[0] = '\0';
    if (!th_watch_look(scene->watch, &path))
        return name;
    th_watch_begin(scene->watch);
    snprintf(name, sizeof name, "%.*s", (int)(path.len - strlen(scene->folder) - 1),
             path.ptr + strlen(scene->folder) + 1);
    return name;
}

static void one_change_counts_once(void **state)
{
    struct scene scene;
    struct th_str path;
    open_scene(&scene, "2s");
    assert_string_equal(look(&scene), "");
    write_file(&scene, "secret", "t");
    assert_false(th_watch_look(scene.watch, &path)); /* not due */
    assert_int_equal(th_watch_due_in(scene.watch, 1000), 1000);
    assert_int_equal(th_watch_due_in(scene.watch, 60000), 2000);
    assert_string_equal(look(&scene), "secret");
    follow(&scene);
    assert_string_equal(look(&scene), "");
    /* Written while the configuration is loaded: that is another change. */
    write_file(&scene, "secret", "u");
    assert_string_equal(look(&scene), "secret");
    write_file(&scene, "secret", "v");
    th_watch_note_failure(scene.watch);
    assert_string_equal(look(&scene), "secret");
    close_scene(&scene);
}

static void links_are_followed(void **state)
{
    struct scene scene;
    open_scene(&scene, "2s");
    assert_int_equal(symlink("v2", path_of(&scene, "data.new")), 0);
    assert_int_equal(rename(path_of(&scene, "data.new"), path_of(&scene, "data")), 0);
    assert_string_equal(look(&scene), "data/key");
    follow(&scene);
    assert_string_equal(look(&scene), "");
    write_file(&scene, "v1/key", "three"); /* nobody's any more */
    assert_string_equal(look(&scene), "");
    close_scene(&scene);
}

static void what_could_not_be_used_waits_for_another_change(void **state)
{
    struct scene scene;
    open_scene(&scene, "2s");
    write_file(&scene, "config", "{}"); /* half of it, perhaps: nobody has asked for it */
    assert_string_equal(look(&scene), "");
    write_file(&scene, "secret", "");
    assert_string_equal(look(&scene), "secret");
    th_watch_note_failure(scene.watch);
    assert_string_equal(look(&scene), "");
    assert_string_equal(look(&scene), "");
    write_file(&scene, "secret", "s");
    assert_string_equal(look(&scene), "secret");
    th_watch_note_failure(scene.watch);
    assert_string_equal(look(&scene), "");
    write_file(&scene, "config", "{ }"); /* where the mistake was */
    assert_string_equal(look(&scene), "config");
    th_watch_note_failure(scene.watch);
    assert_string_equal(look(&scene), "");
    close_scene(&scene);
}

/* What is being written is waited for, in short steps and not for ever. */
static void a_file_in_change_is_given_a_moment(void **state)
{
    struct scene scene;
    struct th_str path;
    unsigned n = 0;
    open_scene(&scene, "2s");
    pass(&scene, 2000);
    write_file(&scene, "secret", "t");
    scene.clock.fake_wall_ms = th_clock_wall_ms(&th_clock_system);
    assert_false(th_watch_look(scene.watch, &path));
    assert_int_equal(th_watch_due_in(scene.watch, 1000), 250);
    pass(&scene, 250);
    write_file(&scene, "secret", "tt");
    scene.clock.fake_wall_ms = th_clock_wall_ms(&th_clock_system);
    assert_false(th_watch_look(scene.watch, &path));
    pass(&scene, 300);
    assert_true(th_watch_look(scene.watch, &path));
    follow(&scene);
    assert_int_equal(unlink(path_of(&scene, "secret")), 0);
    pass(&scene, 2000);
    while (!th_watch_look(scene.watch, &path)) {
        assert_int_equal(th_watch_due_in(scene.watch, 1000), 250);
        pass(&scene, 250);
        n++;
    }
    assert_int_equal(n, 8);
    th_watch_begin(scene.watch);
    th_watch_note_failure(scene.watch);
    assert_string_equal(look(&scene), "");
    write_file(&scene, "secret", "s");
    assert_string_equal(look(&scene), "secret");
    /* A file system whose clock is ahead of ours. */
    follow(&scene);
    write_file(&scene, "secret", "t");
    scene.clock.fake_wall_ms = 0;
    pass(&scene, 2000);
    assert_true(th_watch_look(scene.watch, &path));
    close_scene(&scene);
}

static void it_can_be_switched_off(void **state)
{
    struct scene scene;
    open_scene(&scene, "0s");
    write_file(&scene, "secret", "t");
    assert_string_equal(look(&scene), "");
    assert_int_equal(th_watch_due_in(scene.watch, 1000), 1000);
    close_scene(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_change_counts_once),
        cmocka_unit_test(links_are_followed),
        cmocka_unit_test(what_could_not_be_used_waits_for_another_change),
        cmocka_unit_test(a_file_in_change_is_given_a_moment),
        cmocka_unit_test(it_can_be_switched_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
