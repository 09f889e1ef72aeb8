/* How the policy's rules are made and checked; private to the room. */
#ifndef TOKENHOP_SRC_CONFIG_POLICY_H
#define TOKENHOP_SRC_CONFIG_POLICY_H

#include "loader.h"
#include "raw_policy.h"
#include "tokenhop/config/policy.h"

/* build_claims.c: what a rule asks of the subject token. False: something was reported. */
void th_build_claims(struct th_loader *loader, const struct th_raw_policy_rule *raw,
                     struct th_policy_rule *rule);

/* build_time.c: the minutes of the week that a rule's windows have. */
void th_build_times(struct th_loader *loader, const struct th_raw_policy_rule *raw,
                    struct th_policy_rule *rule);

/* policy_check.c: rules that can never decide, or that nobody can have meant. `raw`: where each stands; of a
 * rule that is `is_bad` something was reported already. */
void th_policy_check(struct th_loader *loader, const struct th_raw_policy_rule *raw,
                     const struct th_policy_rule *rules, const bool *is_bad, size_t n);

/* A list of the model's own; *ret_n 0 and NULL when memory is short. */
const struct th_str *th_build_texts(struct th_loader *loader, const struct th_raw_list *raw,
                                    size_t *ret_n);

#endif
