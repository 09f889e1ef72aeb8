/* Clients, origins, the authorization server and the clock do what a random number says; what must hold
 * holds all the same: what holds.c checks, and that
 *   - an origin sees of each request the credential of that request's subject, or none (R11, R15);
 *   - a client sees of each request the whole body that an origin sent for this very request, in
 *     order, or can see that it is not whole (R4, R6);
 *   - a POST reaches origins once, and once more for each 401 that it got (R5).
 *
 *   chaos [--seconds N] [--seed N]      a seed alone is played once, as it was when it failed */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/random.h"
#include "tokenhop/net/init.h"
#include "tokenhop/oauth/json.h"
#include "world.h"

#define STEPS 500
#define USERS 4
#define ASKS_MAX (2 * STEPS)
#define FILL_MAX 60000

/* One request of a client. Its number stands in its path, and in the body of its answer. */
struct asked {
    struct asked *next; /* of the same client, in the order of sending */
    unsigned number, user;
    bool mapped, is_post, is_head;
    unsigned n_seen, n_401; /* by origins */
    bool answered;          /* 200 was begun */
    size_t body_len;
};

struct caller {
    struct peer *peer;
    struct asked *first, **end; /* not answered yet */
    bool broken;                /* sent nonsense: its answers are not followed any more */
};

struct chaos {
    struct world world;
    json_t *config;
    uint64_t state;
    struct caller callers[8];
    struct asked asks[ASKS_MAX];
    unsigned n_asks;
    unsigned n_callers; /* ever */
    unsigned n_whole;
    int64_t wall_is_ahead_ms; /* of where it would be */
    bool short_of_memory,
        calls_fail; /* where the build can: -Dfail_alloc=true, -Dfail_calls=true */
};

static unsigned below(struct chaos *chaos, unsigned bound)
{
    chaos->state ^= chaos->state << 13;
    chaos->state ^= chaos->state >> 7;
    chaos->state ^= chaos->state << 17;
    return (unsigned)(chaos->state >> 20) % bound;
}

static bool one_in(struct chaos *chaos, unsigned n)
{
    return below(chaos, n) == 0;
}

/* --- clients --- */

static void connect_caller(struct chaos *chaos, struct caller *caller)
{
    char name[16];

    snprintf(name, sizeof name, "%u", ++chaos->n_callers);
    *caller = (struct caller){0};
    caller->end = &caller->first;
    caller->peer = world_connect(&chaos->world, name, below(chaos, 2), 0, one_in(chaos, 3), NULL);
}

static void fill_body(struct bytes *body, const struct asked *asked)
{
    bytes_printf(body, "r%u;", asked->number);
    while (body->len < asked->body_len) {
        char c = (char)('a' + (body->len + asked->number) % 26);
        bytes_add(body, &c, 1);
    }
}

static void add_request_body(struct chaos *chaos, struct bytes *out, const struct asked *asked)
{
    struct bytes body = {0};

    fill_body(&body, asked);
    if (one_in(chaos, 2)) {
        bytes_printf(out, "Content-Length: %zu\r\n\r\n", body.len);
        bytes_add(out, body.ptr, body.len);
    } else {
        size_t half = body.len / 2;
        bytes_printf(out, "Transfer-Encoding: chunked\r\n\r\n");
        if (half > 0) {
            bytes_printf(out, "%zx\r\n", half);
            bytes_add(out, body.ptr, half);
            bytes_printf(out, "\r\n");
        }
        bytes_printf(out, "%zx\r\n", body.len - half);
        bytes_add(out, body.ptr + half, body.len - half);
        bytes_printf(out, "\r\n0\r\n\r\n");
    }
    bytes_fini(&body);
}

static void ask(struct chaos *chaos, struct caller *caller)
{
    struct asked *asked = &chaos->asks[chaos->n_asks];
    struct bytes out = {0};
    char user[16];

    *asked = (struct asked){.number = chaos->n_asks++,
                            .user = below(chaos, USERS),
                            .mapped = !one_in(chaos, 6),
                            .is_post = one_in(chaos, 3),
                            .is_head = one_in(chaos, 8)};
    asked->is_head &= !asked->is_post;
    asked->body_len = one_in(chaos, 4) ? 12 + below(chaos, FILL_MAX) : 12 + below(chaos, 100);
    *caller->end = asked;
    caller->end = &asked->next;
    snprintf(user, sizeof user, "user%u", asked->user);
    const char *host = asked->mapped ? "agent2.test" : "open.test";
    bytes_printf(&out, "%s http://%s/a2a/%u HTTP/1.1\r\nHost: %s\r\n",
                 asked->is_post   ? "POST"
                 : asked->is_head ? "HEAD"
                                  : "GET",
                 host, asked->number, host);
    bytes_printf(&out, "Authorization: Bearer ");
    const char *text = token_find(&chaos->world.tokens, th_str_of(user))->text;
    bytes_add(&out, text, strlen(text));
    bytes_printf(&out, "\r\n");
    if (asked->is_post)
        add_request_body(chaos, &out, asked);
    else
        bytes_printf(&out, "\r\n");
    size_t len = out.len;
    if (one_in(chaos, 12)) { /* leaves in the middle, or goes on with nonsense */
        len = below(chaos, (unsigned)out.len);
        caller->broken = true;
    }
    peer_send(caller->peer, out.ptr, len);
    bytes_fini(&out);
}

/* An answer has come whole: it must be the one that is due. */
static void check_answer(struct chaos *chaos, const struct asked *asked,
                         const struct message *message)
{
    struct bytes due = {0};
    unsigned status = (unsigned)strtoul(message->start.ptr + 9, NULL, 10);

    if (status != 200)
        return;
    chaos->n_whole++;
    if (!asked->answered)
        world_complain(&chaos->world, "request %u got a 200 that no origin has sent: %s",
                       asked->number, bytes_show(message->start.ptr, message->head_len, 300));
    fill_body(&due, asked);
    if (!asked->is_head && !th_str_equal(bytes_str(&message->body), bytes_str(&due)))
        world_complain(&chaos->world, "request %u got another body: %s", asked->number,
                       bytes_show(message->body.ptr, message->body.len, 60));
    bytes_fini(&due);
}

static void read_answers(struct chaos *chaos, struct caller *caller)
{
    while (caller->first != NULL && caller->peer->fd >= 0) {
        struct asked *asked = caller->first;
        struct message message;
        const char *why;
        /* A clean end is no proof: what an origin ends by its close is chunked to these clients. */
        enum message_state state =
            message_read(peer_rest(caller->peer), true, asked->is_head, false, &message, &why);
        if (state == MESSAGE_BAD)
            world_complain(&chaos->world, "request %u got what is no answer: %s", asked->number,
                           why);
        if (state == MESSAGE_WHOLE) {
            caller->peer->used += message.len;
            if (message.start.ptr[9] != '1') {
                if (!caller->broken)
                    check_answer(chaos, asked, &message);
                caller->first = asked->next;
                if (caller->first == NULL)
                    caller->end = &caller->first;
            }
        }
        message_fini(&message);
        if (state != MESSAGE_WHOLE)
            return;
    }
}

static void act_as_client(struct chaos *chaos)
{
    struct caller *caller = &chaos->callers[below(chaos, TH_COUNT_OF(chaos->callers))];

    if (caller->peer == NULL || caller->peer->fd < 0 || caller->peer->ended) {
        if (caller->peer != NULL)
            peer_close(caller->peer);
        connect_caller(chaos, caller);
        return;
    }
    if (one_in(chaos, 15)) {
        if (caller->peer->tcp && one_in(chaos, 2))
            peer_reset(caller->peer);
        else
            peer_close(caller->peer);
    } else if (one_in(chaos, 20)) {
        caller->peer->holds = !caller->peer->holds;
    } else if (!caller->broken && chaos->n_asks < ASKS_MAX) {
        ask(chaos, caller);
    }
}

/* --- origins --- */

static void check_credential(struct chaos *chaos, const struct asked *asked,
                             const struct message *message)
{
    struct th_str value = message_find(message, TH_STR("Authorization"));
    char user[16];

    if (!asked->mapped) {
        if (value.ptr != NULL)
            world_complain(&chaos->world, "request %u brought its token to open.test",
                           asked->number);
        return;
    }
    snprintf(user, sizeof user, "user%u", asked->user);
    const struct token *token = NULL;
    if (value.len > 7)
        token =
            token_find_text(&chaos->world.tokens, (struct th_str){value.ptr + 7, value.len - 7});
    if (token == NULL || token->kind != TOKEN_ACCESS)
        world_complain(&chaos->world, "request %u came with no access token", asked->number);
    else if (!th_str_equal(th_jwt_text(token->claims, "sub"), th_str_of(user)))
        world_complain(&chaos->world, "request %u of %s came with another's credential",
                       asked->number, user);
}

static void answer_well(struct chaos *chaos, struct peer *origin, struct asked *asked)
{
    struct bytes out = {0}, body = {0};
    unsigned manner = below(chaos, 8);

    fill_body(&body, asked);
    asked->answered = true;
    if (one_in(chaos, 6))
        bytes_printf(&out, "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n");
    bytes_printf(&out, "HTTP/1.1 200 OK\r\n");
    if (manner < 3 || asked->is_head) {
        bytes_printf(&out, "Content-Length: %zu\r\n\r\n", body.len);
        if (!asked->is_head)
            bytes_add(&out, body.ptr, body.len);
    } else if (manner < 7) {
        bytes_printf(&out, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", body.len);
        bytes_add(&out, body.ptr, body.len);
        bytes_printf(&out, "\r\n0\r\n\r\n");
    } else { /* ends with the connection */
        bytes_printf(&out, "\r\n");
        bytes_add(&out, body.ptr, body.len);
        peer_send(origin, out.ptr, out.len);
        origin->shut = true;
        bytes_fini(&body);
        bytes_fini(&out);
        return;
    }
    if (one_in(chaos, 12))
        bytes_printf(&out, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    if (one_in(chaos, 10)) { /* breaks off */
        peer_send(origin, out.ptr, below(chaos, (unsigned)out.len));
        if (origin->tcp && one_in(chaos, 2))
            peer_reset(origin);
        else
            peer_close(origin);
    } else {
        peer_send(origin, out.ptr, out.len);
    }
    bytes_fini(&body);
    bytes_fini(&out);
}

static void answer_badly(struct chaos *chaos, struct peer *origin, struct asked *asked)
{
    static const char *const answers[] = {
        "HTTP/1.1 500 Broken\r\nContent-Length: 3\r\n\r\nbad",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "nonsense\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    };
    const char *unauthorized = "HTTP/1.1 401 No\r\nContent-Length: 3\r\n\r\nno!";

    if (one_in(chaos, 2)) {
        asked->n_401++;
        peer_send(origin, unauthorized, strlen(unauthorized));
    } else if (one_in(chaos, 3)) {
        peer_close(origin);
    } else {
        const char *answer = answers[below(chaos, TH_COUNT_OF(answers))];
        asked->answered |= asked->is_head; /* to HEAD some of these are as they should be */
        peer_send(origin, answer, strlen(answer));
    }
}

static void serve(struct chaos *chaos, struct peer *origin)
{
    struct message message;
    const char *why;

    if (origin->fd < 0 || one_in(chaos, 4)) /* not now */
        return;
    enum message_state state = message_read(peer_rest(origin), false, false, false, &message, &why);
    if (state == MESSAGE_BAD)
        world_complain(&chaos->world, "an origin got what is no request: %s", why);
    const char *at = state == MESSAGE_WHOLE ? strstr(message.start.ptr, "/a2a/") : NULL;
    unsigned number = at != NULL ? (unsigned)strtoul(at + 5, NULL, 10) : ASKS_MAX;
    if (state == MESSAGE_WHOLE && number < chaos->n_asks) {
        struct asked *asked = &chaos->asks[number];
        struct bytes due = {0};
        origin->used += message.len;
        check_credential(chaos, asked, &message);
        if (asked->is_post && ++asked->n_seen > 1 + asked->n_401)
            world_complain(&chaos->world, "POST %u came %u times, after %u 401s", number,
                           asked->n_seen, asked->n_401);
        fill_body(&due, asked);
        if (asked->is_post && !th_str_equal(bytes_str(&message.body), bytes_str(&due)))
            world_complain(&chaos->world, "POST %u came with another body", number);
        bytes_fini(&due);
        if (one_in(chaos, 4))
            answer_badly(chaos, origin, asked);
        else
            answer_well(chaos, origin, asked);
    } else if (state == MESSAGE_WHOLE) {
        world_complain(&chaos->world, "an origin got a request that nobody has sent");
    }
    message_fini(&message);
}

static void act_as_origins(struct chaos *chaos)
{
    for (struct peer *peer = chaos->world.network.origins; peer != NULL; peer = peer->next) {
        if (peer->holds)
            continue;
        serve(chaos, peer);
        if (peer->fd >= 0 && one_in(chaos, 60))
            peer_close(peer);
    }
    struct net_place *place = network_place(&chaos->world.network, "agent2.test");
    if (one_in(chaos, 25))
        place->manner = (enum place_manner)below(chaos, 4);
    else if (one_in(chaos, 5))
        place->manner = PLACE_CONNECTS;
    place->tcp = one_in(chaos, 2);
}

/* --- the authorization server --- */

static void refuse(struct chaos *chaos, struct th_fetch *fetch)
{
    static const struct {
        int status;
        const char *body;
    } answers[] = {{500, "{\"error\":\"server_error\"}"},
                   {400, "{\"error\":\"invalid_grant\"}"},
                   {403, "{\"error\":\"access_denied\"}"},
                   {200, "{\"access_token\":\"\"}"},
                   {200, "[1,2"},
                   {429, "{}"}};

    if (one_in(chaos, 3)) {
        server_fail(fetch, one_in(chaos, 2) ? TH_E_EXCHANGE_DOWN : TH_E_EXCHANGE_TIMEOUT);
        return;
    }
    unsigned i = below(chaos, TH_COUNT_OF(answers));
    server_answer(fetch, answers[i].status, th_str_of(answers[i].body), "application/json",
                  one_in(chaos, 3) ? (int64_t)1000 * below(chaos, 30) : -1);
}

static void act_as_server(struct chaos *chaos)
{
    struct server *server = &chaos->world.server;

    for (struct th_fetch *fetch = server->asks; fetch != NULL; fetch = fetch->next) {
        if (!ask_waits(fetch) || !fetch->checked || one_in(chaos, 3))
            continue;
        struct token *token =
            one_in(chaos, 5)
                ? NULL
                : server_issue(server, fetch,
                               strcmp(ask_kind(fetch), "id_jag") == 0 ? TOKEN_ID_JAG : TOKEN_ACCESS,
                               "issued", NULL);
        if (token == NULL) {
            refuse(chaos, fetch);
            continue;
        }
        json_t *answer = server_good_answer(fetch, token);
        if (one_in(chaos, 3))
            json_object_set_new(answer, "expires_in", json_integer(below(chaos, 90)));
        server_answer_well(fetch, answer);
    }
}

/* --- one play --- */

/* By minutes, and back: tokens live for an hour. */
static void set_wall_clock(struct chaos *chaos)
{
    int64_t by_ms = INT64_C(1000) * below(chaos, 600);

    if (chaos->wall_is_ahead_ms != 0)
        by_ms = -chaos->wall_is_ahead_ms;
    else if (one_in(chaos, 2))
        by_ms = -by_ms;
    chaos->world.clock.fake_wall_ms += by_ms;
    chaos->wall_is_ahead_ms += by_ms;
}

static void fail_soon(struct chaos *chaos, enum world_fault what, unsigned within)
{
    chaos->world.fail_nth[what] = chaos->world.n_done[what] + 1 + below(chaos, within);
}

static void act_as_time_and_operator(struct chaos *chaos)
{
    if (one_in(chaos, 3))
        world_pass(&chaos->world, below(chaos, 50));
    else if (one_in(chaos, 20))
        world_pass(&chaos->world, 1000 * below(chaos, 90));
    if (one_in(chaos, 60))
        world_purge(&chaos->world);
    if (one_in(chaos, 80))
        world_reload(&chaos->world, chaos->config);
    if (one_in(chaos,
               40)) /* someone sets the clock of the machine: deadlines do not move with it */
        set_wall_clock(chaos);
    if (chaos->short_of_memory && one_in(chaos, 8))
        fail_soon(chaos, WORLD_ALLOCATION, 60);
    if (chaos->calls_fail && one_in(chaos, 8))
        fail_soon(chaos, WORLD_CALL, 200);
}

static bool play(const struct world_home *home, uint64_t seed)
{
    struct chaos *chaos = zeroed(sizeof *chaos);
    struct world *world = &chaos->world;

#ifdef TH_CHECKS
    th_random_seed_for_tests(seed);
#endif
    chaos->state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    chaos->short_of_memory = seed % 2 == 0;
    chaos->calls_fail = seed % 3 == 0;
    chaos->config = world_default_config();
    json_object_set_new(chaos->config, "workers", json_integer(2));
    world_init(world, home);
    bool fine = world_start(world, chaos->config);
    for (unsigned i = 0; i < USERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%u", i);
        world_add_subject(world, name, NULL);
    }
    unsigned step = 0;
    for (; fine && step < STEPS && world->complaint.len == 0; step++) {
        act_as_client(chaos);
        if (one_in(chaos, 3)) /* else what the next does comes in the same turn */
            world_settle(world);
        act_as_origins(chaos);
        act_as_server(chaos);
        act_as_time_and_operator(chaos);
        for (size_t i = 0; i < TH_COUNT_OF(chaos->callers); i++)
            if (chaos->callers[i].peer != NULL)
                read_answers(chaos, &chaos->callers[i]);
        if (step == STEPS - 40 && one_in(chaos, 3))
            world_drain(world, 5000);
    }
    if (fine)
        world_close(world);
    unsigned n_asks = chaos->n_asks, n_whole = chaos->n_whole;
    world_fini(world);
    fine = world->complaint.len == 0;
    if (!fine)
        fprintf(stderr, "chaos --seed %llu, step %u: %s\n", (unsigned long long)seed, step,
                world->complaint.ptr);
    if (n_whole == 0)
        fprintf(stderr, "seed %llu: of %u requests not one was answered\n",
                (unsigned long long)seed, n_asks);
    bytes_fini(&world->complaint);
    json_decref(chaos->config);
    free(chaos);
    return fine && n_whole > 0;
}

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct world_home home;
    uint64_t seed = 0;
    double seconds = 3;
    bool fine = true;
    unsigned n = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(argv[i + 1], NULL);
    }
    th_json_start();
    if (th_net_global_init() != 0)
        return 2;
    world_home_init(&home);
    if (seed != 0) {
        fine = play(&home, seed);
        n = 1;
    } else {
        uint64_t first = (uint64_t)time(NULL) * 1000;
        printf("chaos: seeds from %llu\n", (unsigned long long)first);
        for (double end = now() + seconds; fine && now() < end; n++)
            fine = play(&home, first + n);
    }
    world_home_fini(&home);
    th_net_global_fini();
    printf("%u plays, %s\n", n, fine ? "all held" : "the last did not hold");
    return !fine;
}
