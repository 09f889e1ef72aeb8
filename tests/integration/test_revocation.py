"""What is dropped is revoked: on exit, after a removal; and nobody waits for it (R24; RFC 7009)."""

import json
import signal
import time

import pytest

from harness import wait_until
from rawnet import SLOW

CALLS = ["agent2", "api"]


def lines(hop, event):
    return [line for line in map(json.loads, hop.stderr.splitlines()) if line["event"] == event]


def start(tokenhop, **more):
    return tokenhop(lambda config: config.update(more))


def fill(sandbox, hop, users=("alice", "bob"), names=CALLS):
    """One credential for each; returns their subject tokens."""
    tokens = [sandbox.mint(user=user) for user in users]
    for token in tokens:
        for name in names:
            answer = hop.get(sandbox.url(name, "/a2a/whoami"), token)
            assert answer.status_code == 200, answer.text
    return tokens


def revoked(sandbox):
    return sum(sandbox.requests(f"{server}_revoke", 200) for server in sandbox.info["servers"])


def hang(sandbox):
    """The revocation endpoint of agent2's server; returns what tells whether it was asked."""
    sandbox.fault("aus2_revoke", "hang", count=1000)
    return lambda: sandbox.faults()[0]["left"] < 1000


def check_silence(hop, tokens):
    for token in tokens:
        assert token not in hop.stderr + hop.output
        assert token.split(".")[2] not in hop.stderr + hop.output


def test_r24_all_that_is_kept_is_revoked_on_exit(sandbox, tokenhop):
    hop = start(tokenhop, revoke_on_exit=True)
    tokens = fill(sandbox, hop)
    assert revoked(sandbox) == 0
    hop.stop()
    assert revoked(sandbox) == 4
    assert sandbox.revoke() == 0  # nothing was left to the provider
    ended = lines(hop, "revocation.ended")
    assert [(line["why"], line["revoked"], line["failed"], line["unasked"]) for line in ended] == [("exit", 4, 0, 0)]
    # Each assertion was for the endpoint that it went to, and new: the sandbox has looked.
    assert sandbox.refused() == {}
    check_silence(hop, tokens)


def test_nothing_is_revoked_unless_it_is_said(sandbox, tokenhop):
    hop = start(tokenhop)
    fill(sandbox, hop, ["alice"])
    hop.stop()
    assert revoked(sandbox) == 0
    assert sandbox.revoke() == 2
    assert lines(hop, "revocation.ended") == []


def test_r24_an_empty_cache_ends_at_once(sandbox, tokenhop):
    hop = start(tokenhop, revoke_on_exit=True)
    before = time.monotonic()
    hop.stop()
    assert time.monotonic() - before < 2 * SLOW


def test_r24_more_than_run_at_a_time(sandbox, tokenhop):
    hop = start(tokenhop, revoke_on_exit=True, workers=2)
    for i in range(60):
        fill(sandbox, hop, ["alice"], ["agent2"])
    hop.stop()
    assert revoked(sandbox) == 60
    assert lines(hop, "revocation.ended")[0]["revoked"] == 60


def test_r22_a_revocation_endpoint_that_hangs_is_bounded(sandbox, tokenhop):
    """And the other servers' tokens are revoked all the same."""
    hop = start(tokenhop, revoke_on_exit=True, timeouts={"revoke": f"{int(4 * SLOW)}s"})
    fill(sandbox, hop, ["alice", "bob"])
    hang(sandbox)
    before = time.monotonic()
    hop.stop()
    assert time.monotonic() - before < 4 * SLOW + 2
    assert len(lines(hop, "revocation.failed")) == 2
    assert {line["authorization_server"] for line in lines(hop, "revocation.failed")} == {"aus2"}
    assert {line["error"] for line in lines(hop, "revocation.failed")} == {"EXCHANGE_TIMEOUT"}
    ended = lines(hop, "revocation.ended")[0]
    assert (ended["level"], ended["revoked"], ended["failed"]) == ("warn", 2, 2)


def test_r24_a_second_signal_ends_at_once(sandbox, tokenhop):
    hop = start(tokenhop, revoke_on_exit=True, timeouts={"revoke": "1m"})
    fill(sandbox, hop, ["alice"], ["agent2"])
    was_asked = hang(sandbox)
    hop.process.send_signal(signal.SIGTERM)
    wait_until(was_asked)
    assert hop.is_running()
    before = time.monotonic()
    hop.stop()
    assert time.monotonic() - before < 3 * SLOW
    assert lines(hop, "revocation.ended")[0]["failed"] == 1


def test_r13_our_own_client_is_refused(sandbox, tokenhop):
    hop = start(tokenhop, revoke_on_exit=True)
    tokens = fill(sandbox, hop, ["alice"])
    sandbox.fault("aus2_revoke", "error", count=-1, status=401, error="invalid_client")
    hop.stop()
    failed = lines(hop, "revocation.failed")
    assert [(line["connection"], line["agent"], line["oauth_error"], line["status"]) for line in failed] == [
        ("agent2", "agent1", "invalid_client", 401)
    ]
    fingerprints = {json.loads(line)["subject"] for line in hop.output.splitlines()}
    assert failed[0]["subject"] in fingerprints  # whose it was can be looked up in the access log
    assert lines(hop, "revocation.ended")[0]["revoked"] == 1
    assert sandbox.revoke(server="aus2") == 1
    check_silence(hop, tokens)


@pytest.mark.parametrize("count,n_revoked", [(1, 1), (2, 0)])
def test_retry_after_is_kept_once(sandbox, tokenhop, count, n_revoked):
    hop = start(tokenhop, revoke_on_exit=True)
    fill(sandbox, hop, ["alice"], ["agent2"])
    sandbox.fault("aus2_revoke", "unavailable", count=count, retry_after=1)
    before = time.monotonic()
    hop.stop()
    assert 1 <= time.monotonic() - before < 5 * SLOW, hop.stderr
    assert sandbox.faults() == [] and sandbox.requests("aus2_revoke") == n_revoked
    assert lines(hop, "revocation.ended")[0]["revoked"] == n_revoked


def test_a_removed_connection_is_revoked_by_the_keys_before(sandbox, tokenhop):
    hop = start(tokenhop, revoke_on_removal=True)
    tokens = fill(sandbox, hop)
    hop.config["connections"] = [c for c in hop.config["connections"] if c["name"] != "agent2"]
    hop.config["revoke_on_removal"] = False  # what counts is what was said before
    hop.config["agents"]["agent1"]["auth"].update(key_file=sandbox.key_file("agent2"))
    hop.reload()
    wait_until(lambda: lines(hop, "revocation.ended"))
    assert sandbox.requests("aus2_revoke", 200) == 2
    assert revoked(sandbox) == 2
    assert sandbox.revoke(server="aus2") == 0
    # What is still configured is served from the cache.
    assert hop.get(sandbox.url("api", "/a2a/whoami"), tokens[0]).status_code == 200
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), tokens[0]).status_code == 403
    hop.stop()
    assert lines(hop, "revocation.ended")[0]["why"] == "removal"
    assert revoked(sandbox) == 2


def test_a_changed_connection_is_dropped_and_left_to_expire(sandbox, tokenhop):
    hop = start(tokenhop)
    token = fill(sandbox, hop, ["alice"], ["agent2"])[0]
    hop.config["connections"][0]["scopes"] = ["chat.read"]
    hop.reload()
    wait_until(lambda: lines(hop, "config.reloaded"))
    assert lines(hop, "cache.outdated")[0]["entries"] == 1
    before = sandbox.exchanges("alice", "agent1-agent2")
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), token).status_code == 200
    assert sandbox.exchanges("alice", "agent1-agent2") == before + 1
    assert revoked(sandbox) == 0


def test_requests_do_not_wait_for_it(sandbox, tokenhop):
    hop = start(tokenhop, revoke_on_removal=True, workers=1)
    for i in range(40):
        fill(sandbox, hop, ["alice"], ["agent2"])
    token = fill(sandbox, hop, ["alice"], ["api"])[0]
    was_asked = hang(sandbox)
    hop.config["connections"] = [c for c in hop.config["connections"] if c["name"] != "agent2"]
    hop.reload()
    wait_until(was_asked)
    for subject in [token, sandbox.mint(user="bob")]:  # from the cache, and by an exchange
        before = time.monotonic()
        assert hop.get(sandbox.url("api", "/a2a/whoami"), subject).status_code == 200
        assert time.monotonic() - before < 1 * SLOW
    sandbox.clear_faults()
    hop.stop()


def test_a_mended_key_shows_at_once(sandbox, tokenhop):
    """A refusal of our own client is not remembered beyond the configuration that caused it."""
    hop = start(tokenhop)
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    good = hop.config["agents"]["agent1"]["auth"]["key_file"]
    hop.config["agents"]["agent1"]["auth"]["key_file"] = sandbox.key_file("agent2")
    hop.reload()
    wait_until(lambda: lines(hop, "config.reloaded"))
    assert hop.get(url, token).status_code >= 500
    refusals = sandbox.refused()
    assert hop.get(url, token).status_code >= 500
    assert sandbox.refused() == refusals  # remembered
    hop.config["agents"]["agent1"]["auth"]["key_file"] = good
    hop.reload()
    wait_until(lambda: len(lines(hop, "config.reloaded")) == 2)
    assert hop.get(url, token).status_code == 200
