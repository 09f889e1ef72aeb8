"""TLS interception (R19, R20, R21): https:// calls to a connection's host through CONNECT."""

import contextlib
import datetime
import json
import os
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

import harness
from harness import ORIGIN, wait_until
from rawnet import SLOW, Connection, Figures, request, response
from tlsnet import DAY, Identity, TlsOrigin


def ca(verb, hop, *args):
    return subprocess.run(
        [harness.binary("tokenhop"), "ca", verb, "-c", hop.file, *args], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def origin(good):
    made = TlsOrigin(good, lambda r: response(b"from " + r.target.encode()))
    yield made
    made.close()


class Intercepting(harness.Tokenhop):
    @property
    def ca_file(self):
        return self.folder / "ca.pem"

    def context(self, **more):
        context = ssl.create_default_context(cafile=self.ca_file)
        context.set_alpn_protocols(more.pop("alpn", ["http/1.1"]))
        for name, value in more.items():
            setattr(context, name, value)
        return context

    def metric(self, name):
        answer = requests.get(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=10)
        found = re.search(rf"^{re.escape(name)} (\d+)$", answer.text, re.M)
        return int(found[1]) if found else 0


@pytest.fixture
def intercepting(sandbox, tmp_path, authority):
    """tokenhop with the authority that `tokenhop ca init` makes; agent2 has https:// URLs at these ports."""
    started = []

    def start(*ports, change=None, begin=True):
        config = harness.base_config(sandbox)
        entry = next(c for c in config["connections"] if c["name"] == "agent2")
        entry["url"] = [entry["url"]]
        for port in ports:
            entry["url"] += [f"https://{ORIGIN}:{port}/", f"https://127.0.0.1:{port}/"]
            config["egress"]["allow"].append(f"127.0.0.1:{port}")
        config["origin"] = {"ca_file": str(authority.ca_file)}
        config["interception"] = {"cert_file": "ca.pem", "key_file": "ca.key"}
        admin = harness.free_port()
        config["admin"] = {"address": f"127.0.0.1:{admin}"}
        if change is not None:
            change(config)
        place = tmp_path / f"intercepting{len(started)}"
        place.mkdir()
        hop = Intercepting(config, place)
        hop.admin_port = admin
        hop.write()
        if begin:
            done = ca("init", hop)
            assert done.returncode == 0, done.stderr
            hop.start()
        started.append(hop)
        return hop

    yield start
    for hop in started:
        hop.stop()


def connect(hop, authority, first=b""):
    wire = Connection(hop.port)
    wire.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode() + first)
    head = wire.reader.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return wire


class Inside(Connection):
    """One connection inside of TLS inside of a CONNECT."""

    def __init__(self, hop, port, host=ORIGIN, name=None, context=None, session=None):
        outer = connect(hop, f"{host}:{port}")
        self.context = context or hop.context()
        self.sock = self.context.wrap_socket(outer.sock, server_hostname=name or host, session=session)
        self.reader = type(outer.reader)(self.sock)


def inner(port, token=None, path="/a2a/x", host=ORIGIN, method="GET", **more):
    return request(f"https://{host}:{port}{path}", token, method, **more).replace(
        f"{method} https://{host}:{port}".encode(), f"{method} ".encode(), 1
    )


def test_R19_request_inside(sandbox, intercepting, origin):
    hop = intercepting(origin.port)
    token = sandbox.mint()
    with Inside(hop, origin.port) as wire:
        assert wire.sock.version() == "TLSv1.3" and wire.sock.selected_alpn_protocol() == "http/1.1"
        for path in ("/a2a/x", "/a2a/y?q=1"):
            wire.send(inner(origin.port, token, path))
            assert wire.read().body == b"from " + path.encode()
        wire.send(inner(origin.port, token, method="POST", body=b"b" * 200_000))
        assert wire.read().status == 200
    seen = origin.requests
    assert [r.target for r in seen] == ["/a2a/x", "/a2a/y?q=1", "/a2a/x"]
    assert seen[2].body == b"b" * 200_000
    for r in seen:
        credential = r.get("Authorization").split()[1]
        assert credential != token and harness.decode(credential)[1]["aud"] == sandbox.resource("agent2")
        assert r.all("Host") == [f"{ORIGIN}:{origin.port}"]
    assert token.encode() not in origin.bytes
    assert sandbox.exchanges("alice", "agent1-agent2") == 1
    hop.stop()
    lines = [json.loads(line) for line in hop.output.splitlines()]
    assert [(l["method"], l.get("scheme"), l["status"]) for l in lines] == [
        ("CONNECT", None, 200), ("GET", "https", 200), ("GET", "https", 200), ("POST", "https", 200),
    ]
    assert "tunnel" not in lines[0] and lines[1]["connection"] == "agent2"


def leaf_of(wire):
    return x509.load_der_x509_certificate(wire.sock.getpeercert(binary_form=True))


def test_R19_leaf(intercepting, origin):
    """One key for all, P-256; random serials; exactly the host; a week at most."""
    hop = intercepting(origin.port)
    with Inside(hop, origin.port) as one, Inside(hop, origin.port, host="127.0.0.1") as two:
        first, second = leaf_of(one), leaf_of(two)
    assert isinstance(first.public_key().curve, ec.SECP256R1)
    assert first.public_key().public_numbers() == second.public_key().public_numbers()
    assert first.serial_number != second.serial_number and first.serial_number.bit_length() > 100
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName(ORIGIN)]
    names = second.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(n.value) for n in names] == ["127.0.0.1"]
    usage = first.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    span = first.not_valid_after - first.not_valid_before
    assert 6.9 < span.total_seconds() / 86400 < 7.1
    root = x509.load_pem_x509_certificate(hop.ca_file.read_bytes())
    assert first.issuer == root.subject
    root.public_key().verify(first.signature, first.tbs_certificate_bytes, ec.ECDSA(first.signature_hash_algorithm))
    with Inside(hop, origin.port) as again:
        assert leaf_of(again).serial_number == first.serial_number
    assert hop.metric("tokenhop_interception_leaves_total") == 2


def test_R19_ca_is_limited_to_the_connections(intercepting, origin):
    hop = intercepting(origin.port, begin=False)
    done = ca("init", hop)
    assert done.returncode == 0, done.stderr
    for word in ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "--cacert", "keytool", "update-ca"):
        assert word in done.stdout
    assert (hop.folder / "ca.key").stat().st_mode & 0o777 == 0o600
    root = x509.load_pem_x509_certificate(hop.ca_file.read_bytes())
    assert isinstance(root.public_key().curve, ec.SECP256R1)
    basic = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical and basic.value.ca and basic.value.path_length == 0
    limits = root.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    permitted = sorted(str(n.value) for n in limits.value.permitted_subtrees)
    assert permitted == ["127.0.0.1/32", "invalid", "invalid", ORIGIN]  # of mail and URIs
    # what is there is not touched
    again = ca("init", hop)
    assert again.returncode == 1 and "not overwritten" in again.stderr
    assert root == x509.load_pem_x509_certificate(hop.ca_file.read_bytes())
    assert ca("show", hop).returncode == 0
    # a connection to another host is not covered: told by show, and refused by check
    hop.config["connections"][0]["url"].append("https://other.example.com/")
    hop.write()
    shown = ca("show", hop)
    assert shown.returncode == 1 and "not covered: https://other.example.com/" in shown.stdout
    checked = subprocess.run(
        [harness.binary("tokenhop"), "check", "-c", hop.file], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 2 and "name constraints leave out a host" in checked.stderr
    assert ca("init", hop, "--force").returncode == 0
    assert ca("show", hop).returncode == 0


def chain_of(wire):
    return wire.sock._sslobj.get_unverified_chain()


def test_R19_authority_below_another(sandbox, intercepting, origin, tmp_path):
    """Clients get what is between the certificate and whom they trust, and not whom they trust."""
    root = Identity(tmp_path, "Root", authority=True)
    middle = Identity(tmp_path, "Middle", issuer=root, authority=True)

    def change(config):
        config["interception"] = {"cert_file": str(tmp_path / "chain.pem"), "key_file": str(tmp_path / "middle.key")}

    (tmp_path / "chain.pem").write_bytes(middle.ca_file.read_bytes() + root.ca_file.read_bytes())
    (tmp_path / "middle.key").write_bytes(middle.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    (tmp_path / "middle.key").chmod(0o600)
    hop = intercepting(origin.port, change=change, begin=False)
    hop.start()
    with Inside(hop, origin.port, context=ssl.create_default_context(cafile=root.ca_file)) as wire:
        assert len(chain_of(wire)) == 2
        wire.send(inner(origin.port, sandbox.mint()))
        assert wire.read().status == 200
    hop = intercepting(origin.port)
    with Inside(hop, origin.port) as wire:
        assert len(chain_of(wire)) == 1


def test_R19_constraints_bind_clients(intercepting, origin, tmp_path):
    """A certificate that the authority's key makes for another host is trusted by no client."""
    hop = intercepting(origin.port, begin=False)
    assert ca("init", hop).returncode == 0
    pem = tmp_path / "other.pem"
    made = subprocess.run(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -subj /O=x -out other.csr &&"
        " printf 'subjectAltName=DNS:other.example.com' > ext &&"
        f" openssl x509 -req -in other.csr -CA {hop.folder}/ca.pem -CAkey {hop.folder}/ca.key -days 1 -extfile ext"
        " -out other.pem", shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    verified = subprocess.run(["openssl", "verify", "-CAfile", hop.ca_file, pem], capture_output=True, text=True)
    assert verified.returncode != 0 and "permitted subtree violation" in verified.stdout + verified.stderr


def pem_of(path, kind):
    text = path.read_text()
    begin = text.index(f"-----BEGIN {kind}")
    end = f"-----END {kind}-----\n"
    return text[begin : text.index(end, begin) + len(end)]


FILES = {  # what is wrong: (how the authority is made, mode of the key file, what is said)
    "fine": (dict(authority=True), 0o600, None),
    "no authority": (dict(names=[x509.DNSName(ORIGIN)]), 0o600, "not that of an authority"),
    "expired": (dict(authority=True, start=-2 * DAY, end=-DAY), 0o600, "has expired"),
    "not yet valid": (dict(authority=True, start=DAY, end=2 * DAY), 0o600, "not yet valid"),
    "key for all to read": (dict(authority=True), 0o644, "others"),
    "another key": (dict(authority=True), 0o600, "not that of the certificate"),
    "no key": (dict(authority=True), 0o600, "no private key"),
    "no certificate": (dict(authority=True), 0o600, "no certificate"),
}


@pytest.mark.parametrize("wrong", FILES)
def test_R16_R19_authority_is_checked(intercepting, tmp_path, wrong):
    """By `tokenhop check`, at start, and at a reload alike: one loader."""
    how, mode, said = FILES[wrong]
    hop = intercepting(4443, begin=False)
    identity = Identity(tmp_path, "Own CA", **how)
    key = pem_of(Identity(tmp_path, "x").file if wrong == "another key" else identity.file, "PRIVATE KEY")
    (hop.folder / "ca.pem").write_text("" if wrong == "no certificate" else pem_of(identity.file, "CERTIFICATE"))
    (hop.folder / "ca.key").write_text("nothing" if wrong == "no key" else key)
    (hop.folder / "ca.key").chmod(mode)
    checked = subprocess.run(
        [harness.binary("tokenhop"), "check", "-c", hop.file], capture_output=True, text=True, timeout=60
    )
    if said is None:
        assert checked.returncode == 0, checked.stderr
    else:
        assert checked.returncode == 2 and said in checked.stderr, checked.stderr
        assert "interception" in checked.stderr


def test_r19_client_leaves_while_no_certificate_can_be_made(intercepting, tmp_path):
    """What it waited for is refused when it has gone: the tunnel ends by that, and nothing is asked of it after."""
    hop = intercepting(4443, begin=False)
    identity = Identity(tmp_path, "Own CA", authority=True, end=datetime.timedelta(seconds=4))
    for name, kind in (("ca.pem", "CERTIFICATE"), ("ca.key", "PRIVATE KEY")):
        (hop.folder / name).write_text(pem_of(identity.file, kind))
        (hop.folder / name).chmod(0o600)
    hop.start()
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=ORIGIN).do_handshake()
    hello = out.read()
    time.sleep(4.5)
    for _ in range(100):
        wire = connect(hop, f"{ORIGIN}:4443")
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.send(hello)
        wire.sock.close()
    wire = connect(hop, f"{ORIGIN}:4443", hello)
    assert wire.reader.exactly(7) == b"\x15\x03\x03\x00\x02\x02\x50"  # internal_error
    assert "has expired" in hop.stderr


@pytest.mark.parametrize("how", ["another name", "no name", "name for an address"])
def test_R19_sni_is_the_tunnels(intercepting, origin, how):
    hop = intercepting(origin.port)
    context = hop.context(check_hostname=False)
    host, name = {"another name": (ORIGIN, "other.example.com"), "no name": (ORIGIN, "127.0.0.1"),
                  "name for an address": ("127.0.0.1", ORIGIN)}[how]
    with pytest.raises((ssl.SSLError, ConnectionError), match="unrecognized|UNRECOGNIZED"):
        Inside(hop, origin.port, host, name, context)
    assert not origin.raw
    assert hop.metric("tokenhop_client_tls_failures_total") == 1


def test_R19_inner_host_is_the_tunnels(sandbox, intercepting, origin, good):
    """421 for another authority, whatever form the request has; no CONNECT inside."""
    hop = intercepting(origin.port)
    token = sandbox.mint()
    requests_ = [
        (421, inner(origin.port, token).replace(f"Host: {ORIGIN}".encode(), b"Host: 127.0.0.1")),
        (421, inner(origin.port, token, host=ORIGIN).replace(f":{origin.port}".encode(), b":1")),
        (421, request(f"https://127.0.0.1:{origin.port}/a2a/x", token)),
        (421, request(f"http://{ORIGIN}:{origin.port}/a2a/x", token)),
        (421, request(sandbox.url("agent2", "/a2a/whoami"), token)),
        (405, f"CONNECT {ORIGIN}:{origin.port} HTTP/1.1\r\nHost: {ORIGIN}:{origin.port}\r\n\r\n".encode()),
    ]
    for status, text in requests_:
        with Inside(hop, origin.port) as wire:
            wire.send(text)
            assert wire.read().status == status, text
    assert not origin.raw
    with Inside(hop, origin.port) as wire:  # absolute-form of the tunnel's own origin
        wire.send(request(f"https://{ORIGIN}:{origin.port}/a2a/x", token))
        assert wire.read().status == 200


def test_R19_hosts_without_a_connection_are_never_intercepted(intercepting, origin, good):
    with TlsOrigin(good, lambda r: response(r.get("Authorization", "none").encode())) as other:

        def change(config):
            config["unmatched"] = [{"url": f"https://{ORIGIN}:{other.port}/", "action": "forward"}]
            config["egress"]["allow"].append(f"127.0.0.1:{other.port}")
            config["egress"]["connect_ports"] = [other.port]

        hop = intercepting(origin.port, change=change)
        outer = connect(hop, f"{ORIGIN}:{other.port}")
        context = ssl.create_default_context(cafile=good.file)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        sock = context.wrap_socket(outer.sock, server_hostname=ORIGIN)
        leaf = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True))
        assert leaf.issuer.rfc4514_string() == "CN=Origin CA"
        sock.close()


def test_R19_destination_is_verified_first(sandbox, intercepting, folder):
    """Inside too: nothing of the request reaches a destination whose certificate is not trusted."""
    with TlsOrigin(Identity(folder, "self")) as bad:
        hop = intercepting(bad.port)
        with Inside(hop, bad.port) as wire:
            wire.send(inner(bad.port, sandbox.mint()))
            answer = wire.read()
        assert answer.status == 502 and answer.json()["code"] == "origin_failed"
        assert bad.bytes == b""


def test_R20_no_interception_says_both_ways_out(tokenhop, sandbox):
    def change(config):
        config["connections"][0]["url"] = [config["connections"][0]["url"], "https://agent2.example.com/"]

    hop = tokenhop(change)
    with Connection(hop.port) as wire:
        wire.send(b"CONNECT agent2.example.com:443 HTTP/1.1\r\nHost: agent2.example.com:443\r\n\r\n")
        answer = wire.read()
    assert answer.status == 403 and answer.json()["code"] == "destination_denied"
    assert "interception" in answer.json()["detail"] and "http://" in answer.json()["detail"]


def test_R20_clear_http_beside_interception(sandbox, intercepting, origin):
    """The first bytes tell: HTTP in clear through the tunnel is carried over TLS to the destination."""
    hop = intercepting(origin.port)
    with connect(hop, f"{ORIGIN}:{origin.port}") as wire:
        wire.send(inner(origin.port, sandbox.mint()))
        assert wire.read().status == 200
    assert origin.names == [ORIGIN]


@pytest.mark.parametrize("size", [1, 2, 5, 6, 40, 300])
def test_R20_hello_in_pieces(sandbox, intercepting, origin, size):
    """Split over TCP segments; then the request goes on as ever."""
    hop = intercepting(origin.port)
    context = hop.context()
    outer = connect(hop, f"{ORIGIN}:{origin.port}")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=ORIGIN)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    # and over TLS records, as RFC 8446, 5.1 allows
    body, records = hello[5:], b""
    for at in range(0, len(body), 100):
        part = body[at : at + 100]
        records += hello[:3] + len(part).to_bytes(2, "big") + part
    for at in range(0, len(records), size):
        outer.sock.sendall(records[at : at + size])
        if size < 10 and at < 200:
            time.sleep(0.001)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            if data := outgoing.read():
                outer.sock.sendall(data)
            incoming.write(outer.sock.recv(65536))
    outer.sock.sendall(outgoing.read())
    tls.write(inner(origin.port, sandbox.mint()))
    outer.sock.sendall(outgoing.read())
    got = b""
    while b"from /a2a/x" not in got:
        try:
            got += tls.read(65536)
        except ssl.SSLWantReadError:
            data = outer.sock.recv(65536)
            assert data
            incoming.write(data)
    outer.close()


def test_R20_what_is_not_tls(intercepting, origin):
    hop = intercepting(origin.port)
    for first in (b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\x00\x00", b"\x16\x02\x00\x00\x01\x01",
                  b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + b"A" * 16379, b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"):
        with connect(hop, f"{ORIGIN}:{origin.port}") as wire:
            wire.send(first)
            assert wire.reader.exactly(7)[:3] == b"\x15\x03\x03"
            wire.reader.buffer = b""
            assert wire.is_closed()
    with connect(hop, f"{ORIGIN}:{origin.port}") as wire:  # a record that never ends
        wire.send(b"\x16\x03\x01\x10\x00\x01\x00\x10\x00")
        wire.close()
    with connect(hop, f"{ORIGIN}:{origin.port}") as wire:
        wire.send(b"SSH-2.0-x\r\n")
        assert wire.read().status == 400


def test_R21_http2_is_refused_in_its_own_words(intercepting, origin):
    hop = intercepting(origin.port)
    with connect(hop, f"{ORIGIN}:{origin.port}") as wire:
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        settings = wire.reader.exactly(9)
        assert settings == b"\0\0\0\4\0\0\0\0\0"
        head = wire.reader.exactly(9)
        goaway = wire.reader.exactly(int.from_bytes(head[:3], "big"))
        assert head[3] == 7 and int.from_bytes(goaway[4:8], "big") == 13 and b"HTTP/1.1" in goaway
        assert wire.is_closed()
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        Inside(hop, origin.port, context=hop.context(alpn=["h2"]))
    with Inside(hop, origin.port, context=hop.context(alpn=["h2", "http/1.1"])) as wire:
        assert wire.sock.selected_alpn_protocol() == "http/1.1"


def test_R21_http2_is_known_by_whatever_pieces_it_comes_in(intercepting, origin):
    """The first segment may be of a byte; and what begins like that may be a method."""
    hop = intercepting(origin.port)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for cuts in [(n,) for n in range(1, 9)] + [(1, 2, 3, 4)]:
        with connect(hop, f"{ORIGIN}:{origin.port}") as wire:
            for begin, end in zip((0, *cuts), (*cuts, len(preface)), strict=True):
                with contextlib.suppress(OSError):  # the answer may be there already
                    wire.send(preface[begin:end])
                time.sleep(0.05)  # a segment of its own; longer does no harm
            with contextlib.suppress(ConnectionResetError):
                answer = b""
                while part := wire.sock.recv(65536):
                    answer += part
            assert answer[3] == 4 and b"HTTP/1.1 is spoken in here." in answer, (cuts, answer)
    for method in ("PROPFIND", "PUT", "PRIVATE"):
        with connect(hop, f"{ORIGIN}:{origin.port}") as wire:
            said = request(f"http://{ORIGIN}:{origin.port}/a2a/x", None, method)
            for begin, end in ((0, 1), (1, 2), (2, 3), (3, len(said))):
                wire.send(said[begin:end])
                time.sleep(0.05)
            assert wire.read().status == 401


def test_R21_a_tunnel_that_begins_and_goes_no_further_ends(intercepting, origin):
    hop = intercepting(origin.port, change=lambda c: c.update(timeouts={"head": "500ms"}))
    with connect(hop, f"{ORIGIN}:{origin.port}") as wire:
        wire.send(b"PR")
        assert wire.is_closed()
    wait_until(lambda: "the first bytes do not tell what is spoken" in hop.stderr)


def test_R19_only_tls_1_2_and_later(sandbox, intercepting, origin):
    hop = intercepting(origin.port)
    with Inside(hop, origin.port, context=hop.context(maximum_version=ssl.TLSVersion.TLSv1_2)) as wire:
        assert wire.sock.version() == "TLSv1.2"
        wire.send(inner(origin.port, sandbox.mint()))
        assert wire.read().status == 200
    old = hop.context()
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Inside(hop, origin.port, context=old)


def test_sessions_are_resumed(sandbox, intercepting, origin):
    """For the same host only."""
    hop = intercepting(origin.port)
    context, token = hop.context(), sandbox.mint()
    with Inside(hop, origin.port, context=context) as wire:
        wire.send(inner(origin.port, token))
        assert wire.read().status == 200
        session = wire.sock.session
    for host, reused in ((ORIGIN, True), ("127.0.0.1", False)):
        with Inside(hop, origin.port, host=host, context=context, session=session) as wire:
            assert wire.sock.session_reused is reused, host
            wire.send(inner(origin.port, token, host=host))
            assert wire.read().status == 200
    assert hop.metric("tokenhop_client_tls_resumed_total") == 1


def test_client_that_does_not_trust_is_explained(intercepting, origin):
    hop = intercepting(origin.port)
    with pytest.raises(ssl.SSLCertVerificationError):
        Inside(hop, origin.port, context=ssl.create_default_context())
    harness.wait_until(lambda: hop.metric("tokenhop_client_tls_untrusted_total") == 1)
    harness.wait_until(lambda: "NODE_EXTRA_CA_CERTS" in hop.stderr)
    assert "unknown_ca" in hop.stderr


def test_R22_handshake_has_its_time(intercepting, origin):
    def change(config):
        config["timeouts"] = {"head": "1s"}

    hop = intercepting(origin.port, change=change)
    for first in (b"", b"\x16\x03\x01"):
        with connect(hop, f"{ORIGIN}:{origin.port}", first) as wire:
            began = time.monotonic()
            assert wire.is_closed(8)
            assert 0.8 < time.monotonic() - began < 3 * SLOW
    context = hop.context()
    outer = connect(hop, f"{ORIGIN}:{origin.port}")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=ORIGIN)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    outer.send(outgoing.read())
    outer.sock.recv(65536)  # ServerHello and the rest; nothing is answered
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while outer.sock.recv(65536):
            pass
    assert 0.8 < time.monotonic() - began < 3 * SLOW
    outer.close()
    assert hop.metric('tokenhop_timeouts_total{what="tunnel_begin"}') == 3
    assert hop.metric("tokenhop_tunnels_open") == 0


def test_R23_idle_intercepted_connections_are_cheap(sandbox, intercepting, origin):
    hop = intercepting(origin.port)
    figures, context, token = Figures(hop), hop.context(), sandbox.mint()

    def open_one():
        wire = Inside(hop, origin.port, context=context)
        wire.send(inner(origin.port, token))
        assert wire.read().status == 200
        return wire

    kept = [open_one() for _ in range(20)]
    before = figures.rss
    kept += [open_one() for _ in range(200)]
    each = (figures.rss - before) / 200
    for wire in kept:
        wire.close()
    if SLOW == 1:
        assert each < 24 * 1024, each


def test_R19_many_at_once(sandbox, intercepting, origin):
    """Single flight: however many ask at once, a host has one leaf."""
    hop = intercepting(origin.port)
    context, token, failed = hop.context(), sandbox.mint(), []

    def one():
        try:
            with Inside(hop, origin.port, context=context) as wire:
                wire.send(inner(origin.port, token))
                assert wire.read().status == 200
        except BaseException as error:  # noqa: B902
            failed.append(error)

    threads = [threading.Thread(target=one) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    assert hop.metric("tokenhop_interception_leaves_total") == 1


def test_reload_keeps_the_leaves_and_takes_a_new_authority(sandbox, intercepting, origin):
    hop = intercepting(origin.port)
    with Inside(hop, origin.port) as wire:
        serial = leaf_of(wire).serial_number
    hop.reload()
    harness.wait_until(lambda: "config.reloaded" in hop.stderr)
    with Inside(hop, origin.port) as wire:
        assert leaf_of(wire).serial_number == serial
        assert ca("init", hop, "--force").returncode == 0
        hop.reload()
        harness.wait_until(lambda: hop.stderr.count("config.reloaded") == 2)
        wire.send(inner(origin.port, sandbox.mint()))  # what is open goes on
        assert wire.read().status == 200
    with Inside(hop, origin.port) as wire:  # verified by the new one
        assert leaf_of(wire).serial_number != serial


# --- clients that know nothing but their environment ---


def environment(hop, **more):
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    url = f"http://127.0.0.1:{hop.port}"
    return {**kept, "HTTPS_PROXY": url, "https_proxy": url, "HTTP_PROXY": url, "http_proxy": url, **more}


PYTHON = {
    "requests": ("REQUESTS_CA_BUNDLE", "import requests; r = requests.get(URL, headers=H); print(r.status_code, r.text)"),
    "httpx": ("SSL_CERT_FILE", "import httpx; r = httpx.get(URL, headers=H); print(r.status_code, r.text)"),
    "urllib": ("SSL_CERT_FILE", "import urllib.request as u; r = u.urlopen(u.Request(URL, headers=H));"
               " print(r.status, r.read().decode())"),
}


def check_client(done, origin, token):
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "200 from /a2a/x", done.stdout
    credential = origin.requests[0].get("Authorization").split()[1]
    assert credential != token and token.encode() not in origin.bytes


@pytest.mark.parametrize("client", PYTHON)
def test_R19_python_with_environment_only(sandbox, intercepting, origin, client):
    hop = intercepting(origin.port)
    variable, code = PYTHON[client]
    token = sandbox.mint()
    code = f"URL = 'https://{ORIGIN}:{origin.port}/a2a/x'; H = {{'Authorization': 'Bearer {token}'}}\n{code}"
    done = subprocess.run(
        ["/usr/bin/python3", "-B", "-c", code], env=environment(hop, **{variable: str(hop.ca_file)}),
        capture_output=True, text=True, timeout=30 * SLOW,
    )
    check_client(done, origin, token)


def test_R19_curl_with_environment_only(sandbox, intercepting, origin):
    hop = intercepting(origin.port)
    token = sandbox.mint()
    done = subprocess.run(
        ["curl", "-sS", "-w", "%{http_code}", "-H", f"Authorization: Bearer {token}",
         f"https://{ORIGIN}:{origin.port}/a2a/x"],
        env=environment(hop, CURL_CA_BUNDLE=str(hop.ca_file)),
        capture_output=True, text=True, timeout=30 * SLOW,
    )
    assert done.returncode == 0, done.stderr
    done.stdout = f"{done.stdout[-3:]} {done.stdout[:-3]}"
    check_client(done, origin, token)


def test_R19_node_with_environment_only(sandbox, intercepting, origin):
    hop = intercepting(origin.port)
    token = sandbox.mint()
    here = pathlib.Path(__file__).resolve().parent
    code = (
        "import { EnvHttpProxyAgent, setGlobalDispatcher, fetch } from 'undici';"
        "setGlobalDispatcher(new EnvHttpProxyAgent());"
        f"const r = await fetch('https://{ORIGIN}:{origin.port}/a2a/x',"
        f" {{headers: {{authorization: 'Bearer {token}'}}}});"
        "console.log(r.status, await r.text());"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], cwd=here,
        env=environment(hop, NODE_EXTRA_CA_CERTS=str(hop.ca_file)),
        capture_output=True, text=True, timeout=30 * SLOW,
    )
    check_client(done, origin, token)
