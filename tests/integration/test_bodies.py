"""Large bodies, which go past the process by splice(2) where both sides are plain TCP: every byte, its end, its cut,
and nothing of what follows (R3, R4, R22, R23)."""

import contextlib
import hashlib
import os
import socket
import threading
import time

import pytest

from rawnet import SANITIZED, SLOW, Connection, Figures, Reader, request, response, serve_at

LARGE = 64 * 1024 * 1024
PIECE = os.urandom(1 << 20)


def body_of(size):
    """Pieces that differ from one another, so that a doubled or swapped one is seen."""
    sent = 0
    while sent < size:
        piece = sent.to_bytes(8, "big") + PIECE[8 : min(len(PIECE), max(8, size - sent))]
        yield piece[: size - sent]
        sent += len(piece)


def digest_of(size):
    digest = hashlib.sha256()
    for piece in body_of(size):
        digest.update(piece)
    return digest.hexdigest()


def read_digest(reader, size, each=None):
    """Takes `size` bytes; `each` is called after every receive. The digest, or EOFError."""
    digest = hashlib.sha256()
    while size > 0:
        if not reader.buffer:
            reader.more()
        part, reader.buffer = reader.buffer[:size], reader.buffer[size:]
        digest.update(part)
        size -= len(part)
        if each:
            each()
    return digest.hexdigest()


def read_head(reader):
    head = reader.until(b"\r\n\r\n").decode("latin-1").lower()
    return int(head.split()[1]), head


def ask(hop, origin, path="/a2a/x", fields=(), method="GET", version="HTTP/1.1"):
    return request(origin.url(path), hop.token, method, fields, version=version)


@pytest.fixture
def wire(tokenhop, sandbox, origin):
    def start(answer=None, **config):
        place = origin(answer or (lambda r: large(r.target)))

        def change(base):
            serve_at(base, place)
            for key, values in config.items():
                base.setdefault(key, {}).update(values)

        hop = tokenhop(change)
        hop.token, hop.place = sandbox.mint(), place
        return hop, place

    return start


def large(target, size=LARGE, said=None, last=None):
    """The answer to GET /a2a/NAME: a function that sends it."""

    def send(sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (said or size))
        for piece in body_of(size):
            sock.sendall(piece)
        if last:
            last(sock)

    return send if target.endswith("x") else response(b"small")


def test_R25_response_of_64_MiB(wire):
    hop, place = wire()
    with Connection(hop.port) as connection:
        for _ in range(2):  # the second over the same connections
            connection.send(ask(hop, place))
            status, head = read_head(connection.reader)
            assert status == 200 and f"content-length: {LARGE}" in head
            assert read_digest(connection.reader, LARGE) == digest_of(LARGE)
        connection.send(ask(hop, place, "/a2a/small"))
        assert connection.read().body == b"small"
    assert len(place.raw) == 1


@pytest.mark.parametrize("size", [65535, 65536, 65537, 262143, 262144, 262145, 1000003])
def test_R4_ends_where_it_should(wire, size):
    """Around the sizes where splicing begins and where a pipe is full."""
    hop, place = wire(lambda r: large(r.target, size))
    with Connection(hop.port) as connection:
        for _ in range(3):
            connection.send(ask(hop, place))
            assert read_head(connection.reader)[0] == 200
            assert read_digest(connection.reader, size) == digest_of(size)
        connection.send(ask(hop, place, "/a2a/small"))
        assert connection.read().body == b"small"


def test_R3_pipelined_request_after_a_large_response(wire):
    hop, place = wire()
    with Connection(hop.port) as connection:
        connection.send(ask(hop, place) + ask(hop, place, "/a2a/small") + ask(hop, place))
        assert read_head(connection.reader)[0] == 200
        assert read_digest(connection.reader, LARGE) == digest_of(LARGE)
        assert connection.read().body == b"small"
        assert read_head(connection.reader)[0] == 200
        assert read_digest(connection.reader, LARGE) == digest_of(LARGE)


class Upload:
    """An origin that answers a large request with the digest of its body."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.seen, self.pause, self.stop_after = [], None, None
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, path="/a2a/x"):
        return f"http://{self.address}{path}"

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._speak, args=(sock,), daemon=True).start()

    def _speak(self, sock):
        with sock, contextlib.suppress(OSError, EOFError):
            reader = Reader(sock)
            while True:
                head = reader.until(b"\r\n\r\n").decode("latin-1")
                size = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
                self.seen.append(head.split(" ")[0:2])
                if self.stop_after is not None:
                    read_digest(reader, self.stop_after)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    return
                digest = read_digest(reader, size, self.pause)
                sock.sendall(response(digest.encode()))

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def upload(tokenhop, sandbox):
    place = Upload()
    hop = tokenhop(lambda config: serve_at(config, place))
    hop.token = sandbox.mint()
    yield hop, place
    place.close()


def send_large(connection, hop, place, size, after=b""):
    connection.send(ask(hop, place, method="POST", fields=[f"Content-Length: {size}"]))
    for piece in body_of(size):
        connection.send(piece)
    connection.send(after)


def test_R25_request_of_64_MiB(upload):
    hop, place = upload
    with Connection(hop.port) as connection:
        for _ in range(2):
            send_large(connection, hop, place, LARGE)
            assert connection.read().body.decode() == digest_of(LARGE)


def test_R3_pipelined_request_after_a_large_request(upload):
    """The second request comes in the same pieces as the end of the first one's body."""
    hop, place = upload
    size = 1000003
    after = ask(hop, place, "/a2a/second", method="POST", fields=["Content-Length: 3"]) + b"abc"
    with Connection(hop.port) as connection:
        for _ in range(3):
            send_large(connection, hop, place, size, after)
            assert connection.read().body.decode() == digest_of(size)
            assert connection.read().body.decode() == hashlib.sha256(b"abc").hexdigest()
    assert [line[1] for line in place.seen] == ["/a2a/x", "/a2a/second"] * 3


def test_R23_large_request_to_a_slow_origin(upload):
    hop, place = upload
    size = 8 * 1024 * 1024
    place.pause = lambda: time.sleep(0.001)
    before = Figures(hop)
    before.reset_peak()
    level = before.peak
    with Connection(hop.port) as connection:
        send_large(connection, hop, place, size)
        assert connection.read().body.decode() == digest_of(size)
    assert Figures(hop).peak < level + 2 * 1024 * 1024 * (4 if SANITIZED else 1)


def test_R4_origin_dies_while_a_large_request_is_sent(upload):
    """An answer of our own, and no second request to anybody: the body is not there any more."""
    hop, place = upload
    place.stop_after = 1 << 20
    with Connection(hop.port) as connection:
        connection.send(ask(hop, place, method="POST", fields=[f"Content-Length: {LARGE}"]))
        with contextlib.suppress(OSError):
            for piece in body_of(LARGE):
                connection.send(piece)
        with contextlib.suppress(OSError):  # what it could say before the rest was in its way
            assert connection.read().status == 502
    assert len(place.seen) == 1
    assert hop.is_running(), hop.stderr


def test_R24_client_dies_while_it_sends_a_large_request(upload):
    hop, place = upload
    with Connection(hop.port) as connection:  # connections to the servers are kept from here on
        send_large(connection, hop, place, 10)
        connection.read()
    figures = Figures(hop)
    time.sleep(0.2)
    level = figures.descriptors()
    for how in ("close", "reset"):
        connection = Connection(hop.port)
        connection.send(ask(hop, place, method="POST", fields=[f"Content-Length: {LARGE}"]))
        for piece in body_of(8 << 20):
            connection.send(piece)
        getattr(connection, how)()
    # pipes are kept for some seconds
    assert figures.settle(level, 20) <= level
    with Connection(hop.port) as connection:
        send_large(connection, hop, place, 1 << 20)
        assert connection.read().body.decode() == digest_of(1 << 20)


def close(sock):
    sock.shutdown(socket.SHUT_RDWR)


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.mark.parametrize("how", [close, reset])
def test_R4_origin_dies_inside_a_large_response(wire, how):
    """The client sees that it was cut: fewer bytes than were promised, and no clean end."""
    size = 3 * 1024 * 1024 + 17

    def last(sock):
        how(sock)
        raise OSError

    hop, place = wire(lambda r: large(r.target, size, LARGE, last))
    with Connection(hop.port) as connection:
        connection.send(ask(hop, place))
        assert read_head(connection.reader)[0] == 200
        digest, got = hashlib.sha256(), 0
        with pytest.raises(ConnectionResetError):
            while got < LARGE:
                if not connection.reader.buffer:
                    connection.reader.more()
                digest.update(connection.reader.buffer)
                got += len(connection.reader.buffer)
                connection.reader.buffer = b""
        assert got <= size
        if got == size:
            assert digest.hexdigest() == digest_of(size)
    assert hop.is_running(), hop.stderr


def test_R24_client_dies_inside_a_large_response(wire):
    hop, place = wire()
    with Connection(hop.port) as connection:
        connection.send(ask(hop, place, "/a2a/small")).read()
    figures = Figures(hop)
    time.sleep(0.2)
    level = figures.descriptors()
    for how in ("close", "reset"):
        connection = Connection(hop.port)
        connection.send(ask(hop, place))
        assert read_head(connection.reader)[0] == 200
        connection.reader.exactly(1 << 20)
        getattr(connection, how)()
    assert figures.settle(level, 20) <= level
    with Connection(hop.port) as connection:
        connection.send(ask(hop, place, "/a2a/small"))
        assert connection.read().body == b"small"


def test_R23_slow_readers(wire):
    """What nobody takes is not read from the origin; what is in a pipe then arrives."""
    sent = []

    def answer(_):
        def send(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            for piece in body_of(LARGE):
                for at in range(0, len(piece), 65536):
                    sock.sendall(piece[at : at + 65536])
                    sent.append(65536)

        return send

    hop, place = wire(answer)
    with Connection(hop.port) as first:  # so that the exchange is no part of it
        first.send(ask(hop, place))
        assert read_digest(first.reader, len(b"")) is not None
    figures = Figures(hop)
    figures.reset_peak()
    level = figures.peak
    connections = [Connection(hop.port, 60) for _ in range(8)]
    try:
        for connection in connections:
            connection.send(ask(hop, place))
            assert read_head(connection.reader)[0] == 200
        time.sleep(1 * SLOW)
        stopped = sum(sent)
        time.sleep(0.5 * SLOW)
        assert sum(sent) == stopped < 9 * LARGE // 2
        assert figures.peak < level + 2 * 1024 * 1024 * (8 if SANITIZED else 1)
        for connection in connections[:2]:
            assert read_digest(connection.reader, LARGE) == digest_of(LARGE)
    finally:
        for connection in connections:
            connection.close()


def test_R22_large_response_that_is_not_taken(wire):
    """timeouts.body holds while bytes wait in a pipe."""
    hop, place = wire(timeouts={"body": "1s"})
    with Connection(hop.port) as connection:
        connection.send(ask(hop, place))
        assert read_head(connection.reader)[0] == 200
        time.sleep(2.5 * SLOW)
        with pytest.raises(ConnectionResetError):
            read_digest(connection.reader, LARGE)


def test_R22_large_response_that_stops(wire):
    """timeouts.stream_idle holds while the origin is silent in the middle of it."""

    def last(sock):
        time.sleep(4 * SLOW)

    hop, place = wire(
        lambda r: large(r.target, 1 << 20, LARGE, last), timeouts={"stream_idle": "1s"}
    )
    with Connection(hop.port) as connection:
        connection.send(ask(hop, place))
        assert read_head(connection.reader)[0] == 200
        assert read_digest(connection.reader, 1 << 20) == digest_of(1 << 20)
        started = time.monotonic()
        with pytest.raises(ConnectionResetError):
            connection.reader.more()
        assert time.monotonic() - started < 3 * SLOW


def test_R6_large_response_until_close(wire):
    """To an HTTP/1.0 client a body without a length leaves as it is, and ends with the connection."""

    def answer(_):
        def send(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            for piece in body_of(LARGE):
                sock.sendall(piece)
            return False

        return send

    hop, place = wire(answer)
    with Connection(hop.port) as connection:
        connection.send(ask(hop, place, version="HTTP/1.0"))
        status, head = read_head(connection.reader)
        assert status == 200 and "connection: close" in head
        assert read_digest(connection.reader, LARGE) == digest_of(LARGE)
        assert connection.is_closed()


def test_R4_urgent_data_inside_a_large_response(wire):
    """Out of band, it is no part of the body; and what follows it is not held up."""
    size = 1 << 20

    def answer(request):
        def send(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for piece in body_of(size):
                sock.sendall(piece[: size // 2])
                sock.send(b"!", socket.MSG_OOB)
                sock.sendall(piece[size // 2 :])

        return send if request.target.endswith("x") else response(b"small")

    hop, place = wire(answer)
    with Connection(hop.port) as connection:
        connection.send(ask(hop, place))
        assert read_head(connection.reader)[0] == 200
        assert read_digest(connection.reader, size) == digest_of(size)
        connection.send(ask(hop, place, "/a2a/small"))
        assert connection.read().body == b"small"


def test_R25_pieces_of_a_large_response_are_not_held_back(wire):
    """A piece in the middle of a body passed by splice arrives when it was sent."""
    go = threading.Event()

    def answer(_):
        def send(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            sock.sendall(PIECE)
            for _ in range(20):
                go.wait(10)
                go.clear()
                sock.sendall(b"slice")
            return False

        return send

    hop, place = wire(answer)
    with Connection(hop.port) as connection:
        connection.send(ask(hop, place))
        assert read_head(connection.reader)[0] == 200
        assert connection.reader.exactly(len(PIECE)) == PIECE
        delays = []
        for _ in range(20):
            started = time.monotonic()
            go.set()
            assert connection.reader.exactly(5) == b"slice"
            delays.append(time.monotonic() - started)
        assert sorted(delays)[10] < 0.02 * SLOW, delays
