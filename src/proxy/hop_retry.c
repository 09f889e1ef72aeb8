/* The second tries: whether a request can be sent again, and what another try may mend. */
#include <strings.h>

#include "hop.h"
#include "proof.h"
#include "tokenhop/gate/scoping.h"

bool th_hop_can_be_sent_again(const struct th_hop *hop)
{
    return hop->request_body.received && hop->held != TH_HELD_NOTHING;
}

bool th_hop_is_bound_to_connection(const struct th_head *head)
{
    for (uint16_t i = 0; i < head->n_fields; i++) {
        const struct th_field *field = &head->fields[i];
        if (field->id == TH_HEADER_WWW_AUTHENTICATE && field->value.len >= 4 &&
            (strncasecmp(field->value.ptr, "NTLM", 4) == 0 ||
             (field->value.len >= 9 && strncasecmp(field->value.ptr, "Negotiate", 9) == 0)))
            return true;
    }
    return false;
}

bool th_hop_request_is_out(const struct th_hop *hop)
{
    return hop->request_body.queued && !hop->request_failed &&
           th_outgoing_is_empty(&hop->to_origin);
}

/* The rest of a refused response lies whole in the buffer: the connection can serve on. */
static bool skip_body(struct th_hop *hop)
{
    struct th_chunk *in = hop->origin->in;
    const struct th_head *head = &hop->response;

    if (head->framing == TH_FRAMING_NONE)
        in->start += head->len;
    else if (head->framing == TH_FRAMING_LENGTH &&
             th_chunk_len(in) - head->len >= head->content_length)
        in->start += head->len + (uint32_t)head->content_length;
    else
        return false;
    return head->keep_alive && th_hop_request_is_out(hop) && !th_hop_is_bound_to_connection(head);
}

/* There is another one only where the file was read anew while the request was under way. */
static bool retry_with_newer(struct th_hop *hop)
{
    struct th_credential *newer = th_snapshot_find_newer(
        hop->desk->current->snapshot, hop->decision.route.connection, hop->agent, hop->credential);

    if (newer == NULL || hop->retried_401 || !th_hop_can_be_sent_again(hop))
        return false;
    hop->retried_401 = true;
    th_metrics_count(hop->desk->metrics, TH_METRIC_RETRIES_401);
    th_hop_drop_origin(hop, skip_body(hop));
    th_hop_drop_credential(hop);
    hop->credential = th_credential_ref(newer);
    hop->response_scanned = 0;
    hop->cache_state = TH_CACHE_RETRIED;
    (void)th_hop_grant(hop);
    return true;
}

/* The destination did not accept the credential: another one, once, if the request can be sent again. */
static bool retry_after_401(struct th_hop *hop)
{
    if (hop->response.status != 401 || hop->credential == NULL)
        return false;
    if (hop->decision.route.connection->type == TH_TYPE_STATIC)
        return retry_with_newer(hop);
    bool worth_it = th_broker_reject(hop->desk->broker, &hop->key, hop->credential);
    if (!worth_it || hop->retried_401 || !th_hop_can_be_sent_again(hop))
        return false;
    hop->retried_401 = true;
    th_metrics_count(hop->desk->metrics, TH_METRIC_RETRIES_401);
    th_hop_drop_origin(hop, skip_body(hop));
    th_hop_drop_credential(hop);
    hop->response_scanned = 0;
    th_hop_move(hop, TH_HOP_CREDENTIAL);
    return true;
}

/* The proof was refused for the lack of the nonce that came with this: once more with it, and the same
 * credential, if the request can be sent again (RFC 9449, 9). */
static bool retry_with_nonce(struct th_hop *hop)
{
    if (hop->retried_nonce || !th_hop_can_be_sent_again(hop))
        return false;
    hop->retried_nonce = true;
    th_metrics_count(hop->desk->metrics, TH_METRIC_DPOP_NONCES_DESTINATION);
    th_hop_drop_origin(hop, skip_body(hop));
    hop->response_scanned = 0;
    th_hop_move(hop, th_proof_next_state(hop));
    return true;
}

/* The destination wants scopes that were not asked for, and that the connection lists: one more exchange, if
 * the policy lets them be asked for and the request can be sent again. What was got before stays: it serves other
 * requests. */
static bool retry_with_scopes(struct th_hop *hop)
{
    const struct th_config_connection *connection = hop->decision.route.connection;

    if (hop->response.status != 403 || hop->asked == NULL || hop->retried_scope ||
        !th_hop_can_be_sent_again(hop))
        return false;
    if (hop->credential == NULL) /* what goes without one gets none on the destination's word */
        return false;
    unsigned step_ups = th_scoping_step_up(connection, hop->asked, &hop->response);
    size_t index = th_config_variant_index(connection, hop->scoping, step_ups);
    if (step_ups == 0 || !th_hop_policy_permits(hop, th_config_variant(connection, index)))
        return false;
    hop->retried_scope = true;
    th_metrics_count(hop->desk->metrics, TH_METRIC_STEP_UPS);
    th_hop_drop_origin(hop, skip_body(hop));
    th_hop_drop_credential(hop);
    th_hop_step_up(hop, step_ups);
    hop->response_scanned = 0;
    th_hop_move(hop, TH_HOP_CREDENTIAL);
    return true;
}

/* A refusal that another try may mend. */
bool th_hop_retry(struct th_hop *hop)
{
    bool by_nonce;

    th_proof_note_nonce(hop);
    if (th_proof_is_refused(hop, &by_nonce))
        return by_nonce && retry_with_nonce(hop);
    return retry_after_401(hop) || retry_with_scopes(hop);
}
