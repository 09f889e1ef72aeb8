/* Whole connections, fuzzed: the bytes are what clients and origins send, in what order, and what the
 * authorization server and the clock do meanwhile. What holds.c checks must hold, and what reaches an origin must
 * be requests, whatever the bytes say.
 *
 * One letter an act; text goes on to a byte 0xff:
 *   n       a new client            q TEXT  the client sends it          Q digit  the client sends one of `requests`
 *   h       it ends its side        x       it closes                    r        it does not read, or does again
 *   o TEXT  the newest origin sends it                                   O digit  one of `responses`
 *   X       it closes               m digit how hosts take connections
 *   s       the server answers the oldest request well                   S digit  one of `refusals`
 *   t digit so long passes          p       the cache is purged          l        the configuration is loaded anew
 *   f byte  an allocation fails     F byte  a call of a library fails
 *   a       what comes next comes in the same turn of the loop */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/base/random.h"
#include "tokenhop/net/init.h"
#include "tokenhop/oauth/json.h"
#include "world.h"

#define ACTS_MAX 200
#define TEXT_END 0xff
#define RANDOM_SEED 7

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char robot[] =
    "{\"name\": \"robot\", \"url\": \"http://robot.test/\", \"type\": \"client_credentials\","
    " \"agents\": [\"agent1\"], \"authorization_server\": \"custom\","
    " \"resource\": \"https://robot.test\", \"allow_cleartext\": true}";

/* "$user" is a whole Authorization field. */
static const char *const requests[] = {
    "GET http://agent2.test/a2a/x HTTP/1.1\r\nHost: agent2.test\r\n$user\r\n",
    "POST http://agent2.test/a2a/x HTTP/1.1\r\nHost: agent2.test\r\n$userContent-Length: 5\r\n\r\nhello",
    ("POST http://agent2.test/a2a/x HTTP/1.1\r\nHost: agent2.test\r\n$userTransfer-Encoding: chunked\r\n\r\n"
     "5\r\nhello\r\n0\r\n\r\n"),
    "GET http://robot.test/ HTTP/1.1\r\nHost: robot.test\r\n\r\n",
    "HEAD http://robot.test/ HTTP/1.1\r\nHost: robot.test\r\n\r\n",
    "PUT http://robot.test/x HTTP/1.1\r\nHost: robot.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "GET http://open.test/ HTTP/1.1\r\nHost: open.test\r\n$user\r\n",
    "CONNECT robot.test:80 HTTP/1.1\r\nHost: robot.test:80\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: robot.test\r\n\r\n",
    "GET http://robot.test/ws HTTP/1.1\r\nHost: robot.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
};

static const char *const responses[] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n1;a=b\r\nx\r\n0\r\nX: y\r\n\r\n",
};

static const struct {
    int status;
    const char *body;
} refusals[] = {
    {400, "{\"error\":\"invalid_grant\"}"},
    {401, "{\"error\":\"invalid_client\"}"},
    {403, "{\"error\":\"access_denied\"}"},
    {500, ""},
    {429, "{}"},
    {200, "{\"access_token\":\"\"}"},
    {200, "[1,2"},
    {200, "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":0}"},
};

struct play {
    struct world world;
    json_t *config;
    const uint8_t *at;
    size_t left;
    struct peer *client;
    bool
        client_is_free; /* has sent text of its own: its bytes may stand anywhere, and so might a token */
    bool was_upgraded; /* some origin may have been sent what is no request */
    unsigned n_clients;
    const char *user;
};

static struct world_home home;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    th_json_start();
    TH_REQUIRE(th_net_global_init() == 0);
    world_home_init(&home);
    return 0;
}

static uint8_t take(struct play *play)
{
    if (play->left == 0)
        return TEXT_END;
    play->left--;
    return *play->at++;
}

static unsigned take_index(struct play *play, size_t count)
{
    return take(play) % (unsigned)count;
}

static struct th_str take_text(struct play *play)
{
    const uint8_t *end = memchr(play->at, TEXT_END, play->left);
    size_t len = end != NULL ? (size_t)(end - play->at) : play->left;
    struct th_str text = {(const char *)play->at, len};
    size_t skipped = end != NULL ? len + 1 : len;

    play->at += skipped;
    play->left -= skipped;
    return text;
}

/* --- clients --- */

static void connect_client(struct play *play)
{
    char name[16];

    snprintf(name, sizeof name, "%u", ++play->n_clients);
    play->client = world_connect(&play->world, name, play->n_clients % 2, 0, false, NULL);
    play->client_is_free = false;
}

static void send_text(struct play *play, struct th_str text)
{
    play->client_is_free = true;
    peer_send(play->client, text.ptr, text.len);
}

static void send_request(struct play *play, const char *request)
{
    const char *user = strstr(request, "$user");

    if (user == NULL || play->client_is_free) {
        peer_send(play->client, request, user != NULL ? (size_t)(user - request) : strlen(request));
        play->client_is_free |= user != NULL;
        return;
    }
    peer_send(play->client, request, (size_t)(user - request));
    peer_send(play->client, "Authorization: Bearer ", strlen("Authorization: Bearer "));
    peer_send(play->client, play->user, strlen(play->user));
    peer_send(play->client, "\r\n", 2);
    peer_send(play->client, user + strlen("$user"), strlen(user + strlen("$user")));
}

static void act_as_client(struct play *play, uint8_t act)
{
    struct th_str text = act == 'q' ? take_text(play) : TH_STR_NONE;
    unsigned index = act == 'Q' ? take_index(play, TH_COUNT_OF(requests)) : 0;

    if (act == 'n' || play->client->fd < 0) {
        connect_client(play);
        return;
    }
    if (act == 'q')
        send_text(play, text);
    else if (act == 'Q')
        send_request(play, requests[index]);
    else if (act == 'h')
        play->client->shut = true;
    else if (act == 'x')
        peer_close(play->client);
    else
        play->client->holds = !play->client->holds;
}

/* --- origins, the server, the rest --- */

static struct peer *newest_origin(struct play *play)
{
    struct peer *found = NULL;

    for (struct peer *peer = play->world.network.origins; peer != NULL; peer = peer->next)
        if (peer->fd >= 0)
            found = peer;
    return found;
}

static void act_as_origin(struct play *play, uint8_t act)
{
    struct peer *origin = newest_origin(play);
    struct th_str text = TH_STR_NONE;

    if (act == 'o')
        text = take_text(play);
    else if (act == 'O')
        text = th_str_of(responses[take_index(play, TH_COUNT_OF(responses))]);
    if (origin == NULL)
        return;
    if (act == 'X') {
        peer_close(origin);
        return;
    }
    peer_send(origin, text.ptr, text.len);
    play->was_upgraded |= memmem(text.ptr, text.len, " 101", 4) != NULL;
}

static struct th_fetch *oldest_ask(struct play *play)
{
    for (struct th_fetch *ask = play->world.server.asks; ask != NULL; ask = ask->next)
        if (ask_waits(ask) && ask->checked)
            return ask;
    return NULL;
}

static void act_as_server(struct play *play, bool well, unsigned index)
{
    struct server *server = &play->world.server;
    struct th_fetch *ask = oldest_ask(play);

    if (ask == NULL)
        return;
    struct token *token = NULL;
    if (well)
        token = server_issue(server, ask,
                             strcmp(ask_kind(ask), "id_jag") == 0 ? TOKEN_ID_JAG : TOKEN_ACCESS,
                             "issued", NULL);
    if (token == NULL) {
        server_answer(ask, refusals[index].status, th_str_of(refusals[index].body),
                      "application/json", -1);
        return;
    }
    server_answer_well(ask, server_good_answer(ask, token));
}

static void let_pass(struct play *play, unsigned digit)
{
    static const int64_t times_ms[] = {1, 20, 400, 3000, 16000, 80000, 200000, 1000000};

    world_pass(&play->world, times_ms[digit]);
}

/* Whether it was an act. */
static bool act(struct play *play, uint8_t letter)
{
    struct world *world = &play->world;

    switch (letter) {
    case 'n':
    case 'q':
    case 'Q':
    case 'h':
    case 'x':
    case 'r':
        act_as_client(play, letter);
        return true;
    case 'o':
    case 'O':
    case 'X':
        act_as_origin(play, letter);
        return true;
    case 'm':
        network_place(&world->network, "robot.test")->manner = take_index(play, 4);
        return true;
    case 's':
        act_as_server(play, true, 0);
        return true;
    case 'S':
        act_as_server(play, false, take_index(play, TH_COUNT_OF(refusals)));
        return true;
    case 't':
        let_pass(play, take_index(play, 8));
        return true;
    case 'p':
        world_purge(world);
        return true;
    case 'l':
        return world_reload(world, play->config);
    case 'f': /* where the build can, as the next */
        world->fail_nth[WORLD_ALLOCATION] = world->n_done[WORLD_ALLOCATION] + 1 + take(play);
        return true;
    case 'F':
        world->fail_nth[WORLD_CALL] = world->n_done[WORLD_CALL] + 1 + take(play);
        return true;
    }
    return false;
}

/* What an origin has got is one request after another, the last perhaps not whole. */
static void check_origins(struct play *play)
{
    for (struct peer *peer = play->world.network.origins; peer != NULL; peer = peer->next) {
        struct th_str rest = {peer->got.ptr, peer->got.len};
        enum message_state state = MESSAGE_WHOLE;
        const char *why = NULL;
        while (state == MESSAGE_WHOLE && rest.len > 0) {
            struct message message;
            state = message_read(rest, false, false, false, &message, &why);
            if (state == MESSAGE_WHOLE)
                rest = (struct th_str){rest.ptr + message.len, rest.len - message.len};
            message_fini(&message);
        }
        if (state == MESSAGE_BAD && !play->was_upgraded)
            world_complain(&play->world, "an origin got what is no request: %s", why);
    }
}

static void run(struct play *play)
{
    struct world *world = &play->world;

    play->user = world_add_subject(world, "user", NULL)->text;
    connect_client(play);
    for (unsigned n = 0; n < ACTS_MAX && play->left > 0 && world->complaint.len == 0; n++) {
        uint8_t letter = take(play);
        bool at_once = letter == 'a';
        if (at_once)
            letter = take(play);
        if (act(play, letter) && !at_once)
            world_settle(world);
    }
    check_origins(play);
    world_close(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct play *play = calloc(1, sizeof *play);

    TH_REQUIRE(play != NULL);
    th_random_seed_for_tests(RANDOM_SEED);
    play->at = bytes;
    play->left = len;
    play->config = world_default_config();
    json_object_set_new(play->config, "workers", json_integer(2));
    json_array_append_new(json_object_get(play->config, "connections"), json_loads(robot, 0, NULL));
    world_init(&play->world, &home);
    TH_REQUIRE(
        network_add_address(network_place(&play->world.network, "robot.test"), TH_STR("10.0.0.3")));
    TH_REQUIRE(world_start(&play->world, play->config));
    run(play);
    world_fini(&play->world);
    if (play->world.complaint.len > 0) {
        fprintf(stderr, "does not hold: %s\n", play->world.complaint.ptr);
        abort();
    }
    bytes_fini(&play->world.complaint);
    json_decref(play->config);
    free(play);
    return 0;
}
