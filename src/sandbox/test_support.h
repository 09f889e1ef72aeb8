/* For the unit tests: the world with keys in a folder that goes again, a clock that a test turns, and
 * requests of its clients. Any failure of the support itself fails the test that asked. */
#ifndef TOKENHOP_SRC_SANDBOX_TEST_SUPPORT_H
#define TOKENHOP_SRC_SANDBOX_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "idp.h"

#define TEST_NOW_MS (INT64_C(1790000000) * 1000)
#define TEST_URL_AGENT1 "https://agent1.test"
#define TEST_URL_AGENT2 "https://agent2.test"
#define TEST_URL_AGENT3 "https://agent3.test"
#define TEST_URL_API "https://api.test"
#define TEST_BASE "https://idp.test"

struct test_world {
    struct th_registry registry;
    struct th_clock clock;
    struct th_idp idp;
    char folder[64];
};

/* For cmocka's group: *state is a struct test_world. */
int test_world_setup(void **state);
int test_world_teardown(void **state);
/* For each test: nothing remembered, the clock and the settings as at the start. */
int test_world_reset(void **state);

/* An assertion of `client`, right in every part; `patch` is a JSON object {"header": {...}, "claims":
 * {...}}: the claims replace members or, as null, remove them; of the header, kid and typ. `signer`
 * NULL: the client's own first key. Freed with free(). */
char *test_make_assertion(struct test_world *world, enum th_world_client client,
                          const char *audience, const char *patch, const struct th_key *signer);
/* Signs claims (a new reference, taken) as a server would. Freed with free(). */
char *test_make_token(struct test_world *world, enum th_world_server server, const char *typ,
                      json_t *claims);
/* An ID token of alice for agent1, patched; and an access token of the service for agent1. */
char *test_make_id_token(struct test_world *world, const char *patch);
char *test_make_access_token(struct test_world *world, const char *patch);

/* A form body from pairs of name and value, ended by NULL; NULL values are left out. Freed with
 * free(). */
char *test_make_body(const char *first, ...);
/* The Authorization field of client_secret_basic. Freed with free(). */
char *test_make_basic(const char *client_id, const struct th_secret *secret);
/* Posts the body to the server's token endpoint; th_idp_answer_fini() the answer. */
struct th_idp_answer test_post(struct test_world *world, enum th_world_server server,
                               const char *body);

/* What a test row expects: `reason` NULL for granted. Ends the answer. */
void test_expect(struct th_idp_answer *answer, int status, const char *error, const char *reason);

#endif
