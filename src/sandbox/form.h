/* A request's form (application/x-www-form-urlencoded), decoded strictly. Init/fini; the values live
 * in one block that is wiped by fini, since tokens are among them. */
#ifndef TOKENHOP_SRC_SANDBOX_FORM_H
#define TOKENHOP_SRC_SANDBOX_FORM_H

#include "tokenhop/base/str.h"

#define TH_FORM_MAX_FIELDS 32

enum th_form_fault {
    TH_FORM_FINE,
    TH_FORM_MALFORMED, /* bad escape, a byte that has to be escaped, control character, no name */
    TH_FORM_DUPLICATE, /* RFC 6749, 3.2: parameters must not be included more than once */
    TH_FORM_TOO_MANY,
    TH_FORM_NOMEM
};

struct th_form {
    char *block;
    size_t block_len;
    struct {
        struct th_str name;
        struct th_str value;
    } fields[TH_FORM_MAX_FIELDS];
    size_t n_fields;
    bool repeats; /* audience and resource may come several times */
};

enum th_form_fault th_form_init(struct th_form *form, struct th_str body);
/* The same, but that `audience` and `resource` may come several times (RFC 8693, 2.1). */
enum th_form_fault th_form_init_repeating(struct th_form *form, struct th_str body);
void th_form_fini(struct th_form *form); /* zeroed is fine */
/* One name or value by itself, decoded to *out (which has room for in.len bytes) and beyond it; false
 * when malformed. */
bool th_form_decode(struct th_str in, char **out, struct th_str *ret);
/* The value; empty when absent, since RFC 6749 (3.2) treats both alike. */
struct th_str th_form_get(const struct th_form *form, const char *name);
/* Of those of that name the one at `index`; empty when there are no more. */
struct th_str th_form_get_at(const struct th_form *form, const char *name, size_t index);

#endif
