"""Plain CONNECT tunnels, with real sockets: what no connection matches and `unmatched` forwards."""

import contextlib
import json
import os
import pathlib
import random
import socket
import subprocess
import threading

import pytest

from harness import wait_until
from rawnet import SLOW, Connection, Figures, response
from tlsnet import TlsOrigin


class Echo:
    """Sends back what it gets, reversed a piece at a time, and then ends; counts what came."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(65536):
                sock.sendall(data)
            sock.sendall(b"END")

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def echo():
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def through(tokenhop, echo):
    def change(config):
        config["unmatched"] = [{"url": f"https://{echo.address}/", "action": "forward"}]
        config["egress"]["allow"].append(echo.address)
        config["egress"]["connect_ports"] = [str(echo.port)]

    return tokenhop(change)


def connect(hop, authority, first=b""):
    wire = Connection(hop.port)
    wire.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode() + first)
    head = wire.reader.until(b"\r\n\r\n")
    assert head == b"HTTP/1.1 200 Connection established\r\n\r\n", head
    return wire


def exchange(hop, authority, seed):
    """Sends random amounts at random times, ends its side, and reads to the end."""
    chance = random.Random(seed)
    data = chance.randbytes(chance.choice([0, 1, 5000, 16384, 16385, 300_000, 5_000_000]))
    cut = chance.randrange(len(data) + 1) if len(data) < 10000 else chance.randrange(3000)
    with connect(hop, authority, data[:cut]) as wire:

        def send():
            at = cut
            while at < len(data):
                n = chance.choice([1, 100, 16384, 100_000, 1_000_000])
                wire.sock.sendall(data[at : at + n])
                at += n
            wire.half_close()

        sender = threading.Thread(target=send)
        sender.start()
        got = bytearray(wire.reader.buffer)
        while piece := wire.sock.recv(65536):
            got += piece
        sender.join()
    assert bytes(got) == data + b"END", (seed, len(got), len(data))


def test_r20_r21_bytes_both_ways(through, echo):
    """Nothing lost, added or reordered, whatever the amounts; each side's end passed on, not the whole's."""
    for seed in range(24):
        exchange(through, echo.address, seed)
    failed = []

    def one(seed):
        try:
            exchange(through, echo.address, seed)
        except BaseException as error:  # noqa: B902
            failed.append(error)

    threads = [threading.Thread(target=one, args=(100 + seed,)) for seed in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]


def test_r23_idle_tunnels_hold_little(through, echo):
    figures = Figures(through)
    with connect(through, echo.address) as wire:
        wire.send(b"x")
        assert wire.reader.exactly(1) == b"x"
    before = figures.rss
    wires = [connect(through, echo.address, b"y" * 9000) for _ in range(200)]
    for wire in wires:
        assert len(wire.reader.exactly(9000)) == 9000
    grown = figures.rss - before
    for wire in wires:
        wire.close()
    if SLOW == 1:
        assert grown < 200 * 14 * 1024, grown / 200


def pipes_of(hop):
    links = []
    for entry in pathlib.Path(f"/proc/{hop.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(os.readlink(entry))
    return {link for link in links if link.startswith("pipe:")}


def test_bytes_of_a_tunnel_are_in_the_kernel_alone(through, echo):
    """They go by splice: while nobody takes them a pipe holds them."""
    before = pipes_of(through)
    with connect(through, echo.address) as wire:
        wire.sock.setblocking(False)

        def is_stuck():  # nothing is read, so that the echo stops reading, too
            with contextlib.suppress(BlockingIOError):
                while wire.sock.send(bytes(1 << 16)):
                    pass
            return pipes_of(through) - before

        assert 1 <= len(wait_until(is_stuck, 20 * SLOW)) <= 2  # one a direction


def test_r20_record_of_a_tunnel(through, echo):
    with connect(through, echo.address, b"12345") as wire:
        assert wire.reader.exactly(5) == b"12345"
        wire.half_close()
        assert wire.reader.exactly(3) == b"END" and wire.is_closed()
    through.stop()
    line = json.loads(through.output.splitlines()[-1])
    assert line["method"] == "CONNECT" and line["tunnel"] is True and line["status"] == 200
    assert line["host"] == echo.address and line["origin"] == echo.address
    assert line["client_in"] > 5 and line["origin_out"] == 5
    assert line["origin_in"] == 8 and line["client_out"] == 8 + len(b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert "error" not in line and "scheme" not in line


def test_r20_curl_speaks_tls_through_a_plain_tunnel(tokenhop, authority, good):
    """End to end: the client verifies the destination itself, tokenhop sees nothing and adds nothing."""
    with TlsOrigin(good, lambda r: response(r.get("Authorization", "").encode())) as origin:

        def change(config):
            config["unmatched"] = [{"url": f"https://{origin.address}/", "action": "forward"}]
            config["egress"]["allow"].append(origin.address)
            config["egress"]["connect_ports"] = [origin.port]

        hop = tokenhop(change)
        command = ["curl", "-sS", "-x", f"http://127.0.0.1:{hop.port}", "--cacert", authority.ca_file,
                   "-H", "Authorization: Bearer own", f"https://{origin.address}/x"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20 * SLOW)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "Bearer own"
        assert origin.requests[0].get("Via") is None
