"""Who connects, and as which agent: Proxy-Authorization on a listener that asks for it (R15)."""

import base64
import json
import subprocess

import pytest
import requests

import harness
from harness import wait_until
from rawnet import Connection, request

PASSWORDS = {"team-a": "password-of-team-a", "team-b": "password: of-team-b \u00e9"}
TOKEN = "token-of-the-robot"


@pytest.fixture
def shared(sandbox, tokenhop, tmp_path):
    """One listener for all: team-a acts as agent1, team-b and the robot as agent2."""

    def secret(name, text):
        path = tmp_path / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return str(path)

    def configure(config):
        config["workers"] = 1  # so that lines of the logs come in the order of the requests
        del config["listeners"][1]
        del config["listeners"][0]["agent"]
        config["listeners"][0]["name"] = "shared"
        config["callers"] = [
            {"name": "team-a", "agent": "agent1", "basic": {"user": "a", "password_file": secret("a", PASSWORDS["team-a"])}},
            {"name": "team-b", "agent": "agent2", "basic": {"user": "b", "password_file": secret("b", PASSWORDS["team-b"])}},
            {"name": "robot", "agent": "agent2", "bearer": {"token_file": secret("t", TOKEN)}},
        ]
        config["log"] = {"audit_file": str(tmp_path / "audit.jsonl")}

    hop = tokenhop(configure, agents=("agent1", "agent2"), alg="ES256")
    hop.port_of = lambda agent=None: int(hop.config["listeners"][0]["address"].rsplit(":", 1)[1])
    hop.audit = tmp_path / "audit.jsonl"
    return hop


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def call(hop, sandbox, credentials, audience="agent1", target="agent2"):
    token = sandbox.mint(user="alice", audience=audience, **({} if audience == "agent1" else {"type": "access_token", "client": "agent1", "chain": 1}))
    headers = {"Proxy-Authorization": credentials} if credentials else {}
    return hop.get(sandbox.url(target, "/a2a/whoami"), token, headers=headers)


def test_r15_each_caller_acts_as_its_agent(sandbox, shared):
    answer = call(shared, sandbox, basic("a", PASSWORDS["team-a"]))
    assert answer.status_code == 200 and answer.json()["chain"] == [sandbox.client_id("agent1")]
    for credentials in (basic("b", PASSWORDS["team-b"]), f"Bearer {TOKEN}"):
        answer = call(shared, sandbox, credentials, "agent2", "agent3")
        assert answer.status_code == 200 and answer.json()["chain"][0] == sandbox.client_id("agent2")
    # nobody gets to use another's agent, nor its connections
    assert call(shared, sandbox, basic("b", PASSWORDS["team-b"])).json()["code"] == "destination_denied"
    shared.stop()
    callers = [json.loads(line).get("caller") for line in shared.output.splitlines()]
    assert callers == ["team-a", "team-b", "robot", "team-b"]
    assert [json.loads(line)["caller"] for line in shared.audit.read_text().splitlines()] == callers


@pytest.mark.parametrize(
    "credentials",
    [None, basic("a", PASSWORDS["team-b"]), basic("b", PASSWORDS["team-a"]), basic("a", ""), basic("c", "x"), "Basic", "Basic !!!",
     f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Negotiate abc"],
)
def test_refused_with_a_challenge(sandbox, shared, credentials):
    answer = call(shared, sandbox, credentials)
    assert answer.status_code == 407 and answer.json()["code"] == "caller_unauthenticated"
    assert answer.headers["Proxy-Authenticate"].startswith('Basic realm="tokenhop"')
    assert sandbox.requests("org_token") == 0 and sandbox.requests("agent2") == 0
    shared.stop()
    assert TOKEN not in shared.output + shared.stderr and "password" not in shared.output + shared.stderr


def test_r15_authority_is_of_the_request(sandbox, shared):
    """One connection, and who asks changes on it."""
    token = sandbox.mint(user="alice")
    url = sandbox.url("agent2", "/a2a/whoami")
    a = ["Proxy-Authorization: " + basic("a", PASSWORDS["team-a"])]
    b = ["Proxy-Authorization: " + basic("b", PASSWORDS["team-b"])]
    with Connection(shared.port_of()) as connection:
        statuses = [connection.send(request(url, token, fields=f)).read().status for f in (a, [], a, b, a)]
    assert statuses == [200, 407, 200, 403, 200]


def test_clients_put_it_into_the_url_of_the_proxy(sandbox, shared):
    token = sandbox.mint(user="alice")
    proxy = f"http://a:{PASSWORDS['team-a']}@127.0.0.1:{shared.port_of()}"
    url = sandbox.url("agent2", "/a2a/whoami")
    done = subprocess.run(
        ["curl", "-s", "--noproxy", "", "-x", proxy, "-H", f"Authorization: Bearer {token}", url], capture_output=True, text=True
    )
    assert json.loads(done.stdout)["user"] == "alice", done
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxy}
        assert session.get(url, headers={"Authorization": f"Bearer {token}"}).json()["user"] == "alice"
    # through a tunnel, which curl opens with the credentials once
    done = subprocess.run(
        ["curl", "-s", "--noproxy", "", "-p", "-x", proxy, "-H", f"Authorization: Bearer {token}", url], capture_output=True, text=True
    )
    assert json.loads(done.stdout)["user"] == "alice", done
    done = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_connect}", "--noproxy", "", "-p", "-x", proxy.replace("a:p", "a:q"), url],
        capture_output=True, text=True,
    )
    assert done.stdout == "407", done


def test_credentials_never_reach_the_destination(sandbox, shared, origin):
    seen = origin()
    shared.config["connections"][0]["url"] = seen.url("/")
    shared.config["egress"]["allow"].append(seen.address)
    shared.reload()
    wait_until(lambda: "config.reloaded" in shared.stderr)
    secret = basic("a", PASSWORDS["team-a"])
    assert shared.get(seen.url(), sandbox.mint(user="alice"), headers={"Proxy-Authorization": secret}).status_code == 200
    assert len(seen.requests) == 1 and secret.split()[1].encode() not in seen.bytes and b"Proxy-" not in seen.bytes


def test_a_reload_takes_a_caller_away(sandbox, shared):
    token = sandbox.mint(user="alice")
    url = sandbox.url("agent2", "/a2a/whoami")
    port = sandbox.port("agent2")
    a = ["Proxy-Authorization: " + basic("a", PASSWORDS["team-a"])]
    with Connection(shared.port_of()) as tunnel, Connection(shared.port_of()) as kept:
        opened = tunnel.send(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{a[0]}\r\n\r\n".encode()).read("HEAD")
        assert opened.status == 200
        inside = f"GET /a2a/whoami HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        assert tunnel.send(inside).read().status == 200
        assert kept.send(request(url, token, fields=a)).read().status == 200
        shared.config["callers"].pop(0)
        shared.reload()
        wait_until(lambda: "config.reloaded" in shared.stderr)
        assert kept.send(request(url, token, fields=a)).read().status == 407
        assert tunnel.send(inside).read().status == 407


def test_passwords_that_others_may_read(sandbox, tokenhop, tmp_path):
    path = tmp_path / "pw"
    path.write_text("password-of-team-a")
    path.chmod(0o644)
    config = harness.base_config(sandbox)
    config["callers"] = [{"name": "a", "agent": "agent1", "basic": {"user": "a", "password_file": str(path)}}]
    file = tmp_path / "t.jsonc"
    file.write_text(json.dumps(config))
    done = subprocess.run([harness.binary("tokenhop"), "check", "-c", file], capture_output=True, text=True)
    assert done.returncode == 2 and "others" in done.stderr and "$.callers[0].basic.password_file" in done.stderr, done


def test_who_is_known_is_not_told_otherwise(sandbox, shared):
    """A mistake of the request, after its caller was told, is told as such."""
    proof = f"Proxy-Authorization: {basic('a', PASSWORDS['team-a'])}\r\n"
    with Connection(shared.port_of()) as connection:
        connection.send(f"GET http://host:99999/ HTTP/1.1\r\nHost: host\r\n{proof}\r\n".encode())
        answer = connection.read()
    assert answer.status == 400
    assert "credentials" not in json.loads(answer.body).get("detail", "")
