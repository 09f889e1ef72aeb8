/* The scripted authorization server: a fetcher whose requests wait for an answer. Every request is
 * checked by itself: client authentication anew each time (R12), a subject token that exists. */
#ifndef TOKENHOP_TESTS_SCENARIO_SERVER_H
#define TOKENHOP_TESTS_SCENARIO_SERVER_H

#include "proof.h"
#include "token.h"
#include "tokenhop/net/fetch.h"
#include "tokenhop/net/worker.h"
#include "tokenhop/oauth/jose.h"

#define ASK_PARAMS_MAX 24

struct server;

/* One request to a token endpoint. Kept to the end of the world, answered or not. */
struct th_fetch {
    struct th_fetch *next;
    struct server *server;
    struct th_worker *worker;
    th_fetch_fn *fn; /* NULL: answered, or given up by who asked */
    void *arg;
    struct th_soon soon;
    char *url;
    struct bytes body;
    struct bytes dpop; /* the field's value; ptr NULL: none */
    struct proof proof;
    int64_t timeout_ms;
    bool checked, claimed, answered, cancelled;
    struct {
        char *name, *value;
        size_t value_len;
    } params[ASK_PARAMS_MAX];
    size_t n_params;
    /* the answer */
    int error;
    struct th_fetch_response response;
    struct bytes answer;
    char content_type[64];
    char nonce[128];   /* DPoP-Nonce of the answer; empty: none */
    char joined[1024]; /* of a parameter that came again */
    char client[64];
};

struct fake_fetcher {
    struct th_fetcher base;
    struct server *server;
    struct th_worker *worker;
};

struct server {
    const struct th_clock *clock;
    struct tokens *tokens;
    struct th_key *agent_key; /* public or private: the agents' assertions verify with it */
    struct th_fetch *asks;    /* oldest first */
    struct th_fetch *current; /* the last that was claimed */
    struct proofs proofs;
    char *seen_jtis[4096];
    size_t n_jtis;
    char violation[512]; /* of what must always hold; empty: none */
};

void server_init(struct server *server, const struct th_clock *clock, struct tokens *tokens);
void server_fini(struct server *server); /* after the fetchers' workers have gone */
void server_make_fetcher(struct server *server, struct th_worker *worker,
                         struct fake_fetcher *fetcher);
/* Reads what has been asked since; notes violations. Not inside a turn of a worker. */
void server_check(struct server *server);
struct th_fetch *server_oldest(const struct server *server); /* that nobody has claimed, or NULL */
size_t server_count(const struct server *server, bool id_jag_only);
/* Who authenticated by the client assertion. */
struct th_str ask_client(struct th_fetch *ask);
const char *ask_kind(const struct th_fetch *ask); /* "id_jag", "jwt_bearer", "other" */
struct th_str ask_param(const struct th_fetch *ask, const char *name); /* ptr NULL: none */
bool ask_waits(const struct th_fetch *ask);                            /* for its answer */

/* What a well-behaved server would issue for this request. */
struct token *server_issue(struct server *server, const struct th_fetch *ask, enum token_kind kind,
                           const char *name, json_t *changes);
/* The JSON object of a good answer. */
json_t *server_good_answer(const struct th_fetch *ask, const struct token *token);
void server_answer(struct th_fetch *ask, int status, struct th_str body, const char *content_type,
                   int64_t retry_after_ms);
void server_answer_well(struct th_fetch *ask, json_t *answer); /* takes it over */
void server_fail(struct th_fetch *ask, int error);

#endif
