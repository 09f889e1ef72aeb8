/* Configurations with one mistake each, and what is said of it: for tests with a table of them. */
#ifndef TOKENHOP_SRC_CONFIG_TEST_MISTAKE_H
#define TOKENHOP_SRC_CONFIG_TEST_MISTAKE_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tokenhop/config/load.h"

struct test_mistake {
    const char *rest, *path, *what, *mend;
};

/* Whether `text` has this mistake and no other; says what it has if not. What stands where a secret may have
 * been put by mistake ("hunter2") is never repeated. */
static inline bool test_mistake_is_found(const struct test_mistake *wanted, size_t number,
                                         const char *text, const char *folder)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    int r = th_config_load_text(th_str_of(text), folder, &config, &mistakes);
    const struct th_config_mistake *m = mistakes.items;
    bool found = r == TH_E_CONFIG && mistakes.count == 1 && m->line != 0 &&
                 strcmp(m->path, wanted->path) == 0 && strstr(m->what, wanted->what) != NULL &&
                 strstr(m->mend, wanted->mend) != NULL;
    if (!found) {
        th_config_mistakes_print(&mistakes, "file", stderr);
        (void)fprintf(stderr, "case %zu: %s\nwanted 1 mistake at %s: %s; %s\n\n", number,
                      wanted->rest, wanted->path, wanted->what, wanted->mend);
    }
    for (size_t i = 0; i < mistakes.count; i++)
        found = found && strstr(mistakes.items[i].what, "hunter2") == NULL &&
                strstr(mistakes.items[i].mend, "hunter2") == NULL;
    th_config_unref(config);
    th_config_mistakes_fini(&mistakes);
    return found;
}

#endif
