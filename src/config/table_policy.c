/* The keys of the policy's rules. */
#include "raw_policy.h"
#include "table.h"

static const struct th_config_key_choice policy_actions[] = {{"allow", 1}, {"deny", 0}, {NULL, 0}};

static const struct th_config_key claim_keys[] = {
    {.name = "claim",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_claim, claim),
     .required = true,
     .max = 256,
     .doc = "The claim's name. Dots lead into it (\"realm_access.roles\"); a name that is a URL is "
            "taken whole; what begins with '/' is a JSON pointer (RFC 6901)."},
    {.name = "equals",
     .type = TH_KEY_VALUE,
     TEXT(struct th_raw_claim, equals),
     .max = 512,
     .doc = "The claim is this text, number or boolean, to the letter. A list never is."},
    {.name = "contains",
     .type = TH_KEY_VALUE,
     TEXT(struct th_raw_claim, contains),
     .max = 512,
     .doc = "The claim is a list that has this value, or is it; \"scope\", which is one text, has "
            "it among its words."},
    {.name = "any_of",
     .type = TH_KEY_VALUE,
     TEXTS(struct th_raw_claim, any_of),
     .min_items = 1,
     .max_items = 64,
     .max = 512,
     .doc = "The same of any of these values."},
};
static const struct th_section claim_section = {SECTION("claim", struct th_raw_claim, claim_keys),
                                                .has_head = true,
                                                .exactly_one = {"equals", "contains", "any_of"}};

static const struct th_config_key actors_keys[] = {
    {.name = "any_of",
     .type = TH_KEY_STRING,
     TEXTS(struct th_raw_actors, any_of),
     .min_items = 1,
     .max_items = 64,
     .max = 512,
     .doc = "At least one actor of the chain is one of these (by `sub`)."},
    {.name = "only",
     .type = TH_KEY_STRING,
     TEXTS(struct th_raw_actors, only),
     .min_items = 1,
     .max_items = 64,
     .max = 512,
     .doc = "Every actor of the chain is one of these; so it is where there is no chain."},
};
static const struct th_section actors_section = {
    SECTION("actors", struct th_raw_actors, actors_keys), .at_least_one = {"any_of", "only"}};

static const struct th_config_key time_keys[] = {
    {.name = "from",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_time, from),
     .max = 5,
     .doc = "When it begins, from \"00:00\"; the day's beginning unless said."},
    {.name = "to",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_time, to),
     .max = 5,
     .doc =
         "When it ends, to \"24:00\"; that minute is not in it. Earlier than `from`, it is on the "
         "next day. The day's end unless said."},
    {.name = "days",
     .type = TH_KEY_STRING,
     TEXTS(struct th_raw_time, days),
     .min_items = 1,
     .max_items = 7,
     .max = 3,
     .doc =
         "On which days it begins: \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"; "
         "every day unless said."},
    {.name = "zone",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_time, zone),
     .required = true,
     .max = 6,
     .doc = "\"UTC\", or how far its clocks are ahead of that (\"+02:00\") or behind it "
            "(\"-05:30\"). There is no summer time."},
};
static const struct th_section time_section = {SECTION("time", struct th_raw_time, time_keys),
                                               .has_head = true,
                                               .at_least_one = {"from", "to", "days"}};

#define NAMES(member)                                                                              \
    .shape = TH_KEY_ONE_OR_LIST, .min_items = 1, .max_items = 256,                                 \
    .offset = FIELD(struct th_raw_policy_rule, member, struct th_raw_list)

static const struct th_config_key rule_keys[] = {
    {.name = "name",
     .type = TH_KEY_NAME,
     TEXT(struct th_raw_policy_rule, head.name),
     .doc = "What logs, metrics and answers call this rule; its place in the list unless said."},
    {.name = "action",
     ENUM(struct th_raw_policy_rule, allows, policy_actions),
     .required = true,
     .doc = "What becomes of a request that it matches: of the rules, the first one that does "
            "decides."},
    {.name = "caller",
     .type = TH_KEY_REFERENCE,
     NAMES(callers),
     .doc = "The callers it is for. A request at a listener that names an agent has no caller."},
    {.name = "agent",
     .type = TH_KEY_REFERENCE,
     NAMES(agents),
     .doc = "The agents it is for: as whom a request goes on."},
    {.name = "connection",
     .type = TH_KEY_REFERENCE,
     NAMES(connections),
     .doc = "The connections it is for. Unless said it is for all: then only what a rule allows is "
            "allowed anywhere."},
    {.name = "methods",
     .type = TH_KEY_STRING,
     TEXTS(struct th_raw_policy_rule, methods),
     .min_items = 1,
     .max_items = 64,
     .max = 32,
     .doc = "The methods of requests; case counts."},
    {.name = "paths",
     .type = TH_KEY_PATH,
     TEXTS(struct th_raw_policy_rule, paths),
     .min_items = 1,
     .max_items = 64,
     .doc = "The paths of requests at the destination: each, and what is below it on whole "
            "segments. A path that servers may read in two ways, of which one would match, is "
            "refused (400)."},
    {.name = "scopes",
     .type = TH_KEY_SCOPE,
     TEXTS(struct th_raw_policy_rule, scopes),
     .min_items = 1,
     .max_items = 64,
     .doc = "For connections that ask for all of these scopes."},
    {.name = "require",
     .shape = TH_KEY_ONE_OR_LIST,
     OBJECTS(struct th_raw_policy_rule, claims, claim_section),
     .min_items = 1,
     .max_items = 32,
     .doc =
         "What the subject token says: one claim, or a list of which all must hold. A decision on "
         "claims holds only once somebody has vouched for them: the authorization server, by "
         "exchanging the token, or the key that verifies it."},
    {.name = "issuer",
     .type = TH_KEY_STRING,
     NAMES(issuers),
     .max = 512,
     .doc = "Who issued the subject token (its `iss`): the name of an authorization server, or a "
            "URL."},
    {.name = "max_chain",
     COUNT(struct th_raw_policy_rule, max_chain),
     .max = 30,
     .doc =
         "The most actors that the subject token's `act` names, nested ones too (RFC 8693, 4.1); "
         "0: the user's own token, that nobody has exchanged yet."},
    {.name = "actors",
     OBJECT(struct th_raw_policy_rule, actors, actors_section),
     .doc = "Who is among these actors."},
    {.name = "time",
     .shape = TH_KEY_ONE_OR_LIST,
     OBJECTS(struct th_raw_policy_rule, times, time_section),
     .min_items = 1,
     .max_items = 16,
     .doc = "When: one window, or a list of which one must hold."},
    {.name = "reason",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_policy_rule, reason),
     .max = 200,
     .doc = "Why it denies, and what to do: for the answer's `detail`. Who is refused reads it."},
    {.name = "dry_run",
     BOOLEAN(struct th_raw_policy_rule, dry_run),
     .default_text = "false",
     .doc =
         "Decides nothing: what would have been refused, were this rule in force with all others "
         "like it, goes on, and is written to the audit log (would_deny) and counted."},
};
const struct th_section th_section_policy_rule = {
    SECTION("policy_rule", struct th_raw_policy_rule, rule_keys), .has_head = true};
