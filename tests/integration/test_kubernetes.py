"""Callers by Kubernetes service account token: a JWT that the cluster's published keys verify."""

import json
import subprocess
import threading
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import harness
from harness import b64url, wait_until
from rawnet import Connection, Origin, request, response

ISSUER = "https://kubernetes.default.svc.cluster.local"


class Cluster(Origin):
    """An issuer: publishes the keys in `published`; `mode` says how."""

    def __init__(self, folder):
        self.folder, self.keys, self.published, self.mode, self.gate = folder, {}, [], "well", threading.Event()
        self.gate.set()
        self.new_key("k1")
        super().__init__(self.serve)

    def new_key(self, kid, publish=True, key=None):
        key = key or rsa.generate_private_key(65537, 2048)
        path = self.folder / f"{kid}.pem"
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self.keys[kid] = str(path)
        if publish:
            self.published.append(kid)

    def jwk(self, kid):
        numbers = harness.load_key(self.keys[kid]).public_key().public_numbers()
        number = lambda n: b64url(n.to_bytes((n.bit_length() + 7) // 8, "big"))
        if isinstance(numbers, ec.EllipticCurvePublicNumbers):
            return {"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "x": b64url(numbers.x.to_bytes(32, "big")), "y": b64url(numbers.y.to_bytes(32, "big"))}
        return {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": number(numbers.n), "e": number(numbers.e)}

    def serve(self, asked):
        self.gate.wait(60)
        if self.mode == "down":
            return response(b"no", 503)
        body = json.dumps({"keys": [self.jwk(kid) for kid in self.published]}).encode()
        return response(body, fields=["Content-Type: application/jwk-set+json", "Cache-Control: max-age=3600"])

    def mint(self, account="agent1", namespace="team-a", kid="k1", header=None, **claims):
        now = int(time.time())
        whole = {
            "iss": ISSUER, "aud": ["tokenhop"], "sub": f"system:serviceaccount:{namespace}:{account}",
            "iat": now - 10, "nbf": now - 10, "exp": now + 600, "jti": "x",
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": "u"}, "pod": {"name": "p", "uid": "u"}},
            **claims,
        }
        return harness.sign_jwt(self.keys[kid], {k: v for k, v in whole.items() if v is not None}, kid=kid, **(header or {}))


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path) as one:
        yield one


@pytest.fixture
def hop(sandbox, tokenhop, cluster, tmp_path):
    def configure(config):
        del config["listeners"][1]
        del config["listeners"][0]["agent"]
        config["listeners"][0]["name"] = "shared"
        config["authorization_servers"]["cluster"] = {"issuer": ISSUER, "jwks_uri": f"http://{cluster.address}/openid/v1/jwks"}
        account = lambda name, issuer: {"issuer": issuer, "audience": "tokenhop", "namespace": "team-a", "service_account": name}
        config["callers"] = [
            {"name": "one", "agent": "agent1", "kubernetes": account("agent1", "cluster")},
            {"name": "two", "agent": "agent2", "kubernetes": account("agent2", ISSUER)},
        ]
        config["log"] = {"audit_file": str(tmp_path / "audit.jsonl")}

    hop = tokenhop(configure, agents=("agent1", "agent2"), alg="ES256")
    hop.place = int(hop.config["listeners"][0]["address"].rsplit(":", 1)[1])
    return hop


def bearer(token):
    return [f"Proxy-Authorization: Bearer {token}"]


def call(hop, sandbox, token, target="agent2", subject=None):
    with Connection(hop.place) as connection:
        url = sandbox.url(target, "/a2a/whoami")
        return connection.send(request(url, subject or sandbox.mint(user="alice"), fields=bearer(token))).read()


def test_r15_each_account_acts_as_its_agent(sandbox, cluster, hop, tmp_path):
    answer = call(hop, sandbox, cluster.mint())
    assert answer.status == 200 and answer.json()["chain"] == [sandbox.client_id("agent1")]
    second = sandbox.mint(user="alice", audience="agent2", type="access_token", client="agent1", chain=1)
    answer = call(hop, sandbox, cluster.mint("agent2"), "agent3", second)
    assert answer.status == 200 and answer.json()["chain"][0] == sandbox.client_id("agent2")
    assert call(hop, sandbox, cluster.mint("agent2")).json()["code"] == "destination_denied"
    assert len(cluster.requests) == 1  # once for all
    tokens = [cluster.mint(), cluster.mint("agent2")]
    hop.stop()
    lines = [json.loads(line) for line in hop.output.splitlines()]
    assert sorted(line["caller"] for line in lines) == ["one", "two", "two"]
    for token in tokens:  # no part of any in any log
        for part in token.split("."):
            assert part not in hop.output + hop.stderr + (tmp_path / "audit.jsonl").read_text()


def test_it_never_reaches_the_destination(sandbox, cluster, hop, origin):
    seen = origin()
    hop.config["connections"][0]["url"] = seen.url("/")
    hop.config["egress"]["allow"].append(seen.address)
    hop.reload()
    wait_until(lambda: "config.reloaded" in hop.stderr)
    token = cluster.mint()
    with Connection(hop.place) as connection:
        assert connection.send(request(seen.url(), sandbox.mint(user="alice"), fields=bearer(token))).read().status == 200
    assert len(seen.requests) == 1 and token.encode() not in seen.bytes and b"Proxy-" not in seen.bytes


FORGED = {
    "another namespace": lambda c: c.mint(namespace="team-b"),
    "another account": lambda c: c.mint("agent3"),
    "another audience": lambda c: c.mint(aud=["api"]),
    "no audience": lambda c: c.mint(aud=None),
    "another issuer": lambda c: c.mint(iss="https://elsewhere"),
    "sub and claims differ": lambda c: c.mint(sub="system:serviceaccount:team-a:agent2"),
    "expired": lambda c: c.mint(exp=int(time.time()) - 1),
    "no end": lambda c: c.mint(exp=None),
    "not yet": lambda c: c.mint(nbf=int(time.time()) + 300),
    "of the future": lambda c: c.mint(iat=int(time.time()) + 300),
    "cut": lambda c: c.mint()[:-4],
    "another's signature": lambda c: c.mint().rsplit(".", 1)[0] + "." + c.mint("agent2").rsplit(".", 1)[1],
    "unsigned": lambda c: c.mint().rsplit(".", 1)[0] + ".",
    "none": lambda c: b64url({"alg": "none"}) + "." + c.mint().split(".")[1] + ".",
    "no token": lambda c: "x" * 40,
}


@pytest.mark.parametrize("kind", FORGED)
def test_what_is_refused(sandbox, cluster, hop, kind):
    answer = call(hop, sandbox, FORGED[kind](cluster))
    assert answer.status == 407 and answer.json()["code"] == "caller_unauthenticated"
    assert sandbox.requests("org_token") == 0 and sandbox.requests("agent2") == 0


def test_a_key_that_is_not_published(sandbox, cluster, hop):
    cluster.new_key("evil", publish=False)
    assert call(hop, sandbox, cluster.mint(kid="evil")).status == 407
    asked = len(cluster.requests)
    for _ in range(5):  # whoever makes tokens up does not make us ask
        assert call(hop, sandbox, cluster.mint(kid="evil")).status == 407
    assert len(cluster.requests) == asked <= 2


def test_a_new_key_is_found(sandbox, cluster, hop):
    """Sets are asked for anew twice a minute at most: until then a token that is younger than the set is not its caller's fault."""
    assert call(hop, sandbox, cluster.mint()).status == 200
    cluster.new_key("k2", key=ec.generate_private_key(ec.SECP256R1()))
    statuses = []

    def accepted():
        statuses.append(call(hop, sandbox, cluster.mint(kid="k2", iat=int(time.time()) + 5)).status)
        time.sleep(0.2)
        return statuses[-1] == 200

    wait_until(accepted, 120)
    assert set(statuses[:-1]) <= {503}, statuses


def test_without_keys_it_is_nobodys_fault(sandbox, cluster, hop):
    cluster.mode = "down"
    answer = call(hop, sandbox, cluster.mint())
    assert answer.status == 503 and answer.json()["code"] == "exchange_unavailable" and answer.get("Retry-After")
    wait_until(lambda: "caller.keys" in hop.stderr)
    assert '"cluster"' in hop.stderr
    # who claims to be nobody's is refused all the same
    assert call(hop, sandbox, cluster.mint(namespace="team-b")).status == 407
    cluster.mode = "well"
    wait_until(lambda: call(hop, sandbox, cluster.mint()).status == 200, 120)


def test_nobody_else_waits_for_keys(sandbox, cluster, hop):
    """While the cluster is silent: this request waits, others do not; who leaves is forgotten."""
    cluster.gate.clear()
    token = cluster.mint()
    url = sandbox.url("agent2", "/a2a/whoami")
    waiting = [Connection(hop.place).send(request(url, sandbox.mint(user="alice"), fields=bearer(token))) for _ in range(6)]
    wait_until(lambda: len(cluster.requests) == 1)
    assert call(hop, sandbox, "x" * 40).status == 407
    waiting.pop().close()
    pipelined = waiting[0].send(request(url, sandbox.mint(user="alice"), fields=bearer(token)))
    cluster.gate.set()
    assert all(each.read().status == 200 for each in waiting) and pipelined.read().status == 200
    assert len(cluster.requests) == 1


def test_keys_that_do_not_come(sandbox, cluster, hop):
    hop.config["timeouts"] = {"exchange": "1s"}
    hop.reload()
    wait_until(lambda: "config.reloaded" in hop.stderr)
    cluster.gate.clear()
    answer = call(hop, sandbox, cluster.mint())
    assert answer.status == 503 and answer.json()["code"] == "exchange_unavailable"
    cluster.gate.set()


def test_a_tunnel_is_its_accounts(sandbox, cluster, hop):
    host = f"127.0.0.1:{sandbox.port('agent2')}"
    token = sandbox.mint(user="alice")
    inside = f"GET /a2a/whoami HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    open_it = lambda account: f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n{bearer(account)[0]}\r\n\r\n"
    with Connection(hop.place) as tunnel, Connection(hop.place) as short:
        assert tunnel.send(open_it(cluster.mint())).read("HEAD").status == 200
        assert short.send(open_it(cluster.mint(exp=int(time.time()) + 3))).read("HEAD").status == 200
        assert tunnel.send(inside).read().json()["chain"] == [sandbox.client_id("agent1")]
        wait_until(lambda: short.send(inside).read().status == 407, 20)  # it ends with the token
        hop.config["callers"].pop(0)
        hop.reload()
        wait_until(lambda: "config.reloaded" in hop.stderr)
        assert tunnel.send(inside).read().status == 407
    with Connection(hop.place) as refused:
        assert refused.send(open_it(cluster.mint("nobody"))).read().status == 407 and refused.is_closed(10)


def test_check_and_explain(sandbox, cluster, hop):
    run = lambda *words: subprocess.run([harness.binary("tokenhop"), *words, "-c", hop.file], capture_output=True, text=True, timeout=60)
    done = run("explain", sandbox.url("agent2", "/a2a/x"), "--caller", "one")
    assert done.returncode == 0 and "by a token of the service account team-a/agent1" in done.stdout, done
    one = hop.config["callers"][0]["kubernetes"]
    for change, said, where in (({"issuer": "clutser"}, "there is no authorization server", "issuer"), ({"namespace": "Team_A"}, "small letters", "namespace"),
                                ({"service_account": "agent2"}, "cannot be told apart", "")):
        hop.config["callers"][0]["kubernetes"] = {**one, **change}
        hop.write()
        done = run("check")
        assert done.returncode == 2 and said in done.stderr and f"$.callers[{0 if where else 1}]" in done.stderr and where in done.stderr, done
