#include "world.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/config/load.h"
#include "tokenhop/observe/log.h"

#define WALL_MS INT64_C(1800000000000) /* January 2027 */
#define ROUNDS_MAX 20000

static const char default_config[] =
    "{\"listeners\": [{\"name\": \"agents\", \"address\": \"127.0.0.1:8080\", \"mode\": \"forward\","
    "                \"agent\": \"agent1\"}],"
    " \"authorization_servers\": {"
    "   \"org\": {\"issuer\": \"https://org.test\", \"token_endpoint\": \"https://org.test/token\"},"
    "   \"custom\": {\"issuer\": \"https://custom.test\","
    "              \"token_endpoint\": \"https://custom.test/token\"}},"
    " \"agents\": {\"agent1\": {\"client_id\": \"client1\","
    "   \"auth\": {\"method\": \"private_key_jwt\", \"key_file\": \"agent1.pem\", \"kid\": \"k1\","
    "            \"alg\": \"ES256\"},"
    "   \"resource\": \"https://agent1.test\", \"authorization_server\": \"org\"}},"
    " \"connections\": [{\"name\": \"agent2\", \"url\": \"http://agent2.test/a2a/\","
    "   \"type\": \"agent_to_agent\", \"agents\": [\"agent1\"], \"authorization_server\": \"custom\","
    "   \"resource\": \"https://agent2.test\", \"scopes\": [\"chat.read\", \"chat.history\"],"
    "   \"subject\": {\"verify\": false}, \"allow_cleartext\": true}],"
    " \"unmatched\": [{\"url\": \"http://open.test/\", \"action\": \"forward\"}],"
    " \"workers\": 1}";

json_t *world_default_config(void)
{
    json_t *config = json_loads(default_config, 0, NULL);

    TH_REQUIRE(config != NULL);
    return config;
}

void world_complain(struct world *world, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (world->complaint.len > 0)
        bytes_add(&world->complaint, "\n  ", 3);
    bytes_add(&world->complaint, text, strlen(text));
}

/* --- home --- */

#define KEY_FILE "agent1.pem"

static void path_in(const struct world_home *home, const char *name, char path[PATH_MAX])
{
    int len = snprintf(path, PATH_MAX, "%s/%s", home->folder, name);
    TH_REQUIRE(len > 0 && len < PATH_MAX);
}

bool world_home_write(const struct world_home *home, const char *name, struct th_str text)
{
    char path[PATH_MAX];

    path_in(home, name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool fine = write(fd, text.ptr, text.len) == (ssize_t)text.len;
    return close(fd) == 0 && fine;
}

void world_home_tidy(const struct world_home *home)
{
    char path[PATH_MAX];
    struct dirent *entry;
    DIR *dir = opendir(home->folder);

    TH_REQUIRE(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, KEY_FILE) == 0)
            continue;
        path_in(home, entry->d_name, path);
        unlink(path);
    }
    closedir(dir);
}

void world_home_init(struct world_home *home)
{
    const char *base = getenv("TMPDIR");
    struct th_secret *pem = NULL;

    int len = snprintf(home->folder, sizeof home->folder, "%s/tokenhop-scenario-XXXXXX",
                       base != NULL && strlen(base) < 32 ? base : "/tmp");
    TH_REQUIRE(len > 0 && mkdtemp(home->folder) != NULL);
    TH_REQUIRE(th_key_generate(TH_JWS_ES256, &home->key) == 0);
    TH_REQUIRE(th_key_to_private_pem(home->key, &pem) == 0);
    TH_REQUIRE(world_home_write(home, KEY_FILE, th_secret_expose(pem)));
    th_secret_unref(pem);
}

void world_home_fini(struct world_home *home)
{
    char path[PATH_MAX];

    world_home_tidy(home);
    path_in(home, KEY_FILE, path);
    unlink(path);
    rmdir(home->folder);
    th_key_unref(home->key);
}

/* --- beginning --- */

static size_t count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    TH_REQUIRE(dir != NULL);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

void world_init(struct world *world, const struct world_home *home)
{
    *world = (struct world){.home = home, .log_fd = -1, .access_fd = -1};
    fault_arm(0, false);
    fault_pause();
    world->fds_before = count_descriptors();
    world->checks_before = th_check_count();
    th_clock_init_fake(&world->clock, WALL_MS);
    network_init(&world->network);
    server_init(&world->server, &world->clock, &world->tokens);
    world->server.agent_key = th_key_ref(home->key);
    TH_REQUIRE(
        network_add_address(network_place(&world->network, "agent2.test"), TH_STR("10.0.0.2")));
    TH_REQUIRE(
        network_add_address(network_place(&world->network, "open.test"), TH_STR("93.184.216.34")));
}

/* The proxy's allocations and calls are counted, and one may fail: those of the player are none of them. */
static void enter_proxy(struct world *world)
{
    unsigned long nth = world->fail_nth[WORLD_ALLOCATION], done = world->n_done[WORLD_ALLOCATION];

    th_mem_fail_after(nth > done ? nth - done : 0, 1);
    fault_aim(world->fail_nth[WORLD_CALL], world->fault_lasts);
    fault_resume();
}

static void leave_proxy(struct world *world)
{
    const struct fault_board *board = fault_look();

    fault_pause();
    world->n_done[WORLD_ALLOCATION] += th_mem_count();
    th_mem_fail_after(0, 0);
    if (board != NULL) {
        world->n_done[WORLD_CALL] = board->n_calls;
        world->has_failed = board->n_failed > 0;
    }
}

static unsigned long count_failed(const struct world *world)
{
    const struct fault_board *board = fault_look();
    unsigned long nth = world->fail_nth[WORLD_ALLOCATION];

    return (nth > 0 && nth <= world->n_done[WORLD_ALLOCATION]) +
           (board != NULL ? board->n_failed : 0);
}

/* While the proxy reads it, what the proxy does may fail; where it has, there may be no configuration. */
static bool load(struct world *world, const json_t *json, struct th_config **ret_config)
{
    struct th_config_mistakes mistakes = {0};
    char *text = json_dumps(json, JSON_COMPACT);

    unsigned long n_failed = count_failed(world);
    if (world->started)
        enter_proxy(world);
    int error = th_config_load_text(th_str_of(text), world->home->folder, ret_config, &mistakes);
    if (world->started)
        leave_proxy(world);
    json_text_free(text);
    for (size_t i = 0; i < mistakes.count && n_failed == count_failed(world); i++)
        world_complain(world, "configuration: %s: %s", mistakes.items[i].path,
                       mistakes.items[i].what);
    th_config_mistakes_fini(&mistakes);
    return error == 0;
}

static int make_logs(struct world *world)
{
    struct th_log_options options = {
        .level = TH_LEVEL_DEBUG, .clock = &world->clock, .burst = 1000000};
    struct th_errinfo info;

    world->log_fd = memfd_create("log", MFD_CLOEXEC);
    world->access_fd = memfd_create("access", MFD_CLOEXEC);
    TH_REQUIRE(world->log_fd >= 0 && world->access_fd >= 0);
    options.fd = world->log_fd;
    world->log = th_log_new(&options);
    int error = world->log != NULL ? th_writer_new(0, &world->writer, &info) : TH_E_NOMEM;
    if (error == 0)
        error = th_writer_open_fd(world->writer, world->access_fd, "access", &world->access_file,
                                  &info);
    return error;
}

static int make_shared(struct world *world)
{
    const struct th_config_view *config = th_config_get(world->config);
    struct th_broker_options options = {.max_entries = config->cache.max_entries,
                                        .max_bytes = config->cache.max_bytes,
                                        .margin_ms = config->cache.margin_ms,
                                        .max_lifetime_ms = config->cache.max_lifetime_ms,
                                        .max_waiting = config->limits.waiting_exchanges,
                                        .clock = &world->clock};

    world->metrics = th_metrics_new((unsigned)config->workers);
    int error = world->metrics != NULL ? th_broker_new(&options, &world->broker) : TH_E_NOMEM;
    if (error == 0)
        error = th_breakers_new(&world->breakers);
    if (error == 0)
        error = th_dpop_keys_new(&world->dpop_keys);
    if (error == 0)
        error = th_grants_new(&world->grants);
    if (error == 0)
        error = th_proxy_new(world->config, &world->proxy);
    if (error == 0)
        error = th_proxy_measure(world->proxy, world->metrics);
    if (error == 0)
        error = th_proxy_account(world->proxy, th_broker_accounts(world->broker));
    return error;
}

/* Chunks that hold nothing, so that what stands in a free one at the end was left there by the proxy.
 * Where each is an allocation of its own, the pool keeps none. */
static void fill_pool(struct th_chunk_pool *pool)
{
    struct th_chunk *chunks[16];

    for (size_t i = 0; i < TH_COUNT_OF(chunks); i++) {
        chunks[i] = th_chunk_get(pool);
        TH_REQUIRE(chunks[i] != NULL);
        memset(chunks[i]->data, 0, chunks[i]->size);
    }
    for (size_t i = 0; i < TH_COUNT_OF(chunks); i++)
        th_chunk_put(pool, chunks[i]);
}

static int make_place(struct world *world, size_t index)
{
    struct world_place *place = &world->places[index];
    struct th_worker_options options = {
        .index = (unsigned)index,
        .clock = &world->clock,
        .network = &world->network.base,
        .log = world->log,
        .metrics = th_metrics_shard(world->metrics, (unsigned)index),
    };

    int error = th_worker_new(&options, &place->worker);
    if (error != 0)
        return error;
    if (!world_has_faults(world))
        fill_pool(&place->worker->chunks);
    server_make_fetcher(&world->server, place->worker, &place->fetcher);
    error =
        th_exchanger_new(place->worker, &place->fetcher.base, world->breakers, &place->exchanger);
    if (error == 0)
        th_exchanger_keep_delegations(place->exchanger);
    if (error == 0)
        th_exchanger_share_dpop_keys(place->exchanger, world->dpop_keys);
    if (error == 0)
        th_exchanger_share_grants(place->exchanger, world->grants);
    if (error == 0)
        error = th_broker_desk_new(world->broker, place->worker, &th_exchange_ops_real,
                                   place->exchanger, &place->broker_desk);
    if (error == 0 && (place->access_log = th_access_log_new(world->access_file)) == NULL)
        error = TH_E_NOMEM;
    struct th_proxy_desk_options desk_options = {place->worker, place->broker_desk,
                                                 place->access_log};
    if (error == 0)
        error = th_proxy_desk_new(world->proxy, &desk_options, &place->desk);
    return error;
}

bool world_start(struct world *world, const json_t *config)
{
    if (!load(world, config, &world->config))
        return false;
    size_t workers = th_config_get(world->config)->workers;
    TH_REQUIRE(workers <= WORLD_PLACES_MAX);
    int error = make_logs(world);
    if (error == 0)
        error = make_shared(world);
    for (size_t i = 0; error == 0 && i < workers; i++) {
        world->n_places = i + 1;
        error = make_place(world, i);
    }
    if (error != 0)
        world_complain(world, "the world could not be put together: %s", th_error_get(error)->name);
    world->started = error == 0;
    return world->started;
}

/* --- going on --- */

static bool move_peers(struct peer *peer)
{
    bool moved = false;

    for (; peer != NULL; peer = peer->next)
        moved |= peer_move(peer, peer->holds ? 0 : SIZE_MAX);
    return moved;
}

bool world_settle(struct world *world)
{
    for (unsigned rounds = 0; rounds < ROUNDS_MAX; rounds++) {
        bool moved = false;
        enter_proxy(world);
        for (size_t i = 0; i < world->n_places; i++)
            moved |= th_worker_turn(world->places[i].worker);
        leave_proxy(world);
        server_check(&world->server);
        moved |= move_peers(world->clients);
        moved |= move_peers(world->network.origins);
        if (!moved)
            return true;
    }
    world_complain(world, "the workers never come to rest");
    return false;
}

void world_pass(struct world *world, int64_t ms)
{
    int64_t end_ms = th_clock_monotonic_ms(&world->clock) + ms;

    while (world_settle(world)) {
        int64_t now_ms = th_clock_monotonic_ms(&world->clock), next_ms = end_ms;
        if (now_ms >= end_ms)
            return;
        for (size_t i = 0; i < world->n_places; i++) {
            int64_t due_ms = th_wheel_next_ms(&world->places[i].worker->wheel);
            if (due_ms >= 0 && due_ms < next_ms)
                next_ms = due_ms > now_ms ? due_ms : now_ms + 1;
        }
        th_clock_turn(&world->clock, next_ms - now_ms);
    }
}

struct peer *world_connect(struct world *world, const char *name, size_t place, size_t listener,
                           bool tcp, const struct th_address *original)
{
    struct th_address address;
    struct peer **end = &world->clients;
    int fds[2];

    peer_pair(tcp, fds);
    struct peer *peer = peer_new(PEER_CLIENT, fds[1], tcp);
    snprintf(peer->name, sizeof peer->name, "%s", name);
    while (*end != NULL)
        end = &(*end)->next;
    *end = peer;
    TH_REQUIRE(th_address_parse(TH_STR("127.0.0.1"), 40000, &address) == 0);
    enter_proxy(world);
    world->network.original = original;
    th_proxy_desk_accept(world->places[place].desk, listener, fds[0], &address);
    world->network.original = NULL;
    leave_proxy(world);
    return peer;
}

bool world_reload(struct world *world, const json_t *json)
{
    struct th_config *config;
    struct th_snapshot_use *uses[WORLD_PLACES_MAX];

    if (!load(world, json, &config))
        return false;
    enter_proxy(world);
    int error = th_proxy_reload(world->proxy, config, uses, world->n_places);
    if (error == 0) {
        for (size_t i = 0; i < world->n_places; i++)
            th_proxy_desk_switch(world->places[i].desk, uses[i]);
    }
    leave_proxy(world);
    th_config_unref(world->config);
    world->config = config;
    return error == 0;
}

static void on_drained(struct th_proxy_desk *desk, void *arg)
{
    struct world_place *place = arg;

    TH_REQUIRE(place->desk == desk && !place->drained);
    place->drained = true;
}

void world_purge(struct world *world)
{
    enter_proxy(world);
    th_broker_purge(world->broker, NULL);
    leave_proxy(world);
}

void world_drain(struct world *world, int64_t deadline_ms)
{
    enter_proxy(world);
    for (size_t i = 0; i < world->n_places; i++)
        th_proxy_desk_drain(world->places[i].desk,
                            th_clock_monotonic_ms(&world->clock) + deadline_ms, on_drained,
                            &world->places[i]);
    leave_proxy(world);
}

bool world_is_drained(const struct world *world)
{
    for (size_t i = 0; i < world->n_places; i++)
        if (!world->places[i].drained)
            return false;
    return true;
}

struct token *world_add_subject(struct world *world, const char *name, json_t *changes)
{
    json_int_t now = th_clock_wall_ms(&world->clock) / 1000;
    json_t *claims = json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", "https://org.test", "aud",
                               "client1", "sub", name, "iat", now, "exp", now + 3600);

    if (changes != NULL)
        json_object_update(claims, changes);
    json_decref(changes);
    return token_add(&world->tokens, TOKEN_SUBJECT, name, "JWT", claims);
}

/* --- what is written --- */

static void read_memory(int fd, struct bytes *ret_text)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
        return;
    char *room = malloc((size_t)st.st_size);
    TH_REQUIRE(room != NULL && pread(fd, room, (size_t)st.st_size, 0) == st.st_size);
    bytes_add(ret_text, room, (size_t)st.st_size);
    free(room);
}

void world_read_written(struct world *world, struct bytes *ret_text)
{
    struct th_buf metrics;

    for (size_t i = 0; i < world->n_places; i++)
        if (world->places[i].access_log != NULL)
            th_access_flush(world->places[i].access_log);
    if (world->writer != NULL)
        TH_REQUIRE(th_writer_flush(world->writer, 5000));
    bytes_add(ret_text, "", 0);
    read_memory(world->log_fd, ret_text);
    read_memory(world->access_fd, ret_text);
    th_buf_init(&metrics, (size_t)1 << 20);
    if (world->metrics != NULL)
        th_metrics_write_prometheus(world->metrics, &metrics);
    bytes_add_str(ret_text, th_buf_str(&metrics));
    th_buf_fini(&metrics);
}

/* --- the end --- */

void world_fini(struct world *world)
{
    for (size_t i = 0; i < world->n_places; i++) {
        struct world_place *place = &world->places[i];
        th_proxy_desk_free(place->desk);
        th_broker_desk_free(place->broker_desk);
        th_exchanger_free(place->exchanger);
        if (place->fetcher.base.free != NULL)
            place->fetcher.base.free(&place->fetcher.base);
        th_access_log_free(place->access_log);
    }
    for (size_t i = 0; i < world->n_places; i++)
        th_worker_free(world->places[i].worker);
    th_proxy_free(world->proxy);
    th_broker_free(world->broker);
    th_breakers_unref(world->breakers);
    th_dpop_keys_unref(world->dpop_keys);
    th_grants_unref(world->grants);
    th_log_free(world->log);
    th_writer_free(world->writer, 5000);
    th_metrics_free(world->metrics);
    th_config_unref(world->config);
    if (world->log_fd >= 0)
        close(world->log_fd);
    if (world->access_fd >= 0)
        close(world->access_fd);
    while (world->clients != NULL) {
        struct peer *peer = world->clients;
        world->clients = peer->next;
        peer_free(peer);
    }
    network_fini(&world->network);
    server_fini(&world->server);
    tokens_fini(&world->tokens);
    fault_disarm();
    fault_resume();
    if (count_descriptors() != world->fds_before)
        world_complain(world, "descriptors are left open");
}
