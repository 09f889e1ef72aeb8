/* The text of a configuration file and where each value stands in it.
 *
 * Comments are blanked out in a copy (every byte keeps its offset), the grammar is checked as far as
 * structure goes, and each value becomes a node with its offset, its key's offset and its parent. A
 * node's number is the "place" that a mistake is reported at; its path and line follow from it.
 *
 *     { "agents": { "a": {} } }          node 0 the whole, 1 "agents", 2 "a"
 *
 * One thread. `text` is borrowed and must outlive the source. Nothing here recurses deeper than
 * TH_SOURCE_MAX_DEPTH. */
#ifndef TOKENHOP_SRC_CONFIG_SOURCE_H
#define TOKENHOP_SRC_CONFIG_SOURCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

#define TH_SOURCE_MAX_LEN (4u << 20)
#define TH_SOURCE_MAX_DEPTH 32
#define TH_SOURCE_MAX_NODES (1u << 18)
#define TH_SOURCE_NONE UINT32_MAX /* no node; no offset */

struct th_source_node {
    uint32_t parent;  /* TH_SOURCE_NONE for the root */
    uint32_t next;    /* the following sibling */
    uint32_t key;     /* offset of the key's opening quote; TH_SOURCE_NONE in a list */
    uint32_t value;   /* offset of the value's first byte */
    uint32_t ordinal; /* place among its siblings */
    uint32_t n_children;
};

struct th_source {
    struct th_str text;  /* as given: lines and columns are counted here */
    const char *blanked; /* text.len bytes: comments are spaces */
    char *copy;          /* what `blanked` points to, unless it is the text itself */
    bool no_copy;
    struct th_source_node *nodes;
    uint32_t n_nodes;
    uint32_t n_room;
    /* the error of th_source_scan() or th_source_to_json() */
    uint32_t error_at;
    const char *error_what;
    const char *error_mend;
};

void th_source_init(struct th_source *source, struct th_str text);
/* For a text that is a secret: comments are not looked for, so no copy is made. */
void th_source_init_secret(struct th_source *source, struct th_str text);
void th_source_fini(struct th_source *source);
/* Blanks the comments and makes the nodes. TH_E_CONFIG with error_* filled, or TH_E_NOMEM. */
int th_source_scan(struct th_source *source) TH_MUST;
/* What the scanned text says; to be given back with json_decref(). Members are in the text's order,
 * as th_source_first_child() and th_source_next() walk them. Keys that differ in their escapes only
 * are found here. TH_E_CONFIG with error_* filled, or TH_E_NOMEM. */
int th_source_to_json(struct th_source *source, json_t **ret_json) TH_MUST;
/* Nodes whose key an earlier sibling has too; at most `max` of them are stored, in no order.
 * TH_E_NOMEM. */
int th_source_find_duplicates(const struct th_source *source, uint32_t *ret_nodes, size_t max,
                              size_t *ret_count) TH_MUST;

uint32_t th_source_first_child(const struct th_source *source, uint32_t node);
uint32_t th_source_next(const struct th_source *source, uint32_t node);
/* The member of that name, or TH_SOURCE_NONE. Names that need no escape in JSON only. */
uint32_t th_source_find_member(const struct th_source *source, uint32_t node, const char *name);
/* The `ordinal`th item of a list; of anything else, the node itself (a list of one, written bare). */
uint32_t th_source_item(const struct th_source *source, uint32_t node, size_t ordinal);
/* What stands between the quotes of a key, or of a string value, escapes and all. */
struct th_str th_source_raw_string(const struct th_source *source, uint32_t offset);

/* From 1; a column is a character (UTF-8), not a byte. */
void th_source_position(const struct th_source *source, uint32_t offset, unsigned *ret_line,
                        unsigned *ret_column);
/* "$.connections[0].url", cut where it is too long. */
void th_source_path(const struct th_source *source, uint32_t node, char *ret_path, size_t size);

#endif
