"""What the process gives up (docs/security.md), looked at from outside: in /proc, and by what it can no longer do."""

import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest

from harness import Tokenhop, base_config, binary, wait_until
from rawnet import SANITIZED, build_option

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


def test_r16_secrets_are_neither_dumped_nor_swapped(sandbox, tokenhop, tmp_path):
    """But for builds in which each secret is a piece of the ordinary heap: these say so."""
    hop = tokenhop(with_admin(tmp_path))
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 200
    smaps = pathlib.Path(f"/proc/{hop.pid}/smaps").read_text()
    flags = [line.split()[1:] for line in smaps.splitlines() if line.startswith("VmFlags:")]
    # What a sanitizer keeps beside the heap is not dumped either, but no memory is reserved for it.
    kept = [row for row in flags if "dd" in row and "wr" in row and "nr" not in row]
    is_kept = not build_option("arena_malloc")
    assert bool(kept) == is_kept and all("lo" in row for row in kept), kept
    assert hardening(hop)["secrets_locked"] == is_kept
    assert ("never swapped" if is_kept else "MAY BE SWAPPED") in ctl(hop, "status")


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


def test_no_such_user(sandbox, tokenhop, tmp_path):
    with pytest.raises(AssertionError, match='there is no user "no-such-user"'):
        tokenhop(lambda config: config.update(process={"user": "no-such-user"}))


# System calls and files


def kernels_landlock():
    """The version that this kernel has, 0 for none: asked as the program asks."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, libc.syscall(444, None, ctypes.c_size_t(0), 1))


def test_system_calls_are_filtered(sandbox, tokenhop, tmp_path):
    """But for builds with sanitizers, whose leak checker traces the process: these say that they filter nothing."""
    hop = tokenhop(with_admin(tmp_path))
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 200
    mode, kernel = ("off", ("0", "0")) if SANITIZED else ("on", ("2", "1"))
    for thread in status_of(hop):
        assert (thread["Seccomp"], thread["Seccomp_filters"]) == kernel
    assert hardening(hop)["seccomp"] == mode
    assert re.search(rf"^  seccomp +{mode}$", ctl(hop, "status"), re.M)
    assert events(hop, "process.hardened")[0]["seccomp"] == mode


@pytest.mark.parametrize("mode, kernel", [("off", "0") if SANITIZED else ("log", "2"), ("off", "0")])
def test_system_calls_are_filtered_as_configured(sandbox, tokenhop, tmp_path, mode, kernel):
    hop = tokenhop(with_admin(tmp_path, lambda c: c.update(hardening={"seccomp": mode, "landlock": False})))
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 200
    assert {thread["Seccomp"] for thread in status_of(hop)} == {kernel}
    said = hardening(hop)
    assert (said["seccomp"], said["landlock"]) == (mode, 0)


def test_files_are_those_that_are_needed(sandbox, tokenhop, tmp_path):
    """What is said is what the kernel has; and where it has it, a reload cannot bring in a file from elsewhere."""
    places = {name: tmp_path / name for name in ("keys", "logs", "elsewhere")}
    for place in places.values():
        place.mkdir(mode=0o700)
    key = pathlib.Path(sandbox.key_file("agent1"))
    for name in ("keys", "elsewhere"):
        (places[name] / "agent1.pem").write_bytes(key.read_bytes())
        (places[name] / "agent1.pem").chmod(0o600)

    def change(config):
        config["agents"]["agent1"]["auth"]["key_file"] = str(places["keys"] / "agent1.pem")
        config["log"] = {"access_file": str(places["logs"] / "access.jsonl"), "audit_file": str(places["logs"] / "audit.jsonl")}

    hop = tokenhop(with_admin(tmp_path / "keys", change))
    url, version = sandbox.url("agent2", "/a2a/whoami"), kernels_landlock()
    assert hop.get(url, sandbox.mint()).status_code == 200
    assert hardening(hop)["landlock"] == version
    assert bool(events(hop, "process.no_landlock")) == (version == 0)

    # a reload, a key written anew under its name, and rotated logs
    assert "read anew" in ctl(hop, "reload")
    fresh = places["keys"] / "fresh"
    fresh.write_bytes(key.read_bytes())
    fresh.chmod(0o600)
    fresh.rename(places["keys"] / "agent1.pem")
    wait_until(lambda: len(events(hop, "config.reloaded")) >= 2, 20)
    for name in ("access", "audit"):
        (places["logs"] / f"{name}.jsonl").rename(places["logs"] / f"{name}.1")
    os.kill(hop.pid, 1)
    wait_until(lambda: (places["logs"] / "audit.jsonl").exists() and (places["logs"] / "access.jsonl").exists(), 20)
    assert hop.get(url, sandbox.mint(user="bob")).status_code == 200
    wait_until(lambda: (places["logs"] / "audit.jsonl").read_text().count("\n") >= 1, 20)

    # another folder in the same file
    hop.config["agents"]["agent1"]["auth"]["key_file"] = str(places["elsewhere"] / "agent1.pem")
    hop.write()
    said = ctl(hop, "reload")
    if version == 0 or SANITIZED:  # whose reports may read everything
        assert "read anew" in said
    else:
        assert "Permission denied" in said and "takes a restart (hardening.landlock)" in said, said
        assert hop.get(url, sandbox.mint(user="bob", nonce="again")).status_code == 200
        hop.config["agents"]["agent1"]["auth"]["key_file"] = str(places["keys"] / "agent1.pem")
        hop.write()
        assert "read anew" in ctl(hop, "reload")


def test_without_hardening_of_files_any_folder_will_do(sandbox, tokenhop, tmp_path):
    elsewhere = tmp_path / "elsewhere.d"
    elsewhere.mkdir(mode=0o700)
    hop = tokenhop(with_admin(tmp_path, lambda c: c.update(hardening={"landlock": False})))
    key = elsewhere / "agent1.pem"
    key.write_bytes(pathlib.Path(sandbox.key_file("agent1")).read_bytes())
    key.chmod(0o600)
    hop.config["agents"]["agent1"]["auth"]["key_file"] = str(key)
    hop.write()
    assert "read anew" in ctl(hop, "reload")
    assert hardening(hop)["landlock"] == 0


# Who may read secrets


def secret_kinds(path):
    """Each key of the configuration that names a file with a secret, and where it stands."""
    static = {"name": "s", "type": "static", "url": "https://static.example/", "agents": ["agent1"]}
    yield "key_file", lambda c: c["agents"]["agent1"]["auth"].update(key_file=path)
    yield "secret_file", lambda c: c["agents"]["agent1"].update(
        auth={"method": "client_secret_basic", "secret_file": path}
    )
    yield "dpop_key_file", lambda c: c["agents"]["agent1"].update(dpop_key_file=path, dpop_alg="ES256")
    yield "value_file", lambda c: c["connections"].append({**static, "value_file": path})
    yield "values", lambda c: c["connections"].append(
        {**static, "values": {"k": {"file": path}}, "inject": {"header": "X-Key", "template": "{k}"}}
    )
    yield "client_certificate", lambda c: c["connections"][0].update(
        client_certificate={"cert_file": path, "key_file": path}
    )
    yield "subject.file", lambda c: c["connections"][0].update(subject={"from": "file", "file": path})
    yield "admin.token_file", lambda c: c.update(admin={"address": "127.0.0.1:9", "token_file": path})
    yield "interception", lambda c: c.update(interception={"cert_file": path, "key_file": path})
    yield "telemetry", lambda c: c.update(
        telemetry={"otlp_endpoint": "https://collector.example", "authorization_file": path}
    )

    def caller(proof):
        def change(c):
            del c["listeners"][0]["agent"]
            c["callers"] = [{"name": "x", "agent": "agent1", **proof}]

        return change

    yield "password_file", caller({"basic": {"user": "x", "password_file": path}})
    yield "token_file", caller({"bearer": {"token_file": path}})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_r16_no_secret_that_others_may_use(sandbox, tmp_path, mode):
    path = tmp_path / "secret"
    path.write_text("0123456789abcdef-not-a-key\n")
    path.chmod(mode)
    names = [name for name, _ in secret_kinds(str(path))]
    for at, name in enumerate(names):
        config = base_config(sandbox)
        list(secret_kinds(str(path)))[at][1](config)
        file = tmp_path / "c.json"
        file.write_text(json.dumps(config))
        done = subprocess.run([binary("tokenhop"), "check", "-c", file], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2, f"{name}\n{done.stdout}{done.stderr}"
        assert "others than its owner may use" in done.stdout + done.stderr, f"{name}\n{done.stdout}{done.stderr}"
