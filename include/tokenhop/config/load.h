/* From the file to the snapshot. Blocking (files): at start, at a reload on a helper thread, never
 * on a worker. All mistakes are found, not only the first. */
#ifndef TOKENHOP_CONFIG_LOAD_H
#define TOKENHOP_CONFIG_LOAD_H

#include <stdio.h>

#include "tokenhop/base/arena.h"
#include "tokenhop/base/buf.h"
#include "tokenhop/config/model.h"

struct th_config_mistake {
    unsigned line, column; /* from 1; 0 when there is no place (the file cannot be read) */
    char path[160];        /* "$.connections[0].url" */
    char what[240];
    char mend[240]; /* may be empty */
};

struct th_config_mistakes {
    struct th_config_mistake *items;
    size_t count;
    size_t left_out; /* beyond 100 */
};

/* 0 and a snapshot with one reference, or TH_E_CONFIG (or NOMEM) and at least one mistake.
 * `mistakes` is zeroed before, and freed by th_config_mistakes_fini() in either case. Relative file
 * names in the file are relative to the file's folder. */
int th_config_load(const char *path, struct th_config **ret_config,
                   struct th_config_mistakes *mistakes) TH_MUST;
/* The same, but the files that `interception` names are not read, and may not be there: for the
 * command that makes them. */
int th_config_load_without_authority(const char *path, struct th_config **ret_config,
                                     struct th_config_mistakes *mistakes) TH_MUST;
/* The same, but nothing is read that the file names, neither files nor the environment: for whoever must
 * not see the keys. Every secret is NULL then, `certificates` is empty, and digests are zeros. */
int th_config_load_without_files(const char *path, struct th_config **ret_config,
                                 struct th_config_mistakes *mistakes) TH_MUST;
/* The same from memory, with `folder` for relative names. */
int th_config_load_text(struct th_str text, const char *folder, struct th_config **ret_config,
                        struct th_config_mistakes *mistakes) TH_MUST;
void th_config_mistakes_fini(struct th_config_mistakes *mistakes);
/* "FILE:LINE:COLUMN: $.path: what; mend", one a line. */
void th_config_mistakes_print(const struct th_config_mistakes *mistakes, const char *file,
                              FILE *out);

/* Generated from the table of keys, so that they cannot differ from it. */
int th_config_write_schema(struct th_buf *out) TH_MUST;    /* config/tokenhop.schema.json */
int th_config_write_reference(struct th_buf *out) TH_MUST; /* docs/configuration.md */

/* Whether a template may fill the field of that name: not one that belongs to HTTP itself. */
bool th_config_may_inject(struct th_str header);
/* Whether "parameters" of a connection may have one of that name: none that an exchange has anyway. */
bool th_config_may_send(struct th_str parameter);

/* A URL pattern to its normal form; the strings are allocated in `arena`. */
int th_config_parse_pattern(struct th_arena *arena, struct th_str text,
                            struct th_config_pattern *ret_pattern,
                            struct th_errinfo *reterr) TH_MUST;

#endif
