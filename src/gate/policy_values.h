/* A claim's value held against those that a rule names. Private to the room. */
#ifndef TOKENHOP_SRC_GATE_POLICY_VALUES_H
#define TOKENHOP_SRC_GATE_POLICY_VALUES_H

#include <jansson.h>

#include "tokenhop/config/policy.h"

/* What cannot be told for certain holds for a rule that denies and does not for one that allows. In the order of
 * certainty. */
enum th_policy_fit {
    TH_POLICY_FITS_NOT,
    TH_POLICY_MAY_FIT, /* whoever reads the token behind us may see one of the values there */
    TH_POLICY_FITS
};

enum th_policy_fit th_policy_fit_claim(const struct th_policy_claim *claim, const json_t *value);

#endif
