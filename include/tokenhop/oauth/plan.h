/* Plans: which requests a resource type needs. One table, constant; a resource type is a row, its legs
 * are rows, and what an answer must be is said there. Any thread. */
#ifndef TOKENHOP_OAUTH_PLAN_H
#define TOKENHOP_OAUTH_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenhop/config/model.h"

#define TH_PLAN_LEGS_MAX 4

enum th_leg_server {
    TH_LEG_AT_AGENT_SERVER,     /* the agent's authorization server */
    TH_LEG_AT_CONNECTION_SERVER /* the connection's */
};

/* Where the value of a parameter comes from. Empty ones are not sent. */
enum th_leg_value {
    TH_VALUE_CONSTANT,
    TH_VALUE_ASSERTION_GRANT, /* the constant; of a bound assertion another grant type */
    TH_VALUE_SUBJECT_TOKEN,
    TH_VALUE_SUBJECT_TYPE,
    TH_VALUE_AUDIENCE,
    TH_VALUE_RESOURCE,
    TH_VALUE_SCOPES,
    TH_VALUE_SECOND_LEG_SCOPES,
    TH_VALUE_PREVIOUS_TOKEN, /* what the leg before yielded */
    TH_VALUE_REJECTED_TOKEN  /* what an exchange before yielded, and is to be used no more */
};

struct th_leg_parameter {
    const char *name;
    enum th_leg_value value;
    const char *constant;
};

struct th_token_answer;
struct th_issued;
struct th_plan_leg;

/* Takes from the JSON object of a good answer what the leg yields; fills answer->error if it cannot. */
typedef void th_leg_read_fn(const struct th_plan_leg *leg, struct th_token_answer *answer);
/* Compares what was issued with what was asked for (R26): 0, TH_E_EXCHANGE_MISMATCH and *ret_why. */
typedef int th_leg_check_fn(const struct th_issued *issued, const char **ret_why);
/* What is odd about it and only worth a line in the log; NULL: nothing. */
typedef const char *th_leg_note_fn(const struct th_issued *issued);

struct th_plan_leg {
    const char *name; /* "id_jag"; logs and reports call it so */
    enum th_leg_server server;
    const struct th_leg_parameter *parameters;
    size_t n_parameters;
    th_leg_read_fn *read;
    const char *issued_token_type;  /* that the answer must name; NULL: it need not name one */
    const char *also_issued_as;     /* or this; NULL: no other */
    const char *object;             /* the member that holds the values; NULL: it yields a token */
    const char *also_object;        /* or this; NULL: no other */
    bool is_bearer;                 /* `token_type` must be Bearer; else it says nothing */
    th_leg_check_fn *check;         /* NULL: nothing to compare */
    th_leg_note_fn *note;           /* NULL: nothing is odd */
    bool retries_transport;         /* once more with the same grant when no answer came */
    bool restarts_on_invalid_grant; /* what the leg before yielded is stale: that leg anew, once */
};

struct th_plan {
    enum th_resource_type type;
    const char *name; /* as in the configuration */
    const struct th_plan_leg *legs;
    size_t n_legs; /* 0: nothing is exchanged, and no exchange may be started */
    /* How what the legs yield is revoked, at its server's revocation endpoint (RFC 7009; reference, 9).
     * NULL: it cannot be. */
    const struct th_plan_leg *revocation;
    /* Where a destination did not take it, also before the next exchange: the server would hand out the
     * same again. Whatever is answered, the legs follow. */
    bool revokes_rejected;
};

/* Never NULL: every resource type has a row. */
const struct th_plan *th_plan_get(enum th_resource_type type);
/* Whether the requests of that leg bear a DPoP proof. */
bool th_plan_leg_bears_proof(const struct th_plan *plan, size_t leg,
                             const struct th_config_connection *connection);
/* The value of a TH_VALUE_ASSERTION_GRANT. */
struct th_str th_plan_assertion_grant(const struct th_leg_parameter *parameter,
                                      const struct th_config_connection *connection);
const struct th_config_authorization_server *th_plan_leg_server(
    const struct th_plan_leg *leg, const struct th_config_agent *agent,
    const struct th_config_connection *connection);

#endif
