/* The table of keys: what a configuration may say. Reading, defaults, limits, the JSON Schema and
 * the reference page all come from these rows (table.c, table_connection.c), so that none can differ from another.
 *
 * Adding a key is adding a row, and a field for it to the struct that the row's section fills. A
 * row's `offset` is made by one of the FIELD macros of table.h, which checks the field's type.
 *
 * All of it is constant; any thread may read. */
#ifndef TOKENHOP_SRC_CONFIG_KEY_H
#define TOKENHOP_SRC_CONFIG_KEY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

/* What one value is. The comment names the field's type. */
enum th_config_key_type {
    TH_KEY_STRING, /* struct th_str, and so for every kind of text down to TH_KEY_VALUE */
    TH_KEY_NAME,
    TH_KEY_REFERENCE, /* the name of an agent or authorization server */
    TH_KEY_VARIABLE,
    TH_KEY_FILE,
    TH_KEY_URL,
    TH_KEY_RESOURCE,
    TH_KEY_PATTERN,
    TH_KEY_PATH,
    TH_KEY_SCOPE,
    TH_KEY_TOKEN_TYPE, /* "auto", a short name, or a URI */
    TH_KEY_PARAMETER,  /* the name of a form parameter */
    TH_KEY_FIELD,      /* the name of a header field */
    TH_KEY_TEMPLATE,
    TH_KEY_ADDRESS,
    TH_KEY_ENDPOINT, /* an address, or "unix:" and a path */
    TH_KEY_PLACE,    /* an address, "unix:" and a path, or "systemd:" and a name */
    TH_KEY_NETWORK,
    TH_KEY_SOURCE, /* an address or network, or "unix" */
    TH_KEY_PERCENT,
    TH_KEY_MODE,     /* of a file, in octal digits */
    TH_KEY_PORTS,    /* a port or a range of them; a number will do */
    TH_KEY_VALUE,    /* of a claim; a whole number, true and false will do */
    TH_KEY_DURATION, /* int64_t, milliseconds */
    TH_KEY_SIZE,     /* uint64_t, bytes */
    TH_KEY_COUNT,    /* uint64_t */
    TH_KEY_BOOLEAN,  /* bool */
    TH_KEY_ENUM,     /* unsigned, or an enum */
    TH_KEY_OBJECT,   /* the section's struct */
    TH_KEY_RULES,    /* struct th_raw_rules: an enum's name, or a list of the section's objects */
};

/* How a value is written, whatever kind of text it is. */
enum th_config_key_form {
    TH_FORM_TEXT,
    TH_FORM_DURATION,
    TH_FORM_SIZE,
    TH_FORM_COUNT,
    TH_FORM_BOOLEAN,
    TH_FORM_ENUM,
    TH_FORM_OBJECT,
    TH_FORM_RULES,
};

/* How many of it. */
enum th_config_key_shape {
    TH_KEY_ONE,
    TH_KEY_LIST,        /* struct th_raw_list, or th_raw_objects */
    TH_KEY_ONE_OR_LIST, /* likewise */
    TH_KEY_MAP,         /* struct th_raw_objects; only for objects */
};

struct th_config_key_choice {
    const char *name; /* NULL ends the list */
    int value;
};

struct th_section;

struct th_config_key {
    const char *name;
    enum th_config_key_type type;
    enum th_config_key_shape shape;
    size_t offset;
    const char *default_text; /* NULL: none; of a list its items, parted by spaces */
    uint64_t min, max; /* of the value; of a text its length, 0: see th_config_key_max_len() */
    size_t min_items, max_items;                /* of a list or map; max 0: 1024 */
    const struct th_config_key_choice *choices; /* of TH_KEY_ENUM and TH_KEY_RULES */
    const struct th_section *section;           /* of TH_KEY_OBJECT and TH_KEY_RULES */
    bool required;
    bool may_be_empty;
    bool needs_restart; /* set at start and stays; else a reload takes effect at once */
    const char *doc;    /* one paragraph, for the schema and the page */
};

/* What one value of a key (of type TH_KEY_ENUM) means to the other keys of its section. */
#define TH_SECTION_RULE_MAX 24
#define TH_EXACTLY_ONE_MAX 6
struct th_section_rule {
    const char *key;
    const char *value;
    const char *required[TH_SECTION_RULE_MAX]; /* NULL ends these lists */
    const char *excluded[TH_SECTION_RULE_MAX];
    const char *exactly_one[TH_EXACTLY_ONE_MAX];  /* of these keys, if any */
    const char *at_least_one[TH_EXACTLY_ONE_MAX]; /* of these keys, if any */
    const char *why;                              /* the excluded ones are: for the mistake */
};

/* An object of fixed keys. */
struct th_section {
    const char *name; /* of its definition in the schema */
    const struct th_config_key *keys;
    size_t n_keys;                                /* at most 64 */
    size_t size;                                  /* of the struct that it fills */
    bool has_head;                                /* the struct begins with struct th_raw_head */
    const char *exactly_one[TH_EXACTLY_ONE_MAX];  /* of these keys, if any */
    const char *at_least_one[TH_EXACTLY_ONE_MAX]; /* of these keys, if any */
    const char *together[2];                      /* these two keys, if any: both or neither */
    const struct th_section_rule *rules;
    size_t n_rules;
};

extern const struct th_section th_section_root;

/* How a kind of text is written, said and checked. */
struct th_text_kind {
    const char *name;                                            /* "a URL" */
    const char *plural;                                          /* "URLs" */
    const char *pattern;                                         /* for the schema; NULL: none */
    int (*check)(struct th_str text, struct th_errinfo *reterr); /* NULL: when the model is built */
};

enum th_config_key_form th_config_key_form(enum th_config_key_type type);
/* The row of a type of text; NULL for every other type. */
const struct th_text_kind *th_config_key_text_kind(enum th_config_key_type type);
uint64_t th_config_key_max_len(const struct th_config_key *key); /* of a text */
size_t th_config_key_max_items(const struct th_config_key *key);
/* The default as a value of JSON, to be given back with json_decref(). NULL when memory is short. */
json_t *th_config_key_default(const struct th_config_key *key) TH_MUST;

/* "a duration from 1ms to 1h", "a list of scopes", "\"refuse\" or \"forward\"": what a key wants,
 * for mistakes and the reference page. Cut where it is too long. */
void th_config_key_describe(const struct th_config_key *key, char *ret_text, size_t size);
/* The choices that are built: "\"refuse\" or \"forward\"". */
void th_config_key_describe_choices(const struct th_config_key_choice *choices, char *ret_text,
                                    size_t size);

#endif
