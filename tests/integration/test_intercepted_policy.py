"""Rules over scopes on an intercepted https:// connection, as on a plain one: allowed, denied, in a dry run, and by what
the request at hand asks for."""

import json

import pytest

import harness
from rawnet import response
from test_interception import Inside, inner, intercepting  # noqa: F401  (a fixture)
from tlsnet import TlsOrigin

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "look", "arguments": {}}}


@pytest.fixture
def guarded(sandbox, intercepting, good, tmp_path):  # noqa: F811
    """guarded(rules, **keys) -> call(method, path, body) inside of one intercepted connection: its status and scopes."""
    seen = TlsOrigin(good, lambda r: response(r.get("Authorization").encode()))

    def start(rules, **keys):
        def change(config):
            config["workers"] = 1
            config["policy"] = rules
            config["log"] = {"audit_file": str(tmp_path / "audit.jsonl")}
            next(each for each in config["connections"] if each["name"] == "agent2").update(keys)

        hop = intercepting(seen.port, change=change)
        token = sandbox.mint(user="alice")
        wire = Inside(hop, seen.port)

        def call(method="GET", path="/a2a/x", body=b"", fields=()):
            wire.send(inner(seen.port, token, path, method=method, body=body, fields=fields))
            answer = wire.read()
            if answer.status != 200:
                return answer.status, json.loads(answer.body)["code"]
            return 200, " ".join(sorted(harness.decode(answer.body.decode().removeprefix("Bearer "))[1]["scope"].split()))

        call.seen, call.hop, call.wire = seen, hop, wire
        return call

    yield start
    seen.close()


def decided(call):
    call.wire.__exit__(None, None, None)
    call.hop.stop()
    path = call.hop.config["log"]["audit_file"]
    with open(path) as file:
        lines = [json.loads(line) for line in file]
    return [(line["result"], line.get("rule"), line["scopes"]) for line in lines if line.get("connection") == "agent2"]


READ, ALL = "chat.read", "chat.read chat.history"


def test_scopes_of_the_request_decide(guarded):
    call = guarded(
        [
            {"name": "no-history", "connection": "agent2", "scopes": ["chat.history"], "action": "deny"},
            {"name": "read", "connection": "agent2", "scopes": ["chat.read"], "action": "allow"},
        ],
        scopes_for=[{"methods": ["GET"], "scopes": ["chat.read"]}],
    )
    assert call("GET") == (200, READ)
    assert call("POST") == (403, "policy_denied")
    assert call("GET") == (200, READ)  # the connection inside of the tunnel goes on
    assert len(call.seen.requests) == 2
    assert decided(call) == [("granted", "read", READ), ("denied", "no-history", ALL), ("granted", "read", READ)]


def test_the_body_inside_decides(guarded):
    call = guarded(
        [{"name": "look", "connection": "agent2", "scopes": ["chat.history"], "action": "deny"},
         {"name": "rest", "connection": "agent2", "action": "allow"}],
        scopes_for=[{"tools": ["look"], "scopes": ["chat.read"]}],
    )  # fmt: skip
    typed = ["Content-Type: application/json"]
    assert call("POST", body=json.dumps(CALL).encode(), fields=typed) == (200, READ)
    other = CALL | {"params": {"name": "write"}}
    assert call("POST", body=json.dumps(other).encode(), fields=typed) == (403, "policy_denied")
    assert len(call.seen.requests) == 1 and json.loads(call.seen.requests[0].body) == CALL


def test_a_connections_own_scopes_decide(guarded):
    call = guarded([{"name": "all", "connection": "agent2", "scopes": ["chat.read", "chat.history"], "action": "allow"}])
    assert call("POST") == (200, "chat.history chat.read")
    assert decided(call) == [("granted", "all", ALL)]


def test_what_no_rule_over_scopes_meets_is_denied(guarded):
    call = guarded(
        [{"name": "both", "connection": "agent2", "scopes": ["chat.read", "chat.history"], "action": "allow"}],
        scopes_for=[{"methods": ["GET"], "scopes": ["chat.read"]}],
    )
    assert call("GET") == (403, "policy_denied") and call("POST") == (200, "chat.history chat.read")
    assert decided(call) == [("denied", "(default)", READ), ("granted", "both", ALL)]


def test_a_dry_run_over_scopes_goes_on(guarded):
    call = guarded(
        [{"name": "soon", "connection": "agent2", "scopes": ["chat.history"], "action": "deny", "dry_run": True},
         {"name": "rest", "connection": "agent2", "action": "allow"}],
        scopes_for=[{"methods": ["GET"], "scopes": ["chat.read"]}],
    )  # fmt: skip
    assert call("GET") == (200, READ) and call("POST") == (200, "chat.history chat.read")
    assert decided(call) == [("granted", "rest", READ), ("would_deny", "soon", ALL), ("granted", "rest", ALL)]
