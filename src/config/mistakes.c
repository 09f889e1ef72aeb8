/* Collecting, ordering and printing mistakes; and what the steps of loading share. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "loader.h"
#include "tokenhop/base/mem.h"

/* What is shown on a terminal cannot command it: control characters of ASCII and of C1 (in UTF-8,
 * C2 80 to C2 9F) become '?', and so does the beginning of a character that was cut at the end. */
static void make_printable(char *text)
{
    unsigned char *c = (unsigned char *)text;
    size_t len = strlen(text), last = len;
    for (size_t i = 0; i < len; i++) {
        if (c[i] < 0x20 || c[i] == 0x7f || (c[i] == 0xc2 && c[i + 1] < 0xa0))
            c[i] = '?';
    }
    while (last > 0 && (c[last - 1] & 0xc0) == 0x80)
        last--;
    if (last == 0 || c[last - 1] < 0xc0)
        return;
    size_t wanted = c[last - 1] >= 0xf0 ? 4 : c[last - 1] >= 0xe0 ? 3 : 2;
    if (len - (last - 1) < wanted)
        c[last - 1] = '\0';
}

static struct th_config_mistake *add_mistake(struct th_loader *l)
{
    struct th_config_mistakes *all = l->mistakes;
    if (all->count == TH_CONFIG_MAX_MISTAKES) {
        all->left_out++;
        return NULL;
    }
    struct th_config_mistake *items = th_realloc_array(all->items, all->count + 1, sizeof(*items));
    if (items == NULL) {
        all->left_out++;
        l->nomem = true;
        return NULL;
    }
    all->items = items;
    memset(&items[all->count], 0, sizeof(*items));
    return &items[all->count++];
}

static void fill_text(struct th_config_mistake *mistake, const char *mend, const char *fmt,
                      va_list args) TH_PRINTF(3, 0);

static void fill_text(struct th_config_mistake *mistake, const char *mend, const char *fmt,
                      va_list args)
{
    vsnprintf(mistake->what, sizeof(mistake->what), fmt, args);
    snprintf(mistake->mend, sizeof(mistake->mend), "%s", mend != NULL ? mend : "");
    make_printable(mistake->path);
    make_printable(mistake->what);
    make_printable(mistake->mend);
}

static struct th_config_mistake *add_at(struct th_loader *l, uint32_t place, bool key)
{
    struct th_config_mistake *mistake = add_mistake(l);
    if (mistake == NULL)
        return NULL;
    if (place < l->source.n_nodes) {
        const struct th_source_node *node = &l->source.nodes[place];
        th_source_position(&l->source, key && node->key != TH_SOURCE_NONE ? node->key : node->value,
                           &mistake->line, &mistake->column);
    }
    th_source_path(&l->source, place, mistake->path, sizeof(mistake->path));
    return mistake;
}

void th_loader_report(struct th_loader *loader, uint32_t place, const char *mend, const char *fmt,
                      ...)
{
    struct th_config_mistake *mistake = add_at(loader, place, false);
    va_list args;
    va_start(args, fmt);
    if (mistake != NULL)
        fill_text(mistake, mend, fmt, args);
    va_end(args);
}

void th_loader_report_key(struct th_loader *loader, uint32_t place, const char *mend,
                          const char *fmt, ...)
{
    struct th_config_mistake *mistake = add_at(loader, place, true);
    va_list args;
    va_start(args, fmt);
    if (mistake != NULL)
        fill_text(mistake, mend, fmt, args);
    va_end(args);
}

void th_loader_report_info(struct th_loader *loader, uint32_t place, const struct th_errinfo *info)
{
    th_loader_report(loader, place, info->mend, "%s", info->what);
}

void th_loader_report_offset(struct th_loader *loader, uint32_t offset, const char *mend,
                             const char *what)
{
    struct th_config_mistake *mistake = add_mistake(loader);
    if (mistake == NULL)
        return;
    snprintf(mistake->path, sizeof(mistake->path), "$");
    snprintf(mistake->what, sizeof(mistake->what), "%s", what);
    snprintf(mistake->mend, sizeof(mistake->mend), "%s", mend != NULL ? mend : "");
    if (offset != TH_SOURCE_NONE)
        th_source_position(&loader->source, offset, &mistake->line, &mistake->column);
}

static int compare_mistakes(const void *left, const void *right)
{
    const struct th_config_mistake *a = left, *b = right;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    if (a->column != b->column)
        return a->column < b->column ? -1 : 1;
    return strcmp(a->what, b->what);
}

void th_loader_sort_mistakes(struct th_config_mistakes *mistakes)
{
    if (mistakes->count > 1)
        qsort(mistakes->items, mistakes->count, sizeof(*mistakes->items), compare_mistakes);
}

void th_config_mistakes_fini(struct th_config_mistakes *mistakes)
{
    th_free(mistakes->items);
    memset(mistakes, 0, sizeof(*mistakes));
}

void th_config_mistakes_print(const struct th_config_mistakes *mistakes, const char *file,
                              FILE *out)
{
    for (size_t i = 0; i < mistakes->count; i++) {
        const struct th_config_mistake *m = &mistakes->items[i];
        if (m->line > 0)
            fprintf(out, "%s:%u:%u: %s: ", file, m->line, m->column, m->path);
        else
            fprintf(out, "%s: ", file);
        fprintf(out, "%s%s%s\n", m->what, m->mend[0] != '\0' ? "; " : "", m->mend);
    }
    if (mistakes->left_out > 0)
        fprintf(out, "%s: and %zu more\n", file, mistakes->left_out);
}

void *th_loader_alloc(struct th_loader *loader, size_t count, size_t size)
{
    void *memory = th_arena_calloc(loader->arena, count, size);
    if (memory == NULL)
        loader->nomem = true;
    return memory;
}

struct th_str th_loader_copy(struct th_loader *loader, struct th_str text)
{
    char *copy = th_arena_strdup(loader->arena, text);
    if (copy == NULL) {
        loader->nomem = true;
        return TH_STR_NONE;
    }
    return (struct th_str){copy, text.len};
}

struct th_str th_loader_file(struct th_loader *loader, struct th_str name)
{
    if (name.len == 0 || name.ptr[0] == '/')
        return name;
    char *path = th_arena_printf(loader->arena, "%s/%.*s", loader->folder, TH_STR_ARGS(name));
    if (path == NULL)
        loader->nomem = true;
    return th_str_of(path);
}

const struct th_file_mark *th_loader_watch(struct th_loader *loader, struct th_str path)
{
    struct th_config_view *view = &loader->config->view;
    if (loader->without_files)
        return NULL;
    struct th_config_file *file = th_loader_alloc(loader, 1, sizeof(*file));
    if (file == NULL)
        return NULL;
    th_file_mark_take(path.ptr, &file->mark);
    file->path = path;
    file->next = view->read_files;
    view->read_files = file;
    return &file->mark;
}

uint32_t th_loader_member(const struct th_loader *loader, uint32_t place, const char *name)
{
    uint32_t member = th_source_find_member(&loader->source, place, name);
    return member != TH_SOURCE_NONE ? member : place;
}

uint32_t th_loader_item(const struct th_loader *loader, uint32_t place, const char *name,
                        size_t ordinal)
{
    uint32_t member = th_source_find_member(&loader->source, place, name);
    return member != TH_SOURCE_NONE ? th_source_item(&loader->source, member, ordinal) : place;
}
