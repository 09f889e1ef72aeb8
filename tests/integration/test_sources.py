"""What needs no exchange, and files that change while tokenhop runs: keys, secrets, tokens, certificates."""

import base64
import itertools
import json
import os
import pathlib
import re
import threading
import time
import urllib.parse

import pytest

import harness
from harness import wait_until
from loads import Steady
from rawnet import SLOW, response

LATE = 5 * SLOW  # by when a changed file is in force; it is looked at each 100 ms in these tests


def write(path, text, mode=0o600):
    """As a careful program does: aside, then renamed."""
    aside = path.with_name(path.name + ".new")
    aside.touch(mode)
    aside.chmod(mode)
    aside.write_text(text)
    aside.rename(path)
    return path


def echo(name):
    """The field of that name, as the destination got it; never as a field, as a credential would be removed there."""
    return lambda request: response(base64.b64encode((request.get(name) or "").encode()))


def got(answer):
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.content).decode()


def add(config, origin, **more):
    entry = {"name": "x", "url": origin.url("/"), "agents": ["agent1"], **more}
    config["connections"].append(entry)
    config["egress"]["allow"].append(origin.address)
    config["files"] = {"watch": "100ms"}
    config["workers"] = 1


def logged(hop, event):
    return [json.loads(line) for line in hop.stderr.splitlines() if f'"{event}"' in line]


# --- static ---


@pytest.mark.parametrize("how", ["bearer", "template", "basic", "environment"])
def test_static(tokenhop, origin, tmp_path, how):
    write(tmp_path / "key", "s3cret-of-the-service\n")
    write(tmp_path / "user", "svc")
    seen = origin(echo("X-Api-Key" if how == "template" else "Authorization"))
    more = {
        "bearer": {"value_file": str(tmp_path / "key")},
        "environment": {"value": {"env": "TEST_STATIC"}},
        "template": {
            "values": {"key": {"file": str(tmp_path / "key")}, "user": {"file": str(tmp_path / "user")}},
            "inject": {"header": "X-Api-Key", "template": "{user}={key}"},
        },
        "basic": {
            "values": {
                "password": {"file": str(tmp_path / "key")},
                "username": {"file": str(tmp_path / "user")},
            },
            "inject": {"scheme": "basic"},
        },
    }[how]
    hop = tokenhop(lambda config: add(config, seen, type="static", **more), env={"TEST_STATIC": "of-the-environment"})
    wanted = {
        "bearer": "Bearer s3cret-of-the-service",
        "environment": "Bearer of-the-environment",
        "template": "svc=s3cret-of-the-service",
        "basic": "Basic " + base64.b64encode(b"svc:s3cret-of-the-service").decode(),
    }[how]
    assert got(hop.get(seen.url("/"))) == wanted
    assert got(hop.get(seen.url("/"), headers={"Authorization": "Bearer mine", "X-Api-Key": "mine"})) == wanted
    hop.stop()
    assert "s3cret" not in hop.stderr + hop.output
    assert '"status":200' in hop.output and '"cache":"none"' in hop.output


def test_static_file_changes(tokenhop, origin, tmp_path):
    """New requests go with the new value; what cannot be used changes nothing, and is said once."""
    key = write(tmp_path / "key", "one")
    seen = origin(echo("Authorization"))
    hop = tokenhop(lambda config: add(config, seen, type="static", value_file=str(key)))
    assert got(hop.get(seen.url("/"))) == "Bearer one"
    connections = len(seen.raw)
    write(key, "two")
    wait_until(lambda: got(hop.get(seen.url("/"))) == "Bearer two", LATE)
    assert len(seen.raw) == connections, "the connection to the destination was not kept"
    for n, bad in enumerate(("", "a b", "one\ntwo\n"), 1):
        key.write_text(bad)  # in place
        wait_until(lambda: len(logged(hop, "config.kept")) == n, LATE)
        time.sleep(0.6)
        assert got(hop.get(seen.url("/"))) == "Bearer two"
        assert len(logged(hop, "config.mistake")) == len(logged(hop, "config.kept")) == n
    assert all(m["file"] == str(key) for m in logged(hop, "config.kept"))
    words = [m["what"] for m in logged(hop, "config.mistake")]
    assert ["empty" in words[0], "no bearer token" in words[1], "control" in words[2]] == [True] * 3
    write(key, "three", 0o644)
    wait_until(lambda: [m for m in logged(hop, "config.mistake") if "others than its owner" in m["what"]], LATE)
    key.chmod(0o600)  # nothing else: that is a change too
    wait_until(lambda: got(hop.get(seen.url("/"))) == "Bearer three", LATE)
    key.unlink()
    wait_until(lambda: [m for m in logged(hop, "config.mistake") if "cannot be found" in m["what"]], LATE)
    assert got(hop.get(seen.url("/"))) == "Bearer three"
    write(key, "four")
    wait_until(lambda: got(hop.get(seen.url("/"))) == "Bearer four", LATE)
    wait_until(lambda: [m["file"] for m in logged(hop, "config.reloaded")] == [str(key)] * 3, LATE)


def test_files_are_not_watched(tokenhop, origin, tmp_path):
    key = write(tmp_path / "key", "one")
    seen = origin(echo("Authorization"))

    def change(config):
        add(config, seen, type="static", value_file=str(key))
        config["files"]["watch"] = "0s"

    hop = tokenhop(change)
    write(key, "two")
    time.sleep(1.5)
    assert got(hop.get(seen.url("/"))) == "Bearer one"
    hop.reload()
    wait_until(lambda: got(hop.get(seen.url("/"))) == "Bearer two", LATE)


# --- passthrough ---


def test_passthrough(sandbox, tokenhop, origin):
    """The subject token itself, and the proof that goes with it: the one type by which it leaves."""
    seen = origin(lambda request: response(json.dumps([request.get(n) for n in NAMES]).encode()))
    NAMES = ["Authorization", "DPoP", "Proxy-Authorization"]
    hop = tokenhop(lambda config: add(config, seen, type="passthrough"))
    token = sandbox.mint()
    headers = {"DPoP": "a.b.c", "Proxy-Authorization": "Basic eDp5"}
    answer = hop.get(seen.url("/"), token, headers=headers)
    assert answer.json() == [f"Bearer {token}", "a.b.c", None]
    answer = hop.get(seen.url("/"), headers={"Authorization": "Basic eDp5"})
    assert answer.json() == ["Basic eDp5", None, None]
    answer = hop.get(seen.url("/"))
    assert (answer.status_code, answer.json()["code"]) == (401, "subject_token_missing")
    assert sandbox.requests("org_token") == 0
    hop.stop()
    assert token.rsplit(".", 1)[1] not in hop.stderr + hop.output


# --- subject tokens of a file ---


def test_subject_file_by_symlinks(sandbox, tokenhop, tmp_path):
    """A projected token, as Kubernetes renews it: a link to a folder is swapped."""
    for name, user in (("..1", "alice"), ("..2", "bob")):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "token", sandbox.mint(user=user) + "\n")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "token").symlink_to("..data/token")

    def change(config):
        entry = next(c for c in config["connections"] if c["name"] == "agent2")
        entry["subject"] = {"from": "file", "file": str(tmp_path / "token")}
        config["files"] = {"watch": "100ms"}

    hop = tokenhop(change)
    url = sandbox.url("agent2", "/a2a/whoami")

    def who(token=None):
        answer = hop.get(url, token)
        assert answer.status_code == 200, answer.text
        return re.match(r"00u\d([a-z]+)sandbox", answer.json()["sub"])[1]

    assert who() == "alice" and who(sandbox.mint(user="carol")) == "alice"
    assert sandbox.exchanges("alice", "agent1-agent2") == 1 and sandbox.exchanges("carol", "agent1-agent2") == 0
    (tmp_path / "..data.new").symlink_to("..2")
    os.replace(tmp_path / "..data.new", tmp_path / "..data")
    wait_until(lambda: who() == "bob", LATE)
    (tmp_path / "..2" / "token").write_text("not a token\n")
    wait_until(lambda: logged(hop, "config.mistake"), LATE)
    assert who() == "bob"
    assert logged(hop, "config.kept")[0]["file"] == str(tmp_path / "token")


def unless_fine(answer):
    return [answer] if answer.status_code != 200 else None


def test_R28_subject_file_that_ended(sandbox, tokenhop, tmp_path):
    token = write(tmp_path / "token", sandbox.mint(expires_in=2))

    def change(config):
        entry = next(c for c in config["connections"] if c["name"] == "agent2")
        entry["subject"] = {"from": "file", "file": str(token)}

    hop = tokenhop(change)
    url = sandbox.url("agent2", "/a2a/whoami")
    answer = wait_until(lambda: unless_fine(hop.get(url)), 10 * SLOW)[0]
    assert (answer.status_code, answer.json()["code"]) == (502, "exchange_failed")
    assert "expired" in answer.json()["detail"] and "WWW-Authenticate" not in answer.headers


# --- keys ---


def key_of(sandbox, kid):
    return pathlib.Path(sandbox.key_file("agent1", kid)).read_text()


@pytest.mark.threads
def test_key_is_rotated_under_load(sandbox, tokenhop, tmp_path):
    """Each request needs an exchange of its own; the key is changed to and fro, with a broken file in between. Both are
    registered; nothing fails, and both are used."""
    key = write(tmp_path / "agent1.pem", key_of(sandbox, "k1"))
    algs = {"k1": "RS256", "k2": "ES256"}

    def change(config):
        config["workers"] = 2
        config["files"] = {"watch": "100ms"}
        config["agents"]["agent1"]["auth"]["key_file"] = str(key)

    hop = tokenhop(change)
    tokens = (sandbox.mint(user="alice", claims={"n": n}) for n in itertools.count())
    lock = threading.Lock()
    url = sandbox.url("agent2", "/a2a/whoami")

    def pick():
        with lock:
            return url, next(tokens)

    with Steady(hop.port, pick, connections=4) as load:
        for turn, kid in enumerate(["k2", "k1", "k2"]):
            count = load.count
            # The configuration is edited first: it is read with the key, when that has come.
            hop.config["agents"]["agent1"]["auth"].update(kid=kid, alg=algs[kid])
            hop.write()
            key.write_text("-----BEGIN PRIVATE KEY-----\n")
            wait_until(lambda: len(logged(hop, "config.kept")) > turn, LATE)
            write(key, key_of(sandbox, kid))
            wait_until(lambda: len(logged(hop, "config.reloaded")) > turn, LATE)
            wait_until(lambda: load.count > count + 20, 20 * SLOW)
    assert not load.cuts and set(load.statuses) == {200}, (load.statuses, load.cuts)
    assert sandbox.requests("org_token", 200) >= load.count - len(load.statuses)


def test_new_key_signs(sandbox, tokenhop, origin, tmp_path):
    """Seen by a token endpoint that refuses everybody: the next assertion is the new key's."""
    key = write(tmp_path / "agent1.pem", key_of(sandbox, "k1"))
    body = json.dumps({"error": "invalid_target"}).encode()
    endpoint = origin(lambda request: response(body, 400, ["Content-Type: application/json"]))

    def change(config):
        config["files"] = {"watch": "100ms"}
        config["agents"]["agent1"]["auth"]["key_file"] = str(key)
        config["authorization_servers"]["org"]["token_endpoint"] = endpoint.url("/token")

    hop = tokenhop(change)

    def signed_with():
        count = len(endpoint.requests)
        hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(claims={"n": count}))
        assert len(endpoint.requests) == count + 1
        form = urllib.parse.parse_qs(endpoint.requests[-1].body.decode())
        return harness.decode(form["client_assertion"][0])[0]

    assert signed_with() == {"alg": "RS256", "kid": "k1"}
    hop.config["agents"]["agent1"]["auth"].update(kid="k2", alg="ES256")
    hop.write()
    time.sleep(1)
    assert signed_with() == {"alg": "RS256", "kid": "k1"}, "the configuration file is not watched"
    write(key, key_of(sandbox, "k2"))
    wait_until(lambda: logged(hop, "config.reloaded"), LATE)
    assert signed_with() == {"alg": "ES256", "kid": "k2"}


def test_refusal_of_the_old_secret_is_forgotten(sandbox, tokenhop, tmp_path):
    """The agent is refused, and that is remembered; with the right secret the same request succeeds at once."""
    sandbox.settings(agent1_auth_method=1)
    secret = write(tmp_path / "secret", "wrong-but-a-secret-all-the-same-0123456789")

    def change(config):
        config["agents"]["agent1"]["auth"] = {"method": "client_secret_basic", "secret_file": str(secret)}
        config["files"] = {"watch": "100ms"}

    hop = tokenhop(change)
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    for _ in range(4):  # each refusal is remembered for longer than the one before
        assert hop.get(url, token).status_code == 502
        time.sleep(1.2)
    assert hop.get(url, token).status_code == 502
    write(secret, sandbox.secret("agent1") + "\n")
    wait_until(lambda: logged(hop, "config.reloaded"), LATE)
    before = time.monotonic()
    answer = wait_until(lambda: (a := hop.get(url, token)).status_code == 200 and a, LATE)
    assert time.monotonic() - before < 1 * SLOW, "the old refusal was still remembered"
    assert answer.json()["sub"]


def test_cached_credentials_outlive_a_new_key(sandbox, tokenhop, tmp_path):
    key = write(tmp_path / "agent1.pem", key_of(sandbox, "k1"))

    def change(config):
        config["files"] = {"watch": "100ms"}
        config["agents"]["agent1"]["auth"]["key_file"] = str(key)

    hop = tokenhop(change)
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice")
    assert hop.get(url, token).status_code == 200
    hop.config["agents"]["agent1"]["auth"].update(kid="k2", alg="ES256")
    hop.write()
    write(key, key_of(sandbox, "k2"))
    wait_until(lambda: logged(hop, "config.reloaded"), LATE)
    assert hop.get(url, token).status_code == 200
    assert sandbox.exchanges("alice", "agent1-agent2") == 1
    assert hop.get(url, sandbox.mint(user="bob")).status_code == 200


def test_actor_token_of_a_file(sandbox, tokenhop, origin, tmp_path):
    """Who acts is said by the workload's own token, and by the next one when that was renewed."""
    actor = write(tmp_path / "actor", "actor-token-1\n")
    body = json.dumps({"error": "invalid_target"}).encode()
    endpoint = origin(lambda request: response(body, 400, ["Content-Type: application/json"]))
    seen = origin()

    def change(config):
        config["authorization_servers"]["other"] = {
            "issuer": "https://other.example",
            "token_endpoint": endpoint.url("/token"),
        }
        more = {"type": "token_exchange", "authorization_server": "other", "subject": {"verify": False}}
        add(config, seen, actor={"from": "file", "file": str(actor)}, audience="urn:x", **more)

    hop = tokenhop(change)

    def actor_sent():
        hop.get(seen.url("/"), sandbox.mint(claims={"n": len(endpoint.requests)}))
        form = urllib.parse.parse_qs(endpoint.requests[-1].body.decode())
        assert form["actor_token_type"] == ["urn:ietf:params:oauth:token-type:jwt"]
        return form["actor_token"][0]

    assert actor_sent() == "actor-token-1"
    write(actor, "actor-token-2\n")
    wait_until(lambda: actor_sent() == "actor-token-2", LATE)
    hop.stop()
    assert "actor-token" not in hop.stderr + hop.output


def test_static_is_audited(tokenhop, origin, tmp_path):
    """Whose request was given it, at which connection; a destination that cannot be reached refuses nobody."""
    key = write(tmp_path / "key", "s3cret-of-the-service\n")
    seen = origin()
    audit = tmp_path / "audit.jsonl"

    def change(config):
        add(config, seen, type="static", value_file=str(key))
        config["log"] = {"audit_file": str(audit)}

    hop = tokenhop(change)
    assert hop.get(seen.url("/")).status_code == 200
    seen.close()
    assert hop.get(seen.url("/")).status_code == 502
    hop.stop()
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    decisions = [line for line in lines if line.get("connection") == "x"]
    assert len(decisions) == 2, lines
    assert all(line["agent"] == "agent1" and "error" not in line for line in decisions), decisions
    assert "s3cret" not in audit.read_text()
