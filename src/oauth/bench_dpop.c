/* What a DPoP proof costs in processor time: of a forwarded request with a token of 900 bytes, by each kind of key. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "tokenhop/base/check.h"
#include "tokenhop/base/clock.h"
#include "tokenhop/oauth/dpop.h"

#define SECONDS 1

/* Of this thread's own: a machine that does other things besides does not count. */
static int64_t cpu_us(void)
{
    struct timespec now;

    TH_REQUIRE(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void run(const char *name, enum th_alg alg)
{
    static char token[900];
    struct th_key *key;
    struct th_dpop_key *dpop_key;
    struct th_dpop_request request = {.method = TH_STR("POST"),
                                      .url = TH_STR("https://agent2.example.com/a2a/v1/message"),
                                      .access_token = {token, sizeof token},
                                      .wall_ms = th_clock_wall_ms(&th_clock_system)};
    uint64_t n = 0;

    for (size_t i = 0; i < sizeof token; i++)
        token[i] = 'a';
    TH_REQUIRE(th_key_generate(alg, &key) == 0);
    TH_REQUIRE(th_dpop_key_new(key, alg, &dpop_key) == 0);
    th_dpop_note_nonce(dpop_key, request.url, TH_STR("eyJ7S_zG.eyJH0-Z.HX4w-7v"));
    int64_t start_us = cpu_us(), now_us;
    do {
        struct th_buf proof;
        th_buf_init_secret(&proof, TH_DPOP_PROOF_MAX(request.method.len + request.url.len));
        TH_REQUIRE(th_dpop_prove(dpop_key, &request, &proof) == 0);
        th_buf_fini(&proof);
        n++;
        now_us = cpu_us();
    } while (now_us - start_us < SECONDS * INT64_C(1000000));
    printf("%-8s %8.1f us a proof\n", name, (double)(now_us - start_us) / (double)n);
    th_dpop_key_unref(dpop_key);
    th_key_unref(key);
}

int main(void)
{
    run("ES256", TH_JWS_ES256);
    run("EdDSA", TH_JWS_EDDSA);
    run("ES384", TH_JWS_ES384);
    run("RS256", TH_JWS_RS256);
    return 0;
}
