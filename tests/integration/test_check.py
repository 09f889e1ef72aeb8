"""What the commands say: every mistake with its place, exit statuses, help (and R16: files that others may read)."""

import json
import os
import re
import subprocess

import pytest

import harness
from rawnet import SLOW


def run(*args, **kwargs):
    return subprocess.run(
        [harness.binary("tokenhop"), *map(str, args)], capture_output=True, text=True, timeout=20 * SLOW, **kwargs
    )


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path


def check(folder, config, command="check"):
    file = folder / "tokenhop.jsonc"
    file.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))
    return run(command, "-c", file)


MISTAKES = """{
  // what is on line 2 is a comment, and right
  "listeners": [
    { "name": "a", "address": "127.0.0.1:99999", "mode": "forward", "agent": "agent1" },
    { "name": "b", "address": "127.0.0.1:8081", "mode": "sideways", "agent": "agent1" },
    { "name": "c", "address": "127.0.0.1:8082", "agent": "nobody" }
  ],
  "authorization_servers": { "org": { "issuer": "ftp://example.okta.com" } },
  "agents": {
    "agent1": {
      "client_id": "wlp1",
      "auth": { "method": "private_key_jwt", "key_file": "no-such.pem", "kid": "k1", "alg": "HS256" },
      "resource": "https://agent1.example.com",
      "authorization_server": "orgg"
    }
  },
  "connections": [
    { "name": "one", "url": "https://agent2.example.com/", "type": "agent_to_agent", "agents": ["agent1"],
      "authorization_server": "org", "resource": "https://agent2.example.com", "scops": ["chat.read"] },
    { "name": "two", "url": "https://agent2.example.com/", "type": "no_such_type" }
  ],
  "timeouts": { "head": 15, "idle": "soon", "body": "-3s" },
  "limits": { "head": "64 KB" },
  "unmatched": "maybe"
}
"""
# line: what its message must speak of
PLACES = {
    4: "port",
    5: "forward",
    6: "agents",
    8: "https",
    12: "cannot be found",
    14: '"org"',
    19: '"scopes"',
    20: "agent_to_agent",
    22: "duration",
    23: "64KiB",
    24: "deny",
}


def test_every_mistake_is_told_with_its_place(folder):
    found = check(folder, MISTAKES)
    assert found.returncode == 2
    lines = (found.stdout + found.stderr).splitlines()
    told = {}
    for line in lines:
        match = re.match(r"(.*tokenhop\.jsonc):(\d+):(\d+): (\$\S*): (.+)", line)
        if match:
            assert match[1] == str(folder / "tokenhop.jsonc") and int(match[3]) >= 1
            told.setdefault(int(match[2]), []).append(match[0])
    missing = {line: word for line, word in PLACES.items() if not any(word in t for t in told.get(line, []))}
    assert not missing, "\n".join(lines)
    assert len(told[22]) == 3  # three on one line, each of its own
    columns = [int(text.split(":")[2]) for text in told[22]]
    assert columns == sorted(set(columns))
    assert f"{sum(map(len, told.values()))} mistakes" in lines[-1]


def test_suggests_the_nearest_key(folder):
    assert '"scopes"' in "".join(check(folder, MISTAKES).stderr.splitlines(keepends=True))


@pytest.mark.parametrize(
    "text, place",
    [
        ("", "1:1"),
        ("{", "1:"),
        ('{\n  "listeners": [],,\n}', "2:"),
        ('{\n  "workers": 2,\n  "workers": 3\n}', "3:"),
        ('{\n  "workers": 2,\n}', "2:"),
        ("[]", "1:1"),
        ('{ "workers": 1 } x', "1:"),
        ('{ "a": "\x01" }', "1:"),
    ],
)
def test_not_json(folder, text, place):
    found = check(folder, text)
    assert found.returncode == 2 and f"tokenhop.jsonc:{place}" in found.stderr, found.stderr


def test_a_right_one(folder, sandbox):
    found = check(folder, harness.base_config(sandbox))
    assert found.returncode == 0, found.stderr
    assert not found.stderr


def test_run_refuses_what_check_does(folder):
    found = check(folder, MISTAKES, "run")
    assert found.returncode == 2 and found.stderr == check(folder, MISTAKES).stderr


def test_missing_file(folder):
    for command in ("check", "run"):
        found = run(command, "-c", folder / "none.jsonc")
        assert found.returncode == 2 and "none.jsonc" in found.stderr


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666, 0o620])
def test_R16_key_that_others_may_reach(folder, sandbox, mode):
    key = folder / "agent1.pem"
    key.write_bytes(open(sandbox.key_file("agent1"), "rb").read())
    config = harness.base_config(sandbox)
    config["agents"]["agent1"]["auth"]["key_file"] = "agent1.pem"  # relative to the configuration
    key.chmod(0o600)
    assert check(folder, config).returncode == 0
    key.chmod(mode)
    for command in ("check", "run"):
        found = check(folder, config, command)
        assert found.returncode == 2, found.stderr
        assert "agent1.pem" in found.stderr and "chmod" in found.stderr and "key_file" in found.stderr
        assert "BEGIN" not in found.stderr


def test_key_that_is_none(folder, sandbox):
    key = folder / "agent1.pem"
    os.close(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600))
    config = harness.base_config(sandbox)
    config["agents"]["agent1"]["auth"]["key_file"] = str(key)
    for text in ("", "not a key that may be shown", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        key.write_text(text)
        found = check(folder, config)
        assert found.returncode == 2 and "key_file" in found.stderr
        assert "may be shown" not in found.stderr


def test_key_of_another_algorithm(folder, sandbox):
    config = harness.base_config(sandbox)
    config["agents"]["agent1"]["auth"]["key_file"] = sandbox.key_file("agent1", "k2")
    found = check(folder, config)
    assert found.returncode == 2 and "RS256" in found.stderr


def test_secret_inline_is_refused_and_not_shown(folder, sandbox):
    config = harness.base_config(sandbox)
    config["agents"]["agent1"]["auth"] = {"method": "client_secret_basic", "secret": "hunter2-and-more"}
    found = check(folder, config)
    assert found.returncode == 2 and "auth.secret" in found.stderr and "hunter2" not in found.stderr


def test_loopback_destination_must_be_allowed(folder, sandbox):
    config = harness.base_config(sandbox)
    config["egress"]["allow"] = []
    found = check(folder, config)
    assert found.returncode == 2 and "egress.allow" in found.stderr


def test_help_of_each_command():
    top = run("--help")
    assert top.returncode == 0 and "usage: tokenhop" in top.stdout and not top.stderr
    commands = re.findall(r"^  ([a-z]+(?: [a-z]+)?)  +\S", top.stdout, re.M)
    assert {"run", "check"} <= set(commands)
    for command in commands:
        found = run(*command.split(), "--help")
        assert found.returncode == 0, command
        assert f"usage: tokenhop {command.split()[0]}" in found.stdout and "-h, --help" in found.stdout
        assert not found.stderr
        for line in found.stdout.splitlines():
            assert len(line) <= 110, line
    assert re.fullmatch(r"(tokenhop )?\d+\.\d+\.\d+\n", run("--version").stdout)


@pytest.mark.parametrize("args", [[], ["no-such"], ["run"], ["check"], ["check", "--no-such"], ["run", "-c"]])
def test_usage_mistakes(args):
    found = run(*args)
    assert found.returncode == 2 and found.stderr and not found.stdout


def test_address_in_use(folder, sandbox):
    """Two may share an address only if they mean to: the same user and SO_REUSEPORT; a stranger's is told."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = harness.base_config(sandbox)
        config["listeners"][0]["address"] = f"127.0.0.1:{taken.getsockname()[1]}"
        found = check(folder, config, "run")
    assert found.returncode != 0 and str(config["listeners"][0]["address"]) in found.stderr
