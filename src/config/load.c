/* From the file to the snapshot: the order of the steps. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "loader.h"
#include "tokenhop/base/mem.h"

#define READ_SIZE 16384

static void report_duplicates(struct th_loader *l)
{
    uint32_t nodes[TH_CONFIG_MAX_MISTAKES];
    size_t n = 0;
    if (th_source_find_duplicates(&l->source, nodes, TH_CONFIG_MAX_MISTAKES, &n) < 0)
        l->nomem = true;
    for (size_t i = 0; i < n; i++)
        th_loader_report_key(l, nodes[i], "remove one of them", "this key stands here twice");
}

/* The tree of the file, or NULL with a mistake, or with `nomem`. */
static json_t *parse_text(struct th_loader *l)
{
    json_t *json = NULL;
    int r = th_source_scan(&l->source);
    if (r == 0) {
        report_duplicates(l);
        if (l->mistakes->count > 0 || l->nomem)
            return NULL;
        r = th_source_to_json(&l->source, &json);
    }
    if (r == TH_E_CONFIG)
        th_loader_report_offset(l, l->source.error_at, l->source.error_mend, l->source.error_what);
    l->nomem |= r == TH_E_NOMEM;
    return json;
}

static void build(struct th_loader *l)
{
    static void (*const steps[])(struct th_loader *) = {
        th_build_rest,         th_build_admin,     th_build_servers,     th_build_agents,
        th_build_callers,      th_build_listeners, th_build_connections, th_build_policy,
        th_build_interception, th_build_telemetry, th_build_parents,
    };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && !l->nomem; i++)
        steps[i](l);
}

static void load(struct th_loader *l)
{
    json_t *json = parse_text(l);
    if (json == NULL)
        return;
    th_read_section(l, (struct th_value){json, 0}, &th_section_root, &l->raw);
    if (json_is_object(json))
        build(l);
    json_decref(json);
}

/* What is left out: the files of `interception`, or all that the file names. */
enum leaving { LEAVING_NOTHING, LEAVING_AUTHORITY, LEAVING_FILES };

static int load_text(struct th_str text, const char *folder, enum leaving leaving,
                     struct th_config **ret_config, struct th_config_mistakes *mistakes)
{
    struct th_loader loader = {.config = th_config_new(),
                               .mistakes = mistakes,
                               .folder = folder,
                               .without_authority = leaving != LEAVING_NOTHING,
                               .without_files = leaving == LEAVING_FILES};
    memset(mistakes, 0, sizeof(*mistakes));
    th_source_init(&loader.source, text);
    if (loader.config != NULL) {
        loader.arena = &loader.config->arena;
        load(&loader);
    } else {
        loader.nomem = true;
    }
    if (loader.nomem)
        th_loader_report_offset(&loader, TH_SOURCE_NONE, NULL,
                                "there is not enough memory to read the configuration");
    th_source_fini(&loader.source);
    th_loader_sort_mistakes(mistakes);
    if (!loader.nomem && mistakes->count == 0) {
        *ret_config = loader.config;
        return 0;
    }
    th_config_unref(loader.config);
    return loader.nomem ? TH_E_NOMEM : TH_E_CONFIG;
}

int th_config_load_text(struct th_str text, const char *folder, struct th_config **ret_config,
                        struct th_config_mistakes *mistakes)
{
    return load_text(text, folder, LEAVING_NOTHING, ret_config, mistakes);
}

/* Reads to the end rather than to a size: "-c /dev/stdin" and pipes are fine. */
static int read_file(const char *path, struct th_buf *buf)
{
    char piece[READ_SIZE];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return TH_E_IO;
    ssize_t got;
    do {
        got = read(fd, piece, sizeof(piece));
        if (got > 0)
            th_buf_add(buf, piece, (size_t)got);
    } while ((got > 0 && !buf->failed) || (got < 0 && errno == EINTR));
    int err = errno;
    (void)close(fd);
    errno = err;
    return got < 0 ? TH_E_IO : 0;
}

/* A mistake of the file as a whole. */
static void report_file(struct th_config_mistakes *mistakes, const char *what, const char *mend)
{
    struct th_loader loader = {.mistakes = mistakes};
    th_loader_report_offset(&loader, TH_SOURCE_NONE, mend, what);
}

static int load_file(const char *path, enum leaving leaving, struct th_config **ret_config,
                     struct th_config_mistakes *mistakes)
{
    struct th_buf buf;
    const char *slash = strrchr(path, '/');
    TH_CLEANUP(th_freep)
    char *folder = slash == NULL ? th_strdup(".")
                                 : th_strndup(path, slash > path ? (size_t)(slash - path) : 1);
    memset(mistakes, 0, sizeof(*mistakes));
    if (folder == NULL)
        return TH_E_NOMEM;
    th_buf_init(&buf, TH_SOURCE_MAX_LEN);
    int r = read_file(path, &buf);
    if (r < 0) {
        char what[200];
        int err = errno;
        snprintf(what, sizeof(what), "the file cannot be read: %s", strerror(err));
        report_file(mistakes, what, err == EACCES ? TH_SECRET_MEND_DENIED : NULL);
        r = TH_E_CONFIG;
    } else if (buf.failed) {
        bool large = buf.len > TH_SOURCE_MAX_LEN - READ_SIZE;
        report_file(mistakes,
                    large ? "the file is larger than 4 MiB"
                          : "there is not enough memory to read the configuration",
                    NULL);
        r = large ? TH_E_CONFIG : TH_E_NOMEM;
    } else {
        r = load_text(th_buf_str(&buf), folder, leaving, ret_config, mistakes);
    }
    th_buf_fini(&buf);
    return r;
}

int th_config_load(const char *path, struct th_config **ret_config,
                   struct th_config_mistakes *mistakes)
{
    return load_file(path, LEAVING_NOTHING, ret_config, mistakes);
}

int th_config_load_without_authority(const char *path, struct th_config **ret_config,
                                     struct th_config_mistakes *mistakes)
{
    return load_file(path, LEAVING_AUTHORITY, ret_config, mistakes);
}

int th_config_load_without_files(const char *path, struct th_config **ret_config,
                                 struct th_config_mistakes *mistakes)
{
    return load_file(path, LEAVING_FILES, ret_config, mistakes);
}
