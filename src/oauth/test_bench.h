/* For the tests of exchanges: one on a worker with a turned clock, and its authorization servers as a
 * fetcher that keeps what is asked and answers when told to. */
#ifndef TOKENHOP_SRC_OAUTH_TEST_BENCH_H
#define TOKENHOP_SRC_OAUTH_TEST_BENCH_H

#include "exchange_run.h"
#include "test_support.h"
#include "tokenhop/net/helpers.h"

#define ASKED_MAX 8
#define DEADLINE_MS 10000

struct asked {
    char *url, *body, *content_type, *ca_file; /* body NULL: a GET */
    char *authorization, *dpop;                /* NULL: none */
    int64_t timeout_ms;
    bool allow_cleartext;
};

struct bench {
    struct th_fetcher fetcher; /* first: it is found by it */
    struct asked asked[ASKED_MAX];
    size_t n_asked;
    th_fetch_fn *fn; /* NULL: nothing is under way */
    void *arg;
    unsigned n_cancelled;
    int start_error;
    struct th_str rejected;                      /* of what is started from now on */
    const struct th_exchange_observer *observer; /* of what is started from now on */
    void *observer_arg;

    struct world world;
    struct th_clock clock;
    struct th_worker *worker;
    struct th_breakers *breakers;
    struct th_exchanger *exchanger;
    struct th_exchange *exchange; /* NULL once it has ended */

    unsigned n_ends;
    struct th_exchange_result result; /* of the end, without token and values */
    char *token;
    char *value; /* the first of its values */
};

/* The tokens of a run: T1, T2, T3 of the reference. */
struct tokens {
    struct th_buf subject, id_jag, access;
};

#define ID_JAG_OK "{'issued_token_type':'" TT "id-jag','access_token':'%s','token_type':'N_A'}"
#define ACCESS_OK "{'token_type':'Bearer','expires_in':3600,'access_token':'%s'}"
#define JAG_HEADER "{'typ':'oauth-id-jag+jwt','alg':'RS256'}"
#define ES256_KEY "{" RFC7515_A3_PRIVATE "}"
#define RS256_KEY "{" RFC7515_A2_PRIVATE "}"

void bench_open(struct bench *b, const char *key, enum th_signing_alg alg,
                struct th_helpers *helpers);
void bench_close(struct bench *b); /* nothing may be left of any token */
void settle(struct bench *b);
void pass(struct bench *b, int64_t ms);

int try_start(struct bench *b, const char *subject, struct th_errinfo *reterr);
void start(struct bench *b, const char *subject); /* which must work */

/* To the request under way. In `format`, ' stands for ". */
void answer(struct bench *b, int status, const char *format, ...) TH_PRINTF(3, 4);
void answer_raw(struct bench *b, const struct th_fetch_response *response);
void break_off(struct bench *b, int error);

void forget_asked(struct bench *b);
/* The value of a field, to be freed; NULL when it is not there. Fails when it is there twice. */
char *field(const struct bench *b, size_t request, const char *name);
size_t n_fields(const struct bench *b, size_t request);
void assert_field(const struct bench *b, size_t request, const char *name, const char *want);
/* The client assertion of a request: claims that must hold; returns its jti, to be freed. */
char *check_assertion(const struct bench *b, size_t request, const char *audience,
                      const char *key_text);

void tokens_open(struct tokens *t);
void tokens_close(struct tokens *t);

#endif
