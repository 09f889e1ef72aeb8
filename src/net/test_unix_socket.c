/* Unix sockets: whose they are, when they are taken over and removed, and who is at the other end. */
#include "tokenhop/net/unix_socket.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_support.h"
#include "tokenhop/base/mem.h"

static char folder[] = "/tmp/tokenhop-unix-XXXXXX";

static int listen_at(const char *name, mode_t mode, gid_t group, struct th_unix_place *place)
{
    char path[256];
    struct th_errinfo info = {0};
    struct th_unix_options options = {path, mode, group, 8};
    int fd = -1;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    *place = (struct th_unix_place){0};
    int error = th_unix_listen(&options, &fd, place, &info);
    assert_true(error == 0 || info.what[0] != '\0');
    return error == 0 ? fd : error;
}

static struct stat look_at(const struct th_unix_place *place)
{
    struct stat st;
    assert_int_equal(lstat(place->path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    return st;
}

static void the_mode_is_what_was_asked_for(void **state)
{
    static const mode_t umasks[] = {0, 022, 077, 0777}, modes[] = {0600, 0660, 0666, 0777};
    for (size_t u = 0; u < 4; u++) {
        for (size_t m = 0; m < 4; m++) {
            struct th_unix_place place;
            mode_t before = umask(umasks[u]);
            int fd = listen_at("mode", modes[m], TH_UNIX_NO_GROUP, &place);
            umask(before);
            assert_true(fd >= 0);
            assert_int_equal(look_at(&place).st_mode & 07777, modes[m]);
            close(fd);
            th_unix_remove(&place);
            assert_int_not_equal(access(place.path, F_OK), 0);
        }
    }
}

static void the_group_is_what_was_asked_for(void **state)
{
    struct th_unix_place place;
    gid_t group = getuid() == 0 ? 4321 : getegid();
    int fd = listen_at("group", 0660, group, &place);
    assert_true(fd >= 0);
    assert_int_equal(look_at(&place).st_gid, group);
    assert_int_equal(look_at(&place).st_mode & 07777, 0660);
    close(fd);
    th_unix_remove(&place);
    assert_int_not_equal(access(place.path, F_OK), 0);
}

static void a_group_that_cannot_be_set_leaves_nothing(void **state)
{
    struct th_unix_place place;
    assert_int_equal(getuid(), 0); /* only root may be of other groups */
    assert_int_equal(setegid(0), 0);
    assert_int_equal(chmod(folder, 0777), 0);
    assert_int_equal(seteuid(12345), 0);
    int fd = listen_at("foreign", 0660, 4321, &place);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(fd, TH_E_IO);
    char path[256];
    snprintf(path, sizeof path, "%s/foreign", folder);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void a_live_one_is_left_and_a_stale_one_replaced(void **state)
{
    struct th_unix_place first, second;
    int fd = listen_at("stale", 0600, TH_UNIX_NO_GROUP, &first);
    assert_true(fd >= 0);
    assert_int_equal(listen_at("stale", 0600, TH_UNIX_NO_GROUP, &second), TH_E_IO);
    assert_int_equal(look_at(&first).st_ino, first.ino);
    close(fd);     /* as after a kill: the path stays */
    usleep(20000); /* the file system's clock is coarse */
    fd = listen_at("stale", 0600, TH_UNIX_NO_GROUP, &second);
    assert_true(fd >= 0);
    th_unix_remove(&first); /* ends late, and must not take what is another's */
    (void)look_at(&second);
    th_unix_remove(&second);
    assert_int_not_equal(access(second.path, F_OK), 0);
    close(fd);
}

static void what_is_no_socket_stays(void **state)
{
    struct th_unix_place place;
    char path[256], long_name[200];
    snprintf(path, sizeof path, "%s/file", folder);
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(listen_at("file", 0600, TH_UNIX_NO_GROUP, &place), TH_E_IO);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    /* A link is not followed: what it leads to is another's. */
    struct th_unix_place real;
    int fd = listen_at("real", 0600, TH_UNIX_NO_GROUP, &real);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(symlink(real.path, path), 0);
    assert_int_equal(listen_at("file", 0600, TH_UNIX_NO_GROUP, &place), TH_E_IO);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    th_unix_remove(&real);
    assert_int_equal(listen_at("no/such/folder", 0600, TH_UNIX_NO_GROUP, &place), TH_E_IO);
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(listen_at(long_name, 0600, TH_UNIX_NO_GROUP, &place), TH_E_IO);
}

static void who_is_there_is_told(void **state)
{
    int pair[2];
    struct th_unix_peer *peer;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(th_unix_peer_new(pair[0], &peer), 0);
    assert_int_equal(peer->pid, getpid());
    assert_int_equal(peer->uid, geteuid());
    assert_int_equal(peer->gid, getegid());
    assert_true(th_unix_peer_is_of_group(peer, getegid()));
    assert_false(th_unix_peer_is_of_group(peer, 987654));
    th_free(peer);
    close(pair[0]);
    close(pair[1]);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct th_unix_peer *none = NULL;
    int error = th_unix_peer_new(fd, &none);
    assert_true(error == TH_E_IO || (error == 0 && none->pid == 0)); /* nobody is there */
    th_free(none);
    close(fd);
}

/* More supplementary groups than the first try has room for; and none. */
static void groups_are_told_however_many(void **state)
{
    static const size_t counts[] = {0, 1, 31, 32, 33, 1000};
    assert_int_equal(getuid(), 0); /* only root may be of other groups */
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct th_unix_place place;
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        int fd = listen_at("groups", 0600, TH_UNIX_NO_GROUP, &place);
        assert_true(fd >= 0);
        memcpy(un.sun_path, place.path, sizeof un.sun_path);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            gid_t groups[1000];
            for (size_t g = 0; g < counts[i]; g++)
                groups[g] = (gid_t)(5000 + g);
            int client = socket(AF_UNIX, SOCK_STREAM, 0);
            _exit(setgroups(counts[i], groups) != 0 ||
                  connect(client, (struct sockaddr *)&un, sizeof un) != 0);
        }
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        int accepted = accept(fd, NULL, NULL); /* who has ended meanwhile is still known */
        assert_true(accepted >= 0);
        struct th_unix_peer *peer;
        assert_int_equal(th_unix_peer_new(accepted, &peer), 0);
        assert_int_equal(peer->pid, pid);
        assert_int_equal(peer->n_groups, counts[i]);
        for (size_t g = 0; g < counts[i]; g++)
            assert_true(th_unix_peer_is_of_group(peer, (gid_t)(5000 + g)));
        assert_false(th_unix_peer_is_of_group(peer, (gid_t)(5000 + counts[i])));
        th_free(peer);
        close(accepted);
        close(fd);
        th_unix_remove(&place);
    }
}

static int set_up(void **state)
{
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mode_is_what_was_asked_for),
        cmocka_unit_test(the_group_is_what_was_asked_for),
        cmocka_unit_test(a_group_that_cannot_be_set_leaves_nothing),
        cmocka_unit_test(a_live_one_is_left_and_a_stale_one_replaced),
        cmocka_unit_test(what_is_no_socket_stays),
        cmocka_unit_test(who_is_there_is_told),
        cmocka_unit_test(groups_are_told_however_many),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
