"""Callers whose passwords are hashed (docs/callers.md): who is taken, what it costs, and that wrong passwords cost others
nothing. The command that makes hashes."""

import base64
import ctypes
import hashlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import tempfile
import termios
import threading
import time
import urllib.parse

import pytest
import requests

import harness
from harness import wait_until
from rawnet import SLOW, Connection, request

PASSWORD = "corr\u00e9ct: horse: battery $y$ staple"
OTHER = "another-password-entirely"
SALT = "0123456789abcdef"
SLOWEST = f"$2b$14${SALT}ghijk."  # more than a second
FAST = f"$5${SALT}$"  # milliseconds

libcrypt = ctypes.CDLL("libcrypt.so.1")
libcrypt.crypt.restype = ctypes.c_char_p


def crypt(password, setting):
    """By the system's library, as mkpasswd and htpasswd do."""
    hashed = libcrypt.crypt(password.encode(), setting.encode()).decode()
    assert not hashed.startswith("*"), setting
    return hashed


def digest(secret):
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


def password_command(given, *args, **more):
    return subprocess.run([harness.binary("tokenhop"), "password", *args], input=given, capture_output=True, timeout=60, **more)


def basic(user, password):
    text = user.encode() + b":" + (password if isinstance(password, bytes) else password.encode())
    return "Basic " + base64.b64encode(text).decode()


@pytest.fixture
def short_folder():
    """What a socket's path has room for."""
    with tempfile.TemporaryDirectory(prefix="th-", dir="/tmp") as folder:
        yield folder


@pytest.fixture
def start(sandbox, tokenhop, tmp_path, short_folder):
    """start({user: lines of its file}): one listener, each user a caller that is agent1."""

    def start(users, bearers={}, workers=1, **more):
        def secret(name, lines):
            path = tmp_path / name
            path.touch(0o600)
            path.write_text(lines + "\n")
            return str(path)

        def configure(config):
            config["workers"] = workers
            del config["listeners"][0]["agent"]
            config["callers"] = [
                {"name": f"caller-{user}", "agent": "agent1", "basic": {"user": user, "password_file": secret(user, lines)}}
                for user, lines in users.items()
            ] + [
                {"name": f"caller-{name}", "agent": "agent1", "bearer": {"token_file": secret(name, lines)}}
                for name, lines in bearers.items()
            ]
            config["admin"] = {"address": f"unix:{short_folder}/a.sock"}
            config["timeouts"] = {"exchange": "60s"}  # what a hash takes on a busy machine
            config["log"] = {"level": "debug", "audit_file": str(tmp_path / "audit.jsonl")}
            config.update(more)

        hop = tokenhop(configure, alg="ES256")
        hop.secret, hop.audit = secret, tmp_path / "audit.jsonl"
        hop.address = int(hop.config["listeners"][0]["address"].rsplit(":", 1)[1])
        return hop

    return start


def asked(sandbox, credentials, token=None):
    fields = [f"Proxy-Authorization: {credentials}"] if credentials else []
    return request(sandbox.url("agent2", "/a2a/whoami"), token or sandbox.mint(user="alice"), fields=fields)


def call(hop, sandbox, credentials, source="127.0.0.1", token=None):
    with Connection(hop.address, 60, source=source) as connection:
        return connection.send(asked(sandbox, credentials, token)).read()


def ctl(hop, *command):
    done = subprocess.run([harness.binary("tokenhop"), "ctl", "-c", hop.file, *command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def figure(hop, name):
    return int(next(line.rsplit(" ", 1)[1] for line in ctl(hop, "metrics").splitlines() if line.startswith(name + " ")))


def hashed(hop):
    """One is counted after who waits for it has been told: when none is counted any more."""
    seen = []
    wait_until(lambda: seen.append(figure(hop, "tokenhop_passwords_hashed_total")) or len(seen) > 2 and len(set(seen[-3:])) == 1, 20 * SLOW)
    return seen[-1]


def hashes(hop, number):
    wait_until(lambda: hashed(hop) >= number, 20 * SLOW)
    assert hashed(hop) == number
    return True


def is_challenged(answer):
    assert (answer.status, answer.json()["code"]) == (407, "caller_unauthenticated"), answer.body
    assert 'Basic realm="tokenhop", charset="UTF-8"' in answer.get("Proxy-Authenticate")
    return True


# --- who is taken ---


def test_each_form_by_its_own_password(sandbox, start):
    users = {
        "yescrypt": crypt(PASSWORD, "$y$j9T$0123456789abcdefghijk."),
        "bcrypt": crypt(PASSWORD, f"$2b$10${SALT}ghijk."),
        "bcrypt_y": crypt(PASSWORD, f"$2y$10${SALT}ghijk."),
        "sha512": crypt(PASSWORD, f"$6${SALT}$"),
        "rounds": crypt(PASSWORD, f"$6$rounds=6000${SALT}$"),
        "sha256": crypt(PASSWORD, FAST),
        "digest": digest(PASSWORD),
        "ours": password_command(PASSWORD.encode() + b"\n").stdout.decode(),
        "plain": PASSWORD,
    }
    hop = start(users)
    for user in users:
        assert call(hop, sandbox, basic(user, PASSWORD)).status == 200, user
        assert is_challenged(call(hop, sandbox, basic(user, OTHER)))
        assert user == "plain" or is_challenged(call(hop, sandbox, basic(user, users[user].strip())))
    before = hashed(hop)
    for user in users:  # all known by now
        assert call(hop, sandbox, basic(user, PASSWORD)).status == 200
    assert hashed(hop) == before
    hop.stop()
    told = [json.loads(line).get("caller") for line in hop.output.splitlines()]
    assert [caller for caller in told if caller][-len(users):] == [f"caller-{user}" for user in users]


def test_bearer_tokens(sandbox, start):
    hop = start({}, {"machine": digest("token-of-the-machine"), "slow": crypt("token-of-the-slow", FAST), "plain": "token-of-the-plain"})
    for name in ("machine", "slow", "plain"):
        assert call(hop, sandbox, f"Bearer token-of-the-{name}").status == 200
    assert hashes(hop, 1)
    for wrong in ("token-of-the-other", digest("token-of-the-machine"), crypt("token-of-the-slow", FAST), "x"):
        assert is_challenged(call(hop, sandbox, f"Bearer {wrong}"))
    assert is_challenged(call(hop, sandbox, basic("machine", "token-of-the-machine")))


def test_clients_put_it_into_the_url_of_the_proxy(sandbox, start):
    hop = start({"team-a": crypt("p\u00e4ss: word-of-a", FAST), "team-b": crypt("pass: word-of-b", FAST)})
    token, url = sandbox.mint(user="alice"), sandbox.url("agent2", "/a2a/whoami")
    proxy = f"http://team-a:p%C3%A4ss%3A%20word-of-a@127.0.0.1:{hop.address}"
    for tunnel in ([], ["-p"]):
        done = subprocess.run(
            ["curl", "-s", *tunnel, "--noproxy", "", "-x", proxy, "-H", f"Authorization: Bearer {token}", url], capture_output=True, text=True
        )
        assert json.loads(done.stdout)["user"] == "alice", done
    proxy = f"http://team-b:pass%3A%20word-of-b@127.0.0.1:{hop.address}"  # ASCII: requests would send ISO 8859-1
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxy}
        assert session.get(url, headers={"Authorization": f"Bearer {token}"}).json()["user"] == "alice"
        session.proxies = {"http": proxy.replace("word", "w0rd")}
        answer = session.get(url, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 407 and answer.json()["code"] == "caller_unauthenticated"


@pytest.mark.parametrize(
    "password",
    [
        b"", b"x", b"a" * 4096, b"a" * 512, PASSWORD.encode() + b"\0", PASSWORD.encode() + b"\0more", b"\0" + PASSWORD.encode(),
        PASSWORD.encode() + b"\n", PASSWORD.encode()[:-1], PASSWORD.encode("latin-1"), PASSWORD.upper().encode(), PASSWORD.encode() + b" ",
    ],
    ids=["empty", "x", "4KB", "512", "NUL", "behind NUL", "before", "LF", "shorter", "latin1", "case", "space"],
)
def test_passwords_that_are_none(sandbox, start, password):
    hop = start({"a": crypt(PASSWORD, FAST), "b": digest(PASSWORD), "e": digest("x"), "n": crypt("a" * 511, FAST)})
    for user in ("a", "b", "n", "nobody"):
        assert is_challenged(call(hop, sandbox, basic(user, password)))
    assert call(hop, sandbox, basic("a", PASSWORD)).status == 200
    assert call(hop, sandbox, basic("n", "a" * 511)).status == 200


def test_bcrypt_is_not_cut(sandbox, start):
    """It does not look beyond 72 bytes."""
    hop = start({"a": crypt("x" * 72, f"$2b$10${SALT}ghijk.")})
    assert call(hop, sandbox, basic("a", "x" * 72)).status == 200
    assert is_challenged(call(hop, sandbox, basic("a", "x" * 73)))


# --- what it costs, and whom ---


def test_a_worker_does_not_wait(sandbox, start):
    """There is one. While it waits for the hash of one caller, others are served."""
    line = crypt(PASSWORD, SLOWEST)
    lines = [line, *(line[:-4] + other * 3 + line[-1] for other in "abc")]  # all are tried
    hop = start({"slow": "\n".join(lines), "plain": PASSWORD})
    token = sandbox.mint(user="alice")
    assert call(hop, sandbox, basic("plain", PASSWORD), token=token).status == 200
    with Connection(hop.address, 60) as slow, Connection(hop.address) as plain:
        slow.send(asked(sandbox, basic("slow", PASSWORD), token))
        for _ in range(20):
            assert plain.send(asked(sandbox, basic("plain", PASSWORD), token)).read().status == 200
        assert select.select([slow.sock], [], [], 0)[0] == [], "it was to take longer than that"
        assert slow.read().status == 200
        # and another time at once
        assert slow.send(asked(sandbox, basic("slow", PASSWORD), token)).read().status == 200
    assert hashes(hop, 1)


@pytest.mark.threads
def test_one_hash_for_all_that_ask_the_same(sandbox, start):
    hop = start({"a": crypt(PASSWORD, f"$2b$12${SALT}ghijk.")}, workers=2)
    token = sandbox.mint(user="alice")
    connections = [Connection(hop.address) for _ in range(30)]
    for connection in connections:
        connection.send(asked(sandbox, basic("a", PASSWORD), token))
    assert [connection.read().status for connection in connections] == [200] * 30
    for connection in connections:
        connection.send(asked(sandbox, basic("a", OTHER), token))
    assert [connection.read().status for connection in connections] == [407] * 30
    assert hashes(hop, 2)
    for connection in connections:
        connection.close()


@pytest.mark.threads
def test_who_leaves_meanwhile_ends_its_request(sandbox, start):
    hop = start({user: crypt(PASSWORD, SLOWEST) for user in ("slow", "later")}, workers=2)
    token = sandbox.mint(user="alice")
    leaving = [Connection(hop.address) for _ in range(10)]
    for i, connection in enumerate(leaving):
        connection.send(asked(sandbox, basic("slow" if i % 2 else "later", PASSWORD), token))
    time.sleep(0.05)  # not all have come; those that have wait
    for connection in leaving:
        connection.reset()
    wait_until(lambda: figure(hop, "tokenhop_hops_open") == 0, 20 * SLOW)
    assert call(hop, sandbox, basic("slow", PASSWORD), token=token).status == 200
    hop.stop()
    assert sandbox.requests("agent2") == 1


def test_who_is_nobody_costs_the_same(sandbox, start):
    hop = start({"a": crypt(PASSWORD, f"$2b$12${SALT}ghijk."), "b": crypt(OTHER, f"$2b$12${SALT}ghijk.")})
    token = sandbox.mint(user="alice")

    def cost(user, password):
        before, began = hashed(hop), time.monotonic()
        answer = call(hop, sandbox, basic(user, password), token=token)
        took = time.monotonic() - began
        assert is_challenged(answer)
        wait_until(lambda: figure(hop, "tokenhop_passwords_hashed_total") > before, 20 * SLOW)
        return hashed(hop) - before, took, json.loads(answer.body)["detail"]

    known = [cost(user, f"guess {i}") for user in ("a", "b") for i in range(4)]
    nobody = [cost(user, f"guess {i}") for user in ("c", "root") for i in range(4)]
    # The right password of the one that stands in is as wrong as any.
    nobody += [cost("x", PASSWORD), cost("x", OTHER)]
    assert {n for n, _, _ in known + nobody} == {1}
    assert len({text for _, _, text in known + nobody}) == 1
    fastest = min(took for _, took, _ in known)
    assert all(took > fastest / 2 for _, took, _ in nobody)


def too_often(answer):
    assert (answer.status, answer.json()["code"]) == (429, "caller_limited"), answer.body
    assert int(answer.get("Retry-After")) >= 1
    return True


def test_wrong_ones_are_limited(sandbox, start):
    hop = start({"a": crypt(PASSWORD, FAST), "b": crypt(PASSWORD, FAST)})
    assert call(hop, sandbox, basic("b", PASSWORD), "127.0.0.2").status == 200
    statuses, began = [], time.monotonic()

    def guess(user):
        statuses.append(call(hop, sandbox, basic(user, f"guess {len(statuses)}"), "127.0.0.2").status)
        return statuses[-1] == 407

    for _ in range(12):
        guess("a")
    assert statuses[:5] == [407] * 5 and 429 in statuses
    # not even the right one; whatever there was is used up by the guess before
    wait_until(lambda: guess("a"), 30 * SLOW)
    assert too_often(call(hop, sandbox, basic("a", PASSWORD), "127.0.0.2"))
    # the same wrong one again is nothing new, and who is known goes on
    assert is_challenged(call(hop, sandbox, basic("a", "guess 0"), "127.0.0.2"))
    assert call(hop, sandbox, basic("b", PASSWORD), "127.0.0.2").status == 200
    # whatever names it uses
    for i in range(60):
        guess(f"user{i}")
    took = time.monotonic() - began
    assert statuses.count(407) <= 20 + 2 * took and statuses.count(429) > 0
    # from elsewhere it is not so
    assert call(hop, sandbox, basic("a", PASSWORD), "127.0.0.3").status == 200
    assert call(hop, sandbox, basic("a", PASSWORD), "127.0.0.2").status == 200
    assert figure(hop, "tokenhop_passwords_limited_total") == statuses.count(429) + 1
    # and it passes
    wait_until(lambda: guess("b"), 30 * SLOW)
    hop.stop()
    told = [line for line in hop.stderr.splitlines() if "caller.passwords_limited" in line]
    assert 1 <= len(told) <= 5 + 2 * took and all("127.0.0.2" in line for line in told)


@pytest.mark.threads
def test_a_flood_of_wrong_ones(sandbox, start):
    """From one address, by many connections and names. Who is known does not notice, and who is new gets in."""
    hop = start({"a": crypt(PASSWORD, "$y$j9T$0123456789abcdefghijk."), "b": crypt(PASSWORD, f"$2b$10${SALT}ghijk.")}, workers=2)
    token = sandbox.mint(user="alice")
    ended, statuses = threading.Event(), []

    def flood(number):
        with Connection(hop.address, source="127.0.0.2") as connection:
            tries = 0
            while not ended.is_set():
                user = ("a", "b", f"user{tries % 50}")[tries % 3]
                connection.send(asked(sandbox, basic(user, f"guess {number} {tries}"), token))
                statuses.append(connection.read().status)
                tries += 1

    with Connection(hop.address) as known:
        assert known.send(asked(sandbox, basic("a", PASSWORD), token)).read().status == 200
        before, began = hashed(hop), time.monotonic()
        threads = [threading.Thread(target=flood, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: len(statuses) > 100, 30 * SLOW)
            for _ in range(100):
                assert known.send(asked(sandbox, basic("a", PASSWORD), token)).read().status == 200
            assert call(hop, sandbox, basic("b", PASSWORD), "127.0.0.3", token).status == 200
            wait_until(lambda: len(statuses) > 1000, 60 * SLOW)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        took = time.monotonic() - began
    assert set(statuses) <= {407, 429, 503} and statuses.count(429) > len(statuses) / 2
    # 20 at once, then 2 a second; and b's own.
    assert hashed(hop) - before <= 20 + 2 * took + 3


# --- changes ---


def tunnel_to(hop, sandbox, credentials):
    port = sandbox.port("agent2")
    connection = Connection(hop.address)
    connection.send(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nProxy-Authorization: {credentials}\r\n\r\n".encode())
    return connection, connection.read("HEAD").status


def test_a_password_changes_without_an_interruption(sandbox, start):
    old, new = crypt(OTHER, FAST), crypt(PASSWORD, "$y$j9T$0123456789abcdefghijk.")
    hop = start({"a": f"# since January\n{old}"})
    token, port = sandbox.mint(user="alice"), sandbox.port("agent2")
    inside = f"GET /a2a/whoami HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    reloads = 0

    def rewrite(lines):
        nonlocal reloads
        hop.secret("a", lines)
        hop.reload()
        reloads += 1
        wait_until(lambda: hop.stderr.count("config.reloaded") == reloads, 20 * SLOW)

    assert call(hop, sandbox, basic("a", OTHER)).status == 200
    assert is_challenged(call(hop, sandbox, basic("a", PASSWORD)))
    by_old, status = tunnel_to(hop, sandbox, basic("a", OTHER))
    assert status == 200 and by_old.send(inside).read().status == 200

    rewrite(f"# since January\n{old}\n\n# since March\n{new}")
    assert call(hop, sandbox, basic("a", OTHER)).status == 200
    assert call(hop, sandbox, basic("a", PASSWORD)).status == 200
    assert by_old.send(inside).read().status == 200
    by_new, status = tunnel_to(hop, sandbox, basic("a", PASSWORD))
    assert status == 200 and by_new.send(inside).read().status == 200

    rewrite(f"# since March\n{new}")
    assert is_challenged(call(hop, sandbox, basic("a", OTHER)))
    assert call(hop, sandbox, basic("a", PASSWORD)).status == 200
    assert by_old.send(inside).read().status == 407
    assert by_new.send(inside).read().status == 200
    # no change, no work
    before = hashed(hop)
    rewrite(f"{new}")
    assert call(hop, sandbox, basic("a", PASSWORD)).status == 200
    assert hashed(hop) == before
    by_old.close()
    by_new.close()


@pytest.mark.threads
def test_reloads_while_passwords_are_verified(sandbox, start):
    hop = start({"a": crypt(PASSWORD, f"$2b$11${SALT}ghijk."), "b": crypt(OTHER, FAST)}, workers=2)
    token = sandbox.mint(user="alice")
    ended, failed = threading.Event(), []

    def ask(number):
        while not ended.is_set():
            with Connection(hop.address, source=f"127.0.0.{number + 2}") as connection:
                status = connection.send(asked(sandbox, basic("a", PASSWORD), token)).read().status
                if status != 200:
                    failed.append(status)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for i in range(6):
            hop.secret("a", crypt(PASSWORD, f"$2b$10${i}{SALT[1:]}ghijk."))
            hop.reload()
            wait_until(lambda: hop.stderr.count("config.reloaded") == i + 1, 30 * SLOW)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert failed == []


def check(hop_config, tmp_path):
    file = tmp_path / "c.jsonc"
    file.write_text(json.dumps(hop_config))
    return subprocess.run([harness.binary("tokenhop"), "check", "-c", file], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "line, what",
    [
        ("$1$01234567$vH7bC9YjzoRYa0Mf7xjJr1", "md5crypt"),
        ("# DES\nabhfCpXqd4GrI", "DES"),
        (f"$2b$04${SALT}ghijk.6oi2u2k1IK3KQFek8s3jOcklZxB4qAi", "too weak"),
        (f"$2b$15${SALT}ghijk.6oi2u2k1IK3KQFek8s3jOcklZxB4qAi", "too long"),
        ("$ecret-that-is-plain", "no hash"),
        ("team-a:$y$j9T$0123456789abcdefghijk.$8dnRo34hMBpNfUfocu0oif9uJVNhG0qBKfZ8t.TPOJ1", "user's name"),
    ],
)
def test_hashes_that_are_refused(sandbox, tmp_path, line, what):
    config = harness.base_config(sandbox)
    path = tmp_path / "pw"
    path.touch(0o600)
    path.write_text(line)
    config["callers"] = [{"name": "a", "agent": "agent1", "basic": {"user": "a", "password_file": str(path)}}]
    done = check(config, tmp_path)
    assert done.returncode == 2 and what in done.stderr and "$.callers[0].basic.password_file" in done.stderr, done
    assert "tokenhop password" in done.stderr or "HASH" in done.stderr
    assert line.splitlines()[-1] not in done.stderr
    path.write_text(crypt(PASSWORD, FAST))
    path.chmod(0o640)
    done = check(config, tmp_path)
    assert done.returncode == 2 and "others" in done.stderr
    path.chmod(0o600)
    assert check(config, tmp_path).returncode == 0


def test_r16_no_password_nor_hash_in_any_text(sandbox, start):
    lines = {"a": crypt(PASSWORD, FAST), "b": digest(PASSWORD), "c": crypt(OTHER, "$y$j9T$0123456789abcdefghijk.")}
    hop = start(lines, {"robot": crypt("token-of-the-robot", FAST)})
    shown = [basic("a", PASSWORD), basic("b", PASSWORD), basic("c", OTHER), "Bearer token-of-the-robot"]
    answers = [call(hop, sandbox, credentials) for credentials in shown]
    assert [answer.status for answer in answers] == [200] * 4
    answers += [call(hop, sandbox, basic(user, f"wrong-guess-{i}")) for user in ("a", "b", "c", "nobody-by-this-name") for i in range(8)]
    answers += [call(hop, sandbox, "Bearer wrong-guess-of-a-robot") for _ in range(2)]
    texts = [ctl(hop, "metrics"), ctl(hop, "status"), *(str(a.fields) + a.body.decode("latin-1") for a in answers)]
    hop.secret("a", "$1$01234567$vH7bC9YjzoRYa0Mf7xjJr1")  # a reload that fails tells no more
    hop.reload()
    wait_until(lambda: "md5crypt" in hop.stderr, 20 * SLOW)
    hop.stop()
    texts += [hop.output, hop.stderr, hop.audit.read_text()]
    secrets = [PASSWORD, PASSWORD.encode().decode("latin-1"), OTHER, "token-of-the-robot", "wrong-guess", "vH7bC9YjzoRYa0Mf7xjJr1"]
    shown += [basic(user, f"wrong-guess-{i}") for user in ("a", "b", "c", "nobody-by-this-name") for i in range(8)]
    secrets += [c.split()[1] for c in shown] + [line.rsplit("$", 1)[-1].removeprefix("sha256:") for line in lines.values()]
    for text in texts:
        for secret in secrets:
            assert secret not in text


# --- the command ---


def test_password_reads_standard_input():
    done = password_command(PASSWORD.encode() + b"\n")
    line = done.stdout.decode()
    assert done.returncode == 0 and done.stderr == b""
    assert line.startswith("$y$j9T$") and line.endswith("\n") and line.count("\n") == 1
    assert crypt(PASSWORD, line.strip()) == line.strip()
    assert password_command(PASSWORD.encode()).stdout != done.stdout  # another salt
    secret = os.urandom(32).hex()
    done = password_command(secret.encode() + b"\n", "--digest")
    assert (done.returncode, done.stdout.decode()) == (0, digest(secret) + "\n")


@pytest.mark.parametrize(
    "given, args, what",
    [
        (b"", [], "8 characters"),
        (b"\n", [], "8 characters"),
        (b"short", [], "8 characters"),
        (b"two lines\nof it\n", [], "control"),
        (b"a NUL in it\0", [], "control"),
        (b"no UTF-8: \xe9", [], "UTF-8"),
        (b"x" * 512, [], "511"),
        (b"x" * 5000, [], "too long"),
        (b"not made by a machine\n", ["--digest"], "32 characters"),
    ],
)
def test_password_refuses(given, args, what):
    done = password_command(given, *args)
    assert done.returncode == 1 and done.stdout == b"" and what in done.stderr.decode(), done
    assert len(given) < 5 or given.strip() not in done.stderr


def test_password_takes_none_on_the_command_line():
    for args in (["hunter2-hunter2"], ["--digest", "hunter2-hunter2"], ["--digest=hunter2-hunter2"]):
        done = password_command(b"", *args)
        assert done.returncode == 2 and b"hunter2" not in done.stderr and done.stdout == b""
    with open("/dev/full", "w") as sink:
        done = subprocess.run([harness.binary("tokenhop"), "password"], input=PASSWORD.encode(), stdout=sink, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"No space left" in done.stderr


class Terminal:
    """The command on a terminal of its own; its standard output goes to a pipe."""

    def __init__(self, *args):
        self.shown, out = b"", os.pipe()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGQUIT):  # which a test run in the background ignores
                signal.signal(number, signal.SIG_DFL)
            os.dup2(out[1], 1)
            program = harness.binary("tokenhop")
            os.execv(program, [str(program), "password", *args])
        os.close(out[1])
        self.out = out[0]

    def wait_for(self, text):
        deadline = time.monotonic() + 20 * SLOW
        while text not in self.shown:
            assert select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0], self.shown
            self.shown += os.read(self.fd, 1000)

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def type(self, text):
        os.write(self.fd, text)

    def end(self):
        with open(self.out, "rb") as pipe:
            written = pipe.read()
        echoes = self.echoes()
        _, status = os.waitpid(self.pid, 0)
        os.set_blocking(self.fd, False)
        try:
            self.shown += os.read(self.fd, 4096)
        except OSError:
            pass
        os.close(self.fd)
        return status, written, echoes


def test_password_shows_nothing_on_a_terminal():
    terminal = Terminal()
    terminal.wait_for(b"Password: ")
    assert not terminal.echoes()
    terminal.type(PASSWORD.encode() + b"\n")
    terminal.wait_for(b"Again: ")
    terminal.type(PASSWORD.encode() + b"\n")
    status, written, echoes = terminal.end()
    assert status == 0 and crypt(PASSWORD, written.decode().strip()) == written.decode().strip()
    assert echoes and b"horse" not in terminal.shown


def test_password_that_is_too_long_is_said_to_be():
    terminal = Terminal()
    terminal.wait_for(b"Password: ")
    for _ in range(3):  # a terminal's line has room for less; its end-of-file key hands over what there is
        terminal.type(b"x" * 2000 + b"\x04")
    terminal.wait_for(b"too long")
    status, written, echoes = terminal.end()
    assert os.waitstatus_to_exitcode(status) == 1 and written == b"" and echoes
    assert b"no password was typed" not in terminal.shown


def test_password_asks_twice():
    terminal = Terminal()
    terminal.wait_for(b"Password: ")
    terminal.type(PASSWORD.encode() + b"\n")
    terminal.wait_for(b"Again: ")
    terminal.type(OTHER.encode() + b"\n")
    status, written, echoes = terminal.end()
    assert os.waitstatus_to_exitcode(status) == 1 and written == b"" and echoes
    assert b"not the same" in terminal.shown and b"horse" not in terminal.shown


@pytest.mark.parametrize("key, number", [(b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT), (None, signal.SIGTERM)])
def test_password_leaves_the_terminal_as_it_was(key, number):
    terminal = Terminal()
    terminal.wait_for(b"Password: ")
    terminal.type(b"half a pass")
    if key:
        terminal.type(key)
    else:
        os.kill(terminal.pid, number)
    status, written, echoes = terminal.end()
    assert os.WTERMSIG(status) == number and written == b"" and echoes


def test_exec_wants_the_password_itself(sandbox, tmp_path):
    config = harness.base_config(sandbox)
    del config["listeners"][0]["agent"]
    for name, text in (("pw", crypt(PASSWORD, FAST)), ("real", PASSWORD)):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(text + "\n")
    config["callers"] = [{"name": "one", "agent": "agent1", "basic": {"user": "a", "password_file": "pw"}}]
    (tmp_path / "c.jsonc").write_text(json.dumps(config))
    argv = [harness.binary("tokenhop"), "exec", "-c", tmp_path / "c.jsonc", "-q", "--caller", "one"]
    done = subprocess.run([*argv, "--", "true"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "only a hash" in done.stderr and "--password-file" in done.stderr and "$5$" not in done.stderr
    done = subprocess.run([*argv, "--password-file", tmp_path / "real", "--", "printenv", "http_proxy"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("http://a:corr%C3%A9ct%3A%20horse"), done
    # what begins as a hash does, where it is said to be the password
    for text in ("$ecret of ours", "#1 of all passwords", "sha256:as-a-prefix"):
        (tmp_path / "real").write_text(text + "\n")
        done = subprocess.run([*argv, "--password-file", tmp_path / "real", "--", "printenv", "http_proxy"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stdout.startswith(f"http://a:{urllib.parse.quote(text, safe='')}@"), done
