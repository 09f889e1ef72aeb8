#include "testing.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "tokenhop/observe/audit.h"

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/observe/seal.h"
#include "tokenhop/observe/writer.h"

/* What one record becomes, for free(). */
static char *write_record(const struct th_audit_record *record, unsigned n_times)
{
    struct th_writer *writer;
    struct th_writer_file *file;
    size_t len;
    (void)unlink(file_path);
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    struct th_audit_log *log = th_audit_log_new(file, false);
    assert_non_null(log);
    for (unsigned i = 0; i < n_times; i++)
        th_audit_write(log, record);
    assert_int_equal(th_audit_dropped(log), 0);
    assert_null(th_audit_log_free(log));
    th_writer_free(writer, 20000);
    return file_read(file_path, &len);
}

static const struct th_str actors[] = {TH_STR("agent1"), TH_STR("agent \"0\"")};
static const struct th_audit_leg legs[] = {
    {TH_STR("id_jag"), TH_STR("https://example.okta.com"), 200, 1500, 0},
    {TH_STR("access_token"), TH_STR("https://example.okta.com/oauth2/aus1"), 400, -1,
     TH_E_ACCESS_DENIED},
};

static void a_granted_one(void **state)
{
    (void)state;
    char *text = write_record(
        &(struct th_audit_record){
            .wall_ms = 1769903999007,
            .listener = TH_STR("agents"),
            .client = TH_STR("127.0.0.1:5000"),
            .caller = TH_STR("team-a"),
            .agent = TH_STR("agent2"),
            .subject = TH_STR("a1b2c3d4e5f6"),
            .subject_issuer = TH_STR("https://example.okta.com"),
            .subject_name = TH_STR("00u1"),
            .subject_verified = true,
            .actors = actors,
            .n_actors = 2,
            .connection = TH_STR("agent3"),
            .resource = TH_STR("https://agent3.example.com"),
            .audience = TH_STR("https://example.okta.com/oauth2/aus1"),
            .scopes = TH_STR("chat.read chat.history"),
            .method = TH_STR("POST"),
            .host = TH_STR("agent3.example.com"),
            .cache = TH_CACHE_MISS,
            .rule = TH_STR("policy[0]"),
            .issued_id = TH_STR("AT.1"),
            .issued_scopes = TH_STR("chat.read"),
            .issued_until_wall_ms = 1769907599000,
            .legs = legs,
            .n_legs = 1,
            .duration_us = 3000,
            .trace_id = TH_STR("0af7651916cd43dd8448eb211c80319c"),
        },
        1);
    assert_string_equal(
        text,
        "{\"time\":\"2026-01-31T23:59:59.007Z\",\"result\":\"granted\",\"listener\":\"agents\","
        "\"client\":\"127.0.0.1:5000\",\"caller\":\"team-a\",\"agent\":\"agent2\","
        "\"subject\":\"a1b2c3d4e5f6\",\"subject_iss\":\"https://example.okta.com\","
        "\"subject_sub\":\"00u1\",\"subject_verified\":true,"
        "\"actors\":[\"agent1\",\"agent \\\"0\\\"\"],\"chain_length\":2,\"connection\":\"agent3\","
        "\"resource\":\"https://agent3.example.com\","
        "\"audience\":\"https://example.okta.com/oauth2/aus1\","
        "\"scopes\":\"chat.read chat.history\",\"method\":\"POST\",\"host\":\"agent3.example.com\","
        "\"cache\":\"miss\",\"rule\":\"policy[0]\",\"issued_jti\":\"AT.1\","
        "\"issued_scopes\":\"chat.read\",\"issued_until\":\"2026-02-01T00:59:59.000Z\","
        "\"legs\":[{\"leg\":\"id_jag\",\"server\":\"https://example.okta.com\",\"status\":200,"
        "\"duration_us\":1500}],\"duration_us\":3000,"
        "\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}\n");
    free(text);
}

static void a_refused_one(void **state)
{
    (void)state;
    char *text = write_record(&(struct th_audit_record){.error = TH_E_ACCESS_DENIED,
                                                        .connection = TH_STR("agent2"),
                                                        .oauth_error = TH_STR("access_denied"),
                                                        .issued_until_wall_ms = -1,
                                                        .duration_us = -1,
                                                        .cache = TH_CACHE_NEGATIVE,
                                                        .legs = legs,
                                                        .n_legs = 2},
                              1);
    assert_string_equal(
        text,
        "{\"time\":\"1970-01-01T00:00:00.000Z\",\"result\":\"refused\","
        "\"code\":\"access_denied\",\"error\":\"ACCESS_DENIED\",\"connection\":\"agent2\","
        "\"cache\":\"negative\",\"oauth_error\":\"access_denied\","
        "\"legs\":[{\"leg\":\"id_jag\",\"server\":\"https://example.okta.com\",\"status\":200,"
        "\"duration_us\":1500},{\"leg\":\"access_token\","
        "\"server\":\"https://example.okta.com/oauth2/aus1\",\"status\":400,"
        "\"code\":\"access_denied\",\"error\":\"ACCESS_DENIED\"}]}\n");
    free(text);
}

static void by_the_policy(void **state)
{
    (void)state;
    struct th_audit_record record = {.error = TH_E_POLICY_DENIED,
                                     .rule = TH_STR("no-export"),
                                     .connection = TH_STR("orders"),
                                     .issued_until_wall_ms = -1,
                                     .duration_us = -1};
    for (int is_dry = 0; is_dry <= 1; is_dry++) {
        char *text, *wanted;
        record.would_deny = is_dry != 0;
        text = write_record(&record, 1);
        assert_true(asprintf(&wanted,
                             "{\"time\":\"1970-01-01T00:00:00.000Z\",\"result\":\"%s\","
                             "\"code\":\"policy_denied\",\"error\":\"POLICY_DENIED\","
                             "\"connection\":\"orders\",\"cache\":\"none\","
                             "\"rule\":\"no-export\"}\n",
                             is_dry != 0 ? "would_deny" : "denied") > 0);
        assert_string_equal(text, wanted);
        free(wanted);
        free(text);
    }
}

/* Nobody delegates anything there; what is refused is refused. */
static void what_is_unmatched(void **state)
{
    (void)state;
    struct th_audit_record record = {.is_forwarded = true,
                                     .method = TH_STR("CONNECT"),
                                     .host = TH_STR("open.example.com:443"),
                                     .issued_until_wall_ms = -1,
                                     .duration_us = -1};
    char *text = write_record(&record, 1);
    assert_string_equal(text, "{\"time\":\"1970-01-01T00:00:00.000Z\",\"result\":\"forwarded\","
                              "\"method\":\"CONNECT\",\"host\":\"open.example.com:443\","
                              "\"cache\":\"none\"}\n");
    free(text);
    record.error = TH_E_EGRESS_DENIED;
    text = write_record(&record, 1);
    assert_non_null(strstr(text, "\"result\":\"refused\",\"code\":\"destination_denied\""));
    free(text);
}

static void in_shadow(void **state)
{
    static const char *const names[TH_AUDIT_SHADOWS] = {
        NULL, "would_grant", "would_widen", "would_exchange", "would_deny", "would_refuse"};
    (void)state;
    struct th_audit_record record = {.error = TH_E_POLICY_DENIED,
                                     .reason = TH_STR("ask the desk"),
                                     .rule = TH_STR("no-export"),
                                     .issued_audience = TH_STR("api"),
                                     .issued_scopes = TH_STR("r w"),
                                     .widened_audience = TH_STR("api"),
                                     .widened_scopes = TH_STR("w"),
                                     .issued_until_wall_ms = -1,
                                     .duration_us = -1};
    for (int i = 1; i < TH_AUDIT_SHADOWS; i++) {
        char *text, *wanted;
        record.shadow = (enum th_audit_shadow)i;
        text = write_record(&record, 1);
        assert_true(asprintf(&wanted,
                             "{\"time\":\"1970-01-01T00:00:00.000Z\",\"result\":\"%s\","
                             "\"shadow\":true,\"code\":\"policy_denied\","
                             "\"error\":\"POLICY_DENIED\",\"reason\":\"ask the desk\","
                             "\"cache\":\"none\",\"rule\":\"no-export\","
                             "\"issued_audience\":\"api\",\"issued_scopes\":\"r w\","
                             "\"widened_audience\":\"api\",\"widened_scopes\":\"w\"}\n",
                             names[i]) > 0);
        assert_string_equal(text, wanted);
        free(wanted);
        free(text);
    }
}

struct hop {
    struct th_audit_wait wait;
    unsigned n_told;
};

static void on_told(struct th_audit_wait *wait)
{
    TH_CONTAINER_OF(wait, struct hop, wait)->n_told++;
}

struct post {
    pthread_mutex_t lock;
    pthread_cond_t told;
    unsigned n;
};

static void on_settled(void *arg)
{
    struct post *post = arg;
    pthread_mutex_lock(&post->lock);
    post->n++;
    pthread_cond_signal(&post->told);
    pthread_mutex_unlock(&post->lock);
}

static const struct th_audit_record plain = {.issued_until_wall_ms = -1, .duration_us = -1};

/* Settles as the writer tells to, until the hop has its answer. */
static int await(struct th_audit_log *log, struct post *post, struct hop *hop)
{
    while (th_audit_outcome(&hop->wait) == TH_AGAIN) {
        pthread_mutex_lock(&post->lock);
        while (post->n == 0)
            pthread_cond_wait(&post->told, &post->lock);
        post->n = 0;
        pthread_mutex_unlock(&post->lock);
        th_audit_settle(log);
    }
    return th_audit_outcome(&hop->wait);
}

static int write_and_await(struct th_audit_log *log, struct post *post,
                           const struct th_audit_record *record)
{
    struct hop hop = {.wait.fn = on_told};
    int error = th_audit_write_first(log, record, &hop.wait);
    if (error == 0)
        error = await(log, post, &hop);
    else
        assert_int_equal(hop.wait.n_pending, 0);
    return error;
}

static struct th_audit_log *open_strict(const char *path, size_t max_queued, struct post *post,
                                        struct th_writer **ret_writer)
{
    struct th_writer_file *file;
    assert_int_equal(th_writer_new(max_queued, ret_writer, NULL), 0);
    assert_int_equal(th_writer_open(*ret_writer, path, &file, NULL), 0);
    assert_int_equal(th_writer_seal(file, NULL), 0);
    struct th_audit_log *log = th_audit_log_new(file, true);
    assert_non_null(log);
    th_audit_log_watch(log, on_settled, post);
    return log;
}

#define POST                                                                                       \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0                                     \
    }

/* As write_record(), and each has its answer before the next. */
static char *write_waited(const struct th_audit_record *record, unsigned n_times)
{
    struct th_writer *writer;
    struct post post = POST;
    size_t len;
    (void)unlink(file_path);
    struct th_audit_log *log = open_strict(file_path, 0, &post, &writer);
    for (unsigned i = 0; i < n_times; i++)
        assert_int_equal(write_and_await(log, &post, record), 0);
    assert_int_equal(th_audit_dropped(log), 0);
    th_audit_log_free(log);
    th_writer_free(writer, 20000);
    return file_read(file_path, &len);
}

/* All strings, actors and legs of the longest and worst kind at once. */
static void check_longest(bool is_waited)
{
    enum { LONG = 5000, N = 100 };
    static char bytes[LONG];
    struct th_str text = {bytes, LONG}, many_actors[N];
    struct th_audit_leg many_legs[N];
    memset(bytes, 0x01, LONG);
    for (size_t i = 0; i < N; i++) {
        many_actors[i] = text;
        many_legs[i] =
            (struct th_audit_leg){text, text, UINT32_MAX, INT64_MAX, TH_E_ORIGIN_HEAD_LARGE};
    }
    struct th_audit_record r = {.error = TH_E_ORIGIN_HEAD_LARGE,
                                .actors = many_actors,
                                .n_actors = N,
                                .legs = many_legs,
                                .n_legs = N,
                                .cache = TH_CACHE_REFRESHED,
                                .issued_until_wall_ms = INT64_MAX,
                                .duration_us = INT64_MAX};
    r.listener = r.client = r.caller = r.agent = r.subject = r.subject_issuer = text;
    r.subject_name = r.connection = r.resource = r.audience = r.scopes = r.method = text;
    r.host = r.rule = r.oauth_error = r.issued_id = r.issued_scopes = r.trace_id = text;
    r.reason = r.issued_audience = r.widened_audience = r.widened_scopes = text;
    r.shadow = TH_AUDIT_WOULD_EXCHANGE;
    char *written = is_waited ? write_waited(&r, 3) : write_record(&r, 3), *line = written;
    for (int n = 0; n < 3; n++) {
        json_t *object = line_parse(line);
        assert_int_equal(json_object_size(object), is_waited ? 36 : 34); /* and the seal */
        assert_int_equal(json_array_size(json_object_get(object, "actors")), TH_AUDIT_MAX_ACTORS);
        assert_int_equal(int_of(object, "chain_length"), N);
        assert_int_equal(json_array_size(json_object_get(object, "legs")), TH_AUDIT_MAX_LEGS);
        json_decref(object);
        line = strchr(line, '\n') + 1;
    }
    assert_int_equal(*line, '\0');
    free(written);
}

static void the_longest_line(void **state)
{
    (void)state;
    check_longest(false);
}

static void the_longest_line_is_waited_for(void **state)
{
    (void)state;
    check_longest(true);
}

/* A value that is too long ends with a whole character. */
static void no_character_is_cut_in_two(void **state)
{
    (void)state;
    static char name[600];
    size_t at = 0;
    name[at++] = 'x';
    while (at + 2 < sizeof name) {
        name[at++] = '\xC3';
        name[at++] = '\xA9';
    }
    char *text = write_record(&(struct th_audit_record){.subject_name = {name, at},
                                                        .issued_until_wall_ms = -1,
                                                        .duration_us = -1},
                              1);
    json_t *object = line_parse(text);
    const char *got = string_of(object, "subject_sub");
    assert_int_equal(strlen(got), 511);
    assert_memory_equal(got, name, 511);
    json_decref(object);
    free(text);
}

static void writes_nothing_when_off(void **state)
{
    (void)state;
    struct th_audit_log *log = th_audit_log_new(NULL, true);
    th_audit_write(log, &(struct th_audit_record){0});
    th_audit_flush(log);
    th_audit_log_free(log);
    th_audit_write(NULL, &(struct th_audit_record){0});
    th_audit_flush(NULL);
    assert_null(th_audit_log_free(NULL));
#ifdef TH_FAIL_ALLOC
    th_mem_fail_after(1, 1);
    assert_null(th_audit_log_new(NULL, false));
    th_mem_fail_after(0, 0);
#endif
}

static unsigned lines_of(const char *path)
{
    size_t len;
    unsigned n = 0;
    char *text = file_read(path, &len);
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        n++;
    free(text);
    return n;
}

static void a_strict_one_is_written_first(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct post post = POST;
    struct hop hops[100] = {{{0}}};
    (void)unlink(file_path);
    struct th_audit_log *log = open_strict(file_path, 0, &post, &writer);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(write_and_await(log, &post, &plain), 0);
        assert_int_equal(lines_of(file_path), i + 1);
    }
    for (unsigned i = 0; i < TH_COUNT_OF(hops); i++) { /* together, and two lines each */
        hops[i].wait.fn = on_told;
        assert_int_equal(th_audit_write_first(log, &plain, &hops[i].wait), 0);
        assert_int_equal(th_audit_write_first(log, &plain, &hops[i].wait), 0);
        assert_int_equal(th_audit_outcome(&hops[i].wait), TH_AGAIN); /* until it is settled here */
    }
    for (unsigned i = 0; i < TH_COUNT_OF(hops); i++) {
        assert_int_equal(await(log, &post, &hops[i]), 0);
        assert_int_equal(hops[i].n_told, 1);
    }
    assert_int_equal(lines_of(file_path), 10 + 2 * TH_COUNT_OF(hops));
    th_audit_log_free(log);
    th_writer_free(writer, 20000);
}

/* A disk that is full: /dev/full plays it. */
static void a_strict_one_that_cannot_be_written(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct post post = POST;
    struct th_audit_log *strict = open_strict("/dev/full", 0, &post, &writer);
    for (int i = 0; i < 3; i++)
        assert_int_equal(write_and_await(strict, &post, &plain), TH_E_AUDIT);
    th_audit_log_free(strict);
    th_writer_free(writer, 20000);
}

/* One that takes a page and no more. */
static int open_fifo(void)
{
    (void)unlink(file_path);
    assert_int_equal(mkfifo(file_path, 0600), 0);
    int fd = open(file_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_SETPIPE_SZ, PIPE_BUF) == PIPE_BUF);
    return fd;
}

static bool has_room(void)
{
    int fd = open(file_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    bool has = poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 0) == 1;
    close(fd);
    return has;
}

/* Puts lines until the pipe is full, and one that stays. */
static void fill(struct th_audit_log *log, struct post *post, struct hop *hop)
{
    while (has_room())
        assert_int_equal(write_and_await(log, post, &plain), 0);
    *hop = (struct hop){.wait.fn = on_told};
    assert_int_equal(th_audit_write_first(log, &plain, &hop->wait), 0);
}

static size_t drain(int fd, char *room, size_t size)
{
    size_t len = 0;
    for (ssize_t n; len < size && (n = read(fd, room + len, size - len)) != 0;) {
        if (n > 0)
            len += (size_t)n;
        else if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 300) == 0)
            break;
    }
    return len;
}

/* A pipe that nobody reads: what was given up is never written, and breaks no chain; what waits is, once there is
 * room. */
static void what_is_withdrawn_is_never_written(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct post post = POST;
    struct hop stuck, given_up = {.wait.fn = on_told}, last = {.wait.fn = on_told};
    struct th_audit_record record = plain;
    static char room[256 * 1024];
    int fd = open_fifo();
    struct th_audit_log *log = open_strict(file_path, 0, &post, &writer);
    fill(log, &post, &stuck);
    th_audit_leave(&stuck.wait, true);
    assert_int_equal(th_audit_outcome(&stuck.wait), 0); /* nothing is pending */
    record.rule = TH_STR("given up");
    assert_int_equal(th_audit_write_first(log, &record, &given_up.wait), 0);
    th_audit_leave(&given_up.wait, true);
    record.rule = TH_STR("left to be written");
    assert_int_equal(th_audit_write_first(log, &record, &given_up.wait), 0);
    th_audit_leave(&given_up.wait, false);
    record.rule = TH_STR("last");
    assert_int_equal(th_audit_write_first(log, &record, &last.wait), 0);
    size_t len = drain(fd, room, sizeof room - 1);
    room[len] = '\0';
    assert_int_equal(await(log, &post, &last), 0);
    assert_int_equal(stuck.n_told + given_up.n_told, 0);
    assert_null(strstr(room, "given up"));
    assert_non_null(strstr(room, "left to be written"));
    assert_non_null(strstr(room, "\"last\""));
    struct th_seal seal;
    th_seal_init(&seal);
    for (char *line = strtok(room, "\n"); line != NULL; line = strtok(NULL, "\n"))
        assert_int_equal(th_seal_check(&seal, th_str_of(line)), TH_SEAL_WHOLE);
    th_audit_log_free(log);
    th_writer_free(writer, 20000);
    close(fd);
}

/* What there is no room for is nobody's yet: though there was some for what came before it. */
static void what_waits_for_room_can_be_withdrawn(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct post post = POST;
    struct hop hops[3];
    static char name[400], room[64 * 1024];
    struct th_audit_record record = plain;
    memset(name, 'x', sizeof name);
    record.agent = record.caller = record.host = (struct th_str){name, sizeof name};
    int fd = open_fifo();
    struct th_audit_log *log = open_strict(file_path, 0, &post, &writer);
    fill(log, &post, &hops[0]);
    th_audit_leave(&hops[0].wait, true);
    for (size_t i = 0; i < TH_COUNT_OF(hops); i++) {
        static const struct th_str rules[] = {TH_STR("first"), TH_STR("second"), TH_STR("third")};
        hops[i] = (struct hop){.wait.fn = on_told};
        record.rule = rules[i];
        assert_int_equal(th_audit_write_first(log, &record, &hops[i].wait), 0);
    }
    ssize_t n = read(fd, room, PIPE_BUF);
    assert_true(n > 0);
    assert_int_equal(await(log, &post, &hops[0]), 0);
    th_audit_leave(&hops[1].wait, true);
    th_audit_leave(&hops[2].wait, true);
    size_t len = drain(fd, room, sizeof room - 1);
    room[len] = '\0';
    assert_non_null(strstr(room, "\"first\""));
    assert_null(strstr(room, "\"second\""));
    assert_null(strstr(room, "\"third\""));
    th_audit_log_free(log);
    th_writer_free(writer, 20000);
    close(fd);
}

/* Somebody else has the file locked: for as long nothing is written, and all can be withdrawn. */
static void what_waits_for_the_lock_can_be_withdrawn(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct post post = POST;
    struct hop hop = {.wait.fn = on_told};
    (void)unlink(file_path);
    struct th_audit_log *log = open_strict(file_path, 0, &post, &writer);
    int fd = open(file_path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(th_audit_write_first(log, &plain, &hop.wait), 0);
    assert_false(th_writer_flush(writer, 100)); /* it tries */
    th_audit_leave(&hop.wait, true);
    assert_int_equal(flock(fd, LOCK_UN), 0);
    assert_int_equal(write_and_await(log, &post, &plain), 0);
    assert_int_equal(lines_of(file_path), 1);
    close(fd);
    th_audit_log_free(log);
    th_writer_free(writer, 20000);
}

/* The desk goes before the writer, with lines on their way. */
static void a_log_that_is_freed_first(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct post post = POST;
    struct hop stuck;
    int fd = open_fifo();
    struct th_audit_log *log = open_strict(file_path, 0, &post, &writer);
    fill(log, &post, &stuck);
    assert_int_equal(th_audit_write_first(log, &plain, &stuck.wait), 0);
    th_audit_log_watch(log, NULL, NULL);
    th_audit_log_free(log);
    th_writer_free(writer, 1);
    close(fd);
}

/* The queue is full: no line that was dropped counts as written, and what is lost is told by the line that fits
 * again. */
static void what_is_lost_leaves_a_line(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct post post = POST;
    size_t len;
    static char name[400];
    struct th_audit_record large = plain;
    memset(name, 'x', sizeof name);
    large.connection = (struct th_str){name, sizeof name};
    (void)unlink(file_path);
    struct th_audit_log *log = open_strict(file_path, 300, &post, &writer);
    assert_int_equal(write_and_await(log, &post, &plain), 0);
    assert_true(th_writer_flush(writer, 20000));
    assert_int_equal(write_and_await(log, &post, &large), TH_E_AUDIT);
    assert_int_equal(write_and_await(log, &post, &large), TH_E_AUDIT);
    assert_true(th_writer_flush(writer, 20000));
    assert_int_equal(write_and_await(log, &post, &plain), 0);
    assert_true(th_writer_flush(writer, 20000));
    assert_int_equal(write_and_await(log, &post, &plain), 0);
    assert_int_equal(th_audit_dropped(log), 2);
    th_audit_log_free(log);
    th_writer_free(writer, 20000);
    char *text = file_read(file_path, &len), *line = text;
    static const char *const results[] = {"granted", "lost", "lost", "granted", "granted"};
    for (size_t i = 0; i < TH_COUNT_OF(results); i++) {
        json_t *object = line_parse(line);
        assert_string_equal(string_of(object, "result"), results[i]);
        if (i == 1 || i == 2)
            assert_int_equal(int_of(object, "lines"), 1);
        json_decref(object);
        line = strchr(line, '\n') + 1;
    }
    assert_int_equal(*line, '\0');
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_granted_one),
        cmocka_unit_test(a_refused_one),
        cmocka_unit_test(by_the_policy),
        cmocka_unit_test(what_is_unmatched),
        cmocka_unit_test(in_shadow),
        cmocka_unit_test(the_longest_line),
        cmocka_unit_test(the_longest_line_is_waited_for),
        cmocka_unit_test(no_character_is_cut_in_two),
        cmocka_unit_test(writes_nothing_when_off),
        cmocka_unit_test(a_strict_one_is_written_first),
        cmocka_unit_test(a_strict_one_that_cannot_be_written),
        cmocka_unit_test(what_is_withdrawn_is_never_written),
        cmocka_unit_test(what_waits_for_room_can_be_withdrawn),
        cmocka_unit_test(what_waits_for_the_lock_can_be_withdrawn),
        cmocka_unit_test(a_log_that_is_freed_first),
        cmocka_unit_test(what_is_lost_leaves_a_line),
    };
    return cmocka_run_group_tests(tests, directory_make, directory_remove);
}
