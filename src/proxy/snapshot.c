#include "snapshot.h"

#include "tokenhop/base/mem.h"

int th_snapshot_new(struct th_config *config, struct th_snapshot **ret_snapshot)
{
    struct th_snapshot *snapshot = th_calloc(1, sizeof *snapshot);

    if (snapshot == NULL)
        return TH_E_NOMEM;
    th_ref_init(&snapshot->ref);
    int error = th_routes_new(config, &snapshot->routes);
    if (error < 0) {
        th_free(snapshot);
        return error;
    }
    snapshot->config = th_config_ref(config);
    snapshot->view = th_config_get(config);
    *ret_snapshot = snapshot;
    return 0;
}

struct th_snapshot *th_snapshot_ref(struct th_snapshot *snapshot)
{
    th_ref_take(&snapshot->ref);
    return snapshot;
}

struct th_snapshot *th_snapshot_unref(struct th_snapshot *snapshot)
{
    if (snapshot == NULL || !th_ref_release(&snapshot->ref))
        return NULL;
    th_routes_free(snapshot->routes);
    th_config_unref(snapshot->config);
    th_free(snapshot);
    return NULL;
}

struct th_snapshot_use *th_snapshot_use_new(struct th_snapshot *snapshot)
{
    struct th_snapshot_use *use = th_calloc(1, sizeof *use);

    if (use != NULL)
        use->snapshot = th_snapshot_ref(snapshot);
    return use;
}

static void free_if_unused(struct th_snapshot_use *use)
{
    if (!use->retired || use->users > 0)
        return;
    th_snapshot_unref(use->snapshot);
    th_free(use);
}

void th_snapshot_use_retire(struct th_snapshot_use *use)
{
    if (use == NULL)
        return;
    use->retired = true;
    free_if_unused(use);
}

void th_snapshot_use_give(struct th_snapshot_use *use)
{
    use->users--;
    free_if_unused(use);
}
