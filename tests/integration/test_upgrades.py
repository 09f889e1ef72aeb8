"""WebSockets and other upgrades: real clients to a real WebSocket server, in clear, through CONNECT, and intercepted."""

import asyncio
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import threading
import time

import pytest
import websockets

import harness
from harness import wait_until
from rawnet import SLOW, Connection, request, response, serve_at
from test_interception import intercepting  # noqa: F401  (a fixture)

HERE = pathlib.Path(__file__).resolve().parent
KEY = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class EchoServer:
    """Sends back each message, after what it saw of the handshake; .seen: the Authorization of each."""

    def __init__(self, identity=None):
        self.seen, self.scheme = [], "wss" if identity else "ws"
        self.loop, self.ready = asyncio.new_event_loop(), threading.Event()
        self.context = None
        if identity:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(identity.file)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self.ready.wait(10 * SLOW)

    async def _echo(self, ws):
        self.seen.append((ws.path, ws.request_headers.get("Authorization")))
        async for message in ws:
            await ws.send(message)

    async def _serve(self):
        self.end = asyncio.Event()
        async with websockets.serve(self._echo, "127.0.0.1", 0, ssl=self.context, max_size=None, compression=None) as server:
            self.port = server.sockets[0].getsockname()[1]
            self.ready.set()
            await self.end.wait()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def close(self):
        self.loop.call_soon_threadsafe(self.end.set)
        self.thread.join(10 * SLOW)


@pytest.fixture
def echo(good):
    started = []

    def start(tls=False):
        started.append(EchoServer(good if tls else None))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def serving(tokenhop, intercepting, echo):
    """(tls) -> a tokenhop, which intercepts then, and an echo server that is agent2's."""

    def start(tls=False, change=None):
        server = echo(tls)

        def add(config):
            if not tls:
                serve_at(config, server)
            config["log"] = {"access_file": "access.jsonl"}
            if change:
                change(config)

        return intercepting(server.port, change=add) if tls else tokenhop(add), server

    return start


def check_seen(server, sandbox):
    """The credential came with the handshake, never the subject token."""
    (path, authorization), = server.seen
    assert path == "/a2a/ws?x=1" and authorization.startswith("Bearer ")
    assert sandbox.whoami(authorization.removeprefix("Bearer ")).json()["user"] == "alice"
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


def records(hop, count=1):
    file = hop.folder / "access.jsonl"
    lines = lambda: [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return wait_until(lambda: len(got := [l for l in lines() if l["status"] == 101]) >= count and got, 10 * SLOW)


CLIENTS = [
    ("aiohttp", "ws"), ("aiohttp", "wss"), ("websockets", "ws"), ("websockets", "wss"),
    ("undici", "ws"), ("undici", "wss"), ("ws", "ws"), ("ws", "wss"), ("ws-connect", "ws"),
]


@pytest.mark.parametrize("client, scheme", CLIENTS)
def test_r6_real_clients(sandbox, serving, good, client, scheme):
    hop, server = serving(scheme == "wss")
    url = f"{scheme}://{harness.ORIGIN}:{server.port}/a2a/ws?x=1" if scheme == "wss" else f"ws://{server.address}/a2a/ws?x=1"
    proxy = f"http://127.0.0.1:{hop.port}"
    ca_file = str(hop.ca_file if scheme == "wss" else good.ca_file)
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment = {
        **kept, "TOKEN": sandbox.mint(user="alice"), "CA_FILE": ca_file, "NODE_EXTRA_CA_CERTS": ca_file,
        **{name: proxy for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ws_proxy", "wss_proxy")},
    }  # fmt: skip
    python = client in ("aiohttp", "websockets")  # aiohttp reads ws_proxy and wss_proxy, for its own schemes
    if not python:
        assert (HERE / "node_modules/ws").is_dir(), "run tests/integration/install-node first"
    command = ["/usr/bin/python3", "-B", HERE / "websocket_client.py"] if python else [shutil.which("node"), HERE / "websocket_client.mjs"]
    done = subprocess.run(
        [*command, client, url], env=environment, capture_output=True, text=True, timeout=40 * SLOW, cwd=HERE
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"short": "hello", "long_is_whole": True}
    check_seen(server, sandbox)
    (record,) = records(hop)
    assert record["method"] == "GET" and record["path"] == "/a2a/ws" and record["connection"] == "agent2"
    assert record["client_in"] > 1_000_000 and record["client_out"] > 1_000_000 and record["response_complete"]


def handshake(url, token, fields=KEY):
    return request(url, token, fields=fields)


@pytest.fixture
def raw(sandbox, tokenhop, origin):
    """(answer) -> a tokenhop, and a raw origin that is agent2's."""

    def start(answer, change=None):
        server = origin(answer)

        def add(config):
            serve_at(config, server)
            config["log"] = {"access_file": "access.jsonl"}
            if change:
                change(config)

        return tokenhop(add), server

    return start


def shout(sock):
    """Speaks something that is no HTTP: each line comes back in capitals, until the client's side ends."""
    file = sock.makefile("rb")
    sock.sendall(SWITCH + b"first\n")
    for line in file:
        sock.sendall(line.upper())
    sock.sendall(b"last\n")
    return False


def switch(wire):
    assert wire.reader.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
    return wire


def test_r21_half_close_and_amounts(sandbox, raw):
    hop, server = raw(lambda r: shout)
    with Connection(hop.port) as wire:
        switch(wire.send(handshake(server.url(), sandbox.mint())))
        wire.send(b"GET / HTTP/1.1\n")
        assert wire.reader.until(b"1.1\n") == b"first\nGET / HTTP/1.1\n"
        wire.half_close()
        assert wire.reader.until(b"last\n") == b"last\n"
        assert wire.is_closed()
    (record,) = records(hop)
    assert record["client_in"] - record["origin_in"] != 0 and record["request_complete"] and record["response_complete"]
    assert record["origin_in"] == len(SWITCH) + len(b"first\nGET / HTTP/1.1\nlast\n")
    assert len(server.requests) == 1


def test_r6_early_bytes_are_never_a_request(sandbox, raw):
    """RFC 9931: whatever the moment at which they come, up to the answer."""
    hop, server = raw(lambda r: response(b"no"))
    token = sandbox.mint()
    hidden = request(server.url("/a2a/smuggled"), token)
    with Connection(hop.port) as wire:
        answer = wire.send(handshake(server.url(), token) + hidden).read()
        assert answer.status == 200 and answer.body == b"no" and answer.get("Connection") == "close"
        assert wire.is_closed()
    with Connection(hop.port) as wire:  # nor when tokenhop answers itself
        answer = wire.send(handshake(server.url(), None) + hidden).read()
        assert answer.status == 401 and answer.get("Connection") == "close" and wire.is_closed()
    with Connection(hop.port) as wire:  # without them the connection goes on
        for path in ("/a2a/1", "/a2a/2"):
            assert wire.send(handshake(server.url(path), token)).read().status == 200
    assert [r.target for r in server.requests] == ["/a2a/x", "/a2a/1", "/a2a/2"]


def test_r15_an_upgraded_connection_serves_nobody_else(sandbox, raw):
    hop, server = raw(lambda r: shout if r.get("Upgrade") else response(b"ok"))
    alice, bob = sandbox.mint(user="alice"), sandbox.mint(user="bob")
    with Connection(hop.port) as wire, Connection(hop.port) as other:
        switch(wire.send(handshake(server.url(), alice)))
        assert other.send(request(server.url(), bob)).read().body == b"ok"
        wire.half_close()
        wire.reader.until(b"last\n")
        assert other.send(request(server.url(), bob)).read().body == b"ok"
    # one for the WebSocket, another that served both of bob's
    assert len(server.raw) == 2 and len(server.requests) == 3
    of = {r.get("Authorization") for r in server.requests if not r.get("Upgrade")}
    assert len(of) == 1 and server.requests[0].get("Authorization") not in of


def test_r5_401_to_a_handshake(sandbox, raw):
    """A destination that does not accept the credential of a handshake is asked once more with another."""
    seen = []

    def answer(r):
        seen.append(r.get("Authorization"))
        return response(status=401) if len(seen) == 1 else shout

    hop, server = raw(answer)
    with Connection(hop.port) as wire:
        switch(wire.send(handshake(server.url(), sandbox.mint()) + b"early\n"))
        assert wire.reader.until(b"EARLY\n") == b"first\nEARLY\n"
    assert len(seen) == 2 and seen[0] != seen[1]


def test_r23_back_pressure_and_memory(sandbox, raw):
    """Who does not read what the other side sends holds it up, and nothing is kept here."""
    sent = [0]

    def flood(sock):
        sock.sendall(SWITCH)
        sock.settimeout(2 * SLOW)
        try:
            while sent[0] < 400_000_000:
                sent[0] += sock.send(b"x" * 1_000_000)
        except TimeoutError:
            pass
        sock.settimeout(None)
        while sock.recv(65536):
            pass
        return False

    hop, server = raw(lambda r: flood)
    with Connection(hop.port) as wire:
        switch(wire.send(handshake(server.url(), sandbox.mint())))
        before = -1
        while before != sent[0]:
            before = sent[0]
            time.sleep(2.5 * SLOW)
        assert 0 < sent[0] < 100_000_000  # kernels hold some MB
        got = len(wire.reader.buffer)
        while got < sent[0]:
            got += len(wire.sock.recv(1 << 20))
        assert got == sent[0]


def test_r24_drain_cuts_at_its_deadline(sandbox, raw):
    hop, server = raw(lambda r: shout, lambda config: config.update({"timeouts": {"drain": "1s"}}))
    with Connection(hop.port) as wire:
        switch(wire.send(handshake(server.url(), sandbox.mint())))
        assert wire.reader.until(b"first\n")
        started = time.monotonic()
        hop.stop()
        assert time.monotonic() - started >= 0.9
        assert wire.is_closed()


def test_r23_limits_tunnels(sandbox, raw):
    hop, server = raw(lambda r: shout, lambda config: config.update({"limits": {"tunnels": 1}}))
    token = sandbox.mint()
    with Connection(hop.port) as wire, Connection(hop.port) as other:
        switch(wire.send(handshake(server.url(), token)))
        refused = other.send(handshake(server.url(), token)).read()
        assert refused.status == 503 and "limits.tunnels" in refused.json()["detail"]
        wire.close()
        wait_until(lambda: len(records(hop)) == 1, 10 * SLOW)
        switch(other.send(handshake(server.url(), token)))


def test_r6_through_a_gateway(sandbox, tokenhop, origin):
    server = origin(lambda r: shout)

    def change(config):
        serve_at(config, server)
        config["listeners"][0].update({"mode": "gateway", "scheme": "http"})

    hop = tokenhop(change)
    lines = [f"GET /a2a/x HTTP/1.1", f"Host: {server.address}", f"Authorization: Bearer {sandbox.mint()}", *KEY, "", ""]
    with Connection(hop.port) as wire:
        switch(wire.send("\r\n".join(lines)))
        wire.send(b"hello\n")
        assert wire.reader.until(b"HELLO\n") == b"first\nHELLO\n"
    assert server.requests[0].get("Upgrade") == "websocket"


def test_r6_a_data_plane_gets_its_field_and_upgrades_itself(sandbox, tokenhop, origin):
    server = origin(lambda r: shout)

    def change(config):
        serve_at(config, server)
        config["listeners"][0].update({"mode": "authz", "scheme": "http"})

    hop = tokenhop(change)
    lines = [f"GET /a2a/x HTTP/1.1", f"Host: {server.address}", f"Authorization: Bearer {sandbox.mint()}", *KEY, "", ""]
    with Connection(hop.port) as wire:
        answer = wire.send("\r\n".join(lines)).read()
        assert answer.status == 200 and answer.get("Authorization").startswith("Bearer ")
        assert answer.get("Upgrade") is None and answer.get("Connection") is None
        assert wire.send("\r\n".join(lines)).read().status == 200
    assert not server.requests
