"""Client certificates: on a listener that asks for them, and forwarded by a sidecar; who is known by one (R15)."""

import copy
import datetime
import json
import os
import socket
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

import harness
from harness import ORIGIN, wait_until
from rawnet import SLOW, Connection, request, response
from test_listen_tls import Inside, Secure, connect, intercepting, speaking  # noqa: F401: fixtures
from tlsnet import DAY, PROXY_NAMES, Identity

SPIFFE = "spiffe://example.org/ns/a/sa/planner"


def uri(text):
    return x509.UniformResourceIdentifier(text)


@pytest.fixture(scope="module")
def clients_ca(folder):
    return Identity(folder, "Clients' CA", authority=True)


@pytest.fixture(scope="module")
def client(folder, clients_ca):
    """client(names, **more): a certificate for a client."""
    def make(*names, name="client", issuer=clients_ca, usage=("client",), **more):
        return Identity(folder, name, names=list(names), issuer=issuer, usage=usage, **more)

    return make


CALLERS = [
    {"name": "planner", "agent": "agent1", "certificate": {"san": SPIFFE}},
    {"name": "tools", "agent": "agent2", "certificate": {"san": "Tools.Example.org"}},
    {"name": "legacy", "agent": "agent1", "certificate": {"subject": "CN=legacy\\, old, OU=Agents,O=Example"}},
]


@pytest.fixture
def asking(speaking, clients_ca):  # noqa: F811
    """A listener that knows callers by certificates."""
    def start(mode="required", change=None, **kwargs):
        def configure(config):
            del config["listeners"][1:]
            first = config["listeners"][0]
            del first["agent"]
            first["name"] = "mesh"
            first["tls"].update(client_certificate=mode, client_ca_file=str(clients_ca.ca_file))
            config["callers"] = copy.deepcopy(CALLERS)
            config["workers"] = 1
            if change is not None:
                change(config)

        return speaking(configure, agents=("agent1", "agent2"), **kwargs)

    return start


def shows(hop, identity, **more):
    context = hop.context(**more)
    context.load_cert_chain(identity.file)
    return context


def tokens(sandbox):
    """What agent1 and agent2 were called with."""
    return sandbox.mint(user="alice"), sandbox.mint(user="alice", audience="agent2", type="access_token", client="agent1", chain=1)


# --- who is let in ---


def revoked_by(issuer, identity):
    return str(issuer.write_list(identity))


REFUSED = {
    "none": "showed no certificate",
    "self-signed": "self-signed",
    "of another authority": "not in client_ca_file",
    "expired": "expired",
    "not yet valid": "not yet valid",
    "without usage": "clientAuth",
    "for servers": "clientAuth",
    "revoked": "revoked",
}


@pytest.mark.parametrize("mode", ["required", "optional"])
def test_r15_who_is_let_in(sandbox, asking, client, folder, clients_ca, mode):
    other = Identity(folder, "Other CA", authority=True)
    bad = {
        "none": None,
        "self-signed": client(uri(SPIFFE), issuer=None),
        "of another authority": client(uri(SPIFFE), issuer=other),
        "expired": client(uri(SPIFFE), start=-2 * DAY, end=-DAY),
        "not yet valid": client(uri(SPIFFE), start=DAY, end=2 * DAY),
        "without usage": client(uri(SPIFFE), usage=()),
        "for servers": client(uri(SPIFFE), usage=("server",)),
        "revoked": client(uri(SPIFFE)),
    }
    hop = asking(mode, lambda config: config["listeners"][0]["tls"].update(client_crl_file=revoked_by(clients_ca, bad["revoked"])))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice")
    done = hop.curl(url, token, "--proxy-cert", client(uri(SPIFFE)).file)
    assert done.returncode == 0 and json.loads(done.stdout)["chain"] == [sandbox.client_id("agent1")], done
    asked = sandbox.requests("agent2")
    for name, identity in bad.items():
        if mode == "optional" and name == "none":
            continue
        said = hop.stderr.count(REFUSED[name])
        done = hop.curl(url, token, *(["--proxy-cert", identity.file] if identity else []))
        assert done.returncode != 0 and not done.stdout, (name, done)
        wait_until(lambda: hop.stderr.count(REFUSED[name]) > said)
    if mode == "optional":
        done = hop.curl(url, token)
        assert done.returncode == 0 and json.loads(done.stdout)["code"] == "caller_unknown", done
    assert sandbox.requests("agent2") == asked
    hop.stop()
    lines = [json.loads(line) for line in hop.output.splitlines()]
    assert [line.get("caller") for line in lines] == (["planner"] if mode == "required" else ["planner", None])


def test_r15_chains_of_clients(sandbox, asking, client, folder, clients_ca):
    between = Identity(folder, "Between", authority=True, issuer=clients_ca)
    leaf = client(uri(SPIFFE), issuer=between)
    hop = asking()
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    assert hop.curl(url, token, "--proxy-cert", leaf.file).returncode != 0
    whole = folder / "whole.pem"
    whole.write_bytes(leaf.file.read_bytes() + between.ca_file.read_bytes())
    done = hop.curl(url, token, "--proxy-cert", whole)
    assert done.returncode == 0 and json.loads(done.stdout)["user"], done


# --- as whom ---


def test_r15_each_acts_as_its_agent(sandbox, asking, client):
    hop = asking()
    first, second = tokens(sandbox)
    more = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"), x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Agents")]
    rows = [
        (client(uri(SPIFFE)), "agent1", "planner"),
        (client(x509.DNSName("tools.example.ORG")), "agent2", "tools"),
        (client(name="legacy, old", more=more), "agent1", "legacy"),
        (client(x509.DNSName("tools.example.org"), uri(SPIFFE)), "agent1", "planner"),  # of two, the first in the file
        (client(uri(SPIFFE + "/x")), None, None),
        (client(uri(SPIFFE), uri("spiffe://example.org/other")), None, None),
        (client(x509.DNSName("*.example.org")), None, None),
        (client(name="tools.example.org"), None, None),  # its CN is no DNS name
        (client(name="Legacy, old", more=more), None, None),
        (client(name="legacy, old", more=more[::-1]), None, None),
    ]
    for identity, agent, caller in rows:
        target = "agent3" if agent == "agent2" else "agent2"
        done = hop.curl(sandbox.url(target, "/a2a/whoami"), second if agent == "agent2" else first, "--proxy-cert", identity.file)
        body = json.loads(done.stdout)
        if agent is None:
            assert body["code"] == "caller_unknown" and body["status"] == 403 and "none of the callers" in body["detail"], body
        else:
            assert body["chain"][0] == sandbox.client_id(agent), body
    hop.stop()
    assert [json.loads(line).get("caller") for line in hop.output.splitlines()] == [row[2] for row in rows]


def test_r15_proxy_credentials_beside_certificates(sandbox, asking, client, tmp_path):
    """Who shows some is told by these, and 407 asks for them where some caller has any."""
    secret = tmp_path / "password"
    secret.write_text("password-of-a")
    secret.chmod(0o600)
    hop = asking("optional", lambda config: config["callers"].append({"name": "a", "agent": "agent1", "basic": {"user": "a", "password_file": str(secret)}}))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    known, unknown = client(uri(SPIFFE)).file, client(uri("spiffe://example.org/nobody")).file

    def status(*words):
        return hop.curl(url, token, "-o", os.devnull, "-w", "%{http_code}", *words).stdout

    assert status() == "407" and status("--proxy-cert", unknown) == "407"
    assert status("--proxy-cert", known) == "200"
    assert status("--proxy-user", "a:password-of-a") == status("--proxy-user", "a:password-of-a", "--proxy-cert", unknown) == "200"
    assert status("--proxy-user", "a:wrong", "--proxy-cert", known) == "407"
    hop.stop()
    lines = [json.loads(line) for line in hop.output.splitlines()]
    assert [line.get("caller") for line in lines if line["status"] == 200] == ["planner", "a", "a"]


def test_r15_a_tunnel_is_its_openers(sandbox, intercepting, client, clients_ca, folder):  # noqa: F811
    """TLS inside of TLS: what the CONNECT has shown holds for what comes through, until a reload takes the caller away."""
    def change(config):
        first = config["listeners"][0]
        del first["agent"]
        first["tls"].update(client_certificate="required", client_ca_file=str(clients_ca.ca_file))
        config["callers"] = copy.deepcopy(CALLERS[:1])

    hop, seen = intercepting(lambda r: response(b"from " + r.target.encode()), change)
    token = sandbox.mint()
    done = hop.curl(f"https://{ORIGIN}:{seen.port}/a2a/x", token, "--cacert", hop.inner_ca, "--proxy-cert", client(uri(SPIFFE)).file)
    assert done.returncode == 0 and done.stdout == "from /a2a/x", done
    done = hop.curl(f"https://{ORIGIN}:{seen.port}/a2a/x", token, "--cacert", hop.inner_ca, "--proxy-cert", client(uri("spiffe://x/y")).file,
                    "-w", "%{http_connect}")  # fmt: skip
    assert done.stdout == "403", done
    with Secure(hop, shows(hop, client(uri(SPIFFE)))) as wire:
        connect(wire, f"{ORIGIN}:{seen.port}")
        inside = Inside(wire.sock, ssl.create_default_context(cafile=hop.inner_ca), ORIGIN)
        ask = request(f"https://{ORIGIN}:{seen.port}/a2a/y", token).replace(f"https://{ORIGIN}:{seen.port}".encode(), b"", 1)
        inside.sendall(ask)
        assert inside.reader.until(b"from /a2a/y").startswith(b"HTTP/1.1 200")
        hop.config["callers"][0]["certificate"]["san"] = "spiffe://example.org/somebody"
        hop.reload()
        wait_until(lambda: "config.reloaded" in hop.stderr)
        inside.sendall(ask)
        assert inside.reader.until(b"\r\n").startswith(b"HTTP/1.1 403")
    assert len(seen.requests) == 2


def test_r15_a_resumed_session_is_its_certificates(sandbox, asking, client):
    hop = asking()
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context, session = shows(hop, client(uri(SPIFFE)), minimum_version=version, maximum_version=version), None
        for reused in (False, True, True):
            with Secure(hop, context, session) as wire:
                assert wire.send(request(url, token)).read().status == 200
                assert wire.sock.session_reused == reused
                session = wire.sock.session
    hop.stop()
    assert [json.loads(line)["caller"] for line in hop.output.splitlines()] == ["planner"] * 6


# --- for how long ---


def test_r15_who_is_revoked_later(sandbox, asking, client, clients_ca, tmp_path):
    """A new list holds for open connections and for sessions; who is not on it goes on."""
    lists = tmp_path / "clients.crl"
    lists.write_bytes(clients_ca.write_list().read_bytes())
    hop = asking(change=lambda config: config["listeners"][0]["tls"].update(client_crl_file=str(lists)))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    revoked = client(uri(SPIFFE))
    context = shows(hop, revoked)
    with Secure(hop, context) as kept:
        assert kept.send(request(url, token)).read().status == 200
        session = kept.sock.session
        lists.write_bytes(clients_ca.write_list(revoked).read_bytes())
        wait_until(lambda: "config.reloaded" in hop.stderr)
        answer = kept.send(request(url, token)).read()
        assert answer.status == 403 and json.loads(answer.body)["code"] == "caller_unknown" and "connect anew" in json.loads(answer.body)["detail"]
        assert kept.sock.recv(1) == b""
    with pytest.raises((ssl.SSLError, ConnectionError)):  # in TLS 1.3 the client learns of it when it reads
        with Secure(hop, context, session) as wire:
            wire.send(request(url, token)).read()
    with Secure(hop, shows(hop, client(uri(SPIFFE)))) as wire:
        assert wire.send(request(url, token)).read().status == 200


def test_r15_own_certificates_rotate_without_that(sandbox, asking, client, folder, proxy_authority):
    hop = asking()
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    with Secure(hop, shows(hop, client(uri(SPIFFE)))) as kept:
        assert kept.send(request(url, token)).read().status == 200
        (hop.folder / "next.pem").write_bytes(Identity(folder, "proxy", names=PROXY_NAMES, issuer=proxy_authority).file.read_bytes())
        (hop.folder / "next.pem").chmod(0o600)
        os.replace(hop.folder / "next.pem", hop.folder / "proxy.pem")
        wait_until(lambda: "config.reloaded" in hop.stderr)
        for _ in range(2):
            assert kept.send(request(url, token)).read().status == 200


def test_r15_a_certificate_expires(sandbox, asking, client):
    """An idle connection is closed then; a session is not taken up."""
    hop = asking()
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    brief = client(uri(SPIFFE), end=datetime.timedelta(seconds=6 * SLOW))
    context = shows(hop, brief)
    with Secure(hop, context) as wire:
        assert wire.send(request(url, token)).read().status == 200
        session = wire.sock.session
        assert wire.sock.recv(1) == b""
        assert datetime.datetime.utcnow() >= brief.certificate.not_valid_after - datetime.timedelta(seconds=1)
    wait_until(lambda: datetime.datetime.utcnow() > brief.certificate.not_valid_after + datetime.timedelta(seconds=1))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with Secure(hop, context, session) as late:
            late.send(request(url, token)).read()
    wait_until(lambda: "has expired" in hop.stderr)


# --- forwarded by a sidecar ---

HEADER = "X-Forwarded-Client-Cert"
GOOD = f'By=spiffe://example.org/us;Hash=00;Subject="";URI={SPIFFE}'


@pytest.fixture
def meshed(sandbox, tokenhop, origin):
    """A listener that takes forwarded certificates from this address; agent2 is a raw origin."""
    def start(change=None, **forwarded):
        seen = origin()

        def configure(config):
            del config["listeners"][1:]
            first = config["listeners"][0]
            first["name"] = "mesh"
            del first["agent"]
            first["forwarded_certificate"] = {"from": ["127.0.0.1/32"], **forwarded}
            config["callers"] = copy.deepcopy(CALLERS)
            config["connections"][0]["url"] = seen.url("/")
            config["egress"]["allow"].append(seen.address)
            config["workers"] = 1
            if change is not None:
                change(config)

        hop = tokenhop(configure, agents=("agent1", "agent2"), alg="ES256")
        hop.entry = int(hop.config["listeners"][0]["address"].rsplit(":", 1)[1]) if ":/" not in hop.config["listeners"][0]["address"] else hop.config["listeners"][0]["address"][5:]
        hop.seen = seen
        return hop

    return start


def ask(hop, token, *fields, source=None):
    wire = Connection(hop.entry)
    if source:
        wire.sock.close()
        wire.sock = socket.create_connection(("127.0.0.1", hop.entry), 20, (source, 0))
        wire.reader.sock = wire.sock
    with wire:
        return wire.send(request(hop.seen.url(), token, fields=fields)).read()


def test_r15_what_a_sidecar_forwards(sandbox, meshed):
    hop = meshed()
    token = sandbox.mint(user="alice")
    rows = [
        (GOOD, 200, "planner"),
        (f"URI=spiffe://example.org/somebody,{GOOD}", 200, "planner"),
        (f"{GOOD},URI=spiffe://example.org/somebody", 403, None),  # the last is the sidecar's word
        (f"{GOOD},By=spiffe://example.org/us", 403, None),
        ('Hash=00;Subject="CN=legacy\\, old,OU=Agents,O=Example"', 200, "legacy"),
        (f"URI={SPIFFE};URI=spiffe://example.org/b", 403, None),
        (f'Subject="x,{GOOD}', 400, None),
        (f"garbage,{GOOD}", 400, None),
        (f"{GOOD};", 400, None),
        ("", 400, None),
        (None, 403, None),
    ]
    for value, status, _ in rows:
        answer = ask(hop, token, *([f"{HEADER}: {value}"] if value is not None else []))
        assert answer.status == status, (value, answer.status, answer.body)
    answer = ask(hop, token, f"{HEADER}: {GOOD}", f"{HEADER}: {GOOD}")
    assert answer.status == 400 and b"more than one" in answer.body
    # none of it goes on, in any spelling; nor where Connection names it
    for fields in ([f"x-forwarded-client-cert: {GOOD}"], [f"X_Forwarded_Client_Cert: {GOOD}"], [f"{HEADER}: {GOOD}", f"Connection: {HEADER}"]):
        assert ask(hop, token, *fields).status == 200
    for seen in hop.seen.requests:
        assert not [name for name, _ in seen.fields if "client" in name.lower()]
    assert b"spiffe" not in hop.seen.bytes
    hop.stop()
    lines = [json.loads(line) for line in hop.output.splitlines()]
    assert [line.get("caller") for line in lines] == [row[2] for row in rows] + [None] + ["planner"] * 3


def test_r15_others_forward_nothing(sandbox, meshed):
    """From elsewhere the field does not count, malformed or not, and is removed."""
    def change(config):
        config["listeners"][0]["address"] = f"127.0.0.1:{harness.free_port()}"
        config["listeners"].append({**config["listeners"][0], "name": "anybody", "agent": "agent1", "address": f"127.0.0.1:{harness.free_port()}"})

    hop = meshed(change)
    token = sandbox.mint(user="alice")
    assert ask(hop, token, f"{HEADER}: {GOOD}", source="127.0.0.2").status == 403
    assert ask(hop, token, f"{HEADER}: {GOOD}", source="127.0.0.1").status == 200
    hop.entry = int(hop.config["listeners"][1]["address"].rsplit(":", 1)[1])
    for value in (GOOD, "garbage,,"):
        assert ask(hop, token, f"{HEADER}: {value}", source="127.0.0.2").status == 200
    assert len(hop.seen.requests) == 3 and b"spiffe" not in hop.seen.bytes and b"garbage" not in hop.seen.bytes


def test_r15_nobody_forwards_for_a_client_that_is_not_known(sandbox, meshed):
    """The header of the PROXY protocol tells of nobody: what follows is whoever's, and not the word of the proxy."""
    hop = meshed(lambda config: config["listeners"][0].update(proxy_protocol={"from": ["127.0.0.1"]}))
    version2 = b"\r\n\r\n\0\r\nQUIT\n"
    told = b"PROXY TCP4 127.0.0.1 127.0.0.1 9 9\r\n"
    ask = request(hop.seen.url(), sandbox.mint(user="alice"), fields=[f"{HEADER}: {GOOD}"])
    for header, status in ((b"PROXY UNKNOWN\r\n", 403), (version2 + b"\x21\0\0\0", 403), (version2 + b"\x20\0\0\0", 200), (told, 200)):
        with Connection(hop.entry) as wire:
            assert wire.send(header + ask).read().status == status, header
    assert len(hop.seen.requests) == 2 and b"spiffe" not in hop.seen.bytes


def test_r15_a_unix_socket_of_another_machine_is_none_of_ours(sandbox, meshed, tmp_path):
    """`unix` trusts who comes by this socket, and no client of a balancer's, who came by another."""
    def change(config):
        config["listeners"][0].update(address=f"unix:{tmp_path}/mesh.sock", proxy_protocol={"from": ["unix"]})

    hop = meshed(change, **{"from": ["unix"]})
    version2, paths = b"\r\n\r\n\0\r\nQUIT\n", b"/run/one.sock".ljust(108, b"\0") + b"/run/two.sock".ljust(108, b"\0")
    ask = request(hop.seen.url(), sandbox.mint(user="alice"), fields=[f"{HEADER}: {GOOD}"])
    for header, status in ((version2 + b"\x21\x31\x00\xd8" + paths, 403), (version2 + b"\x20\0\0\0", 200)):
        with Connection(hop.entry) as wire:
            assert wire.send(header + ask).read().status == status, header
    assert len(hop.seen.requests) == 1


def test_r15_another_field_and_over_a_unix_socket(sandbox, meshed, tmp_path):
    path = tmp_path / "mesh.sock"
    hop = meshed(lambda config: config["listeners"][0].update(address=f"unix:{path}"), **{"from": ["unix"], "header": "X-Client-Cert"})
    token = sandbox.mint(user="alice")
    assert ask(hop, token, f"X-Client-Cert: {GOOD}").status == 200
    assert ask(hop, token, f"{HEADER}: {GOOD}").status == 403
    assert not hop.seen.requests[0].get("X-Client-Cert")


def test_r15_nothing_is_forwarded_inside_of_a_tunnel(sandbox, meshed):
    hop = meshed()
    token = sandbox.mint(user="alice")
    authority = hop.seen.address
    head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
    with Connection(hop.entry) as wire:
        assert wire.send(f"{head}{HEADER}: {GOOD}\r\n\r\n").read("HEAD").status == 200
        inner = f"GET /a2a/x HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\n{HEADER}: URI=spiffe://example.org/somebody\r\n\r\n"
        assert wire.send(inner).read().status == 200
        assert wire.send(inner.replace("URI=", "garbage,")).read().status == 200
    with Connection(hop.entry) as wire:
        assert wire.send(f"{head}\r\n").read("HEAD").status == 403
    assert len(hop.seen.requests) == 2 and b"spiffe" not in hop.seen.bytes
    hop.stop()
    assert [json.loads(line).get("caller") for line in hop.output.splitlines()] == ["planner"] * 3 + [None]


def test_a_data_plane_is_told_to_remove_it(sandbox, meshed):
    hop = meshed(lambda config: config["listeners"][0].update(mode="authz", scheme="http"))
    token = sandbox.mint(user="alice")
    with Connection(hop.entry) as wire:
        answer = wire.send(f"GET /a2a/x HTTP/1.1\r\nHost: {hop.seen.address}\r\nAuthorization: Bearer {token}\r\n{HEADER}: {GOOD}\r\n\r\n").read()
    assert answer.status == 200 and HEADER.lower() in answer.get("x-envoy-auth-headers-to-remove").lower().split(","), answer.fields


def test_r15_the_sidecars_own_certificate_is_not_its_clients(sandbox, asking, client):
    """Over TLS too: what is forwarded counts there, and nothing else: a client without a certificate comes with none
    forwarded, and is not the proxy that it comes through."""
    hop = asking(change=lambda config: config["listeners"][0].update(forwarded_certificate={"from": ["127.0.0.1"]}))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    with Secure(hop, shows(hop, client(uri(SPIFFE)))) as wire:
        assert wire.send(request(url, token)).read().status == 403
        assert wire.send(request(url, token, fields=[f"{HEADER}: URI=spiffe://example.org/x"])).read().status == 403
        assert wire.send(request(url, token, fields=[f"{HEADER}: {GOOD}"])).read().status == 200


def test_explain_names_the_certificate(sandbox, asking):
    hop = asking(begin=False)
    done = subprocess.run([harness.binary("tokenhop"), "explain", sandbox.url("agent2", "/a2a/x"), "-c", hop.file], capture_output=True, text=True)
    assert f'caller "planner", by a certificate of {SPIFFE}' in done.stdout and "by a certificate of the subject CN=legacy" in done.stdout, done
