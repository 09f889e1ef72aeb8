"""The faults that the sandbox plays, over the wire, and the program itself: options, settings, records."""

import json
import socket
import time

import pytest
import requests

from harness import TT, Client, Sandbox, decode, wait_until


# Faults

REPLIES = {
    "status": ({"status": 503, "retry_after": 7}, 503, lambda a: a.headers["Retry-After"] == "7"),
    "rate_limited": ({"retry_after": {"in": 9}}, 429, lambda a: "GMT" in a.headers["Retry-After"]),
    "html": ({}, 502, lambda a: "<html>" in a.text),
    "unavailable": ({}, 503, lambda a: a.json()["error"] == "temporarily_unavailable"),
    "error": (
        {"error": "interaction_required", "members": {"interaction_uri": "https://x.example/"}},
        400,
        lambda a: a.json()["interaction_uri"] == "https://x.example/",
    ),
    "garbage_json": ({}, 200, lambda a: a.text.startswith("{") and not a.text.endswith("}")),
    "empty": ({}, 200, lambda a: a.text == ""),
    "array": ({}, 200, lambda a: isinstance(a.json(), list)),
    "oversized_json": ({}, 200, lambda a: len(a.content) > 2 * 1024 * 1024),
    "deep_json": ({"depth": 5000}, 200, lambda a: "[" * 5000 in a.text),
    "redirect": ({}, 302, lambda a: a.headers["Location"] == "/sandbox/followed"),
    "no_access_token": ({}, 200, lambda a: "access_token" not in a.json()),
    "bad_access_token": ({}, 200, lambda a: "\r\n" in a.json()["access_token"]),
    "long_access_token": ({}, 200, lambda a: len(a.json()["access_token"]) == 200000),
    "opaque_access_token": ({}, 200, lambda a: "." not in a.json()["access_token"]),
    "token_type": ({}, 200, lambda a: a.json()["token_type"] == "mac"),
    "no_expires_in": ({}, 200, lambda a: "expires_in" not in a.json()),
    "expires_in": ({"value": "300"}, 200, lambda a: a.json()["expires_in"] == "300"),
    "issued_token_type": ({}, 200, lambda a: a.json()["issued_token_type"] == TT + "access_token"),
    "error_in_200": ({}, 200, lambda a: a.json()["error"] == "invalid_grant"),
    "content_type": ({}, 200, lambda a: a.headers["Content-Type"] == "text/html"),
    "duplicate_member": ({}, 200, lambda a: a.text.count('"access_token"') == 2),
    "wrong_audience": ({}, 200, lambda a: jag(a)["aud"] == "https://attacker.example"),
    "widened_scope": ({}, 200, lambda a: jag(a)["scope"].endswith(" chat.admin")),
    "changed_subject": ({}, 200, lambda a: jag(a)["sub"] == "00u9mallorysandbox09"),
    "lost_chain": ({}, 200, lambda a: "act" not in jag(a)),
    "changed_actor": ({}, 200, lambda a: jag(a)["act"]["sub"] == "wlpAttacker"),
    "expired_token": ({}, 200, lambda a: jag(a)["exp"] < time.time()),
}


def jag(answer):
    return decode(answer.json()["access_token"])[1]


@pytest.mark.parametrize("kind", REPLIES)
def test_fault(sandbox, client, kind):
    more, status, check = REPLIES[kind]
    token = sandbox.mint()
    sandbox.fault("org_token", kind, **more)
    answer = client.exchange(token)
    assert answer.status_code == status
    assert check(answer), answer.text[:300]
    assert sandbox.stats()["counters"]["faults"] == {"org_token": {kind: 1}}
    again = client.exchange(token)  # once only
    assert again.status_code == 200 and jag(again)["aud"] == sandbox.issuer("aus2")


def test_fault_wrong_signature(sandbox, client):
    sandbox.fault("aus2_token", "wrong_signature")
    token = client.both_legs(sandbox.mint())
    assert sandbox.whoami(token).json()["reason"] == "token_signature"


def test_fault_shortened_chain(sandbox, client):
    sandbox.fault("aus2_token", "shortened_chain")
    token = client.both_legs(sandbox.mint(type="access_token", user="service"))
    assert decode(token)[1]["act"] == {"sub": client.client_id, "sub_profile": "ai_agent"}


@pytest.mark.parametrize(
    "kind", ["reset", "close", "reset_mid_body", "close_mid_body", "close_mid_chunk", "garbage_http", "huge_head"]
)
def test_raw_fault(sandbox, client, kind):
    token = sandbox.mint()
    sandbox.fault("org_token", kind)
    if kind == "close_mid_body":  # requests does not mind
        answer = client.exchange(token)
        assert len(answer.content) < int(answer.headers["Content-Length"])
    else:
        with pytest.raises(requests.exceptions.RequestException):
            client.exchange(token)
    assert client.exchange(token).status_code == 200


def test_reset_is_a_reset(sandbox):
    sandbox.fault("agent2", "reset")
    with socket.create_connection(("127.0.0.1", sandbox.port("agent2"))) as s:
        s.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            s.recv(100)


def test_hang_and_slow(sandbox, client):
    token = sandbox.mint()
    sandbox.fault("org_token", "slow", ms=300)
    started = time.monotonic()
    assert client.exchange(token).status_code == 200
    assert time.monotonic() - started >= 0.3
    sandbox.fault("org_token", "hang", ms=700)
    form = client.form(sandbox.endpoint(), client.exchange_form(token))
    with pytest.raises(requests.exceptions.Timeout):
        requests.post(sandbox.endpoint(), data=form, timeout=0.3, proxies={"http": None})


def test_fault_counts(sandbox):
    sandbox.fault("agent2", "status", count=2, skip=1, status=503, path="/echo")
    get = lambda path: sandbox.http.get(sandbox.url("agent2", path)).status_code
    assert [get("/status/201"), get("/echo"), get("/echo"), get("/echo"), get("/echo")] == [201, 200, 503, 503, 200]
    sandbox.fault("agent2", "unauthorized", count=-1)
    answer = sandbox.http.get(sandbox.url("agent2", "/echo"))
    assert answer.status_code == 401 and "invalid_token" in answer.headers["WWW-Authenticate"]
    sandbox.clear_faults()
    assert get("/echo") == 200 and sandbox.faults() == []


def test_fault_echo_credential(sandbox):
    sandbox.fault("agent2", "echo_credential")
    answer = sandbox.http.get(sandbox.url("agent2", "/echo"), headers={"Authorization": "Bearer abc"})
    assert answer.headers["X-Echo"] == "Bearer abc"


@pytest.mark.parametrize(
    "rule",
    [
        {"place": "nowhere", "kind": "slow"},
        {"place": "org_token", "kind": "none"},
        {"place": "org_token", "kind": "nonsense"},
        {"place": "agent2", "kind": "no_expires_in"},
        {"place": "org_token", "kind": "echo_credential"},
        {"place": "org_token", "kind": "slow", "count": "2"},
        [],
        "x",
    ],
)
def test_bad_fault(sandbox, rule):
    url = f"http://127.0.0.1:{sandbox.info['port']}/sandbox/faults"
    answer = sandbox.http.post(url, json=rule)
    assert answer.status_code == (200 if rule == [] else 400)
    assert sandbox.faults() == []


# The program


def test_stats_hold_no_token(sandbox, client):
    token = sandbox.mint()
    issued = client.both_legs(token)
    sandbox.whoami(issued)
    text = json.dumps(sandbox.stats())
    for secret in (token, issued):
        assert secret not in text and secret.split(".")[2] not in text
    assert sandbox.stats()["remembered"] == {
        "assertions": 2, "redeemed_id_jags": 1, "access_tokens": 1,
    }


def test_settings(sandbox):
    url = f"http://127.0.0.1:{sandbox.info['port']}/sandbox/settings"
    for bad in ({"no_such": 1}, {"introspect": 2}, {"introspect": "1"}, {"introspect": 1, "x": 1}, [1]):
        assert sandbox.http.post(url, json=bad).status_code == 400
    assert sandbox.http.get(url).json()["introspect"] == 0
    assert sandbox.settings(introspect=True)["introspect"] == 1


def test_rate_limit(sandbox, client):
    sandbox.settings(rate_limit=2)
    token = sandbox.mint()
    wait_until(lambda: time.time() % 60 < 55, 10)  # within one minute
    sandbox.settings(rate_limit=2)
    assert [client.exchange(token).status_code for _ in range(3)] == [200, 200, 429]


def test_options(own_sandbox, tmp_path):
    config = tmp_path / "t.jsonc"
    sandbox = own_sandbox(
        "--agent2-url", "http://agent2.test", "--write-config", str(config),
        "--proxy-port", "18080", "--agent2-proxy-port", "18081", "--config-alg", "ES256",
        introspect=1,
    )
    assert sandbox.resource("agent2") == "http://agent2.test"
    text = config.read_text()
    written = json.loads(text[text.index("\n") :])
    assert [l["agent"] for l in written["listeners"]] == ["agent1", "agent2"]
    assert written["connections"][0]["resource"] == "http://agent2.test"
    assert written["agents"]["agent1"]["auth"]["key_file"] == sandbox.key_file("agent1", "k2")
    token = Client(sandbox).both_legs(sandbox.mint())
    answer = sandbox.http.get(
        f"http://127.0.0.1:{sandbox.port('agent2')}/a2a/whoami",
        headers={"Authorization": f"Bearer {token}", "Host": "agent2.test"},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "args", [["--address", "0.0.0.0"], ["--nonsense"], ["x"], ["--set", "a=b"], ["--port-idp", "70000"], ["--port-agents", "1,2,3,4"]]
)
def test_bad_options(state_folder, args):
    sandbox = Sandbox(state_folder, *args)
    with pytest.raises(AssertionError):
        sandbox.start()
    assert "tokenhop-sandbox" in sandbox.stderr


def test_keys_that_others_may_read(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    (folder / "org.pem").write_text("x")
    (folder / "org.pem").chmod(0o644)
    sandbox = Sandbox(folder)
    with pytest.raises(AssertionError):
        sandbox.start()
    assert "org.pem" in sandbox.stderr
