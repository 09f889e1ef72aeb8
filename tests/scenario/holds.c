/* What must hold in every scenario, whatever its script says. */
#include <string.h>

#include "tokenhop/base/check.h"
#include "world.h"

#define STEP_MS 5000

/* The part of a token that nobody else's has: a JWT's signature; of an opaque one, all of it. */
static struct th_str secret_part(const struct token *token)
{
    const char *dot = strrchr(token->text, '.');

    return th_str_of(dot != NULL ? dot + 1 : token->text);
}

static bool have_token(const struct bytes *bytes, const struct token *token)
{
    return bytes_have(bytes, secret_part(token));
}

/* No token in what is written (R11). */
static void check_written(struct world *world)
{
    struct bytes text = {0};

    world_read_written(world, &text);
    for (struct token *token = world->tokens.first; token != NULL; token = token->next)
        if (have_token(&text, token))
            world_complain(world, "the token %s stands in a log or metric", token->name);
    bytes_fini(&text);
}

/* "https://agent2.test" -> "agent2.test" */
static const char *host_of_resource(const struct token *token)
{
    struct th_str aud = th_jwt_text(token->claims, "aud");
    const char *at = aud.len > 0 ? strstr(aud.ptr, "://") : NULL;

    return at != NULL ? at + 3 : NULL;
}

static void check_origin(struct world *world, const struct peer *origin)
{
    for (struct token *token = world->tokens.first; token != NULL; token = token->next) {
        if (!have_token(&origin->got, token))
            continue;
        if (token->goes_on_to[0] != '\0' &&
            network_is_at(&world->network, token->goes_on_to, &origin->address))
            continue;
        if (token->kind != TOKEN_ACCESS) {
            world_complain(world, "an origin has received %s, which is for the server alone",
                           token->name);
            continue;
        }
        const char *host = host_of_resource(token);
        if (host != NULL && !network_is_at(&world->network, host, &origin->address))
            world_complain(world, "an origin has received %s, which is for %s", token->name, host);
    }
}

static void check_client(struct world *world, const struct peer *client)
{
    if (world->origins_told_tokens)
        return;
    for (struct token *token = world->tokens.first; token != NULL; token = token->next)
        if (have_token(&client->got, token))
            world_complain(world, "client %s has been shown %s", client->name, token->name);
}

/* What a client has got is one answer after another, the last perhaps not whole. Not so where it was not asked in that
 * manner (a tunnel, HEAD): the caller knows whether it may be so. */
static void check_answers(struct world *world)
{
    for (struct peer *peer = world->clients; peer != NULL; peer = peer->next) {
        struct th_str rest = {peer->got.ptr, peer->got.len};
        enum message_state state = MESSAGE_WHOLE;
        const char *why;
        while (state == MESSAGE_WHOLE && rest.len > 0) {
            struct message message;
            state = message_read(rest, true, false, false, &message, &why);
            if (state == MESSAGE_WHOLE)
                rest = (struct th_str){rest.ptr + message.len, rest.len - message.len};
            message_fini(&message);
        }
        world->is_malformed |= state == MESSAGE_BAD;
    }
}

static void check_tokens(struct world *world)
{
    check_written(world);
    for (struct peer *peer = world->network.origins; peer != NULL; peer = peer->next)
        check_origin(world, peer);
    for (struct peer *peer = world->clients; peer != NULL; peer = peer->next)
        check_client(world, peer);
}

/* Chunks that are free were wiped where they held bytes (base/chunk.h). */
static void check_free_chunks(struct world *world)
{
    for (size_t i = 0; i < world->n_places; i++)
        TH_LIST_EACH(item, &world->places[i].worker->chunks.free) {
            const struct th_chunk *chunk = TH_LIST_ENTRY(item, struct th_chunk, link);
            for (struct token *token = world->tokens.first; token != NULL; token = token->next) {
                struct th_str secret = secret_part(token);
                if (memmem(chunk->data, chunk->size, secret.ptr, secret.len) != NULL)
                    world_complain(world, "a free chunk still holds %s", token->name);
            }
        }
}

static void check_nothing_open(struct world *world, const char *when)
{
    static const enum th_metric gauges[] = {TH_METRIC_CONNECTIONS_OPEN, TH_METRIC_HOPS_OPEN,
                                            TH_METRIC_ORIGIN_OPEN,      TH_METRIC_ORIGIN_IDLE,
                                            TH_METRIC_EXCHANGES_OPEN,   TH_METRIC_EXCHANGE_WAITERS,
                                            TH_METRIC_TUNNELS_OPEN};
    struct th_broker_figures broker;

    for (size_t i = 0; i < world->n_places; i++) {
        struct th_proxy_figures figures;
        th_proxy_desk_count(world->places[i].desk, &figures);
        if (figures.sessions + figures.hops + figures.origins_idle > 0)
            world_complain(world, "%s: %zu sessions, %zu hops, %zu idle origins are left", when,
                           figures.sessions, figures.hops, figures.origins_idle);
        if (world->places[i].worker->chunks.n_used > 0)
            world_complain(world, "%s: %zu chunks are left", when,
                           world->places[i].worker->chunks.n_used);
    }
    th_broker_count(world->broker, &broker);
    /* Without memory for a message its receiver is not told, and waits until its own limit. */
    if (world_has_faults(world))
        broker.lost = 0;
    if (broker.pending + broker.waiting + broker.lost > 0)
        world_complain(world, "%s: %llu exchanges and %llu waiters are left, %llu messages lost",
                       when, (unsigned long long)broker.pending, (unsigned long long)broker.waiting,
                       (unsigned long long)broker.lost);
    for (size_t i = 0; i < TH_COUNT_OF(gauges); i++)
        if (th_metrics_sum(world->metrics, gauges[i]) != 0)
            world_complain(world, "%s: %s is %lld", when, th_metrics_name(gauges[i]),
                           (long long)th_metrics_sum(world->metrics, gauges[i]));
}

static bool is_all_over(const struct world *world)
{
    struct th_broker_figures broker;

    for (size_t i = 0; i < world->n_places; i++) {
        struct th_proxy_figures figures;
        th_proxy_desk_count(world->places[i].desk, &figures);
        if (figures.sessions + figures.hops + figures.origins_idle > 0)
            return false;
    }
    th_broker_count(world->broker, &broker);
    return broker.pending + broker.waiting == 0;
}

void world_close(struct world *world)
{
    if (!world->started)
        return;
    /* Nobody moves: every limit passes, and with it every hop. */
    for (int64_t passed_ms = 0; passed_ms < WORLD_LONG_MS && !is_all_over(world);
         passed_ms += STEP_MS)
        world_pass(world, STEP_MS);
    check_nothing_open(world, "with everybody silent");
    check_answers(world);
    if (world->is_probed) {
        world_probe(world, world->probes);
        for (int64_t passed_ms = 0; passed_ms < WORLD_LONG_MS && !is_all_over(world);
             passed_ms += STEP_MS)
            world_pass(world, STEP_MS);
        check_nothing_open(world, "after the probes");
    }
    for (struct peer *peer = world->clients; peer != NULL; peer = peer->next)
        peer_close(peer);
    for (struct peer *peer = world->network.origins; peer != NULL; peer = peer->next)
        peer_close(peer);
    world_settle(world);
    check_nothing_open(world, "with everybody gone");
    check_tokens(world);
    if (!world_has_faults(world))
        check_free_chunks(world);
    if (world->server.violation[0] != '\0')
        world_complain(world, "%s", world->server.violation);
    if (th_check_count() != world->checks_before)
        world_complain(world, "an internal check has failed (see above)");
}
