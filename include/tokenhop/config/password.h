/* Of the model (model.h): passwords and tokens of callers whose files hold hashes of them. */
#ifndef TOKENHOP_CONFIG_PASSWORD_H
#define TOKENHOP_CONFIG_PASSWORD_H

#include <stddef.h>
#include <stdint.h>

struct th_config_caller;
struct th_secret;

/* A line of such a file (base/password.h). */
struct th_config_password {
    const struct th_config_caller *caller; /* whose */
    struct th_secret *hash;                /* NULL: a digest, for which `digest` is enough */
    /* SHA-256 of the caller's user (of a bearer: none), NUL and the line: what the line is known by, in
     * configurations of before too. */
    uint8_t digest[32];
};

struct th_config_passwords {
    const struct th_config_password *items;
    size_t n;
    uint8_t version[32]; /* of all their digests */
};

#endif
