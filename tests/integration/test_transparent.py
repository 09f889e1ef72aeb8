"""Redirected connections (mode transparent), by the rules of nftables and iptables that docs/modes.md shows: a client in a network namespace of
its own that knows of no proxy, tokenhop on the gateway that it reaches the world through, and origins in that world."""

import contextlib
import ipaddress
import json
import os
import pathlib
import re
import ssl
import subprocess
import sys
import tempfile

import pytest
import requests
from cryptography import x509

import harness
import netns
from rawnet import SLOW, Origin, Reader, response
from tlsnet import Identity, TlsOrigin

HOSTS = {
    "agent2.example.com": ["10.77.2.2", "fd77:2::2"],
    "open.example.com": ["93.184.216.34", "2606:2800:220::34"],
    "closed.example.com": ["93.184.216.34", "2606:2800:220::34"],
}
FAMILIES = {"ipv4": 0, "ipv6": 1}
AGENT, PROXY_USER = "1000", "990"


def document(section, kind="nft"):
    """The block that the page shows there."""
    text = (harness.SOURCE / "docs" / "modes.md").read_text()
    return re.search(rf"^### {section}\n.*?^```{kind}\n(.*?)^```", text, re.S | re.M)[1]


def example():
    text = (harness.SOURCE / "config" / "transparent.jsonc").read_text()
    return json.loads(re.sub(r"^\s*//.*|(?<=,)\s*//.*", "", text, flags=re.M))


@pytest.fixture(scope="module")
def net():
    with netns.Network(HOSTS) as network:
        yield network


@pytest.fixture(autouse=True)
def on_the_gateway(net):
    """Where tokenhop and the sandbox are, and who asks them."""
    net.gateway.name_hosts(HOSTS)
    net.client.name_hosts(HOSTS)
    with net.gateway:
        yield
    net.gateway.forget_rules()


@pytest.fixture(scope="module")
def running_sandbox(net, state_folder):
    with net.gateway:
        sandbox = harness.Sandbox(state_folder).start()
        yield sandbox
        sandbox.stop()


class World:
    """The origins: agent2's, and one that is nobody's; each in clear and over TLS, at all its addresses."""

    def __init__(self, net, folder, authority):
        self.origins = []
        names = [x509.DNSName("agent2.example.com")]
        names += [x509.IPAddress(ipaddress.ip_address(a)) for a in HOSTS["agent2.example.com"]]
        agent2 = Identity(folder, "agent2", names=names, issuer=authority)
        names = [x509.DNSName("open.example.com"), x509.DNSName("closed.example.com")]
        other = Identity(folder, "other", names=names, issuer=authority)
        listen = net.world.listen
        answer = lambda r: response(f"from {r.target}".encode())
        self.agent2 = [self._keep(TlsOrigin(agent2, answer, listener=listen(a, 443))) for a in HOSTS["agent2.example.com"]]
        self.clear = [self._keep(Origin(answer, listener=listen(a, 8000))) for a in HOSTS["agent2.example.com"]]
        self.elsewhere = self._keep(TlsOrigin(agent2, answer, listener=listen("10.77.2.3", 443)))
        self.elsewhere_clear = self._keep(Origin(answer, listener=listen("10.77.2.3", 8000)))
        self.open = [self._keep(TlsOrigin(other, answer, listener=listen(a, 443))) for a in HOSTS["open.example.com"]]
        self.open_clear = [self._keep(Origin(answer, listener=listen(a, 80))) for a in HOSTS["open.example.com"]]

    def _keep(self, origin):
        self.origins.append(origin)
        return origin

    @property
    def requests(self):
        return [r for origin in self.origins for r in origin.requests]


@pytest.fixture
def world(net, folder, authority):
    made = World(net, folder, authority)
    yield made
    for origin in made.origins:
        origin.close()


class Gateway(harness.Tokenhop):
    def metric(self, name):
        with requests.Session() as session:
            session.trust_env = False
            text = session.get(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10 * SLOW).text
        found = re.search(rf"^{re.escape(name)} (\d+)$", text, re.M)
        return int(found[1]) if found else 0

    def records(self):
        """Stops it; the access log's lines."""
        self.stop()
        return [json.loads(line) for line in self.output.splitlines()]


@pytest.fixture
def open_folder():
    """Where any user may look."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield pathlib.Path(path)


@pytest.fixture
def gateway(net, sandbox, tmp_path, open_folder, authority):
    """tokenhop with the listeners of config/transparent.jsonc, for agent2's hosts in clear and over TLS."""
    started = []

    def start(rules="On a gateway", change=None, listener=None, by="nft"):
        config = harness.base_config(sandbox)
        config["listeners"] = [{**l, **(listener or {})} for l in example()["listeners"]]
        entry = next(c for c in config["connections"] if c["name"] == "agent2")
        entry["url"] = [
            "https://agent2.example.com/",
            "https://10.77.2.2/",
            "https://[fd77:2::2]/",
            "http://agent2.example.com:8000/",
        ]
        entry["allow_cleartext"] = True
        config["origin"] = {"ca_file": str(authority.ca_file)}
        config["interception"] = example()["interception"]
        config["unmatched"] = [
            {"url": "http://open.example.com/", "action": "forward"},
            {"url": "https://open.example.com/", "action": "forward"},
        ]
        config["workers"] = 2
        admin_port = harness.free_port()
        config["admin"] = {"address": f"127.0.0.1:{admin_port}"}
        if change is not None:
            change(config)
        place = tmp_path / f"gateway{len(started)}"
        place.mkdir()
        hop = Gateway(config, place)
        hop.admin_port = admin_port
        hop.prefix = net.gateway.prefix
        hop.open_folder = open_folder
        hop.write()
        started.append(hop)
        done = subprocess.run([harness.binary("tokenhop"), "ca", "init", "-c", hop.file], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        hop.start()
        harness.wait_listening(admin_port, hop.process)
        asked = len(example()["listeners"])  # whether they listen, by connections that nobody has redirected
        harness.wait_until(lambda: hop.metric("tokenhop_redirected_refused_total") == asked, 20 * SLOW)
        if rules is not None:
            ports = document(rules, by).replace("80, 443", "80, 443, 8000, 8001").replace("80,443", "80,443,8000,8001")
            net.gateway.redirect(ports, by)
        return hop

    yield start
    for hop in started:
        hop.stop()


def ca_of(hop, authority):
    """Both authorities, where any user may read them."""
    place = hop.open_folder / "ca.pem"
    place.write_text((hop.folder / "ca.pem").read_text() + authority.ca_file.read_text())
    return place


class Reply:
    def __init__(self, done):
        self.status, self.problem = done.returncode, done.stderr
        body, _, code = done.stdout.rpartition("\n")
        self.body, self.code = body, int(code or 0)

    def __repr__(self):
        return f"curl {self.status}, HTTP {self.code}: {self.body!r} {self.problem}"


def curl(namespace, url, token=None, family=None, ca=None, prefix=(), more=()):
    argv = ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", str(20 * SLOW), "-w", "\n%{http_code}"]
    if family is not None:
        argv.append({"ipv4": "-4", "ipv6": "-6"}[family])
    if ca is not None:
        argv += ["--cacert", ca]
    if token is not None:
        argv += ["-H", f"Authorization: Bearer {token}"]
    argv = [*namespace.prefix, *prefix, *argv, *more, url]
    return Reply(subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60 * SLOW))


def check_credential(sandbox, seen, token):
    credential = seen.get("Authorization").split()[1]
    assert credential != token and harness.decode(credential)[1]["aud"] == sandbox.resource("agent2")


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.mark.parametrize("by", ["nft", "iptables"])
def test_http_matched(net, sandbox, gateway, world, family, by):
    hop = gateway(by=by)
    token = sandbox.mint()
    reply = curl(net.client, "http://agent2.example.com:8000/a2a/x?q=1", token, family)
    assert (reply.code, reply.body) == (200, "from /a2a/x?q=1"), reply
    seen = world.clear[FAMILIES[family]].requests
    assert len(seen) == len(world.requests) == 1
    check_credential(sandbox, seen[0], token)
    assert seen[0].all("Host") == ["agent2.example.com:8000"]
    line = hop.records()[-1]
    address = {"ipv4": "10.77.2.2:8000", "ipv6": "[fd77:2::2]:8000"}[family]
    assert line["origin"] == address and line["connection"] == "agent2" and line["status"] == 200
    assert line["client"].startswith({"ipv4": "10.77.1.2:", "ipv6": "[fd77:1::2]:"}[family])
    assert line["listener"] == {"ipv4": "redirected", "ipv6": "redirected6"}[family]


def test_http_is_carried_over_tls(net, sandbox, gateway, world, family):
    gateway()
    token = sandbox.mint()
    reply = curl(net.client, "http://agent2.example.com/a2a/x", token, family)
    assert (reply.code, reply.body) == (200, "from /a2a/x"), reply
    origin = world.agent2[FAMILIES[family]]
    check_credential(sandbox, origin.requests[0], token)
    assert origin.names == ["agent2.example.com"]


@pytest.mark.parametrize("by", ["nft", "iptables"])
def test_https_is_intercepted(net, sandbox, gateway, world, authority, family, by):
    hop = gateway(by=by)
    token = sandbox.mint()
    ca = ca_of(hop, authority)
    url = "https://agent2.example.com/a2a/1"
    reply = curl(net.client, url, token, family, ca)
    assert (reply.code, reply.body) == (200, "from /a2a/1"), reply
    origin = world.agent2[FAMILIES[family]]
    check_credential(sandbox, origin.requests[0], token)
    assert token.encode() not in origin.bytes
    refused = curl(net.client, url, token, family, authority.ca_file)
    assert refused.status == 60, "a client that does not trust the interception is told the origin's name by it"
    assert hop.metric('tokenhop_tunnels_total{kind="intercepted"}') == 1


def test_https_without_a_name_is_intercepted_by_the_address(net, sandbox, gateway, world, authority, family):
    hop = gateway()
    token = sandbox.mint()
    host = {"ipv4": "10.77.2.2", "ipv6": "[fd77:2::2]"}[family]
    reply = curl(net.client, f"https://{host}/a2a/x", token, ca=ca_of(hop, authority))
    assert (reply.code, reply.body) == (200, "from /a2a/x"), reply
    origin = world.agent2[FAMILIES[family]]
    check_credential(sandbox, origin.requests[0], token)
    assert origin.names == [None]


def test_https_unmatched_is_a_tunnel(net, sandbox, gateway, world, authority, family):
    """Bytes, end to end: the certificate that the client sees is the origin's, and so is its Authorization."""
    hop = gateway()
    body = b"x" * 3_000_000
    world.open[FAMILIES[family]].answer = lambda r: response(body)
    reply = curl(net.client, "https://open.example.com/x", "opaque", family, authority.ca_file)
    assert reply.code == 200 and len(reply.body) == len(body), reply
    seen = world.open[FAMILIES[family]].requests
    assert [r.get("Authorization") for r in seen] == ["Bearer opaque"]
    line = hop.records()[-1]
    assert line["tunnel"] is True and line["host"] == "open.example.com" and line["scheme"] == "https"
    assert line["origin_in"] == line["client_out"] > len(body) and line["client_in"] == line["origin_out"] > 500
    assert "method" not in line and line["response_complete"] is True
    assert sandbox.exchanges("alice", "agent1-agent2") == 0


def test_R7_unmatched_is_denied(net, gateway, world, authority, family):
    hop = gateway()
    reply = curl(net.client, "http://closed.example.com/x", "t", family)
    assert reply.code == 403 and json.loads(reply.body)["code"] == "destination_denied", reply
    reply = curl(net.client, "https://closed.example.com/x", "t", family, authority.ca_file)
    assert reply.status == 35 and "access denied" in reply.problem, reply
    host = {"ipv4": "93.184.216.34", "ipv6": "[2606:2800:220::34]"}[family]
    reply = curl(net.client, f"https://{host}/x", "t", ca=authority.ca_file)
    assert reply.status == 35 and "access denied" in reply.problem, reply
    assert world.requests == [] and all(origin.raw == [] for origin in world.origins)
    lines = hop.records()
    assert sorted(line["host"] for line in lines) == sorted(["closed.example.com", "closed.example.com", host])
    assert {line["error"] for line in lines} == {"DESTINATION_DENIED"}
    assert hop.stderr.count("redirected.failed") == 2 and "does not forward https:// to it" in hop.stderr


def test_R8_name_of_another_address(net, sandbox, gateway, world, authority):
    """The client's own idea of a name does not count: the address must be one that it has at tokenhop."""
    hop = gateway()
    token = sandbox.mint()
    net.client.name_hosts({**HOSTS, "agent2.example.com": ["10.77.2.3"], "open.example.com": ["10.77.2.3"]})
    for url in ("http://agent2.example.com:8000/a2a/x", "https://agent2.example.com/a2a/x"):
        reply = curl(net.client, url, token, ca=ca_of(hop, authority))
        assert reply.code == 403 and json.loads(reply.body)["code"] == "destination_denied", reply
        assert "none of those that the name has" in reply.body
    reply = curl(net.client, "https://open.example.com/x", token, ca=authority.ca_file)
    assert reply.status == 35 and "access denied" in reply.problem, reply
    assert world.requests == []
    assert world.elsewhere.raw == [] and world.elsewhere_clear.raw == []


def test_original_destination_ignored(net, sandbox, gateway, world, authority):
    hop = gateway(listener={"original_destination": "ignore"})
    token = sandbox.mint()
    net.client.name_hosts({**HOSTS, "agent2.example.com": ["10.77.2.3"], "open.example.com": ["10.77.2.3"]})
    for url in ("http://agent2.example.com:8000/a2a/x", "https://agent2.example.com/a2a/x"):
        reply = curl(net.client, url, token, ca=ca_of(hop, authority))
        assert reply.code == 200, reply
    reply = curl(net.client, "https://open.example.com/x", ca=authority.ca_file)
    assert reply.code == 200, reply
    assert world.elsewhere.raw == [] and world.elsewhere_clear.raw == []
    assert len(world.requests) == 3


def ended(sock):
    sock.settimeout(20 * SLOW)
    with contextlib.suppress(ConnectionResetError):
        return sock.recv(1) == b""
    return True


def test_R10_what_was_not_redirected_is_closed(net, gateway, world):
    """From outside, from here, and by rules that redirect the listener's own port to itself."""
    hop = gateway(change=lambda config: config.update(unmatched="forward"))
    before = hop.metric("tokenhop_redirected_refused_total")
    for namespace, address in (
        (net.client, "10.77.1.1"),
        (net.client, "fd77:1::1"),
        (net.client, "10.77.2.1"),
        (net.gateway, "127.0.0.1"),
        (net.gateway, "::1"),
    ):
        with namespace.connect(address, 15001) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(b"GET / HTTP/1.1\r\nHost: agent2.example.com\r\n\r\n")
            assert ended(sock)
    assert hop.metric("tokenhop_redirected_refused_total") == before + 5
    net.gateway.forget_rules()
    net.gateway.nft(document("On a gateway").replace("80, 443", "15001"))
    with net.client.connect("10.77.1.1", 15001) as sock:
        assert ended(sock)
    assert hop.metric("tokenhop_redirected_refused_total") == before + 6
    assert world.requests == []
    assert "it was not redirected" in hop.stop()


def test_R10_going_to_another_listener_is_closed(net, gateway):
    def add(config):
        config["listeners"].append({"name": "proxy", "address": "10.77.1.1:8001", "agent": "agent1"})

    hop = gateway(change=add)
    with net.client.connect("10.77.1.1", 8001) as sock:
        assert ended(sock)
    assert "it was going to a listener of tokenhop" in hop.stop()


def test_other_protocols(net, gateway):
    hop = gateway(change=lambda config: config.update(timeouts={"head": "1s"}, unmatched="forward"))
    with net.client.connect("93.184.216.34", 8000) as sock:
        sock.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")
        assert ended(sock)
    with net.client.connect("93.184.216.34", 8000) as sock:  # waits for a server that speaks first
        assert ended(sock)
    with net.client.connect("93.184.216.34", 8000) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert Reader(sock).exactly(9)[3] == 4  # SETTINGS, and then GOAWAY
    log = hop.stop()
    assert "neither HTTP nor TLS" in log and "speaks first" in log and "tunnel.http2" in log


PYTHON = """
import ssl, sys, urllib.request
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=sys.argv[1])))
for url in sys.argv[3:]:
    request = urllib.request.Request(url, data=b"b" * 100_000, headers={"Authorization": "Bearer " + sys.argv[2]})
    print(opener.open(request, timeout=60).read().decode())
"""


def test_a_python_client(net, sandbox, gateway, world, authority):
    hop = gateway()
    token = sandbox.mint()
    urls = ["https://agent2.example.com/a2a/s", "http://agent2.example.com:8000/a2a/c", "https://open.example.com/o"]
    out = net.client.run(sys.executable, "-c", PYTHON, ca_of(hop, authority), token, *urls)
    assert out.splitlines() == ["from /a2a/s", "from /a2a/c", "from /o"]
    assert [len(r.body) for r in world.requests] == [100_000] * 3
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


def test_R15_keep_alive_and_hosts(net, sandbox, gateway, world):
    """One connection, and each request for itself: the second names another host, which is not at that address."""
    gateway()
    token = sandbox.mint()
    with net.client.connect("10.77.2.2", 8000) as sock:
        sock.settimeout(20 * SLOW)
        reader = Reader(sock)
        for host, status in (("agent2.example.com:8000", b"200"), ("open.example.com:8000", b"403"), ("agent2.example.com", b"200")):
            sock.sendall(f"GET /a2a/x HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            head = reader.until(b"\r\n\r\n")
            assert head.split()[1] == status, head
            reader.exactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
    assert len(world.requests) == 2


@pytest.mark.parametrize("by", ["nft", "iptables"])
def test_sidecar(net, sandbox, gateway, world, authority, open_folder, family, by):
    """One namespace: the agent's user is redirected, tokenhop's own is not."""

    def change(config):
        config["process"] = example()["process"]
        place = open_folder / "origins.pem"  # which that user reads
        place.write_bytes(authority.ca_file.read_bytes())
        config["origin"] = {"ca_file": str(place)}

    hop = gateway("Beside an agent", change, by=by)
    assert example()["process"]["user"] == PROXY_USER
    token = sandbox.mint()
    agent = ["setpriv", f"--reuid={AGENT}", f"--regid={AGENT}", "--clear-groups"]
    ca = ca_of(hop, authority)
    for url, body in (
        ("http://agent2.example.com:8000/a2a/x", "from /a2a/x"),
        ("http://agent2.example.com/a2a/x", "from /a2a/x"),
        ("https://agent2.example.com/a2a/x", "from /a2a/x"),
        ("https://open.example.com/x", "from /x"),
    ):
        reply = curl(net.gateway, url, token, family, ca, agent)
        assert (reply.code, reply.body) == (200, body), reply
    for seen in world.clear[FAMILIES[family]].requests + world.agent2[FAMILIES[family]].requests:
        check_credential(sandbox, seen, token)
    assert len(world.requests) == 4
    reply = curl(net.gateway, "https://closed.example.com/x", token, family, ca, agent)
    assert reply.status == 35, reply
    owner = pathlib.Path(f"/proc/{hop.pid}/status").read_text()
    assert re.search(r"^Uid:\s+990\s", owner, re.M)


@pytest.mark.parametrize("by", ["nft", "iptables"])
def test_R10_rules_that_catch_tokenhop_itself(net, gateway, world, authority, family, by):
    """Beside an agent, and nobody excepted: tokenhop's connections come back to it. Each is known as its own and closed;
    nothing runs in circles."""
    hop = gateway(None)
    before = hop.metric("tokenhop_redirected_refused_total")
    rules = document("Beside an agent", by).replace("meta skuid != 990 ", "").replace("-m owner ! --uid-owner 990 ", "")
    net.gateway.redirect(rules, by)
    reply = curl(net.gateway, "http://open.example.com/x", None, family)
    assert reply.code == 502, reply
    reply = curl(net.gateway, "https://open.example.com/x", None, family, authority.ca_file)
    assert reply.status in (35, 56), reply
    assert world.requests == []
    assert hop.metric("tokenhop_redirected_refused_total") == before + 2
    assert "tokenhop's own" in hop.stop()


@pytest.mark.parametrize("by", ["nft", "iptables"])
def test_tproxy(net, sandbox, gateway, world, authority, family, by):
    hop = gateway("TPROXY", by=by, listener={"redirected_by": "tproxy"})
    for line in document("TPROXY", "sh").splitlines():
        subprocess.run([*net.gateway.prefix, *line.split()], capture_output=True, check=False)
    token = sandbox.mint()
    ca = ca_of(hop, authority)
    for url, body in (
        ("http://agent2.example.com:8000/a2a/x", "from /a2a/x"),
        ("https://agent2.example.com/a2a/x", "from /a2a/x"),
        ("https://open.example.com/x", "from /x"),
    ):
        reply = curl(net.client, url, token, family, ca)
        assert (reply.code, reply.body) == (200, body), reply
    for seen in world.clear[FAMILIES[family]].requests + world.agent2[FAMILIES[family]].requests:
        check_credential(sandbox, seen, token)
    before = hop.metric("tokenhop_redirected_refused_total")
    with net.client.connect({"ipv4": "10.77.1.1", "ipv6": "fd77:1::1"}[family], 15001) as sock:
        assert ended(sock)
    assert hop.metric("tokenhop_redirected_refused_total") == before + 1


def test_reload_and_drain(net, sandbox, gateway, world, authority):
    hop = gateway(change=lambda config: config.update(timeouts={"drain": "1s"}))
    reply = curl(net.client, "https://closed.example.com/x", ca=authority.ca_file)
    assert reply.status == 35, reply
    hop.config["unmatched"] = "forward"
    hop.reload()
    harness.wait_until(
        lambda: curl(net.client, "https://closed.example.com/x", ca=authority.ca_file).code == 200, 20 * SLOW
    )
    with net.client.connect("93.184.216.34", 443) as sock:
        context = ssl.create_default_context(cafile=authority.ca_file)
        with context.wrap_socket(sock, server_hostname="open.example.com") as tls:
            tls.sendall(b"GET /1 HTTP/1.1\r\nHost: open.example.com\r\n\r\n")
            assert Reader(tls).until(b"from /1")
            hop.stop()  # the tunnel is open: it is cut at the deadline
            tls.settimeout(20 * SLOW)
            with contextlib.suppress(OSError):
                assert tls.recv(1) == b""
