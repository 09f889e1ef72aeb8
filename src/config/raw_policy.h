/* What the file says of the policy's rules (raw.h). */
#ifndef TOKENHOP_SRC_CONFIG_RAW_POLICY_H
#define TOKENHOP_SRC_CONFIG_RAW_POLICY_H

#include "raw.h"

struct th_raw_claim {
    struct th_raw_head head;
    struct th_str claim;
    struct th_str equals;
    struct th_str contains;
    struct th_raw_list any_of;
};

struct th_raw_actors {
    struct th_raw_list any_of;
    struct th_raw_list only;
};

struct th_raw_time {
    struct th_raw_head head;
    struct th_str from;
    struct th_str to;
    struct th_raw_list days;
    struct th_str zone;
};

struct th_raw_policy_rule {
    struct th_raw_head head;
    struct th_raw_list callers;
    struct th_raw_list agents;
    struct th_raw_list connections;
    struct th_raw_list methods;
    struct th_raw_list paths;
    struct th_raw_objects claims;
    struct th_raw_list issuers;
    struct th_raw_list scopes;
    uint64_t max_chain;
    struct th_raw_actors actors;
    struct th_raw_objects times;
    unsigned allows;
    struct th_str reason;
    bool dry_run;
};

#endif
