"""The policy: which rule decides, what the caller is told, what is written down, and that claims decide nothing
before somebody has vouched for them."""

import base64
import datetime
import http.client
import json
import subprocess
import urllib.parse

import pytest

import harness
from harness import decode, free_port, wait_until
from rawnet import Connection

TRADERS = {"claim": "groups", "contains": "traders"}


@pytest.fixture
def guarded(tokenhop, tmp_path):
    """guarded(rules, change=None) -> a running tokenhop with these rules, its audit log at .audit."""

    def start(rules, change=None, agents=("agent1",)):
        def configure(config):
            config["workers"] = 1  # so that lines come in the order of the requests
            config["log"] = {"audit_file": str(tmp_path / "audit.jsonl")}
            config["admin"] = {"address": f"127.0.0.1:{free_port()}"}
            config["policy"] = rules
            if change:
                change(config)

        hop = tokenhop(configure, agents=agents, alg="ES256")
        hop.audit = tmp_path / "audit.jsonl"
        return hop

    return start


def whoami(sandbox, path="/a2a/whoami"):
    return sandbox.url("agent2", path)


def decisions(hop):
    """tokenhop_policy_decisions_total by rule and result, but for zeros."""
    host, port = hop.config["admin"]["address"].rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = {}
    for line in text.splitlines():
        if line.startswith("tokenhop_policy_decisions_total{") and not line.endswith(" 0"):
            rule, result = line.split('"')[1:4:2]
            found[rule, result] = int(line.rsplit(" ", 1)[1])
    return found


def lines(hop):
    return [json.loads(line) for line in hop.audit.read_text().splitlines()]


def assert_denied(answer, detail=None):
    assert answer.status_code == 403, answer.text
    problem = answer.json()
    assert problem["code"] == "policy_denied" and "WWW-Authenticate" not in answer.headers
    assert answer.headers["Proxy-Status"].startswith("tokenhop; error=http_request_denied")
    assert detail is None or problem["detail"] == detail


def forge(token, **claims):
    """The same token with other claims, which its signature is not for."""
    header, payload, signature = token.split(".")
    says = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    says.update(claims)
    return f"{header}.{harness.b64url(says)}.{signature}"


def test_first_rule_that_matches_decides(sandbox, guarded):
    hop = guarded(
        [
            {"name": "no-admin", "connection": "agent2", "paths": ["/a2a/admin"], "action": "deny", "reason": "ask the desk: 5555"},
            {"connection": "agent2", "methods": ["GET", "DELETE"], "action": "allow"},
        ]
    )
    token = sandbox.mint(user="alice")
    assert hop.get(whoami(sandbox), token).status_code == 200
    assert_denied(hop.get(whoami(sandbox, "/a2a/admin/x"), token), "ask the desk: 5555")
    assert_denied(hop.post(whoami(sandbox), token), "no rule of the policy allows this request")
    # another connection, which no rule is for
    assert hop.get(sandbox.url("api", "/"), token).status_code != 403
    # what the destination may read as the denied path is neither
    with Connection(hop.port) as connection:
        head = f"GET {whoami(sandbox, '/a2a/%61dmin')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        assert connection.send(head.encode()).read().status == 400
    assert hop.get(whoami(sandbox, "/a2a/admin;x=1"), token).status_code == 400
    # a public path asks for no token, and no policy
    assert hop.get(whoami(sandbox, "/.well-known/agent-card.json")).status_code == 200
    # without a token: denied where no token helps, else asked for
    assert_denied(hop.get(whoami(sandbox, "/a2a/admin")))
    assert hop.get(whoami(sandbox)).status_code == 401
    assert decisions(hop) == {("no-admin", "denied"): 2, ("policy[1]", "allowed"): 1, ("(default)", "denied"): 1}
    hop.stop()
    access = [json.loads(line) for line in hop.output.splitlines()]
    assert [line.get("code") for line in access if line["status"] == 403] == ["policy_denied"] * 3
    found = [(line["result"], line.get("rule"), line.get("error")) for line in lines(hop) if line["connection"] == "agent2"]
    assert found[:3] == [
        ("granted", "policy[1]", None),
        ("denied", "no-admin", "POLICY_DENIED"),
        ("denied", "(default)", "POLICY_DENIED"),
    ]
    denied = lines(hop)[1]
    assert denied["agent"] == "agent1" and denied["method"] == "GET" and denied["subject_sub"] == lines(hop)[0]["subject_sub"]
    assert denied["subject_verified"] is False and denied["trace_id"]
    assert token not in hop.audit.read_text() and token not in hop.output


def test_r14_claims_allow_only_with_proof(sandbox, guarded):
    """Groups of a token: who has them passes, who has not is refused before anything is spent, who lies gets nothing."""
    hop = guarded([{"name": "traders", "connection": "agent2", "require": TRADERS, "action": "allow"}])
    alice, bob = sandbox.mint(user="alice"), sandbox.mint(user="bob")
    assert_denied(hop.get(whoami(sandbox), bob))
    assert_denied(hop.get(whoami(sandbox), "opaque-token"))
    assert sandbox.requests("org_token") == 0  # nothing was spent
    assert hop.get(whoami(sandbox), alice).json()["user"] == "alice"
    reached = sandbox.requests("agent2")
    for token in (forge(bob, groups=["traders"]), forge(alice, sub="00u2bobsandbox000002"), forge(alice, x=1)):
        answer = hop.get(whoami(sandbox), token)
        assert answer.status_code == 401 and answer.json()["code"] == "subject_token_invalid"
    assert sandbox.requests("agent2") == reached
    assert hop.get(whoami(sandbox), alice).status_code == 200
    assert sandbox.exchanges("bob", "agent1-agent2") == 0


@pytest.mark.parametrize("verify", [False, True])
def test_r14_claims_that_only_the_server_can_judge(sandbox, guarded, verify):
    """Without verification here the exchange itself is the proof: a forged token that would be allowed fails there."""
    hop = guarded(
        [{"connection": "agent2", "require": TRADERS, "action": "allow"}],
        lambda config: config["connections"][0].update(subject={"verify": verify}),
    )
    bob = forge(sandbox.mint(user="bob"), groups=["traders"])
    for _ in range(2):  # the second meets the refusal that is remembered
        answer = hop.get(whoami(sandbox), bob)
        assert answer.status_code == 401 and answer.json()["code"] == "subject_token_invalid"
    assert (sandbox.requests("org_token") > 0) is not verify
    assert sandbox.requests("agent2") == 0
    # and one that lies to be denied is denied
    assert_denied(hop.get(whoami(sandbox), forge(sandbox.mint(user="alice"), groups=[])))


def test_denied_by_claims_whatever_cannot_be_read(sandbox, guarded):
    hop = guarded(
        [
            {"name": "no-clerks", "connection": "agent2", "require": {"claim": "groups", "contains": "clerks"}, "action": "deny"},
            {"action": "allow"},
        ]
    )
    assert_denied(hop.get(whoami(sandbox), sandbox.mint(user="bob")))
    assert_denied(hop.get(whoami(sandbox), "opaque-token"))
    assert hop.get(whoami(sandbox), sandbox.mint(user="alice")).status_code == 200
    assert hop.get(whoami(sandbox)).status_code == 401  # the token might be anybody's


def test_r15_cached_credential_is_asked_for_each_request(sandbox, guarded):
    """The same token and credential, another method, path, and time."""
    now = datetime.datetime.now(datetime.timezone.utc)
    before = now - datetime.timedelta(hours=5)
    past = {"from": f"{before:%H:%M}", "to": f"{before + datetime.timedelta(hours=2):%H:%M}", "zone": "UTC"}
    present = {"from": f"{now - datetime.timedelta(hours=2):%H:%M}", "to": f"{now + datetime.timedelta(hours=2):%H:%M}", "zone": "UTC"}
    hop = guarded(
        [
            {"name": "was", "connection": "agent2", "time": past, "action": "deny"},
            {"name": "now", "connection": "agent2", "time": present, "paths": ["/a2a/whoami"], "methods": ["GET"], "require": TRADERS, "action": "allow"},
        ]
    )
    token = sandbox.mint(user="alice")
    for _ in range(3):
        assert hop.get(whoami(sandbox), token).status_code == 200
        assert_denied(hop.post(whoami(sandbox), token))
        assert_denied(hop.get(whoami(sandbox, "/a2a/other"), token))
    assert sandbox.exchanges("alice", "agent1-agent2") == 1
    assert decisions(hop) == {("now", "allowed"): 3, ("(default)", "denied"): 6}


def test_reload_swaps_the_policy_at_once(sandbox, guarded):
    hop = guarded([{"name": "all", "connection": "agent2", "action": "allow"}])
    token = sandbox.mint(user="alice")
    assert hop.get(whoami(sandbox), token).status_code == 200
    hop.config["policy"] = [{"name": "none", "connection": "agent2", "action": "deny", "reason": "closed"}]
    with hop.session() as session:  # on one connection, with the credential in the cache
        headers = {"Authorization": f"Bearer {token}"}
        assert session.get(whoami(sandbox), headers=headers).status_code == 200
        hop.reload()
        wait_until(lambda: session.get(whoami(sandbox), headers=headers).status_code == 403, 30)
        assert_denied(session.get(whoami(sandbox), headers=headers), "closed")
    hop.config["policy"] = []
    hop.reload()
    wait_until(lambda: hop.get(whoami(sandbox), token).status_code == 200, 30)
    assert sandbox.exchanges("alice", "agent1-agent2") == 1  # the credential outlived both
    # a policy that is wrong is not taken
    hop.config["policy"] = [{"connection": "agent2", "action": "deny"}, {"connection": "agent2", "action": "allow"}]
    hop.reload()
    wait_until(lambda: "never reached" in hop.stderr, 30)
    assert hop.get(whoami(sandbox), token).status_code == 200


@pytest.mark.parametrize("mode", ["rule", "whole"])
def test_dry_run_refuses_nothing(sandbox, guarded, mode):
    rule = {"name": "trial", "connection": "agent2", "methods": ["POST"], "action": "deny"}
    if mode == "rule":
        rules, change = [dict(rule, dry_run=True), {"name": "rest", "action": "allow"}], None
    else:
        rules, change = [rule, {"name": "rest", "action": "allow"}], lambda config: config.update(policy_mode="dry_run")
    hop = guarded(rules, change)
    token = sandbox.mint(user="alice")
    assert hop.get(whoami(sandbox), token).status_code == 200
    assert hop.post(whoami(sandbox), token).status_code not in (401, 403)
    found = decisions(hop)
    assert found["trial", "would_deny"] == 1 and not [key for key in found if key[1] == "denied"]
    hop.stop()
    assert [line["result"] for line in lines(hop)] == ["granted", "would_deny", "granted"]
    would = lines(hop)[1]
    assert would["rule"] == "trial" and would["error"] == "POLICY_DENIED" and would["method"] == "POST"
    assert lines(hop)[2].get("rule") == ("rest" if mode == "rule" else None)
    assert "policy.would_deny" in hop.stderr


def test_callers_agents_and_chains(sandbox, guarded, tmp_path):
    """Who asks, as whom, and through how many hands the token came."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"password-of-{name}\n")
        (tmp_path / name).chmod(0o600)

    def change(config):
        del config["listeners"][1]
        del config["listeners"][0]["agent"]
        config["callers"] = [
            {"name": name, "agent": agent, "basic": {"user": name, "password_file": str(tmp_path / name)}}
            for name, agent in (("a", "agent1"), ("b", "agent2"))
        ]

    hop = guarded(
        [
            {"caller": "a", "connection": "agent2", "issuer": "org", "action": "allow"},
            {"agent": "agent2", "connection": "agent3", "max_chain": 1, "actors": {"only": [sandbox.client_id("agent1")]}, "scopes": ["chat.read"], "action": "allow"},
            {"caller": "a", "connection": "agent3", "action": "deny", "reason": "a calls agent2 alone"},
        ],
        change,
        agents=("agent1", "agent2"),
    )
    hop.port_of = lambda agent=None: int(hop.config["listeners"][0]["address"].rsplit(":", 1)[1])

    def call(name, target, token):
        proof = base64.b64encode(f"{name}:password-of-{name}".encode()).decode()
        return hop.get(sandbox.url(target, "/a2a/whoami"), token, headers={"Proxy-Authorization": f"Basic {proof}"})

    alice = sandbox.mint(user="alice")
    assert call("a", "agent2", alice).status_code == 200
    assert_denied(call("a", "agent3", alice), "a calls agent2 alone")

    def chained(n, client="agent1"):
        return sandbox.mint(user="alice", audience="agent2", type="access_token", client=client, chain=n)

    assert call("b", "agent3", chained(1)).status_code == 200
    assert_denied(call("b", "agent3", chained(2)))
    assert_denied(call("b", "agent3", chained(1, "agent3")))


def test_authz_mode_is_asked_about_the_original_request(sandbox, guarded):
    def change(config):
        config["listeners"][0].update(mode="authz", original="x-original", scheme="http")

    hop = guarded(
        [{"name": "reads", "connection": "agent2", "methods": ["GET"], "paths": ["/a2a"], "require": TRADERS, "action": "allow"}], change
    )

    def ask(method, uri, user="alice", **more):
        connection = http.client.HTTPConnection("127.0.0.1", hop.port, timeout=30)
        headers = {
            "X-Original-Host": urllib.parse.urlsplit(sandbox.url("agent2")).netloc,
            "X-Original-URI": uri,
            "X-Original-Method": method,
            **more,
        }
        if user:
            headers["Authorization"] = f"Bearer {sandbox.mint(user=user)}"
        connection.request(more.pop("by", "GET"), "/auth", headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.getheader("Authorization"), json.loads(text)["code"] if text else None

    status, credential, _ = ask("GET", "/a2a/whoami")
    assert status == 200 and credential.startswith("Bearer ")
    assert ask("POST", "/a2a/whoami") == (403, None, "policy_denied")
    assert ask("GET", "/else") == (403, None, "policy_denied")
    assert ask("GET", "/a2a/whoami", user="bob") == (403, None, "policy_denied")
    assert ask("POST", "/a2a/whoami", user=None) == (403, None, "policy_denied")
    assert ask("GET", "/a2a/whoami", user=None)[::2] == (401, "subject_token_missing")
    hop.stop()
    assert [line["result"] for line in lines(hop)][:3] == ["granted", "denied", "denied"]


def test_authz_max_forwards_is_no_way_past_the_policy(sandbox, guarded):
    hop = guarded(
        [{"connection": "agent2", "methods": ["GET"], "action": "allow"}],
        lambda config: config["listeners"][0].update(mode="authz", scheme="http"),
    )
    connection = http.client.HTTPConnection("127.0.0.1", hop.port, timeout=30)
    headers = {"Host": urllib.parse.urlsplit(sandbox.url("agent2")).netloc, "Max-Forwards": "0"}
    connection.request("OPTIONS", "/a2a/whoami", headers={**headers, "Authorization": f"Bearer {sandbox.mint(user='alice')}"})
    assert connection.getresponse().status == 403
    connection.close()


@pytest.mark.parametrize("kind", ["static", "passthrough", "forward"])
def test_policy_is_for_every_way_to_a_connection(sandbox, guarded, kind, tmp_path):
    """Those without an exchange, and requests that go on without a credential."""
    (tmp_path / "value").write_text("a-static-token\n")
    (tmp_path / "value").chmod(0o600)

    def change(config):
        one = config["connections"][0]
        if kind == "forward":
            one["without_subject"] = "forward"
            return
        for key in ("authorization_server", "resource", "scopes"):
            del one[key]
        one.update(type=kind, **({"value_file": str(tmp_path / "value")} if kind == "static" else {}))

    hop = guarded([{"connection": "agent2", "methods": ["GET"], "action": "allow"}], change)
    token = {"static": None, "passthrough": "own", "forward": None}[kind]
    assert hop.get(whoami(sandbox), token).status_code == 401  # the destination's own
    assert hop.get(whoami(sandbox), token).headers.get("Proxy-Status") is None
    reached = sandbox.requests("agent2")
    assert_denied(hop.post(whoami(sandbox), token))
    assert sandbox.requests("agent2") == reached
    wait_until(lambda: any(line["result"] == "denied" for line in lines(hop)))


def test_policy_inside_of_a_tunnel(sandbox, guarded):
    hop = guarded([{"connection": "agent2", "methods": ["GET"], "paths": ["/a2a/whoami"], "require": TRADERS, "action": "allow"}])
    place = urllib.parse.urlsplit(sandbox.url("agent2")).netloc

    def ask(connection, method, path, user="alice"):
        head = f"{method} {path} HTTP/1.1\r\nHost: {place}\r\nAuthorization: Bearer {sandbox.mint(user=user)}\r\n\r\n"
        return connection.send(head.encode()).read()

    with Connection(hop.port) as connection:
        head = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n"
        assert connection.send(head.encode()).read("HEAD").status == 200
        assert ask(connection, "GET", "/a2a/whoami").status == 200
        assert ask(connection, "DELETE", "/a2a/whoami").status == 403
        assert ask(connection, "GET", "/a2a/other").status == 403
        assert ask(connection, "GET", "/a2a/whoami", "bob").status == 403
        assert ask(connection, "GET", "/a2a/whoami").status == 200


def explain(hop, url, *args):
    done = subprocess.run([harness.binary("tokenhop"), "explain", "-c", hop.file, *args, url], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("user", ["alice", "bob"])
@pytest.mark.parametrize("method, path", [("GET", "/a2a/whoami"), ("POST", "/a2a/whoami"), ("GET", "/a2a/admin"), ("GET", "/else"), ("PUT", "/a2a/x")])
def test_explain_agrees_with_the_policy(sandbox, guarded, tmp_path, user, method, path):
    hop = guarded(
        [
            {"name": "no-admin", "connection": "agent2", "paths": ["/a2a/admin"], "action": "deny", "reason": "ask the desk"},
            {"name": "reads", "connection": "agent2", "methods": ["GET"], "paths": ["/a2a"], "action": "allow"},
            {"name": "tried", "connection": "agent2", "methods": ["POST"], "action": "deny", "dry_run": True},
            {"name": "traders", "connection": "agent2", "methods": ["POST"], "require": TRADERS, "action": "allow"},
        ]
    )
    token = sandbox.mint(user=user)
    answer = hop.request(method, whoami(sandbox, path), token)
    denied = answer.status_code == 403 and answer.headers.get("Proxy-Status", "").startswith("tokenhop")
    (tmp_path / "claims.json").write_text(json.dumps(decode(token)[1]))
    status, text = explain(hop, whoami(sandbox, path), "--method", method, "--claims", str(tmp_path / "claims.json"))
    assert status == denied, text
    assert ("refused: 403 policy_denied" in text) is denied
    rules = [line.split(":")[0].strip() for line in text.split("  policy\n")[1].split("  carried")[0].split("  re")[0].splitlines()]
    decided = lines(hop)[-1].get("rule") if not denied else None
    if path == "/a2a/admin":
        assert rules == ["* no-admin"] and "reason: ask the desk" in text
    elif method == "GET":
        assert rules == (["- no-admin", "* reads"] if path.startswith("/a2a") else ["- no-admin", "- reads", "- tried (dry run)", "- traders", "* (default)"])
    elif method == "POST":
        assert rules[:3] == ["- no-admin", "- reads", "- tried (dry run)"]
        assert rules[3] == ("* traders" if user == "alice" else "- traders")
        assert ('"groups" contains traders' in text) is (user == "bob")
        assert decided == (None if denied else "traders")
    # and without the claims, what is certain and what is not
    status, text = explain(hop, whoami(sandbox, path), "--method", method)
    assert ("? traders: allows, if" in text) is (method == "POST")
    assert status == (denied if method != "POST" else 0)


def test_explain_at_another_time(sandbox, guarded):
    hop = guarded([{"name": "day", "connection": "agent2", "time": {"from": "08:00", "to": "18:00", "days": ["tue"], "zone": "+01:00"}, "action": "allow"}])
    for at, status in (
        ("2026-11-24T07:00:00Z", 0),
        ("2026-11-24T06:59:59Z", 1),
        ("2026-11-24T17:59:59+01:00", 0),
        ("2026-11-24T18:00+01:00", 1),
        ("2026-11-25T12:00:00Z", 1),
    ):
        assert explain(hop, whoami(sandbox), "--at", at)[0] == status, at
    assert "another time: 08:00-18:00 tue +01:00" in explain(hop, whoami(sandbox), "--at", "2026-11-25T12:00:00Z")[1]
    for wrong in (["--at", "noon"], ["--at", "2026-11-24T12:00:00"], ["--claims", "/nowhere.json"], ["--claims", str(hop.audit)]):
        assert explain(hop, whoami(sandbox), *wrong)[0] == 2, wrong
