"""Listeners on unix sockets, and callers that are known by the process at the other end."""

import base64
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

import pytest

import harness
from harness import wait_until
from rawnet import SLOW, Connection, request, response


@pytest.fixture
def folder():
    """Where others may look too."""
    with tempfile.TemporaryDirectory(prefix="tokenhop-unix-") as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


def figure(hop, name):
    pattern = re.compile(rf"^{re.escape(name)} (\d+)$", re.M)
    with Connection(hop.folder / "admin.sock") as admin:
        admin.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return int(pattern.search(admin.read().body.decode())[1])


@pytest.fixture
def listening(tokenhop, folder):
    """listening(mode=..., change=function(config)): tokenhop at a socket of its own, whose path is hop.socket."""

    def start(change=None, agents=("agent1",), **listener):
        def configure(config):
            config["listeners"] = [
                {"name": "sock", "address": f"unix:{folder}/agents.sock", "agent": "agent1", **listener}
            ]
            config["listeners"][0] = {k: v for k, v in config["listeners"][0].items() if v is not None}
            config["admin"] = {"address": "unix:admin.sock"}
            if change:
                change(config)

        hop = tokenhop(configure, agents=agents, alg="ES256")
        hop.socket = folder / "agents.sock"
        return hop

    return start


def call(path, sandbox, fields=(), token=None, target="agent2"):
    with Connection(path) as connection:
        url = sandbox.url(target, "/a2a/whoami")
        return connection.send(request(url, token or sandbox.mint(user="alice"), fields=fields)).read()


def test_a_request_over_a_unix_socket(sandbox, listening):
    hop = listening(socket_mode="0660")
    answer = call(hop.socket, sandbox)
    assert answer.status == 200 and answer.json()["chain"] == [sandbox.client_id("agent1")]
    mode = hop.socket.stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660
    hop.stop()
    assert not hop.socket.exists()
    line = json.loads(hop.output.splitlines()[-1])
    assert line["client"] == f"unix:uid={os.getuid()},gid={os.getgid()},pid={os.getpid()}"


def test_it_is_the_owners_alone_unless_said(sandbox, listening):
    assert stat.S_IMODE(listening().socket.stat().st_mode) == 0o600


def test_its_group_by_number(sandbox, listening):
    hop = listening(socket_group="4321", socket_mode="0660")
    assert hop.socket.stat().st_gid == 4321 and stat.S_IMODE(hop.socket.stat().st_mode) == 0o660


def test_what_a_killed_one_left_is_taken_over(sandbox, listening):
    hop = listening()
    hop.process.kill()
    hop.process.wait()
    assert hop.socket.exists()
    hop.stop(expect=-signal.SIGKILL)
    hop.start()
    assert call(hop.socket, sandbox).status == 200


def test_a_socket_that_is_in_use_is_left_alone(sandbox, listening, tmp_path):
    hop = listening()
    config = {**hop.config, "admin": {"address": "unix:other.sock"}}
    file = tmp_path / "second.jsonc"
    file.write_text(json.dumps(config))
    done = subprocess.run([harness.binary("tokenhop"), "run", "-c", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "another tokenhop answers there" in done.stderr and str(hop.socket) in done.stderr
    assert call(hop.socket, sandbox).status == 200


def test_a_file_that_is_no_socket_is_left_alone(sandbox, listening, folder):
    (folder / "agents.sock").write_text("precious")
    with pytest.raises(AssertionError, match="before it listened"):
        listening()
    assert (folder / "agents.sock").read_text() == "precious"


def test_modes(sandbox, listening, folder):
    """Several listeners, each with its own mode and agent."""

    def change(config):
        config["listeners"] += [
            {"name": "gate", "address": f"unix:{folder}/gate.sock", "agent": "agent2", "mode": "gateway", "scheme": "http"},
            {"name": "ask", "address": f"unix:{folder}/ask.sock", "agent": "agent1", "mode": "authz", "scheme": "http"},
            {"name": "tcp", "address": f"127.0.0.1:{harness.free_port()}", "agent": "agent2", "mode": "forward"},
        ]

    hop = listening(change, agents=("agent1", "agent2"))
    assert call(hop.socket, sandbox).json()["chain"] == [sandbox.client_id("agent1")]
    second = sandbox.mint(user="alice", audience="agent2", type="access_token", client="agent1", chain=1)
    host = sandbox.resource("agent3").split("/")[2]
    done = subprocess.run(  # an ordinary client
        ["curl", "-s", "--noproxy", "*", "--unix-socket", folder / "gate.sock", "-H", f"Authorization: Bearer {second}", f"http://{host}/a2a/whoami"],
        capture_output=True, text=True, timeout=60,
    )
    assert json.loads(done.stdout)["chain"][0] == sandbox.client_id("agent2"), done
    with Connection(folder / "ask.sock") as data_plane:
        host = sandbox.resource("agent2").split("/")[2]
        token = sandbox.mint(user="alice")
        data_plane.send(f"GET /a2a/whoami HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n")
        answer = data_plane.read()
    assert answer.status == 200 and answer.get("Authorization").startswith("Bearer ")
    tcp = int(hop.config["listeners"][3]["address"].rsplit(":", 1)[1])
    assert call(tcp, sandbox, token=second, target="agent3").json()["chain"][0] == sandbox.client_id("agent2")
    hop.stop()
    lines = [json.loads(line) for line in hop.output.splitlines()]
    assert sorted((line["listener"], line["agent"]) for line in lines) == [
        ("ask", "agent1"), ("gate", "agent2"), ("sock", "agent1"), ("tcp", "agent2")
    ]


def test_a_tunnel_and_a_large_body(sandbox, listening, origin):
    """CONNECT over a unix socket; much goes both ways."""
    body = os.urandom(3_000_000)
    seen = origin(lambda asked: response(asked.body))

    def change(config):
        config["unmatched"] = "forward"
        config["egress"] = {"allow": [seen.address], "connect_ports": [seen.port]}
        config["connections"] = []

    hop = listening(change)
    with Connection(hop.socket) as tunnel:
        assert tunnel.send(f"CONNECT {seen.address} HTTP/1.1\r\nHost: {seen.address}\r\n\r\n").read("HEAD").status == 200
        head = f"POST /x HTTP/1.1\r\nHost: {seen.address}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        threading.Thread(target=tunnel.send, args=(head + body,), daemon=True).start()
        assert tunnel.read().body == body
    with Connection(hop.socket) as plain:
        whole = request(seen.url(), method="POST", body=body)
        threading.Thread(target=plain.send, args=(whole,), daemon=True).start()
        assert plain.read().body == body


def test_a_reload_keeps_the_socket(sandbox, listening):
    hop = listening(socket_mode="0660")
    before = hop.socket.stat()
    with Connection(hop.socket) as kept:
        ask = request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice"))
        assert kept.send(ask).read().status == 200
        hop.config["timeouts"] = {"idle": "80s"}
        hop.reload()
        wait_until(lambda: "config.reloaded" in hop.stderr)
        assert kept.send(ask).read().status == 200
    after = hop.socket.stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    assert call(hop.socket, sandbox).status == 200


@pytest.mark.parametrize("changed", [{"socket_mode": "0666"}, {"address": "unix:elsewhere.sock"}, {"mode": "gateway"}])
def test_a_reload_moves_no_socket(sandbox, listening, changed):
    hop = listening(socket_mode="0660")
    hop.config["listeners"][0].update(changed)
    hop.reload()
    wait_until(lambda: "config.kept" in hop.stderr)
    assert "a listener cannot be moved" in hop.stderr and stat.S_IMODE(hop.socket.stat().st_mode) == 0o660
    assert call(hop.socket, sandbox).status == 200


def test_who_holds_it_open_does_not_keep_it_from_ending(sandbox, listening):
    hop = listening()
    idle = Connection(hop.socket)
    wait_until(lambda: figure(hop, "tokenhop_client_connections_open") == 1)
    hop.stop()
    assert idle.is_closed() and not hop.socket.exists()


# --- many workers, one socket ---


def switches(hop):
    """How often the threads of workers went to sleep."""
    total = 0
    for task in pathlib.Path(f"/proc/{hop.pid}/task").iterdir():
        if (task / "comm").read_text().startswith("worker-"):
            total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", (task / "status").read_text(), re.M)[1])
    return total


@pytest.mark.threads
def test_a_connection_wakes_few_workers(sandbox, listening):
    """Of 16 that share the socket: the one that accepts, and the one that serves. If each watched it, all would wake."""
    n = 400

    def change(config):
        config["workers"] = 16

    hop = listening(change)
    for _ in range(32):
        Connection(hop.socket).close()
    wait_until(lambda: figure(hop, "tokenhop_client_connections_open") == 0)
    before = switches(hop)
    for _ in range(n):
        with Connection(hop.socket) as each:
            each.send("GET /x HTTP/1.1\r\n\r\n").read()  # 400: served, and nothing else is done
    each_time = (switches(hop) - before) / n
    print(f"{each_time} wake-ups")
    assert each_time < 8, f"{each_time} wake-ups for each connection"


@pytest.mark.threads
def test_connections_are_dealt_to_all_workers(sandbox, listening):
    def change(config):
        config["workers"] = 4

    hop = listening(change)
    kept = [Connection(hop.socket) for _ in range(40)]
    token = sandbox.mint(user="alice")
    for each in kept:
        each.send(request(sandbox.url("agent2", "/a2a/whoami"), token))
    assert all(each.read().status == 200 for each in kept)
    hop.stop()
    served = [json.loads(line)["worker"] for line in hop.output.splitlines()]
    assert {worker: served.count(worker) for worker in range(4)} == {0: 10, 1: 10, 2: 10, 3: 10}
    assert all(each.is_closed() for each in kept)


@pytest.mark.threads
def test_it_ends_while_connections_come(sandbox, listening):
    def change(config):
        config["workers"] = 4

    hop = listening(change)
    ended = threading.Event()

    def knock():
        while not ended.is_set():
            try:
                with Connection(hop.socket) as each:
                    each.send("GET /x HTTP/1.1\r\n\r\n").read()
            except (OSError, EOFError):
                pass

    knockers = [threading.Thread(target=knock) for _ in range(4)]
    for each in knockers:
        each.start()
    time.sleep(0.3 * SLOW)
    hop.stop()
    ended.set()
    for each in knockers:
        each.join()
    assert not hop.socket.exists()


def test_limits_hold_over_a_unix_socket(sandbox, listening):
    hop = listening(lambda config: config.update(limits={"connections": 2}))
    wait_until(lambda: figure(hop, "tokenhop_client_connections_open") == 0)  # who looked whether it is open has gone
    kept = [Connection(hop.socket) for _ in range(2)]
    for wire in kept:
        assert wire.send(request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())).read().status == 200
    wait_until(lambda: figure(hop, "tokenhop_client_connections_open") == 2)
    with Connection(hop.socket) as third:
        assert third.read().status == 503
    kept.pop().close()
    wait_until(lambda: figure(hop, "tokenhop_client_connections_open") == 1)
    assert call(hop.socket, sandbox).status == 200


# --- who is at the other end ---

ASK = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.stdin.buffer.read())
got = b""
while piece := s.recv(65536):
    got += piece
sys.stdout.buffer.write(got)
"""


def ask_as(path, sandbox, uid, gid=4000, groups=(), fields=(), target="agent2", token=None):
    url = sandbox.url(target, "/a2a/whoami")
    whole = request(url, token or sandbox.mint(user="alice"), fields=["Connection: close", *fields])
    done = subprocess.run(
        [sys.executable, "-I", "-c", ASK, path], input=whole, user=uid, group=gid, extra_groups=list(groups), capture_output=True,
        timeout=60,
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head, done
    return int(head.split()[1]), head.decode(), json.loads(body)


@pytest.fixture
def peers(listening, tmp_path):
    password = tmp_path / "pw"
    password.write_text("password-of-basic")
    password.chmod(0o600)

    def change(config):
        config["workers"] = 1
        config["callers"] = [
            {"name": "by-uid", "agent": "agent1", "unix": {"uid": 5001}},
            {"name": "by-gid", "agent": "agent2", "unix": {"gid": 6001}},
            {"name": "by-user", "agent": "agent1", "unix": {"user": "daemon"}},
            {"name": "by-group", "agent": "agent1", "unix": {"group": "games"}},
            {"name": "by-password", "agent": "agent1", "basic": {"user": "b", "password_file": str(password)}},
        ]
        config["log"] = {"audit_file": str(tmp_path / "audit.jsonl")}

    hop = listening(change, agents=("agent1", "agent2"), agent=None, socket_mode="0666")
    hop.audit = tmp_path / "audit.jsonl"
    return hop


def test_r15_callers_by_their_process(sandbox, peers):
    games = next(int(line.split(":")[2]) for line in open("/etc/group") if line.startswith("games:"))
    second = sandbox.mint(user="alice", audience="agent2", type="access_token", client="agent1", chain=1)
    agent1, agent2 = sandbox.client_id("agent1"), sandbox.client_id("agent2")
    status, _, who = ask_as(peers.socket, sandbox, 5001)
    assert status == 200 and who["chain"] == [agent1]
    status, _, who = ask_as(peers.socket, sandbox, 5002, gid=6001, target="agent3", token=second)
    assert status == 200 and who["chain"][0] == agent2
    # a supplementary group, among many
    status, _, who = ask_as(peers.socket, sandbox, 5002, groups=[*range(7000, 7100), 6001], target="agent3", token=second)
    assert status == 200 and who["chain"][0] == agent2
    status, _, who = ask_as(peers.socket, sandbox, 1)
    assert status == 200 and who["chain"] == [agent1]
    status, _, who = ask_as(peers.socket, sandbox, 5003, groups=[games])
    assert status == 200 and who["chain"] == [agent1]
    # the user goes before the group
    status, _, who = ask_as(peers.socket, sandbox, 5001, gid=6001)
    assert status == 200 and who["chain"] == [agent1]
    # nobody gets to use another's agent, nor its connections
    status, _, who = ask_as(peers.socket, sandbox, 5002, gid=6001)
    assert status == 403 and who["code"] == "destination_denied"
    # who is none of them, root too
    for uid, gid in ((5004, 4000), (6001, 5001), (0, 0)):
        status, head, who = ask_as(peers.socket, sandbox, uid, gid=gid)
        assert status == 407 and who["code"] == "caller_unauthenticated" and "Proxy-Authenticate" in head
    peers.stop()
    lines = [json.loads(line) for line in peers.output.splitlines()]
    callers = ["by-uid", "by-gid", "by-gid", "by-user", "by-group", "by-uid", "by-gid"]
    assert [line.get("caller") for line in lines if line["status"] != 407] == callers
    audited = [json.loads(line) for line in peers.audit.read_text().splitlines()]
    assert [line["caller"] for line in audited if "caller" in line] == callers
    assert re.fullmatch(r"unix:uid=5001,gid=4000,pid=\d+", lines[0]["client"])


def test_what_a_request_says_goes_before_its_process(sandbox, peers):
    def basic(text):
        return ["Proxy-Authorization: Basic " + base64.b64encode(text.encode()).decode()]

    assert ask_as(peers.socket, sandbox, 5002, gid=6001, fields=basic("b:password-of-basic"))[0] == 200
    assert ask_as(peers.socket, sandbox, 5001, fields=basic("b:wrong"))[0] == 407
    assert ask_as(peers.socket, sandbox, 5001, fields=[*basic("b:password-of-basic"), *basic("b:password-of-basic")])[0] == 407


def test_a_reload_takes_a_process_away(sandbox, listening):
    def change(config):
        config["callers"] = [{"name": "me", "agent": "agent1", "unix": {"uid": os.getuid()}}]

    hop = listening(change, agent=None)
    port = sandbox.port("agent2")
    token = sandbox.mint(user="alice")
    ask = request(sandbox.url("agent2", "/a2a/whoami"), token)
    inside = f"GET /a2a/whoami HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    with Connection(hop.socket) as kept, Connection(hop.socket) as tunnel:
        assert kept.send(ask).read().status == 200
        opened = tunnel.send(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").read("HEAD")
        assert opened.status == 200 and tunnel.send(inside).read().status == 200
        hop.config["callers"][0]["unix"]["uid"] = 12345
        hop.reload()
        wait_until(lambda: "config.reloaded" in hop.stderr)
        assert kept.send(ask).read().status == 403
        assert tunnel.send(inside).read().status == 403


def test_over_tcp_nobody_is_a_process(sandbox, tokenhop):
    def configure(config):
        del config["listeners"][0]["agent"]
        config["listeners"][0]["name"] = "tcp"
        config["callers"] = [{"name": name, "agent": "agent1", "unix": who} for name, who in
                             (("root", {"uid": 0}), ("wheel", {"gid": 0}), ("me", {"uid": os.getuid() or 1}))]

    hop = tokenhop(configure)
    port = int(hop.config["listeners"][0]["address"].rsplit(":", 1)[1])
    assert call(port, sandbox).status == 403


def test_check_and_explain_know_them(sandbox, listening):
    def change(config):
        config["callers"] = [{"name": "me", "agent": "agent1", "unix": {"uid": 5001}}]

    hop = listening(change)
    run = lambda *words: subprocess.run([harness.binary("tokenhop"), *words, "-c", hop.file], capture_output=True, text=True, timeout=60)
    done = run("check")
    assert done.returncode == 0 and "1 listener" in done.stdout, done
    done = run("explain", sandbox.url("agent2", "/a2a/x"))
    assert done.returncode == 0 and f'listener "sock" (unix:{hop.socket})' in done.stdout and 'caller "me", uid 5001 of a unix socket' in done.stdout, done
    hop.config["callers"][0]["unix"] = {"user": "no-such-user"}
    hop.write()
    done = run("check")
    assert done.returncode == 2 and "$.callers[0].unix.user" in done.stderr and "no user of that name" in done.stderr, done
