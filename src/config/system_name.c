/* Users and groups of this system, by name. Asked where it is configured that they are (nsswitch.conf), once,
 * when the configuration is loaded. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "loader.h"
#include "tokenhop/base/mem.h"

#define ROOM_FIRST ((size_t)4096)
#define ROOM_MAX ((size_t)1024 * 1024) /* a group lists its members */

/* 0 and *ret_id, an errno, or -1: nobody has the name. */
typedef int find_fn(const char *name, char *room, size_t size, uint32_t *ret_id);

static int find_user(const char *name, char *room, size_t size, uint32_t *ret_id)
{
    struct passwd entry, *found = NULL;
    int err = getpwnam_r(name, &entry, room, size, &found);
    if (found == NULL)
        return err == ERANGE ? err : -1;
    *ret_id = found->pw_uid;
    return 0;
}

static int find_group(const char *name, char *room, size_t size, uint32_t *ret_id)
{
    struct group entry, *found = NULL;
    int err = getgrnam_r(name, &entry, room, size, &found);
    if (found == NULL)
        return err == ERANGE ? err : -1;
    *ret_id = found->gr_gid;
    return 0;
}

static bool find(struct th_loader *l, find_fn *fn, struct th_str name, const char *kind,
                 uint32_t place, uint32_t *ret_id)
{
    int r = ERANGE;
    if (name.ptr == NULL || l->without_files) /* refused already; or nobody is served */
        return false;
    for (size_t size = ROOM_FIRST; r == ERANGE && size <= ROOM_MAX; size *= 4) {
        char *room = th_malloc(size);
        if (room == NULL) {
            l->nomem = true;
            return false;
        }
        r = fn(name.ptr, room, size, ret_id);
        th_free(room);
    }
    if (r != 0)
        th_loader_report(l, place, "make it, or write its number",
                         "this system has no %s of that name", kind);
    return r == 0;
}

bool th_build_find_user(struct th_loader *loader, struct th_str name, uint32_t place,
                        uint32_t *ret_uid)
{
    return find(loader, find_user, name, "user", place, ret_uid);
}

bool th_build_find_group(struct th_loader *loader, struct th_str name, uint32_t place,
                         uint32_t *ret_gid)
{
    return find(loader, find_group, name, "group", place, ret_gid);
}
