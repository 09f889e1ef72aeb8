"""Scopes by request, end to end: what docs/scopes.md promises, held against the claims that arrive."""

import json
import subprocess

import pytest

import harness
from rawnet import response


@pytest.fixture
def scoped(sandbox, tokenhop, tmp_path):
    """A running tokenhop whose connection "agent2" has these keys besides."""

    def start(change=None, **keys):
        def configure(config):
            config["workers"] = 1
            (agent2,) = [each for each in config["connections"] if each["name"] == "agent2"]
            agent2 |= keys
            config["log"] = {"audit_file": str(tmp_path / "audit.jsonl")}
            if change:
                change(config)

        hop = tokenhop(configure, alg="ES256")
        hop.audit = lambda: [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
        return hop

    return start


READ, ALL = ["chat.read"], ["chat.read", "chat.history"]
A2A = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": {"role": "user", "parts": []}}}


def test_a_read_gets_a_token_that_can_only_read(sandbox, scoped):
    hop = scoped(scopes_for=[{"methods": ["GET"], "scopes": READ}])
    token = sandbox.mint()
    url = sandbox.url("agent2", "/a2a/whoami")
    for _ in range(2):
        assert sorted(hop.get(url, token).json()["scopes"]) == READ
    answer = hop.request("POST", url, token)
    assert sorted(answer.json()["scopes"]) == sorted(ALL)
    assert sandbox.requests("org_token") == 2
    hop.stop()
    assert [(line["scopes"], line["cache"], line["issued_scopes"]) for line in hop.audit()] == [
        ("chat.read", "miss", "chat.read"), ("chat.read", "hit", "chat.read"),
        ("chat.read chat.history", "miss", "chat.read chat.history")]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("pad", [0, 30000])
def test_what_a_call_calls_decides(sandbox, scoped, chunked, pad):
    hop = scoped(scopes_for=[{"rpc_methods": ["message/send"], "scopes": READ}, {"tools": ["look"], "scopes": READ}])
    token = sandbox.mint()
    url = sandbox.url("agent2", "/a2a/whoami")
    look = {"jsonrpc": "2.0", "id": 1, "params": {"arguments": {"q": "x" * pad}, "name": "look"}, "method": "tools/call"}
    write = look | {"params": look["params"] | {"name": "write"}}
    for call, scopes in ((A2A, READ), (look, READ), (write, ALL), (A2A | {"method": "message/stream"}, ALL), ([A2A], ALL)):
        body = json.dumps(call).encode()
        data = iter([body[:50], body[50:]]) if chunked else body
        answer = hop.request("POST", url, token, data=data, headers={"Content-Type": "application/json"})
        assert sorted(answer.json()["scopes"]) == sorted(scopes), call


def test_a_destination_that_wants_more(sandbox, scoped, origin):
    """One exchange more, and the request once more."""
    seen = []

    def answer(request):
        claims = harness.decode(request.get("Authorization").removeprefix("Bearer "))[1]
        seen.append((claims["scope"], request.body))
        if "chat.history" in claims["scope"].split():
            return response(b"done")
        return response(b"no", 403, ['WWW-Authenticate: Bearer error="insufficient_scope", scope="chat.read chat.history"'])

    destination = origin(answer)

    def change(config):
        (agent2,) = [each for each in config["connections"] if each["name"] == "agent2"]
        agent2["url"] = destination.url("/")
        config["egress"]["allow"].append(f"127.0.0.1:{destination.port}")

    hop = scoped(change, scopes=READ, step_up_scopes=["chat.history"])
    token = sandbox.mint()
    for _ in range(2):
        answer = hop.request("POST", destination.url("/x"), token, data=b"hello")
        assert (answer.status_code, answer.text) == (200, "done")
    assert seen == [("chat.read", b"hello"), ("chat.read chat.history", b"hello")] * 2
    assert sandbox.requests("org_token") == 2
    hop.stop()
    assert [(line["scopes"], line["cache"]) for line in hop.audit()] == [
        ("chat.read", "miss"), ("chat.read chat.history", "miss"), ("chat.read", "hit"), ("chat.read chat.history", "hit")]


def test_explain_says_which(sandbox, scoped):
    hop = scoped(scopes_for=[{"methods": ["GET"], "scopes": READ}, {"tools": ["look"], "scopes": READ}],
                 step_up_scopes=["chat.admin"])
    url = sandbox.url("agent2", "/a2a/whoami")

    def ask(*args):
        done = subprocess.run([harness.binary("tokenhop"), "explain", "-c", hop.file, *args, url], capture_output=True, text=True)
        assert done.returncode == 0, done
        return done.stdout

    assert "scopes: chat.read (scopes_for[0])\n" in ask() and "scope: chat.read\n" in ask()
    assert "(step_up_scopes): chat.admin\n" in ask()
    assert "scopes: chat.read chat.history, if its body is no JSON-RPC call" in ask("--method", "POST")
    assert "scopes: chat.read (scopes_for[1])\n" in ask("--method", "POST", "--tool", "look")
    assert "scopes: chat.read chat.history\n" in ask("--method", "POST", "--rpc-method", "message/send")
