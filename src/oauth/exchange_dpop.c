#include "exchange_dpop.h"

#include <stdio.h>

#include "tokenhop/observe/log.h"
#include "tokenhop/observe/metrics.h"

static bool is_last_leg(const struct th_exchange *ex)
{
    return ex->leg + 1 == ex->legs.n;
}

bool th_exchange_bears_proof(const struct th_exchange *ex)
{
    return !ex->is_revoking && th_plan_leg_bears_proof(&ex->legs, ex->leg, ex->connection);
}

int th_exchange_get_dpop_key(struct th_exchange *ex)
{
    if (ex->dpop_key != NULL)
        return 0;
    return th_dpop_keys_get(ex->exchanger->dpop_keys, ex->agent, &ex->dpop_key);
}

int th_exchange_make_proof(struct th_dpop_key *key, struct th_str endpoint, int64_t wall_ms,
                           struct th_secret **ret_proof)
{
    const struct th_dpop_request request = {
        .method = TH_STR("POST"), .url = endpoint, .wall_ms = wall_ms};
    struct th_buf proof;
    th_buf_init_secret(&proof, TH_DPOP_PROOF_MAX(endpoint.len));
    int error = th_dpop_prove(key, &request, &proof);
    if (error == 0) {
        *ret_proof = th_secret_new(proof.ptr, proof.len);
        error = *ret_proof != NULL ? 0 : TH_E_NOMEM;
    }
    th_buf_fini(&proof);
    return error;
}

void th_exchange_note_nonce(struct th_exchange *ex, const struct th_fetch_response *response)
{
    /* Also where no proof was sent: a later leg, to the same server, may want it. */
    ex->has_nonce = ex->connection->dpop != TH_DPOP_OFF && !ex->is_revoking &&
                    th_dpop_is_nonce(response->dpop_nonce);
    if (ex->has_nonce && th_exchange_get_dpop_key(ex) == 0)
        th_dpop_note_nonce(ex->dpop_key, th_exchange_endpoint(ex), response->dpop_nonce);
}

static void explain(struct th_exchange *ex, const char *why)
{
    (void)snprintf(ex->answer.why, sizeof ex->answer.why, "%s", why);
}

static bool is_refused_for(const struct th_exchange *ex, const char *oauth_error)
{
    return strcmp(ex->answer.oauth_error, oauth_error) == 0;
}

void th_exchange_explain_proof(struct th_exchange *ex)
{
    if (ex->dpop_proof == NULL)
        return;
    if (is_refused_for(ex, "use_dpop_nonce"))
        explain(ex,
                ex->has_nonce
                    ? "the server wants a nonce in the DPoP proof, and gives one"
                    : "the server wants a nonce in the DPoP proof, but gives none in DPoP-Nonce");
    else if (is_refused_for(ex, "invalid_dpop_proof"))
        explain(ex, "the server refuses the DPoP proof: check the clock, the agent's dpop_alg, and "
                    "that token_endpoint is the URL that the server knows itself by");
}

/* RFC 9449, 8: the proof must bear the nonce that came with the refusal. */
static bool takes_nonce(struct th_exchange *ex)
{
    uint8_t leg = (uint8_t)(1u << ex->leg);
    if (!ex->has_nonce)
        return false;
    if ((ex->nonce_taken & leg) != 0) {
        explain(ex, "the server refuses the nonce in the DPoP proof that it has just given");
        return false;
    }
    ex->nonce_taken |= leg;
    th_metrics_count(ex->worker->metrics, TH_METRIC_DPOP_NONCES_SERVER);
    return true;
}

static bool proves_again(struct th_exchange *ex)
{
    uint8_t leg = (uint8_t)(1u << ex->leg);
    if ((ex->proved_again & leg) != 0)
        return false;
    ex->proved_again |= leg;
    TH_LOG(ex->worker->log, TH_LEVEL_WARN, "exchange.proof_refused",
           "A DPoP proof is refused, another one is made",
           TH_LOG_STR("connection", ex->connection->name),
           TH_LOG_STR("authorization_server", th_exchange_server(ex)->name));
    return true;
}

bool th_exchange_renew_proof(struct th_exchange *ex)
{
    if (ex->dpop_proof == NULL)
        return false;
    if (is_refused_for(ex, "use_dpop_nonce"))
        return takes_nonce(ex);
    return is_refused_for(ex, "invalid_dpop_proof") && proves_again(ex);
}

/* Of what comes before the credential. */
static int check_intermediate(const struct th_exchange *ex, bool is_opaque,
                              enum th_dpop_binding binding, const char **ret_why,
                              const char **ret_oddity)
{
    bool proved = th_exchange_bears_proof(ex);
    if (binding == TH_DPOP_BOUND_BESIDE && !proved) {
        *ret_oddity = "it is bound to a key (cnf), although no proof was sent";
    } else if (binding == TH_DPOP_BOUND_BESIDE) {
        *ret_why = "it is bound (cnf) to another key than the agent's DPoP key";
        return TH_E_EXCHANGE_MISMATCH;
    } else if (proved && binding == TH_DPOP_UNBOUND && !is_opaque) {
        if (ex->connection->dpop == TH_DPOP_BOUND_ID_JAG) {
            *ret_why = "it is not bound to the agent's DPoP key, as \"bound_id_jag\" wants it";
            return TH_E_EXCHANGE_MISMATCH;
        }
        *ret_oddity = "a DPoP proof was sent, and the server has passed over it";
    }
    return 0;
}

int th_exchange_check_binding(struct th_exchange *ex, const json_t *claims, const char **ret_why,
                              const char **ret_oddity)
{
    bool proved = th_exchange_bears_proof(ex);
    enum th_dpop_binding binding = th_dpop_binding_of(claims, proved ? ex->dpop_key : NULL);
    *ret_oddity = NULL;
    if (!is_last_leg(ex))
        return check_intermediate(ex, claims == NULL, binding, ret_why, ret_oddity);
    if (binding == TH_DPOP_BOUND_BESIDE || (ex->answer.is_dpop && !proved)) {
        *ret_why = proved ? "the token is bound (cnf) to another key than the agent's DPoP key"
                          : "the token is bound to a DPoP key although no proof was sent: does the "
                            "connection lack \"dpop\"?";
        return TH_E_EXCHANGE_MISMATCH;
    }
    ex->is_bound = ex->answer.is_dpop || binding == TH_DPOP_BOUND;
    if (proved && !ex->is_bound)
        *ret_oddity =
            "a DPoP proof was sent, but the token is not bound: it is used as a bearer token";
    return 0;
}
