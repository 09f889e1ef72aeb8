"""Listeners that speak TLS: what clients see of it, in every mode, and TLS inside of it."""

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
import requests

import harness
from harness import ORIGIN, wait_until
from rawnet import SANITIZED, SLOW, Connection, Figures, Reader, request, response
from tlsnet import PROXY_NAMES, Identity, TlsOrigin


class TlsHop(harness.Tokenhop):
    """`.ca_file` is what its clients trust."""

    def context(self, **more):
        context = ssl.create_default_context(cafile=self.ca_file)
        for name, value in more.items():
            setattr(context, name, value)
        return context

    @property
    def address(self):
        return self.config["listeners"][0]["address"]

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def curl(self, url, token=None, *more):
        words = ["curl", "-sS", "-m", "60", "--noproxy", "", "-x", f"https://{self.address}", "--proxy-cacert", self.ca_file]
        words += ["-H", f"Authorization: Bearer {token}"] if token else []
        return subprocess.run([*map(str, words), *map(str, more), url], capture_output=True, text=True)

    def metric(self, name):
        answer = requests.get(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=20)
        found = re.search(rf"^{re.escape(name)} (\d+)$", answer.text, re.M)
        return int(found[1]) if found else 0


class Secure(Connection):
    """A connection to the listener, inside of its TLS."""

    def __init__(self, hop, context=None, session=None):
        super().__init__(hop.port)
        self.context = context or hop.context()
        self.sock = self.context.wrap_socket(self.sock, server_hostname="localhost", session=session, suppress_ragged_eofs=False)
        self.reader = Reader(self.sock)


@pytest.fixture
def speaking(sandbox, tmp_path, own, proxy_authority):
    """tokenhop whose first listener speaks TLS: speaking(change=function(config))."""
    started = []

    def start(change=None, agents=("agent1",), begin=True):
        config = harness.base_config(sandbox, agents)
        place = tmp_path / f"speaking{len(started)}"
        place.mkdir()
        shutil.copy(own.file, place / "proxy.pem")
        config["listeners"][0]["tls"] = {"cert_file": "proxy.pem", "key_file": "proxy.pem"}
        config["files"] = {"watch": "100ms"}
        admin = harness.free_port()
        config["admin"] = {"address": f"127.0.0.1:{admin}"}
        if change is not None:
            change(config)
        hop = TlsHop(config, place)
        hop.ca_file, hop.admin_port = proxy_authority.ca_file, admin
        started.append(hop)
        hop.write()
        return hop.start() if begin else hop

    yield start
    for hop in started:
        hop.stop()


# --- in every mode ---


def test_an_https_proxy(sandbox, speaking):
    hop = speaking()
    token = sandbox.mint(user="alice")
    done = hop.curl(sandbox.url("agent2", "/a2a/whoami"), token)
    assert done.returncode == 0 and json.loads(done.stdout)["chain"] == [sandbox.client_id("agent1")], done
    # one connection for many
    done = hop.curl(sandbox.url("agent2", "/a2a/whoami"), token, sandbox.url("agent2", "/a2a/whoami"))
    assert done.returncode == 0 and done.stdout.count('"alice"') == 2, done
    assert hop.metric("tokenhop_client_tls_handshakes_total") == 2


def test_a_gateway_and_questions_of_a_data_plane(sandbox, speaking):
    def change(config):
        first = config["listeners"][0]
        first.update(mode="gateway", scheme="http")
        config["listeners"].append({**first, "name": "asked", "mode": "authz", "address": f"127.0.0.1:{harness.free_port()}"})

    hop = speaking(change)
    token = sandbox.mint(user="alice")
    host = f"127.0.0.1:{sandbox.port('agent2')}"
    for listener in hop.config["listeners"]:
        done = subprocess.run(
            ["curl", "-sS", "-i", "--noproxy", "*", "--cacert", hop.ca_file, "-H", f"Host: {host}", "-H", f"Authorization: Bearer {token}",
             f"https://{listener['address']}/a2a/whoami"], capture_output=True, text=True)  # fmt: skip
        assert done.stdout.startswith("HTTP/1.1 200"), done
        if listener["mode"] == "gateway":
            assert '"alice"' in done.stdout
        else:
            assert re.search(r"(?i)^authorization: bearer ", done.stdout, re.M) and token not in done.stdout


def test_large_bodies_both_ways(sandbox, speaking, origin):
    size = 3_000_000
    seen = origin(lambda r: response(r.body[::-1]))
    hop = speaking(lambda config: (config["connections"][0].update(url=seen.url("/")), config["egress"]["allow"].append(seen.address)))
    body = os.urandom(size)
    with Secure(hop) as wire:
        answer = wire.send(request(seen.url(), sandbox.mint(), "POST", body=body)).read()
        assert answer.status == 200 and answer.body == body[::-1]


# --- versions and protocols ---


def test_r19_versions_and_protocols(sandbox, speaking):
    hop = speaking()
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with Secure(hop, hop.context(minimum_version=version, maximum_version=version)) as wire:
            assert wire.sock.version() == version.name.replace("_", ".")
            assert wire.send(request(url, token)).read().status == 200
    old = hop.context()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        Secure(hop, old)
    wait_until(lambda: "version 1.2 or later" in hop.stderr)
    for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), ([], None)):
        context = hop.context()
        if offered:
            context.set_alpn_protocols(offered)
        with Secure(hop, context) as wire:
            assert wire.sock.selected_alpn_protocol() == chosen
    only_h2 = hop.context()
    only_h2.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError):
        Secure(hop, only_h2)
    wait_until(lambda: "does not offer http/1.1" in hop.stderr)
    assert hop.metric("tokenhop_client_tls_failures_total") == 2


def test_sessions_are_resumed(sandbox, speaking):
    """On any worker, and by no other listener."""
    def change(config):
        config["workers"] = 2
        config["listeners"].append({**config["listeners"][0], "name": "other", "address": f"127.0.0.1:{harness.free_port()}"})

    hop = speaking(change)
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = hop.context(minimum_version=version, maximum_version=version)
        session, reused = None, []
        for _ in range(8):
            with Secure(hop, context, session) as wire:
                assert wire.send(request(url, token)).read().status == 200  # the ticket is there when the answer is
                session = wire.sock.session
                reused.append(wire.sock.session_reused)
        assert reused == [False] + [True] * 7
        hop.config["listeners"].reverse()
        with Secure(hop, context, session) as wire:
            assert not wire.sock.session_reused
        hop.config["listeners"].reverse()
    assert hop.metric("tokenhop_client_tls_resumed_total") == 14


# --- what is no TLS, or none that ends ---


def test_a_request_without_tls_is_told_so(speaking):
    hop = speaking()
    with Connection(hop.port) as wire:
        answer = wire.send(request("http://127.0.0.1:1/")).read()
        assert answer.status == 400 and json.loads(answer.body)["code"] == "bad_request" and b"speaks TLS" in answer.body
        assert wire.sock.recv(1) == b""
    with Connection(hop.port) as wire:  # what is neither
        wire.send(b"\x05\x01\x00" + b"x" * 50)
        with contextlib.suppress(ConnectionError):
            assert wire.sock.recv(1) == b""
    wait_until(lambda: hop.stderr.count("does not speak TLS") == 2)
    assert hop.metric("tokenhop_client_tls_failures_total") == 2


def test_behind_a_load_balancer(sandbox, speaking):
    """The PROXY protocol's header comes before TLS, at once with it or alone."""
    hop = speaking(lambda config: config["listeners"][0].update(proxy_protocol={"from": ["127.0.0.1"]}))
    asked = request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())
    for pieces in (1, 3):
        with socket.create_connection(("127.0.0.1", hop.port), 20 * SLOW) as raw:
            header = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 8443\r\n"
            outgoing, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = hop.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            first = header + outgoing.read()
            for at in range(0, len(first), -(-len(first) // pieces)):
                raw.sendall(first[at : at + -(-len(first) // pieces)])
                time.sleep(0.05 if pieces > 1 else 0)  # so that they come apart
            inside = Inside.__new__(Inside)
            inside.outer, inside.incoming, inside.outgoing, inside.tls = raw, incoming, outgoing, tls
            inside.do(tls.do_handshake)
            inside.sendall(asked)
            assert Reader(inside).until(b"\r\n").startswith(b"HTTP/1.1 200")
    hop.stop()
    assert [json.loads(line)["client"] for line in hop.output.splitlines()] == ["192.0.2.7:40000"] * 2


def test_r22_a_handshake_has_its_time(speaking):
    hop = speaking(lambda config: config.update(timeouts={"head": "500ms"}))
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        hop.context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    for first in (b"", hello[:1], hello[:-1], hello):
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", hop.port)) as sock:
            sock.sendall(first)
            sock.settimeout(20 * SLOW)
            with contextlib.suppress(ConnectionError):
                while sock.recv(65536):
                    pass
        assert time.monotonic() - began >= 0.4
    wait_until(lambda: hop.stderr.count("not done in time") == 3)  # the silent one only looked
    # Nor has one that is done and then asks nothing.
    with Secure(hop) as wire:
        assert wire.sock.recv(1) == b""


def test_a_client_that_does_not_trust_it(speaking):
    hop = speaking()
    with pytest.raises(ssl.SSLCertVerificationError):
        Secure(hop, ssl.create_default_context())
    wait_until(lambda: "unknown_ca" in hop.stderr)
    line = next(json.loads(line) for line in hop.stderr.splitlines() if "listener.tls_failed" in line)
    assert line["listener"] == "agent1" and line["client"].startswith("127.0.0.1:")
    assert hop.metric("tokenhop_client_tls_failures_total") == 1


def test_who_only_looks_whether_the_port_is_open(speaking):
    hop = speaking()
    for _ in range(3):
        socket.create_connection(("127.0.0.1", hop.port)).close()
    with Secure(hop):
        pass
    assert hop.metric("tokenhop_client_tls_failures_total") == 0 and "tls_failed" not in hop.stderr


def test_r23_at_the_limit_of_connections(speaking):
    hop = speaking(lambda config: config.update(limits={"connections": 1}))

    def is_let_in():  # what had looked whether the port is open may not be gone yet
        with contextlib.suppress(OSError):
            return Secure(hop)

    with wait_until(is_let_in) as wire, Connection(hop.port) as turned_away:
        assert turned_away.sock.recv(100) == b""  # no words without TLS
        assert wire.sock.version()


# --- files that change ---


def serial(wire):
    return wire.sock.getpeercert()["serialNumber"]


def test_r24_certificates_rotate(sandbox, speaking, folder, proxy_authority):
    hop = speaking()
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    fresh = Identity(folder, "proxy", names=PROXY_NAMES, issuer=proxy_authority)
    with Secure(hop) as kept:
        assert kept.send(request(url, token)).read().status == 200
        before, session = serial(kept), kept.sock.session
        (hop.folder / "next.pem").write_bytes(fresh.file.read_bytes())
        (hop.folder / "next.pem").chmod(0o600)
        os.replace(hop.folder / "next.pem", hop.folder / "proxy.pem")
        wait_until(lambda: "config.reloaded" in hop.stderr)
        with Secure(hop) as wire:
            assert serial(wire) == f"{fresh.certificate.serial_number:X}".zfill(len(serial(wire))) != before
            assert wire.send(request(url, token)).read().status == 200
        with Secure(hop, kept.context, session) as wire:  # not by the ticket of the old one either
            assert not wire.sock.session_reused and serial(wire) != before
        assert kept.send(request(url, token)).read().status == 200 and serial(kept) == before


def test_r24_a_reload_without_news_keeps_the_tickets(sandbox, speaking):
    hop = speaking()
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    with Secure(hop) as wire:
        assert wire.send(request(url, token)).read().status == 200
        session, context = wire.sock.session, wire.context
    hop.config["limits"] = {"tunnels": 7}
    hop.reload()
    wait_until(lambda: "config.reloaded" in hop.stderr)
    with Secure(hop, context, session) as wire:
        assert wire.sock.session_reused


def test_r24_a_bad_file_changes_nothing(sandbox, speaking):
    hop = speaking()
    (hop.folder / "proxy.pem").write_text("nothing")
    wait_until(lambda: "proxy.pem" in hop.stderr or "tls" in hop.stderr)
    with Secure(hop) as wire:
        assert wire.send(request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())).read().status == 200


def test_tls_is_neither_given_nor_taken_by_a_reload(speaking):
    hop = speaking()
    del hop.config["listeners"][0]["tls"]
    hop.reload()
    wait_until(lambda: "cannot be moved" in hop.stderr)
    with Secure(hop):
        pass


# --- TLS inside of TLS ---


class Inside:
    """TLS inside of TLS by two memory BIOs, as Python's own wrapper knows sockets alone."""

    def __init__(self, outer, context, name):
        self.outer = outer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.do(self.tls.do_handshake)
        self.reader = Reader(self)

    def flush(self):
        data = self.outgoing.read()
        if data:
            self.outer.sendall(data)

    def do(self, call, *args):
        while True:
            try:
                result = call(*args)
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                data = self.outer.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def sendall(self, data):
        for at in range(0, len(data), 16384):
            self.do(self.tls.write, data[at : at + 16384])

    def recv(self, size):
        return self.do(self.tls.read, size)


class Burst:
    """TLS whose records go out many at a time; what comes is read and forgotten."""

    def __init__(self, sock, tls, incoming, outgoing):
        self.sock, self.tls, self.incoming, self.outgoing = sock, tls, incoming, outgoing
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))

        threading.Thread(target=self.forget, daemon=True).start()

    def forget(self):
        with contextlib.suppress(OSError):
            while self.sock.recv(1 << 20):
                pass

    def send(self, pieces):
        for piece in pieces:
            self.tls.write(piece)
        self.sock.sendall(self.outgoing.read())


def connect(wire, authority):
    wire.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    head = wire.reader.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head


@pytest.fixture
def intercepting(speaking, authority, good):
    opened = []

    def start(answer, change=None):
        opened.append(TlsOrigin(good, answer))
        port = opened[-1].port

        def configure(config):
            entry = next(c for c in config["connections"] if c["name"] == "agent2")
            entry["url"] = [entry["url"], f"https://{ORIGIN}:{port}/"]
            config["egress"]["allow"].append(f"127.0.0.1:{port}")
            config["origin"] = {"ca_file": str(authority.ca_file)}
            config["interception"] = {"cert_file": "ca.pem", "key_file": "ca.key"}
            if change is not None:
                change(config)

        hop = speaking(configure, begin=False)
        done = subprocess.run([harness.binary("tokenhop"), "ca", "init", "-c", hop.file], capture_output=True, text=True)
        assert done.returncode == 0, done
        hop.inner_ca = hop.folder / "ca.pem"
        return hop.start(), opened[-1]

    yield start
    for origin in opened:
        origin.close()


def test_interception_inside(sandbox, intercepting):
    hop, seen = intercepting(lambda r: response(r.body or b"from " + r.target.encode()))
    token = sandbox.mint(user="alice")
    done = hop.curl(f"https://{ORIGIN}:{seen.port}/a2a/x", token, "--cacert", hop.inner_ca)
    assert done.returncode == 0 and done.stdout == "from /a2a/x", done
    assert token.encode() not in seen.bytes
    body = os.urandom(600_000)
    with Secure(hop) as wire:
        connect(wire, f"{ORIGIN}:{seen.port}")
        inside = Inside(wire.sock, ssl.create_default_context(cafile=hop.inner_ca), ORIGIN)
        for n in (0, 1, 70_000, 600_000):
            asked = request(f"https://{ORIGIN}:{seen.port}/a2a/y", token, "POST", body=body[:n]) if n else request(f"https://{ORIGIN}:{seen.port}/a2a/y", token)
            inside.sendall(asked.replace(f"https://{ORIGIN}:{seen.port}".encode(), b"", 1))
            head = inside.reader.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
            assert inside.reader.exactly(length) == (body[:n] if n else b"from /a2a/y")
    assert hop.metric('tokenhop_tunnels_total{kind="intercepted"}') == 2


def test_interception_inside_is_refused_by_an_alert(intercepting):
    hop, seen = intercepting(lambda r: response())
    with Secure(hop) as wire:
        connect(wire, f"{ORIGIN}:{seen.port}")
        with pytest.raises(ssl.SSLError, match="(?i)unrecognized"):
            Inside(wire.sock, ssl.create_default_context(cafile=hop.inner_ca), "other.example.com")
    assert not seen.raw


@pytest.fixture
def tunnelled(speaking):
    """A raw server behind a plain tunnel; tunnelled(serve) gives the hop and its port."""
    listening = []

    def start(serve):
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)
        port = server.getsockname()[1]

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    threading.Thread(target=serve, args=(sock,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

        def change(config):
            config["unmatched"] = "forward"
            config["egress"]["allow"].append(f"127.0.0.1:{port}")
            config["egress"]["connect_ports"] = [port]
            config["workers"] = 1

        return speaking(change), port

    yield start
    for server in listening:
        server.close()


def test_r15_a_burst_of_small_records_is_nobody_elses(tunnelled):
    """More records than one side gets in one turn, while the other side sends too, all on one worker: what was
    received last is not mixed with what others write meanwhile."""
    heard, sent = [], 40 * 500

    def serve(sock):
        def shout():
            with contextlib.suppress(OSError):
                while True:
                    sock.sendall(b"B" * 1000)

        threading.Thread(target=shout, daemon=True).start()
        total = 0
        while total < sent and (data := sock.recv(65536)):
            total += len(data)
            heard.append(data)

    hop, port = tunnelled(serve)
    with Secure(hop) as wire:
        connect(wire, f"127.0.0.1:{port}")
        outer, incoming, outgoing = socket.create_connection(("127.0.0.1", hop.port)), ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = hop.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        inside = Burst(outer, tls, incoming, outgoing)
        inside.send([f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()])
        heard.clear()
        for _ in range(40):
            inside.send([b"A"] * 500)
            time.sleep(0.005)
        wait_until(lambda: sum(map(len, heard)) >= sent, 60 * SLOW)
        outer.close()
    assert b"".join(heard) == b"A" * sent


def test_r21_half_closes_are_passed_on(tunnelled):
    """By the client's close_notify and to it, each while the other side goes on."""
    heard = []

    def serve(sock):
        with sock:
            if sock.recv(1) == b"a":  # ends first, and then listens
                sock.sendall(b"bye")
                sock.shutdown(socket.SHUT_WR)
                while data := sock.recv(65536):
                    heard.append(data)
                heard.append(b"end")
            else:  # hears the end, and then speaks
                while data := sock.recv(65536):
                    heard.append(data)
                sock.sendall(b"after your end " * 10000)

    hop, port = tunnelled(serve)
    with Secure(hop) as wire:
        connect(wire, f"127.0.0.1:{port}")
        wire.send(b"a")
        assert wire.reader.exactly(3) == b"bye"
        assert wire.sock.recv(1) == b""  # a close_notify: ragged ends raise
        wire.send(b"still here")
        wait_until(lambda: b"".join(heard) == b"still here")
        wire.sock.unwrap()
        wait_until(lambda: heard[-1] == b"end")
    heard.clear()
    raw = socket.create_connection(("127.0.0.1", hop.port))
    with raw:
        inside = Inside(raw, hop.context(), "localhost")
        inside.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        inside.reader.until(b"\r\n\r\n")
        inside.sendall(b"bcd")
        with contextlib.suppress(ssl.SSLWantReadError):
            inside.tls.unwrap()
        inside.flush()
        assert inside.reader.exactly(150_000) == b"after your end " * 10000
    assert b"".join(heard) == b"cd"


def test_r21_a_cut_is_passed_on(tunnelled):
    """An end without close_notify is none."""
    ends = []

    def serve(sock):
        with sock:
            sock.recv(1)
            try:
                ends.append(sock.recv(1))
            except ConnectionError as error:
                ends.append(error)

    hop, port = tunnelled(serve)
    with Secure(hop) as wire:
        connect(wire, f"127.0.0.1:{port}")
        wire.send(b"x")
        with socket.socket(fileno=os.dup(wire.sock.fileno())) as below:
            below.shutdown(socket.SHUT_WR)
        wait_until(lambda: ends)
    assert isinstance(ends[0], ConnectionError), ends


def test_r20_a_plain_tunnel_with_tls_inside(tunnelled, authority, good):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(good.file)

    def serve(sock):
        with server.wrap_socket(sock, server_side=True) as tls:
            while data := tls.recv(65536):
                tls.sendall(data)

    hop, port = tunnelled(serve)
    with Secure(hop) as wire:
        connect(wire, f"{ORIGIN}:{port}")
        inside = Inside(wire.sock, ssl.create_default_context(cafile=authority.ca_file), ORIGIN)
        for size in (1, 16384, 300_000):
            data = os.urandom(size)
            for at in range(0, size, 16384):
                inside.sendall(data[at : at + 16384])
                assert inside.reader.exactly(len(data[at : at + 16384])) == data[at : at + 16384]


# --- commands, and what it costs ---


def test_check_and_explain_show_it(sandbox, speaking, proxy_authority):
    hop = speaking(lambda config: config["listeners"][0]["tls"].update(client_certificate="optional", client_ca_file=str(proxy_authority.ca_file)), begin=False)
    run = lambda *words: subprocess.run([harness.binary("tokenhop"), *words, "-c", hop.file], capture_output=True, text=True, timeout=60)
    done = run("check")
    assert done.returncode == 0 and f'listener "agent1" ({hop.address}), TLS, client certificates optional' in done.stdout, done
    done = run("explain", sandbox.url("agent2", "/a2a/x"))
    assert done.returncode == 0 and f"({hop.address}, TLS, client certificates optional)" in done.stdout, done


def test_r24_drains(sandbox, speaking):
    hop = speaking()
    with Secure(hop) as idle, Secure(hop) as other:
        assert idle.send(request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())).read().status == 200
        hop.stop()
        assert idle.sock.recv(1) == b"" and other.sock.recv(1) == b""  # with a farewell


def test_idle_clients_are_cheap(sandbox, speaking):
    """Most of it is OpenSSL's; no buffers are held. (A sanitizer keeps what was freed: no figure there.)"""
    count = 400
    hop = speaking(lambda config: config.update(workers=1))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    context = hop.context()
    figures = Figures(hop)

    def open_one():
        wire = Secure(hop, context)
        assert wire.send(request(url, token)).read().status == 200
        return wire

    wires = [open_one() for _ in range(50)]
    before = figures.rss
    wires += [open_one() for _ in range(count)]
    used = (figures.rss - before) / count
    for wire in wires:
        wire.sock.close()
    if not SANITIZED:
        assert used < 24 * 1024, used
