"""Parent proxies: destinations and authorization servers reached through another proxy; Squid and tinyproxy themselves,
and one of Python that tells what reached it."""

import base64
import contextlib
import json
import os
import pathlib
import select
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

import harness
from harness import ORIGIN, free_port, wait_listening, wait_until
from rawnet import SLOW, Connection, Origin, Reader, Request, request, response
from test_interception import Intercepting, ca
from test_upgrades import SWITCH, KEY, shout, switch
from tlsnet import PROXY_NAMES, Identity, TlsOrigin

USER, PASSWORD = "agent", "sesame-open"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
CLIENT = "Basic " + base64.b64encode(b"client1:secret-of-client1").decode()


def dial(place):
    """HOST:PORT, as whoever knows ORIGIN."""
    host, port = place.rsplit(":", 1)
    return socket.create_connection(("127.0.0.1" if host == ORIGIN else host, int(port)))


class PythonProxy:
    """CONNECT and absolute-form. `.heads`: what it was asked; `.shown`: client certificates (never any)."""

    def __init__(self, identity=None, password=True):
        self.heads, self.shown, self.identity, self.password = [], [], identity, password
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        if identity:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(identity.file)
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"{'https' if self.identity else 'http'}://127.0.0.1:{self.port}"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.sockets.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError, EOFError, ValueError), contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            if self.identity:
                sock = self.context.wrap_socket(sock, server_side=True)
                stack.callback(sock.close)
                self.shown.append(sock.getpeercert(binary_form=True))
            reader = Reader(sock)
            while True:
                head = Request(reader.until(b"\r\n\r\n")[:-4], b"")
                self.heads.append(head)
                if self.password and head.get("Proxy-Authorization") != BASIC:
                    sock.sendall(response(b"who?", 407, ['Proxy-Authenticate: Basic realm="x"']))
                    continue
                if head.method == "CONNECT":
                    return self._tunnel(sock, head)
                self._forward(sock, reader, head)

    def _tunnel(self, sock, head):
        with dial(head.target) as far:
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            open_ends = {sock: far, far: sock}
            while open_ends:
                ready = [end for end in open_ends if self.identity and end is sock and sock.pending()]
                for end in ready or select.select(list(open_ends), [], [])[0]:
                    data = end.recv(65536)
                    if data:
                        open_ends[end].sendall(data)
                        continue
                    if self.identity:  # this TLS has no half-close
                        return
                    open_ends.pop(end).shutdown(socket.SHUT_WR)

    def _forward(self, sock, reader, head):
        authority, path = head.target.removeprefix("http://").split("/", 1)
        body = reader.exactly(int(head.get("Content-Length", 0)))
        lines = [f"{head.method} /{path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in head.fields if not name.lower().startswith("proxy-")]
        with dial(authority) as far:
            far.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            answer = Reader(far)
            start = answer.until(b"\r\n\r\n")
            length = int(next(l for l in start.split(b"\r\n") if l.lower().startswith(b"content-length:")).split(b":")[1])
            sock.sendall(start + answer.exactly(length))

    def close(self):
        self.listener.close()
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class RealProxy(harness.Process):
    """A proxy of Debian's; its access log tells what it was asked."""

    def __init__(self, folder, name):
        super().__init__()
        self.name, self.port, self.log = name, free_port(), folder / f"{name}.log"
        self.folder, self.heads = folder, None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        config = self.folder / f"{self.name}.conf"
        if self.name == "squid":
            crypted = subprocess.run(["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, text=True, check=True)
            users = self.folder / "users"
            users.write_text(f"{USER}:{crypted.stdout}")
            hosts = self.folder / "hosts"  # it asks name servers by itself
            hosts.write_text(f"127.0.0.1 {ORIGIN}\n")
            config.write_text(
                f"http_port 127.0.0.1:{self.port}\npid_filename none\ncache deny all\n"
                f"access_log stdio:{self.log}\ncache_log {self.folder}/cache.log\ncoredump_dir {self.folder}\n"
                f"shutdown_lifetime 1 seconds\nnetdb_filename none\nhosts_file {hosts}\n"
                f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {users}\n"
                "auth_param basic children 1\nacl known proxy_auth REQUIRED\nhttp_access allow known\n"
                "http_access deny all\n"
            )
            argv = [shutil.which("squid") or "/usr/sbin/squid", "-N", "-f", config]
            give_away(self.folder)
        else:
            config.write_text(
                f'Port {self.port}\nListen 127.0.0.1\nLogFile "{self.log}"\nLogLevel Connect\nMaxClients 50\n'
                f"BasicAuth {USER} {PASSWORD}\n"
            )
            argv = [shutil.which("tinyproxy") or "/usr/bin/tinyproxy", "-d", "-c", config]
        self._spawn(argv, cwd=self.folder, env=harness.names_known())
        self._read_in_thread(self.process.stdout.read)
        wait_listening(self.port, self.process, 20 * SLOW)
        return self

    def asked(self):
        return self.log.read_text() if self.log.exists() else ""


def give_away(folder):
    """Squid of root becomes another user, who must get at its files."""
    if os.geteuid() != 0:
        return
    for place in (folder, *folder.parents):
        if place.stat().st_uid == 0 and str(place).startswith("/tmp/") and not place.stat().st_mode & 0o005:
            place.chmod(0o755)
    for file in [folder, *folder.iterdir()]:
        shutil.chown(file, "proxy", "proxy")


@pytest.fixture(params=["python", "python-tls", "squid", "tinyproxy"])
def parent(request, tmp_path, own):
    if request.param.startswith("python"):
        made = PythonProxy(own if request.param == "python-tls" else None)
        yield made
        made.close()
        return
    place = tmp_path / request.param
    place.mkdir()
    made = RealProxy(place, request.param).start()
    yield made
    made.stop(expect=None)


@pytest.fixture
def python_parent():
    made = PythonProxy()
    yield made
    made.close()


class World:
    """A destination and an authorization server, by TLS both, and a connection by client_credentials."""

    def __init__(self, good, make):
        self.n_tokens, self.make = 0, make
        self.server = TlsOrigin(good, self.give)
        self.api = TlsOrigin(good, lambda r: shout if r.get("Upgrade") else response(b"api " + r.target.encode()))
        self.clear = Origin(lambda r: shout if r.get("Upgrade") else response(b"clear " + r.target.encode()))

    def give(self, r):
        self.n_tokens += 1
        body = {"access_token": f"token{self.n_tokens}", "token_type": "Bearer", "expires_in": 3600}
        return response(json.dumps(body).encode(), fields=["Content-Type: application/json"])

    def close(self):
        for each in (self.server, self.api, self.clear):
            each.close()


@pytest.fixture
def world(good):
    made = World(good, None)
    yield made
    made.close()


@pytest.fixture
def behind(world, tmp_path, authority, proxy_authority):
    """(parents) -> a running tokenhop; each entry gets what the test proxies want, unless it says otherwise."""
    started = []

    def start(*parents, change=None, begin=True):
        place = tmp_path / f"hop{len(started)}"
        place.mkdir()
        for name, text in (("secret", "secret-of-client1"), ("password", PASSWORD)):
            (place / name).write_text(text)
            (place / name).chmod(0o600)
        ports = [world.api.port, world.clear.port]
        config = {
            "listeners": [{"name": "in", "address": f"127.0.0.1:{free_port()}", "agent": "agent1"}],
            "authorization_servers": {"as": {
                "issuer": f"https://{ORIGIN}:{world.server.port}/as",
                "token_endpoint": f"https://{ORIGIN}:{world.server.port}/as/token", "ca_file": str(authority.ca_file)}},
            "agents": {"agent1": {"client_id": "client1", "authorization_server": "as",
                                  "auth": {"method": "client_secret_basic", "secret_file": "secret"}}},
            "connections": [{"name": "api", "type": "client_credentials", "agents": ["agent1"], "authorization_server": "as",
                             "url": [f"https://{ORIGIN}:{world.api.port}/", f"http://{ORIGIN}:{world.clear.port}/"],
                             "allow_cleartext": True}],
            "unmatched": "forward",
            "workers": 1,
            "origin": {"ca_file": str(authority.ca_file)},
            "interception": {"cert_file": "ca.pem", "key_file": "ca.key"},
            "egress": {"allow": ["127.0.0.1"], "connect_ports": ["1-65535"]},
            "log": {"access_file": "access.jsonl"},
            "parents": list(parents),
        }  # fmt: skip
        if change:
            change(config)
        hop = Intercepting(config, place)
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


def entry(parent, proxy_authority=None, **more):
    made = {"for": [ORIGIN, "127.0.0.1"], "proxy": parent.url, **more}
    made.setdefault("basic", {"user": USER, "password_file": "password"})
    if parent.url.startswith("https") and proxy_authority:
        made["ca_file"] = str(proxy_authority.ca_file)
    return made


def intercepted(hop, world, path):
    """An https:// request by CONNECT, as a client makes it."""
    with Connection(hop.port) as wire:
        place = f"{ORIGIN}:{world.api.port}"
        wire.send(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n")
        assert wire.reader.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        tls = hop.context().wrap_socket(wire.sock, server_hostname=ORIGIN)
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while more := tls.recv(65536):
            data += more
        tls.close()
    return data


def ask(hop, url, fields=("Proxy-Authorization: Basic Y2FsbGVyOnB3",)):
    with Connection(hop.port) as wire:
        return wire.send(request(url, fields=fields)).read()


def test_all_ways(world, behind, parent, proxy_authority):
    """https and http destinations, a plain tunnel, a WebSocket, and the token endpoint."""
    hop = behind(entry(parent, proxy_authority))
    api, clear = f"{ORIGIN}:{world.api.port}", f"{ORIGIN}:{world.clear.port}"
    # a client's http:// request to an https:// connection, twice: the second over a kept connection
    for i in range(2):
        answer = ask(hop, f"http://{api}/x{i}")
        assert answer.body == f"api /x{i}".encode(), (answer.body, hop.stderr)
    assert b"api /inside" in intercepted(hop, world, "/inside")
    assert {r.get("Authorization") for r in world.api.requests} == {"Bearer token1"} and world.n_tokens == 1
    assert len(world.api.raw) == 1 and world.server.requests[0].get("Authorization") == CLIENT
    for i in range(2):
        assert ask(hop, f"http://{clear}/c{i}").body == f"clear /c{i}".encode()
    assert [r.get("Authorization") for r in world.clear.requests] == ["Bearer token1"] * 2
    with Connection(hop.port) as wire:  # a plain tunnel
        wire.send(f"CONNECT 127.0.0.1:{world.clear.port} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.reader.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        wire.send(b"GET /tunnel HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.read().body == b"clear /tunnel"
    for place in (clear, api):
        with Connection(hop.port) as wire:
            switch(wire.send(request(f"http://{place}/ws", fields=KEY)))
            wire.send(b"hello\n")
            assert wire.reader.until(b"HELLO\n") == b"first\nHELLO\n"
    # nobody but the parent has seen its credentials, and nobody the caller's
    for each in (world.api, world.clear, world.server):
        assert BASIC.encode() not in each.bytes and b"Y2FsbGVyOnB3" not in each.bytes
        assert not any(r.get("Proxy-Authorization") for r in each.requests)
    if parent.heads is None:
        hop.stop()  # tunnels are logged when they end
        places = (f"{ORIGIN}:{world.server.port}", api, clear)
        wait_until(lambda: all(place in parent.asked() for place in places), 10 * SLOW)
        return
    connects = [h.target for h in parent.heads if h.method == "CONNECT"]
    assert {api, clear, f"{ORIGIN}:{world.server.port}"} <= set(connects)
    assert connects.count(f"{ORIGIN}:{world.server.port}") == 1
    for head in parent.heads:
        assert head.get("Proxy-Authorization") == BASIC
        if head.method == "CONNECT":  # what is inside is not for the parent
            assert head.get("Authorization") is None and head.get("DPoP") is None
    assert all(shown is None for shown in parent.shown)
    (hop.folder / "stderr").write_text(hop.stop())
    written = "".join(f.read_text() for f in (hop.folder / "stderr", hop.folder / "access.jsonl"))
    assert PASSWORD not in written and BASIC.split()[1] not in written


def test_r19_a_parent_that_is_not_who_it_should_be(folder, world, behind, proxy_authority, authority):
    """An https parent of another authority gets neither credentials nor requests, of destinations and servers alike."""
    stranger = PythonProxy(Identity(folder, "proxy", names=PROXY_NAMES, issuer=authority))
    hop = behind(entry(stranger, proxy_authority), change=lambda c: c["connections"].append(
        {"name": "static", "type": "static", "agents": ["agent1"], "value_file": "secret",
         "url": f"https://{ORIGIN}:{world.api.port}/static/"}))  # fmt: skip
    answer = ask(hop, f"http://{ORIGIN}:{world.api.port}/static/x")
    assert answer.status == 502 and "tls_certificate_error" in answer.get("Proxy-Status")
    assert ask(hop, f"http://{ORIGIN}:{world.api.port}/x").status in (502, 503)
    assert not stranger.heads and not world.api.requests and not world.server.requests
    stranger.close()


def test_r19_a_destination_behind_a_parent_is_verified(folder, world, behind, python_parent):
    other = TlsOrigin(Identity(folder, "stranger"))
    hop = behind(entry(python_parent), change=lambda c: c["connections"][0]["url"].append(f"https://{ORIGIN}:{other.port}/"))
    answer = ask(hop, f"http://{ORIGIN}:{other.port}/x")
    assert answer.status == 502 and "tls_certificate_error" in answer.get("Proxy-Status") and not other.requests
    other.close()


def test_wrong_password_and_its_change(world, behind, python_parent):
    """A 407 is told as a mistake of ours, never as one of the caller's; a new password is read without a restart."""
    hop = behind(entry(python_parent, carries="origins"),
                 change=lambda c: c.update({"files": {"watch": "100ms"}}))  # fmt: skip
    url = f"http://{ORIGIN}:{world.api.port}/x"
    assert ask(hop, url).status == 200
    (hop.folder / "password").write_text("another")
    wait_until(lambda: "reloaded" in hop.stderr or ask(hop, url).status == 502, 20 * SLOW)
    answer = wait_until(lambda: (a := ask(hop, url)).status == 502 and a, 20 * SLOW)
    assert "proxy_configuration_error" in answer.get("Proxy-Status") and answer.get("Proxy-Authenticate") is None
    assert "credentials of its entry" in answer.json()["detail"]
    clear = ask(hop, f"http://{ORIGIN}:{world.clear.port}/x")
    assert clear.status == 502 and clear.get("Proxy-Authenticate") is None
    assert "parent.failed" in hop.stderr and python_parent.url in hop.stderr
    (hop.folder / "password").write_text(PASSWORD)
    wait_until(lambda: ask(hop, url).status == 200, 20 * SLOW)


def test_parent_that_is_down(world, behind):
    """Nobody goes round it."""
    class Down:
        url = f"http://127.0.0.1:{free_port()}"

    hop = behind(entry(Down, carries="origins"))
    answer = ask(hop, f"http://{ORIGIN}:{world.api.port}/x")
    assert answer.status == 502 and "connection_refused" in answer.get("Proxy-Status")
    assert not world.api.requests and Down.url in wait_until(lambda: "parent.failed" in hop.stderr and hop.stderr)
    hop = behind(entry(Down, carries="authorization_servers"))
    assert ask(hop, f"http://{ORIGIN}:{world.api.port}/x").status == 503
    assert len(world.server.requests) == 1 and not world.api.requests


def test_r12_environment_names_no_proxy(world, behind, python_parent, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, python_parent.url)
    hop = behind()
    hop.stop()
    hop.env = harness.names_known()
    hop.start()
    assert ask(hop, f"http://{ORIGIN}:{world.api.port}/x").status == 200 and world.n_tokens == 1
    assert not python_parent.heads


def test_r10_circle_by_connect(world, behind):
    """Two that are each other's parent: a circle that no address tells is told by Via, and nothing is multiplied."""
    first, second = free_port(), free_port()

    def at(port):
        def change(config):
            config["listeners"][0]["address"] = f"127.0.0.1:{port}"
            config["egress"]["allow"].append("192.0.2.7")

        return change

    one = behind({"proxy": f"http://127.0.0.1:{second}", "for": ["192.0.2.7"]}, change=at(first))
    two = behind({"proxy": f"http://127.0.0.1:{first}", "for": ["192.0.2.7"]}, change=at(second))
    with Connection(one.port) as wire:
        answer = wire.send(b"CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n\r\n").read()
        assert answer.status == 502
    one.stop()
    two.stop()
    count = sum(len((hop.folder / "access.jsonl").read_text().splitlines()) for hop in (one, two))
    assert count == 3  # first, second, and the first again, which sees its own name
    assert "loop_detected" in (one.folder / "access.jsonl").read_text()


def test_explain_and_check(world, behind, python_parent):
    hop = behind(entry(python_parent), begin=False)
    assert ca("init", hop).returncode == 0
    run = lambda *argv: subprocess.run([harness.binary("tokenhop"), *argv], capture_output=True, text=True, timeout=60)
    done = run("explain", "-c", hop.file, f"https://{ORIGIN}:{world.api.port}/x")
    assert done.returncode == 0 and done.stdout.count(f"through the parent proxy: {python_parent.url}") == 2, done.stdout
    assert "CONNECT, and TLS with the origin inside" in done.stdout
    hop.config["connections"][0]["allow_cleartext"] = False
    hop.write()
    done = run("explain", "-c", hop.file, f"http://{ORIGIN}:{world.clear.port}/x")
    assert done.returncode == 1 and "allow_cleartext" in done.stdout
    hop.config["parents"][0]["proxy"] = f"http://127.0.0.1:{hop.port}"
    hop.write()
    done = run("check", "-c", hop.file)
    assert done.returncode == 2 and "requests would go round in circles" in done.stdout + done.stderr
