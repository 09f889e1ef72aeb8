/* URL patterns of a configuration, and the paths in them. Immutable; any thread. */
#ifndef TOKENHOP_CONFIG_PATTERN_H
#define TOKENHOP_CONFIG_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include "tokenhop/base/str.h"

/* One URL pattern, in normal form. */
struct th_config_pattern {
    struct th_str text;   /* as configured, for messages */
    struct th_str scheme; /* "http" or "https" */
    struct th_str host;   /* lower case; without the "*." when wildcard; IPv6 without brackets */
    bool wildcard;        /* one label before `host` */
    uint16_t port;        /* the scheme's default filled in */
    struct th_str
        path; /* starts with '/'; matches itself and what is below it, on whole segments */
};

/* Whether a path is that of a pattern, or below it on whole segments: "/a2a" and "/a2a/" cover "/a2a" and "/a2a/x",
 * but not "/a2ab". One that ends in '/' also covers the path without it, as both name the same tree. */
bool th_config_path_covers(struct th_str pattern, struct th_str path);

#endif
