/* How rows of the table of keys are written (key.h). */
#ifndef TOKENHOP_SRC_CONFIG_TABLE_H
#define TOKENHOP_SRC_CONFIG_TABLE_H

#include "key.h"
#include "raw.h"
#include "tokenhop/base/check.h"
#include "tokenhop/config/policy.h"

/* The offset of a field, which must be of the type that the row's reader writes. */
#define FIELD(st, member, wanted)                                                                  \
    (offsetof(st, member) + 0 * sizeof(_Generic(((st *)0)->member, wanted : (char)0)))
#define TEXT(st, member) .offset = FIELD(st, member, struct th_str)
#define TEXTS(st, member) .shape = TH_KEY_LIST, .offset = FIELD(st, member, struct th_raw_list)
#define DURATION(st, member) .type = TH_KEY_DURATION, .offset = FIELD(st, member, int64_t)
#define SIZE(st, member) .type = TH_KEY_SIZE, .offset = FIELD(st, member, uint64_t)
#define COUNT(st, member) .type = TH_KEY_COUNT, .offset = FIELD(st, member, uint64_t)
#define BOOLEAN(st, member) .type = TH_KEY_BOOLEAN, .offset = FIELD(st, member, bool)
#define ENUM(st, member, list)                                                                     \
    .type = TH_KEY_ENUM, .offset = FIELD(st, member, unsigned), .choices = (list)
#define OBJECT(st, member, inner)                                                                  \
    .type = TH_KEY_OBJECT, .offset = offsetof(st, member), .section = &(inner)
#define OBJECTS(st, member, inner)                                                                 \
    .type = TH_KEY_OBJECT, .offset = FIELD(st, member, struct th_raw_objects), .section = &(inner)
#define SECTION(label, st, rows)                                                                   \
    .name = (label), .size = sizeof(st), .keys = (rows), .n_keys = TH_COUNT_OF(rows)

/* Of the root: the policy. */
#define POLICY_KEYS                                                                                \
    {.name = "policy",                                                                             \
     .shape = TH_KEY_LIST,                                                                         \
     OBJECTS(struct th_raw_root, policy, th_section_policy_rule),                                  \
     .max_items = TH_POLICY_RULES_MAX,                                                             \
     .default_text = "",                                                                           \
     .doc = "Who may do what as whom. The first rule that matches a request decides. To a "        \
            "connection that no rule names, and where every rule names one, everything is "        \
            "allowed; to one that is named, or once there is a rule that names none, only what a " \
            "rule allows (see docs/policy.md)."},                                                  \
    {                                                                                              \
        .name = "policy_mode", ENUM(struct th_raw_root, policy_mode, policy_modes),                \
        .default_text = "enforce",                                                                 \
        .doc = "With \"dry_run\" nothing is refused by policy: what would have been is written "   \
               "to the audit log and counted, as if every rule said dry_run."                      \
    }

#define MINUTE ((uint64_t)60 * 1000)
#define HOUR (60 * MINUTE)
#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* table.c: {"env": "NAME"} */
extern const struct th_section th_section_environment;
/* table.c: how a client authenticates */
extern const struct th_section th_section_auth;
/* table_quota.c */
extern const struct th_section th_section_quota;
/* table_listener.c */
extern const struct th_section th_section_listener;
/* table_connection.c */
extern const struct th_section th_section_connection;
/* table_scoping.c */
extern const struct th_section th_section_scoping;
/* table_listener_tls.c */
extern const struct th_section th_section_listener_tls;
extern const struct th_section th_section_forwarded_certificate;
/* table_gate.c */
extern const struct th_section th_section_caller;
extern const struct th_section th_section_basic; /* a user name and its password */
/* table_limits.c */
extern const struct th_section th_section_limits;
extern const struct th_section th_section_own_share;
/* table_parent.c */
extern const struct th_section th_section_parent;
/* table_process.c */
extern const struct th_section th_section_process;
extern const struct th_section th_section_hardening;
/* table_policy.c */
extern const struct th_section th_section_policy_rule;
/* table_telemetry.c */
extern const struct th_section th_section_telemetry;

#endif
