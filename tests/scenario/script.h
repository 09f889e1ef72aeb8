/* A scenario's text: lines of words. README.md has the language. */
#ifndef TOKENHOP_TESTS_SCENARIO_SCRIPT_H
#define TOKENHOP_TESTS_SCENARIO_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#define SCRIPT_WORDS_MAX 48

struct word {
    char *text; /* escapes resolved, variables not */
    size_t len;
};

struct line {
    unsigned number;
    size_t n_words;
    struct word words[SCRIPT_WORDS_MAX];
};

struct script {
    char *path;
    struct line *lines;
    size_t n_lines;
};

/* False, and the reason on standard error, when it cannot be read. */
bool script_read(const char *path, struct script *ret_script);
void script_fini(struct script *script);

#endif
