/* DPoP keys, proofs and nonces: the examples of RFC 9449, and properties. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/random.h"
#include "tokenhop/oauth/dpop.h"

/* RFC 9449, 4.1 and 5: the proof for a token endpoint; 7.1: the proof for a resource, with its token. */
#define RFC9449_HEADER                                                                             \
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNo" \
    "UklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERW" \
    "clUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
#define RFC9449_PROOF                                                                              \
    RFC9449_HEADER                                                                                 \
    ".eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGU" \
    "uY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbd" \
    "LXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
#define RFC9449_RESOURCE_PROOF                                                                     \
    RFC9449_HEADER                                                                                 \
    ".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGx" \
    "lLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0J" \
    "iMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqy" \
    "Vnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
#define RFC9449_TOKEN "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
#define RFC9449_ATH "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
#define RFC9449_THUMBPRINT "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

static struct th_dpop_key *key_new(const char *text, enum th_alg alg)
{
    struct th_key *key;
    struct th_dpop_key *made;
    assert_int_equal(
        text != NULL ? th_key_parse(th_str_of(text), &key, NULL) : th_key_generate(alg, &key), 0);
    assert_int_equal(th_dpop_key_new(key, alg, &made), 0);
    th_key_unref(key);
    return made;
}

/* What a server reads of a proof, checked as it must be (RFC 9449, 4.3) but for the request's side. */
struct read_proof {
    struct th_jwt jwt;
    char thumbprint[TH_DPOP_THUMBPRINT_LEN + 1];
};

static void read_proof(struct th_str text, struct read_proof *ret_proof)
{
    struct th_key *key;
    struct th_buf thumbprint;
    assert_int_equal(th_jwt_parse(text, &ret_proof->jwt), 0);
    const json_t *header = ret_proof->jwt.header, *jwk = json_object_get(header, "jwk");
    assert_true(th_str_equal(th_jwt_text(header, "typ"), TH_STR("dpop+jwt")));
    assert_int_equal(json_object_size(header), 3);
    assert_int_equal(th_key_from_jwk(jwk, &key, NULL), 0);
    assert_false(th_key_is_private(key));
    assert_int_equal(th_jwt_verify(&ret_proof->jwt, key), 0);
    th_buf_init(&thumbprint, 100);
    assert_int_equal(th_key_thumbprint(key, &thumbprint), 0);
    assert_int_equal(thumbprint.len, TH_DPOP_THUMBPRINT_LEN);
    memcpy(ret_proof->thumbprint, thumbprint.ptr, TH_DPOP_THUMBPRINT_LEN + 1);
    th_buf_fini(&thumbprint);
    th_key_unref(key);
}

static void prove(struct th_dpop_key *key, const struct th_dpop_request *request,
                  struct read_proof *ret_proof)
{
    struct th_buf out;
    th_buf_init_secret(&out, TH_DPOP_PROOF_MAX(request->method.len + request->url.len));
    assert_int_equal(th_dpop_prove(key, request, &out), 0);
    read_proof(th_buf_str(&out), ret_proof);
    th_buf_fini(&out);
}

static void assert_claim(const struct read_proof *proof, const char *name, const char *want)
{
    const json_t *member = json_object_get(proof->jwt.claims, name);
    if (want == NULL)
        assert_null(member);
    else
        assert_string_equal(json_string_value(member), want);
}

static void rfc9449_examples(void **state)
{
    struct read_proof proof;
    read_proof(TH_STR(RFC9449_PROOF), &proof);
    assert_string_equal(proof.thumbprint, RFC9449_THUMBPRINT);
    assert_claim(&proof, "htu", "https://server.example.com/token");
    th_jwt_fini(&proof.jwt);
    read_proof(TH_STR(RFC9449_RESOURCE_PROOF), &proof);
    assert_string_equal(proof.thumbprint, RFC9449_THUMBPRINT);
    assert_claim(&proof, "ath", RFC9449_ATH);
    th_jwt_fini(&proof.jwt);
}

static void rfc9449_token_hash(void **state)
{
    struct th_dpop_key *key = key_new(NULL, TH_JWS_ES256);
    const struct th_dpop_request request = {
        .method = TH_STR("GET"),
        .url = TH_STR("https://resource.example.org/protectedresource"),
        .access_token = TH_STR(RFC9449_TOKEN),
        .wall_ms = 1562262619999,
    };
    struct read_proof proof;
    prove(key, &request, &proof);
    assert_claim(&proof, "ath", RFC9449_ATH);
    assert_claim(&proof, "htm", "GET");
    assert_claim(&proof, "htu", "https://resource.example.org/protectedresource");
    assert_claim(&proof, "nonce", NULL);
    assert_int_equal(th_jwt_time_ms(proof.jwt.claims, "iat"), 1562262618000);
    assert_int_equal(json_object_size(proof.jwt.claims), 5);
    th_jwt_fini(&proof.jwt);
    th_dpop_key_unref(key);
}

static void every_algorithm(void **state)
{
    static const struct {
        enum th_alg alg;
        const char *key; /* NULL: made */
        size_t n_members;
        bool is_slow;
    } cases[] = {
        {TH_JWS_ES256, NULL, 4, false},
        {TH_JWS_ES256, "{" RFC7515_A3_PRIVATE "}", 4, false},
        {TH_JWS_ES384, NULL, 4, true},
        {TH_JWS_ES512, NULL, 4, true},
        {TH_JWS_EDDSA, "{" RFC8037_PRIVATE "}", 3, false},
        {TH_JWS_RS256, "{" RFC7515_A2_PRIVATE "}", 3, true},
        {TH_JWS_PS512, "{" RFC7515_A2_PRIVATE "}", 3, true},
        /* members that are not the key's own, private ones above all, stay here */
        {TH_JWS_ES256, "{" RFC7515_A3_PRIVATE ",\"kid\":\"k\",\"use\":\"sig\",\"alg\":\"ES256\"}",
         4, false},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_dpop_key *key = key_new(cases[i].key, cases[i].alg);
        const struct th_dpop_request request = {.method = TH_STR("POST"),
                                                .url = TH_STR("https://a.example/")};
        struct read_proof proof;
        prove(key, &request, &proof);
        assert_true(th_str_equal(th_jwt_text(proof.jwt.header, "alg"), th_alg_name(cases[i].alg)));
        assert_int_equal(json_object_size(json_object_get(proof.jwt.header, "jwk")),
                         cases[i].n_members);
        assert_true(th_str_equal(th_dpop_key_thumbprint(key), th_str_of(proof.thumbprint)));
        assert_int_equal(th_dpop_key_is_slow(key), cases[i].is_slow);
        th_jwt_fini(&proof.jwt);
        th_dpop_key_unref(key);
    }
}

static void what_is_no_key_for_proofs(void **state)
{
    static const struct {
        const char *key;
        enum th_alg alg;
    } cases[] = {{"{" RFC7515_A3_PUBLIC "}", TH_JWS_ES256},
                 {"{" RFC7515_A3_PRIVATE "}", TH_JWS_RS256},
                 {"{" RFC7515_A2_PRIVATE "}", TH_JWS_ES256},
                 {"{" RFC7515_A3_PRIVATE "}", TH_JWS_NONE}};
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_key *key;
        struct th_dpop_key *made = NULL;
        assert_int_equal(th_key_parse(th_str_of(cases[i].key), &key, NULL), 0);
        assert_int_equal(th_dpop_key_new(key, cases[i].alg, &made), TH_E_CONFIG);
        assert_null(made);
        th_key_unref(key);
    }
}

static void nonces_are_of_a_server(void **state)
{
    static const struct {
        const char *noted, *asked;
        bool same;
    } cases[] = {
        {"https://a.example/token", "https://a.example/revoke?x=1", true},
        {"https://a.example", "https://a.example/x", true},
        {"https://a.example?x", "https://a.example#y", true},
        {"HTTPS://A.example/x", "https://a.EXAMPLE/y", true},
        {"https://a.example:8443/", "https://a.example:8443/y", true},
        {"https://a.example/", "http://a.example/", false},
        {"https://a.example/", "https://a.example:8443/", false},
        {"https://a.example/", "https://b.example/", false},
        {"https://a.example/", "https://a.example.evil/", false},
        {"https://a.example.evil/", "https://a.example/", false},
        {"https://[::1]:9/", "https://[::1]:9/x", true},
    };
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        struct th_dpop_key *key = key_new(NULL, TH_JWS_ES256);
        struct th_dpop_request request = {.method = TH_STR("GET"),
                                          .url = th_str_of(cases[i].asked)};
        struct read_proof proof;
        th_dpop_note_nonce(key, th_str_of(cases[i].noted), TH_STR("n-1"));
        prove(key, &request, &proof);
        assert_claim(&proof, "nonce", cases[i].same ? "n-1" : NULL);
        th_jwt_fini(&proof.jwt);
        th_dpop_key_unref(key);
    }
}

static void what_is_no_nonce(void **state)
{
    char longest[TH_DPOP_NONCE_MAX + 2];
    struct th_dpop_key *key = key_new(NULL, TH_JWS_ES256);
    const struct th_str url = TH_STR("https://a.example/");
    const struct th_dpop_request request = {.method = TH_STR("GET"), .url = url};
    struct read_proof proof;
    memset(longest, 'n', sizeof longest);
    th_dpop_note_nonce(key, url, (struct th_str){longest, TH_DPOP_NONCE_MAX});
    const struct th_str none[] = {TH_STR(""),
                                  TH_STR("a b"),
                                  TH_STR("a\"b"),
                                  TH_STR("a\\b"),
                                  TH_STR("a\nb"),
                                  TH_STR("\x7f"),
                                  TH_STR("a\0b"),
                                  TH_STR_NONE,
                                  TH_STR("\xe4"),
                                  TH_STR("a,\t"),
                                  {longest, sizeof longest - 1}};
    for (size_t i = 0; i < TH_COUNT_OF(none); i++) {
        assert_false(th_dpop_is_nonce(none[i]));
        th_dpop_note_nonce(key, url, none[i]); /* changes nothing */
    }
    prove(key, &request, &proof);
    longest[TH_DPOP_NONCE_MAX] = '\0';
    assert_claim(&proof, "nonce", longest);
    th_jwt_fini(&proof.jwt);
    assert_true(th_dpop_is_nonce(TH_STR("!#$%&'()*+,-./:;<=>?@[]^_`{|}~azAZ09")));
    th_dpop_key_unref(key);
}

/* Against a model: of as many servers as there is room for the latest nonce is kept, and the server that
 * goes is the one longest without use. */
static void nonces_are_bounded(void **state)
{
    enum { SERVERS = TH_DPOP_NONCES_MAX + 20, STEPS = 3000 };
    struct th_dpop_key *key = key_new("{" RFC8037_PRIVATE "}", TH_JWS_EDDSA);
    unsigned latest[SERVERS] = {0}, used[SERVERS] = {0}, uses = 0;
    for (unsigned step = 1; step <= STEPS; step++) {
        unsigned server = th_random_below(SERVERS), n_kept = 0, oldest = 0;
        char url[64], nonce[16];
        (void)snprintf(url, sizeof url, "https://s%u.example/x", server);
        if (th_random_below(4) > 0) {
            for (unsigned i = 0; i < SERVERS; i++) {
                n_kept += used[i] > 0;
                if (used[i] > 0 && (used[oldest] == 0 || used[i] < used[oldest]))
                    oldest = i;
            }
            (void)snprintf(nonce, sizeof nonce, "n%u", step);
            th_dpop_note_nonce(key, th_str_of(url), th_str_of(nonce));
            if (used[server] == 0 && n_kept == TH_DPOP_NONCES_MAX)
                used[oldest] = 0;
            latest[server] = step;
            used[server] = ++uses;
        } else {
            const struct th_dpop_request request = {.method = TH_STR("GET"), .url = th_str_of(url)};
            struct read_proof proof;
            prove(key, &request, &proof);
            (void)snprintf(nonce, sizeof nonce, "n%u", latest[server]);
            assert_claim(&proof, "nonce", used[server] > 0 ? nonce : NULL);
            if (used[server] > 0)
                used[server] = ++uses;
            th_jwt_fini(&proof.jwt);
        }
    }
    th_dpop_key_unref(key);
}

static void add_random(struct th_buf *buf, const char *alphabet, size_t max)
{
    size_t len = th_random_below((uint32_t)max + 1);
    for (size_t i = 0; i < len; i++)
        th_buf_add_char(buf, alphabet[th_random_below((uint32_t)strlen(alphabet))]);
}

/* Whatever the request is, the proof says that and nothing else, and no two are the same. */
static void proofs_say_what_is_sent(void **state)
{
    enum { ROUNDS = 300 };
    char *jtis[ROUNDS];
    struct th_dpop_key *key = key_new(NULL, TH_JWS_ES256);
    for (size_t round = 0; round < ROUNDS; round++) {
        struct th_buf method, url, token;
        struct read_proof proof;
        th_buf_init(&method, 100);
        th_buf_init(&url, 100000);
        th_buf_init(&token, 100);
        th_buf_add_char(&method, 'M');
        add_random(&method, "!#$%&'*+-.^_`|~azAZ09", 20);
        th_buf_add_str(&url, TH_STR("https://h.example/"));
        add_random(&url, "azAZ09-._~!$&'()*+,;=:@%/\"\\", round % 50 == 0 ? 15000 : 100);
        size_t path_len = url.len;
        if (th_random_below(2) > 0) {
            th_buf_add_char(&url, th_random_below(2) > 0 ? '?' : '#');
            add_random(&url, "a=&?#/%", 30);
        }
        add_random(&token, "azAZ09-._~+/", 50);
        const struct th_dpop_request request = {.method = th_buf_str(&method),
                                                .url = th_buf_str(&url),
                                                .access_token = th_buf_str(&token),
                                                .wall_ms = NOW_MS};
        prove(key, &request, &proof);
        struct th_str htu = th_jwt_text(proof.jwt.claims, "htu");
        assert_true(th_str_equal(htu, (struct th_str){url.ptr, path_len}));
        assert_true(th_str_equal(th_jwt_text(proof.jwt.claims, "htm"), th_buf_str(&method)));
        assert_int_equal(json_object_get(proof.jwt.claims, "ath") != NULL, token.len > 0);
        struct th_str jti = th_jwt_text(proof.jwt.claims, "jti");
        assert_int_equal(jti.len, 22);
        jtis[round] = strndup(jti.ptr, jti.len);
        for (size_t i = 0; i < round; i++)
            assert_string_not_equal(jtis[i], jtis[round]);
        th_jwt_fini(&proof.jwt);
        th_buf_fini(&method);
        th_buf_fini(&url);
        th_buf_fini(&token);
    }
    for (size_t round = 0; round < ROUNDS; round++)
        free(jtis[round]);
    th_dpop_key_unref(key);
}

static void confirmations(void **state)
{
    struct th_dpop_key *key = key_new("{" RFC7515_A3_PRIVATE "}", TH_JWS_ES256);
    char own[128];
    (void)snprintf(own, sizeof own, "{\"cnf\":{\"jkt\":\"%s\"}}", th_dpop_key_thumbprint(key).ptr);
    const struct {
        const char *claims;
        enum th_dpop_binding with, without;
    } cases[] = {
        {"{}", TH_DPOP_UNBOUND, TH_DPOP_UNBOUND},
        {own, TH_DPOP_BOUND, TH_DPOP_BOUND_BESIDE},
        {"{\"cnf\":{\"jkt\":\"" RFC9449_THUMBPRINT "\"}}", TH_DPOP_BOUND_BESIDE,
         TH_DPOP_BOUND_BESIDE},
        {"{\"cnf\":{\"x5t#S256\":\"abc\"}}", TH_DPOP_UNBOUND, TH_DPOP_UNBOUND},
        {"{\"cnf\":{\"jkt\":\"\"}}", TH_DPOP_BOUND_BESIDE, TH_DPOP_BOUND_BESIDE},
        {"{\"cnf\":{\"jkt\":null}}", TH_DPOP_BOUND_BESIDE, TH_DPOP_BOUND_BESIDE},
        {"{\"cnf\":{\"jkt\":[1]}}", TH_DPOP_BOUND_BESIDE, TH_DPOP_BOUND_BESIDE},
        {"{\"cnf\":\"jkt\"}", TH_DPOP_BOUND_BESIDE, TH_DPOP_BOUND_BESIDE},
        {"{\"cnf\":null}", TH_DPOP_BOUND_BESIDE, TH_DPOP_BOUND_BESIDE},
        {"{\"jkt\":\"x\"}", TH_DPOP_UNBOUND, TH_DPOP_UNBOUND},
    };
    assert_int_equal(th_dpop_binding_of(NULL, key), TH_DPOP_UNBOUND);
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        json_t *claims = json_loads(cases[i].claims, 0, NULL);
        assert_non_null(claims);
        assert_int_equal(th_dpop_binding_of(claims, key), cases[i].with);
        assert_int_equal(th_dpop_binding_of(claims, NULL), cases[i].without);
        json_decref(claims);
    }
    th_dpop_key_unref(key);
}

/* --- the keys of the process --- */

static struct th_config_agent agent_of(const char *name, struct th_secret *secret)
{
    return (struct th_config_agent){.name = th_str_of(name),
                                    .dpop_key = {.alg = TH_ALG_ES256, .key = secret}};
}

static struct th_secret *secret_of(const char *text)
{
    struct th_secret *secret = th_secret_new(text, strlen(text));
    assert_non_null(secret);
    return secret;
}

static struct th_dpop_key *get(struct th_dpop_keys *keys, const struct th_config_agent *agent)
{
    struct th_dpop_key *key;
    assert_int_equal(th_dpop_keys_get(keys, agent, &key), 0);
    th_dpop_key_unref(key);
    return key; /* the keys hold it */
}

static void keys_outlive_a_reload(void **state)
{
    struct th_dpop_keys *keys;
    struct th_secret *one = secret_of("{" RFC7515_A3_PRIVATE "}");
    struct th_secret *same = secret_of("{" RFC7515_A3_PRIVATE "}");
    struct th_key *other_key;
    struct th_secret *other;
    assert_int_equal(th_key_generate(TH_JWS_ES256, &other_key), 0);
    assert_int_equal(th_key_to_private_pem(other_key, &other), 0);
    assert_int_equal(th_dpop_keys_new(&keys), 0);
    struct th_config_agent a = agent_of("a", NULL), b = agent_of("b", NULL);
    struct th_config_agent with_one = agent_of("a", one), with_same = agent_of("a", same);
    struct th_config_agent with_other = agent_of("a", other);

    struct th_dpop_key *made = get(keys, &a);
    assert_ptr_equal(get(keys, &a), made);
    assert_ptr_not_equal(get(keys, &b), made);
    struct th_dpop_key *read = get(keys, &with_one);
    assert_ptr_not_equal(read, made);
    assert_ptr_equal(get(keys, &with_same), read); /* the file was read anew */
    char before[TH_DPOP_THUMBPRINT_LEN + 1];
    memcpy(before, th_dpop_key_thumbprint(read).ptr, sizeof before);
    assert_string_not_equal(th_dpop_key_thumbprint(get(keys, &with_other)).ptr, before);
    assert_string_equal(th_dpop_key_thumbprint(get(keys, &with_one)).ptr, before);
    assert_ptr_equal(get(keys, &a), made); /* the key's file is configured no more */

    th_dpop_keys_unref(th_dpop_keys_ref(keys));
    th_dpop_keys_unref(keys);
    th_key_unref(other_key);
    th_secret_unref(one);
    th_secret_unref(same);
    th_secret_unref(other);
    assert_int_equal(th_secret_bytes_held(), 0);
}

static void a_key_that_cannot_be_used(void **state)
{
    struct th_dpop_keys *keys;
    struct th_dpop_key *key = NULL;
    assert_int_equal(th_dpop_keys_new(&keys), 0);
    static const char *const texts[] = {"nonsense", "{" RFC7515_A3_PUBLIC "}",
                                        "{" RFC7515_A2_PRIVATE "}"};
    for (size_t i = 0; i < TH_COUNT_OF(texts); i++) {
        struct th_secret *secret = secret_of(texts[i]);
        struct th_config_agent agent = agent_of("a", secret);
        assert_int_equal(th_dpop_keys_get(keys, &agent, &key), TH_E_CONFIG);
        assert_null(key);
        th_secret_unref(secret);
    }
    th_dpop_keys_unref(keys);
    assert_int_equal(th_secret_bytes_held(), 0);
}

struct crowd {
    struct th_dpop_keys *keys;
    struct th_dpop_key *first;
    pthread_barrier_t barrier;
};

static void *run_worker(void *arg)
{
    struct crowd *crowd = arg;
    struct th_config_agent agent = agent_of("a", NULL);
    struct th_dpop_key *key;
    pthread_barrier_wait(&crowd->barrier);
    TH_REQUIRE(th_dpop_keys_get(crowd->keys, &agent, &key) == 0);
    for (int i = 0; i < 200; i++) {
        char url[40], nonce[16];
        struct th_buf out;
        (void)snprintf(url, sizeof url, "https://s%d.example/", i % (TH_DPOP_NONCES_MAX + 6));
        (void)snprintf(nonce, sizeof nonce, "n%d", i);
        const struct th_dpop_request request = {.method = TH_STR("GET"), .url = th_str_of(url)};
        th_dpop_note_nonce(key, th_str_of(url), th_str_of(nonce));
        th_buf_init_secret(&out, TH_DPOP_PROOF_MAX(100));
        TH_REQUIRE(th_dpop_prove(key, &request, &out) == 0);
        th_buf_fini(&out);
    }
    return key;
}

/* All workers that come at once have the same key, and may use it at once. */
static void one_key_for_all_workers(void **state)
{
    enum { THREADS = 4 };
    struct crowd crowd = {NULL};
    pthread_t threads[THREADS];
    void *keys[THREADS];
    assert_int_equal(th_dpop_keys_new(&crowd.keys), 0);
    assert_int_equal(pthread_barrier_init(&crowd.barrier, NULL, THREADS), 0);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_worker, &crowd), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], &keys[i]);
    for (size_t i = 0; i < THREADS; i++) {
        assert_ptr_equal(keys[i], keys[0]);
        th_dpop_key_unref(keys[i]);
    }
    pthread_barrier_destroy(&crowd.barrier);
    th_dpop_keys_unref(crowd.keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc9449_examples),
        cmocka_unit_test(rfc9449_token_hash),
        cmocka_unit_test(every_algorithm),
        cmocka_unit_test(what_is_no_key_for_proofs),
        cmocka_unit_test(nonces_are_of_a_server),
        cmocka_unit_test(what_is_no_nonce),
        cmocka_unit_test(nonces_are_bounded),
        cmocka_unit_test(proofs_say_what_is_sent),
        cmocka_unit_test(confirmations),
        cmocka_unit_test(keys_outlive_a_reload),
        cmocka_unit_test(a_key_that_cannot_be_used),
        cmocka_unit_test(one_key_for_all_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
