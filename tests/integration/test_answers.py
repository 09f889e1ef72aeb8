"""Answers that no origin should give (R4): 502 while nothing is out, else a cut that the client can see."""

import time

import pytest

import harness
from rawnet import SLOW, Connection, Origin, request, response, serve_at

OK = b"HTTP/1.1 200 OK\r\n"

# What comes instead of an answer: bytes, and the origin closes after them.
BAD_HEADS = {
    "not http": b"hello\r\n\r\n",
    "another version": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok",
    "status 99": b"HTTP/1.1 99 X\r\nContent-Length: 2\r\n\r\nok",
    "status 1000": b"HTTP/1.1 1000 X\r\nContent-Length: 2\r\n\r\nok",
    "length and chunked": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "signed length": OK + b"Content-Length: +2\r\n\r\nok",
    "length overflows": OK + b"Content-Length: 99999999999999999999\r\n\r\nok",
    "te gzip": OK + b"Transfer-Encoding: gzip\r\n\r\nok",
    "te twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "te in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded": OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "space before colon": OK + b"Content-Length : 2\r\n\r\nok",
    "bare CR": OK + b"X: a\rb\r\nContent-Length: 2\r\n\r\nok",
    "NUL": OK + b"X: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "no colon": OK + b"Xyz\r\nContent-Length: 2\r\n\r\nok",
    "head too large": OK + b"X: " + b"y" * 100000 + b"\r\n\r\n",
    "too many fields": OK + b"".join(b"X%d: y\r\n" % i for i in range(200)) + b"\r\n",
    "cut in the head": OK + b"Content-Len",
    "nothing": b"",
    "unasked 101": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "endless 100": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
}

# After these the head is out: what was promised must not look complete.
BAD_BODIES = {
    "short length": OK + b"Content-Length: 10\r\n\r\nhalf",
    "cut chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "no last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "cut last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "bad chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\nrest\r\n0\r\n\r\n",
    "chunk too long": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n0\r\n\r\n",
    "chunk size overflows": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10000000000000005\r\nhello",
    "bad trailer": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX Y: z\r\n\r\n",
}


@pytest.fixture(scope="module")
def place(running_sandbox, tmp_path_factory):
    running_sandbox.reset()
    origin = Origin()
    config = harness.base_config(running_sandbox)
    serve_at(config, origin)
    hop = harness.Tokenhop(config, tmp_path_factory.mktemp("answers")).start()
    hop.origin, hop.token = origin, running_sandbox.mint()
    assert hop.get(origin.url(), hop.token).status_code == 200
    yield hop
    hop.stop()
    origin.close()


@pytest.fixture
def wire(place):
    place.origin.answer = lambda _: response()
    yield place
    # and whatever it was, the next request is served
    place.origin.answer = lambda _: response(b"after")
    with Connection(place.port) as connection:
        assert connection.send(request(place.origin.url(), place.token)).read().body == b"after"


def speak(data, ends=True):
    """Sends just this, and closes."""

    def with_socket(sock):
        sock.sendall(data)
        return not ends

    return lambda _: with_socket


def ask(wire, method="GET", **kwargs):
    with Connection(wire.port) as connection:
        return connection.send(request(wire.origin.url(), wire.token, method, **kwargs)).read(method)


@pytest.mark.parametrize("name", BAD_HEADS)
def test_R4_bad_head(wire, name):
    wire.origin.answer = speak(BAD_HEADS[name])
    answer = ask(wire, "POST", body=b"x")
    assert answer.status == 502, answer.body
    assert answer.json()["code"] == "origin_failed" and answer.json()["connection"] == "agent2"
    assert answer.get("Proxy-Status", "").startswith("tokenhop; error=")


@pytest.mark.parametrize("name", BAD_BODIES)
def test_R4_bad_body(wire, name):
    wire.origin.answer = speak(BAD_BODIES[name])
    answer = ask(wire, "POST", body=b"x")
    # All in one piece, it may be seen before the head has gone out.
    assert answer.status == 502 or not answer.complete, (answer.status, answer.body)


@pytest.mark.parametrize("name", BAD_BODIES)
def test_R4_bad_body_after_head(wire, name):
    """The head is with the client before the fault is to be seen: then the connection is cut, and no clean end is made up."""
    start, rest = BAD_BODIES[name].split(b"\r\n\r\n", 1)

    def with_socket(sock):
        sock.sendall(start + b"\r\n\r\n")
        time.sleep(0.15)
        sock.sendall(rest)
        return False

    wire.origin.answer = lambda _: with_socket
    answer = ask(wire, "POST", body=b"x")
    assert answer.status == 200 and not answer.complete and answer.connection_ends


def test_R4_close_delimited_is_passed_on(wire):
    wire.origin.answer = speak(OK + b"\r\nuntil the end")
    answer = ask(wire)
    assert answer.complete and answer.body == b"until the end"
    assert answer.get("Transfer-Encoding") == "chunked"  # HTTP/1.1 keeps its connection


def test_R4_interim_responses(wire):
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    wire.origin.answer = speak(early * 2 + response(b"final"), ends=False)
    answer = ask(wire)
    assert answer.interim == [103, 103] and answer.body == b"final"


def test_R4_bytes_after_a_response(wire):
    """They belong to nobody: the next caller does not get them, and that connection is not used again."""
    stolen = response(b"stolen")
    wire.origin.answer = speak(response(b"mine") + stolen, ends=False)
    assert ask(wire).body == b"mine"
    wire.origin.answer = lambda _: response(b"next")
    for _ in range(10):
        assert ask(wire).body == b"next"


def test_R4_unasked_response_on_an_idle_connection(wire):
    socks = []

    def with_socket(sock):
        socks.append(sock)
        sock.sendall(response(b"mine"))

    wire.origin.answer = lambda _: with_socket
    assert ask(wire).body == b"mine"
    time.sleep(0.1)
    socks[0].sendall(response(b"stolen"))
    time.sleep(0.1)
    wire.origin.answer = lambda _: response(b"next")
    for _ in range(10):
        assert ask(wire).body == b"next"


def test_R5_no_replay_of_a_post(wire):
    """A pooled connection dies under a POST with a body that goes out in part: it is not sent twice."""
    wire.origin.answer = speak(b"")
    wire.origin.requests.clear()
    body = b"b" * 300_000  # more than limits.replay_body
    assert ask(wire, "POST", body=body).status == 502
    assert len(wire.origin.requests) == 1


def test_R4_origin_that_answers_before_the_body_is_read(wire):
    """413 and close in the middle of an upload: the answer reaches the client."""

    def with_socket(sock):
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        return False

    class Early(Origin):
        def _serve(self, sock):
            sock.recv(1000)
            with_socket(sock)
            sock.shutdown(1)
            time.sleep(0.3)
            sock.close()

    early = Early()
    try:
        config = wire.config
        assert early.port
        serve_at(config, early)
        wire.reload()
        harness.wait_until(lambda: "config.reloaded" in wire.stderr, 10 * SLOW)
        with Connection(wire.port) as connection:
            connection.send(request(early.url(), wire.token, "POST", ["Content-Length: 50000000"]))
            try:
                for _ in range(500):
                    connection.send(b"x" * 100_000)
            except OSError:
                pass
            answer = connection.read()
            assert (answer.status, answer.body) == (413, b"big")
    finally:
        early.close()
