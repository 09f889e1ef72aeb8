/* Whatever happens in whatever order, nobody is served what was got for another (R14, R15); and
 * with every allocation failing in turn (R24). */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"

#define N_STEPS 60000
#define N_ASKERS 40
#define N_SUBJECTS 5

static const struct th_config_agent agents[2] = {
    {.name = {"agent1", 6}, .client_id = {"client1", 7}},
    {.name = {"agent2", 6}, .client_id = {"client2", 7}},
};
static const struct th_str scope_lists[2][1] = {{{"read", 4}}, {{"write", 5}}};
static const struct th_config_connection connections[3] = {
    {.name = {"one", 3}, .version = {1}, .scopes = scope_lists[0], .n_scopes = 1},
    {.name = {"one", 3}, .version = {2}, .scopes = scope_lists[0], .n_scopes = 1},
    {.name = {"two", 3}, .version = {1}, .scopes = scope_lists[1], .n_scopes = 1},
};

/* What is asked for, and what must come of it. */
struct wish {
    unsigned agent, connection, subject;
};

struct player {
    struct asker asker; /* first */
    struct wish wish;
};

struct game {
    struct house house;
    struct player players[N_ASKERS];
    unsigned n_purges;
    unsigned n_served, n_told, n_refused, n_renewed;
};

static unsigned pick(unsigned bound)
{
    return th_random_below(bound);
}

static struct th_broker_request request_for(const struct wish *wish)
{
    static const char *const subjects[N_SUBJECTS] = {"alice", "bob", "carol", "dave", "eve"};
    struct th_broker_request request = {
        .agent = &agents[wish->agent],
        .connection = &connections[wish->connection],
        .subject_token = th_str_of(subjects[wish->subject]),
    };
    th_broker_scope(request.agent, request.connection, request.key.scope);
    th_broker_digest(request.subject_token, request.key.subject);
    return request;
}

/* The token tells for whom it was issued, and after how many purges it was asked for. */
static void name_token(char *text, size_t size, const struct th_config_agent *agent,
                       const struct th_config_connection *connection, struct th_str subject,
                       unsigned n_purges)
{
    (void)snprintf(text, size, "%.*s|%.*s|%u|%.*s|%u", TH_STR_ARGS(agent->name),
                   TH_STR_ARGS(connection->name), connection->version[0], TH_STR_ARGS(subject),
                   n_purges);
}

static void check_token(const struct wish *wish, const char *value, unsigned *ret_n_purges)
{
    struct th_broker_request request = request_for(wish);
    char expected[96];
    const char *number = strrchr(value, '|');
    assert_non_null(number);
    *ret_n_purges = (unsigned)strtoul(number + 1, NULL, 10);
    strcpy(expected, "Bearer ");
    name_token(expected + 7, sizeof expected - 7, request.agent, request.connection,
               request.subject_token, *ret_n_purges);
    assert_string_equal(value, expected);
}

static unsigned count_running(struct game *game, const struct th_broker_request *request)
{
    unsigned n = 0;
    for (unsigned i = 0; i < N_DESKS; i++) {
        TH_LIST_EACH(it, &game->house.offices[i].running) {
            struct th_exchange *exchange = TH_LIST_ENTRY(it, struct th_exchange, link);
            n += exchange->request.agent == request->agent &&
                 exchange->request.connection == request->connection &&
                 th_str_equal(exchange->request.subject_token, request->subject_token);
        }
    }
    return n;
}

static void on_player_told(struct th_broker_waiter *waiter, struct th_credential *credential,
                           struct th_refusal *refusal)
{
    struct player *player = (struct player *)waiter;
    unsigned n_purges;
    char value[128];
    player->asker.n_told++;
    if (credential == NULL)
        return;
    struct th_str text = th_secret_expose(credential->value);
    (void)snprintf(value, sizeof value, "%.*s", TH_STR_ARGS(text));
    check_token(&player->wish, value, &n_purges);
    th_credential_unref(player->asker.credential);
    player->asker.credential = th_credential_ref(credential);
}

static void play_ask(struct game *game)
{
    struct house *house = &game->house;
    struct player *player = &game->players[pick(N_ASKERS)];
    struct th_broker_desk *desk = house->desks[pick(N_DESKS)];
    struct th_credential *credential;
    struct th_refusal *refusal;
    asker_forget(&player->asker);
    player->wish = (struct wish){pick(2), pick(3), pick(N_SUBJECTS)};
    player->asker.waiter.fn = on_player_told;
    player->asker.n_told = 0;
    struct th_broker_request request = request_for(&player->wish);
    int got = th_broker_get(desk, &request, INT64_MAX, &player->asker.waiter, &credential,
                            &player->asker.state, &refusal);
    assert_int_equal(player->asker.n_told, 0);
    assert_true(count_running(game, &request) <= 1);
    th_refusal_unref(refusal);
    game->n_refused += player->asker.state == TH_CACHE_NEGATIVE;
    game->n_renewed += player->asker.state == TH_CACHE_REFRESHED;
    if (got == TH_AGAIN)
        assert_int_equal(count_running(game, &request), 1);
    if (got != 0)
        return;
    char value[128];
    unsigned n_purges;
    (void)snprintf(value, sizeof value, "%.*s", TH_STR_ARGS(th_secret_expose(credential->value)));
    check_token(&player->wish, value, &n_purges);
    assert_int_equal(n_purges, game->n_purges); /* nothing that a purge should have taken */
    assert_true(credential->expires_ms > desk->worker->now_ms);
    player->asker.credential = credential;
    game->n_served++;
}

static void play_end(struct game *game)
{
    static const int errors[] = {TH_E_SUBJECT_REFUSED, TH_E_ACCESS_DENIED,   TH_E_INTERACTION,
                                 TH_E_EXCHANGE_DOWN,   TH_E_EXCHANGE_FAILED, TH_E_NOMEM};
    struct office *office = &game->house.offices[pick(N_DESKS)];
    if (th_list_is_empty(&office->running))
        return;
    struct th_exchange *exchange = office_oldest(office);
    if (pick(4) == 0) {
        struct th_exchange_result failed = result_of_error(errors[pick(TH_COUNT_OF(errors))]);
        office_end(exchange, &failed, NULL);
        return;
    }
    struct th_exchange_result result = result_of_token(pick(200000));
    char token[96];
    if (pick(4) == 0)
        result.subject_expires_wall_ms = game->house.clock.fake_wall_ms + pick(200000);
    /* `deadline_ms` is not looked at here: it holds the number of purges at the start. */
    name_token(token, sizeof token, exchange->request.agent, exchange->request.connection,
               th_str_of(exchange->subject), (unsigned)exchange->request.deadline_ms);
    office_end(exchange, &result, token);
}

static void play_reject(struct game *game)
{
    struct player *player = &game->players[pick(N_ASKERS)];
    if (player->asker.credential == NULL)
        return;
    struct th_broker_request request = request_for(&player->wish);
    (void)th_broker_reject(game->house.desks[pick(N_DESKS)], &request.key,
                           player->asker.credential);
}

/* All that runs or is kept is of before; what is asked for from now on counts as after. */
static void play_purge(struct game *game)
{
    (void)th_broker_purge(game->house.broker, NULL);
    game->n_purges++;
}

static void play_new_desk(struct game *game)
{
    struct house *house = &game->house;
    unsigned at = pick(N_DESKS);
    for (unsigned i = 0; i < N_ASKERS; i++) {
        if (game->players[i].asker.waiter.desk == house->desks[at] && pick(2) == 0)
            th_broker_leave(&game->players[i].asker.waiter);
    }
    house->desks[at] = th_broker_desk_free(house->desks[at]);
    assert_int_equal(th_broker_desk_new(house->broker, house->workers[at], &office_ops,
                                        &house->offices[at], &house->desks[at]),
                     0);
}

static void stamp_exchanges(struct game *game)
{
    for (unsigned i = 0; i < N_DESKS; i++) {
        TH_LIST_EACH(it, &game->house.offices[i].running) {
            struct th_exchange *exchange = TH_LIST_ENTRY(it, struct th_exchange, link);
            if (exchange->request.deadline_ms == INT64_MAX)
                exchange->request.deadline_ms = game->n_purges;
        }
    }
}

static void play(struct game *game)
{
    unsigned roll = pick(1000);
    if (roll < 600)
        play_ask(game);
    else if (roll < 780)
        play_end(game);
    else if (roll < 880)
        house_turn(&game->house, pick(5000));
    else if (roll < 940)
        th_broker_leave(&game->players[pick(N_ASKERS)].asker.waiter);
    else if (roll < 990)
        play_reject(game);
    else if (roll < 995)
        play_purge(game);
    else
        play_new_desk(game);
    stamp_exchanges(game);
}

/* A build with -Dchecks=true repeats a game by the seed it has printed. */
static void seed_random(void)
{
    const char *text = getenv("TH_TEST_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : th_random_below(UINT32_MAX);
    print_message("TH_TEST_SEED=%ju\n", (uintmax_t)seed);
#ifdef TH_CHECKS
    th_random_seed_for_tests(seed);
#endif
}

static void r15_never_another_ones_credential(void **state)
{
    static struct game game;
    struct th_broker_options options = usual_options(NULL);
    seed_random();
    memset(&game, 0, sizeof game);
    options.max_entries = 12; /* of 30 keys */
    options.max_waiting = 20;
    house_open(&game.house, &options);
    for (unsigned i = 0; i < N_STEPS; i++) {
        play(&game);
        struct th_broker_figures figures = house_count(&game.house);
        assert_true(figures.entries <= options.max_entries);
        assert_true(figures.waiting <= options.max_waiting);
        assert_true(figures.pending <= options.max_waiting);
    }
    /* The game has been what it should be. */
    assert_true(game.n_served > 1000 && game.n_refused > 100 && game.n_renewed > 10);
    for (unsigned i = 0; i < N_ASKERS; i++)
        asker_forget(&game.players[i].asker);
    house_close(&game.house);
    assert_int_equal(th_secret_bytes_held(), 0);
}

#define N_SCENARIO 10

static void ask_in_scenario(struct house *house, unsigned at, const char *subject,
                            struct asker *asker)
{
    int got = ask(house, at, "one", subject, asker);
    assert_true(got == 0 || got == TH_AGAIN || got == TH_E_NOMEM || got == TH_E_ACCESS_DENIED ||
                got == TH_E_EXCHANGE_DOWN);
}

static void end_in_scenario(struct house *house, const struct th_exchange_result *result,
                            const char *token)
{
    for (unsigned i = 0; i < N_DESKS; i++)
        office_end_all(&house->offices[i], result, token);
    house_turn(house, 0);
}

/* A bit of everything. What fails for want of memory says so, and nothing else does. */
static void run_scenario(struct house *house, struct asker *askers)
{
    struct th_exchange_result good = result_of_token(130000);
    struct th_exchange_result denied = result_of_error(TH_E_ACCESS_DENIED);
    struct th_exchange_result down = result_of_error(TH_E_EXCHANGE_DOWN);
    struct th_broker_request request = request_of("one", "alice");
    for (unsigned i = 0; i < 6; i++)
        ask_in_scenario(house, i % 3, i < 4 ? "alice" : "bob", &askers[i]);
    end_in_scenario(house, &good, "t");
    house_turn(house, 95000); /* due */
    ask_in_scenario(house, 3, "alice", &askers[6]);
    ask_in_scenario(house, 3, "bob", &askers[7]);
    end_in_scenario(house, &down, NULL);
    if (askers[6].credential != NULL)
        (void)th_broker_reject(house->desks[0], &request.key, askers[6].credential);
    ask_in_scenario(house, 0, "alice", &askers[8]);
    end_in_scenario(house, &denied, NULL);
    ask_in_scenario(house, 1, "alice", &askers[9]);
    end_in_scenario(house, &good, "t");
    (void)th_broker_purge(house->broker, NULL);
}

static void r24_every_allocation_fails_in_turn(void **state)
{
    unsigned long n_allocations;
    for (unsigned long nth = 1;; nth++) {
        struct house house;
        struct asker askers[N_SCENARIO] = {0};
        house_open(&house, NULL);
        th_mem_fail_after(nth, 1);
        run_scenario(&house, askers);
        n_allocations = th_mem_count();
        th_mem_fail_after(0, 0);
        for (unsigned i = 0; i < N_SCENARIO; i++)
            asker_forget(&askers[i]);
        /* It has left nothing behind that would be in the way. */
        assert_int_equal(house_count(&house).entries, 0);
        assert_int_equal(house_count(&house).pending, 0);
        assert_int_equal(house_count(&house).waiting, 0);
        fill(&house, "one", "alice", "t", 130000);
        assert_int_equal(ask(&house, 2, "one", "alice", &askers[0]), 0);
        asker_forget(&askers[0]);
        house_close(&house);
        assert_int_equal(th_secret_bytes_held(), 0);
        if (n_allocations < nth)
            break;
    }
#ifdef TH_FAIL_ALLOC
    assert_true(n_allocations > 30);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(r15_never_another_ones_credential),
        cmocka_unit_test(r24_every_allocation_fails_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
