"""TLS to origins (R19): an agent that knows only HTTP_PROXY calls http://, tokenhop carries it over TLS."""

import contextlib
import socket
import ssl
import subprocess
import threading
import time

import pytest
from cryptography import x509

import harness
from harness import ORIGIN
from rawnet import SLOW, Connection, Origin, request, response
from tlsnet import DAY, Identity, TlsOrigin

class RawServer:
    """What happens on a port where no TLS is spoken: `behave` is given each connection."""

    def __init__(self, behave):
        self.behave, self.bytes = behave, b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.kept = []

    def run(self):
        sock, _ = self.listener.accept()
        self.kept.append(sock)
        self.bytes += sock.recv(65536)
        self.behave(sock)

    def close(self):
        self.listener.close()
        for sock in self.kept:
            sock.close()


@pytest.fixture
def origins():
    with contextlib.ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(contextlib.closing(TlsOrigin(*args, **more)))


@pytest.fixture
def through(tokenhop, authority):
    """tokenhop whose connection agent2 has https:// URLs at these ports."""

    def start(*ports, change=None, ca_file=authority.ca_file):
        def place(config):
            entry = next(c for c in config["connections"] if c["name"] == "agent2")
            entry["url"] = [entry["url"]]
            config["workers"] = 1  # connections are pooled by each for itself
            for port in ports:
                entry["url"] += [f"https://{ORIGIN}:{port}/", f"https://127.0.0.1:{port}/"]
                config["egress"]["allow"].append(f"127.0.0.1:{port}")
            if ca_file:
                config["origin"] = {"ca_file": str(ca_file)}
            if change is not None:
                change(config)

        return tokenhop(place)

    return start


def url(port, path="/a2a/x", host=ORIGIN):
    return f"http://{host}:{port}{path}"


def test_R19_http_url_is_carried_over_tls(sandbox, through, origins, good):
    origin = origins(good, lambda r: response(b"from over there"))
    hop = through(origin.port)
    token = sandbox.mint()
    answer = hop.post(url(origin.port), token, data=b"body " * 1000)
    assert (answer.status_code, answer.content) == (200, b"from over there"), answer.text
    seen = origin.requests[0]
    assert seen.body == b"body " * 1000
    assert seen.target == "/a2a/x"
    assert seen.all("Host") == [f"{ORIGIN}:{origin.port}"]
    credential = seen.get("Authorization").split()[1]
    assert credential != token and harness.decode(credential)[1]["aud"] == sandbox.resource("agent2")
    assert token.encode() not in origin.bytes
    assert origin.names == [ORIGIN]
    assert origin.versions == ["TLSv1.3"] and origin.protocols == ["http/1.1"]


def test_R19_https_url_and_addresses(sandbox, through, origins, good):
    """Absolute-form with https:// is served likewise; an address is verified as one, without SNI."""
    origin = origins(good)
    hop = through(origin.port)
    with Connection(hop.port) as wire:
        wire.send(request(f"https://{ORIGIN}:{origin.port}/a2a/x", sandbox.mint()))
        assert wire.read().status == 200
    assert hop.get(url(origin.port, host="127.0.0.1"), sandbox.mint()).status_code == 200
    assert origin.names == [ORIGIN, None]


def test_R19_tls_1_2(sandbox, through, origins, good):
    def only_1_2(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    origin = origins(good, change=only_1_2)
    hop = through(origin.port)
    for _ in range(3):
        assert hop.get(url(origin.port), sandbox.mint()).status_code == 200
    assert origin.versions == ["TLSv1.2"]


def old_versions(context):
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1


def refusal_of(hop, port, sandbox, **more):
    answer = hop.post(url(port, **more), sandbox.mint(), data=b"SECRET BODY")
    assert answer.status_code == 502, answer.text
    problem = answer.json()
    assert problem["code"] == "origin_failed"
    assert problem["connection"] == "agent2"
    assert answer.headers["Proxy-Status"].startswith("tokenhop; error=tls_")
    return problem["detail"], answer.headers["Proxy-Status"]


CERTIFICATES = {
    "expired": (dict(start=-2 * DAY, end=-DAY), "has expired"),
    "not yet valid": (dict(start=DAY, end=2 * DAY), "not yet valid"),
    "another name": (dict(names=[x509.DNSName("agent2.example.com")]), "another name"),
    "name in CN alone": (dict(name=ORIGIN, names=None), "another name"),
    "unknown authority": (dict(issuer="other"), "unknown authority"),
    "self-signed": (dict(issuer=None), "self-signed"),
}


@pytest.mark.parametrize("case", CERTIFICATES)
def test_R19_certificate_is_refused(sandbox, through, origins, folder, authority, case):
    spec, reason = CERTIFICATES[case]
    spec = {"name": "x", "issuer": authority, **spec}
    if spec["issuer"] == "other":
        spec["issuer"] = Identity(folder, "Other CA", authority=True)
    origin = origins(Identity(folder, **spec))
    hop = through(origin.port)
    detail, status = refusal_of(hop, origin.port, sandbox)
    assert reason in detail
    assert "tls_certificate_error" in status
    # and again: nothing was kept that would let it pass
    refusal_of(hop, origin.port, sandbox)
    time.sleep(0.1)
    assert origin.bytes == b"" and origin.requests == []


def lists(file):
    return lambda config: config["origin"].update(crl_file=str(file))


def test_R19_revoked_certificate_is_refused(sandbox, through, origins, folder, authority, good):
    """What its authority's list names, and nothing else, is refused, at once and after a reload."""
    revoked = Identity(folder, "revoked", issuer=authority)
    other = Identity(folder, "Unlisted CA", authority=True)
    places = [origins(it) for it in (revoked, good, Identity(folder, "x", issuer=other))]
    everybody = folder / "everybody.pem"
    everybody.write_bytes(authority.ca_file.read_bytes() + other.ca_file.read_bytes())
    file = folder / "origins.crl"
    file.write_bytes(authority.write_list(revoked).read_bytes())

    def change(config):
        lists(file)(config)
        config["workers"] = 1  # so that there is one connection to be kept, however often is asked before the reload

    hop = through(*(it.port for it in places), change=change, ca_file=everybody)
    for _ in range(2):
        detail, status = refusal_of(hop, places[0].port, sandbox)
        assert "has been revoked" in detail and "tls_certificate_error" in status
    assert places[0].bytes == b""
    for place in places[1:]:
        assert hop.get(url(place.port), sandbox.mint()).status_code == 200
    file.write_bytes(authority.write_list(good, revoked).read_bytes())
    hop.reload()
    harness.wait_until(lambda: hop.get(url(places[1].port), sandbox.mint()).status_code == 502, 10 * SLOW)
    done = len(places[1].shown)  # until the list was taken up
    assert "has been revoked" in refusal_of(hop, places[1].port, sandbox)[0]
    assert len(places[1].shown) == done  # nothing was kept, or resumed


def test_R19_revocation_list_that_says_nothing(sandbox, through, origins, folder, authority, good):
    """One that has run out, or that somebody else has signed, is no word that a certificate is fine."""
    origin = origins(good)
    late = Identity(folder, "Origin CA", authority=True)  # the name, but not the key
    for file, reason in [
        (authority.write_list(start=-2 * DAY, end=-DAY), "has run out"),
        (late.write_list(), "not its authority's"),
    ]:
        hop = through(origin.port, change=lists(file))
        assert reason in refusal_of(hop, origin.port, sandbox)[0]
    assert origin.bytes == b""


def test_R19_no_common_protocol_is_refused(sandbox, through, good):
    port = harness.free_port()
    command = f"openssl s_server -accept 127.0.0.1:{port} -quiet -alpn h2 -cert {good.file}"
    server = subprocess.Popen(command.split(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        harness.wait_listening(port, seconds=10 * SLOW)
        detail, status = refusal_of(through(port), port, sandbox)
        assert "http/1.1 (ALPN)" in detail and "tls_protocol_error" in status
    finally:
        server.kill()
        server.wait()


def test_R19_address_in_a_name_is_refused(sandbox, through, origins, folder, authority):
    origin = origins(Identity(folder, "127.0.0.1", [x509.DNSName("127.0.0.1")], issuer=authority))
    hop = through(origin.port)
    assert "not for this address" in refusal_of(hop, origin.port, sandbox, host="127.0.0.1")[0]
    assert origin.bytes == b""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_R19_old_versions_are_refused(sandbox, through, origins, good):
    origin = origins(good, change=old_versions)
    hop = through(origin.port)
    detail, status = refusal_of(hop, origin.port, sandbox)
    assert "no TLS of version 1.2 or later" in detail
    assert "tls_protocol_error" in status
    assert origin.bytes == b""


NO_TLS = {
    "plain http": (lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak TLS"),
    "closes": (lambda sock: sock.shutdown(socket.SHUT_WR), "closed the connection"),
    "alert": (lambda sock: sock.sendall(b"\x15\x03\x03\x00\x02\x02\x70"), "does not serve this name"),
}


@pytest.mark.parametrize("case", NO_TLS)
def test_R19_no_way_back_to_cleartext(sandbox, through, case):
    behave, reason = NO_TLS[case]
    with contextlib.closing(RawServer(behave)) as server:
        hop = through(server.port)
        threading.Thread(target=server.run, daemon=True).start()
        assert reason in refusal_of(hop, server.port, sandbox)[0]
        assert server.bytes[:1] == b"\x16"  # a ClientHello, and nothing else
        for secret in (b"HTTP/1.1", b"Authorization", b"SECRET"):
            assert secret not in server.bytes


def test_R22_handshake_timeout(sandbox, through):
    def change(config):
        config["timeouts"] = {"connect": "1s"}

    with contextlib.closing(RawServer(lambda sock: None)) as server:
        hop = through(server.port, change=change)
        threading.Thread(target=server.run, daemon=True).start()
        token, begun = sandbox.mint(), time.monotonic()
        answer = hop.get(url(server.port), token)
        assert answer.status_code == 504 and answer.json()["code"] == "origin_timeout", answer.text
        assert "TLS handshake" in answer.json()["detail"]
        assert 0.9 < time.monotonic() - begun < 5 * SLOW


def test_R22_client_leaves_in_the_handshake(sandbox, through):
    with contextlib.closing(RawServer(lambda sock: None)) as server:
        hop = through(server.port)
        threading.Thread(target=server.run, daemon=True).start()
        wire = Connection(hop.port).send(request(url(server.port), sandbox.mint()))
        harness.wait_until(lambda: server.bytes)
        wire.reset()
        server.kept[0].settimeout(10 * SLOW)
        with contextlib.suppress(ConnectionResetError):
            assert server.kept[0].recv(1) == b""  # not kept for one who has left


def test_tls_connections_are_pooled(sandbox, through, origins, good):
    """The tickets of TLS 1.3 come unasked on an idle connection, and are no answer."""
    origin = origins(good)
    hop = through(origin.port)
    token = sandbox.mint()
    for _ in range(5):
        assert hop.get(url(origin.port), token).status_code == 200
        time.sleep(0.05)
    assert len(origin.versions) == 1 and len(origin.requests) == 5


def test_tls_may_speak_on_an_idle_connection(sandbox, through, good):
    """A key update comes alone, as a late ticket would: it is read, and the connection goes on (the server takes
    only one)."""
    port = harness.free_port()
    command = f"openssl s_server -accept 127.0.0.1:{port} -naccept 1 -cert {good.file}"
    server = subprocess.Popen(command.split(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    heard = bytearray()

    def listen():
        while data := server.stdout.read1(65536):
            heard.extend(data)

    def type_in(text):
        server.stdin.write(text)
        server.stdin.flush()

    threading.Thread(target=listen, daemon=True).start()
    try:
        harness.wait_until(lambda: b"ACCEPT" in heard, 10 * SLOW)
        hop = through(port)
        token = sandbox.mint()
        for i in 1, 2, 3:
            with Connection(hop.port) as wire:
                wire.send(request(url(port, f"/a2a/{i}"), token))
                harness.wait_until(lambda: b"GET /a2a/%d " % i in heard, 10 * SLOW)
                type_in(response())
                assert wire.read().body == b"ok"
            time.sleep(0.2)
            type_in(b"K\n")  # its command for it
            time.sleep(0.2)
    finally:
        server.kill()
        server.wait()
        server.stdin.close()


def test_sessions_are_resumed(sandbox, through, origins, good):
    def answer(sock):
        sock.sendall(response(fields=["Connection: close"]))
        return False

    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        origin = origins(good, lambda r: answer, lambda c: setattr(c, "maximum_version", version))
        hop = through(origin.port)
        for _ in range(3):
            assert hop.get(url(origin.port), sandbox.mint()).status_code == 200
        assert origin.reused == [False, True, True]


def test_R4_idle_connection_speaks(sandbox, through, origins, good):
    """Data that nobody asked for ends a pooled connection, also inside of TLS."""

    def answer(sock):
        sock.sendall(response())
        time.sleep(0.1)
        sock.sendall(response(b"UNASKED"))
        return True

    origin = origins(good, lambda r: answer)
    hop = through(origin.port)
    for _ in range(2):
        assert hop.get(url(origin.port), sandbox.mint()).content == b"ok"
        time.sleep(0.3)
    assert len(origin.versions) == 2


def test_closed_idle_connection_is_replaced(sandbox, through, origins, good):
    def answer(sock):
        sock.sendall(response())
        time.sleep(0.1)
        with contextlib.suppress(OSError):
            sock.unwrap()
        return False

    origin = origins(good, lambda r: answer)
    hop = through(origin.port)
    for _ in range(2):
        assert hop.post(url(origin.port), sandbox.mint(), data=b"x").status_code == 200
        time.sleep(0.3)
    assert len(origin.versions) == 2


@pytest.mark.parametrize("farewell", [True, False])
def test_R4_end_of_a_body_that_ends_with_the_connection(sandbox, through, origins, good, farewell):
    """Without close_notify anybody on the way could have made the end: it must not look like one."""

    def answer(sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"as far as it goes")
        if farewell:
            with contextlib.suppress(OSError):
                sock.unwrap()
        return False

    origin = origins(good, lambda r: answer)
    hop = through(origin.port)
    with Connection(hop.port) as wire:
        wire.send(request(url(origin.port), sandbox.mint()))
        got = wire.read()
    assert got.complete is farewell
    if farewell:
        assert got.body == b"as far as it goes"


def test_large_bodies(sandbox, through, origins, good):
    """Both ways at a time, larger than every buffer."""
    body = bytes(range(256)) * 40000
    origin = origins(good, lambda r: response(r.body[::-1]))
    hop = through(origin.port)
    for _ in range(2):
        answer = hop.post(url(origin.port), sandbox.mint(), data=body)
        assert answer.content == body[::-1]


def test_plain_http_beside_tls(sandbox, through, origins, good):
    origin = origins(good)
    with Origin(lambda r: response(b"plain")) as plain:

        def change(config):
            entry = next(c for c in config["connections"] if c["name"] == "agent2")
            entry["url"].append(f"http://{plain.address}/")
            config["egress"]["allow"].append(plain.address)

        hop = through(origin.port, change=change)
        token = sandbox.mint()
        assert hop.get(plain.url(), token).content == b"plain"
        assert hop.get(url(origin.port), token).content == b"ok"
        assert hop.get(sandbox.url("agent2", "/a2a/whoami"), token).status_code == 200


def test_ca_file_is_read_again_by_a_reload(sandbox, through, origins, good, authority):
    origin = origins(good)
    hop = through(origin.port, ca_file=None, change=lambda config: config.update(hardening={"landlock": False}))
    assert "unknown authority" in refusal_of(hop, origin.port, sandbox)[0]
    hop.config["origin"] = {"ca_file": str(authority.ca_file)}
    hop.reload()
    harness.wait_until(lambda: hop.get(url(origin.port), sandbox.mint()).status_code == 200)


def test_connections_outlive_a_reload_that_changes_nothing_for_them(sandbox, through, origins, good, folder):
    """Until the certificates that they were verified by are written anew, which is noticed without a signal."""
    origin = origins(good)
    ca_file = folder / "changing.pem"
    ca_file.write_bytes(Identity(folder, "Other CA", authority=True).ca_file.read_bytes())
    hop = through(origin.port, ca_file=ca_file, change=lambda config: config.update(files={"watch": "100ms"}))
    assert "unknown authority" in refusal_of(hop, origin.port, sandbox)[0]
    token = sandbox.mint()

    def asked():
        return hop.get(url(origin.port), token).status_code

    trusted = good.issuer.ca_file.read_bytes()
    ca_file.write_bytes(trusted)
    harness.wait_until(lambda: asked() == 200)
    connections = len(origin.names)
    for level in ("debug", "info"):
        hop.config["log"] = {"level": level}
        hop.reload()
        harness.wait_until(lambda: hop.stderr.count('"config.reloaded"') > (level == "info") + 1)
        assert asked() == 200
    assert len(origin.names) == connections
    ca_file.write_bytes(trusted + b"\n")
    harness.wait_until(lambda: asked() == 200 and len(origin.names) == connections + 1)
    ca_file.write_bytes(Identity(folder, "Third CA", authority=True).ca_file.read_bytes())
    harness.wait_until(lambda: asked() == 502)
