/* Plays a script in a world of its own: line by line, each one followed by rest. */
#ifndef TOKENHOP_TESTS_SCENARIO_PLAY_H
#define TOKENHOP_TESTS_SCENARIO_PLAY_H

#include "script.h"
#include "world.h"

struct play {
    const struct script *script;
    const struct line *line;
    size_t at; /* of the line's words: the next one */
    struct world world;
    json_t *config; /* as far as the script has said, until it starts */
    bool tcp;       /* a peer of it speaks TCP: the kernel may take a moment */
    struct peer *origins[16];
    struct bytes complaint; /* why it has failed; empty: it has not */
};

/* Something of the proxy's may fail; the script may go astray then, only what must hold counts. */
struct play_options {
    enum world_fault what;
    unsigned long nth; /* fails; 0: none */
    bool lasts;        /* world.h */
    bool probes;       /* afterwards, with nothing failing any more */
    bool is_quiet;     /* nothing is said of what did not hold */
};

/* What a play has come to. */
struct play_figures {
    unsigned long n_done[WORLD_FAULTS]; /* 0 where the build does not count */
    unsigned probes[WORLD_PROBES];
    bool is_probed;
    bool is_malformed;
    bool is_elsewhere; /* astray of a script that goes on to change the configuration, or to end */
    bool has_failed;   /* the call that was to */
};

/* Whether all went as the script says and what must hold has held; else it says why on standard error. */
bool play_script(const struct script *script, const struct world_home *home,
                 const struct play_options *options, struct play_figures *ret_figures);

/* --- for the verbs --- */

/* Notes what was expected and what came, and where; returns false. */
bool play_fail(struct play *play, const char *format, ...) TH_PRINTF(2, 3);
bool play_more(const struct play *play);
const char *play_peek(const struct play *play);      /* the next word; "" at the line's end */
bool play_take(struct play *play, const char *word); /* if it is the next one */
/* The next word, variables replaced; false, and noted, when there is none. Freed by the caller. */
bool play_word(struct play *play, struct bytes *ret_text);
bool play_number(struct play *play, int64_t *ret_number);
bool play_duration(struct play *play, int64_t *ret_ms);
/* "name=value": the value, variables replaced; false, and *ret_value as it was, when the next word is no such. */
bool play_option(struct play *play, const char *name, struct bytes *ret_value);
bool play_option_number(struct play *play, const char *name, int64_t *ret_number);
/* The next word as JSON, where it is: NULL when it is none. "+60" as a value is the time in 60 seconds. */
json_t *play_json(struct play *play);
bool play_end(struct play *play); /* of the line, or it fails */
/* The token of that name; a subject token that is new is made. NULL and noted: there is none. */
struct token *play_token(struct play *play, struct th_str name);
/* Runs the world to rest before something is looked at. */
void play_rest(struct play *play);

/* The verbs: what begins with that word. */
bool play_client(struct play *play);
bool play_origin(struct play *play);
bool play_server(struct play *play);
bool play_expect(struct play *play);

#endif
