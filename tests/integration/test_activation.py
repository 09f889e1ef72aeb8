"""Sockets that a supervisor opened and hands over, and what it is told."""

import configparser
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

import pytest

import harness
from harness import wait_until
from rawnet import SLOW, Connection, request

# What systemd does before it executes: descriptors from 3 on, LISTEN_PID is the process itself.
LAUNCHER = """
import os, sys
names, pid, fds, *argv = sys.argv[1:]
fds = [int(fd) for fd in fds.split(",") if fd]
kept = [os.dup(fd) for fd in fds]
kept = [fd if fd > 100 else __import__("fcntl").fcntl(fd, 0, 100) for fd in kept]
for at, fd in enumerate(kept):
    os.dup2(fd, 3 + at, inheritable=True)
os.environ["LISTEN_PID"] = pid or str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(fds))
if names != "-":
    os.environ["LISTEN_FDNAMES"] = names
os.execv(argv[0], argv)
"""


class Activated(harness.Tokenhop):
    """`sockets`: pairs of a name and a listening socket."""

    def __init__(self, config, folder, sockets, names=None, pid="", env=None):
        super().__init__(config, folder, env=env)
        self.sockets, self.names, self.pid_text = sockets, names, pid

    def spawn(self):
        self.write()
        names = self.names if self.names is not None else ":".join(name for name, _ in self.sockets)
        fds = [s.fileno() for _, s in self.sockets]
        argv = [sys.executable, "-I", "-c", LAUNCHER, names, self.pid_text, ",".join(map(str, fds)), harness.binary("tokenhop"), "run", "-c", self.file]
        self._spawn(argv, env=self.env, pass_fds=fds)
        self._read_in_thread(self._read_output)
        return self

    def start(self):
        self.spawn()
        wait_until(lambda: "service.ready" in self.stderr or not self.is_running(), 30 * SLOW)
        assert self.is_running(), self.stderr
        return self

    def fails(self):
        """It ends by itself, with the status of a wrong configuration; returns what it said."""
        self.spawn()
        assert self.process.wait(30 * SLOW) == 2
        return self.stop(expect=2)


@pytest.fixture
def sockets():
    made = []
    with tempfile.TemporaryDirectory(prefix="tokenhop-act-") as folder:

        def make(kind="tcp"):
            if kind == "tcp":
                s = socket.create_server(("127.0.0.1", 0))
            elif kind == "tcp6":
                s = socket.create_server(("::1", 0), family=socket.AF_INET6)
            else:
                s = socket.socket(socket.AF_UNIX)
                s.bind(f"{folder}/{len(made)}.sock")
                s.listen()
            made.append(s)
            return s

        yield make
        for each in made:
            each.close()


@pytest.fixture
def activated(sandbox, tmp_path):
    started = []

    def make(listeners, sockets, change=None, **more):
        config = harness.base_config(sandbox, alg="ES256")
        config["listeners"] = [{"name": f"l{i}", "agent": "agent1", **listener} for i, listener in enumerate(listeners)]
        config["admin"] = {"address": "unix:admin.sock"}
        if change:
            change(config)
        folder = tmp_path / f"activated{len(started)}"
        folder.mkdir()
        started.append(Activated(config, folder, sockets, **more))
        return started[-1]

    yield make
    for each in started:
        each.stop()


def place(s):
    name = s.getsockname()
    return name if isinstance(name, str) else name[1]


def ask(where, sandbox):
    with Connection(where) as connection:
        return connection.send(request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice"))).read().status


def test_each_listener_takes_its_own(sandbox, activated, sockets):
    tcp, unix = sockets(), sockets("unix")
    hop = activated([{"address": "systemd:unix"}, {"address": "systemd:tcp.socket"}], [("tcp.socket", tcp), ("unix", unix)],
                    lambda config: config.update(workers=2)).start()
    for _ in range(4):
        assert ask(place(tcp), sandbox) == 200 and ask(place(unix), sandbox) == 200
    hop.stop()
    lines = [json.loads(line) for line in hop.output.splitlines()]
    assert [line["listener"] for line in lines].count("l1") == 4 and {line["worker"] for line in lines} == {0, 1}
    seen = {line["listener"]: line["client"] for line in lines}
    assert re.fullmatch(r"127\.0\.0\.1:\d+", seen["l1"]) and seen["l0"] == f"unix:uid={os.getuid()},gid={os.getgid()},pid={os.getpid()}"
    assert os.path.exists(place(unix))  # it is the supervisor's


def test_the_socket_outlives_the_service(sandbox, activated, sockets):
    """What comes between two of them waits, and is served by the next."""
    tcp = sockets()
    hop = activated([{"address": "systemd:a"}], [("a", tcp)]).start()
    assert ask(place(tcp), sandbox) == 200
    hop.stop()
    waiting = Connection(place(tcp)).send(request(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice")))
    hop.start()
    with waiting:
        assert waiting.read().status == 200


def test_several_of_one_name(sandbox, activated, sockets):
    several = [sockets(), sockets("unix"), sockets(), sockets("unix")]
    hop = activated([{"address": "systemd:a"}], [("a", s) for s in several], lambda config: config.update(workers=2)).start()
    for s in several:
        assert ask(place(s), sandbox) == 200
    hop.stop()


def test_without_names_they_are_unknown(sandbox, activated, sockets):
    tcp = sockets()
    activated([{"address": "systemd:unknown"}], [("", tcp)], names="-").start()
    assert ask(place(tcp), sandbox) == 200


def test_r10_it_does_not_connect_to_itself(sandbox, activated, sockets):
    """The configuration does not know where the socket is; the process does."""
    tcp = sockets()

    def change(config):
        config["unmatched"] = "forward"
        config["egress"]["allow"] = ["127.0.0.0/8"]

    activated([{"address": "systemd:a"}], [("a", tcp)], change).start()
    with Connection(place(tcp)) as connection:
        answer = connection.send(request(f"http://127.0.0.1:{place(tcp)}/x")).read()
    assert json.loads(answer.body)["code"] == "loop_detected", answer.body


@pytest.mark.parametrize("kind", ["unclaimed", "missing", "datagram", "silent", "another_process", "names"])
def test_what_does_not_fit_is_an_error_at_start(activated, sockets, kind):
    tcp = sockets()
    listeners, given, more = [{"address": "systemd:a"}], [("a", tcp)], {}
    said = {"unclaimed": "a socket was handed over that no listener takes", "missing": "no socket of this name was handed over",
            "datagram": "no stream socket", "silent": "does not listen", "another_process": "no socket of this name was handed over",
            "names": "these are more names than LISTEN_FDS"}[kind]
    if kind == "unclaimed":
        given.append(("b", sockets()))
    elif kind == "missing":
        listeners.append({"address": "systemd:b"})
    elif kind == "datagram":
        given[0] = ("a", socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    elif kind == "silent":
        given[0] = ("a", socket.socket())
    elif kind == "another_process":
        more["pid"] = "1"
    else:
        more["names"] = "a:b"
    assert said in activated(listeners, given, **more).fails()


def test_a_plain_start_has_none(sandbox, activated, sockets, tmp_path):
    config = harness.base_config(sandbox, alg="ES256")
    config["listeners"][0]["address"] = "systemd:a"
    file = tmp_path / "t.jsonc"
    file.write_text(json.dumps(config))
    run = lambda word: subprocess.run([harness.binary("tokenhop"), word, "-c", file], capture_output=True, text=True, timeout=60)
    assert run("check").returncode == 0
    done = run("run")
    assert done.returncode == 2 and "no socket of this name was handed over" in done.stderr and "systemd:a" in done.stderr


# --- what the supervisor is told ---


@pytest.mark.parametrize("abstract", [False, True])
def test_the_supervisor_is_told(sandbox, activated, sockets, tmp_path, abstract):
    where = f"\0tokenhop-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(where)
        supervisor.settimeout(30 * SLOW)
        hop = activated([{"address": "systemd:a"}], [("a", sockets())], env={"NOTIFY_SOCKET": where.replace("\0", "@")}).start()
        assert supervisor.recv(1000) == b"READY=1"
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        hop.reload()
        reloading = dict(line.split("=") for line in supervisor.recv(1000).decode().split("\n"))
        assert reloading["RELOADING"] == "1" and before <= int(reloading["MONOTONIC_USEC"]) <= before + 60_000_000
        assert supervisor.recv(1000) == b"READY=1"
        hop.config["listeners"][0]["agent"] = "nobody"  # refused: it runs on, and says so
        hop.reload()
        assert supervisor.recv(1000).startswith(b"RELOADING=1") and supervisor.recv(1000) == b"READY=1"
        hop.stop()
        assert supervisor.recv(1000) == b"STOPPING=1"


def test_a_supervisor_that_is_gone_hinders_nobody(sandbox, activated, sockets, tmp_path):
    tcp = sockets()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        hop = activated([{"address": "systemd:a"}], [("a", tcp)], env={"NOTIFY_SOCKET": str(tmp_path / "notify")}).start()
    hop.reload()
    wait_until(lambda: "config.reloaded" in hop.stderr)
    assert ask(place(tcp), sandbox) == 200
    hop.stop()
    for nonsense in ("", "/", "relative", "/no/such/socket", "@", "/" + "x" * 200):
        hop = activated([{"address": "systemd:a"}], [("a", tcp)], env={"NOTIFY_SOCKET": nonsense}).start()
        hop.stop()


# --- the units ---


def unit(name):
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read(harness.SOURCE / "deploy" / "systemd" / name)
    return parser


def test_the_units_fit_each_other():
    sock, service = unit("tokenhop.socket"), unit("tokenhop.service")
    assert set(sock.sections()) == {"Unit", "Socket", "Install"} and set(service.sections()) == {"Unit", "Service", "Install"}
    assert sock["Socket"]["FileDescriptorName"] == "agents" and sock["Socket"].get("Accept", "no") == "no"
    assert service["Unit"]["Requires"] == "tokenhop.socket" and service["Service"]["Type"] == "notify"
    assert service["Service"]["ExecStart"].split()[1:3] == ["run", "-c"]
    for key in ("NoNewPrivileges", "ProtectHome", "PrivateDevices", "MemoryDenyWriteExecute", "RestrictSUIDSGID"):
        assert service["Service"][key] == "yes"


def test_systemd_reads_the_units(tmp_path):
    for name in ("tokenhop.socket", "tokenhop.service"):
        text = (harness.SOURCE / "deploy" / "systemd" / name).read_text().replace("/usr/bin/tokenhop", str(harness.binary("tokenhop")))
        (tmp_path / name).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "tokenhop.service", tmp_path / "tokenhop.socket"], capture_output=True, text=True, timeout=60)
    bad = [line for line in done.stderr.splitlines() if "tokenhop." in line and ("Unknown" in line or "Failed to parse" in line or "Invalid" in line)]
    assert bad == [], done.stderr
