"""The sandbox's agents, over the wire: which tokens they take, A2A, and the endpoints to test a proxy with."""

import json
import socket
import time

import pytest
import requests


TOKENS = {
    "missing": (None, None, "token_missing"),
    "wrong audience": ({"aud": "https://elsewhere.example"}, "invalid_token", "token_audience"),
    "slash": ({"aud": "SLASH"}, "invalid_token", "token_audience"),
    "of another agent": ({"audience": "agent3"}, "invalid_token", "token_issuer"),
    "of another server": ({"server": "aus3"}, "invalid_token", "token_issuer"),
    "expired": ({"expires_in": -1}, "invalid_token", "token_expired"),
    "bad signature": ({"signature": "bad"}, "invalid_token", "token_signature"),
    "unsigned": ({"signature": "none"}, "invalid_token", "token_signature"),
    "ID-JAG": ({"typ": "oauth-id-jag+jwt"}, "invalid_token", "token_is_id_jag"),
}


@pytest.mark.parametrize("name", TOKENS)
def test_agent_refuses(sandbox, name):
    parameters, error, reason = TOKENS[name]
    headers = {}
    if parameters is not None:
        if parameters.get("aud") == "SLASH":
            parameters = {"aud": sandbox.resource("agent2") + "/"}
        token = sandbox.mint(**{"type": "access_token", "audience": "agent2", **parameters})
        headers["Authorization"] = f"Bearer {token}"
    answer = sandbox.http.get(sandbox.url("agent2", "/a2a/whoami"), headers=headers)
    challenge = answer.headers["WWW-Authenticate"]
    assert answer.status_code == 401 and challenge.startswith("Bearer ")
    metadata = sandbox.url("agent2", "/.well-known/oauth-protected-resource")
    assert f'resource_metadata="{metadata}"' in challenge
    assert (f'error="{error}"' in challenge) if error else ("error=" not in challenge)
    assert answer.json()["reason"] == reason


def test_agent_refuses_user_token(sandbox):
    """What the whole project is about: the subject token itself opens nothing."""
    answer = sandbox.whoami(sandbox.mint())
    assert answer.status_code == 401 and answer.json()["reason"] == "token_issuer"


def test_two_authorizations(sandbox):
    token = sandbox.mint(type="access_token", audience="agent2")
    with socket.create_connection(("127.0.0.1", sandbox.port("agent2"))) as s:
        line = f"Authorization: Bearer {token}\r\n"
        s.sendall(f"GET /a2a/whoami HTTP/1.1\r\nHost: x\r\n{line}{line}\r\n".encode())
        assert b" 401 " in s.recv(4096)


def rpc(sandbox, method, agent="agent2", token=None, path="/a2a/", **params):
    token = token or sandbox.mint(type="access_token", audience=agent, scope="chat.read")
    return sandbox.http.post(
        sandbox.url(agent, path),
        json={"jsonrpc": "2.0", "id": 7, "method": method, "params": params},
        headers={"Authorization": f"Bearer {token}"},
        stream="tream" in method,
        timeout=20,
    )


def test_a2a_messages(sandbox):
    old = rpc(sandbox, "message/send").json()
    assert old["id"] == 7 and old["result"]["parts"][1]["data"]["user"] == "alice"
    new = rpc(sandbox, "SendMessage").json()
    assert new["result"]["message"]["parts"][1]["data"]["user"] == "alice"
    assert rpc(sandbox, "no/such").json()["error"]["code"] == -32601


def test_a2a_scope(sandbox):
    answer = rpc(sandbox, "sandbox/admin")
    assert answer.status_code == 403
    challenge = answer.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in challenge and 'scope="chat.admin"' in challenge
    token = sandbox.mint(type="access_token", audience="agent2", scope="chat.admin")
    assert rpc(sandbox, "sandbox/admin", token=token).status_code == 200


@pytest.mark.parametrize("method", ["message/stream", "SendStreamingMessage"])
def test_a2a_stream(sandbox, method):
    answer = rpc(sandbox, method, path="/a2a/?n=3&ms=150")
    assert answer.headers["Content-Type"] == "text/event-stream"
    arrived, events = [], []
    for line in answer.iter_lines(chunk_size=1):
        if line.startswith(b"data: "):
            arrived.append(time.monotonic())
            events.append(json.loads(line[6:]))
    assert len(events) == 3 and arrived[2] - arrived[0] > 0.2
    assert "alice" in json.dumps(events[2])


def test_agent_public_documents(sandbox):
    card = sandbox.http.get(sandbox.url("agent2", "/.well-known/agent-card.json")).json()
    assert card["url"] == sandbox.url("agent2", "/a2a/")
    document = sandbox.http.get(sandbox.url("agent2", "/.well-known/oauth-protected-resource")).json()
    assert document["resource"] == sandbox.resource("agent2")
    assert document["authorization_servers"] == [sandbox.issuer("aus2")]


def test_plain_endpoints(sandbox):
    get = lambda path, **kw: sandbox.http.get(sandbox.url("agent2", path), timeout=20, **kw)
    echo = sandbox.http.post(
        sandbox.url("agent2", "/echo?x=1"), data=b"abc", headers={"Authorization": "Bearer secret-1"}
    )
    assert echo.json()["body_sha256"].startswith("ba7816bf") and echo.json()["query"] == "x=1"
    assert "secret-1" not in echo.text
    assert get("/status/418").status_code == 418
    assert get("/status/204").status_code == 204
    assert len(get("/bytes/1000000").content) == 1000000
    chunked = get("/chunked/100000/1000")
    assert len(chunked.content) == 100000 and chunked.headers["Transfer-Encoding"] == "chunked"
    assert get("/sse?n=2&ms=10").text.count("data: ") == 2
    started = time.monotonic()
    assert get("/slow?ms=300").status_code == 200 and time.monotonic() - started >= 0.3
    cut = get("/close")  # requests does not mind
    assert cut.headers["Content-Length"] == "100" and cut.content == b"half"
    with pytest.raises(requests.exceptions.ConnectionError):
        get("/reset")
    assert get("/a2a/echo").status_code == 401
    assert sandbox.http.head(sandbox.url("agent2", "/bytes/5")).headers["Content-Length"] == "5"
    assert sandbox.http.head(sandbox.url("agent2", "/chunked/5/1")).content == b""


def test_client_that_leaves(sandbox):
    """Streams and delays whose peer has gone end; the server goes on."""
    for path in ("/sse?n=100&ms=20", "/bytes/100000000", "/slow?ms=200", "/chunked/900000/10"):
        with socket.create_connection(("127.0.0.1", sandbox.port("agent2"))) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            time.sleep(0.05)
    time.sleep(0.4)
    assert sandbox.http.get(sandbox.url("agent2", "/echo")).status_code == 200


def test_agent_calls_next(own_sandbox):
    """agent2 -> (proxy) -> agent3: here agent3 is its own proxy, and refuses the token it was not made for."""
    first = own_sandbox()
    second = own_sandbox("--agent2-proxy", f"http://u:p@127.0.0.1:{first.port('agent3')}")
    token = second.mint(type="access_token", audience="agent2")
    headers = {"Authorization": f"Bearer {token}"}
    answer = second.http.post(second.url("agent2", "/a2a/"), json={"call": "agent3"}, headers=headers)
    came_back = answer.json()["result"]["parts"][1]["data"]["agent3"]
    assert came_back["status"] in (401, 404), came_back
    record = first.records("agent3")[-1]
    assert record["path"].endswith("/a2a/")
    assert record["credential"] == answer.json()["result"]["parts"][1]["data"]["token_sha256"]


def test_agent_calls_next_without_proxy(sandbox):
    answer = rpc(sandbox, "message/send", message={"metadata": {"call": "agent3"}})
    assert answer.json()["result"]["parts"][1]["data"]["agent3"]["status"] == 0
