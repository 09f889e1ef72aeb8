"""What one caller, or all of an agent's, may take (docs/limits.md, R23): beyond it a 429, and others do not notice.

A caller that only reaches a listener is one by its address: here 127.0.0.1, 127.0.0.2 and so on.
"""

import base64
import contextlib
import socket
import subprocess
import threading
import time

import pytest

import harness
from harness import wait_until
from loads import Steady
from rawnet import SANITIZED, SLOW, Connection, Figures, Reader, request


class From(Connection):
    """A connection from another address of loopback."""

    def __init__(self, source, port, seconds=20):
        self.sock = socket.create_connection(("127.0.0.1", port), seconds * SLOW, (source, 0))
        self.sock.settimeout(seconds * SLOW)
        self.reader = Reader(self.sock)


def limited(limits, **more):
    return lambda config: config.update(limits=limits, **more)


def ctl(hop, *command):
    argv = [harness.binary("tokenhop"), "ctl", "-c", hop.file, *command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def figure(hop, name):
    """One line of the metrics, by its name and labels."""
    lines = ctl(hop, "metrics").splitlines()
    return int(next(line.rsplit(" ", 1)[1] for line in lines if line.rsplit(" ", 1)[0] == name))


def refused(answer, limit):
    assert (answer.status, answer.json()["code"]) == (429, "caller_limited"), answer.body
    assert answer.json()["detail"] == f"limits.{limit} is reached"
    assert int(answer.get("Retry-After")) >= 1
    assert answer.get("Proxy-Status").startswith("tokenhop; error=http_request_error")
    return True


# Rates


def test_r23_requests_a_second_of_an_address(sandbox, tokenhop):
    hop = tokenhop(limited({"per_caller": {"requests_per_second": 5}}, workers=2))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    with From("127.0.0.2", hop.port) as greedy, Connection(hop.port) as other:
        started = time.monotonic()
        answers = [greedy.send(request(url, token)).read() for _ in range(40)]
        took = time.monotonic() - started
        served = [answer for answer in answers if answer.status == 200]
        assert 5 <= len(served) <= 5 + 5 * took + 1
        for answer in answers[5 + int(5 * took) + 1 :]:
            refused(answer, "per_caller.requests_per_second") if answer.status != 200 else None
        assert refused(next(a for a in answers if a.status != 200), "per_caller.requests_per_second")
        assert answers[-1].get("Connection") != "close"  # it may ask again on the same connection
        for _ in range(3):
            assert other.send(request(url, token)).read().status == 200
        with From("127.0.0.2", hop.port) as again:  # a new connection is no new caller
            codes = {again.send(request(url, token)).read().status for _ in range(10)}
            assert 429 in codes

        def recovered():
            return greedy.send(request(url, token)).read().status == 200

        wait_until(recovered, 10 * SLOW)


def test_exchanges_a_second(sandbox, tokenhop):
    """Only what costs an exchange counts."""
    hop = tokenhop(limited({"per_caller": {"exchanges_per_second": 1}}, workers=2))
    url = sandbox.url("agent2", "/a2a/whoami")
    alice, bob = sandbox.mint(user="alice"), sandbox.mint(user="bob")
    with Connection(hop.port) as connection, From("127.0.0.3", hop.port) as other:
        before = time.monotonic()
        assert connection.send(request(url, alice)).read().status == 200
        answer = connection.send(request(url, bob)).read()
        if time.monotonic() - before < 0.9:
            refused(answer, "per_caller.exchanges_per_second")
        assert {connection.send(request(url, alice)).read().status for _ in range(20)} == {200}
        assert other.send(request(url, bob)).read().status == 200
        assert connection.send(request(url, bob)).read().status == 200  # by now in the cache


# Connections


def test_r23_connections_of_an_address(sandbox, tokenhop):
    hop = tokenhop(limited({"per_caller": {"connections": 3}}, workers=2))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    held = [From("127.0.0.2", hop.port) for _ in range(3)]
    for connection in held:
        assert connection.send(request(url, token)).read().status == 200
    for _ in range(20):
        with From("127.0.0.2", hop.port) as one_too_many:
            assert refused(one_too_many.read(), "per_caller.connections")
            assert one_too_many.is_closed()
    with Connection(hop.port) as other:
        assert other.send(request(url, token)).read().status == 200
    assert held[0].send(request(url, token)).read().status == 200
    held.pop().close()

    def finds_room():
        with From("127.0.0.2", hop.port) as again, contextlib.suppress(OSError):
            return again.send(request(url, token)).read().status == 200

    wait_until(finds_room, 10 * SLOW)
    for connection in held:
        connection.close()


# Callers with a name


@pytest.fixture
def named(sandbox, tokenhop, tmp_path):
    def secret(name):
        path = tmp_path / name
        path.write_text(f"password-of-{name}\n")
        path.chmod(0o600)
        return str(path)

    def start(limits, **own):
        def configure(config):
            del config["listeners"][0]["agent"]
            config["workers"] = 2
            config["limits"] = limits
            config["admin"] = {"address": f"unix:{tmp_path}/admin.sock"}
            config["callers"] = [
                {"name": name, "agent": "agent1", "basic": {"user": name, "password_file": secret(name)},
                 **({"limits": own[name]} if name in own else {})}
                for name in ("a", "b")
            ]

        hop = tokenhop(configure)
        hop.port_of = lambda agent=None: int(hop.config["listeners"][0]["address"].rsplit(":", 1)[1])
        return hop

    return start


def as_caller(url, token, name):
    proof = base64.b64encode(f"{name}:password-of-{name}".encode()).decode()
    return request(url, token, fields=[f"Proxy-Authorization: Basic {proof}"])


def test_r23_a_callers_own_limits_and_a_reload(sandbox, named):
    hop = named({"per_caller": {"requests_per_second": 1000}}, a={"requests_per_second": 1})
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    with Connection(hop.port) as connection:
        assert connection.send(as_caller(url, token, "b")).read().status == 200
        before = time.monotonic()
        assert connection.send(as_caller(url, token, "a")).read().status == 200
        answer = connection.send(as_caller(url, token, "a")).read()
        if time.monotonic() - before < 0.9:
            refused(answer, "per_caller.requests_per_second")
        # the same connection, another caller (R15)
        assert {connection.send(as_caller(url, token, "b")).read().status for _ in range(20)} == {200}
        for _ in range(3):  # a reload is no way to a new second
            wait_until(lambda: connection.send(as_caller(url, token, "a")).read().status == 200)
            before = time.monotonic()
            ctl(hop, "reload")
            answer = connection.send(as_caller(url, token, "a")).read()
            if time.monotonic() - before < 0.9:
                refused(answer, "per_caller.requests_per_second")
    assert figure(hop, 'tokenhop_caller_requests_total{caller="b"}') == 21
    assert figure(hop, 'tokenhop_caller_refused_total{caller="a",limit="requests_per_second"}') >= 1
    assert figure(hop, 'tokenhop_caller_refused_total{caller="b",limit="requests_per_second"}') == 0


def test_r23_connections_of_a_caller(sandbox, named):
    """It is told by its request; a connection is somebody's by the latest one."""
    hop = named({"per_caller": {"connections": 2}})
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(Connection(hop.port)) for _ in range(3))
        for connection in (first, second):
            assert connection.send(as_caller(url, token, "a")).read().status == 200
        assert figure(hop, 'tokenhop_caller_connections{caller="a"}') == 2
        answer = third.send(as_caller(url, token, "a")).read()
        assert refused(answer, "per_caller.connections") and answer.get("Connection") == "close"
        assert third.is_closed()
        assert second.send(as_caller(url, token, "b")).read().status == 200  # it is b's from now on
        fourth = stack.enter_context(Connection(hop.port))
        assert fourth.send(as_caller(url, token, "a")).read().status == 200
        assert figure(hop, 'tokenhop_caller_connections{caller="a"}') == 2
        assert figure(hop, 'tokenhop_caller_connections{caller="b"}') == 1
    wait_until(lambda: figure(hop, 'tokenhop_caller_connections{caller="a"}') == 0)


def test_r23_all_of_an_agent(sandbox, named):
    hop = named({"per_agent": {"connections": 2, "requests_per_second": 1000}})
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    with Connection(hop.port) as first, Connection(hop.port) as second, Connection(hop.port) as third:
        assert first.send(as_caller(url, token, "a")).read().status == 200
        assert second.send(as_caller(url, token, "b")).read().status == 200
        refused(third.send(as_caller(url, token, "b")).read(), "per_agent.connections")
    assert figure(hop, 'tokenhop_agent_refused_total{agent="agent1",limit="connections"}') == 1


# Exchanges are shared


def test_r23_a_greedy_caller_leaves_room_for_others(sandbox, tokenhop):
    """It floods with tokens that nobody has seen, and the authorization server is slow: another's exchange goes on."""
    hop = tokenhop(limited({"waiting_exchanges": 40}, workers=2, timeouts={"exchange": "55s"}))
    url = sandbox.url("agent2", "/a2a/whoami")
    tokens = [sandbox.mint(user="alice", nonce=str(n)) for n in range(100)]
    sandbox.fault("org_token", "slow", count=-1, ms=int(4000 * SLOW))
    held = [From("127.0.0.2", hop.port) for _ in tokens]
    for connection, token in zip(held, tokens):
        connection.send(request(url, token))
    early = []
    deadline = time.monotonic() + 3 * SLOW
    for connection in held:  # those that are refused are so at once
        connection.sock.settimeout(max(0.05, min(0.2 * SLOW, deadline - time.monotonic())))
        with contextlib.suppress(TimeoutError):
            early.append(connection.read())
    assert len(early) == 80
    assert all(refused(answer, "per_caller.waiting") for answer in early)
    with Connection(hop.port) as other:
        assert other.send(request(url, sandbox.mint(user="bob"))).read().status == 200
    for connection in held:
        connection.close()


def test_r23_who_leaves_at_once_leaves_room_too(sandbox, tokenhop):
    """What was begun for it goes on, and counts for it as long as it does."""
    hop = tokenhop(limited({"waiting_exchanges": 20}, workers=2, timeouts={"exchange": "55s"}))
    url = sandbox.url("agent2", "/a2a/whoami")
    sandbox.fault("org_token", "slow", count=-1, ms=int(4000 * SLOW))
    for n in range(60):
        token = sandbox.mint(user="alice", nonce=str(n))
        with From("127.0.0.2", hop.port) as hasty:
            hasty.send(request(url, token))
            with contextlib.suppress(TimeoutError):
                hasty.sock.settimeout(0.02)
                hasty.read()
    assert sandbox.requests("org_token") <= 10
    with Connection(hop.port) as other:
        assert other.send(request(url, sandbox.mint(user="bob"))).read().status == 200


# All at once


def hostile(kind, port, sandbox, token):
    """One connection that does what no client should; bytes are sent on by stir()."""
    url = sandbox.url("agent2", "/a2a/whoami")
    sock = socket.create_connection(("127.0.0.1", port), 10 * SLOW, ("127.0.0.2", 0))
    sock.setblocking(False)
    head = {
        "silent": b"",
        "slow head": request(url, token)[:20],
        "endless head": b"GET " + url.encode() + b" HTTP/1.1\r\n",
        "slow body": request(url, token, "POST", ["Content-Length: 100000"]) + b"x",
        "slow chunks": request(url, token, "POST", ["Transfer-Encoding: chunked"]) + b"5\r\nhello\r\n",
        "does not read": request(sandbox.url("agent2", "/a2a/chunked/2000000/20000"), token) * 8,
    }[kind]
    if kind == "does not read":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with contextlib.suppress(BlockingIOError):
        sock.send(head)
    return sock


DRIPS = {"slow head": b"x", "endless head": b"X-Filler: " + b"y" * 1000 + b"\r\n", "slow body": b"x", "slow chunks": b"1\r\nx\r\n"}


def test_r23_hundreds_of_every_hostile_kind_at_once(sandbox, tokenhop):
    """Their memory is bounded, and a good client does not notice them: nor where there is no limit by caller."""
    def change(config):
        config["workers"] = 2
        config["timeouts"] = {"head": "20s", "body": "20s", "idle": "20s"}

    hop = tokenhop(change)
    url, token, figures = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(), Figures(hop)

    def check(_, got):
        assert got.status == 200

    with Steady(hop.port, lambda: (url, token), check, connections=2, pause=0.005) as alone:
        time.sleep(1.5 * SLOW)
    before, kinds, many = figures.rss, ["silent", *DRIPS, "does not read"], 20 if SANITIZED else 150
    held, stop = [], threading.Event()
    try:
        for kind in kinds:
            count = many // 5 if kind == "does not read" else many
            held += [(kind, hostile(kind, hop.port, sandbox, token)) for _ in range(count)]

        def stir():
            while not stop.is_set():
                for kind, sock in held:
                    if kind in DRIPS:
                        with contextlib.suppress(OSError):
                            sock.send(DRIPS[kind])
                stop.wait(0.1)

        thread = threading.Thread(target=stir)
        thread.start()
        with Steady(hop.port, lambda: (url, token), check, connections=2, pause=0.005) as good:
            time.sleep(3 * SLOW)
        grown = figures.rss - before
        print(f"{len(held)} hostile: {grown / 1e6:.1f} MB; {alone.count} alone, {good.count} among them, "
              f"slowest {alone.slowest * 1e3:.0f} ms and {good.slowest * 1e3:.0f} ms")
        assert not good.cuts and good.count > alone.count / 2
        assert good.slowest < 1 * SLOW
        if not SANITIZED:
            assert grown < len(held) * 100_000  # a head of 64 KiB, and what a stream holds
        stop.set()
        thread.join()
        # each is ended by its own time, and nothing of it stays
        level = figures.descriptors()
        wait_until(lambda: figures.descriptors() < level - len(held) // 2, 60 * SLOW)
    finally:
        stop.set()
        for _, sock in held:
            sock.close()
