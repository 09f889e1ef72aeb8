"""Requests on the wire that no client should send, and answers that no origin should give (R1 to R6).

Each bad request goes to a listening origin, so that 'nothing of it arrived' can be said of bytes.
"""

import time

import pytest

from rawnet import SLOW, Connection, Origin, request, response, serve_at


@pytest.fixture(scope="module")
def place(running_sandbox, tmp_path_factory):
    """One tokenhop and one origin for all of this file; the origin's answer is set by each test."""
    import harness

    running_sandbox.reset()
    origin = Origin()
    config = harness.base_config(running_sandbox)
    serve_at(config, origin)
    hop = harness.Tokenhop(config, tmp_path_factory.mktemp("framing")).start()
    token = running_sandbox.mint()
    hop.origin, hop.token, hop.sandbox = origin, token, running_sandbox
    assert hop.get(origin.url(), token).status_code == 200  # the credential is cached from here on
    yield hop
    hop.stop()
    origin.close()


@pytest.fixture
def wire(place):
    origin = place.origin
    origin.answer = lambda _: response()
    # A pooled connection to the origin would let a test's bytes land in another's record.
    origin.requests.clear()
    marks = [len(raw) for raw in origin.raw]
    place.arrived = lambda: b"".join(
        bytes(raw)[marks[i] if i < len(marks) else 0 :] for i, raw in enumerate(origin.raw)
    )
    yield place
    assert place.is_running(), place.stderr


def head(wire, *fields, line=None, host=True):
    lines = [line or f"POST {wire.origin.url()} HTTP/1.1"]
    if host:
        lines.append(f"Host: {wire.origin.address}")
    lines += [f"Authorization: Bearer {wire.token}", *fields]
    return "\r\n".join(lines) + "\r\n\r\n"


def refused(wire, data, status, smuggled=b"SMUGGLED"):
    with Connection(wire.port) as connection:
        connection.send(data)
        answer = connection.read()
        assert answer.status == status, (answer.status, answer.body)
        assert answer.get("Content-Type") == "application/problem+json"
        assert answer.get("Proxy-Status", "").startswith("tokenhop; error=")
        assert answer.json()["status"] == status and answer.json()["code"]
        assert answer.get("Connection") == "close"
        assert connection.is_closed()  # and nothing after: what follows was not taken for a request
    assert smuggled not in wire.arrived()
    return answer


SMUGGLED = "GET http://{}/SMUGGLED HTTP/1.1\r\nHost: {}\r\n\r\n"

# name: fields, body (status 400)
BODIES = {
    "length and chunked": (["Content-Length: 5", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
    "chunked and length": (["Transfer-Encoding: chunked", "Content-Length: 5"], "0\r\n\r\n"),
    "two lengths": (["Content-Length: 5", "Content-Length: 6"], "hello"),
    "two equal lengths": (["Content-Length: 5", "Content-Length: 5"], "hello"),
    "list of lengths": (["Content-Length: 5, 5"], "hello"),
    "empty length": (["Content-Length:"], ""),
    "signed length": (["Content-Length: +5"], "hello"),
    "negative length": (["Content-Length: -1"], ""),
    "hex length": (["Content-Length: 0x5"], "hello"),
    "length with blank": (["Content-Length: 5 0"], "hello"),
    "length overflows": (["Content-Length: 18446744073709551616"], "hello"),
    "length of 20 digits": (["Content-Length: 99999999999999999999"], "hello"),
    "te identity": (["Transfer-Encoding: identity"], ""),
    "te gzip, chunked": (["Transfer-Encoding: gzip, chunked"], "0\r\n\r\n"),
    "te chunked, identity": (["Transfer-Encoding: chunked, identity"], "0\r\n\r\n"),
    "te chunked twice": (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
    "te chunked, chunked": (["Transfer-Encoding: chunked, chunked"], "0\r\n\r\n"),
    "te xchunked": (["Transfer-Encoding: xchunked"], "0\r\n\r\n"),
    "te quoted": (['Transfer-Encoding: "chunked"'], "0\r\n\r\n"),
    "te with parameter": (["Transfer-Encoding: chunked;q=1"], "0\r\n\r\n"),
    "te vertical tab": (["Transfer-Encoding: \x0bchunked"], "0\r\n\r\n"),
    "te empty": (["Transfer-Encoding:"], "0\r\n\r\n"),
    "te folded": (["Transfer-Encoding:", " chunked"], "0\r\n\r\n"),
    "te space before colon": (["Transfer-Encoding : chunked"], "0\r\n\r\n"),
    "length space before colon": (["Content-Length : 5"], "hello"),
    "length tab before colon": (["Content-Length\t: 5"], "hello"),
    "te after bare LF": (["X: y\nTransfer-Encoding: chunked"], "0\r\n\r\n"),
    "te after bare CR": (["X: y\rTransfer-Encoding: chunked"], "0\r\n\r\n"),
    "NUL in value": (["X: a\0b"], ""),
    "NUL in name": (["X\0: b"], ""),
    "DEL in value": (["X: a\x7fb"], ""),
    "control in value": (["X: a\x01b"], ""),
    "folded field": (["X: a", " b"], ""),
    "folded by tab": (["X: a", "\tb"], ""),
    "empty name": ([": x"], ""),
    "name with blank": (["X Y: z"], ""),
    "name with umlaut": (["X\xe4: z"], ""),
    "no colon": (["Xyz"], ""),
    "two hosts": (["Host: other.example"], ""),
    "same host again": (["host: {host}"], ""),
}


@pytest.mark.parametrize("name", BODIES)
def test_R1_head_is_refused(wire, name):
    fields, body = BODIES[name]
    address = wire.origin.address
    fields = [field.replace("{host}", address) for field in fields]
    refused(wire, head(wire, *fields) + body + SMUGGLED.format(address, address), 400)
    assert wire.arrived() == b""


CHUNKS = {
    "no digits": "\r\nhello\r\n0\r\n\r\n",
    "not hex": "xyz\r\nhello\r\n0\r\n\r\n",
    "0x": "0x5\r\nhello\r\n0\r\n\r\n",
    "signed": "+5\r\nhello\r\n0\r\n\r\n",
    "negative": "-5\r\nhello\r\n0\r\n\r\n",
    "blank before": " 5\r\nhello\r\n0\r\n\r\n",
    "blank after": "5 \r\nhello\r\n0\r\n\r\n",
    "overflow": "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "max": "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "many zeros": "0" * 300 + "5\r\nhello\r\n0\r\n\r\n",
    "LF after size": "5\nhello\r\n0\r\n\r\n",
    "CR in size line": "5\r5\r\nhello\r\n0\r\n\r\n",
    "data too long": "5\r\nhelloo\r\n0\r\n\r\n",
    "LF after data": "5\r\nhello\n0\r\n\r\n",
    "NUL in extension": "5;a=\0\r\nhello\r\n0\r\n\r\n",
    "LF in extension": "5;a\nb\r\nhello\r\n0\r\n\r\n",
    "long extension": "5;" + "a" * 70000 + "\r\nhello\r\n0\r\n\r\n",
    "bad trailer": "5\r\nhello\r\n0\r\nX Y: z\r\n\r\n",
    "folded trailer": "5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
    "LF after trailer": "5\r\nhello\r\n0\r\nX: a\n\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_R1_chunks_are_refused(wire, name):
    """In one piece with the head nothing of it goes out; after the head has gone, no last chunk does."""
    address = wire.origin.address
    start = head(wire, "Transfer-Encoding: chunked")
    after = SMUGGLED.format(address, address)
    answer = refused(wire, start + CHUNKS[name] + after, 400)
    assert answer.json()["code"] == "bad_request"
    with Connection(wire.port) as connection:
        connection.send(start)
        before = time.monotonic()
        while b"\r\n\r\n" not in wire.arrived() and time.monotonic() - before < 5 * SLOW:
            time.sleep(0.005)
        connection.send(CHUNKS[name] + after)
        assert connection.read().status == 400
        assert connection.is_closed()
    assert b"0\r\n\r\n" not in wire.arrived() and b"SMUGGLED" not in wire.arrived()
    assert wire.origin.requests == []


def big(count):
    return [f"X-{i}: y" for i in range(count)]


LINES = {
    "lower-case version": ("GET {} http/1.1", 400),
    "no version": ("GET {}", 400),
    "HTTP/2.0": ("GET {} HTTP/2.0", 505),
    "HTTP/0.9": ("GET {} HTTP/0.9", 505),
    "HTTP/1.10": ("GET {} HTTP/1.10", 400),
    "two blanks": ("GET  {} HTTP/1.1", 400),
    "blank at the end": ("GET {} HTTP/1.1 ", 400),
    "tab": ("GET\t{} HTTP/1.1", 400),
    "method with colon": ("GE:T {} HTTP/1.1", 400),
    "no method": (" {} HTTP/1.1", 400),
    "blank in target": ("GET {}/a b HTTP/1.1", 400),
    "non-ascii target": ("GET {}/\xe4 HTTP/1.1", 400),
    "control in target": ("GET {}/\x01 HTTP/1.1", 400),
    "line too long": ("GET {}/" + "a" * 70000 + " HTTP/1.1", 414),
}


@pytest.mark.parametrize("name", LINES)
def test_R1_request_line(wire, name):
    line, status = LINES[name]
    line = line.replace("{host}", wire.origin.address).replace("{}", wire.origin.url())
    refused(wire, head(wire, line=line), status)
    assert wire.arrived() == b""


# Framed well, but of a target that is malformed or that two servers may read in two ways (R7, R9)
TARGETS = {
    "fragment": "{}#x",
    "userinfo": "http://u:p@{host}/a2a/x",
    "dot segment": "http://{host}/a2a/../x",
    "encoded dot": "http://{host}/a2a/%2e%2e/x",
    "encoded slash": "http://{host}/a2a%2fx",
    "encoded NUL": "http://{host}/a2a/%00",
    "double slash": "http://{host}//a2a/x",
    "backslash": "http://{host}/a2a\\x",
    "origin-form": "/a2a/x",
    "other scheme": "ftp://{host}/",
    "port 0": "http://127.0.0.1:0/",
    "port 65536": "http://127.0.0.1:65536/",
    "octal address": "http://0177.0.0.1/",
    "number address": "http://2130706433/",
    "short address": "http://127.1/",
    "percent in host": "http://127%2e0.0.1/",
}


@pytest.mark.parametrize("name", TARGETS)
def test_R7_R9_target_is_refused(wire, name):
    target = TARGETS[name].replace("{host}", wire.origin.address).replace("{}", wire.origin.url())
    with Connection(wire.port) as connection:
        connection.send(head(wire, line=f"GET {target} HTTP/1.1"))
        answer = connection.read()
        assert (answer.status, answer.json()["code"]) == (400, "bad_request")
        assert wire.arrived() == b""
        assert connection.send(request(wire.origin.url(), wire.token)).read().status == 200


@pytest.mark.parametrize(
    "fields", [big(101), ["X: " + "y" * 70000], [f"{'n' * 300}{i}: {'v' * 1000}" for i in range(60)]]
)
def test_R1_head_too_large(wire, fields):
    refused(wire, head(wire, *fields), 431)
    assert wire.arrived() == b""


def test_R1_fields_up_to_the_limit_pass(wire):
    with Connection(wire.port) as connection:
        connection.send(head(wire, *big(95), "Content-Length: 0"))
        assert connection.read().status == 200
        connection.send(head(wire, "X: " + "y" * 60000, "Content-Length: 0"))
        assert connection.read().status == 200


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_R2_host_missing(wire, version):
    data = head(wire, line=f"GET {wire.origin.url()} {version}", host=False)
    if version == "HTTP/1.1":
        refused(wire, data, 400)
        return
    with Connection(wire.port) as connection:
        assert connection.send(data).read().status == 200
        assert connection.is_closed()
    assert wire.origin.requests[0].get("Host") == wire.origin.address


def test_R1_te_in_1_0(wire):
    line = f"POST {wire.origin.url()} HTTP/1.0"
    refused(wire, head(wire, "Transfer-Encoding: chunked", line=line) + "0\r\n\r\n", 400)
    assert wire.arrived() == b""


def test_R1_leading_space_before_first_field(wire):
    line = f"GET {wire.origin.url()} HTTP/1.1\r\n X: y"
    refused(wire, head(wire, line=line), 400)


def test_R2_host_is_the_urls(wire):
    with Connection(wire.port) as connection:
        data = head(wire, "Content-Length: 0", "Host: other.example", host=False)
        assert connection.send(data).read().status in (200, 400)
    for seen in wire.origin.requests:
        assert seen.all("Host") == [wire.origin.address]
    assert b"other.example" not in wire.arrived()


def test_R2_hop_by_hop(wire):
    """What Connection names goes, but for what it may not name away."""
    with Connection(wire.port) as connection:
        connection.send(
            head(
                wire,
                "Connection: X-Gone, Authorization, Content-Length, Host, close",
                "X-Gone: 1",
                "X-Stays: 1",
                "Keep-Alive: timeout=9",
                "TE: gzip",
                "Proxy-Connection: keep-alive",
                "Proxy-Authorization: Basic c2VjcmV0",
                "Content-Length: 5",
            )
            + "hello"
        )
        assert connection.read().status == 200
    (seen,) = wire.origin.requests
    assert seen.body == b"hello" and seen.get("X-Stays") == "1"
    assert len(seen.all("Authorization")) == 1 and seen.get("Host") == wire.origin.address
    for gone in ("X-Gone", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization"):
        assert seen.get(gone) is None, gone
    assert "gzip" not in (seen.get("TE") or "")
    assert b"c2VjcmV0" not in wire.arrived()


def test_R3_trailers_do_not_merge(wire):
    with Connection(wire.port) as connection:
        connection.send(head(wire, "Transfer-Encoding: chunked"))
        connection.send("5\r\nhello\r\n0\r\nAuthorization: Bearer stolen\r\nHost: evil\r\n\r\n")
        assert connection.read().status in (200, 400)
    for seen in wire.origin.requests:
        assert seen.body == b"hello" and len(seen.all("Authorization")) == 1
    assert b"stolen" not in wire.arrived() and b"evil" not in wire.arrived()


def test_R6_unknown_method_is_relayed(wire):
    with Connection(wire.port) as connection:
        connection.send(head(wire, line=f"PROPFIND {wire.origin.url()} HTTP/1.1"))
        assert connection.read().status == 200
    assert wire.origin.requests[0].method == "PROPFIND"


def test_R17_trace_is_refused(wire):
    with Connection(wire.port) as connection:
        connection.send(head(wire, line=f"TRACE {wire.origin.url()} HTTP/1.1"))
        assert connection.read().status == 405
    assert wire.arrived() == b""


def test_R6_pipelining_order(wire):
    wire.origin.answer = lambda seen: response(seen.target.encode())
    with Connection(wire.port) as connection:
        for i in range(20):
            url = wire.origin.url(f"/a2a/{i}")
            connection.send(request(url, wire.token, "POST", body=b"b" * i))
        got = [connection.read().body for _ in range(20)]
    assert got == [f"/a2a/{i}".encode() for i in range(20)]
    assert [len(seen.body) for seen in wire.origin.requests] == list(range(20))


@pytest.mark.parametrize("split", [1, 7, 100])
def test_R1_any_split(wire, split):
    """The same request whole, and in pieces of some bytes, is the same request."""
    data = request(wire.origin.url(), wire.token, "POST", ["Transfer-Encoding: chunked"])
    data += b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX: y\r\n\r\n"
    with Connection(wire.port) as connection:
        for i in range(0, len(data), split):
            connection.send(data[i : i + split])
        assert connection.read().status == 200
    assert wire.origin.requests[0].body == b"hello world"


def test_R6_expect_continue(wire):
    with Connection(wire.port) as connection:
        connection.send(request(wire.origin.url(), wire.token, "POST", ["Expect: 100-continue", "Content-Length: 5"]))
        time.sleep(0.1)
        assert connection.reader.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        connection.send("hello")
        assert connection.read().status == 200
    assert wire.origin.requests[-1].body == b"hello"


def test_R6_head_and_bodiless(wire):
    """After each the connection goes on, so nothing was taken for a body that is none."""
    wire.origin.answer = lambda seen: (
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
        if seen.method == "HEAD"
        else f"HTTP/1.1 {seen.target[-3:]} X\r\nETag: x\r\n\r\n".encode()
    )
    with Connection(wire.port) as connection:
        answer = connection.send(request(wire.origin.url(), wire.token, "HEAD")).read("HEAD")
        assert answer.get("Content-Length") == "10"
        for status in (204, 304):
            connection.send(request(wire.origin.url(f"/a2a/{status}"), wire.token))
            answer = connection.read()
            assert answer.status == status and answer.get("Transfer-Encoding") is None
        assert connection.send(request(wire.origin.url(), wire.token, "HEAD")).read("HEAD").status == 200
