/* Every mistake that a file can hold: a good file, of which each case spoils one place. In what the
 * case writes, '@' marks where the mistake must be reported; it is taken out before loading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_support.h"
#include "tokenhop/base/check.h"
#include "tokenhop/base/secret.h"
#include "tokenhop/config/load.h"

static const char good[] =
    "{\n"
    "  \"listeners\": [\n"
    "    {\"name\": \"in\", \"address\": \"127.0.0.1:8080\", \"agent\": \"agent1\"}\n"
    "  ],\n"
    "  \"authorization_servers\": {\n"
    "    \"org\": {\"issuer\": \"https://example.okta.com\"},\n"
    "    \"custom\": {\"issuer\": \"https://example.okta.com/oauth2/aus1\"}\n"
    "  },\n"
    "  \"agents\": {\n"
    "    \"agent1\": {\n"
    "      \"client_id\": \"wlp1\",\n"
    "      \"auth\": {\"method\": \"private_key_jwt\", \"key_file\": \"rsa.pem\", \"kid\": \"k1\"},\n"
    "      \"resource\": \"https://agent1.example.com\",\n"
    "      \"authorization_server\": \"org\"\n"
    "    }\n"
    "  },\n"
    "  \"connections\": [\n"
    "    {\"name\": \"agent2\", \"url\": \"https://agent2.example.com/a2a/\",\n"
    "     \"type\": \"agent_to_agent\", \"agents\": [\"agent1\"],\n"
    "     \"authorization_server\": \"custom\", \"resource\": \"https://agent2.example.com\",\n"
    "     \"scopes\": [\"chat.read\", \"chat.history\"]}\n"
    "  ],\n"
    "  \"unmatched\": \"deny\"\n"
    "}\n";

struct mistake_case {
    const char *find, *replace;
    const char *path, *what, *mend; /* parts; mend NULL: not looked at */
};

#define LISTENER "{\"name\": \"in\", \"address\": \"127.0.0.1:8080\", \"agent\": \"agent1\"}"
#define UNMATCHED "\"unmatched\": \"deny\""
#define URL "\"https://agent2.example.com/a2a/\""
#define QUOTA(rest)                                                                                \
    "{\"issuer\": \"https://example.okta.com\", \"quota\": {\"exchanges_per_user_month\": " rest   \
    "}}"
#define ORG "{\"issuer\": \"https://example.okta.com\"}"
#define KEY_FILE "\"key_file\": \"rsa.pem\", \"kid\": \"k1\""
#define KEY_FILE_2 "\"key_file\": \"rsa.pem\""
#define AUTH "\"method\": \"private_key_jwt\", " KEY_FILE
#define BASIC "\"method\": \"client_secret_basic\""
#define SCOPES "\"scopes\": [\"chat.read\", \"chat.history\"]"
#define TYPE "\"type\": \"agent_to_agent\""
/* The rest of the connection, from its type on; and what can stand there instead. */
#define LEG_2                                                                                      \
    "\"type\": \"agent_to_agent\", \"agents\": [\"agent1\"],\n"                                    \
    "     \"authorization_server\": \"custom\", \"resource\": \"https://agent2.example.com\",\n"   \
    "     \"scopes\": [\"chat.read\", \"chat.history\"]"
#define SECRET "\"type\": \"secret\", \"agents\": [\"agent1\"]"
#define ACCOUNT                                                                                    \
    "\"type\": \"service_account\", \"agents\": [\"agent1\"], \"resource\": \"orn:okta:x\""
#define TEMPLATE "\"inject\": {\"header\": \"X-Api-Key\", \"template\": \"{api_key}\"}"

static const struct mistake_case cases[] = {
    /* syntax */
    {UNMATCHED, UNMATCHED "@,", "$", "a comma stands before the closing bracket",
     "trailing commas"},
    {UNMATCHED, "@unmatched: \"deny\"", "$", "a key is wanted", "double quotes"},
    {UNMATCHED, "\"unmatched\": @deny", "$", "this word is not JSON", "double quotes"},
    {UNMATCHED, "\"unmatched\" @\"deny\"", "$", "a colon is wanted", "':'"},
    {UNMATCHED, "\"unmatched\": @\"deny", "$", "this string is not closed", "close it"},
    {"],\n  \"unmatched\"", "]\n  @\"unmatched\"", "$", "a comma or the closing bracket", "comma"},
    {"}\n  ],\n  \"unmatched\"", "}\n  @} /* } */,\n  \"unmatched\"", "$",
     "a comma or the closing bracket", "comma"},
    {UNMATCHED, "@/* \"unmatched\": \"deny\"", "$", "this comment is not closed", "*/"},
    {UNMATCHED, "\"unmatched\": \"de@\\qny\"", "$", "this escape is not one of JSON's", ""},
    {UNMATCHED, "\"unmatched\": \"de@\x01ny\"", "$", "control character", ""},
    {UNMATCHED, "\"unmatched\": \"de@\xffny\"", "$", "not UTF-8", ""},
    {UNMATCHED, "\"unmatched\": \"de@\\u0000ny\"", "$", "NUL", ""},
    {UNMATCHED, "\"workers\": @99999999999999999999", "$", "number is too large", ""},
    {UNMATCHED, "\"workers\": @01", "$", "not a number", ""},
    {UNMATCHED, UNMATCHED ",\n  @\"unmatched\": \"deny\"", "$.unmatched", "stands here twice", ""},
    {UNMATCHED, UNMATCHED ",\n  @\"unm\\u0061tched\": \"deny\"", "$", "stands here twice", ""},
    {"\"deny\"\n}", "\"deny\"\n} @}", "$", "something follows", ""},
    {good, "@", "$", "the file ends where a value is wanted", ""},
    {good, "@[]", "$", "an object is wanted here, not a list", ""},
    {"{\n  \"listeners\"", "@\xef\xbb\xbf{\n  \"listeners\"", "$", "byte order mark", "UTF-8"},

    /* unknown and planned keys */
    {UNMATCHED, "@\"unmached\": \"deny\"", "$.unmached", "unknown key \"unmached\"",
     "did you mean \"unmatched\"?"},
    {"\"url\"", "@\"urls\": [], \"url\"", "$.connections[0].urls", "unknown key \"urls\"",
     "did you mean \"url\"?"},
    {"\"org\": {", "\"org\": {@\"zzzzzz\": 1, ", "$.authorization_servers.org.zzzzzz",
     "unknown key", "known here: issuer, token_endpoint"},
    {LISTENER, "@{\"name\": \"in\", \"address\": \"127.0.0.1:8080\"}", "$.listeners[0]",
     "has no \"agent\", and there are no callers", "add callers"},
    {UNMATCHED, "\"callers\": [@{\"name\": \"a\", \"agent\": \"agent1\"}]", "$.callers[0]",
     "one of the keys \"basic\", \"bearer\"", ""},
    {UNMATCHED,
     "\"callers\": [{\"name\": \"a\", \"agent\": @\"agent7\", \"bearer\": {\"token\": {\"env\": "
     "\"PATH\"}}}]",
     "$.callers[0].agent", "there is no agent of this name", "agent1"},
    {UNMATCHED,
     "\"callers\": [{\"name\": \"a\", \"agent\": \"agent1\", \"basic\": {\"user\": @\"a:b\", "
     "\"password\": {\"env\": \"PATH\"}}}]",
     "$.callers[0].basic.user", "no colon", ""},
    {UNMATCHED,
     "\"callers\": [{\"name\": \"a\", \"agent\": \"agent1\", \"bearer\": {\"token\": {\"env\": "
     "\"PATH\"}}}, @{\"name\": \"b\", \"agent\": \"agent1\", \"bearer\": {\"token\": {\"env\": "
     "\"PATH\"}}}]",
     "$.callers[1]", "cannot be told apart", ""},
    {UNMATCHED, "\"revoke_on_exit\": @1", "$.revoke_on_exit", "true or false is wanted", ""},
    {UNMATCHED, "\"egress\": {\"connect_ports\": [443, @0]}", "$.egress.connect_ports[1]",
     "no port", "8000-8999"},
    {UNMATCHED, "\"egress\": {\"connect_ports\": [@65536]}", "$.egress.connect_ports[0]", "no port",
     "8000-8999"},
    {UNMATCHED, "\"egress\": {\"connect_ports\": [@-1]}", "$.egress.connect_ports[0]", "no port",
     "8000-8999"},
    {UNMATCHED, "\"egress\": {\"connect_ports\": [@\"90-80\"]}", "$.egress.connect_ports[0]",
     "ends before", "smaller port first"},
    {UNMATCHED, "\"egress\": {\"connect_ports\": [@\"80-\"]}", "$.egress.connect_ports[0]",
     "no port", "8000-8999"},
    {UNMATCHED, "\"egress\": {\"connect_ports\": [@true]}", "$.egress.connect_ports[0]",
     "a port or a range of ports is wanted here", ""},
    {TYPE, TYPE ", \"subject\": {\"name\": @\"X\"}", "$.connections[0].subject.name",
     "not looked at", "\"from\": \"header\""},
    {TYPE, TYPE ", \"subject\": {\"from\": \"authorization\", @\"name\": \"X\"}",
     "$.connections[0].subject.name", "has no \"name\"", "leave it out"},
    {TYPE, TYPE ", \"subject\": @{\"from\": \"header\"}", "$.connections[0].subject",
     "the key \"name\" is missing", ""},
    {TYPE, TYPE ", \"subject\": {\"from\": \"header\", \"name\": @\"Host\"}",
     "$.connections[0].subject.name", "belongs to HTTP itself", ""},
    {TYPE, TYPE ", \"subject\": {\"from\": \"header\", \"name\": @\"authorization\"}",
     "$.connections[0].subject.name", "a source of its own", ""},
    {TYPE, TYPE ", \"subject\": {\"from\": \"header\", \"name\": @\"X Token\"}",
     "$.connections[0].subject.name", "field", ""},
    {TYPE, TYPE ", \"subject\": {\"verify\": @\"yes\"}", "$.connections[0].subject.verify",
     "true or false", ""},
    {TYPE, TYPE ", \"subject\": {\"issuers\": [\"org\", @\"custmo\"]}",
     "$.connections[0].subject.issuers[1]", "there is no authorization server", "custom"},
    {TYPE, TYPE ", \"subject\": {\"issuers\": [\"org\", @\"org\"]}",
     "$.connections[0].subject.issuers[1]", "stands here twice", "remove one"},
    {LISTENER,
     "{\"name\": \"in\", \"address\": \"127.0.0.1:8080\", \"agent\": \"agent1\", "
     "\"mode\": @\"transparant\"}",
     "$.listeners[0].mode", "none of the values", "did you mean \"transparent\"?"},

    /* kinds of values */
    {UNMATCHED, "\"unmatched\": @\"denny\"", "$.unmatched", "none of the values",
     "did you mean \"deny\"?"},
    {UNMATCHED, "\"unmatched\": @true", "$.unmatched", "\"deny\" or \"forward\" is wanted here",
     ""},
    {UNMATCHED, "\"workers\": @\"4\"", "$.workers", "not a string", "leave out the quotes"},
    {UNMATCHED, "\"workers\": @4.5", "$.workers", "a whole number from 0 to 1024 is wanted", ""},
    {UNMATCHED, "\"workers\": @-1", "$.workers", "out of range", ""},
    {UNMATCHED, "\"workers\": @1025", "$.workers", "out of range: a whole number from 0 to 1024",
     ""},
    {UNMATCHED, "\"timeouts\": {\"head\": @15}", "$.timeouts.head", "not a number",
     "write \"15s\" for seconds or \"15ms\""},
    {UNMATCHED, "\"timeouts\": {\"head\": @\"15\"}", "$.timeouts.head", "not a duration", "unit"},
    {UNMATCHED, "\"timeouts\": {\"head\": @\"15 s\"}", "$.timeouts.head", "not a duration", ""},
    {UNMATCHED, "\"timeouts\": {\"head\": @\"2h\"}", "$.timeouts.head",
     "out of range: a duration from 1ms to 1h", ""},
    {UNMATCHED, "\"timeouts\": {\"head\": @\"0s\"}", "$.timeouts.head", "out of range", ""},
    {UNMATCHED, "\"limits\": {\"head\": @65536}", "$.limits.head", "not a number",
     "write \"65536B\" for bytes"},
    {UNMATCHED, "\"limits\": {\"head\": @\"64KB\"}", "$.limits.head", "not a size", "64KiB"},
    {UNMATCHED, "\"limits\": {\"head\": @\"2MiB\"}", "$.limits.head", "from 1KiB to 1MiB", ""},
    {UNMATCHED, "\"limits\": @[]", "$.limits", "an object is wanted here, not a list", ""},
    {UNMATCHED, "\"limits\": @null", "$.limits", "an object is wanted here, not null", ""},
    {TYPE, TYPE ", \"allow_cleartext\": @\"true\"", "$.connections[0].allow_cleartext",
     "true or false is wanted here, not a string", "without quotes"},
    {SCOPES, "\"scopes\": @\"chat.read\"", "$.connections[0].scopes", "a list of scopes is wanted",
     ""},
    {"\"agents\": [\"agent1\"]", "\"agents\": @[]", "$.connections[0].agents", "at least 1", ""},
    {"\"agents\": [\"agent1\"]", "\"agents\": [@1]", "$.connections[0].agents[0]",
     "a name is wanted here, not a number", ""},
    {"\"client_id\": \"wlp1\"", "\"client_id\": @\"\"", "$.agents.agent1.client_id", "empty", ""},
    {"\"client_id\": \"wlp1\"", "\"client_id\": @\"wl\\np1\"", "$.agents.agent1.client_id",
     "not printable ASCII", ""},

    /* what is missing */
    {"\"client_id\": \"wlp1\",", "", "$.agents.agent1", "the key \"client_id\" is missing",
     "add it: a string"},
    {"\"issuer\": \"https://example.okta.com\"", "", "$.authorization_servers.org",
     "the key \"issuer\" is missing", "a URL"},
    {"\"kid\": \"k1\"", "\"alg\": \"RS256\"", "$.agents.agent1.auth",
     "\"kid\" and \"cert_file\" is missing", ""},
    {KEY_FILE, "\"kid\": \"k1\"", "$.agents.agent1.auth",
     "one of the keys \"key_file\" and \"key\" is missing", ""},
    {KEY_FILE, KEY_FILE ", @\"key\": {\"env\": \"TEST_KEY\"}", "$.agents.agent1.auth.key",
     "\"key_file\" and \"key\" exclude each other", ""},
    {", \"resource\": \"https://agent2.example.com\"", "", "$.connections[0]",
     "\"resource\" is missing: the type \"agent_to_agent\" needs it", ""},
    {TYPE ",", "", "$.connections[0]", "the key \"type\" is missing",
     "\"agent_to_agent\", \"authorization_server\", \"secret\""},
    {"\"authorization_server\": \"custom\", ", "", "$.connections[0]",
     "\"authorization_server\" is missing: the type \"agent_to_agent\" needs it", "add it: a name"},
    {LEG_2, SECRET ", \"resource\": \"x\"", "$.connections[0]",
     "\"inject\" is missing: the type \"secret\" needs it", "an object"},
    {LEG_2, SECRET ", " TEMPLATE, "$.connections[0]",
     "\"resource\" is missing: the type \"secret\" needs it", "a string"},
    {LEG_2, "\"type\": \"service_account\", \"agents\": [\"agent1\"]", "$.connections[0]",
     "\"resource\" is missing: the type \"service_account\" needs it", ""},
    {LEG_2, "\"type\": \"resource_server\", \"agents\": [\"agent1\"]", "$.connections[0]",
     "\"resource\" is missing: the type \"resource_server\" needs it", ""},

    /* what the types of one leg have not */
    {LEG_2, ACCOUNT ", @\"authorization_server\": \"custom\"",
     "$.connections[0].authorization_server",
     "the type \"service_account\" has no \"authorization_server\"",
     "the agent's own authorization server"},
    {LEG_2, ACCOUNT ", @\"audience\": \"api://x\"", "$.connections[0].audience",
     "the type \"service_account\" has no \"audience\"", "leave it out"},
    {LEG_2, ACCOUNT ", @\"scopes\": [\"a\"]", "$.connections[0].scopes",
     "the type \"service_account\" has no \"scopes\"", ""},
    {LEG_2,
     "\"type\": \"resource_server\", \"agents\": [\"agent1\"], \"resource\": \"r\", "
     "@\"second_leg_scopes\": []",
     "$.connections[0].second_leg_scopes",
     "the type \"resource_server\" has no \"second_leg_scopes\"", ""},
    {LEG_2, ACCOUNT ", @\"issued_checks\": {}", "$.connections[0].issued_checks",
     "the type \"service_account\" has no \"issued_checks\"", ""},

    /* inject */
    {TYPE, TYPE ", \"inject\": @{}", "$.connections[0].inject",
     "one of the keys \"scheme\" and \"template\" is missing", ""},
    {TYPE, TYPE ", \"inject\": @{\"header\": \"X-Key\", \"scheme\": \"bearer\"}",
     "$.connections[0].inject", "\"header\" and \"template\" need each other", ""},
    {TYPE, TYPE ", \"inject\": @{\"template\": \"{a}\"}", "$.connections[0].inject",
     "\"header\" and \"template\" need each other", ""},
    {TYPE, TYPE ", \"inject\": {\"header\": \"X\", @\"template\": \"{a}\", \"scheme\": \"bearer\"}",
     "$.connections[0].inject.template", "\"scheme\" and \"template\" exclude each other", "keep"},
    {TYPE, TYPE ", \"inject\": {\"scheme\": @\"basic\"}", "$.connections[0].inject.scheme",
     "the type \"agent_to_agent\" yields no username and password", "\"bearer\""},
    {LEG_2, SECRET ", \"resource\": \"x\", \"inject\": {\"scheme\": @\"bearer\"}",
     "$.connections[0].inject.scheme", "the type \"secret\" yields no token",
     "header and template"},
    {LEG_2, ACCOUNT ", \"inject\": {\"scheme\": @\"bearer\"}", "$.connections[0].inject.scheme",
     "the type \"service_account\" yields no token", "\"basic\""},
    {TYPE, TYPE ", \"inject\": {\"scheme\": @\"digest\"}", "$.connections[0].inject.scheme",
     "none of the values", "\"bearer\" or \"basic\""},
    {TYPE, TYPE ", \"inject\": {\"header\": @\"X Key\", \"template\": \"{a}\"}",
     "$.connections[0].inject.header", "not the name of a header field", "without a colon"},
    {TYPE, TYPE ", \"inject\": {\"header\": @\"X-Key:\", \"template\": \"{a}\"}",
     "$.connections[0].inject.header", "not the name of a header field", ""},
    {TYPE, TYPE ", \"inject\": {\"header\": @\"Host\", \"template\": \"{a}\"}",
     "$.connections[0].inject.header", "belongs to HTTP itself", ""},
    {TYPE, TYPE ", \"inject\": {\"header\": @\"CONTENT-length\", \"template\": \"{a}\"}",
     "$.connections[0].inject.header", "belongs to HTTP itself", ""},
    {TYPE, TYPE ", \"inject\": {\"header\": @\"proxy-authorization\", \"template\": \"{a}\"}",
     "$.connections[0].inject.header", "belongs to HTTP itself", ""},
    {TYPE, TYPE ", \"inject\": {\"header\": \"X-Key\", \"template\": @\"{a\"}",
     "$.connections[0].inject.template", "opened here that is not closed", "{NAME}"},
    {TYPE, TYPE ", \"inject\": {\"header\": \"X-Key\", \"template\": @\"k-12345\"}",
     "$.connections[0].inject.template", "at least one name in braces", "{NAME}"},

    /* listeners */
    {"127.0.0.1:8080\"", "localhost:8080\"", "$.listeners[0].address", "not an address in digits",
     "127.0.0.1:8080"},
    {"\"127.0.0.1:8080\"", "@\"127.0.0.1\"", "$.listeners[0].address", "the port is not", ""},
    {"\"127.0.0.1:8080\"", "@\"127.0.0.1:0\"", "$.listeners[0].address", "the port is not", ""},
    {"\"127.0.0.1:8080\"", "@\":8080\"", "$.listeners[0].address", "not an address", ""},
    {"\"127.0.0.1:8080\"", "@\"[::ffff:127.0.0.1]:80\"", "$.listeners[0].address", "IPv4 address",
     ""},
    {"\"agent\": \"agent1\"", "\"agent\": @\"agnet1\"", "$.listeners[0].agent",
     "there is no agent of this name", "did you mean \"agent1\"?"},
    {LISTENER, LISTENER ", {\"name\": @\"in\", \"address\": \"[::1]:8080\", \"agent\": \"agent1\"}",
     "$.listeners[1].name", "two listeners have the name \"in\"", ""},
    {LISTENER,
     LISTENER ", {\"name\": \"b\", \"address\": @\"127.0.0.1:8080\", \"agent\": \"agent1\"}",
     "$.listeners[1].address", "\"in\" and \"b\" have the same address", ""},

    /* authorization servers */
    {ORG, "{\"issuer\": @\"http://example.okta.com\"}", "$.authorization_servers.org.issuer",
     "cleartext", "allow_cleartext"},
    {ORG, "{\"issuer\": @\"https://example.okta.com?x\"}", "$.authorization_servers.org.issuer",
     "no query", ""},
    {ORG, "{\"issuer\": @\"https://example.okta.com#x\"}", "$.authorization_servers.org.issuer",
     "fragment", ""},
    {ORG, "{\"issuer\": @\"example.okta.com\"}", "$.authorization_servers.org.issuer",
     "begins neither", ""},
    {ORG, "{\"issuer\": @\"https://u:hunter2@example.okta.com\"}",
     "$.authorization_servers.org.issuer", "user or password", ""},
    {ORG, "{\"issuer\": \"https://example.okta.com\", \"jwks_uri\": @\"http://example.com/k\"}",
     "$.authorization_servers.org.jwks_uri", "cleartext", ""},
    {ORG, "{\"issuer\": \"https://example.okta.com\", \"ca_file\": @\"none.pem\"}",
     "$.authorization_servers.org.ca_file", "cannot be opened", ""},
    {ORG, "{\"issuer\": \"https://example.okta.com\", \"ca_file\": @\"rsa.pem\"}",
     "$.authorization_servers.org.ca_file", "holds no certificate", ""},
    {ORG, "{\"issuer\": \"https://example.okta.com\", \"ca_file\": @\".\"}",
     "$.authorization_servers.org.ca_file", "not a regular file", ""},
    {ORG, "{\"issuer\": \"https://example.okta.com\", \"ca_file\": @\"half.pem\"}",
     "$.authorization_servers.org.ca_file", "cannot be read", ""},
    {UNMATCHED, "\"origin\": {\"ca_file\": @\"none.pem\"}", "$.origin.ca_file", "cannot be opened",
     ""},
    {UNMATCHED, "\"origin\": {\"ca_file\": @\"rsa.pem\"}", "$.origin.ca_file",
     "holds no certificate", ""},
    {"\"org\": {", "\"o g\": {\"issuer\": \"https://b.okta.com\"}, \"org\": {",
     "$.authorization_servers[\"o g\"]", "a name is 1 to 64", NULL},

    /* agents and their keys */
    {"\"authorization_server\": \"org\"", "\"authorization_server\": @\"orf\"",
     "$.agents.agent1.authorization_server", "there is no authorization server of this name",
     "did you mean \"org\"?"},
    {"\"resource\": \"https://agent1.example.com\"", "\"resource\": @\"agent1.example.com\"",
     "$.agents.agent1.resource", "not an absolute URI", ""},
    {"\"resource\": \"https://agent1.example.com\"", "\"resource\": @\"https://a.example/#b\"",
     "$.agents.agent1.resource", "no fragment", ""},
    {"\"rsa.pem\"", "@\"nowhere.pem\"", "$.agents.agent1.auth.key_file", "cannot be found",
     "relative to the configuration file's folder"},
    {"\"rsa.pem\"", "@\"open.pem\"", "$.agents.agent1.auth.key_file", "others than its owner",
     "chmod 600"},
    {"\"rsa.pem\"", "@\".\"", "$.agents.agent1.auth.key_file", "not a regular file", ""},
    {"\"rsa.pem\"", "@\"small.pem\"", "$.agents.agent1.auth.key_file", "shorter than 2048 bits",
     ""},
    {"\"rsa.pem\"", "@\"small.jwk\"", "$.agents.agent1.auth.key_file", "shorter than 2048 bits",
     ""},
    {"\"rsa.pem\"", "@\"public.pem\"", "$.agents.agent1.auth.key_file", "holds no private key", ""},
    {"\"rsa.pem\"", "@\"ec.pem\"", "$.agents.agent1.auth.key_file", "RS256 signs with an RSA key",
     "\"alg\": \"ES256\""},
    {"\"rsa.pem\"", "@\"ec.jwk\"", "$.agents.agent1.auth.key_file", "RS256 signs with an RSA key",
     "\"alg\": \"ES256\""},
    {"\"rsa.pem\"", "@\"rsa.pem\", \"alg\": \"ES256\"", "$.agents.agent1.auth.key_file",
     "ES256 signs with a P-256 key", "\"alg\": \"RS256\""},
    {"\"rsa.pem\"", "@\"p384.pem\", \"alg\": \"ES256\"", "$.agents.agent1.auth.key_file",
     "ES256 signs with a P-256 key", "\"alg\": \"ES384\""},
    {"\"rsa.pem\"", "@\"p384.jwk\", \"alg\": \"ES256\"", "$.agents.agent1.auth.key_file",
     "ES256 signs with a P-256 key", "\"alg\": \"ES384\""},
    {"\"rsa.pem\"", "@\"ed25519.pem\", \"alg\": \"PS512\"", "$.agents.agent1.auth.key_file",
     "PS512 signs with an RSA key", "\"alg\": \"EdDSA\""},
    {"\"rsa.pem\"", "@\"ec.pem\", \"alg\": \"ES512\"", "$.agents.agent1.auth.key_file",
     "ES512 signs with a P-521 key", ""},
    {"\"rsa.pem\"", "@\"short.jwk\", \"alg\": \"EdDSA\"", "$.agents.agent1.auth.key_file",
     "not 32 bytes in base64url", ""},
    {"\"rsa.pem\"", "@\"k256.pem\"", "$.agents.agent1.auth.key_file", "RS256 signs with an RSA key",
     "keygen"},
    {"\"rsa.pem\"", "\"rsa.pem\", \"alg\": @\"HS256\"", "$.agents.agent1.auth.alg",
     "signs with a secret, and the method has a key", "\"RS256\""},
    {AUTH, AUTH ", @\"secret_file\": \"secret\"", "$.agents.agent1.auth.secret_file",
     "\"private_key_jwt\" has no \"secret_file\"", NULL},

    /* the other key */
    {KEY_FILE, KEY_FILE ", \"next\": {" KEY_FILE_2 ", \"kid\": @\"k1\"}",
     "$.agents.agent1.auth.next.kid", "the other key has the same kid", "id of its own"},
    {KEY_FILE, KEY_FILE ", \"next\": @{" KEY_FILE_2 "}", "$.agents.agent1.auth.next",
     "\"kid\" and \"cert_file\" is missing", ""},
    {KEY_FILE, KEY_FILE ", \"next\": @{\"kid\": \"k2\"}", "$.agents.agent1.auth.next",
     "one of the keys \"key_file\" and \"key\" is missing", ""},
    {KEY_FILE, KEY_FILE ", \"next\": {\"key_file\": @\"ec.pem\", \"kid\": \"k2\"}",
     "$.agents.agent1.auth.next.key_file", "RS256 signs with an RSA key", "ES256"},
    {KEY_FILE, KEY_FILE ", \"next\": {" KEY_FILE_2 ", \"kid\": \"k2\", \"alg\": @\"HS256\"}",
     "$.agents.agent1.auth.next.alg", "", ""},

    /* agents and their secrets */
    {AUTH, BASIC, "$.agents.agent1.auth",
     "one of the keys \"secret_file\" and \"secret\" is missing", ""},
    {AUTH, BASIC ", \"secret_file\": \"secret\", @\"secret\": {\"env\": \"TEST_KEY\"}",
     "$.agents.agent1.auth.secret", "exclude each other", ""},
    {AUTH, BASIC ", \"secret\": @\"hunter2\"", "$.agents.agent1.auth.secret",
     "an object is wanted here, not a string", NULL},
    {AUTH, BASIC ", \"secret_file\": \"secret\", @\"kid\": \"k1\"", "$.agents.agent1.auth.kid",
     "\"client_secret_basic\" has no \"kid\"", "leave it out"},
    {AUTH, BASIC ", \"secret_file\": \"secret\", @\"alg\": \"HS256\"", "$.agents.agent1.auth.alg",
     "\"client_secret_basic\" has no \"alg\"", "signs nothing"},
    {AUTH, BASIC ", \"secret_file\": \"secret\", @\"key_file\": \"rsa.pem\"",
     "$.agents.agent1.auth.key_file", "\"client_secret_basic\" has no \"key_file\"", NULL},
    {AUTH, BASIC ", \"secret_file\": @\"nowhere\"", "$.agents.agent1.auth.secret_file",
     "cannot be found", NULL},
    {AUTH, BASIC ", \"secret_file\": @\"open.secret\"", "$.agents.agent1.auth.secret_file",
     "others than its owner", "chmod 600"},
    {AUTH, BASIC ", \"secret_file\": @\"empty.secret\"", "$.agents.agent1.auth.secret_file",
     "the secret is empty", NULL},
    {AUTH, BASIC ", \"secret_file\": @\"lines.secret\"", "$.agents.agent1.auth.secret_file",
     "a character that no client secret has", "on one line"},
    {AUTH, BASIC ", \"secret\": {\"env\": @\"TEST_NO_SUCH_SECRET\"}",
     "$.agents.agent1.auth.secret.env", "not set", ""},
    {AUTH, "\"method\": \"client_secret_jwt\", \"secret_file\": \"secret\", \"alg\": @\"RS256\"",
     "$.agents.agent1.auth.alg", "signs with a key, and the method has a secret", "\"HS256\""},
    {AUTH, "\"method\": \"client_secret_jwt\", \"secret_file\": @\"short.secret\"",
     "$.agents.agent1.auth.secret_file", "shorter than the 32 bytes", "longer one"},
    {AUTH, "\"method\": \"client_secret_jwt\", \"alg\": \"HS512\", \"secret_file\": @\"secret\"",
     "$.agents.agent1.auth.secret_file", "shorter than the 64 bytes", "longer one"},
    {AUTH, "\"method\": \"none\", @\"secret_file\": \"secret\"", "$.agents.agent1.auth.secret_file",
     "\"none\" has no \"secret_file\"", "proves nothing"},
    {ORG, "{\"issuer\": \"https://example.okta.com\", \"assertion_typ\": @\"jwt\"}",
     "$.authorization_servers.org.assertion_typ", "", "\"JWT\""},
    {ORG, "{\"issuer\": \"https://example.okta.com\", \"quota\": @{\"warn_at\": \"80%\"}}",
     "$.authorization_servers.org.quota", "\"exchanges_per_user_month\" is missing", ""},
    {ORG, QUOTA("@0, \"warn_at\": \"80%\""),
     "$.authorization_servers.org.quota.exchanges_per_user_month", "from 1 to", ""},
    {ORG, QUOTA("3, \"warn_at\": @\"101%\""), "$.authorization_servers.org.quota.warn_at",
     "not a percentage", "\"1%\" to \"100%\""},
    {"\"rsa.pem\"", "@\"public.jwk\", \"alg\": \"ES256\"", "$.agents.agent1.auth.key_file",
     "no private part", "not the public one"},
    {"\"rsa.pem\"", "@\"broken.jwk\"", "$.agents.agent1.auth.key_file",
     "neither PEM nor valid JSON", ""},
    {"\"rsa.pem\"", "@\"set.jwk\"", "$.agents.agent1.auth.key_file", "a set of keys", ""},
    {"\"rsa.pem\"", "@\"empty.pem\"", "$.agents.agent1.auth.key_file", "the file is empty", ""},
    {"\"rsa.pem\"", "@\"encrypted.pem\"", "$.agents.agent1.auth.key_file", "encrypted", ""},
    {"\"rsa.pem\"", "@\"-----BEGIN PRIVATE KEY-----hunter2\"", "$.agents.agent1.auth.key_file",
     "the content of a key file", "a file of its own"},
    {"\"key_file\": \"rsa.pem\"", "\"key\": {\"env\": @\"TEST_NO_SUCH_KEY\"}",
     "$.agents.agent1.auth.key.env", "not set", ""},
    {"\"key_file\": \"rsa.pem\"", "\"key\": {\"env\": @\"not a name\"}",
     "$.agents.agent1.auth.key.env", "not the name of an environment variable", ""},
    {"\"authorization_server\": \"org\"\n",
     "\"authorization_server\": \"org\", \"registrations\": {\"custmo\": @{\"client_id\": \"x\", "
     "\"auth\": {\"method\": \"private_key_jwt\", " KEY_FILE "}}}\n",
     "$.agents.agent1.registrations.custmo", "there is no authorization server",
     "did you mean \"custom\"?"},

    /* connections */
    {URL, "@\"ftp://agent2.example.com\"", "$.connections[0].url", "begins neither", ""},
    {URL, "[" URL ", @\"https://a.example/../b\"]", "$.connections[0].url[1]", "dot segment", ""},
    {URL, "@\"https://agent2.example.com/a2a/?x=1\"", "$.connections[0].url", "no query", ""},
    {URL, "[" URL ", @" URL "]", "$.connections[0].url[1]", "stands here twice", ""},
    {URL, "@\"http://127.0.0.1:9001/\"", "$.connections[0].url", "named in egress.allow",
     "add \"127.0.0.1:9001\""},
    {URL, "@\"http://[::1]:9001/\"", "$.connections[0].url", "named in egress.allow",
     "add \"[::1]:9001\""},
    {"\"authorization_server\": \"custom\"", "\"authorization_server\": @\"costum\"",
     "$.connections[0].authorization_server", "there is no authorization server",
     "did you mean \"custom\"?"},
    {"\"agents\": [\"agent1\"]", "\"agents\": [\"agent1\", @\"agent3\"]",
     "$.connections[0].agents[1]", "there is no agent of this name", "agent1"},
    {"\"agents\": [\"agent1\"]", "\"agents\": [\"agent1\", @\"agent1\"]",
     "$.connections[0].agents[1]", "twice", ""},
    {SCOPES, "\"scopes\": [\"chat.read\", @\"openid\"]", "$.connections[0].scopes[1]",
     "the system scope \"openid\"", "leave it out"},
    {SCOPES, "\"scopes\": [@\"chat.read chat.history\"]", "$.connections[0].scopes[0]",
     "a scope holds no space", "its own string"},
    {SCOPES, "\"scopes\": [@\"a\\\\b\"]", "$.connections[0].scopes[0]", "visible ASCII", ""},
    {SCOPES, "\"scopes\": [\"a\", @\"a\"]", "$.connections[0].scopes[1]", "twice", ""},
    {SCOPES, SCOPES ", \"second_leg_scopes\": [\"chat.read\", @\"chat.write\"]",
     "$.connections[0].second_leg_scopes[1]", "the first did not", "\"scopes\""},
    {TYPE, TYPE ", \"public\": [@\"card.json\"]", "$.connections[0].public[0]", "begins with '/'",
     ""},
    {TYPE, TYPE ", \"public\": [@\"/a?b\"]", "$.connections[0].public[0]", "percent-encoded", ""},
    {UNMATCHED, "\"unmatched\": [{\"url\": @\"nonsense\", \"action\": \"deny\"}]",
     "$.unmatched[0].url", "begins neither", ""},
    {UNMATCHED, "\"egress\": {\"allow\": [@\"10.1.2.3/16\"]}", "$.egress.allow[0]",
     "bits beyond the prefix", ""},
    {UNMATCHED, "\"egress\": {\"allow\": [@\"10.0.0.0/33\"]}", "$.egress.allow[0]", "prefix", ""},
    {UNMATCHED, "\"egress\": {\"allow\": [@\"localhost\"]}", "$.egress.allow[0]", "neither", ""},
    {UNMATCHED, "\"cache\": {\"margin\": @\"1h\"}", "$.cache.margin", "no credential", ""},
};

static char *folder;

/* The good file with one place replaced; the mark's line and column, 0 where there is none. */
static char *spoil(const struct mistake_case *c, unsigned *ret_line, unsigned *ret_column)
{
    const char *at = c->find == good ? good : strstr(good, c->find);
    size_t find_len = strlen(c->find);
    char *text;
    assert_non_null(at);
    assert_true(asprintf(&text, "%.*s%s%s", (int)(at - good), good, c->replace, at + find_len) > 0);
    *ret_line = *ret_column = 0;
    char *mark = strchr(text, '@');
    if (mark == NULL)
        return text;
    *ret_line = *ret_column = 1;
    for (const char *i = text; i < mark; i++) {
        *ret_column = *i == '\n' ? 1 : *ret_column + 1;
        *ret_line += *i == '\n';
    }
    memmove(mark, mark + 1, strlen(mark));
    return text;
}

static void test_cases(void **state)
{
    unsigned failed = 0;
    for (size_t i = 0; i < TH_COUNT_OF(cases); i++) {
        const struct mistake_case *c = &cases[i];
        struct th_config_mistakes mistakes;
        struct th_config *config = NULL;
        unsigned line, column;
        char *text = spoil(c, &line, &column);
        int r = th_config_load_text(th_str_of(text), folder, &config, &mistakes);
        const struct th_config_mistake *m = mistakes.items;
        if (r != TH_E_CONFIG || mistakes.count != 1 || m == NULL || strcmp(m->path, c->path) != 0 ||
            strstr(m->what, c->what) == NULL ||
            (c->mend != NULL && strstr(m->mend, c->mend) == NULL) ||
            (line != 0 && (m->line != line || m->column != column)) || m->line == 0) {
            th_config_mistakes_print(&mistakes, "file", stderr);
            print_error("case %zu: %s\nwanted 1 mistake at %u:%u %s: %s; %s\n\n", i, c->replace,
                        line, column, c->path, c->what, c->mend);
            failed++;
        }
        /* what stands where a secret may have been put by mistake is never repeated */
        for (size_t j = 0; j < mistakes.count; j++) {
            assert_null(strstr(mistakes.items[j].what, "hunter2"));
            assert_null(strstr(mistakes.items[j].mend, "hunter2"));
        }
        assert_null(config);
        th_config_mistakes_fini(&mistakes);
        free(text);
    }
    assert_int_equal(failed, 0);
}

/* All at once, in the file's order. */
static void test_all_mistakes(void **state)
{
    static const char text[] = "{\n"
                               "  \"workers\": -1,\n"
                               "  \"liteners\": [],\n"
                               "  \"authorization_servers\": {\n"
                               "    \"a\": {\"issuer\": 7}\n"
                               "  },\n"
                               "  \"agents\": {\"x\": {\"client_id\": \"c\"}}\n"
                               "}\n";
    static const struct {
        unsigned line, column;
        const char *path, *what;
    } wanted[] = {
        {1, 1, "$", "the key \"listeners\" is missing"},
        {2, 14, "$.workers", "out of range"},
        {3, 3, "$.liteners", "unknown key \"liteners\""},
        {5, 21, "$.authorization_servers.a.issuer", "not a number"},
        {7, 19, "$.agents.x", "the key \"auth\" is missing"},
        {7, 19, "$.agents.x", "the key \"authorization_server\" is missing"},
    };
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    assert_int_equal(th_config_load_text(th_str_of(text), folder, &config, &mistakes), TH_E_CONFIG);
    assert_int_equal(mistakes.count, TH_COUNT_OF(wanted));
    for (size_t i = 0; i < TH_COUNT_OF(wanted); i++) {
        assert_int_equal(mistakes.items[i].line, wanted[i].line);
        assert_int_equal(mistakes.items[i].column, wanted[i].column);
        assert_string_equal(mistakes.items[i].path, wanted[i].path);
        assert_non_null(strstr(mistakes.items[i].what, wanted[i].what));
    }
    th_config_mistakes_fini(&mistakes);
}

static void test_r9_ties(void **state)
{
    static const struct {
        const char *first, *second;
        bool tie;
    } rows[] = {
        {"https://a.example/x", "https://a.example/x", true},
        {"https://A.Example", "https://a.example:443/", true},
        {"https://[fd00:0::1]:7/", "https://[FD00::1]:7", true},
        {"https://*.example/x", "https://*.EXAMPLE/x", true},
        {"https://a.example/x", "https://a.example/X", false},
        {"https://a.example/x", "https://a.example/x/", false},
        {"https://a.example/", "http://a.example/", false},
        {"https://a.example/", "https://a.example:8443/", false},
        {"https://*.example/", "https://example/", false},
    };
    static const char format[] =
        "{\"name\": \"%s\", \"url\": \"%s\", \"type\": \"authorization_server\", "
        "\"agents\": [\"agent1\"], \"authorization_server\": \"custom\"}";
    for (size_t i = 0; i < TH_COUNT_OF(rows); i++) {
        const char *at = strstr(good, "    {\"name\": \"agent2\"");
        const char *end = strstr(good, "\n  ],\n  \"unmatched\"");
        struct th_config_mistakes mistakes;
        struct th_config *config = NULL;
        char *one, *two, *text;
        assert_true(asprintf(&one, format, "one", rows[i].first) > 0);
        assert_true(asprintf(&two, format, "two", rows[i].second) > 0);
        assert_true(asprintf(&text, "%.*s%s,\n%s%s", (int)(at - good), good, one, two, end) > 0);
        int r = th_config_load_text(th_str_of(text), folder, &config, &mistakes);
        const struct th_config_mistake *tie = NULL;
        for (size_t j = 0; j < mistakes.count; j++) {
            if (strstr(mistakes.items[j].what, "the same pattern") != NULL)
                tie = &mistakes.items[j];
        }
        if (rows[i].tie) {
            assert_int_equal(r, TH_E_CONFIG);
            assert_non_null(tie);
            assert_non_null(strstr(tie->what, "\"one\" and \"two\""));
            assert_string_equal(tie->path, "$.connections[1].url");
        } else {
            assert_int_equal(r, 0);
        }
        th_config_unref(config);
        th_config_mistakes_fini(&mistakes);
        free(one);
        free(two);
        free(text);
    }
}

static void test_cap(void **state)
{
    char text[4096] = "{";
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    for (int i = 0; i < 150; i++)
        sprintf(text + strlen(text), "%s\"qqqqqqqq%d\": 0", i > 0 ? "," : "", i);
    strcat(text, "}");
    assert_int_equal(th_config_load_text(th_str_of(text), folder, &config, &mistakes), TH_E_CONFIG);
    assert_int_equal(mistakes.count, 100);
    assert_int_equal(mistakes.left_out, 53); /* three keys are missing too */
    th_config_mistakes_fini(&mistakes);
}

static void test_print(void **state)
{
    char *printed = NULL;
    size_t len;
    struct th_config_mistakes mistakes;
    struct th_config *config = NULL;
    assert_int_equal(
        th_config_load_text(TH_STR("{\n \"a\xc2\x9b\": 1,}"), folder, &config, &mistakes),
        TH_E_CONFIG);
    FILE *out = open_memstream(&printed, &len);
    th_config_mistakes_print(&mistakes, "x.jsonc", out);
    fclose(out);
    assert_string_equal(printed, "x.jsonc:2:9: $: a comma stands before the closing bracket; "
                                 "remove it: trailing commas are not allowed\n");
    free(printed);
    th_config_mistakes_fini(&mistakes);
    /* control characters of a key do not reach a terminal */
    assert_int_equal(th_config_load_text(TH_STR("{\"a\xc2\x9b\": 1}"), folder, &config, &mistakes),
                     TH_E_CONFIG);
    for (size_t i = 0; i < mistakes.count; i++) {
        assert_null(strstr(mistakes.items[i].what, "\xc2\x9b"));
        assert_null(strstr(mistakes.items[i].path, "\xc2\x9b"));
    }
    th_config_mistakes_fini(&mistakes);
}

/* The second certificate of a file breaks off. */
static void append_half_certificate(const char *name)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", file);
    fclose(file);
}

static int make_folder(void **state)
{
    static const char jwk[] = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"a\",\"y\":\"b\"}";
    folder = test_folder_new();
    test_write_pem(folder, "rsa.pem", 2048, NULL);
    test_write_pem(folder, "small.pem", 1024, NULL);
    test_write_jwk(folder, "small.jwk", 1024, NULL);
    test_write_pem(folder, "ec.pem", 0, "P-256");
    test_write_jwk(folder, "ec.jwk", 0, "P-256");
    test_write_pem(folder, "p384.pem", 0, "P-384");
    test_write_jwk(folder, "p384.jwk", 0, "P-384");
    test_write_public_pem(folder, "public.pem", 2048);
    test_write_file(folder, "public.jwk", jwk, 0600);
    test_write_file(folder, "broken.jwk", "{\"kty\":\"RSA\",", 0600);
    test_write_file(folder, "set.jwk", "{\"keys\":[]}", 0600);
    test_write_file(folder, "empty.pem", "\n", 0600);
    test_write_file(folder, "open.pem", "x", 0644);
    test_write_pem(folder, "k256.pem", 0, "secp256k1");
    test_write_ed25519(folder, "ed25519.pem");
    test_write_file(folder, "short.jwk",
                    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"AAAA\",\"x\":\"AAAA\"}", 0600);
    test_write_file(folder, "secret", "0123456789abcdef0123456789abcdef\n", 0600);
    test_write_file(folder, "short.secret", "0123456789abcdef0123456789abcde\n", 0600);
    test_write_file(folder, "empty.secret", "\n", 0600);
    test_write_file(folder, "lines.secret", "hunter2\r\n", 0600);
    test_write_file(folder, "open.secret", "hunter2", 0644);
    test_write_certificate(folder, "half.pem");
    append_half_certificate("half.pem");
    test_write_encrypted_pem(folder, "encrypted.pem");
    setenv("TEST_KEY", "x", 1);
    return 0;
}

static int remove_folder(void **state)
{
    test_folder_remove(folder);
    assert_int_equal(th_secret_bytes_held(), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),   cmocka_unit_test(test_all_mistakes),
        cmocka_unit_test(test_r9_ties), cmocka_unit_test(test_cap),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
