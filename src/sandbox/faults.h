/* Faults on request: a list of rules, each for one place, that answers consume. One thread.
 *
 * A place is the name of an endpoint: "org_token", "org_revoke", "org_keys", "org_metadata",
 * "aus2_token" ..., "agent2", "agent3", "api". */
#ifndef TOKENHOP_SRC_SANDBOX_FAULTS_H
#define TOKENHOP_SRC_SANDBOX_FAULTS_H

#include <jansson.h>
#include <stdio.h>

#include "tokenhop/base/list.h"
#include "tokenhop/base/str.h"

enum th_fault_phase {
    TH_FAULT_PHASE_DELAY,
    TH_FAULT_PHASE_RAW,
    TH_FAULT_PHASE_REPLY,
    TH_FAULT_PHASE_CLAIMS,
    TH_FAULT_PHASE_BODY,
    TH_FAULT_PHASE_HEAD
};

enum th_fault_kind {
    TH_FAULT_NONE,
#define X(symbol, ...) TH_FAULT_##symbol,
#include "faults.def"
#undef X
};

/* One fault about to be played; zeroed is none. */
struct th_fault {
    enum th_fault_kind kind;
    enum th_fault_phase phase;
    json_t *args; /* a reference of its own */
};

struct th_faults {
    struct th_list rules;
    size_t n_rules;
};

void th_faults_init(struct th_faults *faults);
void th_faults_fini(struct th_faults *faults);
void th_faults_clear(struct th_faults *faults);
/* {"place", "kind", "count" (1; -1 for ever), "skip" (0: let so many pass first), "path" (prefix), and
 * the fault's own}. TH_E_BAD_REQUEST with what is wrong. */
int th_faults_add(struct th_faults *faults, const json_t *rule, struct th_errinfo *reterr) TH_MUST;
json_t *th_faults_json(const struct th_faults *faults) TH_MUST;
/* The first rule for the place, consumed; th_fault_fini() it. */
struct th_fault th_faults_take(struct th_faults *faults, const char *place, const char *path);
void th_fault_fini(struct th_fault *fault);
long th_fault_long(const struct th_fault *fault, const char *name, long otherwise);
const char *th_fault_text(const struct th_fault *fault, const char *name, const char *otherwise);
const char *th_fault_name(enum th_fault_kind kind);
void th_faults_help(FILE *out);
/* Whether the place exists. */
bool th_faults_is_place(const char *place);

/* CLAIMS: twists the claims before they are signed. BODY: the members of a granted answer. Others:
 * nothing. */
void th_fault_twist(const struct th_fault *fault, json_t *object);

#endif
