/* What a request must show, row by row; and who may take the place of a socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin_private.h"
#include "test_config.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/http/http1.h"

#define TOKEN "0123456789abcdef0123456789abcdef"
#define HOST "Host: localhost:9901\r\n"

static struct th_config *open_config, *token_config;

static int check(struct th_config *config, const char *text, bool is_probe)
{
    struct th_field fields[32];
    struct th_head head = {.fields = fields, .max_fields = 32};
    static const struct th_http1_limits limits = {8192, 32};
    size_t scanned = 0;
    const char *why = NULL;

    if (th_http1_parse_request(&head, text, strlen(text), &scanned, &limits) != 0)
        fail_msg("the test's own request is wrong: %s", text);
    struct th_admin_request request = {.config = config, .head = &head};
    int status = th_guard_check(&request, is_probe, &why);
    assert_true((status == 0) == (why == NULL));
    return status;
}

static void without_a_token(void **state)
{
    static const struct {
        const char *request;
        int status;
        int probe; /* the same of a probe */
    } rows[] = {
        {"GET /x HTTP/1.1\r\n" HOST "\r\n", 0, 0},
        {"HEAD /x HTTP/1.1\r\n" HOST "\r\n", 0, 0},
        {"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 0, 0},
        {"GET /x HTTP/1.1\r\nHost: 127.8.9.1:80\r\n\r\n", 0, 0},
        {"GET /x HTTP/1.1\r\nHost: [::1]:9901\r\n\r\n", 0, 0},
        {"GET /x HTTP/1.0\r\n\r\n", 0, 0},
        /* DNS rebinding: the name of another site */
        {"GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, 0},
        {"GET /x HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 403, 0},
        {"GET /x HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", 403, 0},
        {"GET /x HTTP/1.1\r\nHost: 10.0.0.1:9901\r\n\r\n", 403, 0},
        {"GET /x HTTP/1.1\r\nHost: [::2]:9901\r\n\r\n", 403, 0},
        /* cross-site, by every sign of it */
        {"GET /x HTTP/1.1\r\n" HOST "Origin: https://evil.example\r\n\r\n", 403, 403},
        {"GET /x HTTP/1.1\r\n" HOST "Origin: null\r\n\r\n", 403, 403},
        {"GET /x HTTP/1.1\r\n" HOST "Origin: http://localhost:9901\r\n\r\n", 403, 403},
        {"GET /x HTTP/1.1\r\n" HOST "Sec-Fetch-Site: cross-site\r\n\r\n", 403, 403},
        {"GET /x HTTP/1.1\r\n" HOST "Sec-Fetch-Site: same-site\r\n\r\n", 403, 403},
        {"GET /x HTTP/1.1\r\n" HOST "Sec-Fetch-Site: same-origin\r\n\r\n", 0, 0},
        {"GET /x HTTP/1.1\r\n" HOST "sec-fetch-site: none\r\n\r\n", 0, 0},
        /* what changes something */
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 403, 0},
        {"POST /x HTTP/1.1\r\n" HOST "X-Tokenhop-Admin: 1\r\nContent-Length: 0\r\n\r\n", 0, 0},
        {"POST /x HTTP/1.1\r\n" HOST "X-Tokenhop-Admin: 1\r\nOrigin: null\r\n\r\n", 403, 403},
        {"DELETE /x HTTP/1.1\r\n" HOST "\r\n", 403, 0},
        {"OPTIONS /x HTTP/1.1\r\n" HOST "\r\n", 403, 0},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        if (check(open_config, rows[i].request, false) != rows[i].status)
            fail_msg("row %zu: %s", i, rows[i].request);
        if (check(open_config, rows[i].request, true) != rows[i].probe)
            fail_msg("row %zu as a probe: %s", i, rows[i].request);
    }
}

static void with_a_token(void **state)
{
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {"GET /x HTTP/1.1\r\n" HOST "Authorization: Bearer " TOKEN "\r\n\r\n", 0},
        {"GET /x HTTP/1.1\r\n" HOST "authorization: bearer  " TOKEN "\r\n\r\n", 0},
        {"GET /x HTTP/1.1\r\nHost: admin.example\r\nAuthorization: Bearer " TOKEN "\r\n\r\n", 0},
        {"GET /x HTTP/1.1\r\n" HOST "\r\n", 401},
        {"GET /x HTTP/1.1\r\n" HOST "Authorization: Bearer \r\n\r\n", 401},
        {"GET /x HTTP/1.1\r\n" HOST "Authorization: Bearer\r\n\r\n", 401},
        {"GET /x HTTP/1.1\r\n" HOST "Authorization: " TOKEN "\r\n\r\n", 401},
        {"GET /x HTTP/1.1\r\n" HOST "Authorization: Basic " TOKEN "\r\n\r\n", 401},
        {"GET /x HTTP/1.1\r\n" HOST "Authorization: Bearer " TOKEN "x\r\n\r\n", 401},
        {"GET /x HTTP/1.1\r\n" HOST "Authorization: Bearer 0123456789abcdef\r\n\r\n", 401},
        {"GET /x HTTP/1.1\r\n" HOST "Authorization: Bearer " TOKEN "\r\n"
         "Authorization: Bearer " TOKEN "\r\n\r\n",
         401},
        {"GET /x HTTP/1.1\r\n" HOST "Authorization: Bearer " TOKEN
         "\r\nOrigin: https://evil.example\r\n\r\n",
         403},
        {"POST /x HTTP/1.1\r\n" HOST "Authorization: Bearer " TOKEN "\r\n\r\n", 403},
        {"POST /x HTTP/1.1\r\n" HOST "X-Tokenhop-Admin: 1\r\n\r\n", 401},
        {"POST /x HTTP/1.1\r\n" HOST "X-Tokenhop-Admin: 1\r\nAuthorization: Bearer " TOKEN
         "\r\n\r\n",
         0},
    };
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        if (check(token_config, rows[i].request, false) != rows[i].status)
            fail_msg("row %zu: %s", i, rows[i].request);
        if (check(token_config, rows[i].request, true) !=
            (rows[i].status == 403 && strstr(rows[i].request, "Origin") ? 403 : 0))
            fail_msg("row %zu as a probe: %s", i, rows[i].request);
    }
}

/* --- the socket --- */

static char folder[] = "/tmp/tokenhop-admin-XXXXXX";

static int listen_at(struct th_admin *admin, const char *name, bool for_group)
{
    struct th_config_admin config = {.for_group = for_group};
    struct sockaddr_un *un = (struct sockaddr_un *)&config.address;
    struct th_errinfo info = {0};
    int fd = -1;

    *admin = (struct th_admin){0};
    un->sun_family = AF_UNIX;
    snprintf(un->sun_path, sizeof un->sun_path, "%s/%s", folder, name);
    config.address_len = sizeof *un;
    config.path = th_str_of(un->sun_path);
    int error = th_socket_listen(admin, &config, &fd, &info);
    assert_true(error == 0 || (info.what[0] != '\0' && info.mend[0] != '\0'));
    return error == 0 ? fd : error;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    return st.st_mode & 0777;
}

static void a_socket_is_its_users_alone(void **state)
{
    struct th_admin admin, other;
    mode_t before = umask(0);
    int fd = listen_at(&admin, "a.sock", false);
    assert_true(fd >= 0);
    assert_int_equal(mode_of(admin.socket.path), 0600);
    umask(077);
    int second = listen_at(&other, "b.sock", true);
    assert_true(second >= 0);
    assert_int_equal(mode_of(other.socket.path), 0660);
    umask(before);
    th_unix_remove(&admin.socket);
    assert_int_not_equal(access(admin.socket.path, F_OK), 0);
    th_unix_remove(&other.socket);
    close(fd);
    close(second);
}

static void a_stale_one_is_replaced_and_a_live_one_is_not(void **state)
{
    struct th_admin first, second;
    int fd = listen_at(&first, "c.sock", false);
    assert_true(fd >= 0);
    assert_int_equal(listen_at(&second, "c.sock", false), TH_E_IO);

    close(fd);     /* as after a kill: the path stays */
    usleep(20000); /* the file system's clock is coarse */
    int again = listen_at(&second, "c.sock", false);
    assert_true(again >= 0);
    /* The first one ends late, and must not take what is another's. */
    th_unix_remove(&first.socket);
    assert_int_equal(access(second.socket.path, F_OK), 0);
    th_unix_remove(&second.socket);
    assert_int_not_equal(access(second.socket.path, F_OK), 0);
    close(again);
}

static void what_is_no_socket_stays(void **state)
{
    struct th_admin admin;
    char path[128];
    snprintf(path, sizeof path, "%s/file", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(listen_at(&admin, "file", false), TH_E_IO);
    assert_int_equal(access(path, F_OK), 0);
    th_unix_remove(&admin.socket);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    assert_int_equal(listen_at(&admin, "no/such/folder", false), TH_E_IO);
}

static void our_own_user_may_speak(void **state)
{
    int pair[2];
    long uid = -2;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_true(th_socket_may_speak(pair[0], false, &uid));
    assert_int_equal(uid, geteuid());
    close(pair[0]);
    close(pair[1]);
    /* Not a unix socket: nobody is known to be there. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool may = th_socket_may_speak(fd, true, &uid);
    assert_true(!may || uid == 0 || uid == (long)geteuid() || uid == -1);
    close(fd);
}

static int set_up(void **state)
{
    assert_int_equal(setenv("TH_TEST_ADMIN", TOKEN, 1), 0);
    open_config = test_config_load(
        TEST_CONFIG("\"admin\": { \"address\": \"127.0.0.1:9901\" }, \"connections\": []"));
    token_config = test_config_load(TEST_CONFIG(
        "\"admin\": { \"address\": \"0.0.0.0:9901\", \"token\": { \"env\": \"TH_TEST_ADMIN\" } }, "
        "\"connections\": []"));
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    th_config_unref(open_config);
    th_config_unref(token_config);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_token),
        cmocka_unit_test(with_a_token),
        cmocka_unit_test(a_socket_is_its_users_alone),
        cmocka_unit_test(a_stale_one_is_replaced_and_a_live_one_is_not),
        cmocka_unit_test(what_is_no_socket_stays),
        cmocka_unit_test(our_own_user_may_speak),
    };
    return cmocka_run_group_tests_name("admin: guard", tests, set_up, tear_down);
}
