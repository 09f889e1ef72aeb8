#include "answer.h"

#include "tokenhop/base/check.h"

static const struct {
    const char *error;
    int status;
} statuses[] = {
    {"invalid_client", 401},
    {"temporarily_unavailable", 503},
    {"server_error", 500},
    {"too_many_requests", 429},
};

void th_answer_set_error(struct th_idp_answer *answer, const char *error, const char *reason,
                         const char *description)
{
    answer->status = 400;
    for (size_t i = 0; i < TH_COUNT_OF(statuses); i++) {
        if (strcmp(error, statuses[i].error) == 0)
            answer->status = statuses[i].status;
    }
    answer->reason = reason;
    json_decref(answer->body);
    answer->body = json_pack("{s:s, s:s}", "error", error, "error_description", description);
}

bool th_answer_fail(struct th_idp_answer *answer, int error)
{
    if (error == TH_E_NOMEM || error == TH_E_OVERLOADED)
        return th_answer_refuse(answer, "temporarily_unavailable", "overloaded",
                                "The sandbox is at one of its limits.");
    return th_answer_refuse(answer, "server_error", "internal", "The sandbox failed.");
}

void th_idp_answer_fini(struct th_idp_answer *answer)
{
    json_decref(answer->body);
    answer->body = NULL;
}
