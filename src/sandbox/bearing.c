#include "bearing.h"

#include "answer.h"
#include "chain.h"
#include "tokens.h"

void th_bearing_fini(struct th_bearing *bearing)
{
    th_jwt_fini(&bearing->jwt);
    memset(bearing, 0, sizeof *bearing);
}

static bool check_state(enum th_token_state state, const char *error, struct th_idp_answer *answer)
{
    switch (state) {
    case TH_TOKEN_FINE:
        return true;
    case TH_TOKEN_MALFORMED:
        return th_answer_refuse(answer, "invalid_request", "subject_malformed",
                                "The token that was sent is not a JWT.");
    case TH_TOKEN_ISSUER:
        return th_answer_refuse(answer, error, "subject_issuer",
                                "The issuer of the token that was sent is not trusted.");
    case TH_TOKEN_SIGNATURE:
        return th_answer_refuse(answer, error, "subject_signature",
                                "The signature of the token that was sent is invalid.");
    case TH_TOKEN_EXPIRED:
        return th_answer_refuse(answer, error, "subject_expired",
                                "The token that was sent is expired.");
    case TH_TOKEN_REVOKED:
        return th_answer_refuse(answer, error, "subject_revoked",
                                "The token that was sent is revoked.");
    }
    return false;
}

bool th_bearing_verify(struct th_idp *idp, struct th_str token, unsigned trusted, bool id_jag,
                       const char *error, struct th_bearing *ret_bearing,
                       struct th_idp_answer *answer)
{
    struct th_jwt *jwt = &ret_bearing->jwt;
    memset(ret_bearing, 0, sizeof *ret_bearing);
    if (!check_state(th_token_verify(idp, token, jwt, &ret_bearing->server), error, answer))
        return false;
    if ((trusted & (1u << (size_t)(ret_bearing->server - idp->registry->servers))) == 0)
        return th_answer_refuse(answer, error, "subject_issuer",
                                "The issuer of the token that was sent is not trusted.");
    if (th_str_equal(th_jwt_text(jwt->header, "typ"), TH_STR("oauth-id-jag+jwt")) != id_jag)
        return th_answer_refuse(answer, error, id_jag ? "subject_no_id_jag" : "subject_is_id_jag",
                                "The token that was sent is not of the right type.");
    ret_bearing->sub = th_jwt_text(jwt->claims, "sub");
    ret_bearing->user = th_registry_find_user(ret_bearing->sub);
    ret_bearing->act = json_object_get(jwt->claims, "act");
    if (!th_chain_is_well_formed(ret_bearing->act))
        return th_answer_refuse(answer, error, "subject_chain",
                                "The act claim of the token that was sent is invalid.");
    return true;
}

bool th_bearing_check_user(struct th_bearing *bearing, const char *error,
                           struct th_idp_answer *answer)
{
    answer->user = bearing->user;
    if (bearing->user != NULL && bearing->user->assigned == 0)
        return th_answer_refuse(answer, error, "user_not_assigned",
                                "The user is not assigned to the application.");
    answer->who = bearing->user != NULL ? bearing->user->name : "machine";
    return true;
}
