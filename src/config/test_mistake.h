/* Configurations with one mistake each, and what is said of it, for tests with a table of them; and some
 * without. */
#ifndef TOKENHOP_SRC_CONFIG_TEST_MISTAKE_H
#define TOKENHOP_SRC_CONFIG_TEST_MISTAKE_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tokenhop/base/check.h"
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

/* One that has none; ends the test, and says which there are, if it has. */
static inline struct th_config *test_config_load(const char *text, const char *folder)
{
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    int error = th_config_load_text(th_str_of(text), folder, &config, &mistakes);
    if (error != 0) {
        (void)fprintf(stderr, "%s\n", text);
        th_config_mistakes_print(&mistakes, "file", stderr);
    }
    TH_REQUIRE(error == 0);
    th_config_mistakes_fini(&mistakes);
    return config;
}

/* One listener and one agent "a". `address` and `listener`: what follows its name; `rest`: further members of
 * the file. */
static inline const char *test_listener_text(const char *address, const char *listener,
                                             const char *rest, char room[4096])
{
    (void)snprintf(
        room, 4096,
        "{\"listeners\": [{\"name\": \"in\", %s%s}],\n"
        " \"authorization_servers\": {\"org\": {\"issuer\": \"https://x.okta.com\"}},\n"
        " \"agents\": {\"a\": {\"client_id\": \"w\", \"authorization_server\": \"org\",\n"
        "  \"auth\": {\"method\": \"none\"}}}%s%s}\n",
        address, listener, rest[0] != '\0' ? ",\n" : "", rest);
    return room;
}

#endif
