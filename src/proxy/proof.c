#include "proof.h"

#include "tokenhop/base/mem.h"
#include "tokenhop/http/challenge.h"
#include "tokenhop/net/helpers.h"
#include "tokenhop/oauth/dpop.h"

/* --- the URL --- */

/* Scheme and authority of the connection to the origin, which may be others than the caller named. */
static void add_origin(const struct th_hop *hop, struct th_buf *url)
{
    char authority[TH_URL_HOST_MAX + 16];
    struct th_url seen = {.scheme = hop->decision.route.scheme,
                          .port = hop->decision.route.port,
                          .host = hop->url.host,
                          .host_is_literal = hop->url.host_is_literal,
                          .host_is_ipv6 = hop->url.host_is_ipv6};
    size_t len = th_url_write_authority(&seen, authority, sizeof authority);

    th_buf_add_str(url, th_scheme_text(seen.scheme));
    th_buf_add_str(url, TH_STR("://"));
    th_buf_add(url, authority, len);
}

#define ORIGIN_MAX (TH_URL_HOST_MAX + 32)

static void add_url(const struct th_hop *hop, struct th_buf *url)
{
    th_buf_init(url, ORIGIN_MAX + hop->url.path.len);
    add_origin(hop, url);
    th_buf_add_str(url, hop->url.path);
}

/* --- the proof --- */

static int make(struct th_dpop_key *key, struct th_str method, struct th_str url,
                struct th_str token, int64_t wall_ms, struct th_buf *proof)
{
    const struct th_dpop_request request = {
        .method = method, .url = url, .access_token = token, .wall_ms = wall_ms};

    th_buf_init_secret(proof, TH_DPOP_PROOF_MAX(method.len + url.len));
    return th_dpop_prove(key, &request, proof);
}

static bool is_slow(const struct th_hop *hop)
{
    return th_proof_is_due(hop) && hop->desk->worker->helpers != NULL &&
           th_dpop_key_is_slow(hop->credential->dpop_key);
}

enum th_hop_state th_proof_next_state(const struct th_hop *hop)
{
    return is_slow(hop) ? TH_HOP_PROVE : TH_HOP_ORIGIN;
}

int th_proof_ensure(struct th_hop *hop)
{
    struct th_buf url;

    if (!th_proof_is_due(hop) || hop->proof.len > 0)
        return 0;
    add_url(hop, &url);
    int error = url.failed ? TH_E_NOMEM
                           : make(hop->credential->dpop_key, hop->request.method_text,
                                  th_buf_str(&url), th_credential_secret(hop->credential),
                                  th_clock_wall_ms(hop->desk->worker->clock), &hop->proof);
    th_buf_fini(&url);
    if (error != 0)
        th_proof_drop(hop);
    return error;
}

void th_proof_drop(struct th_hop *hop)
{
    th_handle_drop(hop->desk->worker->handles, hop->proof_handle);
    hop->proof_handle = 0;
    th_buf_fini(&hop->proof);
    hop->proof = (struct th_buf){0};
}

/* --- on a helper thread --- */

/* Holds all it reads, as the hop may be gone meanwhile. */
struct proof_job {
    struct th_job job;
    uint64_t handle;
    struct th_credential *credential;
    struct th_buf method, url;
    int64_t wall_ms;
    int error;
    struct th_buf proof;
};

static void job_free(struct proof_job *job)
{
    th_credential_unref(job->credential);
    th_buf_fini(&job->method);
    th_buf_fini(&job->url);
    th_buf_fini(&job->proof);
    th_free(job);
}

static void job_work(struct th_job *base)
{
    struct proof_job *job = TH_CONTAINER_OF(base, struct proof_job, job);

    job->error = make(job->credential->dpop_key, th_buf_str(&job->method), th_buf_str(&job->url),
                      th_credential_secret(job->credential), job->wall_ms, &job->proof);
}

static void job_done(struct th_job *base)
{
    struct proof_job *job = TH_CONTAINER_OF(base, struct proof_job, job);
    struct th_hop *hop = th_handle_find(base->worker->handles, job->handle);

    if (hop != NULL) {
        th_proof_drop(hop);
        hop->proof_error = base->skipped ? TH_E_DRAINING : job->error;
        if (hop->proof_error == 0) {
            hop->proof = job->proof;
            job->proof = (struct th_buf){0};
        }
    }
    job_free(job);
    if (hop != NULL)
        th_hop_wake(hop);
}

static int begin(struct th_hop *hop)
{
    struct th_worker *worker = hop->desk->worker;
    struct proof_job *job = th_calloc(1, sizeof *job);

    if (job == NULL)
        return TH_E_NOMEM;
    job->job.work = job_work;
    job->job.done = job_done;
    job->credential = th_credential_ref(hop->credential);
    job->wall_ms = th_clock_wall_ms(worker->clock);
    th_buf_init(&job->method, hop->request.method_text.len + 1);
    th_buf_add_str(&job->method, hop->request.method_text);
    add_url(hop, &job->url);
    job->handle = hop->proof_handle = th_handle_new(worker->handles, hop);
    int error = job->method.failed || job->url.failed || job->handle == 0
                    ? TH_E_NOMEM
                    : th_helpers_submit(worker->helpers, worker, &job->job);
    if (error != 0) {
        th_proof_drop(hop);
        job_free(job);
    }
    return error;
}

enum th_hop_step th_hop_state_prove(struct th_hop *hop)
{
    if (hop->wait != TH_WAIT_PROOF) {
        th_proof_drop(hop); /* of another try */
        int error = begin(hop);
        return error == 0 ? th_hop_wait(hop, TH_WAIT_PROOF) : th_hop_fail(hop, error, NULL);
    }
    if (hop->proof_handle == 0)
        return hop->proof_error == 0 ? th_hop_move(hop, TH_HOP_ORIGIN)
                                     : th_hop_fail(hop, hop->proof_error, NULL);
    if (!th_session_read_ahead(hop->session)) { /* woken by the client */
        th_session_close(hop->session);
        return TH_HOP_WAIT;
    }
    return th_hop_wait(hop, TH_WAIT_PROOF);
}

/* --- what the destination says --- */

bool th_proof_owns_field(const struct th_hop *hop, const struct th_field *field)
{
    return th_proof_is_due(hop) && th_str_equal_nocase(field->name, TH_STR("DPoP-Nonce"));
}

/* RFC 9449, 8.2 and 9: of any answer. Several say nothing. */
void th_proof_note_nonce(struct th_hop *hop)
{
    const struct th_head *head = &hop->response;
    const struct th_field *nonce = NULL;
    struct th_buf url;

    hop->has_nonce = false;
    if (!th_proof_is_due(hop))
        return;
    for (uint16_t i = 0; i < head->n_fields; i++) {
        if (!th_proof_owns_field(hop, &head->fields[i]))
            continue;
        if (nonce != NULL)
            return;
        nonce = &head->fields[i];
    }
    if (nonce == NULL || !th_dpop_is_nonce(nonce->value))
        return;
    th_buf_init(&url, ORIGIN_MAX);
    add_origin(hop, &url);
    if (!url.failed)
        th_dpop_note_nonce(hop->credential->dpop_key, th_buf_str(&url), nonce->value);
    th_buf_fini(&url);
    hop->has_nonce = true;
}

static bool is_challenged(const struct th_head *head, struct th_str error)
{
    for (uint16_t i = 0; i < head->n_fields; i++) {
        const struct th_field *field = &head->fields[i];
        if (field->id == TH_HEADER_WWW_AUTHENTICATE &&
            th_challenge_has(field->value, TH_STR("DPoP"), TH_STR("error"), error))
            return true;
    }
    return false;
}

bool th_proof_is_refused(const struct th_hop *hop, bool *ret_by_nonce)
{
    *ret_by_nonce = false;
    if (!th_proof_is_due(hop) || hop->response.status != 401)
        return false;
    if (is_challenged(&hop->response, TH_STR("use_dpop_nonce"))) {
        *ret_by_nonce = hop->has_nonce;
        return true;
    }
    if (!is_challenged(&hop->response, TH_STR("invalid_dpop_proof")))
        return false;
    TH_LOG(
        hop->desk->worker->log, TH_LEVEL_WARN, "hop.proof_refused",
        "A destination refuses a DPoP proof: does it know itself by this URL, are the clocks right?",
        TH_LOG_STR("connection", hop->decision.route.connection->name),
        TH_LOG_STR("host", hop->url.host));
    return true;
}
