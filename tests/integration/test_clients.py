"""Real clients that know nothing but HTTP_PROXY: each call arrives at agent 2 as alice through agent 1, after one exchange."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

import harness
from harness import free_port
from rawnet import SLOW, Connection

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = ["requests", "httpx", "httpx-async", "aiohttp"]
NODE = ["undici", "undici-connect", "fetch", "fetch-connect", "axios", "http-request", "a2a-sdk"]


@pytest.fixture(scope="module")
def elsewhere(state_folder):
    """A sandbox whose agent 2 is at an address that no client takes for the machine itself: several never
    ask a proxy for localhost or 127.0.0.1."""
    port, issuer = free_port(), free_port()
    sandbox = harness.Sandbox(
        state_folder,
        "--allow-any-address",
        "--address=0.0.0.0",
        f"--port-idp={issuer}",
        f"--idp-url=http://127.0.0.1:{issuer}",
        f"--port-agents={port},0,0",
        f"--agent2-url=http://127.0.0.2:{port}",
    ).start()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def proxied(elsewhere, tokenhop):
    elsewhere.reset()
    port = elsewhere.resource("agent2").rsplit(":", 1)[1]

    def change(config):
        config["egress"]["allow"] = [f"127.0.0.2:{port}", "127.0.0.1"]

    return tokenhop(change, of=elsewhere)


def environment(hop, token):
    """Only what a client needs to find its way, and no proxy setting of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    url = f"http://127.0.0.1:{hop.port}"
    return {**kept, "HTTP_PROXY": url, "http_proxy": url, "TOKEN": token}


def run(command, hop, token, seconds=30):
    process = subprocess.run(
        command, env=environment(hop, token), capture_output=True, text=True, timeout=seconds * SLOW, cwd=HERE
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def check_steps(lines, sandbox):
    answers = [line for line in lines if line["step"] == "whoami"]
    assert [a["status"] for a in answers] == [200, 200], answers
    for seen in (a["body"] for a in answers):
        assert seen["user"] == "alice" and seen["sub"] == sandbox.info["users"]["alice"]["id"]
        assert seen["chain"] == [sandbox.client_id("agent1")]
        assert seen["scopes"] == ["chat.read", "chat.history"]
    assert answers[0]["body"]["token_sha256"] == answers[1]["body"]["token_sha256"]
    for echo in (line for line in lines if line["step"] == "echo"):
        assert echo["status"] == 200
        assert echo["body"]["body_sha256"].startswith(hashlib.sha256(b"x" * 100_000).hexdigest()[:8])
    # one exchange, whatever came after
    assert sandbox.exchanges("alice", "agent1-agent2") == 1
    assert sandbox.requests("org_token") == 1 and sandbox.requests("aus2_token") == 1


def check_events(lines):
    """R25: four events, 200 ms apart, arrive so, not together."""
    at = [line["at"] for line in lines if line["step"] == "event"]
    assert len(at) == 4
    gaps = [later - earlier for earlier, later in zip(at, at[1:])]
    assert min(gaps) > 60 and at[-1] - at[0] > 450, gaps


@pytest.mark.parametrize("client", PYTHON)
def test_python(proxied, elsewhere, client):
    command = ["/usr/bin/python3", "-B", HERE / "python_client.py", client, elsewhere.url("agent2", "")]
    lines = [json.loads(line) for line in run(command, proxied, elsewhere.mint()).splitlines()]
    check_steps(lines, elsewhere)
    check_events(lines)


@pytest.mark.parametrize("client", NODE)
def test_node(proxied, elsewhere, client):
    assert (HERE / "node_modules").is_dir(), "run tests/integration/install-node first"
    command = [shutil.which("node"), HERE / "node_client.mjs", client, elsewhere.url("agent2", "")]
    lines = [json.loads(line) for line in run(command, proxied, elsewhere.mint()).splitlines()]
    check_steps(lines, elsewhere)
    check_events(lines)


def test_curl(proxied, elsewhere):
    token = elsewhere.mint()
    call = ["curl", "-sS", "--fail-with-body", "-H", f"Authorization: Bearer {token}"]
    url = elsewhere.url("agent2", "/a2a/whoami")
    both = run([*call, url, url, "-w", "\n"], proxied, token).split("\n")
    lines = [{"step": "whoami", "status": 200, "body": json.loads(text)} for text in both if text]
    sent = run([*call, "-d", "x" * 100_000, elsewhere.url("agent2", "/a2a/echo")], proxied, token)
    lines.append({"step": "echo", "status": 200, "body": json.loads(sent)})
    check_steps(lines, elsewhere)


def test_curl_sees_events_as_they_come(proxied, elsewhere):
    token = elsewhere.mint()
    command = ["curl", "-sSN", "-H", f"Authorization: Bearer {token}", elsewhere.url("agent2", "/a2a/sse?n=4&ms=200")]
    lines = []
    with subprocess.Popen(command, env=environment(proxied, token), stdout=subprocess.PIPE, text=True) as curl:
        for line in curl.stdout:
            if line.startswith("data: "):
                lines.append({"step": "event", "at": time.monotonic() * 1000})
    assert curl.returncode == 0
    check_events(lines)


def test_without_proxy_agent2_refuses(elsewhere):
    """What the tests above prove hangs on this: the subject token itself is no good at agent 2."""
    answer = elsewhere.http.get(
        elsewhere.url("agent2", "/a2a/whoami"), headers={"Authorization": f"Bearer {elsewhere.mint()}"}
    )
    assert answer.status_code == 401


def test_public_card_without_token(proxied, elsewhere):
    """R18: a client reads the card before it has a token; nothing is exchanged for it."""
    for path in ("/.well-known/agent-card.json", "/.well-known/oauth-protected-resource"):
        assert proxied.get(elsewhere.url("agent2", path)).status_code == 200
        assert proxied.get(elsewhere.url("agent2", path), elsewhere.mint()).status_code == 200
    assert proxied.get(elsewhere.url("agent2", "/.well-known/other")).status_code == 401
    assert elsewhere.requests("org_token") == 0
    assert [record["credential"] for record in elsewhere.records("agent2")] == [""] * 4
