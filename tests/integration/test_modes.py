"""Listeners that are no forward proxy: a gateway, and the answers to a data plane's questions (nginx itself)."""

import http.client
import json
import urllib.parse

import pytest

import harness
from harness import free_port, wait_until
from rawnet import Connection


@pytest.fixture
def listening(sandbox, tokenhop):
    """start(mode="gateway", scheme="http") -> a running tokenhop with one listener of that mode for agent1."""

    def start(change=None, **listener):
        def configure(config):
            config["listeners"][0].update({"scheme": "http", **listener})
            if change:
                change(config)

        return tokenhop(configure, alg="ES256")

    return start


def ask(hop, target, host, token=None, method="GET", fields=(), body=None):
    connection = http.client.HTTPConnection("127.0.0.1", hop.port, timeout=30)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in [("Host", host), *fields] if host else fields:
        connection.putheader(name, value)
    if token:
        connection.putheader("Authorization", f"Bearer {token}")
    if body:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    answer.text = answer.read().decode()
    connection.close()
    return answer


def place_of(sandbox, name="agent2"):
    return urllib.parse.urlsplit(sandbox.url(name)).netloc


# --- gateway ---


def test_gateway_takes_the_destination_from_host(sandbox, listening):
    hop = listening(mode="gateway")
    token = sandbox.mint(user="alice")
    answer = ask(hop, "/a2a/whoami?x=1", place_of(sandbox), token)
    assert answer.status == 200 and json.loads(answer.text)["user"] == "alice"
    assert ask(hop, "/a2a/whoami", place_of(sandbox)).status == 401
    assert ask(hop, "/x", "unknown.test", token).status == 403
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


@pytest.mark.parametrize(
    "head, status",
    [
        ("GET http://{place}/a2a/whoami HTTP/1.1\r\nHost: {place}\r\n", 400),
        ("GET /a2a/whoami HTTP/1.0\r\n", 400),
        ("GET /a2a/../a2a/whoami HTTP/1.1\r\nHost: {place}\r\n", 400),
        ("GET //a2a/whoami HTTP/1.1\r\nHost: {place}\r\n", 400),
        ("GET /a2a/whoami HTTP/1.1\r\nHost: user@{place}\r\n", 400),
        ("GET /a2a/whoami HTTP/1.1\r\nHost: {place}/x\r\n", 400),
        ("GET /a2a/whoami HTTP/1.1\r\nHost: {place}\r\nHost: {place}\r\n", 400),
        ("GET /a2a/whoami#x HTTP/1.1\r\nHost: {place}\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: {place}\r\n", 400),
        ("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n", 405),
        ("TRACE /a2a/whoami HTTP/1.1\r\nHost: {place}\r\n", 405),
    ],
)
def test_r7_gateway_refuses_what_is_no_plain_target(sandbox, listening, head, status):
    hop = listening(mode="gateway")
    token = sandbox.mint(user="alice")
    with Connection(hop.port) as connection:
        text = head.format(place=place_of(sandbox)) + f"Authorization: Bearer {token}\r\n\r\n"
        assert connection.send(text.encode()).read().status == status
    assert sandbox.requests("agent2") == 0


def test_r10_gateway_does_not_call_itself(sandbox, listening):
    hop = listening(lambda config: config.update(unmatched="forward"), mode="gateway")
    assert ask(hop, "/", f"127.0.0.1:{hop.port}").status in (403, 508)


def test_forward_proxy_is_no_gateway(sandbox, listening):
    hop = listening(mode="forward")
    answer = ask(hop, "/a2a/whoami", place_of(sandbox), sandbox.mint(user="alice"))
    assert answer.status == 400 and "absolute-form" in answer.text


def test_r11_gateway_body_and_stream(sandbox, listening, origin):
    seen = origin()

    def change(config):
        config["connections"][0]["url"] = seen.url("/")
        config["egress"]["allow"].append(seen.address)

    hop = listening(change, mode="gateway")
    token = sandbox.mint(user="alice")
    assert ask(hop, "/a2a/x", seen.address, token, "POST", body=b"hello" * 1000).status == 200
    (arrived,) = seen.requests
    assert arrived.body == b"hello" * 1000 and arrived.target == "/a2a/x" and arrived.all("Host") == [seen.address]
    assert token.encode() not in seen.bytes


# --- authz ---


def test_authz_answers_with_the_field(sandbox, listening):
    hop = listening(mode="authz")
    token = sandbox.mint(user="alice")
    answer = ask(hop, "/a2a/whoami", place_of(sandbox), token)
    assert answer.status == 200 and answer.text == "" and answer.getheader("Cache-Control") == "no-store"
    scheme, credential = answer.getheader("Authorization").split(" ")
    assert scheme == "Bearer" and credential != token
    assert sandbox.whoami(credential).json()["user"] == "alice"
    assert ask(hop, "/a2a/whoami", place_of(sandbox)).status == 401
    assert ask(hop, "/a2a/whoami", place_of(sandbox), sandbox.mint(user="carol")).status == 401
    refused = ask(hop, "/x", "unknown.test", token)
    assert refused.status == 403 and json.loads(refused.text)["code"] == "destination_denied"
    public = ask(hop, "/.well-known/agent-card.json", place_of(sandbox), token)
    assert public.status == 200 and public.getheader("Authorization") is None
    assert public.getheader("x-envoy-auth-headers-to-remove") == "authorization,dpop"
    assert sandbox.requests("agent2") == 1  # whoami() of this test: nothing was forwarded


def test_authz_says_that_cookies_stay_behind(sandbox, listening):
    token = sandbox.mint(user="alice")
    hop = listening(lambda config: config["connections"][0].update(cookies="drop"), mode="authz")
    answer = ask(hop, "/a2a/whoami", place_of(sandbox), token, fields=[("Cookie", "a=b")])
    assert answer.status == 200 and "cookie" in answer.getheader("x-envoy-auth-headers-to-remove").split(",")
    answer = ask(listening(mode="authz"), "/a2a/whoami", place_of(sandbox), token, fields=[("Cookie", "a=b")])
    assert "cookie" not in (answer.getheader("x-envoy-auth-headers-to-remove") or "")


def test_authz_original_request_is_the_data_planes_word_alone(sandbox, listening):
    """A caller who sends the fields that another kind of data plane uses, or the same twice, gets nothing by them."""
    token = sandbox.mint(user="alice")
    place = place_of(sandbox)
    forged = [("X-Original-Host", place), ("X-Original-URI", "/a2a/whoami"), ("X-Original-Method", "GET")]
    hop = listening(mode="authz")  # Envoy's way: the fields say nothing
    assert ask(hop, "/x", "unknown.test", token, fields=forged).status == 403
    hop = listening(mode="authz", original="x-original")
    assert ask(hop, "/auth", "tokenhop.test", token, fields=forged).status == 200
    assert ask(hop, "/auth", "tokenhop.test", token, fields=forged + forged[:1]).status == 400
    assert ask(hop, "/auth", "tokenhop.test", token, fields=forged[:2]).status == 400
    assert ask(hop, "/a2a/whoami", place, token).status == 400
    assert ask(hop, "/auth", "tokenhop.test", token, fields=[*forged[:2], ("X-Original-Method", "TRACE")]).status == 405
    hop = listening(mode="authz", original="x-forwarded")
    theirs = [("X-Forwarded-Host", place), ("X-Forwarded-Uri", "/a2a/whoami"), ("X-Forwarded-Method", "POST")]
    assert ask(hop, "/auth", "tokenhop.test", token, fields=theirs).status == 200
    assert ask(hop, "/auth", "tokenhop.test", token, fields=forged).status == 400


@pytest.mark.parametrize(
    "scheme, host, permitted",
    [
        ("http", "agent.test", False),  # who knows where that is
        ("http", "10.1.2.3", False),
        ("http", "169.254.169.254", False),
        ("https", "169.254.169.254", False),
        ("http", "clear.test", True),  # allow_cleartext
        ("https", "agent.test", True),
        ("https", "10.1.2.3", True),
    ],
)
def test_r11_authz_credential_is_for_where_it_may_go(sandbox, listening, scheme, host, permitted):
    """The data plane goes there itself: what the proxy would not send, is not given to it."""

    def change(config):
        first = next(c for c in config["connections"] if c["name"] == "agent2")
        first["url"] = [f"{s}://{h}/" for s in ("http", "https") for h in ("agent.test", "10.1.2.3", "169.254.169.254")]
        config["connections"].append({**first, "name": "clear", "url": "http://clear.test/", "allow_cleartext": True})

    hop = listening(change, mode="authz", scheme=scheme)
    answer = ask(hop, "/a2a/x", host, sandbox.mint(user="alice"))
    assert answer.status == (200 if permitted else 403)
    assert (answer.getheader("Authorization") is not None) == permitted
    assert (sandbox.exchanges("alice", "agent1-agent2") > 0) == permitted  # nothing is spent on what is refused


def test_r8_authz_unmatched_goes_where_the_proxy_would(sandbox, listening):
    hop = listening(lambda config: config.update(unmatched="forward"), mode="authz")
    own = ask(hop, "/", "unknown.test", fields=[("Authorization", "Basic eDp5")])
    assert own.status == 200 and own.getheader("Authorization") == "Basic eDp5"
    for host in ("169.254.169.254", "[fd00:ec2::254]", "10.1.2.3", f"127.0.0.1:{hop.port}"):
        answer = ask(hop, "/", host, fields=[("Authorization", "Basic eDp5")])
        assert answer.status in (403, 508) and answer.getheader("Authorization") is None


def test_r11_authz_subject_token_is_removed_whatever_bears_it(sandbox, listening):
    def change(config):
        first = next(c for c in config["connections"] if c["name"] == "agent2")
        first["subject"] = {"from": "header", "name": "X-User-Token"}

    hop = listening(change, mode="authz")
    fields = [("X-User-Token", sandbox.mint(user="alice")), ("DPoP", "proof")]
    answer = ask(hop, "/a2a/whoami", place_of(sandbox), fields=fields)
    assert answer.status == 200 and answer.getheader("Authorization").startswith("Bearer ")
    assert answer.getheader("x-envoy-auth-headers-to-remove") == "X-User-Token,dpop"
    public = ask(hop, "/.well-known/agent-card.json", place_of(sandbox), fields=fields)
    assert public.getheader("x-envoy-auth-headers-to-remove") == "authorization,X-User-Token,dpop"


def test_r3_authz_answer_is_whole_or_a_refusal(sandbox, listening):
    """What is to be sent as it came may be longer than a head that is written: never a part of it."""

    def change(config):
        config["limits"] = {"head": "1MiB"}
        config["connections"].append({"name": "own", "type": "passthrough", "url": "https://own.test/", "agents": ["agent1"]})

    hop = listening(change, mode="authz", scheme="https")
    long = "Basic " + "QUJD" * 50_000
    assert ask(hop, "/", "own.test", fields=[("Authorization", long[:60_000])]).getheader("Authorization") == long[:60_000]
    refused = ask(hop, "/", "own.test", fields=[("Authorization", long)])
    assert refused.status == 431 and refused.getheader("Authorization") is None


def test_r11_authz_max_forwards_is_no_way_past(sandbox, listening):
    """An answer in place of the destination would let the question's own token pass."""
    hop = listening(mode="authz")
    fields = [("Max-Forwards", "0")]
    answer = ask(hop, "/a2a/whoami", place_of(sandbox), sandbox.mint(user="alice"), "OPTIONS", fields)
    assert answer.status == 200 and answer.getheader("x-envoy-auth-headers-to-remove").startswith("authorization")


NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location = /_tokenhop {{
      internal;
      proxy_pass http://127.0.0.1:{authz};
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-Original-Host {place};
      proxy_set_header X-Original-URI $request_uri;
      proxy_set_header X-Original-Method $request_method;
    }}
    location / {{
      auth_request /_tokenhop;
      auth_request_set $credential $upstream_http_authorization;
      proxy_set_header Authorization $credential;
      proxy_set_header Host {place};
      proxy_pass http://{place};
    }}
  }}
}}
"""


@pytest.fixture
def nginx(tmp_path, beside):
    def start(**values):
        port = free_port()
        file = tmp_path / "nginx.conf"
        file.write_text(NGINX.format(folder=tmp_path, port=port, **values))
        beside(["nginx", "-e", "stderr", "-p", tmp_path, "-c", file], port)
        return port

    return start


def test_authz_with_nginx(sandbox, listening, nginx):
    hop = listening(mode="authz", original="x-original")
    port = nginx(authz=hop.port, place=place_of(sandbox))

    def call(path, token=None, fields=()):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request("GET", path, headers={**headers, **dict(fields)})
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        return answer

    token = sandbox.mint(user="alice")
    answer = call("/a2a/whoami", token)
    assert answer.status == 200 and json.loads(answer.text)["user"] == "alice"
    assert call("/a2a/whoami", token).status == 200 and sandbox.exchanges("alice", "agent1-agent2") == 1
    assert call("/a2a/whoami").status == 401
    assert call("/a2a/whoami", sandbox.mint(user="carol")).status == 401
    # what a caller sends in the data plane's fields is not taken for its word
    forged = {"X-Original-Host": "unknown.test", "X-Original-URI": "/.well-known/agent-card.json"}
    assert json.loads(call("/a2a/whoami", token, forged).text)["user"] == "alice"
    assert call("/.well-known/agent-card.json", token).status == 200
    arrived = sandbox.requests("agent2")
    assert call("/a2a/../a2a/whoami", token).status in (400, 500) and sandbox.requests("agent2") == arrived


@pytest.mark.parametrize("change", [{"mode": "authz"}, {"address": None}, {"scheme": "https"}])
def test_r10_reload_moves_no_listener_and_changes_no_mode(sandbox, listening, change):
    """The gate keeps requests away from where the configuration says that listeners are; and a gateway's caller is not
    of a sudden given credentials."""
    hop = listening(mode="gateway")
    token = sandbox.mint(user="alice")
    port = hop.port
    change = {name: value or f"127.0.0.1:{free_port()}" for name, value in change.items()}
    hop.config["listeners"][0].update(change)
    hop.reload()
    wait_until(lambda: "config.kept" in hop.stderr)
    assert '"path":"$.listeners"' in hop.stderr and "restart" in hop.stderr
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/a2a/whoami", headers={"Host": place_of(sandbox), "Authorization": f"Bearer {token}"})
    assert json.loads(connection.getresponse().read())["user"] == "alice"
    connection.close()
