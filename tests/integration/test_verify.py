"""Subject tokens are verified before anything is spent on them (R11, R28), and servers are found by their metadata.

The counters of the sandbox tell what was asked: an exchange that was not begun has asked no token endpoint.
"""

import concurrent.futures
import hashlib
import hmac
import http.server
import json
import threading
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import Client, b64url, decode, sign_jwt, wait_until


def pem(key, path):
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return str(path)


def jwk(key, kid, **more):
    numbers = key.public_key().public_numbers()
    return {
        "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig",
        "x": b64url(numbers.x.to_bytes(32, "big")), "y": b64url(numbers.y.to_bytes(32, "big")), **more,
    }  # fmt: skip


class Publisher:
    """Publishes documents: path -> object, or (status, bytes). Keeps the paths that were asked for."""

    def __init__(self):
        self.documents, self.asked, self.fields = {}, [], {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                found = outer.documents.get(self.path, (404, b""))
                status, body = found if isinstance(found, tuple) else (200, json.dumps(found).encode())
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                for name, value in outer.fields.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def url(self, path=""):
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def publisher():
    published = Publisher()
    yield published
    published.close()


@pytest.fixture
def issuer(sandbox, publisher, tmp_path):
    """Plays the org's signing: keys of its own, published where the configuration says. The sandbox refuses
    what it signs, after it was asked: that tells a token that verifies from one that does not."""

    class Issuer:
        keys = {}

        def add(self, kid):
            key = ec.generate_private_key(ec.SECP256R1())
            self.keys[kid] = key
            return pem(key, tmp_path / f"{kid}.pem")

        def publish(self, *kids):
            publisher.documents["/keys"] = {"keys": [jwk(self.keys[kid], kid) for kid in kids]}

        def claims(self, **changes):
            now = int(time.time())
            whole = {"iss": sandbox.issuer(), "aud": sandbox.client_id("agent1"), "sub": "00u1", "iat": now - 5,
                     "exp": now + 600, **changes}  # fmt: skip
            return {name: value for name, value in whole.items() if value is not None}

        def sign(self, file, kid, header=None, **changes):
            return sign_jwt(file, self.claims(**changes), kid=kid, **(header or {}))

        def change(self, config):
            config["authorization_servers"]["org"]["jwks_uri"] = publisher.url("/keys")

    return Issuer()


def verify(value):
    def change(config):
        for connection in config["connections"]:
            connection["subject"] = {"verify": value}

    return change


def ask(hop, sandbox, token):
    return hop.get(sandbox.url("agent2", "/a2a/whoami"), token)


def check(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    return answer.json().get("detail", "")


def test_verified_once_a_subject(sandbox, tokenhop):
    hop = tokenhop()
    tokens = [sandbox.mint(user=user) for user in ("alice", "bob")]
    for token in tokens * 5:
        assert ask(hop, sandbox, token).status_code == 200
    assert sandbox.requests("org_keys") == 1
    assert sandbox.exchanges("alice", "agent1-agent2") == sandbox.exchanges("bob", "agent1-agent2") == 1


def test_machine_subject_of_a_custom_server(sandbox, tokenhop):
    """Okta's org and its custom servers are one org: each signs by keys of its own."""
    hop = tokenhop(verify(True), agents=["agent1", "agent2"])
    token = Client(sandbox, "agent1").both_legs(sandbox.mint())
    assert hop.get(sandbox.url("agent3", "/a2a/whoami"), token, agent="agent2").status_code == 200
    assert sandbox.requests("org_keys") == 0 and sandbox.requests("aus2_keys") == 1


@pytest.mark.parametrize("change", [None, verify(True)], ids=["default", "verify"])
def test_R11_forged_subjects(sandbox, tokenhop, change):
    hop = tokenhop(change)
    good = sandbox.mint()
    header, claims = decode(good)
    parts = good.split(".")
    key = sandbox.http.get(sandbox.endpoint("org", "jwks_uri"), timeout=30).json()["keys"][0]

    def forge(header, secret=None):
        text = f"{b64url(header)}.{parts[1]}"
        if secret is None:
            return f"{text}."
        return f"{text}.{b64url(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"

    forged = {
        "wrong signature": sandbox.mint(signature="bad"),
        "none": forge({**header, "alg": "none"}),
        "None": forge({**header, "alg": "None"}),
        "none with a signature": f"{b64url({**header, 'alg': 'none'})}.{parts[1]}.{parts[2]}",
        "HS256 with the public key": forge({**header, "alg": "HS256"}, json.dumps(key).encode()),
        "HS256 with its modulus": forge({**header, "alg": "HS256"}, (key.get("n") or key["x"]).encode()),
        "unknown kid": f"{b64url({**header, 'kid': 'nobody'})}.{parts[1]}.{parts[2]}",
        "other claims": f"{parts[0]}.{b64url({**claims, 'sub': 'mallory'})}.{parts[2]}",
        "no end": f"{parts[0]}.{b64url({**claims, 'exp': 'x'})}.{parts[2]}",
    }
    for name, token in forged.items():
        detail = check(ask(hop, sandbox, token), 401, "subject_token_invalid")
        print(name, detail)
        assert "the subject token is not accepted: " in detail
        for part in token.split("."):
            assert part[:20] not in detail or not part
    check(ask(hop, sandbox, sandbox.mint(expires_in=-5)), 401, "subject_token_invalid")
    assert sandbox.requests("org_token") == 0
    assert ask(hop, sandbox, good).status_code == 200


def test_verify_false_leaves_it_to_the_server(sandbox, tokenhop):
    hop = tokenhop(verify(False))
    check(ask(hop, sandbox, sandbox.mint(signature="bad")), 401, "subject_token_invalid")
    assert sandbox.requests("org_token") == 1 and sandbox.requests("org_keys") == 0


def test_verify_true_takes_only_what_can_be(sandbox, tokenhop, issuer):
    hop = tokenhop(verify(True))
    for token in ("opaque-token", issuer.sign(issuer.add("k"), "k", iss="https://elsewhere.example")):
        check(ask(hop, sandbox, token), 401, "subject_token_invalid")
    assert sandbox.requests("org_token") == 0
    assert ask(hop, sandbox, sandbox.mint()).status_code == 200


def test_default_passes_what_it_cannot_judge(sandbox, tokenhop):
    hop = tokenhop()
    check(ask(hop, sandbox, sandbox.mint(iss="https://elsewhere.example")), 401, "subject_token_invalid")
    assert sandbox.requests("org_token") == 1 and sandbox.requests("org_keys") == 0


def test_times_and_audience(sandbox, tokenhop, issuer):
    file = issuer.add("a")
    issuer.publish("a")
    hop = tokenhop(issuer.change)
    now = int(time.time())
    resource = sandbox.resource("agent1")
    good = [{}, {"nbf": now + 30}, {"iat": now + 30}, {"aud": resource, "scp": ["x"]}, {"iat": None}]
    bad = [{"nbf": now + 120}, {"iat": now + 120}, {"exp": None}, {"aud": resource + "/", "scp": ["x"]}, {"aud": None}]
    for changes in bad:
        check(ask(hop, sandbox, issuer.sign(file, "a", **changes)), 401, "subject_token_invalid")
    assert sandbox.requests("org_token") == 0
    for n, changes in enumerate(good, 1):
        ask(hop, sandbox, issuer.sign(file, "a", **changes))
        assert sandbox.requests("org_token") == n, changes


def test_key_rotation(sandbox, tokenhop, issuer, publisher):
    """A key that is published when the set is first asked for; one that comes later is asked for at most every
    half minute, and until then it is not the token that is blamed."""
    old, new = issuer.add("old"), issuer.add("new")
    issuer.publish("old")
    hop = tokenhop(issuer.change)
    ask(hop, sandbox, issuer.sign(old, "old"))
    assert sandbox.requests("org_token") == 1 and publisher.asked == ["/keys"]
    issuer.publish("old", "new")
    time.sleep(1.1)  # iat is in seconds
    answer = ask(hop, sandbox, issuer.sign(new, "new", iat=int(time.time())))
    check(answer, 503, "exchange_unavailable")
    assert 1 <= int(answer.headers["Retry-After"]) <= 30
    # one that says it was issued before would be signed by a key of the set
    check(ask(hop, sandbox, issuer.sign(new, "new", iat=int(time.time()) - 100)), 401, "subject_token_invalid")
    assert sandbox.requests("org_token") == 1 and publisher.asked == ["/keys"]
    hop.stop()
    # a process that asks now finds it, and no token need name its key
    hop = tokenhop(issuer.change)
    for n, (file, kid) in enumerate([(new, "new"), (old, "old"), (new, None)], 2):
        ask(hop, sandbox, issuer.sign(file, kid))
        assert sandbox.requests("org_token") == n
    assert publisher.asked == ["/keys"] * 2


NO_KEYS = ["status", "unavailable", "html", "reset", "close_mid_body", "garbage_json", "empty", "array", "redirect",
           "oversized_json", "deep_json", "garbage_http"]  # fmt: skip


@pytest.mark.parametrize("kind", NO_KEYS)
def test_R28_no_keys(sandbox, tokenhop, kind):
    """Fail closed, and it is not the caller who is blamed."""
    hop = tokenhop()
    sandbox.fault("org_keys", kind, count=-1)
    token = sandbox.mint()
    answer = ask(hop, sandbox, token)
    assert "keys of authorization server" in check(answer, 503, "exchange_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert sandbox.requests("org_token") == 0
    assert "/sandbox/followed" not in json.dumps(sandbox.stats())
    sandbox.clear_faults()
    wait_until(lambda: ask(hop, sandbox, token).status_code == 200, 20)


def test_R22_keys_that_never_come(sandbox, tokenhop):
    hop = tokenhop(lambda config: config.update(timeouts={"exchange": "400ms"}))
    sandbox.fault("org_keys", "hang", count=-1, ms=20000)
    check(ask(hop, sandbox, sandbox.mint()), 504, "exchange_timeout")
    assert sandbox.requests("org_token") == 0
    sandbox.clear_faults()


@pytest.mark.threads
def test_keys_are_fetched_once_for_all_workers(sandbox, tokenhop):
    hop = tokenhop(lambda config: config.update(workers=2))
    sandbox.fault("org_keys", "slow", count=1, ms=300)
    tokens = [sandbox.mint(user=user, claims={"n": n}) for n in range(12) for user in ("alice", "bob")]
    with concurrent.futures.ThreadPoolExecutor(len(tokens)) as pool:
        answers = list(pool.map(lambda token: ask(hop, sandbox, token).status_code, tokens))
    assert answers == [200] * len(tokens)
    assert sandbox.requests("org_keys") == 1


# Servers that are not Okta's


@pytest.fixture
def found(sandbox, publisher):
    """The org under a name of its own, with metadata at one of the places."""

    def make(place, issuer=None, **members):
        of = publisher.url("/realms/x")
        publisher.documents[place] = {
            "issuer": issuer or of,
            "token_endpoint": sandbox.endpoint("org"),
            "jwks_uri": sandbox.endpoint("org", "jwks_uri"),
            **members,
        }

        def change(config):
            config["authorization_servers"]["org"] = {"issuer": of}

        return change

    return make


AS, OIDC = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
PLACES = [f"{AS}/realms/x", f"{OIDC}/realms/x", f"/realms/x{OIDC}"]


@pytest.mark.parametrize("n", range(3))
def test_discovery(sandbox, tokenhop, publisher, found, n):
    hop = tokenhop(found(PLACES[n]))
    for user in ("alice", "bob", "alice"):
        assert ask(hop, sandbox, sandbox.mint(user=user)).status_code == 200
    assert publisher.asked == PLACES[: n + 1]  # once, in this order


def test_keys_of_a_server_that_is_found(sandbox, tokenhop, publisher, found, issuer):
    file = issuer.add("a")
    issuer.publish("a")
    hop = tokenhop(found(PLACES[0], jwks_uri=publisher.url("/keys")))
    good = issuer.sign(file, "a", iss=publisher.url("/realms/x"))
    bad = good[:-8] + ("AAAAAAAA" if good[-8:] != "AAAAAAAA" else "BBBBBBBA")
    check(ask(hop, sandbox, bad), 401, "subject_token_invalid")
    assert publisher.asked == [PLACES[0], "/keys"] and sandbox.requests("org_token") == 0
    ask(hop, sandbox, good)
    assert publisher.asked == [PLACES[0], "/keys"] and sandbox.requests("org_token") == 1


WRONG = {
    "nothing there": (lambda p: p.documents.clear(), 502, "exchange_failed"),
    "another issuer": (lambda p: p.documents[PLACES[0]].update(issuer=p.url("/realms/y")), 502, "exchange_failed"),
    "no endpoint": (lambda p: p.documents[PLACES[0]].pop("token_endpoint"), 502, "exchange_failed"),
    "file": (lambda p: p.documents[PLACES[0]].update(token_endpoint="file:///etc/passwd"), 502, "exchange_failed"),
    "down": (lambda p: p.documents.update({PLACES[0]: (503, b"")}), 503, "exchange_unavailable"),
}


@pytest.mark.parametrize("name", WRONG)
def test_R28_discovery_fails(sandbox, tokenhop, publisher, found, name):
    hop = tokenhop(found(PLACES[0]))
    spoil, status, code = WRONG[name]
    spoil(publisher)
    check(ask(hop, sandbox, sandbox.mint()), status, code)
    assert sandbox.requests("org_token") == 0
