/* What a subject token says, held against what rules ask of it. */
#include "policy_values.h"
#include "tokenhop/base/mem.h"
#include "tokenhop/gate/policy.h"
#include "tokenhop/oauth/jose.h"
#include "tokenhop/oauth/json.h"

/* --- values --- */

/* The configuration holds no NUL, and each step ends in one. A pointer leads into lists too (RFC 6901, 4). */
static const json_t *take_step(const json_t *at, struct th_str step)
{
    uint64_t index;

    if (json_is_array(at) && th_str_to_u64(step, UINT32_MAX, &index) == 0)
        return json_array_get(at, (size_t)index);
    return json_object_get(at, step.ptr);
}

static bool does_claim_hold(const struct th_policy_rule *rule, const struct th_policy_claim *claim,
                            const json_t *claims)
{
    const json_t *at = claims;

    for (size_t i = 0; i < claim->n_steps && at != NULL; i++)
        at = take_step(at, claim->steps[i]);
    return at != NULL &&
           th_policy_fit_claim(claim, at) >= (rule->allows ? TH_POLICY_FITS : TH_POLICY_MAY_FIT);
}

/* --- the chain of actors (RFC 8693, 4.1) --- */

/* The next one behind `act`, whatever it is: what is no object is an actor without a name. */
static const json_t *take_actor(const json_t **act, struct th_str *ret_name)
{
    const json_t *actor = *act;

    if (actor == NULL || json_is_null(actor))
        return NULL;
    *ret_name = th_jwt_text(actor, "sub");
    *act = json_object_get(actor, "act");
    return actor;
}

static bool is_chain_short(const struct th_policy_rule *rule, const json_t *claims)
{
    const json_t *act = json_object_get(claims, "act");
    struct th_str name;
    int n = 0;

    if (rule->max_chain < 0)
        return true;
    while (take_actor(&act, &name) != NULL)
        n++;
    return n <= rule->max_chain;
}

static bool are_actors_fine(const struct th_policy_rule *rule, const json_t *claims)
{
    const json_t *act = json_object_get(claims, "act");
    bool is_met = rule->n_any_actors == 0;
    struct th_str name;

    while (take_actor(&act, &name) != NULL) {
        if (rule->n_only_actors > 0 &&
            !th_str_is_among(rule->only_actors, rule->n_only_actors, name))
            return false;
        is_met |= th_str_is_among(rule->any_actors, rule->n_any_actors, name);
    }
    return is_met;
}

/* --- rules --- */

enum th_policy_claim_miss th_policy_judge_claims(const struct th_policy_rule *rule,
                                                 const json_t *claims, size_t *ret_claim)
{
    if (rule->n_issuers > 0 &&
        !th_str_is_among(rule->issuers, rule->n_issuers, th_jwt_text(claims, "iss")))
        return TH_POLICY_ISSUER_FAILS;
    if (!is_chain_short(rule, claims))
        return TH_POLICY_CHAIN_FAILS;
    if (!are_actors_fine(rule, claims))
        return TH_POLICY_ACTORS_FAIL;
    for (size_t i = 0; i < rule->n_claims; i++) {
        if (!does_claim_hold(rule, &rule->claims[i], claims)) {
            *ret_claim = i;
            return TH_POLICY_CLAIM_FAILS;
        }
    }
    return TH_POLICY_CLAIMS_HOLD;
}

void th_policy_read_claims(const struct th_config_view *view, const json_t *claims,
                           struct th_policy_claims *ret_claims)
{
    size_t ignored;

    *ret_claims = (struct th_policy_claims){.subject = TH_POLICY_SUBJECT_READ};
    for (size_t i = 0; i < view->n_policy; i++)
        if (th_policy_judge_claims(&view->policy[i], claims, &ignored) == TH_POLICY_CLAIMS_HOLD)
            ret_claims->holds[i / 64] |= (uint64_t)1 << i % 64;
}

int th_policy_read_token(const struct th_config_view *view, struct th_str token,
                         struct th_policy_claims *ret_claims)
{
    struct th_jwt jwt = {0};
    int error = th_jwt_parse(token, &jwt);

    if (error == TH_E_NOMEM)
        return error;
    if (error < 0) {
        *ret_claims = (struct th_policy_claims){.subject = TH_POLICY_SUBJECT_OPAQUE};
        return 0;
    }
    th_policy_read_claims(view, jwt.claims, ret_claims);
    th_jwt_fini(&jwt);
    return 0;
}

/* --- tokens seen lately --- */

#define MEMO_SLOTS 1024 /* some 70 KB; two tokens of one slot take turns */

struct slot {
    bool is_used;
    uint8_t digest[32];
    struct th_policy_claims claims;
};

struct th_policy_memo {
    struct slot slots[MEMO_SLOTS];
};

struct th_policy_memo *th_policy_memo_new(void)
{
    return th_calloc(1, sizeof(struct th_policy_memo));
}

struct th_policy_memo *th_policy_memo_free(struct th_policy_memo *memo)
{
    th_free(memo);
    return NULL;
}

int th_policy_memo_read(struct th_policy_memo *memo, const struct th_config_view *view,
                        const uint8_t digest[32], struct th_str token,
                        struct th_policy_claims *room, const struct th_policy_claims **ret_claims)
{
    struct slot *slot =
        memo != NULL ? &memo->slots[(digest[0] << 8 | digest[1]) % MEMO_SLOTS] : NULL;

    *ret_claims = slot != NULL ? &slot->claims : room;
    if (slot != NULL && slot->is_used && memcmp(slot->digest, digest, sizeof slot->digest) == 0)
        return 0;
    int error = th_policy_read_token(view, token, room);
    if (error < 0 || slot == NULL)
        return error;
    slot->is_used = true;
    memcpy(slot->digest, digest, sizeof slot->digest);
    slot->claims = *room;
    return 0;
}
