"""HAProxy itself as a data plane that asks what to send: deploy/haproxy as it is, but for its addresses."""

import json

import pytest

import harness
from harness import free_port
from rawnet import Connection

FOLDER = harness.SOURCE / "deploy" / "haproxy"


@pytest.fixture
def haproxy(tmp_path, beside):
    """haproxy(hop, origin, change) -> its port; `change` is given the text of both files."""
    def start(authz_port, destination, change=lambda config, lua: (config, lua)):
        port = free_port()
        config = (FOLDER / "haproxy.cfg").read_text()
        replaced = {
            "/etc/haproxy/tokenhop.lua": str(tmp_path / "tokenhop.lua"),
            "127.0.0.1:8083 agent2.example.com": f"127.0.0.1:{authz_port} {destination}",
            "127.0.0.1:8088": f"127.0.0.1:{port}",
            "set-header Host agent2.example.com": f"set-header Host {destination}",
            "agent2.example.com:443 ssl verify required ca-file @system-ca sni str(agent2.example.com) verifyhost agent2.example.com": destination,
        }
        for old, new in replaced.items():
            assert config.count(old) == 1, old
            config = config.replace(old, new)
        config, lua = change(config, (FOLDER / "tokenhop.lua").read_text())
        (tmp_path / "haproxy.cfg").write_text(config)
        (tmp_path / "tokenhop.lua").write_text(lua)
        beside(["/usr/sbin/haproxy", "-f", tmp_path / "haproxy.cfg"], port)
        return port

    return start


@pytest.fixture
def plane(sandbox, tokenhop, origin, haproxy):
    """plane(change) -> HAProxy before agent 2, which is a raw origin; .hop is the tokenhop that it asks."""

    def start(change=None, files=lambda config, lua: (config, lua)):
        seen = origin()

        def configure(config):
            config["listeners"][0].update(mode="authz", scheme="http", original="x-original")
            config["connections"][0]["url"] = seen.url("/")
            config["egress"]["allow"].append(seen.address)
            if change:
                change(config)

        seen.hop = tokenhop(configure, alg="ES256")
        seen.haproxy = haproxy(seen.hop.port, seen.address, files)
        return seen

    return start


def ask(plane, token=None, target="/a2a/x?y=1", fields=(), method="GET", body=b"", host="agents.test"):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    with Connection(plane.haproxy) as connection:
        return connection.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body).read(method)


def problem(answer):
    assert answer.get("Content-Type") == "application/problem+json", answer.body
    return json.loads(answer.body)


def test_r11_the_token_is_exchanged(sandbox, plane):
    seen = plane()
    token = sandbox.mint(user="alice")
    assert ask(seen, token).status == 200
    assert ask(seen, token, method="POST", body=b"hello" * 1000).status == 200
    get, post = seen.requests
    assert get.target == "/a2a/x?y=1" and post.body == b"hello" * 1000
    for arrived in (get, post):
        (credential,) = arrived.all("Authorization")
        assert sandbox.whoami(credential.removeprefix("Bearer ")).json()["user"] == "alice"
        assert arrived.all("Host") == [seen.address] and not arrived.get("x-envoy-auth-headers-to-remove")
    assert token.encode() not in seen.bytes and sandbox.exchanges("alice", "agent1-agent2") == 1


def test_r28_refusals_are_passed_on(sandbox, plane):
    """Status, fields and body as tokenhop has made them; and the connection goes on."""
    seen = plane(lambda config: config.update(policy=[{"methods": ["GET", "HEAD"], "action": "allow"}]))
    answer = ask(seen)
    assert answer.status == 401 and problem(answer)["code"] == "subject_token_missing"
    assert answer.get("WWW-Authenticate").startswith("Bearer") and answer.get("Proxy-Status").startswith("tokenhop;")
    token = sandbox.mint(user="alice")
    answer = ask(seen, token, method="POST", body=b"x" * 100)
    assert answer.status == 403 and problem(answer)["code"] == "policy_denied"
    answer = ask(seen, sandbox.mint(user="carol"))
    assert answer.status == 401 and problem(answer)["code"] == "subject_token_invalid"
    sandbox.fault("org_token", "unavailable", count=9, retry_after=7)
    answer = ask(seen, token)
    assert answer.status == 503 and problem(answer)["code"] == "exchange_unavailable" and answer.get("Retry-After")
    assert problem(answer)["trace_id"] and answer.get("Cache-Control") == "no-store"
    answer = ask(seen, method="HEAD")
    assert answer.status == 401 and answer.body == b""
    with Connection(seen.haproxy) as connection:
        for _ in range(2):
            assert connection.send(b"GET /a2a/x HTTP/1.1\r\nHost: agents.test\r\n\r\n").read().status == 401
    assert seen.bytes == b""


def test_r11_nobody_to_ask(sandbox, plane):
    seen = plane()
    seen.hop.stop()
    token = sandbox.mint(user="alice")
    answer = ask(seen, token)
    assert answer.status == 503 and problem(answer)["code"] == "exchange_unavailable"
    assert answer.get("Proxy-Status").startswith("haproxy;") and answer.get("Retry-After")
    assert seen.bytes == b""


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",  # of somebody else, who would permit all
        b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",  # a page to log in at
        b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",  # nobody asks the caller to log in there
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nProxy-Status: tokenhop; x\r\nContent-Length: 0\r\n\r\n",
        b"rubbish\r\n\r\n",
    ],
)
def test_r11_what_is_no_answer_of_tokenhops(sandbox, origin, haproxy, answer):
    other, seen = origin(lambda request: answer), origin()
    seen.haproxy = haproxy(other.port, seen.address)
    refused = ask(seen, sandbox.mint(user="alice"))
    assert refused.status == 503 and problem(refused)["code"] == "exchange_unavailable"
    assert seen.bytes == b"" and other.requests


@pytest.mark.parametrize("guarded", [True, False])
def test_r11_lua_that_fails(sandbox, plane, guarded):
    """HAProxy goes on with the request then: the rule after it refuses; and without that no token goes on either."""

    def change(config, lua):
        assert lua.count("return core.httpclient()") == 1
        rule = "    http-request deny deny_status 503 unless { var(txn.tokenhop) -m str permitted }\n"
        assert config.count(rule) == 1
        return config if guarded else config.replace(rule, ""), lua.replace("return core.httpclient()", "error(txn)")

    seen = plane(files=change)
    token = sandbox.mint(user="alice")
    answer = ask(seen, token, fields=["Proxy-Authorization: Basic eDp5"])
    assert answer.status == (503 if guarded else 200) and len(seen.requests) == (not guarded)
    assert token.encode() not in seen.bytes and b"eDp5" not in seen.bytes


def test_r15_what_a_caller_says_of_the_request_is_not_believed(sandbox, plane):
    seen = plane()
    token = sandbox.mint(user="alice")
    public = "/.well-known/agent-card.json"
    forged = ["X-Original-Host: unknown.test", f"X-Original-URI: {public}", "X-Original-Method: OPTIONS",
              "X-Forwarded-Host: unknown.test", f"X-Forwarded-Uri: {public}", "X-Forwarded-Method: OPTIONS"]  # fmt: skip
    assert ask(seen, fields=forged).status == 401 and seen.bytes == b""
    assert ask(seen, token, fields=forged, host="unknown.test").status == 200
    assert ask(seen, token, target="http://unknown.test/a2a/x?z=2", host="unknown.test").status == 200
    assert [arrived.target for arrived in seen.requests] == ["/a2a/x?y=1", "/a2a/x?z=2"]
    assert all(arrived.all("Host") == [seen.address] for arrived in seen.requests)
    # nor may it say who it is: tokenhop would believe HAProxy
    assert ask(seen, None, fields=["X-Forwarded-Client-Cert: URI=spiffe://example.org/a"]).status == 401
    assert ask(seen, token, target="/a2a/../a2a/x").status == 400
    assert ask(seen, token, fields=["Authorization: Bearer another"]).status in (400, 401)
    assert len(seen.requests) == 2 and token.encode() not in seen.bytes


def test_r18_public_paths_go_without(sandbox, plane):
    seen = plane()
    token = sandbox.mint(user="alice")
    assert ask(seen, token, target="/.well-known/agent-card.json").status == 200
    (arrived,) = seen.requests
    assert not arrived.get("Authorization") and token.encode() not in seen.bytes


def test_r11_subject_token_in_a_field_of_its_own(sandbox, plane):
    def change(config):
        config["connections"][0].update(subject={"from": "header", "name": "X-User-Token"},
                                        inject={"header": "X-Api-Key", "template": "{access_token}"})  # fmt: skip

    def named(config, lua):
        before = "    http-request lua.tokenhop"
        return config.replace(before, f"    http-request set-var(txn.tokenhop_fields) str(X-User-Token)\n{before}"), lua

    seen = plane(change, named)
    token = sandbox.mint(user="alice")
    answer = ask(seen, fields=[f"x-user-token: {token}", "Authorization: Basic eDp5", "DPoP: proof", "X-Api-Key: mine", "X-Api-Key: other"])
    assert answer.status == 200, answer.body
    (arrived,) = seen.requests
    (credential,) = arrived.all("X-Api-Key")
    assert sandbox.whoami(credential).json()["user"] == "alice"
    assert not arrived.get("X-User-Token") and not arrived.get("Authorization") and not arrived.get("DPoP")
    assert ask(seen, target="/.well-known/agent-card.json", fields=[f"x-user-token: {token}", "X-Api-Key: mine"]).status == 200
    assert token.encode() not in seen.bytes and not seen.requests[1].get("X-Api-Key")
