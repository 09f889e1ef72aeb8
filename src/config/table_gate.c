/* The keys of who may do what: callers. */
#include "table.h"

static const struct th_config_key basic_keys[] = {
    {.name = "user",
     .type = TH_KEY_STRING,
     TEXT(struct th_raw_basic, user),
     .required = true,
     .max = 128,
     .doc = "The user name; without a colon."},
    {.name = "password_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_basic, password_file),
     .doc = "A file with the password; a line feed at its end does not count. The file is refused "
            "when others than its owner may read it. Only a digest of it is kept in memory."},
    {.name = "password",
     OBJECT(struct th_raw_basic, password, th_section_environment),
     .doc = "The same from the environment, in place of password_file."},
};
static const struct th_section basic_section = {SECTION("basic", struct th_raw_basic, basic_keys),
                                                .exactly_one = {"password_file", "password"}};

static const struct th_config_key bearer_keys[] = {
    {.name = "token_file",
     .type = TH_KEY_FILE,
     TEXT(struct th_raw_bearer, token_file),
     .doc = "A file with the token, as password_file."},
    {.name = "token",
     OBJECT(struct th_raw_bearer, token, th_section_environment),
     .doc = "The same from the environment, in place of token_file."},
};
static const struct th_section bearer_section = {
    SECTION("bearer", struct th_raw_bearer, bearer_keys), .exactly_one = {"token_file", "token"}};

static const struct th_config_key caller_keys[] = {
    {.name = "name",
     .type = TH_KEY_NAME,
     TEXT(struct th_raw_caller, head.name),
     .required = true,
     .doc = "What logs and policy rules call this caller."},
    {.name = "agent",
     .type = TH_KEY_REFERENCE,
     TEXT(struct th_raw_caller, agent),
     .required = true,
     .doc = "The agent that this caller acts as. It never gets to use another's key."},
    {.name = "basic",
     OBJECT(struct th_raw_caller, basic, basic_section),
     .doc = "Proved by user name and password in Proxy-Authorization (RFC 7617): what clients send "
            "that have them in the proxy's URL, http://user:password@proxy:8080."},
    {.name = "bearer",
     OBJECT(struct th_raw_caller, bearer, bearer_section),
     .doc = "Proved by a token in Proxy-Authorization (RFC 6750)."},
};
const struct th_section th_section_caller = {SECTION("caller", struct th_raw_caller, caller_keys),
                                             .has_head = true, .exactly_one = {"basic", "bearer"}};
