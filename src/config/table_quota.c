/* The table of keys: what an authorization server grants a user. */
#include "table.h"

static const struct th_config_key quota_keys[] = {
    {.name = "exchanges_per_user_month",
     COUNT(struct th_raw_quota, exchanges_per_user_month),
     .min = 1,
     .max = 1000000000,
     .required = true,
     .doc = "Exchanges that a user may have in a month. Okta bundles 250 with single sign-on."},
    {.name = "warn_at",
     .type = TH_KEY_PERCENT,
     TEXT(struct th_raw_quota, warn_at),
     .default_text = "80%",
     .doc = "The part of them at which a warning is logged, once a user and month."},
};
const struct th_section th_section_quota = {SECTION("quota", struct th_raw_quota, quota_keys)};
