/* The table of keys: connections. */
#include "choices.h"
#include "table.h"

static const struct th_config_key subject_keys[] = {
    {.name = "from",
     ENUM(struct th_raw_subject, from, subject_sources),
     .default_text = "authorization",
     .doc = "Where the subject token comes from: the request's Authorization field, as a bearer "
            "token; another field of it (\"header\"); or a file, so that callers need no token "
            "(\"file\"). \"client_credentials\": tokenhop gets it itself before each exchange, as "
            "another client that calls the agent (RFC 6749, 4.4, with the agent's resource); "
            "callers need no token then, and what they send in Authorization is removed."},
    {.name = "name",
     .type = TH_KEY_FIELD,
     TEXT(struct th_raw_subject, name),
     .doc = "With \"header\": the field that bears the subject token, alone or after \"Bearer\". "
            "It is removed from every request that tokenhop carries, wherever that goes, and the "
            "caller's Authorization is removed with it."},
    {.name = "file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_subject, file),
     .doc =
         "With \"file\": holds the subject token alone, on one line, such as the projected token "
         "of a service account. It is read again when it changes (see files.watch), and refused "
         "when others than its owner may read it. Every caller of this connection acts as that "
         "one subject; what they send in Authorization is removed."},
    {.name = "type",
     .type = TH_KEY_TOKEN_TYPE,
     TEXT(struct th_raw_subject, type),
     .default_text = "auto",
     .doc = "What the subject token is, for the authorization server: \"auto\" tells ID tokens "
            "and access tokens apart by their form, audience and claims. Else one of "
            "\"access_token\", \"id_token\", \"jwt\", \"refresh_token\", \"saml1\" and \"saml2\" "
            "(RFC 8693, 3), or a URI of the server's own."},
    {.name = "authorization_server",
     .type = TH_KEY_REFERENCE,
     TEXT(struct th_raw_subject, server),
     .doc = "With \"client_credentials\": the server that issues the subject token; at Okta, a "
            "custom one."},
    {.name = "client_id",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_subject, client_id),
     .doc =
         "With \"client_credentials\": the client that begins, and is the subject. Not the agent "
         "itself: it is the one who calls the agent."},
    {.name = "auth",
     OBJECT(struct th_raw_subject, auth, th_section_auth),
     .doc = "With \"client_credentials\": how that client authenticates."},
    {.name = "scopes",
     .type = TH_KEY_SCOPE,
     TEXTS(struct th_raw_subject, scopes),
     .max_items = 64,
     .default_text = "",
     .doc = "With \"client_credentials\": the scopes that are asked for."},
    {.name = "verify",
     BOOLEAN(struct th_raw_subject, verify),
     .doc = "Whether the subject token is verified before an exchange is spent on it: issuer, "
            "signature by the issuer's published keys, audience and times. true: every one must "
            "be, so that an opaque token or one of another issuer is refused. false: none is; the "
            "authorization server alone decides. Unless it is said, those are verified that can "
            "be: JWTs of an issuer that may issue for the agent (see issuers). While the keys "
            "cannot be had, requests that need an exchange get 503."},
    {.name = "issuers",
     .type = TH_KEY_REFERENCE,
     TEXTS(struct th_raw_subject, issuers),
     .max_items = 64,
     .default_text = "",
     .doc = "The authorization servers whose tokens may be subject tokens here. Unless said, the "
            "agent's authorization_server and every one whose issuer has the same scheme, host "
            "and port: at Okta, the org server and the custom servers of the same org."},
};
#define OF_CLIENT "authorization_server", "client_id", "auth", "scopes"
static const struct th_section_rule source_rules[] = {
    {"from", "authorization", .excluded = {"name", "file", OF_CLIENT},
     .why = "the caller sends the token in Authorization"},
    {"from", "header", .required = {"name"}, .excluded = {"file", OF_CLIENT},
     .why = "the caller sends the token"},
    {"from", "file", .required = {"file"}, .excluded = {"name", OF_CLIENT},
     .why = "no field of the request is looked at"},
    {"from", "client_credentials", .required = {"authorization_server", "client_id", "auth"},
     .excluded = {"name", "file"}, .why = "tokenhop gets the token itself"},
};
static const struct th_section subject_section = {
    SECTION("subject", struct th_raw_subject, subject_keys), .rules = source_rules,
    .n_rules = TH_COUNT_OF(source_rules)};

static const struct th_config_key inject_keys[] = {
    {.name = "scheme",
     ENUM(struct th_raw_inject, scheme, inject_schemes),
     .doc = "The scheme of the Authorization field: \"bearer\" for a token, \"basic\" for a "
            "credential that has a username and a password (RFC 7617)."},
    {.name = "header",
     .type = TH_KEY_FIELD,
     TEXT(struct th_raw_inject, header),
     .doc = "The field that the template fills. What the caller sent in it is removed, and so is "
            "its Authorization."},
    {.name = "template",
     .type = TH_KEY_TEMPLATE,
     TEXT(struct th_raw_inject, template),
     .max = 1024,
     .doc =
         "The field's value, in which {NAME} stands for one of the credential's values: a key of "
         "the vaulted secret, \"username\" or \"password\" of a service account, "
         "\"access_token\" of a token. {{ and }} are braces."},
};
static const struct th_section inject_section = {
    SECTION("inject", struct th_raw_inject, inject_keys), .exactly_one = {"scheme", "template"},
    .together = {"header", "template"}};

static const struct th_config_key value_keys[] = {
    {.name = "file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_value, file),
     .doc = "The file that holds it; a line feed at its end does not count. It is refused when "
            "others than its owner may read it, and read again when it changes (see "
            "files.watch)."},
    {.name = "env",
     .type = TH_KEY_VARIABLE,
     TEXT(struct th_raw_value, env),
     .doc = "The name of the environment variable that holds it, in place of a file."},
};
static const struct th_section value_section = {SECTION("value", struct th_raw_value, value_keys),
                                                .has_head = true, .exactly_one = {"file", "env"}};

static const struct th_config_key issued_checks_keys[] = {
    {.name = "audience",
     BOOLEAN(struct th_config_issued_checks, audience),
     .default_text = "true",
     .doc = "The token's audience is the one that was asked for."},
    {.name = "subject",
     BOOLEAN(struct th_config_issued_checks, subject),
     .default_text = "true",
     .doc = "The token's subject is the subject token's."},
    {.name = "scope",
     BOOLEAN(struct th_config_issued_checks, scope),
     .default_text = "true",
     .doc = "The token has no scope that was not asked for."},
    {.name = "chain",
     BOOLEAN(struct th_config_issued_checks, chain),
     .default_text = "true",
     .doc = "The token's chain of actors is the subject token's with this agent outermost. Where "
            "the type promises no chain (token_exchange, on_behalf_of, and a requested_token_type) "
            "it is checked only if it is said."},
    {.name = "type",
     BOOLEAN(struct th_config_issued_checks, type),
     .default_text = "true",
     .doc = "With \"token_exchange\": the answer says which type of token it bears "
            "(issued_token_type), and it is the one that was asked for. With a grant_type it may "
            "be silent."},
};
static const struct th_section issued_checks_section = {
    SECTION("issued_checks", struct th_config_issued_checks, issued_checks_keys)};

static const struct th_config_key actor_keys[] = {
    {.name = "from",
     ENUM(struct th_raw_actor, from, actor_sources),
     .required = true,
     .doc = "Where the actor token comes from. \"client_credentials\": the agent gets an access "
            "token of its own at the same server before (RFC 6749, 4.4). \"assertion\": the agent "
            "signs a JWT with its key, for the server's token endpoint. \"file\": it stands in a "
            "file, such as the projected token of the workload that tokenhop runs beside."},
    {.name = "file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_actor, file),
     .doc = "With \"file\": holds the actor token alone, on one line. It is read again when it "
            "changes (see files.watch), and refused when others than its owner may read it. What "
            "was got with the one before stays in use: it is to be the same actor's."},
    {.name = "type",
     .type = TH_KEY_TOKEN_TYPE,
     TEXT(struct th_raw_actor, type),
     .doc = "The actor_token_type, as in subject: \"access_token\" from client_credentials and "
            "\"jwt\" from an assertion or a file, unless said otherwise."},
    {.name = "scopes",
     .type = TH_KEY_SCOPE,
     TEXTS(struct th_raw_actor, scopes),
     .max_items = 64,
     .default_text = "",
     .doc = "With \"client_credentials\": the scopes that are asked for."},
    {.name = "resource",
     .type = TH_KEY_RESOURCE,
     TEXT(struct th_raw_actor, resource),
     .doc = "With \"client_credentials\": the resource that is asked for."},
};
static const struct th_section_rule actor_rules[] = {
    {"from", "client_credentials", .excluded = {"file"}, .why = "a server is asked for it"},
    {"from", "assertion", .excluded = {"scopes", "resource", "file"},
     .why = "no server is asked for it"},
    {"from", "file", .required = {"file"}, .excluded = {"scopes", "resource"},
     .why = "no server is asked for it"},
};
static const struct th_section actor_section = {SECTION("actor", struct th_raw_actor, actor_keys),
                                                .rules = actor_rules,
                                                .n_rules = TH_COUNT_OF(actor_rules)};

static const struct th_config_key parameter_keys[] = {
    {.name = "name",
     .type = TH_KEY_PARAMETER,
     TEXT(struct th_raw_parameter, name),
     .required = true,
     .doc = "Its name. None of those that the exchange or the client's authentication has: these "
            "are said by keys of their own."},
    {.name = "value",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_parameter, value),
     .required = true,
     .doc = "Its value. No secret: it is shown by tokenhop explain."},
    {.name = "leg",
     ENUM(struct th_raw_parameter, leg, parameter_legs),
     .default_text = "last",
     .doc = "Which leg bears it, where the type has two: the \"last\", which yields the "
            "credential, the \"first\", or \"every\" one. Those that get a subject or actor token "
            "bear none."},
};
static const struct th_section parameter_section = {
    SECTION("parameter", struct th_raw_parameter, parameter_keys), .has_head = true};

static const struct th_config_key certificate_keys[] = {
    {.name = "cert_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_certificate, cert_file),
     .required = true,
     .doc = "The certificate, PEM, and after it what leads to the authority."},
    {.name = "key_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_certificate, key_file),
     .doc = "Its private key, PEM. It is refused when others than its owner may read it."},
    {.name = "key",
     OBJECT(struct th_raw_certificate, key, th_section_environment),
     .doc = "The same from the environment, in place of key_file."},
};
static const struct th_section certificate_section = {
    SECTION("client_certificate", struct th_raw_certificate, certificate_keys),
    .exactly_one = {"key_file", "key"}};

static const struct th_config_key connection_keys[] = {
    {.name = "name",
     .type = TH_KEY_NAME,
     TEXT(struct th_raw_connection, head.name),
     .required = true,
     .doc = "What logs, metrics and problem bodies call this connection."},
    {.name = "url",
     .type = TH_KEY_PATTERN,
     .shape = TH_KEY_ONE_OR_LIST,
     .offset = FIELD(struct th_raw_connection, urls, struct th_raw_list),
     .min_items = 1,
     .max_items = 256,
     .required = true,
     .doc = "The URLs that belong to this connection: one pattern or a list. A pattern is a "
            "scheme, a host (\"*.\" before it stands for one label), perhaps a port, and a path "
            "that matches itself and what is below it, on whole segments. The most specific "
            "pattern wins; two connections cannot have the same one."},
    {.name = "type",
     ENUM(struct th_raw_connection, type, resource_types),
     .required = true,
     .doc =
         "What is behind the URLs, and so which exchange gets the credential: "
         "\"agent_to_agent\" (another agent) or \"authorization_server\" (an API that a custom "
         "authorization server protects), each by an ID-JAG in two legs; \"secret\" (a vaulted "
         "secret), \"service_account\" (a username and password) or \"resource_server\" (a third "
         "party's token that the identity provider holds for the user), each in one leg. At any "
         "identity provider: \"token_exchange\" (RFC 8693), \"on_behalf_of\" (Microsoft Entra's, "
         "and RFC 7523 with the subject token), \"client_credentials\" (the agent as itself, "
         "whoever calls it: no subject token is asked for). Two need "
         "no exchange and no subject token: \"static\", a secret that stands in a file or the "
         "environment, the same for every caller; and \"passthrough\", which sends the caller's own "
         "Authorization to the destination, whatever is in it: a subject token too. It is the only "
         "type by which a subject token leaves tokenhop for a destination."},
    {.name = "agents",
     .type = TH_KEY_REFERENCE,
     TEXTS(struct th_raw_connection, agents),
     .min_items = 1,
     .required = true,
     .doc = "The agents that may use this connection."},
    {.name = "authorization_server",
     .type = TH_KEY_REFERENCE,
     TEXT(struct th_raw_connection, server),
     .doc = "The server that issues the destination's access tokens: where the second leg goes, or "
            "the one leg of \"token_exchange\", \"on_behalf_of\" and \"client_credentials\" (the "
            "agent's own unless said)."},
    {.name = "audience",
     .type = TH_KEY_STRING,
     .shape = TH_KEY_ONE_OR_LIST,
     .offset = FIELD(struct th_raw_connection, audiences, struct th_raw_list),
     .min_items = 1,
     .max_items = 8,
     .doc = "The audience that is asked for. On the first leg of two a URI, the issuer of "
            "authorization_server unless said otherwise. With \"token_exchange\" whatever the "
            "server knows its services by, one or several; none unless said."},
    {.name = "resource",
     .type = TH_KEY_STRING,
     .shape = TH_KEY_ONE_OR_LIST,
     .offset = FIELD(struct th_raw_connection, resources, struct th_raw_list),
     .min_items = 1,
     .max_items = 8,
     .doc = "The destination's resource URL, character for character as it is registered (a "
            "trailing slash makes another one); for \"authorization_server\", sent only if it is "
            "given. For \"secret\", \"service_account\" and \"resource_server\" the identifier on "
            "the resource connection: an ORN, or the administrator's own string. One or several "
            "URIs with \"token_exchange\" (RFC 8707)."},
    {.name = "scopes",
     .type = TH_KEY_SCOPE,
     TEXTS(struct th_raw_connection, scopes),
     .max_items = 64,
     .default_text = "",
     .doc = "The scopes that are asked for. Okta wants at least one, and none of its system "
            "scopes (openid, profile, email, offline_access, address, phone)."},
    {.name = "scope_separator",
     ENUM(struct th_raw_connection, scope_separator, scope_separators),
     .default_text = "space",
     .doc =
         "What parts scopes where they are sent: a \"space\" (RFC 6749, 3.3), or a \"comma\" for "
         "a server that wants that."},
    {.name = "scopes_for",
     .shape = TH_KEY_LIST,
     OBJECTS(struct th_raw_connection, scopes_for, th_section_scoping),
     .max_items = 32,
     .default_text = "",
     .doc = "Requests that ask for fewer scopes, so that a read gets a token that can only read. "
            "The first entry whose conditions all hold decides; where none does, scopes does."},
    {.name = "step_up_scopes",
     .type = TH_KEY_SCOPE,
     TEXTS(struct th_raw_connection, step_up_scopes),
     .max_items = 4,
     .default_text = "",
     .doc = "Scopes that are asked for beside the others when the destination wants them: when it "
            "answers 403 with the error insufficient_scope and names scopes that all stand here "
            "(or were asked for already), one more exchange is made, and the request is sent once "
            "more if it can be."},
    {.name = "second_leg_scopes",
     .type = TH_KEY_SCOPE,
     TEXTS(struct th_raw_connection, second_leg_scopes),
     .max_items = 64,
     .doc = "Scopes that are sent on the second leg too, each of them one of scopes. Unless said, "
            "none at an Okta issuer, whose custom servers want none, and all of scopes elsewhere, "
            "as other servers issue a token without scopes if none are sent. [] sends none."},
    {.name = "second_leg_resource",
     BOOLEAN(struct th_raw_connection, second_leg_resource),
     .default_text = "false",
     .doc = "Sends resource on the second leg too, although the assertion has it."},
    {.name = "reuse_id_jag",
     BOOLEAN(struct th_raw_connection, reuse_id_jag),
     .default_text = "false",
     .doc = "Keeps what the first leg yields, in memory and while it is valid, for the next second "
            "leg of the same agent, connection and subject token; when the server does not take it "
            "a second time, the first leg is made anew."},
    {.name = "requested_token_type",
     .type = TH_KEY_TOKEN_TYPE,
     TEXT(struct th_raw_connection, requested_token_type),
     .doc = "With \"token_exchange\": the type of token that is asked for, as in subject; the "
            "server's choice unless said. With \"agent_to_agent\" and \"authorization_server\": "
            "\"jwt\" asks on the first leg for an assertion that the other server takes (OAuth "
            "identity chaining) in place of an ID-JAG."},
    {.name = "grant_type",
     .type = TH_KEY_RESOURCE,
     TEXT(struct th_raw_connection, grant_type),
     .doc = "With \"token_exchange\": the URI of a grant of the server's own that stands in place "
            "of RFC 8693's and takes the same parameters, such as that of Auth0's token vault."},
    {.name = "requested_token_use",
     ENUM(struct th_raw_connection, requested_token_use, token_uses),
     .default_text = "on_behalf_of",
     .doc = "With \"on_behalf_of\": sent as it is, as Microsoft Entra wants it; \"none\" leaves it "
            "out: a plain assertion grant of RFC 7523."},
    {.name = "actor",
     OBJECT(struct th_raw_connection, actor, actor_section),
     .doc = "With \"token_exchange\": a token that says who acts, beside the subject token."},
    {.name = "parameters",
     .shape = TH_KEY_LIST,
     OBJECTS(struct th_raw_connection, parameters, parameter_section),
     .max_items = 16,
     .default_text = "",
     .doc = "Further parameters of the token request that the server wants: \"connection\", "
            "\"organization\" and the like."},
    {.name = "subject",
     OBJECT(struct th_raw_connection, subject, subject_section),
     .doc = "The token that is exchanged."},
    {.name = "inject",
     OBJECT(struct th_raw_connection, inject, inject_section),
     .doc = "How the credential is put on a request. A bearer token unless said otherwise; of a "
            "\"service_account\", scheme \"basic\"; a \"secret\" needs a header and template, or "
            "the scheme \"basic\"."},
    {.name = "dpop",
     ENUM(struct th_raw_connection, dpop, dpop_choices),
     .default_text = "off",
     .doc = "Whether the access token is to be bound to a key of the agent (DPoP, RFC 9449): "
            "\"token\" proves possession of the key on the leg that yields it, \"all_legs\" on "
            "every leg, \"bound_id_jag\" likewise and redeems the ID-JAG by the jwt-dpop grant, "
            "if it is bound. A bound token goes to the destination with a proof of its own for "
            "each request; one that comes back unbound is used as a bearer token."},
    {.name = "value_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_connection, value_file),
     .doc =
         "With \"static\": the file that holds the credential, a token for the scheme "
         "\"bearer\" (unless inject says otherwise), or {value} of a template. A line feed at "
         "its end does not count. It is refused when others than its owner may read it, and read "
         "again when it changes (see files.watch)."},
    {.name = "value",
     OBJECT(struct th_raw_connection, value, th_section_environment),
     .doc = "The same from the environment, in place of value_file."},
    {.name = "values",
     .shape = TH_KEY_MAP,
     OBJECTS(struct th_raw_connection, values, value_section),
     .min_items = 1,
     .max_items = 16,
     .doc = "The same as several values, by the names that the template gives them; \"username\" "
            "and \"password\" for the scheme \"basic\"."},
    {.name = "without_subject",
     ENUM(struct th_raw_connection, without_subject, without_subject),
     .default_text = "refuse",
     .doc = "What becomes of a request without a subject token (with \"passthrough\": without an "
            "Authorization field): \"refuse\" answers 401, \"forward\" sends it on without a "
            "credential."},
    {.name = "public",
     .type = TH_KEY_PATH,
     TEXTS(struct th_raw_connection, public_paths),
     .max_items = 64,
     .default_text = "/.well-known/agent-card.json /.well-known/oauth-protected-resource",
     .doc = "Paths at the connection's hosts that are served without a credential and without "
            "asking for a subject token."},
    {.name = "cookies",
     ENUM(struct th_raw_connection, cookies, cookies),
     .default_text = "pass",
     .doc = "Whether the caller's cookies reach the destination."},
    {.name = "shadow",
     ENUM(struct th_raw_connection, shadow, shadows),
     .default_text = "off",
     .doc =
         "\"policy\" and \"exchange\" put the connection in shadow: each request goes on as it "
         "came, with the caller's own Authorization and without a credential, and the audit log "
         "says what would have become of it. \"policy\" asks the rules alone. \"exchange\" makes "
         "the exchange as well, beside the request, which neither waits for it nor fails by it. "
         "With \"off\" requests bear the credential."},
    {.name = "allow_cleartext",
     BOOLEAN(struct th_raw_connection, allow_cleartext),
     .default_text = "false",
     .doc = "Allows the credential (with \"passthrough\": what the caller sends in Authorization) "
            "to be sent over http:// to addresses beyond loopback, for all on the way to read."},
    {.name = "issued_checks",
     OBJECT(struct th_raw_connection, issued_checks, issued_checks_section),
     .doc = "Which parts of an issued token (if it reads as a JWT) are compared with what was "
            "asked for, before it is used."},
    {.name = "client_certificate",
     OBJECT(struct th_raw_connection, client_certificate, certificate_section),
     .doc = "What the destination is shown when it asks for a client certificate. Connections to "
            "the destination that were opened with it serve this resource connection alone. A "
            "token that is bound to a certificate (cnf, RFC 8705) must be bound to this one."},
    {.name = "ca_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_connection, ca_file),
     .doc = "PEM certificates of the authorities that the destination is trusted by, in place of "
            "the system's and of origin.ca_file."},
    {.name = "crl_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_connection, crl_file),
     .doc = "Beside ca_file: revocation lists of these authorities, in place of origin.crl_file."},
};

#define OF_STATIC "value_file", "value", "values"
#define OF_TWO_LEGS "second_leg_scopes", "second_leg_resource", "reuse_id_jag"
#define OF_EXCHANGES "requested_token_type", "grant_type", "actor"
#define OF_TOKENS                                                                                  \
    "authorization_server", "audience", "scopes", "scopes_for", "step_up_scopes",                  \
        "scope_separator", "issued_checks", "dpop", "requested_token_use", OF_TWO_LEGS,            \
        OF_EXCHANGES
#define ONE_LEG                                                                                    \
    .excluded = {OF_TOKENS, OF_STATIC},                                                            \
    .why = "its one leg goes to the agent's own authorization server, for the resource alone"
#define NOT_OF_TWO_LEGS "grant_type", "actor", "requested_token_use"
#define GOT "its credential is got by an exchange in two legs"
static const struct th_section_rule type_rules[] = {
    {"type", "agent_to_agent", .required = {"authorization_server", "resource"},
     .excluded = {OF_STATIC, NOT_OF_TWO_LEGS}, .why = GOT},
    {"type", "authorization_server", .required = {"authorization_server"},
     .excluded = {OF_STATIC, NOT_OF_TWO_LEGS}, .why = GOT},
    {"type", "secret", .required = {"resource", "inject"}, ONE_LEG},
    {"type", "service_account", .required = {"resource"}, ONE_LEG},
    {"type", "resource_server", .required = {"resource"}, ONE_LEG},
    {"type", "token_exchange", .excluded = {OF_STATIC, OF_TWO_LEGS, "requested_token_use"},
     .why = "it is one leg of token exchange"},
    {"type", "on_behalf_of", .excluded = {OF_STATIC, OF_TWO_LEGS, OF_EXCHANGES},
     .why = "its one leg presents the subject token as an assertion"},
    {"type", "client_credentials",
     .excluded = {OF_STATIC, OF_TWO_LEGS, OF_EXCHANGES, "requested_token_use", "subject",
                  "without_subject"},
     .why = "the agent acts for itself, whoever calls it"},
    {"type", "static", .exactly_one = {OF_STATIC},
     .excluded = {OF_TOKENS, "resource", "subject", "without_subject", "parameters"},
     .why = "nothing is exchanged, and no subject token is asked for"},
    {"type", "passthrough",
     .excluded = {OF_TOKENS, OF_STATIC, "resource", "subject", "inject", "parameters"},
     .why = "nothing is exchanged, and Authorization goes on as the caller sent it"},
};
const struct th_section th_section_connection = {
    SECTION("connection", struct th_raw_connection, connection_keys), .has_head = true,
    .rules = type_rules, .n_rules = TH_COUNT_OF(type_rules)};
