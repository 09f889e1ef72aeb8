/* A file's mark changes with whatever may have changed its content, and with nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tokenhop/base/file_mark.h"

static char folder[] = "/tmp/tokenhop-mark-XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static struct th_file_mark mark_of(const char *name)
{
    struct th_file_mark mark;
    th_file_mark_take(path_of(name), &mark);
    return mark;
}

static bool is_still(const char *name, const struct th_file_mark *before)
{
    struct th_file_mark now = mark_of(name);
    return th_file_mark_is_alike(before, &now);
}

/* Past the grain of a file system's clock. */
static void wait_a_tick(void)
{
    usleep(20000);
}

static void what_changes_a_mark(void **state)
{
    write_file("a", "one");
    struct th_file_mark mark = mark_of("a");
    assert_true(mark.exists);
    wait_a_tick();
    assert_true(is_still("a", &mark));
    FILE *file = fopen(path_of("a"), "r");
    assert_int_equal(fgetc(file), 'o');
    fclose(file);
    assert_true(is_still("a", &mark)); /* being read is nothing */

    write_file("a", "two"); /* in place, of the same length */
    assert_false(is_still("a", &mark));
    mark = mark_of("a");
    wait_a_tick();
    assert_int_equal(chmod(path_of("a"), 0600), 0); /* refused before, perhaps */
    assert_false(is_still("a", &mark));
    mark = mark_of("a");
    write_file("b", "two");
    assert_int_equal(rename(path_of("b"), path_of("a")), 0);
    assert_false(is_still("a", &mark));
    assert_int_equal(unlink(path_of("a")), 0);
    assert_false(mark_of("a").exists);
    struct th_file_mark none = mark_of("a");
    assert_true(is_still("a", &none));
}

/* As Kubernetes has it: a link to a folder is swapped, and no file is ever written. */
static void a_link_on_the_way_is_swapped(void **state)
{
    assert_int_equal(mkdir(path_of("v1"), 0700), 0);
    assert_int_equal(mkdir(path_of("v2"), 0700), 0);
    write_file("v1/key", "one");
    write_file("v2/key", "one");
    assert_int_equal(symlink("v1", path_of("data")), 0);
    assert_int_equal(symlink("data/key", path_of("key")), 0);
    struct th_file_mark mark = mark_of("key");
    assert_true(mark.exists);
    assert_int_equal(symlink("v2", path_of("data.new")), 0);
    assert_int_equal(rename(path_of("data.new"), path_of("data")), 0);
    assert_false(is_still("key", &mark));
}

static int make_folder(void **state)
{
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"key", "data", "v1/key", "v2/key", "v1", "v2"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)remove(path_of(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_changes_a_mark),
        cmocka_unit_test(a_link_on_the_way_is_swapped),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
