/* The sandbox's switches (settings.def). Plain numbers in one struct; one thread. */
#ifndef TOKENHOP_SRC_SANDBOX_SETTINGS_H
#define TOKENHOP_SRC_SANDBOX_SETTINGS_H

#include <jansson.h>
#include <stdio.h>

#include "tokenhop/base/error.h"
#include "tokenhop/base/str.h"

struct th_sandbox_settings {
#define X(name, ...) long name;
#include "settings.def"
#undef X
};

void th_sandbox_settings_init(struct th_sandbox_settings *settings);
/* TH_E_CONFIG, with what is wrong, for an unknown name or a value out of its range. */
int th_sandbox_settings_set(struct th_sandbox_settings *settings, struct th_str name, long value,
                            struct th_errinfo *reterr) TH_MUST;
/* "name=value" */
int th_sandbox_settings_parse(struct th_sandbox_settings *settings, struct th_str text,
                              struct th_errinfo *reterr) TH_MUST;
/* All or nothing: members of an object, numbers or booleans. */
int th_sandbox_settings_merge(struct th_sandbox_settings *settings, const json_t *object,
                              struct th_errinfo *reterr) TH_MUST;
json_t *th_sandbox_settings_json(const struct th_sandbox_settings *settings) TH_MUST;
void th_sandbox_settings_help(FILE *out);

#endif
