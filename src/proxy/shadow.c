#include "shadow.h"

#include <string.h>

#include "admit.h"
#include "hop_audit.h"
#include "target.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/oauth/jose.h"

#define METHOD_MAX 64 /* what is recorded of it */
#define WIDENED_MAX ((size_t)1024)
/* Of limits.waiting_exchanges, what is found out beside requests may take a share: those that wait for their
 * credential go first. */
#define SHARE 4

struct th_shadow_try {
    struct th_list link; /* of the desk; itself: it is found out at once */
    struct th_proxy_desk *desk;
    struct th_snapshot_use *use;
    const struct th_config_connection *connection; /* of `use` */
    struct th_broker_waiter waiter;
    struct th_timer timer;
    int64_t started_us;  /* 0: nobody was asked */
    bool for_data_plane; /* which cannot prove that it has a key */
    struct th_jwt
        subject; /* what the caller's token says, which nobody vouches for; zeroed: it is opaque */
    struct th_audit_record record;
    struct th_hop_texts texts;
    char method[METHOD_MAX];
    char trace_id[TH_TRACE_ID_LEN];
};

static void on_timer(struct th_timer *timer);

/* --- beginning and end --- */

static struct th_shadow_try *shadow_new(struct th_hop *hop,
                                        const struct th_config_connection *connection)
{
    struct th_shadow_try *shadow = th_calloc(1, sizeof *shadow);

    if (shadow == NULL)
        return NULL;
    th_hop_ensure_trace(hop);
    th_list_init(&shadow->link);
    th_timer_init(&shadow->timer, on_timer);
    shadow->desk = hop->desk;
    shadow->use = hop->use;
    th_snapshot_use_take(shadow->use);
    shadow->connection = connection;
    shadow->for_data_plane = th_target_is_question(hop);
    struct th_audit_record *record = &shadow->record;
    record->issued_until_wall_ms = record->duration_us = -1;
    record->rule = th_hop_audit_rule(hop, false);
    th_hop_audit_describe(hop, connection, &shadow->texts, record);
    if (record->method.len > METHOD_MAX)
        record->method.len = METHOD_MAX;
    memcpy(shadow->method, record->method.ptr, record->method.len);
    record->method.ptr = shadow->method;
    memcpy(shadow->trace_id, hop->trace.id, TH_TRACE_ID_LEN);
    record->trace_id = (struct th_str){shadow->trace_id, TH_TRACE_ID_LEN};
    if (hop->subject_known && th_jwt_parse(hop->decision.subject_token, &shadow->subject) < 0)
        shadow->subject = (struct th_jwt){0};
    return shadow;
}

static void shadow_free(struct th_shadow_try *shadow)
{
    th_broker_leave(&shadow->waiter);
    th_timer_stop(&shadow->desk->worker->wheel, &shadow->timer);
    if (!th_list_is_empty(&shadow->link)) {
        th_list_remove(&shadow->link);
        shadow->desk->n_shadows--;
    }
    th_jwt_fini(&shadow->subject);
    th_snapshot_use_give(shadow->use);
    th_free(shadow);
}

/* --- what it would have had more of --- */

static bool has_word(struct th_str words, struct th_str word)
{
    struct th_str one;

    while (th_str_take_word(&words, ' ', &one))
        if (th_str_equal(one, word))
            return true;
    return false;
}

static bool holds(const json_t *scopes, struct th_str scope)
{
    size_t i;
    const json_t *item;

    if (json_is_string(scopes))
        return has_word((struct th_str){json_string_value(scopes), json_string_length(scopes)},
                        scope);
    json_array_foreach(scopes, i, item)
    {
        if (th_str_equal((struct th_str){json_string_value(item), json_string_length(item)}, scope))
            return true;
    }
    return false;
}

/* `scope` (RFC 9068, 2.2.3), or `scp` as Okta and Entra have it. */
static void add_scopes(const struct th_shadow_try *shadow, struct th_str scopes, char separator,
                       struct th_buf *widened)
{
    const json_t *claims = shadow->subject.claims;
    struct th_str one;

    while (th_str_take_word(&scopes, separator, &one)) {
        if (one.len == 0 || holds(json_object_get(claims, "scope"), one) ||
            holds(json_object_get(claims, "scp"), one))
            continue;
        if (widened->len > 0)
            th_buf_add_char(widened, ' ');
        th_buf_add_str(widened, one);
    }
}

/* Of an opaque token nobody can tell. `widened` is room for the record. */
static void compare(struct th_shadow_try *shadow, struct th_buf *widened)
{
    struct th_audit_record *record = &shadow->record;

    if (shadow->subject.claims == NULL)
        return;
    if (record->issued_scopes.len > 0)
        add_scopes(shadow, record->issued_scopes, ' ', widened);
    else
        add_scopes(shadow, record->scopes, shadow->connection->scope_separator, widened);
    record->widened_scopes = th_buf_str(widened);
    struct th_str audiences = record->issued_audience, one;
    while (record->widened_audience.len == 0 && th_str_take_word(&audiences, ' ', &one))
        if (!th_jwt_has_audience(shadow->subject.claims, one))
            record->widened_audience = one;
}

/* --- telling it --- */

static void write(struct th_shadow_try *shadow)
{
    struct th_proxy_desk *desk = shadow->desk;
    struct th_audit_record *record = &shadow->record;
    const unsigned *rows = shadow->use->snapshot->metric_rows;

    if (record->subject_issuer.len == 0 && shadow->subject.claims != NULL) {
        record->subject_issuer = th_jwt_text(shadow->subject.claims, "iss");
        record->subject_name = th_jwt_text(shadow->subject.claims, "sub");
    }
    record->wall_ms = th_clock_wall_ms(desk->worker->clock);
    if (rows != NULL)
        th_metrics_count_shadow(desk->metrics, rows[shadow->connection->index], record->shadow);
    TH_LOG(desk->worker->log,
           record->shadow == TH_AUDIT_WOULD_DENY ? TH_LEVEL_INFO : TH_LEVEL_DEBUG, "shadow.would",
           "What would have become of a request to a connection in shadow",
           TH_LOG_TEXT("result", th_audit_shadow_name(record->shadow)),
           TH_LOG_STR("connection", shadow->connection->name), TH_LOG_STR("rule", record->rule),
           TH_LOG_ERR("error", record->error));
    /* Nobody is kept from going on: the request has gone already. A line that is lost is counted. */
    th_audit_write(desk->audit_log, record);
}

/* The shadow is gone afterwards. */
static void tell(struct th_shadow_try *shadow, enum th_audit_shadow would, int error)
{
    struct th_buf widened;

    th_buf_init(&widened, WIDENED_MAX);
    shadow->record.shadow = would;
    shadow->record.error = error;
    if (would == TH_AUDIT_WOULD_GRANT || would == TH_AUDIT_WOULD_EXCHANGE)
        compare(shadow, &widened);
    if (would == TH_AUDIT_WOULD_GRANT &&
        shadow->record.widened_scopes.len + shadow->record.widened_audience.len > 0)
        shadow->record.shadow = TH_AUDIT_WOULD_WIDEN;
    write(shadow);
    th_buf_fini(&widened);
    shadow_free(shadow);
}

static void tell_granted(struct th_shadow_try *shadow, const struct th_credential *credential)
{
    if (shadow->for_data_plane && credential->dpop_key != NULL) {
        shadow->record.reason =
            TH_STR("the token is bound to a key (dpop), which a data plane lacks");
        tell(shadow, TH_AUDIT_WOULD_REFUSE, TH_E_DESTINATION_DENIED);
        return;
    }
    th_hop_audit_delegation(credential->delegation, &shadow->texts, &shadow->record);
    tell(shadow, TH_AUDIT_WOULD_GRANT, 0);
}

/* This process's trouble of the moment says nothing about the request. */
static bool is_ours(int error)
{
    return error == TH_E_NOMEM || error == TH_E_EXCHANGE_QUEUE || error == TH_E_CALLER_LIMIT ||
           error == TH_E_DRAINING || error == TH_E_OVERLOADED;
}

/* `refusal` may be NULL. */
static void tell_refused(struct th_shadow_try *shadow, int error, const struct th_refusal *refusal)
{
    struct th_audit_record *record = &shadow->record;

    if (refusal != NULL) {
        th_hop_audit_delegation(refusal->delegation, &shadow->texts, record);
        record->oauth_error = th_str_of(refusal->oauth_error);
        record->reason = th_str_of(refusal->detail);
    }
    /* R28: as the answer would have been. */
    if (!th_config_asks_subject(shadow->connection) && th_error_get(error)->status == 401)
        error = TH_E_SUBJECT_CONFIGURED;
    tell(shadow, is_ours(error) ? TH_AUDIT_WOULD_EXCHANGE : TH_AUDIT_WOULD_REFUSE, error);
}

/* --- the exchange --- */

static void note_end(struct th_shadow_try *shadow)
{
    shadow->record.duration_us = th_clock_precise_us() - shadow->started_us;
}

static void on_credential(struct th_broker_waiter *waiter, struct th_credential *credential,
                          struct th_refusal *refusal)
{
    struct th_shadow_try *shadow = TH_CONTAINER_OF(waiter, struct th_shadow_try, waiter);

    note_end(shadow);
    if (credential != NULL)
        tell_granted(shadow, credential);
    else
        tell_refused(shadow, refusal->error, refusal);
}

static void on_timer(struct th_timer *timer)
{
    struct th_shadow_try *shadow = TH_CONTAINER_OF(timer, struct th_shadow_try, timer);

    note_end(shadow);
    tell_refused(shadow, TH_E_EXCHANGE_TIMEOUT, NULL);
}

static bool has_room(const struct th_shadow_try *shadow)
{
    const struct th_config_view *view = shadow->use->snapshot->view;

    return shadow->desk->n_shadows < view->limits.waiting_exchanges / SHARE / view->workers + 1;
}

static void wait_for(struct th_shadow_try *shadow, int64_t deadline_ms)
{
    th_list_push_back(&shadow->desk->shadows, &shadow->link);
    shadow->desk->n_shadows++;
    shadow->started_us = th_clock_precise_us();
    th_timer_set(&shadow->desk->worker->wheel, &shadow->timer, deadline_ms);
}

static void exchange(struct th_hop *hop, struct th_shadow_try *shadow)
{
    struct th_worker *worker = hop->desk->worker;
    struct th_broker_request request = {.config = hop->use->snapshot->config,
                                        .agent = hop->agent,
                                        .connection = hop->asked,
                                        .subject_token = hop->decision.subject_token,
                                        .key = hop->key,
                                        .trace = worker->spans != NULL ? &hop->trace : NULL,
                                        .shares = th_admit_shares,
                                        .shares_arg = hop};
    int64_t deadline_ms = worker->now_ms + hop->use->snapshot->view->timeouts.exchange_ms;
    enum th_cache_state state = TH_CACHE_NONE;
    struct th_credential *credential;
    struct th_refusal *refusal;

    if (!has_room(shadow)) {
        tell_refused(shadow, TH_E_EXCHANGE_QUEUE, NULL);
        return;
    }
    shadow->waiter.fn = on_credential;
    int error = th_broker_get(hop->desk->broker, &request, deadline_ms, &shadow->waiter,
                              &credential, &state, &refusal);
    shadow->record.cache = state;
    if (error == TH_AGAIN)
        wait_for(shadow, deadline_ms);
    else if (error == 0)
        tell_granted(shadow, credential);
    else
        tell_refused(shadow, error, refusal);
    th_credential_unref(credential);
    th_refusal_unref(refusal);
}

/* --- one request --- */

/* Nothing is delegated on public paths, and where no token is asked for. */
static bool is_delegation(const struct th_hop *hop)
{
    switch (hop->decision.action) {
    case TH_GATE_CREDENTIAL:
    case TH_GATE_PASSTHROUGH:
    case TH_GATE_REFUSE:
        return true;
    case TH_GATE_PUBLIC:
    case TH_GATE_FORWARD:
    case TH_GATE_ANSWER:
        break;
    }
    return false;
}

/* The policy allows it. */
static void go_on(struct th_hop *hop, struct th_shadow_try *shadow)
{
    const struct th_config_connection *connection = shadow->connection;
    bool is_exchanged =
        hop->decision.action == TH_GATE_CREDENTIAL && connection->type != TH_TYPE_STATIC;

    if (hop->decision.action == TH_GATE_REFUSE) {
        shadow->record.reason = th_str_of(hop->decision.detail);
        tell(shadow, TH_AUDIT_WOULD_REFUSE, hop->decision.error);
    } else if (is_exchanged && connection->shadow == TH_SHADOW_EXCHANGE) {
        exchange(hop, shadow);
    } else {
        tell(shadow, is_exchanged ? TH_AUDIT_WOULD_EXCHANGE : TH_AUDIT_WOULD_GRANT, 0);
    }
}

/* The decision is still the one that would hold. */
static void find_out(struct th_hop *hop)
{
    const char *reason;
    int error = th_hop_try_policy(hop, &reason);

    if (error == 0 && !is_delegation(hop))
        return;
    struct th_shadow_try *shadow = shadow_new(hop, hop->decision.route.connection);
    if (shadow == NULL)
        return; /* the request goes on all the same */
    if (error == 0) {
        go_on(hop, shadow);
        return;
    }
    shadow->record.reason = th_str_of(reason);
    if (is_ours(error))
        tell_refused(shadow, error, NULL);
    else
        tell(shadow, TH_AUDIT_WOULD_DENY, error);
}

/* What the caller has for the destination. */
static bool bears_own(const struct th_hop *hop)
{
    const struct th_config_connection *connection = hop->decision.route.connection;
    const struct th_head *head = &hop->request;

    for (uint16_t i = 0; i < head->n_fields; i++) {
        struct th_str name = head->fields[i].name;
        if ((!connection->inject.is_authorization &&
             th_header_names_alike(name, connection->inject.header)) ||
            th_shadow_lets_pass(hop, name))
            return true;
    }
    return head->n_authorization > 0;
}

/* To the connection's URL all the same, by its rules on addresses and on cleartext: what the caller sends is a
 * credential too. */
static void let_through(struct th_hop *hop)
{
    struct th_gate_decision *decision = &hop->decision;

    decision->drop_authorization = false;
    decision->action = bears_own(hop) ? TH_GATE_PASSTHROUGH : TH_GATE_PUBLIC;
}

/* What is malformed or ambiguous is refused as everywhere; what a token lacks is not. */
static bool may_go_on(const struct th_hop *hop)
{
    const struct th_gate_decision *decision = &hop->decision;

    if (decision->action == TH_GATE_REFUSE)
        return decision->error == TH_E_SUBJECT_MISSING || decision->error == TH_E_SUBJECT_MALFORMED;
    return decision->action != TH_GATE_ANSWER || th_target_is_question(hop);
}

/* Let through as if the connection were not there, to which it would be denied. */
static void tell_beside(struct th_hop *hop)
{
    struct th_shadow_try *shadow = shadow_new(hop, hop->decision.beside);

    if (shadow == NULL)
        return;
    shadow->record.reason = TH_STR("the connection there is not one that this agent may use");
    tell(shadow, TH_AUDIT_WOULD_DENY, TH_E_DESTINATION_DENIED);
}

int th_shadow_admit(struct th_hop *hop)
{
    struct th_gate_decision *decision = &hop->decision;
    const struct th_config_connection *connection = decision->route.connection;

    if (decision->beside != NULL && decision->action == TH_GATE_FORWARD)
        tell_beside(hop);
    if (TH_LIKELY(connection == NULL || connection->shadow == TH_SHADOW_OFF) ||
        decision->route.scope == NULL || !may_go_on(hop))
        return 0;
    if (hop->request.n_authorization > 1) {
        decision->action = TH_GATE_REFUSE;
        decision->error = TH_E_BAD_REQUEST;
        hop->detail = decision->detail = "more than one Authorization field";
        return TH_E_BAD_REQUEST;
    }
    hop->in_shadow = true;
    if (hop->scopes_open)
        hop->shadow_open = true;
    else
        find_out(hop);
    hop->scopes_open = false;
    let_through(hop);
    return 0;
}

/* The whole of the body, where it was held. */
static struct th_str body_of(const struct th_hop *hop)
{
    if (!th_hop_can_be_sent_again(hop))
        return TH_STR_NONE;
    return hop->held == TH_HELD_COPY ? th_buf_str(&hop->held_copy) : hop->held_in_place;
}

void th_shadow_settle(struct th_hop *hop)
{
    if (TH_LIKELY(!hop->shadow_open))
        return;
    hop->shadow_open = false;
    if (hop->error == TH_E_CANCELLED && !hop->request_body.received)
        return; /* who leaves before the request is whole has asked for nothing */
    enum th_gate_action action = hop->decision.action;
    if (th_hop_choose_scopes_by(hop, body_of(hop)) < 0)
        return;
    hop->decision.action = TH_GATE_CREDENTIAL; /* only of such the scopes depend on the body */
    find_out(hop);
    hop->decision.action = action;
}

void th_shadow_end(struct th_proxy_desk *desk)
{
    while (!th_list_is_empty(&desk->shadows)) {
        struct th_shadow_try *shadow =
            TH_LIST_ENTRY(desk->shadows.next, struct th_shadow_try, link);
        note_end(shadow);
        tell_refused(shadow, TH_E_DRAINING, NULL);
    }
}
