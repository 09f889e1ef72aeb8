"""Checks config/tokenhop.schema.json: that it is a JSON Schema, that every example in config/ fits
it, that it refuses what the loader refuses, and that it and docs/configuration.md are what
tokenhop-config-docs writes.

usage: check_schema.py SOURCE_ROOT TOKENHOP_CONFIG_DOCS
"""
import copy
import json
import pathlib
import re
import subprocess
import sys

import jsonschema

COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.S)


def read_jsonc(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(COMMENT.sub(lambda m: m[0] if m[0].startswith('"') else " ", text))


def set_at(document, path, value):
    """A copy of the document with one value replaced; None removes it."""
    document = copy.deepcopy(document)
    at = document
    for step in path[:-1]:
        at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return document


# a connection whose one leg goes to the agent's own server
ONE_LEG = {"name": "x", "url": "https://x.example/", "type": "service_account", "agents": ["agent1"],
           "resource": "an administrator's own string"}

STATIC = {"name": "x", "url": "https://x.example/", "type": "static", "agents": ["agent1"]}
PASSTHROUGH = dict(STATIC, type="passthrough")

# what an editor must underline: (path, value)
REFUSED = [
    (["nonsense"], 1),
    (["policy"], [{"connection": "agent2"}]),
    (["policy"], [{"action": "permit"}]),
    (["policy"], [{"action": "allow", "methods": []}]),
    (["policy"], [{"action": "allow", "require": {"claim": "groups"}}]),
    (["policy"], [{"action": "allow", "require": [{"claim": "groups", "equals": 1.5}]}]),
    (["policy"], [{"action": "allow", "time": {"zone": "UTC"}}]),
    (["policy"], [{"action": "allow", "actors": {}}]),
    (["policy_mode"], "off"),
    (["listeners"], []),
    (["listeners"], None),
    (["listeners", 0, "mode"], "transparant"),
    (["authorization_servers", "a b"], {"issuer": "https://example.okta.com"}),
    (["authorization_servers", "org", "issuer"], "example.okta.com"),
    (["agents", "agent1", "auth", "key_file"], None),
    (["agents", "agent1", "auth", "key"], {"env": "KEY"}),
    (["agents", "agent1", "auth", "kid"], ""),
    (["agents", "agent1", "auth", "alg"], "none"),
    (["agents", "agent1", "auth", "kid"], None),
    (["agents", "agent1", "auth", "secret_file"], "s"),
    (["agents", "agent1", "auth", "method"], "client_secret_post"),
    (["agents", "agent1", "auth", "next"], {"key_file": "n.pem"}),
    (["agents", "agent1", "auth", "next"], {"key_file": "n.pem", "kid": "k2", "alg": "HS256"}),
    (["agents", "agent1", "auth"], {"method": "client_secret_basic"}),
    (["agents", "agent1", "auth"], {"method": "client_secret_basic", "secret": "inline"}),
    (["agents", "agent1", "auth"], {"method": "client_secret_post", "secret_file": "s", "secret": {"env": "S"}}),
    (["agents", "agent1", "auth"], {"method": "client_secret_post", "secret_file": "s", "alg": "HS256"}),
    (["agents", "agent1", "auth"], {"method": "none", "kid": "k1"}),
    (["connections", 0, "url"], []),
    (["connections", 0, "url"], "agent2.example.com"),
    (["connections", 0, "type"], "static"),
    (["connections", 0, "type"], "passthrough"),
    (["connections", 0, "value_file"], "api.key"),
    (["connections", 0], STATIC),
    (["connections", 0], dict(STATIC, value_file="a", value={"env": "A"})),
    (["connections", 0], dict(STATIC, value_file="a", values={"a": {"file": "a"}})),
    (["connections", 0], dict(STATIC, value_file="a", without_subject="refuse")),
    (["connections", 0], dict(STATIC, values={})),
    (["connections", 0], dict(STATIC, values={"a": {}})),
    (["connections", 0], dict(STATIC, values={"a": {"file": "a", "env": "A"}})),
    (["connections", 0], dict(STATIC, values={"a": "inline"})),
    (["connections", 0], dict(PASSTHROUGH, value_file="a")),
    (["connections", 0], dict(PASSTHROUGH, inject={"scheme": "bearer"})),
    (["connections", 0], dict(PASSTHROUGH, subject={"from": "authorization"})),
    (["connections", 0, "subject"], {"from": "file"}),
    (["connections", 0, "subject"], {"from": "file", "file": "t", "name": "X"}),
    (["connections", 0, "subject"], {"from": "header", "file": "t", "name": "X"}),
    (["connections", 0, "type"], "secret"),
    (["connections", 0, "resource"], None),
    (["connections", 0, "authorization_server"], None),
    (["connections", 0, "inject"], {}),
    (["connections", 0, "inject"], {"header": "X-Api-Key"}),
    (["connections", 0, "inject"], {"template": "{api_key}"}),
    (["connections", 0, "inject"], {"header": "X Key", "template": "{api_key}"}),
    (["connections", 0, "inject"], {"header": "X-Api-Key", "template": "{api_key"}),
    (["connections", 0, "inject"], {"header": "X-Api-Key", "template": "k-123"}),
    (["connections", 0, "inject"], {"scheme": "bearer", "header": "X", "template": "{a}"}),
    (["connections", 0], dict(ONE_LEG, scopes=["a"])),
    (["connections", 0], dict(ONE_LEG, audience="api://x")),
    (["connections", 0], dict(ONE_LEG, authorization_server="org")),
    (["connections", 0], dict(ONE_LEG, type="secret")),
    (["connections", 0, "scopes"], ["chat read"]),
    (["connections", 0, "scopes"], "chat.read"),
    (["connections", 0, "public"], ["card.json"]),
    (["unmatched"], "allow"),
    (["unmatched"], [{"url": "https://example.com"}]),
    (["egress", "allow"], ["example.com"]),
    (["timeouts", "head"], 15),
    (["timeouts", "head"], "15"),
    (["timeouts", "head"], "015s"),
    (["limits", "head"], "64KB"),
    (["limits", "fields"], 5),
    (["workers"], -1),
    (["workers"], 1.5),
]
ACCEPTED = [
    (["agents", "agent1", "auth", "alg"], "PS384"),
    (["agents", "agent1", "auth", "next"], {"key": {"env": "NEXT"}, "kid": "k2", "alg": "EdDSA"}),
    (["agents", "agent1", "auth"], {"method": "client_secret_basic", "secret_file": "s"}),
    (["agents", "agent1", "auth"], {"method": "client_secret_jwt", "secret": {"env": "S"}, "alg": "HS512"}),
    (["agents", "agent1", "auth"], {"method": "none"}),
    (["connections", 0, "url"], ["https://*.example.com:8443/a/", "http://[::1]:80"]),
    (["connections", 0, "subject", "type"], "id_token"),
    (["connections", 0, "inject"], {"header": "X-Api-Key", "template": "a {{ {b} }} {c-d.e_1}"}),
    (["connections", 0, "inject"], {"scheme": "bearer"}),
    (["connections", 0], ONE_LEG),
    (["connections", 0], dict(ONE_LEG, type="resource_server")),
    (["connections", 0], dict(ONE_LEG, type="secret", inject={"scheme": "basic"})),
    (["connections", 0], dict(STATIC, value_file="a", public=[])),
    (["connections", 0], dict(STATIC, value={"env": "A"})),
    (["connections", 0], dict(STATIC, values={"a": {"file": "a"}, "b": {"env": "B"}},
                              inject={"header": "X", "template": "{a}:{b}"})),
    (["connections", 0], dict(PASSTHROUGH, without_subject="forward", cookies="drop")),
    (["connections", 0, "subject"], {"from": "file", "file": "t"}),
    (["unmatched"], "forward"),
    (["unmatched"], [{"url": "https://example.com", "action": "deny"}]),
    (["egress", "allow"], ["10.1.0.0/16", "127.0.0.1:9001", "[::1]:80", "fd00::/8"]),
    (["timeouts", "head"], "250ms"),
    (["limits", "head"], "64KiB"),
    (["log", "access_file"], ""),
    (["workers"], 0),
]


def main():
    root, docs = pathlib.Path(sys.argv[1]), sys.argv[2]
    failed = 0

    def check(ok, what):
        nonlocal failed
        if not ok:
            failed += 1
            print(f"FAILED: {what}")

    for kind, name in (("schema", "config/tokenhop.schema.json"),
                       ("reference", "docs/configuration.md")):
        written = subprocess.run([docs, kind], check=True, capture_output=True).stdout
        check((root / name).read_bytes() == written,
              f"{name} is not current: {docs} {kind} > {name}")

    schema = json.loads((root / "config/tokenhop.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    examples = sorted((root / "config").glob("*.jsonc"))
    check(len(examples) >= 2, "there are no examples")
    for path in examples:
        for error in validator.iter_errors(read_jsonc(path)):
            check(False, f"{path.name}: {error.json_path}: {error.message}")

    good = read_jsonc(root / "config/okta-agent-to-agent.jsonc")
    for path, value in REFUSED:
        check(not validator.is_valid(set_at(good, path, value)), f"accepted: {path} = {value}")
    for path, value in ACCEPTED:
        check(validator.is_valid(set_at(good, path, value)), f"refused: {path} = {value}")

    # defaults fit their own schemas
    for section in [schema, *schema["$defs"].values()]:
        for key, value in section["properties"].items():
            if "default" in value:
                check(validator.evolve(schema={**value, "$defs": schema["$defs"]})
                      .is_valid(value["default"]), f"default of {key} does not fit")
            check("description" in value, f"{key} is not documented")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
