"""Times and bounds (R22, R23): each limit ends what it is for, and nothing else; memory does not follow what a peer does."""

import contextlib
import resource
import socket
import threading
import time

import pytest

from harness import wait_until
from loads import Steady
from rawnet import SANITIZED, SLOW, Connection, Figures, request, response, serve_at


def limited(timeouts=None, limits=None, origin=None, **more):
    def change(config):
        config["timeouts"], config["limits"] = timeouts or {}, limits or {}
        if origin is not None:
            serve_at(config, origin)
        config.update(more)

    return change


@contextlib.contextmanager
def lasts(low, high):
    """Not before `low` seconds, and not long after."""
    before = time.monotonic()
    yield
    took = time.monotonic() - before
    assert low * 0.9 <= took <= high + 1.5 * SLOW, took


# Times


def test_R22_head(sandbox, tokenhop):
    """The whole head has its time from the first byte, however it drips."""
    hop = tokenhop(limited({"head": "600ms"}))
    data = request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())
    with Connection(hop.port) as silent, Connection(hop.port) as dripping, lasts(0.6, 0.6):
        stop = threading.Event()

        def drip():
            for byte in data[:-4]:
                if stop.wait(0.05):
                    return
                with contextlib.suppress(OSError):
                    dripping.sock.send(bytes([byte]))

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert silent.is_closed()  # nothing was asked: nothing is said
            answer = dripping.read()
            assert (answer.status, answer.json()["code"]) == (408, "request_timeout")
            assert answer.get("Connection") == "close" and answer.get("WWW-Authenticate") is None
        finally:
            stop.set()
            thread.join()


def test_R22_idle(sandbox, tokenhop):
    hop = tokenhop(limited({"idle": "500ms", "head": "400ms"}))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    with Connection(hop.port) as connection:
        for _ in range(3):  # each request sets it anew
            assert connection.send(request(url, token)).read().status == 200
            time.sleep(0.25)
        with lasts(0.2, 0.3):
            assert connection.is_closed()


def test_R22_request_body(sandbox, tokenhop, origin):
    """Progress counts, not the whole: a slow upload goes on as long as it moves."""
    seen = origin()
    hop = tokenhop(limited({"body": "500ms"}, origin=seen))
    token = sandbox.mint()
    with Connection(hop.port) as connection:
        connection.send(request(seen.url(), token, "POST", ["Content-Length: 10"]))
        for i in range(10):
            connection.send(str(i))
            time.sleep(0.1)
        assert connection.read().status == 200
    assert seen.requests[0].body == b"0123456789"
    with Connection(hop.port) as connection:
        connection.send(request(seen.url(), token, "POST", ["Content-Length: 10"]) + b"01234")
        with lasts(0.5, 0.5):
            answer = connection.read()
        assert (answer.status, answer.json()["code"]) == (408, "request_timeout")
        assert connection.is_closed()
    assert len(seen.requests) == 1


@pytest.fixture
def full_backlog():
    """A listening socket that accepts nobody: its queue is full, so that a connection is not made."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    held = []
    for _ in range(8):
        sock = socket.socket()
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(listener.getsockname())
        held.append(sock)
    time.sleep(0.1)
    yield listener.getsockname()[1]
    for sock in [listener, *held]:
        sock.close()


def test_R22_connect(sandbox, tokenhop, origin, full_backlog):
    class Blackhole:
        address = f"127.0.0.1:{full_backlog}"

    hop = tokenhop(limited({"connect": "600ms"}, origin=Blackhole))
    url, token = f"http://{Blackhole.address}/a2a/x", sandbox.mint()
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), token).status_code == 200
    with Connection(hop.port) as connection, lasts(0.6, 0.6):
        answer = connection.send(request(url, token)).read()
        assert (answer.status, answer.json()["code"]) == (504, "origin_timeout")
        assert answer.get("Proxy-Status") == "tokenhop; error=connection_timeout"


def test_connect_refused_is_said_at_once(sandbox, tokenhop, origin):
    gone = origin()
    hop = tokenhop(limited(origin=gone))
    gone.close()
    answer = hop.get(gone.url(), sandbox.mint())
    assert (answer.status_code, answer.json()["code"]) == (502, "origin_failed")
    assert answer.headers["Proxy-Status"] == "tokenhop; error=connection_refused"
    assert answer.elapsed.total_seconds() < 1 * SLOW


def test_R22_first_byte(sandbox, tokenhop):
    hop = tokenhop(limited({"first_byte": "500ms"}))
    token = sandbox.mint()
    assert hop.get(sandbox.url("agent2", "/a2a/slow?ms=200"), token).status_code == 200
    with lasts(0.5, 0.5):
        answer = hop.get(sandbox.url("agent2", "/a2a/slow?ms=5000"), token)
    assert (answer.status_code, answer.json()["code"]) == (504, "origin_timeout")


def test_R22_stream_idle(sandbox, tokenhop):
    """An event in time keeps the stream; silence for longer cuts it, and the cut is seen."""
    hop = tokenhop(limited({"stream_idle": "700ms"}))
    token = sandbox.mint()
    with Connection(hop.port) as connection:
        answer = connection.send(request(sandbox.url("agent2", "/a2a/sse?n=5&ms=400"), token)).read()
        assert answer.complete and answer.body.count(b"data: ") == 5
        connection.send(request(sandbox.url("agent2", "/a2a/sse?n=2&ms=5000"), token))
        connection.reader.until(b"data: ")
        with lasts(0.7, 0.7), pytest.raises((EOFError, ConnectionResetError)):
            connection.reader.until(b"0\r\n\r\n")


def test_R22_exchange(sandbox, tokenhop):
    """The legs together have this time, not each (the first may not eat all of it); who waits with them has it too."""
    hop = tokenhop(limited({"exchange": "900ms"}))
    for place in ("org_token", "aus2_token"):
        sandbox.fault(place, "slow", ms=500)
    with lasts(0.9, 0.9):
        answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())
    assert (answer.status_code, answer.json()["code"]) == (504, "exchange_timeout")


def test_R22_client_that_does_not_read(sandbox, tokenhop):
    """A response that is not taken has the time of a body; the client's connection is cut and nothing is kept."""
    hop = tokenhop(limited({"body": "600ms"}))
    url, token = sandbox.url("agent2", "/a2a/bytes/100000000"), sandbox.mint()
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), token).status_code == 200
    level = Figures(hop).idle()
    with Connection(hop.port) as connection:
        connection.send(request(url, token))
        connection.sock.recv(1000)
        assert Figures(hop).descriptors() >= level + 1
        assert Figures(hop).settle(level, 5) <= level
        with pytest.raises((EOFError, ConnectionResetError)):
            connection.reader.exactly(100_000_000)


# Bounds


def test_R23_connections(sandbox, tokenhop):
    """Beyond the limit: 503 and not silence. Whoever was there first notices nothing, and a place that is freed is given."""
    hop = tokenhop(limited(limits={"connections": 20}, workers=2))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    held = [Connection(hop.port) for _ in range(20)]
    for connection in held:
        assert connection.send(request(url, token)).read().status == 200
    for _ in range(30):
        with Connection(hop.port) as connection:
            connection.sock.settimeout(5 * SLOW)
            answer = connection.read()
            assert (answer.status, answer.json()["code"]) == (503, "overloaded")
            assert int(answer.get("Retry-After")) >= 1 and connection.is_closed()
    for connection in held:
        assert connection.send(request(url, token)).read().status == 200
    held.pop().close()

    def served():
        with Connection(hop.port) as connection, contextlib.suppress(OSError):
            return connection.send(request(url, token)).read().status == 200

    wait_until(served, 5 * SLOW)
    for connection in held:
        connection.close()


def test_r23_connections_of_nobody_take_no_place(sandbox, tokenhop):
    """Opened and left, a head begun, nonsense: as many as there may be at all, and others are served all the same."""
    hop = tokenhop(limited(limits={"connections": 20}, workers=1))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    first = Connection(hop.port)
    assert first.send(request(url, token)).read().status == 200
    for begun in (b"", b"GET http://agent2", b"nonsense\r\n\r\n"):
        held = [Connection(hop.port) for _ in range(60)]
        for connection in held:
            with contextlib.suppress(OSError):
                connection.send(begun)
        with Connection(hop.port) as connection:
            assert connection.send(request(url, token)).read().status == 200
        for connection in held:
            connection.close()
    assert first.send(request(url, token)).read().status == 200


def test_R23_slow_readers_hold_little(sandbox, tokenhop, origin):
    """32 readers of 64 MiB each that read next to nothing: what was meant for them waits at the origin."""
    size = 64 * 1024 * 1024
    sent = []

    def slowly(sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        block = b"x" * 65536
        for _ in range(size // len(block)):
            sock.sendall(block)
            sent.append(len(block))

    seen = origin(lambda _: slowly)
    hop = tokenhop(limited(origin=seen, workers=2))
    token, figures = sandbox.mint(), Figures(hop)
    seen_answer, seen.answer = seen.answer, lambda _: response()
    assert hop.get(seen.url(), token).status_code == 200
    seen.answer = seen_answer
    before, held = figures.rss, []
    figures.reset_peak()
    for _ in range(32):
        connection = Connection(hop.port)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        held.append(connection.send(request(seen.url(), token)))
    for _ in range(10):
        for connection in held:
            connection.sock.recv(1000)
        time.sleep(0.05)
    stalled = sum(sent)
    time.sleep(0.3)
    assert sum(sent) - stalled < 8 * 1024 * 1024  # nobody is read on behalf of who does not read
    grown = figures.peak - before
    print(f"32 slow readers: {grown / 1e6:.1f} MB")
    if not SANITIZED:
        assert grown < 8 * 1024 * 1024
    for connection in held:
        connection.reset()


def test_R23_slow_origin_holds_back_an_upload(sandbox, tokenhop, origin):
    """An origin that does not read stops the client, not the memory."""

    class Deaf(type(origin())):
        def _serve(self, sock):
            time.sleep(20)

    deaf = Deaf()
    try:
        hop = tokenhop(limited(origin=deaf))
        token, figures = sandbox.mint(), Figures(hop)
        assert hop.get(sandbox.url("agent2", "/a2a/whoami"), token).status_code == 200
        before = figures.rss
        with Connection(hop.port) as connection:
            connection.send(request(deaf.url(), token, "POST", ["Content-Length: 1000000000"]))
            connection.sock.settimeout(0.5 * SLOW)
            with pytest.raises(TimeoutError):
                for _ in range(1000):
                    connection.sock.sendall(b"x" * 1_000_000)
            if not SANITIZED:
                assert figures.rss - before < 2_000_000
            connection.reset()
    finally:
        deaf.close()


def test_R23_idle_connections_cost_little(sandbox, tokenhop):
    """5,000 of them fit, each was served once, and there is still room and time for others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 5000 if hard >= 16000 else 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    hop = tokenhop(limited({"idle": "300s", "head": "300s"}, workers=2))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    assert hop.get(url, token).status_code == 200
    data, held = request(url, token), []
    before = Figures(hop).rss
    try:
        while len(held) < count:
            some = [socket.create_connection(("127.0.0.1", hop.port)) for _ in range(100)]
            for sock in some:
                sock.sendall(data)
            for sock in some:
                sock.settimeout(30 * SLOW)
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
            held += some
        grown = Figures(hop).rss - before
        print(f"{count} idle connections: {grown / 1e6:.2f} MB, {grown / count:.0f} bytes each")
        if not SANITIZED:
            assert grown < 10_000_000
        assert hop.get(url, token).status_code == 200
    finally:
        for sock in held:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 3_000_000])
def test_R23_bodies_of_any_size(sandbox, tokenhop, origin, size):
    """Both ways, by length and in chunks, across the sizes of buffers."""
    seen = origin(lambda r: response(r.body))
    hop = tokenhop(limited(origin=seen))
    token, body = sandbox.mint(), bytes(i % 251 for i in range(size))
    assert hop.post(seen.url(), token, data=body).content == body
    chunks = (body[i : i + 7777] for i in range(0, size, 7777))
    assert hop.post(seen.url(), token, data=chunks).content == body


@pytest.mark.threads
def test_R23_large_bodies_at_once(sandbox, tokenhop):
    hop = tokenhop(limited(workers=2))
    url, token = sandbox.url("agent2", "/a2a/chunked/2000000/20000"), sandbox.mint()

    def check(_, got):
        assert got.status == 200 and len(got.body) == 2_000_000

    with Steady(hop.port, lambda: (url, token), check, connections=8) as load:
        time.sleep(1 * SLOW)
    assert load.count > 8 and not load.cuts
