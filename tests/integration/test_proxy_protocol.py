"""The PROXY protocol before a listener: who is believed, what the told address is for, and what is refused."""

import json
import os
import re
import socket
import struct
import subprocess
import tempfile

import pytest

import harness
from harness import wait_until
from rawnet import Connection, request

V2 = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40007 8080\r\n"


def v2(command, family, block):
    return V2 + bytes([0x20 | command, family]) + struct.pack(">H", len(block)) + block


def told_v4(address, port, tlvs=b""):
    return v2(1, 0x11, socket.inet_aton(address) + socket.inet_aton("198.51.100.1") + struct.pack(">HH", port, 8080) + tlvs)


def told_v6(address, port):
    return v2(1, 0x21, socket.inet_pton(socket.AF_INET6, address) + socket.inet_pton(socket.AF_INET6, "::1") + struct.pack(">HH", port, 8080))


@pytest.fixture
def balanced(tokenhop):
    """balanced(["127.0.0.1"], change): tokenhop behind a proxy at one of these addresses; hop.open(source) connects from one."""

    def start(sources, change=None, **listener):
        def configure(config):
            config["workers"] = 1
            config["listeners"][0]["proxy_protocol"] = {"from": sources}
            config["listeners"][0].update(listener)
            config["admin"] = {"address": "unix:admin.sock"}
            if change:
                change(config)

        hop = tokenhop(configure, alg="ES256")

        def open_from(source="127.0.0.1"):
            return Connection(hop.port, source=source)

        hop.open = open_from
        return hop

    return start


def figure(hop, result):
    with Connection(hop.folder / "admin.sock") as admin:
        text = admin.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").read().body.decode()
    return int(re.search(rf'^tokenhop_proxy_headers_total{{result="{result}"}} (\d+)$', text, re.M)[1])


def clients(hop):
    hop.stop()
    return [json.loads(line)["client"] for line in hop.output.splitlines()]


HEADERS = [
    (V1, "192.0.2.7:40007"),
    (b"PROXY TCP6 2001:db8::7 ::1 40007 8080\r\n", "[2001:db8::7]:40007"),
    (told_v4("192.0.2.8", 40008), "192.0.2.8:40008"),
    (told_v4("192.0.2.8", 40008, b"\4\0\3abc" + b"\5\0\x10" + b"unique-id-of-16."), "192.0.2.8:40008"),
    (told_v6("2001:db8::8", 40008), "[2001:db8::8]:40008"),
    (v2(1, 0x31, b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0")), "unix"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN and more\r\n", None),
    (v2(0, 0, b""), None),
    (v2(0, 0x11, b"\xff" * 12), None),
    (v2(1, 0, b"\4\0\0"), None),
]


def test_what_is_told(sandbox, balanced):
    hop = balanced(["10.0.0.0/8", "127.0.0.1"])
    token = sandbox.mint(user="alice")
    ask = request(sandbox.url("agent2", "/a2a/whoami"), token)
    wanted = []
    for header, client in HEADERS:
        with hop.open() as connection:
            own = "%s:%d" % connection.sock.getsockname()
            assert connection.send(header + ask).read().status == 200
            assert connection.send(ask).read().status == 200  # it is of the connection, not of a request
        wanted += [client or own] * 2
    assert (figure(hop, "told"), figure(hop, "local"), figure(hop, "refused")) == (6, 5, 0)
    assert clients(hop) == wanted


@pytest.mark.parametrize("header", [HEADERS[0][0], HEADERS[3][0], HEADERS[6][0], HEADERS[8][0]], ids=["v1", "v2", "unknown", "local"])
def test_in_pieces_at_every_byte(sandbox, balanced, header):
    hop = balanced(["127.0.0.1"])
    ask = request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice"))
    opened = []
    for cut in range(1, len(header) + 2):
        opened.append((hop.open().send((header + ask)[:cut]), cut))
    for connection, cut in opened:
        with connection:
            assert connection.send((header + ask)[cut:]).read().status == 200, cut
    with hop.open() as connection:  # and byte by byte
        for byte in header + ask:
            connection.send(bytes([byte]))
        assert connection.read().status == 200
    assert figure(hop, "refused") == 0


REFUSED = [
    b"GET http://agent2.test/ HTTP/1.1\r\nHost: agent2.test\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40007 80800\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 40007 8080\n",
    b"PROXY UNKNOWN " + b"x" * 100,
    v2(1, 0x12, b"\0" * 12),
    v2(1, 0x11, b"\0" * 11),
    told_v4("192.0.2.8", 40008, b"\3\0\4abcd"),
    told_v4("192.0.2.8", 40008, b"\4\xff\xff"),
    V2 + b"\x21\x11\xff\xff",
    V2 + b"\x11",
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_a_listed_source_must_send_one(sandbox, balanced, number):
    hop = balanced(["127.0.0.1/32"])
    with hop.open() as connection:
        source = "%s:%d" % connection.sock.getsockname()
        assert connection.send(REFUSED[number]).is_closed(10)  # not a byte comes back
    wait_until(lambda: "listener.proxy_header" in hop.stderr)
    line = json.loads(next(line for line in hop.stderr.splitlines() if "listener.proxy_header" in line))
    assert line["client"] == source and line["reason"] and figure(hop, "refused") == 1
    assert clients(hop) == []


def test_it_has_the_time_of_a_head(sandbox, balanced):
    hop = balanced(["127.0.0.1"], lambda config: config.update(timeouts={"head": "1s"}))
    with hop.open() as silent, hop.open().send(V1[:10]) as begun:
        assert silent.is_closed(10) and begun.is_closed(10)
    wait_until(lambda: hop.stderr.count("it did not come in time") >= 1)
    assert figure(hop, "refused") == 2


def test_who_only_looks_is_no_news(sandbox, balanced):
    hop = balanced(["127.0.0.1"])
    before = figure(hop, "refused")
    for _ in range(3):
        hop.open().close()
    with hop.open().send(V1[:20]) as cut:
        cut.half_close()
        assert cut.is_closed(10)
    wait_until(lambda: figure(hop, "refused") == before + 1)
    hop.stop()
    assert hop.stderr.count("listener.proxy_header") == 1 and "it ended inside" in hop.stderr


def test_nobody_else_is_believed(sandbox, balanced):
    """Not listed: served as ever, and a header is a bad request."""
    hop = balanced(["10.0.0.0/8", "127.0.0.2"])
    ask = request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice"))
    with hop.open("127.0.0.1") as plain:
        own = "%s:%d" % plain.sock.getsockname()
        assert plain.send(ask).read().status == 200
    for header in (V1, told_v4("127.0.0.2", 1)):
        with hop.open("127.0.0.1") as liar:
            assert liar.send(header + ask).read().status == 400
    with hop.open("127.0.0.2") as listed:
        assert listed.send(V1 + ask).read().status == 200
        # what is told makes nobody a listed source: a second header is none
        assert listed.send(V1 + ask).read().status == 400
    with hop.open("127.0.0.2") as listed:
        assert listed.send(told_v4("127.0.0.2", 1) + V1 + ask).read().status == 400
    assert (figure(hop, "told"), figure(hop, "refused")) == (2, 0)
    seen = clients(hop)
    assert seen[0] == own and seen[3] == "192.0.2.7:40007"


def test_a_reload_changes_who_is_believed(sandbox, balanced):
    hop = balanced(["127.0.0.2"])
    ask = request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice"))
    with hop.open("127.0.0.1") as before:
        assert before.send(ask).read().status == 200
        hop.config["listeners"][0]["proxy_protocol"]["from"] = ["127.0.0.1"]
        hop.reload()
        wait_until(lambda: "config.reloaded" in hop.stderr)
        assert before.send(ask).read().status == 200  # it has begun already
    with hop.open("127.0.0.1") as after:
        assert after.send(V1 + ask).read().status == 200
    with hop.open("127.0.0.2") as after:
        assert after.send(ask).read().status == 200


def test_a_tunnel_behind_it(sandbox, balanced):
    hop = balanced(["127.0.0.1"])
    token = sandbox.mint(user="alice")
    host = f"127.0.0.1:{sandbox.port('agent2')}"
    with hop.open() as tunnel:
        assert tunnel.send(V1 + f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).read("HEAD").status == 200
        assert tunnel.send(f"GET /a2a/whoami HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n").read().status == 200
    assert clients(hop) == ["192.0.2.7:40007"] * 2


def test_over_a_unix_socket(sandbox, tokenhop):
    """The process at the other end is the proxy: it is nobody's proof but its own, when it speaks for itself (LOCAL)."""
    with tempfile.TemporaryDirectory(prefix="tokenhop-unix-") as folder:

        def configure(config):
            config["workers"] = 1
            config["listeners"] = [{"name": "sock", "address": f"unix:{folder}/a.sock", "proxy_protocol": {"from": ["unix"]}}]
            config["callers"] = [{"name": "me", "agent": "agent1", "unix": {"uid": os.getuid()}}]

        hop = tokenhop(configure, alg="ES256")
        ask = request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice"))
        unknown = (b"PROXY UNKNOWN\r\n", 403), (b"PROXY UNKNOWN and more\r\n", 403), (v2(1, 0, b""), 403), (v2(1, 0, b"\4\0\0"), 403)
        for header, status in ((V1, 403), (told_v4("192.0.2.8", 8), 403), *unknown, (v2(0, 0, b""), 200), (v2(0, 0x11, b"\xff" * 12), 200)):
            with Connection(f"{folder}/a.sock") as connection:
                assert connection.send(header + ask).read().status == status
        with Connection(f"{folder}/a.sock") as connection:
            assert connection.send(ask).is_closed(10)
        own = f"unix:uid={os.getuid()},gid={os.getgid()},pid={os.getpid()}"
        assert clients(hop) == ["192.0.2.7:40007", "192.0.2.8:8", *["unix"] * 4, own, own]
        assert sandbox.requests("agent2") == 2


# --- a real one ---

HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 30s
    timeout client 60s
    timeout server 60s
%s
"""


@pytest.fixture
def haproxy(tmp_path, beside):
    def start(servers):
        """`servers`: what stands behind "server s" for each of the frontends; returns their ports."""
        ports = [harness.free_port() for _ in servers]
        parts = [f"listen l{port}\n    bind 127.0.0.1:{port}\n    server s {server}\n" for port, server in zip(ports, servers)]
        file = tmp_path / "haproxy.cfg"
        file.write_text(HAPROXY % "\n".join(parts))
        beside(["/usr/sbin/haproxy", "-f", file], *ports)
        return ports

    return start


def test_behind_haproxy(sandbox, balanced, haproxy):
    hop = balanced(["127.0.0.1"])
    at = f"127.0.0.1:{hop.port}"
    options = ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c", "send-proxy-v2 proxy-v2-options crc32c,unique-id"]
    ports = haproxy([f"{at} {option}" for option in options] + [f"{at} send-proxy check inter 100ms", f"{at} send-proxy-v2 check inter 100ms", at])
    ask = request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice"))
    wanted = []
    for port in ports[:6]:
        with Connection(port) as client:
            wanted.append("%s:%d" % client.sock.getsockname())
            assert client.send(ask).read().status == 200
            assert client.send(ask).read().status == 200
    with Connection(ports[6]) as client:  # it was forgotten there
        assert client.send(ask).is_closed(10)
    wait_until(lambda: figure(hop, "refused") == 1)
    wait_until(lambda: "send-proxy-v2" in hop.stderr)
    seen = clients(hop)
    assert seen == [client for client in wanted for _ in range(2)]


def test_check_says_what_is_wrong(sandbox, balanced):
    hop = balanced(["127.0.0.1"])
    for sources, said in ((["127.0.0.1:80"], "clients have any port"), (["10.0.0.1/8"], "bits beyond"), (["unix"], "unix socket"), ([], "at least 1")):
        hop.config["listeners"][0]["proxy_protocol"]["from"] = sources
        hop.write()
        done = subprocess.run([harness.binary("tokenhop"), "check", "-c", hop.file], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and said in done.stderr and "$.listeners[0].proxy_protocol.from" in done.stderr, done
