/* Plays scripts over and over, each time with another of the proxy's allocations or calls failing. */
#ifndef TOKENHOP_TESTS_SCENARIO_SWEEP_H
#define TOKENHOP_TESTS_SCENARIO_SWEEP_H

#include "play.h"

struct sweep {
    enum world_fault what;
    bool by_place; /* of calls: of each place that makes them the first alone, in each script */
    bool lasts;    /* from then on, whenever the same function is called */
    unsigned long step; /* every so manieth, counted over all scripts */
    const struct world_home *home;
    unsigned long n_turns; /* so far, those that were left out too */
    unsigned long n_plays, n_failed;
    unsigned n_scripts, n_probed; /* probed: and the probes are answered well without a fault */
};

/* Whether everything that must hold has held in every play; else it says of each why on standard error. */
bool sweep_script(struct sweep *sweep, const struct script *script);
/* Prints what was swept, by function. */
void sweep_report(const struct sweep *sweep);

#endif
