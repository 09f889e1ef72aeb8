/* The keys of how much of everything there may be. */
#include "table.h"

/* The same keys of three places, which differ in what holds where one is not given. */
#define SHARE_KEYS(otherwise, waiting_otherwise)                                                   \
    {                                                                                              \
        {.name = "connections",                                                                    \
         COUNT(struct th_config_share, connections),                                               \
         .min = 1,                                                                                 \
         .max = 1000000,                                                                           \
         .doc = "Client connections at a time. " otherwise},                                       \
            {.name = "requests_per_second",                                                        \
             COUNT(struct th_config_share, requests_per_second),                                   \
             .min = 1,                                                                             \
             .max = 1000000,                                                                       \
             .doc = "Requests a second in the long run, and as many at once. " otherwise},         \
            {.name = "exchanges_per_second",                                                       \
             COUNT(struct th_config_share, exchanges_per_second),                                  \
             .min = 1,                                                                             \
             .max = 1000000,                                                                       \
             .doc =                                                                                \
                 "Exchanges that requests begin a second in the long run, and as many at once: "   \
                 "requests whose credential is not in the cache, and for which no exchange is "    \
                 "under way. " otherwise},                                                         \
            {.name = "waiting",                                                                    \
             COUNT(struct th_config_share, waiting),                                               \
             .min = 1,                                                                             \
             .max = 1000000,                                                                       \
             .doc = "Requests that may wait for an exchange at a time, and exchanges that may be " \
                    "under way for them. " waiting_otherwise},                                     \
    }

static const struct th_config_key caller_share_keys[] =
    SHARE_KEYS("Unless given, there is no limit.",
               "Unless given, as many as there is still room for others: one alone gets half of "
               "limits.waiting_exchanges, two a third each.");
static const struct th_section caller_share_section = {
    SECTION("per_caller", struct th_config_share, caller_share_keys)};

static const struct th_config_key agent_share_keys[] =
    SHARE_KEYS("Unless given, there is no limit.", "Unless given, there is no limit.");
static const struct th_section agent_share_section = {
    SECTION("per_agent", struct th_config_share, agent_share_keys)};

static const struct th_config_key own_share_keys[] = SHARE_KEYS(
    "Unless given, what limits.per_caller says.", "Unless given, what limits.per_caller says.");
const struct th_section th_section_own_share = {
    SECTION("own_limits", struct th_config_share, own_share_keys)};

static const struct th_config_key limit_keys[] = {
    {.name = "per_caller",
     OBJECT(struct th_config_limits, per_caller, caller_share_section),
     .doc =
         "What each caller may have. Who proves to be one of `callers` is one by its name; who only reaches "
         "a listener is one by its address. Beyond it: 429."},
    {.name = "per_agent",
     OBJECT(struct th_config_limits, per_agent, agent_share_section),
     .doc = "What all callers together may have that act as the same agent. Beyond it: 429."},
    {.name = "connections",
     COUNT(struct th_config_limits, connections),
     .default_text = "20000",
     .min = 1,
     .max = 1000000,
     .doc =
         "Client connections at a time, over all listeners. Beyond it one of the worker that never "
         "had a request admitted makes room; where all had: 503."},
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
     .default_text = "2000",
     .min = 1,
     .max = 1000000,
     .needs_restart = true,
     .doc = "Exchanges that may be under way or wait at a time. Beyond it: 503."},
};
const struct th_section th_section_limits = {
    SECTION("limits", struct th_config_limits, limit_keys)};
