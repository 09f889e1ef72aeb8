"""Peers killed in the middle of anything, ends and reloads under load (R24): nothing is stuck, nothing grows, all goes on."""

import json
import random
import signal
import threading
import time

import pytest

import harness
from harness import wait_until
from loads import Steady
from rawnet import SANITIZED, SLOW, Connection, Figures, Origin, request, response, serve_at

pytestmark = pytest.mark.threads


def two_workers(config):
    config["workers"] = 2


def warm(hop, url, token, connections=20):
    """Pools, pages and lists are as large as they get; then what is open when nothing is asked."""
    with Steady(hop.port, lambda: (url, token), connections=connections):
        time.sleep(0.3 * SLOW)
    return Figures(hop).idle()


def leave_at(stage, hop, origin, token, hold):
    """One client that goes away at a stage of its request."""
    connection = Connection(hop.port)
    url = origin.url("/a2a/" + stage)
    if stage == "head":
        connection.send(request(url, token)[:-40])
    elif stage == "body":
        connection.send(request(url, token, "POST", ["Content-Length: 100000"]) + b"x" * 500)
    elif stage == "chunk":
        connection.send(request(url, token, "POST", ["Transfer-Encoding: chunked"]) + b"ff\r\nx")
    elif stage == "reading":  # so much that it cannot all be under way
        connection.send(request(url, token))
        connection.sock.recv(1000)
    else:  # answer, stream: waiting for the head, or between two events
        connection.send(request(url, token))
        if stage == "stream":
            connection.reader.until(b"data: 1")
    hold(connection)


def staged(request_seen):
    stage = request_seen.target.rsplit("/", 1)[1]
    if stage == "answer":
        return lambda sock: time.sleep(1.5)
    if stage == "stream":

        def stream(sock):
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
            for _ in range(100):
                time.sleep(0.1)
                sock.sendall(b"9\r\ndata: 2\n\n\r\n")
            return False

        return stream
    if stage == "reading":
        return response(b"x" * 20_000_000)
    return response()


STAGES = ["head", "body", "chunk", "reading", "answer", "stream"]


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
def test_R24_clients_that_leave(sandbox, tokenhop, origin, how):
    """At each stage, under load, by end, reset or half-close: what they held is given back."""
    seen = origin(staged)

    def change(config):
        two_workers(config)
        serve_at(config, seen)

    hop = tokenhop(change)
    token, url = sandbox.mint(), seen.url("/a2a/x")
    level = warm(hop, url, token)
    held = []

    def hold(connection):
        held.append(connection)

    with Steady(hop.port, lambda: (url, token), connections=4) as load:
        threads = [
            threading.Thread(target=leave_at, args=(stage, hop, seen, token, hold))
            for stage in STAGES
            for _ in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30 * SLOW)
        assert len(held) == 10 * len(STAGES)
        time.sleep(0.2)
        for connection in held:
            getattr(connection, how)()
        time.sleep(0.3)
    assert not load.cuts and set(load.statuses) == {200}
    if how == "half_close":
        # A half-close may come of a client that still reads; a stream goes on for it, but for some seconds only.
        wait_until(lambda: Figures(hop).descriptors() <= level + 4 * 10 * 2, 20 * SLOW)
        for connection in held:
            connection.close()
    assert Figures(hop).settle(level + 2) <= level + 2
    with Connection(hop.port) as connection:
        assert connection.send(request(url, token)).read().status == 200


def test_R24_memory_stays_flat(sandbox, tokenhop, origin):
    """Rounds of clients that are killed: after the first, no more memory is taken."""
    seen = origin(staged)

    def change(config):
        two_workers(config)
        serve_at(config, seen)

    hop = tokenhop(change)
    token, url = sandbox.mint(), seen.url("/a2a/x")
    level = warm(hop, url, token)
    figures, sizes = Figures(hop), []
    for _ in range(6):
        held = []
        for _ in range(40):
            leave_at(random.choice(["head", "body", "chunk", "reading"]), hop, seen, token, held.append)
        for connection in held:
            connection.reset()
        assert figures.settle(level + 2) <= level + 2
        sizes.append(figures.rss)
    if not SANITIZED:
        assert sizes[-1] - sizes[1] < 1_000_000, sizes


@pytest.mark.parametrize("stage", ["idle", "answer", "stream", "body"])
def test_R24_origin_killed(sandbox, tokenhop, origin, stage):
    """An origin that dies takes nothing with it: 502 or a cut, at once, and its successor is used."""
    first = Origin(staged)

    def change(config):
        two_workers(config)
        serve_at(config, first)

    hop = tokenhop(change)
    token = sandbox.mint()
    level = warm(hop, first.url("/a2a/x"), token)
    with Connection(hop.port) as connection:
        if stage == "body":
            connection.send(request(first.url("/a2a/body"), token, "POST", ["Content-Length: 1000000"]) + b"x" * 1000)
        elif stage != "idle":
            connection.send(request(first.url("/a2a/" + stage), token))
        if stage == "stream":
            connection.reader.until(b"data: 1")
        else:
            time.sleep(0.2)
        before = time.monotonic()
        first.close()
        if stage == "idle":
            connection.send(request(first.url("/a2a/x"), token))
        if stage == "stream":
            with pytest.raises((EOFError, ConnectionResetError)):
                connection.reader.until(b"\r\n0\r\n\r\n")
        else:
            answer = connection.read()
            assert (answer.status, answer.json()["code"]) == (502, "origin_failed")
        assert time.monotonic() - before < 3 * SLOW
    assert Figures(hop).settle(level) <= level
    # another one at the same port
    second = Origin.__new__(Origin)
    import socket

    real = socket.create_server
    socket.create_server = lambda address, **more: real(("127.0.0.1", first.port), **more)
    try:
        second.__init__()
    finally:
        socket.create_server = real
    try:
        wait_until(lambda: hop.get(second.url("/a2a/x"), token).status_code == 200, 5 * SLOW)
    finally:
        second.close()


def test_R24_authorization_server_killed(own_sandbox, tokenhop, origin):
    """kill -9 in the middle of exchanges: who waits gets 503, who has a credential notices nothing."""
    seen = origin()
    ports = harness.free_port(), harness.free_port()
    args = [f"--port-idp={ports[0]}", f"--port-agents={ports[1]},0,0"]
    sandbox = own_sandbox(*args)

    def change(config):
        two_workers(config)
        serve_at(config, seen)

    hop = tokenhop(change, of=sandbox)
    url, alice = seen.url(), sandbox.mint(user="alice")
    others = [sandbox.mint(user="bob", nonce=str(n)) for n in range(20)]
    level = warm(hop, url, alice)
    with Steady(hop.port, lambda: (url, alice), connections=4) as cached:
        sandbox.fault("org_token", "hang", count=-1)
        waiting = [Connection(hop.port).send(request(url, token)) for token in others]
        played = lambda: sandbox.stats()["counters"]["faults"]["org_token"]["hang"]
        wait_until(lambda: "faults" in sandbox.stats()["counters"] and played() >= 5, 10 * SLOW)
        sandbox.stop(expect=None, how=signal.SIGKILL)
        before = time.monotonic()
        for connection in waiting:
            answer = connection.read()
            assert (answer.status, answer.json()["code"]) == (503, "exchange_unavailable"), answer.body
            assert int(answer.get("Retry-After")) >= 1
            connection.close()
        assert time.monotonic() - before < 5 * SLOW
        reborn = own_sandbox(*args)
        fresh = reborn.mint(user="bob", nonce="later")
        wait_until(lambda: hop.get(url, fresh).status_code == 200, 20 * SLOW)
        wait_until(lambda: hop.get(url, others[0]).status_code == 200, 40 * SLOW)
    assert not cached.cuts and set(cached.statuses) == {200}
    assert Figures(hop).settle(level + 6) <= level + 6


# Ends


def test_R24_sigterm_lets_requests_end(sandbox, tokenhop):
    """A stream under way is delivered whole, no new connection is taken, then it ends with 0."""
    hop = tokenhop(two_workers)
    token = sandbox.mint()
    with Connection(hop.port) as connection, Connection(hop.port) as idle:
        connection.send(request(sandbox.url("agent2", "/a2a/sse?n=6&ms=150"), token))
        connection.reader.until(b"data: ")
        hop.process.send_signal(signal.SIGTERM)
        assert idle.is_closed()
        with pytest.raises(OSError):
            while True:
                Connection(hop.port).close()
        assert hop.is_running()
        rest = connection.reader.until(b"0\r\n\r\n")
        assert rest.count(b"data: ") == 5
        assert connection.is_closed()
    assert hop.process.wait(5 * SLOW) == 0
    hop.stop()
    assert "service.ended" in hop.stderr


def test_R24_drain_is_bounded(sandbox, tokenhop, origin):
    seen = origin(staged)

    def change(config):
        two_workers(config)
        serve_at(config, seen)
        config["timeouts"] = {"drain": "700ms"}

    hop = tokenhop(change)
    with Connection(hop.port) as connection:
        connection.send(request(seen.url("/a2a/stream"), sandbox.mint()))
        connection.reader.until(b"data: 1")
        before = time.monotonic()
        hop.process.send_signal(signal.SIGTERM)
        assert hop.process.wait(10 * SLOW) == 0
        assert 0.5 < time.monotonic() - before < 0.7 + 1.5 * SLOW
        with pytest.raises((EOFError, ConnectionResetError)):  # cut, not ended
            connection.reader.until(b"0\r\n\r\n")


def test_R24_second_sigterm_ends_at_once(sandbox, tokenhop, origin):
    seen = origin(staged)

    def change(config):
        two_workers(config)
        serve_at(config, seen)

    hop = tokenhop(change)
    with Connection(hop.port) as connection:
        connection.send(request(seen.url("/a2a/stream"), sandbox.mint()))
        connection.reader.until(b"data: 1")
        hop.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "service.draining" in hop.stderr)
        time.sleep(0.2)
        assert hop.is_running()
        hop.process.send_signal(signal.SIGTERM)
        assert hop.process.wait(3 * SLOW) == 0


def test_R24_sigterm_while_an_exchange_runs(sandbox, tokenhop):
    hop = tokenhop(two_workers)
    sandbox.fault("org_token", "slow", ms=600)
    with Connection(hop.port) as connection:
        connection.send(request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()))
        wait_until(lambda: sandbox.faults() == [])
        hop.process.send_signal(signal.SIGTERM)
        answer = connection.read()
        assert answer.status == 200 and answer.get("Connection") == "close"
    assert hop.process.wait(5 * SLOW) == 0


def test_R24_sigterm_under_load(sandbox, tokenhop):
    """No answer is broken off: each connection ends between two of them."""
    hop = tokenhop(two_workers)
    url, token = sandbox.url("agent2", "/a2a/chunked/100000/1000"), sandbox.mint()
    load = Steady(hop.port, lambda: (url, token), connections=16)
    time.sleep(0.5 * SLOW)
    hop.process.send_signal(signal.SIGTERM)
    assert hop.process.wait(10 * SLOW) == 0
    load.stop()
    assert set(load.statuses) == {200}
    # What failed had not begun: a connection that was refused, or closed before a byte of an answer.
    begun = [cut for cut in load.cuts if "IncompleteReadError" in cut and "('0 bytes" not in cut]
    assert not begun
    hop.stop()
    records = [json.loads(line) for line in hop.output.splitlines()]
    assert all(record["response_complete"] for record in records if record["status"] == 200)


# Reload


def test_R24_reload_under_load(sandbox, tokenhop, origin):
    """Not one request fails, the old configuration goes when its last request does, and what is new holds."""
    seen = origin()

    def change(config):
        two_workers(config)
        serve_at(config, seen)

    hop = tokenhop(change)
    token = sandbox.mint()
    urls = [seen.url(), sandbox.url("agent2", "/a2a/whoami")]
    with Steady(hop.port, lambda: (random.choice(urls), token), connections=12) as load:
        for i in range(8):
            hop.config["connections"][0]["scopes"] = ["chat.read"] if i % 2 else ["chat.read", "chat.history"]
            hop.config["timeouts"] = {"idle": f"{60 + i}s"}
            hop.reload()
            wait_until(lambda i=i: hop.stderr.count('"config.reloaded"') == i + 1, 10 * SLOW)
            time.sleep(0.15 * SLOW)
    assert not load.cuts and load.statuses == {200: load.count} and load.count > 50
    # the last of them holds: a credential of the other scopes is not used any more
    assert hop.get(urls[1], token).json()["scopes"] == ["chat.read"]


def test_reload_takes_a_connection_away(sandbox, tokenhop):
    hop = tokenhop(two_workers)
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    with Connection(hop.port) as kept:
        assert kept.send(request(url, token)).read().status == 200
        connection = hop.config["connections"].pop(0)
        hop.reload()
        wait_until(lambda: "config.reloaded" in hop.stderr, 10 * SLOW)
        wait_until(lambda: hop.get(url, token).status_code == 403, 5 * SLOW)
        assert kept.send(request(url, token)).read().json()["code"] == "destination_denied"
        hop.config["connections"].insert(0, connection)
        hop.reload()
        wait_until(lambda: hop.get(url, token).status_code == 200, 10 * SLOW)


def test_R24_bad_configuration_keeps_the_old(sandbox, tokenhop):
    hop = tokenhop(two_workers)
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    for text in ("{", '{"listeners": []}', hop.file.read_text().replace('"scopes"', '"scoops"')):
        count = hop.stderr.count("config.kept")
        hop.file.write_text(text)
        hop.process.send_signal(signal.SIGHUP)
        wait_until(lambda count=count: hop.stderr.count("config.kept") == count + 1, 10 * SLOW)
        assert hop.get(url, token).status_code == 200
    assert "config.mistake" in hop.stderr and "scoops" in hop.stderr  # and says what is wrong
    hop.reload()
    wait_until(lambda: "config.reloaded" in hop.stderr, 10 * SLOW)
    assert hop.get(url, token).status_code == 200
