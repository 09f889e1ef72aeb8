"""Connections in shadow (docs/shadow.md): requests go on as they came, nobody waits and nobody is refused, and what would
have become of each is one line of the audit log and one count."""

import json
import os
import re
import ssl
import subprocess
import threading
import time

import pytest
import requests

import harness
from harness import ORIGIN, free_port, wait_until
from rawnet import SLOW, Connection, request, response
from test_audit import lines_of
from test_interception import Inside, inner, intercepting  # noqa: F401  (a fixture)
from test_modes import ask
from test_resource_types import CODE, LEDGER, WEATHER
from test_resource_types import connection as vaulted
from test_upgrades import KEY, SWITCH
from tlsnet import Identity, TlsOrigin

PAGE = (harness.SOURCE / "docs" / "shadow.md").read_text()


class Shadowed(harness.Tokenhop):
    def audit(self, count=0):
        """The lines in shadow, once there are so many."""
        path = self.folder / "audit.jsonl"

        def read():
            found = [line for line in lines_of(path) if line.get("shadow")] if path.exists() else []
            return (found or True) if len(found) >= count else None

        found = wait_until(read, 30 * SLOW)
        return [] if found is True else found

    def counts(self, connection="agent2"):
        text = requests.get(f"http://{self.config['admin']['address']}/metrics", timeout=30).text
        found = re.findall(rf'^tokenhop_shadow_requests_total{{connection="{connection}",result="(\w+)"}} (\d+)$', text, re.M)
        return {result: int(count) for result, count in found if count != "0"}

    def metric(self, name):
        text = requests.get(f"http://{self.config['admin']['address']}/metrics", timeout=30).text
        return int(re.search(rf"^{name} (\d+)$", text, re.M)[1])

    def run(self, *args):
        argv = [harness.binary("tokenhop"), *args]
        return subprocess.run(argv, capture_output=True, text=True, cwd=self.folder, timeout=60)


@pytest.fixture
def shadowed(sandbox, tmp_path):
    """shadowed(destination) -> a running tokenhop whose connection agent2 leads there, in shadow."""
    started = []

    def start(destination=None, change=None, shadow="exchange", agents=("agent1",), **keys):
        config = harness.base_config(sandbox, agents, "ES256")
        config["workers"] = 1
        config["log"] = {"audit_file": "audit.jsonl"}
        config["admin"] = {"address": f"127.0.0.1:{free_port()}"}
        (agent2,) = [each for each in config["connections"] if each["name"] == "agent2"]
        if destination is not None:
            agent2["url"] = destination.url("/")
            config["egress"]["allow"].append(destination.address)
        agent2.update({"shadow": shadow, **keys})
        if change:
            change(config)
        folder = tmp_path / f"shadowed{len(started)}"
        folder.mkdir()
        config["log"]["audit_file"] = config["log"]["audit_file"].replace("audit.jsonl", str(folder / "audit.jsonl"))
        started.append(Shadowed(config, folder).start())
        return started[-1]

    yield start
    for hop in started:
        hop.stop()


def agent2(config):
    return next(each for each in config["connections"] if each["name"] == "agent2")


# --- what goes on ---


def test_it_goes_on_as_it_came(sandbox, shadowed, origin):
    seen = origin(lambda r: response(b"x" + r.body, 201, ["Set-Cookie: c=d", "WWW-Authenticate: Bearer"]))
    hop = shadowed(seen, cookies="drop")
    token = sandbox.mint(user="alice")
    fields = {"X-Own": "1", "Cookie": "a=b", "DPoP": "a.proof.of-its-own", "Connection": "X-Hop", "X-Hop": "1",
              "Proxy-Authorization": "Basic YTpi", "Content-Type": "text/plain"}  # fmt: skip
    answer = hop.post(seen.url("/a2a/x?q=%20"), token, headers=fields, data=b"b" * 100_000)
    assert answer.status_code == 201 and answer.content == b"x" + b"b" * 100_000 and answer.headers["Set-Cookie"] == "c=d"
    (came,) = seen.requests
    assert (came.method, came.target, came.body) == ("POST", "/a2a/x?q=%20", b"b" * 100_000)
    assert came.all("Authorization") == [f"Bearer {token}"]
    assert came.get("Cookie") == "a=b" and came.get("DPoP") == "a.proof.of-its-own" and came.get("X-Own") == "1"
    assert not came.all("Proxy-Authorization") and not came.all("X-Hop")
    (line,) = hop.audit(1)
    assert line["result"] == "would_widen" and line["cache"] == "miss" and line["connection"] == "agent2", line
    assert line["widened_scopes"] == line["issued_scopes"] == "chat.read chat.history"  # an ID token has none
    assert line["widened_audience"] == line["issued_audience"] == sandbox.resource("agent2")
    assert [leg["leg"] for leg in line["legs"]] == ["id_jag", "access_token"] and line["issued_until"] and line["issued_jti"]
    assert line["subject_sub"] == harness.decode(token)[1]["sub"] and line["subject_verified"] is True
    assert (line["agent"], line["method"], line["host"]) == ("agent1", "POST", seen.address)
    assert hop.get(seen.url(), token).status_code == 201
    assert hop.audit(2)[1]["cache"] == "hit" and sandbox.exchanges("alice", "agent1-agent2") == 1
    assert hop.counts() == {"would_widen": 2}
    assert [r.get("Authorization") for r in seen.requests] == [f"Bearer {token}"] * 2
    hop.stop()
    access = [json.loads(line) for line in hop.output.splitlines()]
    assert [line["trace_id"] for line in access] == [line["trace_id"] for line in hop.audit()]
    assert [line["status"] for line in access] == [201, 201] and not any("error" in line for line in access)
    assert token.rsplit(".", 1)[1] not in (hop.folder / "audit.jsonl").read_text() + hop.output + hop.stderr


def test_what_would_be_refused_goes_on(sandbox, shadowed, origin):
    seen = origin()
    rules = [{"name": "no-export", "connection": "agent2", "paths": ["/a2a/export"], "action": "deny", "reason": "ask the desk"},
             {"name": "read", "connection": "agent2", "methods": ["GET"], "action": "allow"}]  # fmt: skip
    hop = shadowed(seen, lambda config: config.update(policy=rules))
    alice, carol = sandbox.mint(user="alice"), sandbox.mint(user="carol")
    expired = sandbox.mint(user="alice", expires_in=-600)
    basic = {"Authorization": "Basic YTpi"}
    rows = [
        (("GET", "/a2a/export", alice), ("would_deny", "policy_denied", "no-export", "ask the desk")),
        (("POST", "/a2a/x", alice), ("would_deny", "policy_denied", "(default)", None)),
        (("GET", "/a2a/%65xport", alice), ("would_deny", "bad_request", None, None)),  # a rule that could be read in two ways
        (("GET", "/a2a/x", None), ("would_refuse", "subject_token_missing", "read", None)),
        (("GET", "/a2a/x", basic), ("would_refuse", "subject_token_invalid", "read", None)),
        (("GET", "/a2a/x", expired), ("would_refuse", "subject_token_invalid", "read", None)),
        (("GET", "/a2a/x", carol), ("would_refuse", "subject_token_invalid", "read", None)),
        (("GET", "/a2a/x", alice), ("would_widen", None, "read", None)),
    ]
    for n, ((method, path, how), _) in enumerate(rows, 1):
        fields = how if isinstance(how, dict) else {"Authorization": f"Bearer {how}"} if how else {}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        with Connection(hop.port) as wire:
            wire.send(f"{method} {seen.url(path)} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{head}\r\n".encode())
            assert wire.read().status == 200, (method, path)
        assert seen.requests[-1].target == path and seen.requests[-1].all("Authorization") == list(fields.values())
        hop.audit(n)
    lines = hop.audit()
    for line, ((method, path, _), (result, code, rule, reason)) in zip(lines, rows):
        assert (line["result"], line.get("code")) == (result, code), (path, line)
        assert rule is None or line["rule"] == rule, (path, line)
        assert reason is None or line["reason"] == reason
        assert result == "would_widen" or line["reason"]
    assert lines[0]["subject_sub"] and lines[0]["subject_verified"] is False and lines[6]["oauth_error"] == "invalid_grant"
    assert sandbox.exchanges("alice", "agent1-agent2") == 1  # what is denied costs nothing
    assert hop.counts() == {"would_deny": 3, "would_refuse": 4, "would_widen": 1}


def test_what_is_widened_is_what_the_callers_token_lacks(sandbox, shadowed, origin):
    """Compared with what the caller's own says: scope, scp, aud."""
    seen = origin()
    hop = shadowed(seen, subject={"verify": False, "type": "id_token"})
    rows = [
        ({"scope": "chat.history x chat.read"}, None),
        ({"scp": ["chat.read", "chat.history"]}, None),
        ({"scp": "chat.read x", "scope": "chat.history"}, None),
        ({"scp": ["chat.read", 1, None]}, "chat.history"),
        ({"scope": "chat.reader  xchat.history"}, "chat.read chat.history"),
        ({"scope": {"chat.read": True}, "scp": 7}, "chat.read chat.history"),
    ]
    for n, (claims, scopes) in enumerate(rows, 1):
        hop.get(seen.url(), sandbox.mint(user="alice", claims=claims))
        line = hop.audit(n)[-1]
        assert (line["result"], line.get("widened_scopes")) == ("would_widen", scopes), (claims, line)
        assert line["widened_audience"] == sandbox.resource("agent2")  # an ID token is for its client


def test_policy_alone_asks_nobody(sandbox, shadowed, origin):
    seen = origin()
    rules = [{"connection": "agent2", "methods": ["GET"], "action": "allow"}]
    hop = shadowed(seen, lambda config: config.update(policy=rules), shadow="policy")
    token = sandbox.mint(user="alice")
    for method in ("GET", "POST"):
        assert hop.request(method, seen.url(), token).status_code == 200
    allowed, denied = hop.audit(2)
    assert allowed["result"] == "would_exchange" and allowed["widened_scopes"] == "chat.read chat.history"
    assert "error" not in allowed and denied["result"] == "would_deny"
    assert sandbox.requests("org_token") == 0 and all(r.get("Authorization") == f"Bearer {token}" for r in seen.requests)


def test_the_dry_run_of_a_rule_is_a_line_of_its_own(sandbox, shadowed, origin):
    seen = origin()
    rules = [{"name": "soon", "connection": "agent2", "action": "deny", "dry_run": True}]
    hop = shadowed(seen, lambda config: config.update(policy=rules), shadow="policy")
    assert hop.get(seen.url(), sandbox.mint()).status_code == 200
    hop.audit(1)
    lines = lines_of(hop.folder / "audit.jsonl")
    assert [(line["result"], line.get("shadow"), line.get("rule")) for line in lines] == [
        ("would_deny", None, "soon"), ("would_exchange", True, None)]  # fmt: skip


# --- nobody waits, nobody is refused ---


def test_nobody_waits_for_the_server(sandbox, shadowed, origin):
    seen = origin()
    hop = shadowed(seen, lambda config: config.update(timeouts={"exchange": f"{2 * SLOW:.0f}s"}))
    sandbox.fault("org_token", "hang", count=-1)
    token = sandbox.mint()
    began = time.monotonic()
    for _ in range(3):
        assert hop.get(seen.url(), token).status_code == 200
    assert time.monotonic() - began < 2 * SLOW and hop.audit() == []
    lines = hop.audit(3)
    assert {(line["result"], line["code"]) for line in lines} == {("would_refuse", "exchange_timeout")}
    assert hop.metric("tokenhop_exchanges_started_total") == 1  # one for all three


@pytest.mark.parametrize("kind, code", [("unavailable", "exchange_unavailable"), ("garbage_json", "exchange_failed")])
def test_nobody_is_refused_for_the_server(sandbox, shadowed, origin, kind, code):
    seen = origin()
    hop = shadowed(seen)
    sandbox.fault("org_token", kind, count=-1)
    assert hop.get(seen.url(), sandbox.mint()).status_code == 200
    (line,) = hop.audit(1)
    assert (line["result"], line["code"]) == ("would_refuse", code)


def test_nobody_is_refused_for_the_audit_log(sandbox, shadowed, origin):
    seen = origin()
    change = lambda config: config["log"].update(audit_file="/dev/full", audit_on_failure="refuse")
    rules = [{"connection": "agent2", "action": "deny", "dry_run": True}]
    hop = shadowed(seen, lambda config: (change(config), config.update(policy=rules)))
    token = sandbox.mint()
    for _ in range(20):
        assert hop.get(seen.url(), token).status_code == 200
        time.sleep(0.02)
    wait_until(lambda: hop.counts() == {"would_widen": 20}, 30)


def test_beside_requests_there_is_room_for_others(sandbox, shadowed, origin):
    """At most a quarter of limits.waiting_exchanges is found out beside requests."""
    seen = origin()
    hop = shadowed(seen, lambda config: config.update(limits={"waiting_exchanges": 8, "per_caller": {"waiting": 8}}))
    sandbox.fault("org_token", "hang", count=-1)
    for _ in range(10):
        assert hop.get(seen.url(), sandbox.mint(user="alice", nonce=os.urandom(4).hex())).status_code == 200
    lines = hop.audit(7)
    assert {(line["result"], line["error"]) for line in lines} == {("would_exchange", "EXCHANGE_QUEUE")}
    assert hop.metric("tokenhop_exchanges_started_total") == 3
    hop.stop()  # the others end with it
    lines = hop.audit(10)[7:]
    assert [(line["result"], line["error"]) for line in lines] == [("would_exchange", "DRAINING")] * 3


def test_limits_of_the_caller_refuse_no_request(sandbox, shadowed, origin):
    seen = origin()
    hop = shadowed(seen, lambda config: config.update(limits={"per_caller": {"exchanges_per_second": 1}}))
    for _ in range(5):
        assert hop.get(seen.url(), sandbox.mint(user="alice", nonce=os.urandom(4).hex())).status_code == 200
    results = [(line["result"], line.get("error")) for line in hop.audit(5)]
    assert ("would_exchange", "CALLER_LIMIT") in results and any(r == "would_widen" for r, _ in results)


# --- what protects others stays ---


def test_what_is_ambiguous_or_forbidden_is_refused_as_everywhere(sandbox, shadowed, origin):
    seen = origin()

    def change(config):
        agent2(config)["url"] = [seen.url("/"), "http://169.254.169.254/", f"http://[::1]:{seen.port}/x"]
        config["egress"]["allow"].append(f"[::1]:{seen.port}")
        config["policy"] = [{"connection": "agent2", "action": "deny"}]
        config["callers"] = [{"name": "team", "agent": "agent1", "basic": {"user": "u", "password": {"env": "TEAM"}}}]

    os.environ["TEAM"] = "a password"
    try:
        hop = shadowed(seen, change)
    finally:
        del os.environ["TEAM"]
    token = sandbox.mint()
    own = f"Authorization: Bearer {token}\r\n"
    rows = [
        (f"GET {seen.url('/a/../b')} HTTP/1.1\r\nHost: x\r\n{own}\r\n", 400),
        (f"GET {seen.url('/a%2fb')} HTTP/1.1\r\nHost: x\r\n{own}\r\n", 400),
        (f"GET {seen.url('/a')} HTTP/1.1\r\nHost: x\r\n{own}{own}\r\n", 400),
        (f"POST {seen.url('/a')} HTTP/1.1\r\nHost: x\r\n{own}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (f"TRACE {seen.url('/a')} HTTP/1.1\r\nHost: x\r\n{own}\r\n", 405),
        (f"GET http://169.254.169.254/latest HTTP/1.1\r\nHost: x\r\n{own}\r\n", 403),
        (f"GET http://elsewhere.example.com/ HTTP/1.1\r\nHost: x\r\n{own}\r\n", 403),
    ]
    for text, status in rows:
        with Connection(hop.port) as wire:
            assert wire.send(text.encode()).read().status == status, text
    assert seen.requests == [] and sandbox.requests("org_token") == 0


def test_r19_the_destination_is_verified(sandbox, shadowed, tmp_path, authority):
    """And no certificate of tokenhop's is shown for what a caller sends of its own."""
    good, stranger = Identity(tmp_path, "good", issuer=authority), Identity(tmp_path, "stranger")
    own = Identity(tmp_path, "own", names=None, issuer=authority)

    def wants(context):
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(authority.ca_file)

    destination, impostor = TlsOrigin(good, change=wants), TlsOrigin(stranger)

    def change(config, **keys):
        agent2(config).update(url=[f"https://{ORIGIN}:{d.port}/" for d in (destination, impostor)],
                              client_certificate={"cert_file": str(own.file), "key_file": str(own.file)}, **keys)
        config["origin"] = {"ca_file": str(authority.ca_file)}
        config["egress"]["allow"] += [destination.address, impostor.address]

    token = sandbox.mint()
    hop = shadowed(change=change)
    assert hop.get(f"http://{ORIGIN}:{impostor.port}/x", token).status_code == 502
    for _ in range(2):
        assert hop.get(f"http://{ORIGIN}:{destination.port}/x", token).status_code == 200  # carried over TLS
    assert destination.requests[0].get("Authorization") == f"Bearer {token}" and impostor.requests == []
    assert destination.shown == [None]
    # what was opened without it serves nobody for whom it is shown, and the other way round
    for shadow in ("off", "exchange"):
        agent2(hop.config)["shadow"] = shadow
        hop.reload()
        wait_until(lambda: hop.stderr.count("config.reloaded") == 1 + (shadow == "exchange"))
        assert hop.get(f"http://{ORIGIN}:{destination.port}/x", token).status_code == 200
    assert [der is not None for der in destination.shown] == [False, True, False]
    assert [r.get("Authorization") == f"Bearer {token}" for r in destination.requests] == [True, True, False, True]
    destination.close()
    impostor.close()


def test_to_other_agents_it_is_as_if_it_were_not_there(sandbox, shadowed, origin):
    seen = origin()
    token = sandbox.mint(audience="agent2", type="access_token", client="agent1")
    hop = shadowed(seen, agents=("agent1", "agent2"))
    assert hop.get(seen.url(), token, agent="agent2").status_code == 403 and seen.requests == []
    hop = shadowed(seen, lambda config: config.update(unmatched="forward"), agents=("agent1", "agent2"))
    opaque = "an-opaque-token-of-its-own"
    assert hop.get(seen.url(), opaque, agent="agent2").status_code == 200
    assert hop.get(seen.url(), token, agent="agent2").status_code == 200
    assert [r.all("Authorization") for r in seen.requests] == [[f"Bearer {opaque}"], []]  # R11, as without it
    lines = hop.audit(2)
    assert {(line["result"], line["code"], line["agent"], line["connection"]) for line in lines} == {
        ("would_deny", "destination_denied", "agent2", "agent2")}  # fmt: skip


def test_other_traffic_stays_as_it_is(sandbox, shadowed, origin):
    """A token that was seen in shadow goes where it went before; one that was a subject token does not (R11)."""
    seen, elsewhere = origin(), origin()

    def change(config):
        config["unmatched"] = "forward"
        config["egress"]["allow"].append(elsewhere.address)

    hop = shadowed(seen, change)
    opaque = "an-opaque-token-of-its-own"
    for to in (seen, elsewhere):
        assert hop.get(to.url(), opaque).status_code == 200 and to.requests[-1].all("Authorization") == [f"Bearer {opaque}"]
    agent2(hop.config)["shadow"] = "off"
    hop.reload()
    wait_until(lambda: "config.reloaded" in hop.stderr)
    assert hop.get(seen.url(), opaque).status_code == 401
    assert hop.get(elsewhere.url(), opaque).status_code == 200 and elsewhere.requests[-1].all("Authorization") == []


def test_r11_subject_fields_go_to_their_own_connection_alone(sandbox, shadowed, origin):
    seen = origin()

    def change(config):
        config["connections"].append({**agent2(config), "name": "other", "url": seen.url("/other/"),
                                      "subject": {"from": "header", "name": "X-Other"}})  # fmt: skip

    hop = shadowed(seen, change, subject={"from": "header", "name": "X-Own"})
    token = sandbox.mint()
    fields = {"X-Own": token, "X-Other": token, "Authorization": "Basic YTpi"}
    for path in ("/a2a/x", "/other/x"):
        assert hop.get(seen.url(path), headers=fields).status_code == 200
    found = [(r.all("X-Own"), r.all("X-Other"), r.all("Authorization")) for r in seen.requests]
    assert found == [([token], [], ["Basic YTpi"]), ([], [token], ["Basic YTpi"])]
    assert [line["result"] for line in hop.audit(2)] == ["would_widen"] * 2


def test_public_paths_are_no_delegation(sandbox, shadowed, origin):
    seen = origin()
    hop = shadowed(seen)
    assert hop.get(seen.url("/.well-known/agent-card.json"), "its-own").status_code == 200
    assert seen.requests[0].all("Authorization") == ["Bearer its-own"]
    hop.stop()  # what was begun beside it would be told by now
    assert hop.audit() == [] and sandbox.requests("org_token") == 0


# --- the ways in ---


def test_gateway_and_a_tunnel_in_clear(sandbox, shadowed, origin):
    seen = origin()
    token = sandbox.mint()
    hop = shadowed(seen, lambda config: config["listeners"][0].update(mode="gateway", scheme="http"))
    assert ask(hop, "/a2a/x", seen.address, token).status == 200
    hop.audit(1)
    hop = shadowed(seen)
    with Connection(hop.port) as wire:
        wire.send(f"CONNECT {seen.address} HTTP/1.1\r\nHost: {seen.address}\r\n\r\n".encode())
        assert wire.reader.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        wire.send(f"GET /a2a/x HTTP/1.1\r\nHost: {seen.address}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert wire.read().status == 200
    assert hop.audit(1)[0]["result"] == "would_widen"
    assert [r.all("Authorization") for r in seen.requests] == [[f"Bearer {token}"]] * 2


def test_intercepted(sandbox, intercepting, good, tmp_path):  # noqa: F811
    seen = TlsOrigin(good)

    def change(config):
        agent2(config)["shadow"] = "exchange"
        config["log"] = {"audit_file": str(tmp_path / "audit.jsonl")}

    hop = intercepting(seen.port, change=change)
    token = sandbox.mint()
    with Inside(hop, seen.port) as wire:
        wire.send(inner(seen.port, token))
        assert wire.read().status == 200
    assert seen.requests[0].all("Authorization") == [f"Bearer {token}"]
    hop.stop()
    (line,) = [line for line in lines_of(tmp_path / "audit.jsonl") if line.get("shadow")]
    assert line["result"] in ("would_widen", "would_exchange")  # it may have been stopped before the server answered
    seen.close()


def test_authz_gives_back_what_the_caller_sent(sandbox, shadowed, origin):
    """A data plane takes away what the answer lacks: so the caller's own is in it."""
    seen = origin()
    mode = lambda config: config["listeners"][0].update(mode="authz", scheme="http")
    hop = shadowed(seen, mode, cookies="drop")
    token = sandbox.mint()
    answer = ask(hop, "/a2a/x", seen.address, token, fields=[("Cookie", "a=b")])
    assert answer.status == 200 and answer.getheader("Authorization") == f"Bearer {token}"
    assert answer.getheader("X-Tokenhop-Shadow") == "true" and answer.getheader("x-envoy-auth-headers-to-remove") is None
    none = ask(hop, "/a2a/x", seen.address)
    assert none.status == 200 and none.getheader("Authorization") is None and none.getheader("X-Tokenhop-Shadow") == "true"
    assert ask(hop, "/x", "unknown.test", token).status == 403
    assert [line["result"] for line in hop.audit(2)] in (["would_widen", "would_refuse"], ["would_refuse", "would_widen"])
    hop = shadowed(seen, mode, inject={"header": "X-Api-Key", "template": "{access_token}"})
    answer = ask(hop, "/a2a/x", seen.address, token, fields=[("X-Api-Key", "of-its-own")])
    assert answer.getheader("X-Api-Key") == "of-its-own" and answer.getheader("Authorization") == f"Bearer {token}"
    # what a data plane could not send would be refused
    hop = shadowed(seen, mode, dpop="token")
    assert ask(hop, "/a2a/x", seen.address, token).status == 200
    (line,) = hop.audit(1)
    assert (line["result"], line["code"]) == ("would_refuse", "destination_denied") and "dpop" in line["reason"]
    assert seen.requests == []


def test_an_upgrade_goes_on(sandbox, shadowed, origin):
    def answer(came):
        def talk(sock):
            sock.sendall(SWITCH + b"hello")
            sock.sendall(sock.recv(100).upper())
            return False

        return talk

    seen = origin(answer)
    hop = shadowed(seen, scopes_for=[{"rpc_methods": ["m"], "scopes": ["chat.read"]}])
    token = sandbox.mint()
    with Connection(hop.port) as wire:
        wire.send(request(seen.url(), token, fields=KEY))
        assert wire.reader.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101")
        assert wire.reader.exactly(5) == b"hello"
        assert hop.audit(1)[0]["result"] == "would_widen"  # it is known while the connection goes on
        wire.send(b"shout")
        assert wire.reader.exactly(5) == b"SHOUT"
    assert seen.requests[0].all("Authorization") == [f"Bearer {token}"]


# --- the types ---


def test_each_type(sandbox, origin, tmp_path):
    seen = origin()
    secret = tmp_path / "value"
    secret.touch(0o600)
    secret.write_text("the-secret-of-the-house\n")
    own = {"X-Api-Key": "of-its-own", "Authorization": f"Bearer {sandbox.mint(user='alice')}"}

    def change(config):
        base = {"agents": ["agent1"], "shadow": "exchange"}
        config["connections"] = [
            {**vaulted(sandbox, name), **base, "url": seen.url(f"/{name}/")} for name in (WEATHER, LEDGER, CODE)
        ] + [
            {"name": "static", "type": "static", "url": seen.url("/static/"), "value_file": str(secret),
             "inject": {"header": "X-Api-Key", "template": "{value}"}, **base},
            {"name": "passthrough", "type": "passthrough", "url": seen.url("/passthrough/"), **base},
            {"name": "own", "type": "client_credentials", "url": seen.url("/own/"), "scopes": ["orders.read"],
             "authorization_server": "custom", "agents": ["agent1"], "shadow": "exchange"},
        ]  # fmt: skip
        config["authorization_servers"]["custom"] = {"issuer": sandbox.issuer("aus4")}

    config = harness.base_config(sandbox, alg="ES256")
    change(config)
    config.update(workers=1, log={"audit_file": str(tmp_path / "audit.jsonl")}, admin={"address": f"127.0.0.1:{free_port()}"})
    config["egress"]["allow"].append(seen.address)
    names = [each["name"] for each in config["connections"]]
    with Shadowed(config, tmp_path) as hop:
        for name in names:
            assert hop.get(seen.url(f"/{name}/x"), headers=own).status_code == 200, name
        lines = {line["connection"]: line for line in hop.audit(len(names))}
    for came in seen.requests:
        assert {name: came.get(name) for name in own} == own and b"secret-of-the-house" not in came.head
    assert {name: line["result"] for name, line in lines.items()} == {
        WEATHER: "would_grant", LEDGER: "would_grant", CODE: "would_refuse", "static": "would_grant",
        "passthrough": "would_grant", "own": lines["own"]["result"]}  # fmt: skip
    assert lines[CODE]["code"] == "interaction_required" and lines["own"]["result"] in ("would_grant", "would_refuse")
    assert not lines["own"].get("widened_scopes")  # it is no more of the caller's


# --- nobody forgets it ---


def test_it_is_seen_wherever_one_looks(sandbox, shadowed, origin):
    seen = origin()
    rules = [{"name": "read", "connection": "agent2", "methods": ["GET"], "action": "allow"}]
    hop = shadowed(seen, lambda config: config.update(policy=rules))
    (warning,) = wait_until(lambda: [line for line in hop.stderr.splitlines() if '"connection.in_shadow"' in line])
    assert json.loads(warning)["level"] == "warn" and json.loads(warning)["connection"] == "agent2"
    done = hop.run("check", "-c", hop.file)
    assert done.returncode == 0 and 'connection "agent2" is in shadow ("exchange")' in done.stdout, done
    admin = f"http://{hop.config['admin']['address']}"
    assert requests.get(f"{admin}/status", timeout=10).json()["in_shadow"] == ["agent2"]
    shadows = {each["name"]: each["shadow"] for each in requests.get(f"{admin}/connections", timeout=10).json()["connections"]}
    assert shadows["agent2"] == "exchange" and set(shadows.values()) == {"exchange", "off"}
    assert "tokenhop_connections_in_shadow 1\n" in requests.get(f"{admin}/metrics", timeout=10).text
    assert re.search(r"^IN SHADOW +agent2$", hop.run("ctl", "-c", hop.file, "status").stdout, re.M)
    assert re.search(r"^agent2 .* exchange ", hop.run("ctl", "-c", hop.file, "connections").stdout, re.M)
    allowed = hop.run("explain", "-c", hop.file, seen.url())
    assert allowed.returncode == 0 and "in shadow: carried as it came" in allowed.stdout, allowed
    assert "an exchange is made beside it" in allowed.stdout and "with a credential" in allowed.stdout
    denied = hop.run("explain", "-c", hop.file, "-m", "POST", seen.url())
    assert denied.returncode == 0 and "would be refused: 403 policy_denied" in denied.stdout, denied
    assert "origin: http://" in denied.stdout
    agent2(hop.config)["shadow"] = "off"
    hop.reload()
    wait_until(lambda: requests.get(f"{admin}/status", timeout=10).json()["in_shadow"] == [])
    assert "tokenhop_connections_in_shadow 0\n" in requests.get(f"{admin}/metrics", timeout=10).text
    assert "IN SHADOW" not in hop.run("ctl", "-c", hop.file, "status").stdout
    assert "in shadow" not in hop.run("check", "-c", hop.file).stdout
    denied = hop.run("explain", "-c", hop.file, "-m", "POST", seen.url())
    assert denied.returncode == 1 and "refused: 403 policy_denied" in denied.stdout


def test_explain_of_an_agent_that_it_is_not_for(sandbox, shadowed, origin):
    seen = origin()
    hop = shadowed(seen, lambda config: config.update(unmatched="forward"), agents=("agent1", "agent2"))
    done = hop.run("explain", "-c", hop.file, "--caller", "agent2", seen.url())
    assert 'the connection "agent2" is not for this agent' in done.stdout and "carried as if it were not there" in done.stdout


@pytest.mark.threads
def test_it_is_turned_on_and_off_under_load(sandbox, shadowed, origin):
    """Each request goes by one configuration as a whole: with the caller's own token and no other, or with the
    credential for its own user."""
    seen = origin()
    hop = shadowed(seen, lambda config: config.update(workers=2))
    tokens = {user: sandbox.mint(user=user) for user in ("alice", "bob")}
    subs = {user: harness.decode(token)[1]["sub"] for user, token in tokens.items()}
    statuses, done = [], threading.Event()

    def call(user):
        with hop.session() as session:
            while not done.is_set():
                answer = session.get(seen.url(f"/a2a/{user}"), headers={"Authorization": f"Bearer {tokens[user]}"}, timeout=60)
                statuses.append(answer.status_code)

    callers = [threading.Thread(target=call, args=(user,)) for user in tokens for _ in range(2)]
    for caller in callers:
        caller.start()
    for n in range(1, 9):
        agent2(hop.config)["shadow"] = ("off", "exchange")[n % 2 == 0]
        before = len(seen.requests)
        hop.reload()
        wait_until(lambda: hop.stderr.count("config.reloaded") == n, 30 * SLOW)
        wait_until(lambda: len(seen.requests) > before + 40, 60 * SLOW)
    done.set()
    for caller in callers:
        caller.join(60)
    assert set(statuses) == {200}
    own = 0
    for came in seen.requests:
        user = came.target.rsplit("/", 1)[1]
        token = came.get("Authorization").removeprefix("Bearer ")
        claims = harness.decode(token)[1]
        assert claims["sub"] == subs[user]
        own += token == tokens[user]
        assert token == tokens[user] or claims["aud"] == sandbox.resource("agent2")
    assert 0 < own < len(seen.requests)
    for user in tokens:
        assert sandbox.exchanges(user, "agent1-agent2") == 1
    hop.stop()
    results = {line["result"] for line in lines_of(hop.folder / "audit.jsonl")}
    assert results == {"granted", "would_widen"}


# --- the page ---


def test_the_pages_commands(sandbox, tmp_path):
    config = re.findall(r"```jsonc\n(.*?)```", PAGE, re.S)[0]
    config = config.replace("127.0.0.1:8080", f"127.0.0.1:{free_port()}")
    file = tmp_path / "tokenhop.jsonc"
    hop = Shadowed(config, tmp_path)
    hop.config = config
    file.write_text(config)
    argv = [harness.binary("tokenhop"), "run", "-c", file]
    with subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            wait_until(lambda: (tmp_path / "tokenhop.sock").exists() or process.poll() is not None, 30 * SLOW)
            lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
            assert len(lines) == 4
            for line in lines:
                program, *args = line.split()
                assert program == "build/src/tokenhop"
                done = hop.run(*args)
                assert done.returncode == 0 and "shadow" in done.stdout.lower(), (line, done)
            assert "would be refused: 403 policy_denied" in done.stdout
        finally:
            process.terminate()
        assert process.wait(30) == 0
