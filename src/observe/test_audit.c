#include "testing.h"

#include "tokenhop/observe/audit.h"

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
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
        assert_int_equal(th_audit_write(log, record), 0);
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

/* All strings, actors and legs of the longest and worst kind at once. */
static void the_longest_line(void **state)
{
    (void)state;
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
    char *written = write_record(&r, 3), *line = written;
    for (int n = 0; n < 3; n++) {
        json_t *object = line_parse(line);
        assert_int_equal(json_object_size(object), 34);
        assert_int_equal(json_array_size(json_object_get(object, "actors")), TH_AUDIT_MAX_ACTORS);
        assert_int_equal(int_of(object, "chain_length"), N);
        assert_int_equal(json_array_size(json_object_get(object, "legs")), TH_AUDIT_MAX_LEGS);
        json_decref(object);
        line = strchr(line, '\n') + 1;
    }
    assert_int_equal(*line, '\0');
    free(written);
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
    assert_int_equal(th_audit_write(log, &(struct th_audit_record){0}), 0);
    th_audit_flush(log);
    th_audit_log_free(log);
    assert_int_equal(th_audit_write(NULL, &(struct th_audit_record){0}), 0);
    th_audit_flush(NULL);
    assert_null(th_audit_log_free(NULL));
#ifdef TH_FAIL_ALLOC
    th_mem_fail_after(1, 1);
    assert_null(th_audit_log_new(NULL, false));
    th_mem_fail_after(0, 0);
#endif
}

/* A disk that is full: /dev/full plays it. */
static void a_strict_one_that_cannot_be_written(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    const struct th_audit_record record = {.issued_until_wall_ms = -1, .duration_us = -1};
    assert_int_equal(th_writer_new(0, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, "/dev/full", &file, NULL), 0);
    struct th_audit_log *strict = th_audit_log_new(file, true);
    struct th_audit_log *lenient = th_audit_log_new(file, false);
    int first = th_audit_write(strict, &record); /* queued: perhaps nothing is known yet */
    assert_true(first == 0 || first == TH_E_AUDIT);
    assert_true(th_writer_flush(writer, 20000));
    assert_int_equal(th_audit_write(strict, &record), TH_E_AUDIT);
    assert_int_equal(th_audit_write(lenient, &record), 0);
    th_audit_log_free(strict);
    th_audit_log_free(lenient);
    th_writer_free(writer, 20000);
}

/* The queue is full: what is lost is told by the line that fits again. */
static void what_is_lost_leaves_a_line(void **state)
{
    (void)state;
    struct th_writer *writer;
    struct th_writer_file *file;
    size_t len;
    static char name[400];
    const struct th_audit_record small = {.issued_until_wall_ms = -1, .duration_us = -1};
    struct th_audit_record large = small;
    memset(name, 'x', sizeof name);
    large.connection = (struct th_str){name, sizeof name};
    (void)unlink(file_path);
    assert_int_equal(th_writer_new(300, &writer, NULL), 0);
    assert_int_equal(th_writer_open(writer, file_path, &file, NULL), 0);
    struct th_audit_log *log = th_audit_log_new(file, true);
    assert_int_equal(th_audit_write(log, &small), 0);
    assert_true(th_writer_flush(writer, 20000));
    assert_int_equal(th_audit_write(log, &large), TH_E_AUDIT);
    assert_int_equal(th_audit_write(log, &large),
                     TH_E_AUDIT); /* and the line that told of the first */
    assert_int_equal(th_audit_write(log, &small), 0);
    assert_true(th_writer_flush(writer, 20000));
    assert_int_equal(th_audit_write(log, &small), 0); /* told once */
    th_audit_log_free(log);
    th_writer_free(writer, 20000);
    char *text = file_read(file_path, &len), *line = text;
    static const char *const results[] = {"granted", "lost", "granted", "granted"};
    for (size_t i = 0; i < TH_COUNT_OF(results); i++) {
        json_t *object = line_parse(line);
        assert_string_equal(string_of(object, "result"), results[i]);
        if (i == 1)
            assert_int_equal(int_of(object, "lines"), 2);
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
        cmocka_unit_test(no_character_is_cut_in_two),
        cmocka_unit_test(writes_nothing_when_off),
        cmocka_unit_test(a_strict_one_that_cannot_be_written),
        cmocka_unit_test(what_is_lost_leaves_a_line),
    };
    return cmocka_run_group_tests(tests, directory_make, directory_remove);
}
