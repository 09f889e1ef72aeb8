/* For the tests of what needs a configuration: entries that were got for its connections. */
#ifndef TOKENHOP_SRC_TOKEN_SCENE_H
#define TOKENHOP_SRC_TOKEN_SCENE_H

#include "testing.h"

#define SERVERS                                                                                    \
    "\"listeners\":[{\"name\":\"l\",\"address\":\"127.0.0.1:8080\",\"agent\":\"agent1\"}],"        \
    "\"authorization_servers\":{\"org\":{\"issuer\":\"https://org.test\"},"                        \
    "\"custom\":{\"issuer\":\"https://org.test/oauth2/aus1\"}},"
#define AGENT(name)                                                                                \
    "\"" name "\":{\"client_id\":\"" name "\",\"auth\":{\"method\":\"none\"},"                     \
    "\"authorization_server\":\"org\"}"
#define CONNECTION(name, agents, scope)                                                            \
    "{\"name\":\"" name "\",\"url\":\"https://" name ".test/\",\"type\":\"authorization_server\"," \
    "\"agents\":[" agents "],\"authorization_server\":\"custom\",\"scopes\":[\"" scope "\"]}"
#define CONFIG(connections)                                                                        \
    "{" SERVERS                                                                                    \
    "\"agents\":{" AGENT("agent1") "," AGENT("agent2") "},\"connections\":[" connections "]}"
#define BOTH "\"agent1\",\"agent2\""
#define USUAL CONFIG(CONNECTION("one", BOTH, "read") "," CONNECTION("two", BOTH, "read"))

/* A house with entries of two agents, two connections and two subjects. */
struct scene {
    struct house house;
    struct th_directory *directory; /* in force */
};

struct th_directory *directory_of(const char *text); /* of a configuration */

void scene_open(struct scene *scene);
void scene_close(struct scene *scene); /* nothing may be left of any secret */
/* Another configuration is in force; so many entries are dropped by that. */
void scene_force(struct scene *scene, const char *config, struct th_dropped *ret_dropped,
                 size_t n_expected);
/* `agent`: its place among those of the connection. */
struct th_broker_request scene_request(const struct th_directory *directory, const char *connection,
                                       size_t agent, const char *subject);
/* At desk 0. The asker is new, and told what comes. */
int scene_ask(struct scene *scene, const struct th_directory *directory, const char *connection,
              size_t agent, const char *subject, struct asker *asker);
/* With the token "CONNECTION.AGENT.SUBJECT", the agent counted from 1. */
void scene_fill(struct scene *scene, const char *connection, size_t agent, const char *subject);
bool scene_has(struct scene *scene, const char *connection, size_t agent, const char *subject);

#endif
