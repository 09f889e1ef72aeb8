"""What the process gives up (docs/security.md), looked at from outside: in /proc, and by what it can no longer do."""

import json
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import pytest

from harness import Tokenhop, base_config, binary, wait_until
from rawnet import SANITIZED

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOBODY = pwd.getpwnam("nobody")


def with_admin(tmp_path, change=None):
    def change_all(config):
        config["admin"] = {"address": f"unix:{tmp_path}/admin.sock"}
        if change is not None:
            change(config)

    return change_all


def ctl(hop, *command):
    done = subprocess.run(
        [binary("tokenhop"), "ctl", "-c", hop.file, *command], capture_output=True, text=True, timeout=60
    )
    return done.stdout if done.returncode == 0 else done.stderr


def hardening(hop):
    return json.loads(ctl(hop, "--json", "status"))["hardening"]


def status_of(hop):
    """/proc/PID/status of each thread."""
    tasks = pathlib.Path(f"/proc/{hop.pid}/task")
    return [
        dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        for task in tasks.iterdir()
    ]


def events(hop, name):
    lines = [json.loads(line) for line in hop.stderr.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def test_no_privileges_and_no_dumps(sandbox, tokenhop, tmp_path):
    hop = tokenhop(with_admin(tmp_path))
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 200
    threads = status_of(hop)
    assert len(threads) >= 6  # the main one, workers, helpers, the writer, the admin listener
    assert {thread["NoNewPrivs"] for thread in threads} == {"1"}
    limits = pathlib.Path(f"/proc/{hop.pid}/limits").read_text()
    assert any(line.split()[:6] == ["Max", "core", "file", "size", "0", "0"] for line in limits.splitlines())
    # Whose files in /proc are root's is not dumpable; as root the answer of the process itself must do.
    said = hardening(hop)
    assert said["no_new_privileges"] and not said["dumpable"] and not said["core_dumps"]
    assert {thread["Umask"] for thread in threads} == {"0077"}
    assert "no new privileges, not traceable, no core dumps" in ctl(hop, "status")


@pytest.mark.skipif(SANITIZED, reason="there each secret is a piece of the ordinary heap")
def test_r16_secrets_are_neither_dumped_nor_swapped(sandbox, tokenhop, tmp_path):
    hop = tokenhop(with_admin(tmp_path))
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 200
    smaps = pathlib.Path(f"/proc/{hop.pid}/smaps").read_text()
    flags = [line.split()[1:] for line in smaps.splitlines() if line.startswith("VmFlags:")]
    kept = [row for row in flags if "dd" in row and "wr" in row]
    assert kept and all("lo" in row for row in kept), kept
    assert hardening(hop)["secrets_locked"]
    assert "never swapped" in ctl(hop, "status")


class OfNobody:
    """Where all that it needs is the user nobody's: pytest's own folders are root's alone."""

    def __init__(self, sandbox):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="tokenhop-test."))
        self.sandbox, self.hop = sandbox, None

    def key(self, name, of_root=False):
        path = self.base / name
        path.write_bytes(pathlib.Path(self.sandbox.key_file("agent1")).read_bytes())
        path.chmod(0o600)
        if not of_root:
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        return str(path)

    def start(self, key, **more):
        config = base_config(self.sandbox)
        config["agents"]["agent1"]["auth"]["key_file"] = key
        config["admin"] = {"address": f"unix:{self.base}/admin.sock"}
        config["log"] = {"access_file": "access.jsonl", "audit_file": "audit.jsonl"}
        config["process"] = {"user": "nobody"}
        config.update(more)
        os.chown(self.base, NOBODY.pw_uid, NOBODY.pw_gid)
        self.hop = Tokenhop(config, self.base)
        self.hop.start()
        return self.hop


@pytest.fixture
def of_nobody(sandbox):
    place = OfNobody(sandbox)
    yield place
    if place.hop is not None:
        place.hop.stop()
    shutil.rmtree(place.base)


@AS_ROOT
def test_becomes_another_user(sandbox, of_nobody):
    base, hop = of_nobody.base, of_nobody.start(of_nobody.key("agent1.pem"))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    assert hop.get(url, token).status_code == 200
    for thread in status_of(hop):
        assert set(thread["Uid"].split()) == {str(NOBODY.pw_uid)}
        assert set(thread["Gid"].split()) == {str(NOBODY.pw_gid)}
        assert "0" not in thread["Groups"].split()
        for kind in ("CapPrm", "CapEff", "CapAmb"):
            assert int(thread[kind], 16) == 0
    for name in ("access.jsonl", "audit.jsonl", "admin.sock"):
        info = (base / name).stat()
        assert (info.st_uid, info.st_mode & 0o077) == (NOBODY.pw_uid, 0), name
    said = hardening(hop)
    assert (said["uid"], said["capabilities"], said["dumpable"]) == (NOBODY.pw_uid, False, False)
    # logs are rotated as that user
    (base / "access.jsonl").rename(base / "access.1")
    os.kill(hop.pid, 1)
    wait_until(lambda: (base / "access.jsonl").exists())
    assert hop.get(url, token).status_code == 200
    wait_until(lambda: (base / "access.jsonl").read_text().count("\n") >= 1)
    hop.stop()
    assert not (base / "admin.sock").exists()


@AS_ROOT
def test_what_the_user_cannot_read_is_said_at_start_and_at_a_reload(sandbox, of_nobody):
    key = of_nobody.key("roots.pem", of_root=True)
    hop = of_nobody.start(key)
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 200
    assert key in [line["file"] for line in wait_until(lambda: events(hop, "process.cannot_reload"))]
    refused = ctl(hop, "reload")
    assert "Permission denied" in refused and "process.user" in refused, refused
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="bob")).status_code == 200
    os.chown(key, NOBODY.pw_uid, NOBODY.pw_gid)
    assert "read anew" in ctl(hop, "reload")


@AS_ROOT
def test_no_such_user(sandbox, tokenhop, tmp_path):
    with pytest.raises(AssertionError, match='there is no user "no-such-user"'):
        tokenhop(lambda config: config.update(process={"user": "no-such-user"}))
