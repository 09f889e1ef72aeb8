/* Named secrets: what a vaulted secret or a service account consists of. The names are the
 * administrator's and may be shown; each value is a secret. One owner, who frees them; once filled they
 * are only read, by any thread. */
#ifndef TOKENHOP_OAUTH_VALUES_H
#define TOKENHOP_OAUTH_VALUES_H

#include "tokenhop/base/secret.h"

#define TH_VALUES_MAX 64
#define TH_VALUE_NAME_MAX 64
#define TH_VALUE_LEN_MAX ((size_t)16 * 1024)

struct th_value {
    char name[TH_VALUE_NAME_MAX + 1];
    struct th_secret *secret;
};

struct th_values {
    size_t n;
    size_t max;
    struct th_value items[];
};

/* Room for `max` values. NULL when memory is short. */
struct th_values *th_values_new(size_t max) TH_MUST;
struct th_values *th_values_free(struct th_values *values); /* NULL is fine; returns NULL */
static inline void th_values_freep(struct th_values **values)
{
    th_values_free(*values);
}

/* Whether a template can name it: 1 to 64 letters, digits, '_', '-' or '.'. */
bool th_value_name_is_fine(struct th_str name);
/* Copies both; there is room and the name is fine. TH_E_NOMEM. */
int th_values_add(struct th_values *values, struct th_str name, struct th_str text) TH_MUST;
/* Borrowed; NULL when there is none of that name (case counts). NULL values are fine. */
const struct th_secret *th_values_find(const struct th_values *values, struct th_str name);

#endif
