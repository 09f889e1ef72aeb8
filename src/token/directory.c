#include "tokenhop/token/directory.h"

#include <stdlib.h>
#include <string.h>

#include "tokenhop/base/mem.h"
#include "tokenhop/base/ref.h"
#include "tokenhop/token/broker.h"

struct th_directory {
    struct th_ref ref;
    struct th_config *config; /* counted */
    size_t n;
    struct th_directory_place places[]; /* by scope */
};

static int compare_places(const void *a, const void *b)
{
    return memcmp(((const struct th_directory_place *)a)->scope,
                  ((const struct th_directory_place *)b)->scope, 16);
}

static int compare_scope(const void *scope, const void *place)
{
    return memcmp(scope, ((const struct th_directory_place *)place)->scope, 16);
}

static void fill(struct th_directory *directory, const struct th_config_connection *connection)
{
    for (size_t i = 0; i < connection->n_agents; i++) {
        for (size_t v = 0; v <= connection->n_variants; v++) {
            struct th_directory_place *place = &directory->places[directory->n++];
            place->agent = connection->agents[i];
            place->connection = th_config_variant(connection, v);
            th_broker_scope(place->agent, place->connection, place->scope);
        }
    }
}

int th_directory_new(struct th_config *config, struct th_directory **ret_directory)
{
    const struct th_config_view *view = th_config_get(config);
    size_t n = 0;
    for (size_t i = 0; i < view->n_connections; i++)
        n += view->connections[i].n_agents * (view->connections[i].n_variants + 1);
    if (n > (SIZE_MAX - sizeof(struct th_directory)) / sizeof(struct th_directory_place))
        return TH_E_NOMEM;
    struct th_directory *directory =
        th_malloc(sizeof *directory + n * sizeof(struct th_directory_place));
    if (directory == NULL)
        return TH_E_NOMEM;
    th_ref_init(&directory->ref);
    directory->config = th_config_ref(config);
    directory->n = 0;
    for (size_t i = 0; i < view->n_connections; i++)
        fill(directory, &view->connections[i]);
    if (n > 0)
        qsort(directory->places, n, sizeof(struct th_directory_place), compare_places);
    *ret_directory = directory;
    return 0;
}

struct th_directory *th_directory_ref(struct th_directory *directory)
{
    th_ref_take(&directory->ref);
    return directory;
}

struct th_directory *th_directory_unref(struct th_directory *directory)
{
    if (directory != NULL && th_ref_release(&directory->ref)) {
        th_config_unref(directory->config);
        th_free(directory);
    }
    return NULL;
}

const struct th_directory_place *th_directory_find(const struct th_directory *directory,
                                                   const uint8_t scope[16])
{
    if (directory == NULL || directory->n == 0)
        return NULL;
    return bsearch(scope, directory->places, directory->n, sizeof(struct th_directory_place),
                   compare_scope);
}

struct th_config *th_directory_config(const struct th_directory *directory)
{
    return directory->config;
}
