/* The tokens of a scenario: subject tokens of callers, ID-JAGs and access tokens of the authorization
 * server. All read as JWTs; none is signed, as nobody in this house verifies them. */
#ifndef TOKENHOP_TESTS_SCENARIO_TOKEN_H
#define TOKENHOP_TESTS_SCENARIO_TOKEN_H

#include <jansson.h>

#include "bytes.h"

enum token_kind {
    TOKEN_SUBJECT,
    TOKEN_ID_JAG, /* and any other assertion that a first leg yields */
    TOKEN_ACTOR,
    TOKEN_ACCESS
};

struct token {
    struct token *next;
    enum token_kind kind;
    char name[64];
    char *text;
    json_t *claims;
    char goes_on_to[64]; /* a subject token's: the host of a connection in shadow; empty: none */
    struct token
        *of; /* what it was issued for: an ID-JAG's subject token, an access token's ID-JAG */
};

struct tokens {
    struct token *first;
    unsigned n_made;
};

/* Owns `claims`; adds a `jti` that no other has. */
struct token *token_add(struct tokens *tokens, enum token_kind kind, const char *name,
                        const char *typ, json_t *claims);
struct token *token_add_opaque(struct tokens *tokens, enum token_kind kind, const char *name);
struct token *token_find(const struct tokens *tokens, struct th_str name); /* the newest of it */
struct token *token_find_text(const struct tokens *tokens, struct th_str text);
void json_text_free(char *text); /* of json_dumps() */
void tokens_fini(struct tokens *tokens);

#endif
