"""The audit log: every decision, its fields as docs/audit.md has them, its seal, and what happens without it."""

import base64
import fcntl
import hashlib
import json
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time

import pytest

import harness
from harness import wait_until
from rawnet import SLOW, Connection, request, response

PAGE = (harness.SOURCE / "docs" / "audit.md").read_text()
TYPES = {"string": str, "number": int, "boolean": bool, "list of strings": list, "list of objects": list, "number, string": (int, str)}
FIELDS = {
    name: TYPES[cells[1].strip()]
    for line in PAGE.split("## Fields")[1].split("## The seal")[0].splitlines()
    if line.startswith("| `") and (cells := line.strip("|").split("|"))
    for name in re.findall(r"`(\w+)`", cells[0])
}


@pytest.fixture
def audited(tokenhop, tmp_path):
    """A running tokenhop whose audit log is .audit; audited(change) first changes its configuration."""

    def start(change=None, file=None, **log):
        path = tmp_path / "audit.jsonl" if file is None else file

        def configure(config):
            config["workers"] = 1  # so that lines come in the order of the requests
            config["log"] = {"audit_file": str(path), **log}
            if change:
                change(config)

        hop = tokenhop(configure, agents=("agent1", "agent2"), alg="ES256")
        hop.audit = path
        return hop

    return start


def lines_of(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for name, value in line.items():
            assert isinstance(value, FIELDS[name]) and (type(value) is not bool or FIELDS[name] is bool), (name, value)
    return lines


def verify(*args):
    return subprocess.run([harness.binary("tokenhop"), "audit", "verify", *args], capture_output=True, text=True)


def whoami(sandbox):
    return sandbox.url("agent2", "/a2a/whoami")


def test_each_decision_is_a_line(sandbox, audited):
    hop = audited()
    alice, carol = sandbox.mint(user="alice"), sandbox.mint(user="carol")
    assert hop.get(whoami(sandbox), alice).status_code == 200
    assert hop.get(whoami(sandbox), alice).status_code == 200
    assert hop.get(whoami(sandbox), carol).status_code == 401
    assert hop.get(whoami(sandbox), carol).status_code == 401
    assert hop.get(whoami(sandbox)).status_code == 401
    assert hop.get("http://127.0.0.1:9/x", alice).status_code == 403
    assert hop.get(whoami(sandbox), sandbox.mint(audience="agent2"), agent="agent2").status_code == 403
    assert hop.get(sandbox.url("agent2", "/.well-known/agent-card.json")).status_code == 200  # nobody acts for anybody
    hop.stop()
    lines = lines_of(hop.audit)
    assert [(line["result"], line["cache"], line.get("code")) for line in lines] == [
        ("granted", "miss", None),
        ("granted", "hit", None),
        ("refused", "miss", "subject_token_invalid"),
        ("refused", "negative", "subject_token_invalid"),
        ("refused", "none", "subject_token_missing"),
        ("refused", "none", "destination_denied"),
        ("refused", "none", "destination_denied"),
    ]
    first, hit = lines[0], lines[1]
    assert [leg["leg"] for leg in first["legs"]] == ["id_jag", "access_token"]
    assert [leg["status"] for leg in first["legs"]] == [200, 200] and "legs" not in hit
    assert (first["agent"], first["connection"], first["scopes"]) == ("agent1", "agent2", "chat.read chat.history")
    for line in (first, hit):
        assert line["subject_iss"] == sandbox.issuer() and line["subject_verified"] is True
        assert line["subject_sub"] == harness.decode(alice)[1]["sub"]
        assert line["issued_scopes"] == "chat.read chat.history"
    assert first["issued_jti"] == hit["issued_jti"] and first["trace_id"] != hit["trace_id"]
    assert lines[2]["oauth_error"] == lines[3]["oauth_error"] == "invalid_grant"
    assert lines[2]["subject_sub"] == harness.decode(carol)[1]["sub"]
    assert lines[6]["connection"] == "agent2" and lines[6]["agent"] == "agent2"
    for token in (alice, carol):
        assert token.rsplit(".", 1)[1] not in hop.audit.read_text()


def test_what_is_passed_through_is_a_decision(sandbox, audited):
    """No exchange vouches for anybody there, so that the line must say who was let through."""

    def configure(config):
        (agent2,) = [connection for connection in config["connections"] if connection["name"] == "agent2"]
        config["connections"] = [{key: agent2[key] for key in ("name", "url", "agents")} | {"type": "passthrough"}]

    hop = audited(configure)
    hop.get(whoami(sandbox), sandbox.mint())
    hop.stop()
    (line,) = lines_of(hop.audit)
    assert (line["result"], line["cache"], line["connection"], line["agent"]) == ("granted", "none", "agent2", "agent1")
    assert "issued_jti" not in line and "legs" not in line


def test_what_goes_on_unmatched_is_a_decision(sandbox, audited, origin):
    """Let through or refused, each request and each tunnel is one line, written before a byte goes on."""
    seen = origin()
    dead = harness.free_port()

    def configure(config):
        config["unmatched"] = "forward"
        config["egress"]["allow"] += [seen.address, f"127.0.0.1:{dead}"]
        config["egress"]["connect_ports"] = [seen.port, dead]

    hop = audited(configure)
    assert hop.get(seen.url("/a")).status_code == 200
    assert hop.get(seen.url("/b")).status_code == 200  # over a connection that is there already
    with Connection(hop.port) as tunnel:
        assert tunnel.send(f"CONNECT {seen.address} HTTP/1.1\r\nHost: {seen.address}\r\n\r\n".encode()).read("HEAD").status == 200
        wait_until(lambda: len(lines_of(hop.audit)) == 3)  # while it is open
        assert tunnel.send(f"GET /c HTTP/1.1\r\nHost: {seen.address}\r\n\r\n".encode()).read().status == 200
    for authority, status in ((f"127.0.0.1:{dead}", 502), ("127.0.0.1:1", 403)):
        with Connection(hop.port) as tunnel:
            assert tunnel.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()).read().status == status
    assert hop.get("http://10.1.2.3/x").status_code == 403
    hop.stop()
    lines = lines_of(hop.audit)
    assert [(line["result"], line["method"], line["host"], line.get("code")) for line in lines] == [
        ("forwarded", "GET", seen.address, None),
        ("forwarded", "GET", seen.address, None),
        ("forwarded", "CONNECT", seen.address, None),
        ("refused", "CONNECT", f"127.0.0.1:{dead}", "origin_failed"),
        ("refused", "CONNECT", "127.0.0.1:1", "destination_denied"),
        ("refused", "GET", "10.1.2.3", "destination_denied"),
    ]
    assert all(line["agent"] == "agent1" and line["listener"] and line["client"] and "connection" not in line for line in lines)
    access = [json.loads(line) for line in hop.output.splitlines()]
    assert {line["trace_id"] for line in access} == {line["trace_id"] for line in lines} and len(access) == len(lines)
    assert len(seen.requests) == 3


def test_refusals_before_any_connection_is_known(sandbox, audited, tmp_path):
    def configure(config):
        del config["listeners"][0]["agent"]
        secret = tmp_path / "caller.pw"
        secret.write_text("a password\n")
        secret.chmod(0o600)
        config["callers"] = [{"name": "team", "agent": "agent1", "basic": {"user": "u", "password_file": str(secret)}}]

    hop = audited(configure)
    port = int(hop.config["listeners"][0]["address"].rsplit(":", 1)[1])
    user = "Proxy-Authorization: Basic " + base64.b64encode(b"u:a password").decode()
    for asked, status in (
        (request(whoami(sandbox), sandbox.mint()), 407),
        (b"CONNECT agent2.example.com:443 HTTP/1.1\r\nHost: agent2.example.com:443\r\n\r\n", 407),
        (f"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n{user}\r\n\r\n".encode(), 403),
    ):
        with Connection(port) as connection:
            assert connection.send(asked).read().status == status
    hop.stop()
    lines = lines_of(hop.audit)
    assert [(line["result"], line["code"], line["method"], line.get("caller")) for line in lines] == [
        ("refused", "caller_unauthenticated", "GET", None),
        ("refused", "caller_unauthenticated", "CONNECT", None),
        ("refused", "destination_denied", "CONNECT", "team"),
    ]


def test_who_acted_before(sandbox, audited):
    hop = audited()
    token = sandbox.mint(user="alice", audience="agent2", type="access_token", client="agent1", chain=1)
    assert hop.get(sandbox.url("agent3", "/a2a/whoami"), token, agent="agent2").status_code == 200
    hop.stop()
    (line,) = lines_of(hop.audit)
    assert line["actors"] == [sandbox.client_id("agent1")] and line["chain_length"] == 1


def test_a_second_try_is_a_decision(sandbox, audited):
    hop = audited()
    sandbox.settings(introspect=True)
    token = sandbox.mint()
    assert hop.get(whoami(sandbox), token).status_code == 200
    sandbox.revoke()
    assert hop.get(whoami(sandbox), token).status_code == 200
    hop.stop()
    assert [line["cache"] for line in lines_of(hop.audit)] == ["miss", "hit", "retried"]


def test_a_second_try_with_a_value_that_was_renewed(audited, origin, tmp_path):
    value = tmp_path / "api.key"

    def renew(text):
        value.write_text(text)
        value.chmod(0o600)

    def configure(config):
        config["egress"]["allow"].append(server.address)
        config["connections"] = [{"name": "api", "url": server.url("/"), "type": "static", "agents": ["agent1"], "value_file": str(value), "allow_cleartext": True}]

    def answer(asked):
        if asked.get("Authorization") == "Bearer new":
            return response(b"ok")
        renew("new")
        hop.reload()
        wait_until(lambda: "config.reloaded" in hop.stderr)
        return response(b"no", 401)

    renew("old")
    server = origin(answer)
    hop = audited(configure)
    assert hop.get(server.url("/x")).status_code == 200
    hop.stop()
    assert [(line["result"], line["cache"]) for line in lines_of(hop.audit)] == [("granted", "none"), ("granted", "retried")]


def test_audit_verify(sandbox, audited, tmp_path):
    hop = audited()
    for n in range(4):
        assert hop.get(whoami(sandbox), sandbox.mint(nonce=str(n))).status_code == 200
    hop.stop()
    done = verify(hop.audit)
    assert done.returncode == 0 and "4 lines, seq 1 to 4, unbroken" in done.stdout, done
    digest = done.stdout.rsplit(" ", 1)[1].strip()
    assert verify("--last", digest, hop.audit).returncode == 0
    lines = hop.audit.read_text().splitlines(keepends=True)
    changed = tmp_path / "changed.jsonl"
    for what, text, where in [
        ("was changed", [lines[0].replace('"agent1"', '"agent7"'), *lines[1:]], ":2:"),
        ("are missing: 2 to 3", [lines[0], lines[3]], ":2:"),
        ("not above", [lines[0], lines[1], lines[1]], ":3:"),
        ("not a sealed line", [lines[0], '{"result":"granted"}\n', lines[1]], ":2:"),
    ]:
        changed.write_text("".join(text))
        done = verify(changed)
        assert done.returncode == 1 and what in done.stdout and f"changed.jsonl{where}" in done.stdout, done


@pytest.fixture
def four(sandbox, audited):
    """An audit log of four lines, as bytes, and the digest of each."""
    hop = audited()
    for n in range(4):
        assert hop.get(whoami(sandbox), sandbox.mint(nonce=str(n))).status_code == 200
    hop.stop()
    lines = hop.audit.read_bytes().splitlines(keepends=True)
    assert len(lines) == 4
    return lines, [hashlib.sha256(line.rstrip(b"\n")).hexdigest() for line in lines]


def test_each_byte_counts(four, tmp_path):
    lines, _ = four
    changed = tmp_path / "changed.jsonl"
    for what, content in {
        "behind a NUL": [lines[0], lines[1][:-1] + b'\0{"result":"granted"}\n', *lines[2:]],
        "behind a NUL of the last": [*lines[:3], lines[3][:-1] + b'\0{"result":"granted"}\n'],
        "a NUL in the last": [*lines[:3], lines[3].replace(b"agent1", b"agent\0")],
        "a tab in the last": [*lines[:3], lines[3].replace(b"agent1", b"agent\t")],
        "no UTF-8 in the last": [*lines[:3], lines[3].replace(b"agent1", b"agent\xff")],
        "CR LF": [line[:-1] + b"\r\n" for line in lines],
        "no end of the last": [*lines[:3], lines[3][:-1]],
        "an empty line": [*lines, b"\n"],
        "NULs at the end": [*lines, b"\0\0\0"],
        "a space": [lines[0].replace(b"{", b"{ "), *lines[1:]],
    }.items():
        changed.write_bytes(b"".join(content))
        done = verify(changed)
        assert done.returncode == 1 and "broken" in done.stdout.replace("unbroken", ""), (what, done)


def test_what_only_a_kept_digest_shows(four, tmp_path):
    """Each of these leaves a chain that is whole."""
    lines, digests = four
    changed = tmp_path / "changed.jsonl"

    def check(content, expected, *args):
        changed.write_bytes(b"".join(content))
        done = verify(*args, changed)
        assert done.returncode == expected, (args, done)
        return done.stdout

    check(lines, 0, "--last", digests[3], "--after", "0", "--contains", f"{digests[1]},{digests[3]}")
    for cut in (lines[:3], []):
        check(cut, 0)
        check(cut, 1, "--last", digests[3])
        assert digests[3] in check(cut, 1, "--contains", digests[3])
    edited = [*lines[:3], lines[3].replace(b'"agent1"', b'"agent7"')]
    check(edited, 0)
    check(edited, 1, "--last", digests[3])
    check(edited, 1, "--contains", digests[3])
    assert "begins with seq 3" in check(lines[2:], 0)
    check(lines[2:], 1, "--after", "0")
    check(lines[2:], 1, "--after", digests[0])
    check(lines[2:], 0, "--after", digests[1])
    check(lines[2:], 0, "--contains", digests[1])  # the first line names it
    check(lines[2:], 1, "--contains", digests[0])


def test_digests_among_a_log(four, tmp_path):
    lines, digests = four
    audit, log = tmp_path / "changed.jsonl", tmp_path / "log"
    log.write_text(f"no digest: {'a' * 63} {'b' * 65}\nlevel=info digest={digests[0]} lines=1\n" + json.dumps({"digest": digests[2]}))
    audit.write_bytes(b"".join(lines))
    done = verify("--anchors", log, audit)
    assert done.returncode == 0 and "2 digests looked for" in done.stdout, done
    audit.write_bytes(b"".join(lines[:2]))
    done = verify("--anchors", log, audit)
    assert done.returncode == 1 and f"no line has the digest {digests[2]}" in done.stdout, done
    log.write_text("nothing here\n")
    assert verify("--anchors", log, audit).returncode == 2


@pytest.mark.parametrize(
    "args",
    [[], ["/nonexistent/audit"], ["--last", "abc", "/dev/null"], ["/"], ["--contains", "", "/dev/null"], ["--contains", "a" * 64 + ",", "/dev/null"], ["--after", "1", "/dev/null"], ["--anchors", "/nonexistent", "/dev/null"]],
)
def test_audit_verify_usage(args):
    done = verify(*args)
    assert done.returncode == 2 and done.stderr.startswith("tokenhop audit: "), done


def test_the_ordinary_log_has_anchors(sandbox, audited, tmp_path):
    """The end is cut off while nothing runs, and more is written: the chain is whole, but for what was kept."""
    hop = audited()
    for n in range(3):
        assert hop.get(whoami(sandbox), sandbox.mint(nonce=str(n))).status_code == 200
    hop.stop()
    log = tmp_path / "log"
    log.write_text(hop.stderr)
    assert "audit.anchor" in hop.stderr and verify("--anchors", log, hop.audit).returncode == 0
    hop.audit.write_bytes(hop.audit.read_bytes().splitlines(keepends=True)[0])
    hop = audited()
    for n in range(3, 6):
        assert hop.get(whoami(sandbox), sandbox.mint(nonce=str(n))).status_code == 200
    hop.stop()
    assert hop.stderr.count("audit.anchor") == 2 and verify(hop.audit).returncode == 0
    done = verify("--anchors", log, hop.audit)
    assert done.returncode == 1 and "no line has the digest" in done.stdout, done


def test_goes_on_after_a_restart_and_a_rotation(sandbox, audited, tmp_path):
    for n in range(2):
        hop = audited()
        assert hop.get(whoami(sandbox), sandbox.mint(nonce=f"{n}")).status_code == 200
        hop.stop()
    hop = audited()
    old = tmp_path / "audit.jsonl.1"
    hop.audit.rename(old)
    hop.reload()
    wait_until(hop.audit.exists)
    assert hop.get(whoami(sandbox), sandbox.mint(nonce="rotated")).status_code == 200
    hop.stop()
    done = verify(old, hop.audit)
    assert done.returncode == 0 and "seq 1 to 2, unbroken" in done.stdout and "seq 3 to 3, unbroken" in done.stdout, done
    assert verify(hop.audit, old).returncode == 1


def test_two_processes_make_one_chain(sandbox, tmp_path):
    """As when one is started before the other has ended."""
    path, hops = tmp_path / "audit.jsonl", []
    for name in "ab":
        (tmp_path / name).mkdir()
        config = harness.base_config(sandbox)
        config["log"] = {"audit_file": str(path)}
        hops.append(harness.Tokenhop(config, tmp_path / name).start())
    try:
        for n in range(6):
            assert hops[n % 2].get(whoami(sandbox), sandbox.mint(nonce=str(n))).status_code == 200
        old = tmp_path / "audit.jsonl.1"
        path.rename(old)
        hops[0].reload()
        wait_until(path.exists)
        for n in range(6, 12):
            assert hops[n % 2].get(whoami(sandbox), sandbox.mint(nonce=str(n))).status_code == 200
    finally:
        for hop in hops:
            hop.stop()
    done = verify(old, path)
    assert done.returncode == 0 and "seq 7 to 12, unbroken" in done.stdout, done


def test_nothing_is_delegated_that_cannot_be_written(sandbox, audited):
    """/dev/full is a disk that is full."""
    hop = audited(file="/dev/full")
    token = sandbox.mint()
    answer = hop.get(whoami(sandbox), token)
    assert answer.status_code == 503 and sandbox.requests("agent2") == 0
    assert answer.json()["code"] == "overloaded" and "audit" in answer.json()["title"].lower()
    arrived = sandbox.requests("agent2")
    assert hop.get(whoami(sandbox), token).status_code == 503
    assert sandbox.requests("agent2") == arrived
    assert hop.get(sandbox.url("agent2", "/.well-known/agent-card.json")).status_code == 200


def short_of_time(config):
    config.setdefault("timeouts", {})["exchange"] = f"{round(SLOW)}s"  # the first exchange is in it


def read_pipe(fd, parts, is_over):
    """What comes until it is over, and nothing is left."""
    while True:
        was_over = is_over.is_set()
        try:
            parts.append(os.read(fd, 1 << 20))
        except BlockingIOError:
            parts.append(b"")
        if was_over and not parts[-1]:
            return
        if not parts[-1]:
            is_over.wait(0.01)


def test_a_granted_line_is_one_that_went_on(sandbox, audited, tmp_path):
    """A pipe that nobody reads, then somebody does. Of each request the log says what became of it."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    hop = audited(short_of_time, file=path)
    token, statuses = sandbox.mint(), []
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
    with Connection(hop.port) as connection:
        while not statuses or statuses[-1] == 200:
            statuses.append(connection.send(request(whoami(sandbox), token)).read().status)
        assert statuses[-1] == 503 and len(statuses) < 20, statuses  # no more than the pipe holds
        arrived = sandbox.requests("agent2")
        assert connection.send(request(whoami(sandbox), token)).read().status == 503
        assert sandbox.requests("agent2") == arrived
        statuses.append(503)
        parts, is_over = [], threading.Event()
        reader = threading.Thread(target=read_pipe, args=(fd, parts, is_over), daemon=True)
        reader.start()
        assert connection.send(request(whoami(sandbox), token)).read().status == 200  # nothing has to fail first
    hop.stop()
    is_over.set()
    reader.join(30)
    os.close(fd)
    data = b"".join(parts)
    lines = [json.loads(line) for line in data.splitlines()]
    went_on = {line["trace_id"] for line in map(json.loads, hop.output.splitlines()) if line["status"] == 200}
    assert {line["trace_id"] for line in lines if line["result"] == "granted"} == went_on
    assert [line["code"] for line in lines if line["result"] == "refused"] == ["overloaded"] * 2
    copy = tmp_path / "read.jsonl"
    copy.write_bytes(data)
    done = verify(copy)
    assert done.returncode == 0, done


def ctl(hop, *command):
    done = subprocess.run([harness.binary("tokenhop"), "ctl", "-c", hop.file, *command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def figure(hop, name):
    return int(re.search(rf"^{name} (\d+)$", ctl(hop, "metrics"), re.M)[1])


def test_who_leaves_while_it_waits_is_not_granted(sandbox, audited, tmp_path):
    """Nothing went on for him: a pipe that is full, a client that resets, then somebody reads."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def configure(config):
        config.setdefault("timeouts", {})["exchange"] = "60s"
        config["admin"] = {"address": f"127.0.0.1:{harness.free_port()}"}

    hop = audited(configure, file=path)
    token, n_asked = sandbox.mint(), 0
    fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
    assert hop.get(whoami(sandbox), token).status_code == 200
    with open(path, "wb", buffering=0) as end:
        while select.select([], [end], [], 0)[1]:
            end.write(b"#" * 4096)
    arrived = sandbox.requests("agent2")
    with Connection(hop.port) as connection:
        connection.send(request(whoami(sandbox), token))
        wait_until(lambda: figure(hop, "tokenhop_hops_open") == 1)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: figure(hop, "tokenhop_hops_cancelled_total") == 1)
    parts, is_over = [], threading.Event()
    reader = threading.Thread(target=read_pipe, args=(fd, parts, is_over), daemon=True)
    reader.start()
    assert hop.get(whoami(sandbox), token).status_code == 200
    assert sandbox.requests("agent2") == arrived + 1
    hop.stop()
    is_over.set()
    reader.join(30)
    os.close(fd)
    lines = [json.loads(line) for line in b"".join(parts).replace(b"#", b"").splitlines()]
    assert [line["result"] for line in lines] == ["granted", "granted"]


def test_each_line_is_there_before_its_request(sandbox, audited, origin):
    seen = []

    def configure(config):
        config["unmatched"] = "forward"
        config["egress"]["allow"].append(server.address)
        config["egress"]["connect_ports"] = [server.port]

    def answer(asked):
        seen.append(len(lines_of(hop.audit)))
        return response(b"ok")

    server = origin(answer)
    hop = audited(configure)
    for n in range(5):
        assert hop.get(server.url(f"/{n}")).status_code == 200
    assert seen == [1, 2, 3, 4, 5]


def test_a_server_that_speaks_first(audited):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def configure(config):
            config["unmatched"] = "forward"
            config["egress"]["allow"].append(f"127.0.0.1:{port}")
            config["egress"]["connect_ports"] = [port]

        said = []

        def serve():
            for _ in range(5):
                peer, _ = listening.accept()
                with peer:
                    peer.sendall(b"220 ready\r\n")
                    said.append(peer.recv(100))

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        hop = audited(configure)
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", hop.port), 30) as client:
                client.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
                got = b""
                while not got.endswith(b"220 ready\r\n"):
                    got += client.recv(1000) or pytest.fail(got)
                client.sendall(b"bye")
        server.join(30)
        assert said == [b"bye"] * 5


def test_nothing_goes_on_unmatched_that_cannot_be_written(sandbox, audited, origin):
    seen = origin()

    def configure(config):
        config["unmatched"] = "forward"
        config["egress"]["allow"].append(seen.address)
        config["egress"]["connect_ports"] = [seen.port]

    hop = audited(configure, file="/dev/full")
    assert hop.get(seen.url("/a")).status_code == 503 and not seen.requests
    arrived = 0
    with Connection(hop.port) as tunnel:
        assert tunnel.send(f"CONNECT {seen.address} HTTP/1.1\r\nHost: {seen.address}\r\n\r\n".encode()).read().status == 503
    assert hop.get(seen.url("/b")).status_code == 503 and len(seen.requests) == arrived


def test_goes_on_where_it_is_said(sandbox, audited):
    hop = audited(file="/dev/full", audit_on_failure="continue")
    token = sandbox.mint()
    for _ in range(5):
        assert hop.get(whoami(sandbox), token).status_code == 200


def test_many_workers_make_one_chain(sandbox, audited):
    hop = audited(lambda config: config.update(workers=4))
    token = sandbox.mint()
    for _ in range(60):
        assert hop.get(whoami(sandbox), token).status_code == 200
    hop.stop()
    done = verify(hop.audit)
    assert done.returncode == 0 and "60 lines" in done.stdout, done
