"""Certificates of our own (RFC 8705): agents that authenticate by one, destinations that are shown one, tokens that
are bound to one; and that none is ever taken for another."""

import concurrent.futures
import contextlib
import hashlib
import json
import ssl
import subprocess
import urllib.parse

import pytest

import harness
from harness import ORIGIN, b64url
from rawnet import SLOW, Origin, response
from tlsnet import DAY, Identity, TlsOrigin

TX = "urn:ietf:params:oauth:grant-type:token-exchange"
JB = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FORM = "application/x-www-form-urlencoded"


def jwt(**claims):
    return f"{b64url({'alg': 'none', 'typ': 'JWT'})}.{b64url(claims)}.{b64url(b'signature')}"


class Server:
    """An authorization server that knows clients by certificate alone. Two ports: one that asks for certificates,
    the other serves the metadata and must never be asked for a token."""

    def __init__(self, world, registered, cnf=None):
        self.registered, self.cnf = registered, cnf  # client id -> DER
        self.asked = []  # (path, client id, whether the certificate was its own)
        self.certified = TlsOrigin(world.server, self.answer, world.ask)
        self.plain = TlsOrigin(world.server, self.describe)
        self.issuer = f"https://{ORIGIN}:{self.plain.port}/as"  # with a path that is not of Okta's shape

    def close(self):
        self.certified.close()
        self.plain.close()

    def describe(self, request):
        if request.method != "GET":
            return response(status=500)
        certified = f"https://{ORIGIN}:{self.certified.port}"
        document = {
            "issuer": self.issuer,
            "token_endpoint": f"{self.issuer}/token",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "mtls_endpoint_aliases": {
                "token_endpoint": f"{certified}/token",
                "revocation_endpoint": f"{certified}/revoke",
            },
        }
        return response(json.dumps(document).encode(), fields=["Content-Type: application/json"])

    def answer(self, request):
        status, body = self.judge(request)
        fields = ["Content-Type: application/json", "Cache-Control: no-store"]
        return response(json.dumps(body).encode(), status, fields)

    def judge(self, request):
        pairs = urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True, keep_blank_values=True)
        form = dict(pairs)
        if len(form) != len(pairs) or request.get("Content-Type") != FORM or request.method != "POST":
            return 400, {"error": "invalid_request"}
        client = form.get("client_id")
        own = self.certified.peer.der is not None and self.certified.peer.der == self.registered.get(client)
        self.asked.append((request.target, client, own))
        proofs = [name for name in form if name.startswith("client_assertion") or name == "client_secret"]
        if not own or proofs or request.all("Authorization"):
            return 401, {"error": "invalid_client", "error_description": "not its certificate"}
        if request.target != "/token":
            return 404, {}
        if form["grant_type"] == TX:
            token = f"jag-{client}-{form['subject_token']}"
            return 200, {"access_token": token, "token_type": "N_A", "expires_in": 300,
                         "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag"}  # fmt: skip
        assert form["grant_type"] == JB
        if not form["assertion"].startswith(f"jag-{client}-"):
            return 400, {"error": "invalid_grant"}
        subject = form["assertion"].removeprefix(f"jag-{client}-")
        token = f"at-{client}-{subject}"
        if self.cnf is not None:
            token = jwt(sub=subject, client_id=client, cnf=self.cnf)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600}


class World:
    def __init__(self, folder, authority, server):
        self.authority, self.server = authority, server
        self.agents = [Identity(folder, f"agent{i}", names=None, issuer=self.authority) for i in (1, 2)]
        self.own = Identity(folder, "self-signed", names=None)
        self.stranger = Identity(folder, "stranger", names=None, issuer=self.authority)

    def ask(self, context):
        """Of a TLS server: every certificate that is trusted is let through."""
        context.verify_mode = ssl.CERT_OPTIONAL
        for file in (self.authority.ca_file, self.own.ca_file):
            context.load_verify_locations(file)


@pytest.fixture(scope="module")
def world(folder, authority, good):
    return World(folder, authority, good)


def certificate(identity, **more):
    return {"cert_file": str(identity.file), "key_file": str(identity.file), **more}


def auth(identity, method="tls_client_auth"):
    return certificate(identity, method=method)


@pytest.fixture
def started():
    with contextlib.ExitStack() as stack:
        yield lambda it: stack.enter_context(contextlib.closing(it))


@pytest.fixture
def server(world, started):
    return lambda registered, cnf=None: started(Server(world, registered, cnf))


def config_of(world, server, agents, origins):
    """One agent and listener for each (name, client id, auth); one connection for each (name, origin, agents, more)."""
    return {
        "listeners": [
            {"name": name, "address": f"127.0.0.1:{harness.free_port()}", "agent": name} for name, _, _ in agents
        ],
        "authorization_servers": {"as": {"issuer": server.issuer, "ca_file": str(world.authority.ca_file)}},
        "agents": {
            name: {"client_id": client, "auth": auth, "authorization_server": "as"} for name, client, auth in agents
        },
        "connections": [
            {
                "name": name,
                "url": f"{f'https://{ORIGIN}' if isinstance(origin, TlsOrigin) else 'http://127.0.0.1'}:{origin.port}"
                f"{more.pop('path', '/')}",
                "type": "agent_to_agent",
                "agents": users,
                "authorization_server": "as",
                "resource": "https://agent2.example/",
                "subject": {"type": "access_token", "verify": False},
                "issued_checks": {"audience": False, "chain": False, "subject": False, "scope": False},
                **more,
            }
            for name, origin, users, more in origins
        ],
        "egress": {"allow": [f"127.0.0.1:{origin.port}" for _, origin, _, _ in origins]},
        "origin": {"ca_file": str(world.authority.ca_file)},
        "workers": 1,
    }


@pytest.fixture
def run(tmp_path):
    running = []

    def start(config):
        folder = tmp_path / f"tokenhop{len(running)}"
        folder.mkdir()
        running.append(harness.Tokenhop(config, folder).start())
        return running[-1]

    yield start
    for hop in running:
        hop.stop()


def echo(request):
    return response(request.get("Authorization", "none").encode())


@pytest.mark.parametrize("method", ["tls_client_auth", "self_signed_tls_client_auth"])
def test_r12_each_method(world, server, started, run, method):
    """At the aliases of the metadata, on kept connections, with the client id and nothing else."""
    identity = world.agents[0] if method == "tls_client_auth" else world.own
    place = server({"c1": identity.der})
    origin = started(Origin(echo))
    hop = run(config_of(world, place, [("a1", "c1", auth(identity, method))], [("b", origin, ["a1"], {})]))
    for subject in ("one", "two"):
        answer = hop.get(origin.url("/"), subject, agent="a1")
        assert (answer.status_code, answer.text) == (200, f"Bearer at-c1-{subject}"), hop.stderr
    assert place.asked == [("/token", "c1", True)] * 4
    assert len(place.certified.shown) == 1  # one connection for all of them
    assert {r.method for r in place.plain.requests} == {"GET"}


def test_r28_wrong_certificate_is_refused(world, server, started, run):
    """It is the agent that is refused, and not the caller: never a 401."""
    place = server({"c1": world.agents[0].der})
    origin = started(Origin(echo))
    hop = run(config_of(world, place, [("a1", "c1", auth(world.stranger))], [("b", origin, ["a1"], {})]))
    answer = hop.get(origin.url("/"), "one", agent="a1")
    assert answer.status_code == 502, answer.text
    assert "invalid_client" in answer.json()["detail"]
    assert place.asked == [("/token", "c1", False)] and origin.requests == []


def test_r15_certificates_of_two_agents_are_never_mixed(world, server, started, run):
    """One worker, one server, many exchanges at a time: each shows the certificate of its own client id."""
    place = server({f"c{i}": world.agents[i - 1].der for i in (1, 2)})
    origin = started(Origin(echo))
    agents = [(f"a{i}", f"c{i}", auth(world.agents[i - 1])) for i in (1, 2)]
    hop = run(config_of(world, place, agents, [("b", origin, ["a1", "a2"], {})]))

    def call(i):
        which = i % 2 + 1
        answer = hop.get(origin.url("/"), f"s{i}", agent=f"a{which}")
        return answer.status_code == 200 and answer.text == f"Bearer at-c{which}-s{i}"

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(call, range(80)))
    assert len(place.asked) == 160 and all(own for _, _, own in place.asked)
    assert set(place.certified.shown) == {world.agents[0].der, world.agents[1].der}
    assert len(place.certified.shown) < 160  # they were kept, and not mixed


def asks(world, started):
    """A destination that answers with whose certificate it was shown."""
    made = []

    def tell(request):
        der = made[0].peer.der
        known = {it.der: f"agent{i}" for i, it in enumerate(world.agents, 1)}
        return response(known.get(der, "none" if der is None else "?").encode())

    made.append(started(TlsOrigin(world.server, tell, world.ask)))
    return made[0]


def test_r19_two_connections_to_one_host_show_their_own(world, server, started, run):
    """Neither a pooled connection nor a session is shared by them, nor with what shows none."""
    place = server({"c1": world.agents[0].der})
    origin = asks(world, started)
    hop = run(
        config_of(
            world,
            place,
            [("a1", "c1", auth(world.agents[0]))],
            [
                ("one", origin, ["a1"], {"path": "/one/", "client_certificate": certificate(world.agents[0])}),
                ("two", origin, ["a1"], {"path": "/two/", "client_certificate": certificate(world.agents[1])}),
                ("three", origin, ["a1"], {"path": "/three/"}),
            ],
        )
    )
    wanted = {"one": "agent1", "two": "agent2", "three": "none"}

    def call(name):
        return hop.get(f"http://{ORIGIN}:{origin.port}/{name}/x", "subject", agent="a1").text == wanted[name]

    for _ in range(3):
        assert all(call(name) for name in wanted)
    assert len(origin.shown) == 3  # each its own, and each kept
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert all(pool.map(call, list(wanted) * 20))
    before = len(origin.shown)
    hop.config["connections"][0]["client_certificate"] = certificate(world.agents[1])
    hop.write()
    hop.reload()
    wanted["one"] = "agent2"
    harness.wait_until(lambda: call("one"), 10 * SLOW)
    assert all(call(name) for name in wanted)
    assert origin.shown[before:] == [world.agents[1].der]  # the others serve on


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_r19_certificate_that_the_destination_refuses(world, server, started, run, version):
    """In TLS 1.3 its alert comes when the request is sent already, and may be lost with the connection."""
    place = server({"c1": world.agents[0].der})

    def want(context):
        context.maximum_version = version
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(world.own.ca_file)  # nobody else's

    origin = started(TlsOrigin(world.server, echo, want))
    more = {"client_certificate": certificate(world.agents[0])}
    hop = run(config_of(world, place, [("a1", "c1", auth(world.agents[0]))], [("b", origin, ["a1"], more)]))
    answer = hop.get(f"http://{ORIGIN}:{origin.port}/x", "one", agent="a1")
    assert (answer.status_code, answer.json()["code"]) == (502, "origin_failed"), answer.text
    if version == ssl.TLSVersion.TLSv1_2:
        assert "refuses the connection's client certificate" in answer.json()["detail"]
    assert origin.requests == []


def test_r26_token_bound_to_a_certificate(world, server, started, run):
    """It goes where the connection shows that certificate, and nowhere else (RFC 8705, 3)."""
    bound = b64url(hashlib.sha256(world.agents[0].der).digest())
    place = server({"c1": world.agents[0].der}, cnf={"x5t#S256": bound})
    origin = asks(world, started)
    hop = run(
        config_of(
            world,
            place,
            [("a1", "c1", auth(world.agents[0]))],
            [
                ("same", origin, ["a1"], {"path": "/same/", "client_certificate": certificate(world.agents[0])}),
                ("other", origin, ["a1"], {"path": "/other/", "client_certificate": certificate(world.agents[1])}),
                ("none", origin, ["a1"], {"path": "/none/"}),
            ],
        )
    )
    where = f"http://{ORIGIN}:{origin.port}"
    assert hop.get(f"{where}/same/x", "one", agent="a1").text == "agent1"
    for name, reason in [("other", "bound to another certificate"), ("none", "has no client_certificate")]:
        answer = hop.get(f"{where}/{name}/x", "one", agent="a1")
        assert answer.status_code == 502 and reason in answer.json()["detail"], answer.text
    assert [r.target for r in origin.requests] == ["/same/x"]
    subject = hop.folder / "subject"
    subject.write_text("one")
    subject.chmod(0o600)
    shown = subprocess.run(
        [harness.binary("tokenhop"), "exchange", "-c", hop.file, "--connection", "same", "--subject-file", subject],
        env=harness.names_known(), capture_output=True, timeout=60 * SLOW,
    )  # fmt: skip
    assert b"bound to the connection's client_certificate" in shown.stdout, shown


def test_check_finds_a_certificate_that_is_of_no_use(world, folder, server, tmp_path):
    place = server({})
    expired = Identity(folder, "expired", names=None, issuer=world.authority, start=-2 * DAY, end=-DAY)
    wrong = {"method": "tls_client_auth", "cert_file": str(world.agents[0].file), "key_file": str(world.agents[1].file)}
    for bad, reason in [(auth(expired), b"has expired"), (wrong, b"not that of the certificate")]:
        origin = Origin.__new__(Origin)
        origin.port = 1
        file = tmp_path / "bad.jsonc"
        file.write_text(json.dumps(config_of(world, place, [("a1", "c1", bad)], [("b", origin, ["a1"], {})])))
        result = subprocess.run([harness.binary("tokenhop"), "check", "-c", file], capture_output=True, timeout=60)
        assert result.returncode == 2 and reason in result.stderr + result.stdout, result
