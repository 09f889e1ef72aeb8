/* The keys of how much of everything there may be. */
#include "table.h"

static const struct th_config_key limit_keys[] = {
    {.name = "connections",
     COUNT(struct th_config_limits, connections),
     .default_text = "20000",
     .min = 1,
     .max = 1000000,
     .doc = "Client connections at a time, over all listeners. Beyond it: 503."},
    {.name = "tunnels",
     COUNT(struct th_config_limits, tunnels),
     .default_text = "10000",
     .min = 1,
     .max = 1000000,
     .doc = "CONNECT tunnels at a time, of all kinds; each is a client connection too. Beyond it: "
            "503."},
    {.name = "head",
     SIZE(struct th_config_limits, head),
     .default_text = "64KiB",
     .min = KIB,
     .max = MIB,
     .doc = "The head of a request or response. Beyond it: 431, of a response 502."},
    {.name = "fields",
     COUNT(struct th_config_limits, fields),
     .default_text = "100",
     .min = 10,
     .max = 1000,
     .doc = "Header fields of a request or response."},
    {.name = "replay_body",
     SIZE(struct th_config_limits, replay_body),
     .default_text = "64KiB",
     .max = 16 * MIB,
     .doc = "A request's body up to this size is held until the response begins, so that it can "
            "be sent once more with a new credential when the destination answers 401."},
    {.name = "waiting_exchanges",
     COUNT(struct th_config_limits, waiting_exchanges),
     .default_text = "1000",
     .min = 1,
     .max = 1000000,
     .needs_restart = true,
     .doc = "Exchanges that may be under way or wait at a time. Beyond it: 503."},
};
const struct th_section th_section_limits = {
    SECTION("limits", struct th_config_limits, limit_keys)};
