#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenhop/base/secret.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "secret_store.h"
#include "tokenhop/base/mem.h"

enum { MAX_SECRET = 1 << 20 };

static char *pattern; /* MAX_SECRET bytes; read only once made */

/* Around every limit of the size classes: 8 bytes of header and a NUL come on top. */
static const size_t lens[] = {0,     1,     22,    23,    24,    480,   500,    1014,
                              1015,  1016,  1017,  2038,  2039,  2040,  4087,   4088,
                              16374, 16375, 16376, 16377, 20000, 65536, 1 << 20};
enum { N_LENS = sizeof lens / sizeof lens[0] };

static void is_pattern(const struct th_secret *secret, size_t len)
{
    struct th_str bytes = th_secret_expose(secret);
    assert_int_equal(bytes.len, len);
    assert_int_equal(th_secret_len(secret), len);
    assert_true(len == 0 || memcmp(bytes.ptr, pattern, len) == 0);
    assert_int_equal(bytes.ptr[len], 0);
}

static void keeps_bytes(void **state)
{
    (void)state;
    struct th_secret *held[3][N_LENS];
    size_t sum = 0;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < N_LENS; i++) {
            held[round][i] = th_secret_new(pattern, lens[i]);
            assert_non_null(held[round][i]);
            sum += lens[i];
        }
    }
    assert_int_equal(th_secret_bytes_held(), sum);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < N_LENS; i++)
            is_pattern(held[round][i], lens[i]);
    }
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < N_LENS; i++)
            assert_null(th_secret_unref(held[round][i]));
    }
    assert_int_equal(th_secret_bytes_held(), 0);
    assert_null(th_secret_unref(NULL));
    assert_null(th_secret_new(pattern, MAX_SECRET + 1));
}

static void counted(void **state)
{
    (void)state;
    struct th_secret *secret = th_secret_new("token", 5);
    assert_ptr_equal(th_secret_ref(secret), secret);
    th_secret_unref(secret);
    assert_int_equal(th_secret_bytes_held(), 5);
    assert_string_equal(th_secret_expose(secret).ptr, "token");
    th_secret_unref(secret);
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void joins(void **state)
{
    (void)state;
    const struct th_str pieces[] = {TH_STR("Bearer "), TH_STR_NONE, TH_STR("abc"), TH_STR("")};
    struct th_secret *secret = th_secret_join(pieces, 4);
    assert_string_equal(th_secret_expose(secret).ptr, "Bearer abc");
    th_secret_unref(secret);
    secret = th_secret_join(NULL, 0);
    assert_int_equal(th_secret_len(secret), 0);
    th_secret_unref(secret);
    const struct th_str large[] = {{pattern, MAX_SECRET}, {pattern, 1}};
    assert_null(th_secret_join(large, 2));
    const struct th_str huge[] = {{pattern, SIZE_MAX}, {pattern, 2}};
    assert_null(th_secret_join(huge, 2));
}

static void compares(void **state)
{
    (void)state;
    static const struct {
        struct th_str a, b;
        bool equal;
    } rows[] = {
        {TH_STR("abc"), TH_STR("abc"), true},    {TH_STR("abc"), TH_STR("abd"), false},
        {TH_STR("abc"), TH_STR("ab"), false},    {TH_STR(""), TH_STR(""), true},
        {TH_STR("a\0b"), TH_STR("a\0c"), false}, {TH_STR("xbc"), TH_STR("abc"), false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct th_secret *a = th_secret_new(rows[i].a.ptr, rows[i].a.len);
        struct th_secret *b = th_secret_new(rows[i].b.ptr, rows[i].b.len);
        assert_int_equal(th_secret_equal(a, b), rows[i].equal);
        th_secret_unref(a);
        th_secret_unref(b);
    }
    assert_true(th_secret_equal_bytes(NULL, NULL, 0));
}

#ifndef TH_ARENA_MALLOC
/* The slot comes back first, so its bytes can be looked at through the next secret of that size. */
static void wiped_when_freed(void **state)
{
    (void)state;
    static const size_t some[] = {24, 500, 5000};
    for (size_t i = 0; i < 3; i++) {
        char *bytes = th_secret_store_alloc(some[i]);
        assert_non_null(bytes);
        memset(bytes, 's', some[i]);
        th_secret_store_free(bytes, some[i]);
        char *again = th_secret_store_alloc(some[i]);
        assert_ptr_equal(again, bytes);
        for (size_t j = sizeof(void *); j < some[i]; j++) /* before it the free list's link was */
            assert_int_equal(again[j], 0);
        th_secret_store_free(again, some[i]);
    }
}

/* What the cache holds: 100,000 credentials of some 500 bytes, at most 32 bytes more for each. */
static void little_overhead(void **state)
{
    (void)state;
    enum { N = 100000, LEN = 495 };
    static struct th_secret *held[N];
    size_t before = th_secret_store_mapped();
    for (size_t i = 0; i < N; i++) {
        held[i] = th_secret_new(pattern + i % 100, LEN);
        assert_non_null(held[i]);
    }
    size_t overhead = (th_secret_store_mapped() - before) / N - LEN;
    print_message("  %zu bytes each\n", overhead);
    assert_true(overhead <= 32);
    for (size_t i = 0; i < N; i++)
        assert_memory_equal(th_secret_expose(held[i]).ptr, pattern + i % 100, LEN);
    for (size_t i = 0; i < N; i += 2)
        th_secret_unref(held[i]);
    size_t half = th_secret_store_mapped();
    for (size_t i = 0; i < N; i += 2) { /* the slots are used again */
        held[i] = th_secret_new(pattern, LEN);
        assert_non_null(held[i]);
    }
    assert_int_equal(th_secret_store_mapped(), half);
    for (size_t i = 0; i < N; i++)
        th_secret_unref(held[i]);
    assert_true(th_secret_store_mapped() - before <= 2 * 256 * 1024); /* and then given back */
}

/* A flag of the mapping, in /proc/self/smaps: " dd", not in core dumps; " lo", never swapped. */
static bool has_flag(const void *ptr, const char *flag)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    char line[512];
    bool in_mapping = false, found = false;
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        char *end;
        uintptr_t from = strtoul(line, &end, 16);
        if (*end == '-') /* from-to flags ... */
            in_mapping = (uintptr_t)ptr >= from && (uintptr_t)ptr < strtoul(end + 1, NULL, 16);
        else if (in_mapping && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, flag) != NULL;
    }
    fclose(file);
    return found;
}

static void not_in_dumps(void **state)
{
    (void)state;
    assert_int_equal(access("/proc/self/smaps", R_OK), 0);
    for (size_t i = 0; i < N_LENS; i++) {
        struct th_secret *secret = th_secret_new(pattern, lens[i]);
        assert_true(has_flag(th_secret_expose(secret).ptr, " dd"));
        th_secret_unref(secret);
    }
}

/* As far as the system grants it; what it did not is counted so. */
static void not_swapped(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    bool may = geteuid() == 0 || limit.rlim_cur >= (rlim_t)8 << 20;
    for (size_t i = 0; i < N_LENS; i++) {
        size_t mapped = th_secret_store_mapped(), locked = th_secret_store_locked();
        struct th_secret *secret = th_secret_new(pattern, lens[i]);
        bool is_locked = has_flag(th_secret_expose(secret).ptr, " lo");
        if (may)
            assert_true(is_locked);
        assert_int_equal(th_secret_store_locked() - locked,
                         is_locked ? th_secret_store_mapped() - mapped : 0);
        th_secret_unref(secret);
        if (lens[i] > 16384) {
            assert_int_equal(th_secret_store_mapped(), mapped);
            assert_int_equal(th_secret_store_locked(), locked);
        }
    }
    if (may)
        assert_int_equal(th_secret_store_locked(), th_secret_store_mapped());
}

/* Where it does not grant any: secrets are made all the same, and none is counted. */
static void swapped_where_the_limit_is_low(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && setuid(65534) != 0))
            _exit(1);
        size_t locked = th_secret_store_locked(), mapped = th_secret_store_mapped();
        struct th_secret *secret = th_secret_new(pattern, 100000);
        _exit(secret == NULL                               ? 2
              : th_secret_store_mapped() < mapped + 100000 ? 3
              : th_secret_store_locked() != locked         ? 4
              : th_secret_unref(secret) != NULL            ? 5
              : th_secret_store_mapped() != mapped         ? 6
                                                           : 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}
#endif

static char changed[] = "bytes of a secret changed", no_memory[] = "no memory";

static void *churn(void *argument)
{
    struct th_secret *held[64] = {NULL};
    unsigned random = (unsigned)(uintptr_t)argument;
    for (int i = 0; i < 20000; i++) {
        random = random * 1664525 + 1013904223;
        struct th_secret **place = &held[random >> 26];
        size_t len = lens[(random >> 8) % (N_LENS - 3)];
        if (*place != NULL) {
            size_t held_len = th_secret_len(*place);
            if (memcmp(th_secret_expose(*place).ptr, pattern, held_len) != 0)
                return changed;
            *place = th_secret_unref(*place);
        } else {
            *place = th_secret_new(pattern, len);
            if (*place == NULL)
                return no_memory;
        }
    }
    for (int i = 0; i < 64; i++)
        th_secret_unref(held[i]);
    return NULL;
}

static void from_many_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++) {
        void *complaint;
        assert_int_equal(pthread_join(threads[i], &complaint), 0);
        assert_null(complaint);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void memory_is_short(void **state)
{
    (void)state;
#ifdef TH_FAIL_ALLOC
    for (size_t i = 0; i < N_LENS; i++) {
        th_mem_fail_after(1, 1);
        assert_null(th_secret_new(pattern, lens[i]));
        th_mem_fail_after(0, 0);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
#else
    skip();
#endif
}

/* ---- files ---- */

static char directory[] = "/tmp/tokenhop-secret-XXXXXX";
static char path[64];

static void file_make(const char *bytes, size_t len, mode_t mode)
{
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void reads_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct th_str content;
        mode_t mode;
        size_t max;
        bool trim;
        int error;
        struct th_str expected; /* or what the complaint holds */
    } rows[] = {
        {"whole", TH_STR("pass\n"), 0600, 100, false, 0, TH_STR("pass\n")},
        {"trimmed", TH_STR("pass\n"), 0600, 100, true, 0, TH_STR("pass")},
        {"trimmed of one line feed only", TH_STR("pass\n\n"), 0600, 100, true, 0, TH_STR("pass\n")},
        {"nothing to trim", TH_STR("pass"), 0600, 100, true, 0, TH_STR("pass")},
        {"a lone line feed", TH_STR("\n"), 0600, 100, true, 0, TH_STR("")},
        {"empty", TH_STR(""), 0600, 100, true, 0, TH_STR("")},
        {"with NUL", TH_STR("a\0b"), 0600, 100, true, 0, TH_STR("a\0b")},
        {"as large as may be", TH_STR("12345"), 0400, 5, true, 0, TH_STR("12345")},
        {"too large", TH_STR("123456"), 0600, 5, true, TH_E_IO, TH_STR("larger than 5")},
        {"the group may read", TH_STR("x"), 0640, 100, true, TH_E_IO, TH_STR("mode 640")},
        {"others may read", TH_STR("x"), 0604, 100, true, TH_E_IO, TH_STR("mode 604")},
        {"others may write", TH_STR("x"), 0602, 100, true, TH_E_IO, TH_STR("mode 602")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct th_secret *secret = NULL;
        struct th_errinfo info = {0};
        print_message("  %s\n", rows[i].name);
        file_make(rows[i].content.ptr, rows[i].content.len, rows[i].mode);
        int error = th_secret_read_file(path, rows[i].max, rows[i].trim, &secret, &info);
        assert_int_equal(error, rows[i].error);
        if (error == 0) {
            assert_true(th_str_equal(th_secret_expose(secret), rows[i].expected));
        } else {
            assert_null(secret);
            assert_int_equal(info.error, error);
            assert_non_null(strstr(info.what, rows[i].expected.ptr));
            assert_string_equal(info.where, path);
        }
        th_secret_unref(secret);
    }
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void refuses_what_is_no_file(void **state)
{
    (void)state;
    struct th_secret *secret = NULL;
    struct th_errinfo info;
    (void)unlink(path);
    assert_int_equal(th_secret_read_file(path, 100, true, &secret, &info), TH_E_IO);
    assert_non_null(strstr(info.what, "No such file"));
    assert_int_equal(th_secret_read_file(directory, 100, true, &secret, &info), TH_E_IO);
    assert_non_null(strstr(info.what, "not a regular file"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(th_secret_read_file(path, 100, true, &secret, &info), TH_E_IO);
    assert_non_null(strstr(info.what, "not a regular file"));
    assert_int_equal(th_secret_read_file("/dev/null", 100, true, &secret, NULL), TH_E_IO);
    assert_null(secret);
    (void)unlink(path);
}

static void memory_is_short_for_a_file(void **state)
{
    (void)state;
#ifdef TH_FAIL_ALLOC
    struct th_secret *secret = NULL;
    file_make("pass\n", 5, 0600);
    for (unsigned long nth = 1; nth <= 2; nth++) {
        th_mem_fail_after(nth, 1);
        assert_int_equal(th_secret_read_file(path, 100, true, &secret, NULL), TH_E_NOMEM);
        th_mem_fail_after(0, 0);
        assert_null(secret);
        assert_int_equal(th_secret_bytes_held(), 0);
    }
#else
    skip();
#endif
}

static void *print_in_thread(void *ret_text)
{
    th_secret_fingerprint("token-a", 7, ret_text);
    return NULL;
}

static void fingerprints(void **state)
{
    (void)state;
    char a[TH_FINGERPRINT_LEN + 1], b[TH_FINGERPRINT_LEN + 1], c[TH_FINGERPRINT_LEN + 1];
    pthread_t thread;
    th_secret_fingerprint("token-a", 7, a);
    th_secret_fingerprint("token-b", 7, b);
    assert_int_equal(strlen(a), TH_FINGERPRINT_LEN);
    assert_int_equal(strspn(a, "0123456789abcdef"), TH_FINGERPRINT_LEN);
    assert_string_not_equal(a, b);
    assert_int_equal(pthread_create(&thread, NULL, print_in_thread, c), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(a, c);
    /* Keyed: not what anybody can compute. SHA-256 of "token-a" begins so: */
    assert_string_not_equal(a, "a70bf50e531c");
    th_secret_fingerprint(NULL, 0, b);
    assert_int_equal(strspn(b, "0123456789abcdef"), TH_FINGERPRINT_LEN);
}

static void digests(void **state)
{
    const struct th_str ab_c[] = {TH_STR("ab"), TH_STR("c")}, a_bc[] = {TH_STR("a"), TH_STR("bc")};
    uint8_t first[32], again[32], other[32];
    const struct th_str empty = TH_STR_NONE;
    char print[TH_FINGERPRINT_LEN + 1], hex[TH_FINGERPRINT_LEN + 1];
    (void)state;
    assert_int_equal(th_secret_digest(ab_c, 2, first), 0);
    assert_int_equal(th_secret_digest(ab_c, 2, again), 0);
    assert_memory_equal(first, again, 32);
    assert_int_equal(th_secret_digest(a_bc, 2, other), 0);
    assert_memory_not_equal(first, other, 32);
    assert_int_equal(th_secret_digest(ab_c, 1, other), 0);
    assert_memory_not_equal(first, other, 32);
    /* The key of fingerprints, which logs show, is another. */
    th_secret_fingerprint("\0\0\0\0\0\0\0\0", 8, print); /* what one piece of no length comes to */
    assert_int_equal(th_secret_digest(&empty, 1, other), 0);
    for (size_t i = 0; i < TH_FINGERPRINT_LEN / 2; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", other[i]);
    assert_string_not_equal(hex, print);
}

static int set_up(void **state)
{
    (void)state;
    pattern = th_malloc(MAX_SECRET);
    if (pattern == NULL || mkdtemp(directory) == NULL)
        return -1;
    for (size_t i = 0; i < MAX_SECRET; i++)
        pattern[i] = (char)('!' + i % 89);
    (void)snprintf(path, sizeof path, "%s/file", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    th_free(pattern);
    (void)unlink(path);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_bytes),
        cmocka_unit_test(counted),
        cmocka_unit_test(joins),
        cmocka_unit_test(compares),
#ifndef TH_ARENA_MALLOC
        cmocka_unit_test(wiped_when_freed),
        cmocka_unit_test(little_overhead),
        cmocka_unit_test(not_in_dumps),
        cmocka_unit_test(not_swapped),
        cmocka_unit_test(swapped_where_the_limit_is_low),
#endif
        cmocka_unit_test(from_many_threads),
        cmocka_unit_test(memory_is_short),
        cmocka_unit_test(reads_files),
        cmocka_unit_test(refuses_what_is_no_file),
        cmocka_unit_test(memory_is_short_for_a_file),
        cmocka_unit_test(fingerprints),
        cmocka_unit_test(digests),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
