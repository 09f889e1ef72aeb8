#include "source.h"

#include <stdio.h>
#include <stdlib.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/mem.h"

void th_source_init(struct th_source *source, struct th_str text)
{
    memset(source, 0, sizeof(*source));
    source->text = text;
    source->error_at = TH_SOURCE_NONE;
}

void th_source_init_secret(struct th_source *source, struct th_str text)
{
    th_source_init(source, text);
    source->no_copy = true;
}

void th_source_fini(struct th_source *source)
{
    th_free(source->copy);
    th_free(source->nodes);
    memset(source, 0, sizeof(*source));
}

static int syntax_error(struct th_source *s, size_t at, const char *what, const char *mend)
{
    s->error_at = (uint32_t)at;
    s->error_what = what;
    s->error_mend = mend;
    return TH_E_CONFIG;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_space(const struct th_source *s, size_t at)
{
    while (at < s->text.len && is_space(s->blanked[at]))
        at++;
    return at;
}

/* The offset behind the string that opens at `at`, or of the line's end where it is not closed:
 * a string of JSON cannot hold a line feed. */
static size_t skip_string(const char *text, size_t len, size_t at, bool *ret_closed)
{
    *ret_closed = false;
    for (at++; at < len && text[at] != '\n'; at++) {
        if (text[at] == '"') {
            *ret_closed = true;
            return at + 1;
        }
        if (text[at] == '\\' && at + 1 < len && text[at + 1] != '\n')
            at++;
    }
    return at;
}

static int blank_comments(struct th_source *s)
{
    char *b = s->copy;
    size_t len = s->text.len, at = 0;
    bool closed;
    while (at < len) {
        if (b[at] == '"') {
            at = skip_string(b, len, at, &closed);
        } else if (b[at] == '/' && at + 1 < len && b[at + 1] == '/') {
            while (at < len && b[at] != '\n')
                b[at++] = ' ';
        } else if (b[at] == '/' && at + 1 < len && b[at + 1] == '*') {
            char *end = memmem(b + at + 2, len - at - 2, "*/", 2);
            if (end == NULL)
                return syntax_error(s, at, "this comment is not closed", "close it with */");
            for (; b + at < end + 2; at++) {
                if (b[at] != '\n')
                    b[at] = ' ';
            }
        } else {
            at++;
        }
    }
    return 0;
}

static int add_node(struct th_source *s, const struct th_source_node *node, uint32_t *ret_node)
{
    if (s->n_nodes == TH_SOURCE_MAX_NODES)
        return syntax_error(s, node->value, "the file holds too many values", "");
    if (s->n_nodes == s->n_room) {
        uint32_t room = s->n_room == 0 ? 256 : s->n_room * 2;
        struct th_source_node *nodes = th_realloc_array(s->nodes, room, sizeof(*nodes));
        if (nodes == NULL)
            return TH_E_NOMEM;
        s->nodes = nodes;
        s->n_room = room;
    }
    *ret_node = s->n_nodes;
    s->nodes[s->n_nodes++] = *node;
    return 0;
}

static int scan_string(struct th_source *s, size_t *at)
{
    bool closed;
    size_t end = skip_string(s->blanked, s->text.len, *at, &closed);
    if (!closed)
        return syntax_error(s, *at, "this string is not closed", "close it with \" on its line");
    *at = end;
    return 0;
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' ||
           c == '-' || c == '.' || c == '_';
}

/* true, false, null or a number, whose digits are looked at when it is made (tree.c). */
static int scan_word(struct th_source *s, size_t *at)
{
    size_t end = *at;
    while (end < s->text.len && is_word(s->blanked[end]))
        end++;
    struct th_str word = {s->blanked + *at, end - *at};
    if (word.len == 0)
        return syntax_error(s, *at,
                            *at < s->text.len ? "a value is wanted here"
                                              : "the file ends where a value is wanted",
                            "write a string, number, true, false, null, list or object");
    bool digits = word.ptr[0] == '-' || (word.ptr[0] >= '0' && word.ptr[0] <= '9');
    if (!digits && !th_str_equal(word, TH_STR("true")) && !th_str_equal(word, TH_STR("false")) &&
        !th_str_equal(word, TH_STR("null")))
        return syntax_error(s, *at, "this word is not JSON", "put strings in double quotes");
    *at = end;
    return 0;
}

static int scan_value(struct th_source *s, size_t *at, struct th_source_node node, unsigned depth);

static int scan_key(struct th_source *s, size_t *at)
{
    if (*at >= s->text.len || s->blanked[*at] != '"')
        return syntax_error(s, *at, "a key is wanted here", "put the key in double quotes");
    int r = scan_string(s, at);
    if (r < 0)
        return r;
    *at = skip_space(s, *at);
    if (*at >= s->text.len || s->blanked[*at] != ':')
        return syntax_error(s, *at, "a colon is wanted between a key and its value", "write ':'");
    *at = skip_space(s, *at + 1);
    return 0;
}

static int scan_container(struct th_source *s, size_t *at, uint32_t self, unsigned depth)
{
    bool object = s->blanked[*at] == '{';
    char close = object ? '}' : ']';
    size_t opened = *at;
    uint32_t previous = TH_SOURCE_NONE;
    if (depth == TH_SOURCE_MAX_DEPTH)
        return syntax_error(s, *at, "lists and objects are nested too deeply", "");
    *at = skip_space(s, *at + 1);
    if (*at < s->text.len && s->blanked[*at] == close) {
        ++*at;
        return 0;
    }
    for (uint32_t ordinal = 0;; ordinal++) {
        struct th_source_node child = {
            .parent = self, .next = TH_SOURCE_NONE, .key = TH_SOURCE_NONE, .ordinal = ordinal};
        int r = 0;
        if (object) {
            child.key = (uint32_t)*at;
            r = scan_key(s, at);
        }
        uint32_t number = s->n_nodes;
        if (r == 0)
            r = scan_value(s, at, child, depth + 1);
        if (r < 0)
            return r;
        if (previous != TH_SOURCE_NONE)
            s->nodes[previous].next = number;
        previous = number;
        s->nodes[self].n_children++;
        *at = skip_space(s, *at);
        if (*at >= s->text.len)
            return syntax_error(s, opened, "this is not closed before the file ends",
                                object ? "close it with }" : "close it with ]");
        if (s->blanked[*at] == close) {
            ++*at;
            return 0;
        }
        if (s->blanked[*at] != ',')
            return syntax_error(s, *at, "a comma or the closing bracket is wanted here",
                                "check the line before for a missing comma");
        size_t comma = *at;
        *at = skip_space(s, *at + 1);
        if (*at < s->text.len && s->blanked[*at] == close)
            return syntax_error(s, comma, "a comma stands before the closing bracket",
                                "remove it: trailing commas are not allowed");
    }
}

static int scan_value(struct th_source *s, size_t *at, struct th_source_node node, unsigned depth)
{
    uint32_t self;
    node.value = (uint32_t)*at;
    int r = add_node(s, &node, &self);
    if (r < 0)
        return r;
    if (*at < s->text.len && (s->blanked[*at] == '{' || s->blanked[*at] == '['))
        return scan_container(s, at, self, depth);
    if (*at < s->text.len && s->blanked[*at] == '"')
        return scan_string(s, at);
    return scan_word(s, at);
}

int th_source_scan(struct th_source *source)
{
    struct th_str text = source->text;
    if (text.len > TH_SOURCE_MAX_LEN)
        return syntax_error(source, 0, "the file is larger than 4 MiB", "");
    if (th_str_starts_with(text, TH_STR("\xef\xbb\xbf")))
        return syntax_error(source, 0, "the file begins with a byte order mark",
                            "save it as UTF-8 without one");
    source->blanked = text.ptr;
    if (!source->no_copy) {
        source->blanked = source->copy = th_strndup(text.len > 0 ? text.ptr : "", text.len);
        if (source->copy == NULL)
            return TH_E_NOMEM;
    }
    int r = source->no_copy ? 0 : blank_comments(source);
    if (r < 0)
        return r;
    size_t at = skip_space(source, 0);
    struct th_source_node root = {
        .parent = TH_SOURCE_NONE, .next = TH_SOURCE_NONE, .key = TH_SOURCE_NONE};
    r = scan_value(source, &at, root, 0);
    if (r < 0)
        return r;
    at = skip_space(source, at);
    if (at < text.len)
        return syntax_error(source, at, "something follows the end of the configuration",
                            "remove it, or a closing bracket too many before it");
    return 0;
}

struct keyed_node {
    struct th_str key;
    uint32_t parent, node;
};

static int compare_keys(const void *left, const void *right)
{
    const struct keyed_node *a = left, *b = right;
    if (a->parent != b->parent)
        return a->parent < b->parent ? -1 : 1;
    size_t len = a->key.len < b->key.len ? a->key.len : b->key.len;
    int order = len > 0 ? memcmp(a->key.ptr, b->key.ptr, len) : 0;
    if (order != 0)
        return order;
    if (a->key.len != b->key.len)
        return a->key.len < b->key.len ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

int th_source_find_duplicates(const struct th_source *source, uint32_t *ret_nodes, size_t max,
                              size_t *ret_count)
{
    *ret_count = 0;
    if (source->n_nodes < 3) /* an object with two members at least */
        return 0;
    TH_CLEANUP(th_freep) struct keyed_node *keys = th_calloc(source->n_nodes, sizeof(*keys));
    if (keys == NULL)
        return TH_E_NOMEM;
    size_t n = 0;
    for (uint32_t i = 0; i < source->n_nodes; i++) {
        const struct th_source_node *node = &source->nodes[i];
        if (node->key != TH_SOURCE_NONE)
            keys[n++] =
                (struct keyed_node){th_source_raw_string(source, node->key), node->parent, i};
    }
    qsort(keys, n, sizeof(*keys), compare_keys);
    for (size_t i = 1; i < n && *ret_count < max; i++) {
        if (keys[i].parent == keys[i - 1].parent && th_str_equal(keys[i].key, keys[i - 1].key))
            ret_nodes[(*ret_count)++] = keys[i].node;
    }
    return 0;
}

uint32_t th_source_first_child(const struct th_source *source, uint32_t node)
{
    if (node >= source->n_nodes || source->nodes[node].n_children == 0)
        return TH_SOURCE_NONE;
    return node + 1;
}

uint32_t th_source_next(const struct th_source *source, uint32_t node)
{
    return node < source->n_nodes ? source->nodes[node].next : TH_SOURCE_NONE;
}

uint32_t th_source_find_member(const struct th_source *source, uint32_t node, const char *name)
{
    struct th_str wanted = th_str_of(name);
    uint32_t child = th_source_first_child(source, node);
    for (; child != TH_SOURCE_NONE; child = th_source_next(source, child)) {
        uint32_t key = source->nodes[child].key;
        if (key != TH_SOURCE_NONE && th_str_equal(th_source_raw_string(source, key), wanted))
            return child;
    }
    return TH_SOURCE_NONE;
}

uint32_t th_source_item(const struct th_source *source, uint32_t node, size_t ordinal)
{
    if (node >= source->n_nodes || source->blanked[source->nodes[node].value] != '[')
        return node;
    uint32_t child = th_source_first_child(source, node);
    while (ordinal-- > 0 && child != TH_SOURCE_NONE)
        child = th_source_next(source, child);
    return child != TH_SOURCE_NONE ? child : node;
}

struct th_str th_source_raw_string(const struct th_source *source, uint32_t offset)
{
    if (offset >= source->text.len || source->blanked[offset] != '"')
        return TH_STR_NONE;
    bool closed;
    size_t end = skip_string(source->blanked, source->text.len, offset, &closed);
    return closed ? (struct th_str){source->blanked + offset + 1, end - offset - 2} : TH_STR_NONE;
}

void th_source_position(const struct th_source *source, uint32_t offset, unsigned *ret_line,
                        unsigned *ret_column)
{
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < offset && i < source->text.len; i++) {
        char c = source->text.ptr[i];
        if (c == '\n') {
            line++;
            column = 1;
        } else if ((c & 0xc0) != 0x80) { /* not a byte within a character */
            column++;
        }
    }
    *ret_line = line;
    *ret_column = column;
}

static bool is_plain_key(struct th_str key)
{
    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];
        if (c != '$' && (!is_word(c) || c == '.' || c == '+' || c == '-'))
            return false;
    }
    return key.len > 0;
}

void th_source_path(const struct th_source *source, uint32_t node, char *ret_path, size_t size)
{
    uint32_t steps[TH_SOURCE_MAX_DEPTH + 1];
    size_t n = 0, used = 1;
    for (; node < source->n_nodes && source->nodes[node].parent != TH_SOURCE_NONE;
         node = source->nodes[node].parent) {
        TH_REQUIRE(n < TH_COUNT_OF(steps));
        steps[n++] = node;
    }
    snprintf(ret_path, size, "$");
    while (n-- > 0 && used < size) {
        const struct th_source_node *step = &source->nodes[steps[n]];
        struct th_str key = th_source_raw_string(source, step->key);
        int len;
        if (step->key == TH_SOURCE_NONE)
            len = snprintf(ret_path + used, size - used, "[%u]", step->ordinal);
        else if (is_plain_key(key))
            len = snprintf(ret_path + used, size - used, ".%.*s", TH_STR_ARGS(key));
        else
            len = snprintf(ret_path + used, size - used, "[\"%.*s\"]", TH_STR_ARGS(key));
        used += len > 0 ? (size_t)len : 0;
    }
}
