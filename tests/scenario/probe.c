/* Whether the proxy answers as ever, after what the play has put it through. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenhop/base/check.h"
#include "world.h"

#define ROUNDS 40

/* As a server that knows the two legs alone. False: it was asked for something else. */
static bool answer_asks(struct server *server)
{
    bool knows = true;

    for (struct th_fetch *ask = server->asks; ask != NULL; ask = ask->next) {
        struct token *token = NULL;
        if (!ask_waits(ask) || !ask->checked)
            continue;
        bool is_first = strcmp(ask_kind(ask), "id_jag") == 0;
        if (is_first || strcmp(ask_kind(ask), "jwt_bearer") == 0)
            token = server_issue(server, ask, is_first ? TOKEN_ID_JAG : TOKEN_ACCESS,
                                 "probe_issued", NULL);
        if (token == NULL) {
            knows = false;
            server_fail(ask, TH_E_EXCHANGE_DOWN);
            continue;
        }
        server_answer_well(ask, server_good_answer(ask, token));
    }
    return knows;
}

/* Whatever else an origin has in its ear: it answers what is a probe and has not been answered. */
static void answer_probes(struct world *world, const char *path)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct th_str end = TH_STR("\r\n\r\n");

    for (struct peer *peer = world->network.origins; peer != NULL; peer = peer->next) {
        struct th_str rest = peer_rest(peer);
        const char *at = rest.len > 0 ? memmem(rest.ptr, rest.len, path, strlen(path)) : NULL;
        size_t left = at != NULL ? rest.len - (size_t)(at - rest.ptr) : 0;
        const char *head_end = at != NULL ? memmem(at, left, end.ptr, end.len) : NULL;
        if (peer->fd < 0 || head_end == NULL)
            continue;
        peer->used += (size_t)(head_end - rest.ptr) + end.len;
        peer_send(peer, answer, strlen(answer));
    }
}

static unsigned probe(struct world *world, const char *host, const char *token)
{
    char request[512], path[64];
    struct peer *client;
    unsigned status = 0;
    bool knows = true;

    snprintf(path, sizeof path, "/a2a/probe-%s", host);
    snprintf(request, sizeof request, "GET http://%s%s HTTP/1.1\r\nHost: %s\r\n", host, path, host);
    struct net_place *place = network_place(&world->network, host);
    place->manner = PLACE_CONNECTS;
    client = world_connect(world, "probe", 0, 0, false, NULL);
    peer_send(client, request, strlen(request));
    if (token != NULL) {
        peer_send(client, "Authorization: Bearer ", strlen("Authorization: Bearer "));
        peer_send(client, token, strlen(token));
        peer_send(client, "\r\n", 2);
    }
    peer_send(client, "\r\n", 2);
    for (int i = 0; i < ROUNDS && status == 0; i++) {
        struct message message;
        const char *why;
        world_settle(world);
        knows &= answer_asks(&world->server);
        answer_probes(world, path);
        if (client->got.len > 0 && message_read(peer_rest(client), true, false, client->ended,
                                                &message, &why) == MESSAGE_WHOLE)
            status = (unsigned)strtoul(message.start.ptr + 9, NULL, 10);
        if (client->got.len > 0)
            message_fini(&message);
    }
    peer_close(client);
    world_settle(world);
    return knows ? status : WORLD_PROBE_UNKNOWN;
}

void world_probe(struct world *world, unsigned ret_statuses[WORLD_PROBES])
{
    const struct token *token = world_add_subject(world, "probing", NULL);

    world->had_faults = world_has_faults(world);
    for (size_t i = 0; i < WORLD_FAULTS; i++)
        world->fail_nth[i] = 0;
    ret_statuses[0] = probe(world, "open.test", NULL);
    ret_statuses[1] = probe(world, "agent2.test", token->text);
}
