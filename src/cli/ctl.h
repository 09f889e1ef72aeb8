/* What tokenhop ctl's files share. Private to the room. */
#ifndef TOKENHOP_CLI_CTL_H
#define TOKENHOP_CLI_CTL_H

#include <jansson.h>
#include <stdio.h>

/* What a running tokenhop answered, for a person. Its texts are escaped (show.h). */
typedef void th_ctl_show_fn(FILE *out, const json_t *answer);

th_ctl_show_fn th_ctl_show_status, th_ctl_show_connections, th_ctl_show_cache, th_ctl_show_purged,
    th_ctl_show_revoked, th_ctl_show_reloaded, th_ctl_show_draining, th_ctl_show_level,
    th_ctl_show_probe;
/* A refusal, with the mistakes of a configuration where it has some. */
void th_ctl_show_refusal(FILE *out, const json_t *answer);

#endif
