/* Plans: which requests a resource type needs. One table, constant; a resource type is a row, its legs
 * are rows, and what an answer must be is said there. A row of legs says which connections it is for; and
 * rows of their own stand before those of every type, for connections that have to get their subject token
 * or an actor token first. Any thread. */
#ifndef TOKENHOP_OAUTH_PLAN_H
#define TOKENHOP_OAUTH_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenhop/config/model.h"

#define TH_PLAN_LEGS_MAX 4
#define TH_PLAN_VALUES_MAX 8 /* of one parameter */

enum th_leg_server {
    TH_LEG_AT_AGENT_SERVER,      /* the agent's authorization server */
    TH_LEG_AT_CONNECTION_SERVER, /* the connection's */
    TH_LEG_AT_CHOSEN_SERVER,     /* the connection's if it has one, else the agent's */
    TH_LEG_AT_SUBJECT_SERVER     /* that of the connection's subject_client */
};

/* Who authenticates. */
enum th_leg_client { TH_LEG_BY_AGENT, TH_LEG_BY_SUBJECT_CLIENT };

/* What becomes of a leg's token. Of the last leg it is the credential. */
enum th_leg_yield {
    TH_LEG_YIELDS_GRANT,   /* the next leg presents it */
    TH_LEG_YIELDS_SUBJECT, /* it is the subject token of all legs that follow */
    TH_LEG_YIELDS_ACTOR    /* their actor token */
};

/* Where the value of a parameter comes from. Empty ones are not sent. */
enum th_leg_value {
    TH_VALUE_CONSTANT,
    TH_VALUE_ASSERTION_GRANT, /* the constant; of a bound assertion another grant type */
    TH_VALUE_GRANT_TYPE,
    TH_VALUE_REQUESTED_TYPE,
    TH_VALUE_REQUESTED_USE,
    TH_VALUE_SUBJECT_TOKEN,
    TH_VALUE_SUBJECT_TYPE,
    TH_VALUE_ACTOR_TOKEN,
    TH_VALUE_ACTOR_TYPE,
    TH_VALUE_AUDIENCE, /* each of them, where there are several */
    TH_VALUE_RESOURCE, /* likewise */
    TH_VALUE_SCOPES,
    TH_VALUE_SECOND_LEG_SCOPES,
    TH_VALUE_SECOND_LEG_RESOURCE,
    TH_VALUE_ACTOR_SCOPES,
    TH_VALUE_ACTOR_RESOURCE,
    TH_VALUE_CLIENT_SCOPES,  /* of subject_client */
    TH_VALUE_AGENT_RESOURCE, /* the agent's own */
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
    bool (*applies)(const struct th_config_connection *connection); /* NULL: to all of its type */
    enum th_leg_server server;
    enum th_leg_client client;
    enum th_leg_yield yields;
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
    bool unlinked_is_401; /* so is said that the user must link an account first (reference, 10) */
};

struct th_plan {
    enum th_resource_type type;
    const char *name;               /* as in the configuration */
    const struct th_plan_leg *legs; /* those of them that apply, in this order */
    size_t n_legs;                  /* 0: nothing is exchanged, and no exchange may be started */
    /* How what the legs yield is revoked, at its server's revocation endpoint (RFC 7009; reference, 9).
     * NULL: it cannot be. */
    const struct th_plan_leg *revocation;
    /* Where a destination did not take it, also before the next exchange: the server would hand out the
     * same again. Whatever is answered, the legs follow. */
    bool revokes_rejected;
};

/* Never NULL: every resource type has a row. */
const struct th_plan *th_plan_get(enum th_resource_type type);

/* The legs of one connection, in their order. */
struct th_plan_legs {
    const struct th_plan_leg *items[TH_PLAN_LEGS_MAX];
    size_t n;
    size_t
        n_before; /* so many of them are not of the type: they get the subject and actor tokens */
};
void th_plan_select(const struct th_config_connection *connection, struct th_plan_legs *ret_legs);

/* Whether the requests of that leg bear a DPoP proof. */
bool th_plan_leg_bears_proof(const struct th_plan_legs *legs, size_t leg,
                             const struct th_config_connection *connection);
/* Whether they bear an actor token that is signed for the request. */
bool th_plan_leg_bears_assertion(const struct th_plan_leg *leg,
                                 const struct th_config_connection *connection);
/* Whether they bear that one of the connection's further parameters. */
bool th_plan_leg_bears_parameter(const struct th_plan_legs *legs, size_t leg,
                                 const struct th_config_parameter *parameter);
/* What the configuration says for a parameter, borrowed; how many. None for what is a token, for the type
 * of a subject token that is to be told from it, and for what is not sent. */
size_t th_plan_configured(const struct th_leg_parameter *parameter,
                          const struct th_config_agent *agent,
                          const struct th_config_connection *connection,
                          struct th_str ret_values[TH_PLAN_VALUES_MAX]);
/* The token type of a subject token. Empty for TH_SUBJECT_AUTO: the token has to tell. */
struct th_str th_plan_subject_type(enum th_subject_type type,
                                   const struct th_config_connection *connection);
/* Who authenticates at the leg's server. */
void th_plan_leg_client(const struct th_plan_leg *leg, const struct th_config_agent *agent,
                        const struct th_config_connection *connection, struct th_str *ret_client_id,
                        const struct th_config_auth **ret_auth);
const struct th_config_authorization_server *th_plan_leg_server(
    const struct th_plan_leg *leg, const struct th_config_agent *agent,
    const struct th_config_connection *connection);

#endif
