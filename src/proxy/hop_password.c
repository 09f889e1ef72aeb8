/* Callers whose passwords and tokens are kept as slow hashes: the gate waits for the answer in a state of its own. */
#include "admit.h"
#include "hop.h"
#include "tokenhop/gate/caller_password.h"
#include "tokenhop/gate/passwords.h"

static const char limited[] =
    "too many wrong proxy credentials have come from there: they are looked at again later";
static const char overloaded[] = "too many passwords are being verified";

void th_hop_drop_password(struct th_hop *hop)
{
    th_passwords_leave(hop->password);
    hop->password = NULL;
}

static void on_answer(void *arg, const struct th_password_answer *answer)
{
    struct th_hop *hop = arg;

    hop->password = NULL;
    hop->password_answer = *answer;
    hop->has_password_answer = true;
    th_hop_wake(hop);
}

static int refuse(struct th_hop *hop, const struct th_password_answer *answer)
{
    char client[TH_ADDRESS_TEXT_MAX];

    /* Of what is wrong th_caller_tell() has said so. */
    if (answer->error != TH_E_CALLER)
        hop->detail = answer->error == TH_E_OVERLOADED ? overloaded : NULL;
    if (answer->error != TH_E_CALLER_LIMIT)
        return answer->error;
    hop->detail = limited;
    hop->retry_after_ms = answer->wait_ms;
    th_metrics_count(hop->desk->metrics, TH_METRIC_PASSWORDS_LIMITED);
    if (answer->is_news) {
        th_session_format_client(hop->session, client);
        TH_LOG(
            hop->desk->worker->log, TH_LEVEL_WARN, "caller.passwords_limited",
            "A client has shown so many wrong proxy credentials that new ones are refused unseen",
            TH_LOG_TEXT("client", client));
    }
    return answer->error;
}

static int find_caller(struct th_hop *hop, enum th_caller_proof proof,
                       const struct th_password_answer *answer,
                       const struct th_config_caller **ret_caller)
{
    const struct th_caller_facts nothing = {0};

    if (answer->error < 0)
        return refuse(hop, answer);
    hop->shown = (struct th_caller_proof_shown){.proof = proof, .is_line = true};
    memcpy(hop->shown.digest, answer->digest, sizeof hop->shown.digest);
    *ret_caller = th_caller_find(hop->use->snapshot->view, &nothing, &hop->shown);
    return *ret_caller != NULL ? 0 : th_caller_refusal(hop->use->snapshot->view);
}

int th_hop_ask_password(struct th_hop *hop, int refusal, const struct th_config_caller **ret_caller)
{
    const struct th_snapshot *snapshot = hop->use->snapshot;
    struct th_caller_text text;
    struct th_caller_hashes hashes;
    int error = refusal;

    if (hop->has_password_answer)
        return find_caller(hop, hop->shown.proof, &hop->password_answer, ret_caller);
    if (!th_caller_read(&hop->request, &text))
        return refusal;
    if (th_caller_find_hashes(snapshot->view, &text, &hashes)) {
        const struct th_password_question question = {
            .config = snapshot->config,
            .hashes = hashes.passwords,
            .is_stand_in = hashes.is_stand_in,
            .user = text.user,
            .password = text.password,
            .peer = th_admit_address(hop->session),
        };
        bool is_answered =
            th_passwords_ask(hop->desk->proxy->passwords, hop->desk->worker, &question, on_answer,
                             hop, &hop->password_answer, &hop->password);
        error = is_answered ? find_caller(hop, text.proof, &hop->password_answer, ret_caller)
                            : TH_AGAIN;
    }
    th_caller_wipe(&text);
    return error;
}

enum th_hop_step th_hop_state_password(struct th_hop *hop)
{
    if (hop->has_password_answer)
        return th_hop_move(hop, TH_HOP_GATE);
    if (hop->wait == TH_WAIT_PASSWORD && !th_session_read_ahead(hop->session)) {
        th_session_close(hop->session); /* woken by the client, which has left */
        return TH_HOP_WAIT;
    }
    return th_hop_wait(hop, TH_WAIT_PASSWORD);
}
