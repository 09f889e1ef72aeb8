/* Decisions, written to the audit log: who acts for whom, where, with what leave; and what went by unmatched. */
#include "hop_audit.h"

#include "target.h"
#include "tokenhop/oauth/jose.h"

static void add_who(const struct th_hop *hop, struct th_hop_texts *texts,
                    struct th_audit_record *record)
{
    th_session_format_client(hop->session, texts->client);
    record->listener = th_str_of(hop->session->listener->name);
    record->client = th_str_of(texts->client);
    if (hop->caller != NULL)
        record->caller = hop->caller->name;
    if (hop->agent != NULL)
        record->agent = hop->agent->name;
    if (!hop->subject_known)
        return;
    th_secret_fingerprint(hop->key.subject, sizeof hop->key.subject, texts->subject);
    record->subject = th_str_of(texts->subject);
}

static void add_what(const struct th_hop *hop, const struct th_config_connection *connection,
                     struct th_hop_texts *texts, struct th_audit_record *record)
{
    size_t len = th_url_write_authority(&hop->url, texts->authority, sizeof texts->authority);

    record->method = th_target_method(hop);
    record->host = (struct th_str){texts->authority, len};
    if (connection == NULL)
        return;
    record->connection = connection->name;
    record->resource = connection->resource;
    record->audience = connection->audience;
    record->scopes = hop->asked != NULL ? hop->asked->scope_text : connection->scope_text;
}

void th_hop_audit_describe(const struct th_hop *hop, const struct th_config_connection *connection,
                           struct th_hop_texts *texts, struct th_audit_record *record)
{
    add_who(hop, texts, record);
    add_what(hop, connection, texts, record);
}

void th_hop_audit_delegation(const struct th_delegation *delegation, struct th_hop_texts *texts,
                             struct th_audit_record *record)
{
    bool is_own = record->cache == TH_CACHE_MISS || record->cache == TH_CACHE_RETRIED;

    if (delegation == NULL)
        return;
    record->subject_issuer = delegation->subject_issuer;
    record->subject_name = delegation->subject_name;
    record->subject_verified = delegation->subject_verified;
    record->actors = delegation->actors;
    record->n_actors = delegation->n_actors;
    record->n_all_actors = delegation->n_all_actors;
    record->issued_id = delegation->issued_id;
    record->issued_scopes = delegation->issued_scopes;
    record->issued_audience = delegation->issued_audience;
    record->issued_until_wall_ms = delegation->issued_until_wall_ms;
    for (size_t i = 0; is_own && i < delegation->n_legs; i++) {
        const struct th_delegation_leg *leg = &delegation->legs[i];
        texts->legs[record->n_legs++] = (struct th_audit_leg){.name = th_str_of(leg->name),
                                                              .server = leg->endpoint,
                                                              .status = (unsigned)leg->status,
                                                              .duration_us = leg->duration_us};
    }
    record->legs = texts->legs;
}

struct th_str th_hop_audit_rule(const struct th_hop *hop, bool of_dry_run)
{
    const struct th_policy_verdict *verdict = &hop->verdict;
    const struct th_policy_rule *rule = of_dry_run ? verdict->dry_rule : verdict->rule;

    if (rule != NULL)
        return rule->name;
    return of_dry_run || verdict->result != TH_POLICY_UNCONCERNED ? TH_STR("(default)")
                                                                  : TH_STR_NONE;
}

/* Who it was that the policy refused, as the token says, for which nobody has vouched. */
static void add_unverified(const struct th_hop *hop, struct th_jwt *jwt,
                           struct th_audit_record *record)
{
    if (!hop->subject_known || th_jwt_parse(hop->decision.subject_token, jwt) < 0)
        return;
    record->subject_issuer = th_jwt_text(jwt->claims, "iss");
    record->subject_name = th_jwt_text(jwt->claims, "sub");
}

static void on_written(struct th_audit_wait *wait)
{
    struct th_hop *hop = TH_CONTAINER_OF(wait, struct th_hop, audit_wait);

    if (hop->state == TH_HOP_AUDIT) /* else it has not come to that yet */
        th_hop_wake(hop);
}

/* Nothing waits for the line of a refusal, which is there anyway, nor in shadow, where nobody is kept from going on. */
static int write_record(struct th_hop *hop, int error, bool of_dry_run)
{
    struct th_jwt jwt = {0};
    struct th_hop_texts texts;
    struct th_audit_record record = {
        .wall_ms = th_clock_wall_ms(hop->desk->worker->clock),
        .error = error,
        .would_deny = of_dry_run,
        .is_forwarded = hop->decision.action == TH_GATE_FORWARD,
        .rule = th_hop_audit_rule(hop, of_dry_run),
        .cache = (enum th_cache_state)hop->cache_state,
        .issued_until_wall_ms = -1,
        .duration_us = hop->exchange_us,
    };
    const struct th_refusal *refusal = hop->refusal;

    th_hop_ensure_trace(hop);
    record.trace_id = (struct th_str){hop->trace.id, TH_TRACE_ID_LEN};
    th_hop_audit_describe(hop, hop->decision.route.connection, &texts, &record);
    if (error == TH_E_POLICY_DENIED)
        add_unverified(hop, &jwt, &record);
    else if (error == 0 &&
             hop->credential != NULL) /* none where the caller's own is passed through */
        th_hop_audit_delegation(hop->credential->delegation, &texts, &record);
    else if (refusal != NULL)
        th_hop_audit_delegation(refusal->delegation, &texts, &record);
    if (refusal != NULL)
        record.oauth_error = th_str_of(refusal->oauth_error);
    hop->audited = !of_dry_run;
    hop->audit_wait.fn = on_written;
    int written = 0;
    if ((error == 0 || of_dry_run) && !hop->in_shadow)
        written = th_audit_write_first(hop->desk->audit_log, &record, &hop->audit_wait);
    else
        th_audit_write(hop->desk->audit_log, &record);
    th_jwt_fini(&jwt);
    return written;
}

int th_hop_audit_grant(struct th_hop *hop)
{
    return hop->desk->audit_log != NULL ? write_record(hop, 0, false) : 0;
}

int th_hop_audit_dry_run(struct th_hop *hop)
{
    return hop->desk->audit_log != NULL ? write_record(hop, TH_E_POLICY_DENIED, true) : 0;
}

/* It is refused, whatever a line may say that is not written. One that is being written is followed by that of the
 * refusal. */
void th_hop_audit_withdraw(struct th_hop *hop)
{
    th_audit_leave(&hop->audit_wait, true);
    hop->audited = false;
}

enum th_hop_step th_hop_leave(struct th_hop *hop, enum th_hop_state to)
{
    int error = th_hop_audit_forward(hop);

    if (error == 0)
        error = th_audit_outcome(&hop->audit_wait);
    if (error == 0)
        return th_hop_move(hop, to);
    if (error != TH_AGAIN)
        return th_hop_fail(hop, error, NULL);
    hop->after_audit = (uint8_t)to;
    return th_hop_move(hop, TH_HOP_AUDIT);
}

enum th_hop_step th_hop_state_audit(struct th_hop *hop)
{
    int error = th_audit_outcome(&hop->audit_wait);

    if (error == 0)
        return th_hop_move(hop, (enum th_hop_state)hop->after_audit);
    if (error != TH_AGAIN)
        return th_hop_fail(hop, error, NULL);
    if (!th_session_read_ahead(hop->session)) {
        th_session_close(hop->session);
        return TH_HOP_WAIT;
    }
    return th_hop_wait(hop, TH_WAIT_AUDIT);
}

int th_hop_audit_forward(struct th_hop *hop)
{
    if (hop->desk->audit_log == NULL || hop->audited || hop->decision.action != TH_GATE_FORWARD)
        return 0;
    return write_record(hop, 0, false);
}

void th_hop_audit_refusal(struct th_hop *hop)
{
    bool was_asked = hop->refused_at_gate || hop->decision.action == TH_GATE_CREDENTIAL ||
                     hop->decision.action == TH_GATE_FORWARD;

    /* Who leaves before anything is decided, was refused nothing. */
    if (hop->desk->audit_log == NULL || hop->audited || hop->error == 0 || !was_asked ||
        hop->error == TH_E_CANCELLED)
        return;
    (void)write_record(hop, hop->error, false);
}
