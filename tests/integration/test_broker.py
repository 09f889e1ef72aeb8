"""One exchange for all who wait, nobody's credential for another, and what a failing server costs (R5, R14, R15)."""

import asyncio
import hashlib
import random
import time

import pytest

import harness
from harness import wait_until
from loads import Client, Steady, at_once
from rawnet import SLOW, Connection, request, response, serve_at


def two_workers(config):
    config["workers"] = 2


@pytest.mark.threads
def test_R14_thousand_at_once_one_exchange(sandbox, tokenhop):
    hop = tokenhop(two_workers)
    sandbox.fault("org_token", "slow", ms=int(1000 * SLOW))  # all have come before it is answered
    token = sandbox.mint()
    got = at_once(hop.port, [(sandbox.url("agent2", "/a2a/whoami"), token)] * 1000)
    assert {answer.status for answer in got} == {200}
    assert len({answer.json()["token_sha256"] for answer in got}) == 1
    assert sandbox.exchanges("alice", "agent1-agent2") == 1
    assert sandbox.requests("org_token") == sandbox.requests("aus2_token") == 1
    hop.stop()
    workers = {line.split('"worker":')[1][0] for line in hop.output.splitlines()}
    assert workers == {"0", "1"}  # they were spread, so that it took both to agree


@pytest.mark.threads
def test_R14_waiters_that_leave_harm_no_other(sandbox, tokenhop):
    """The one that began the exchange leaves too."""
    hop = tokenhop(two_workers)
    sandbox.fault("org_token", "slow", ms=int(600 * SLOW))
    call = (sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())

    async def run():
        first = Client(hop.port)
        asking = asyncio.ensure_future(first.ask(*call))
        await asyncio.sleep(0.1 * SLOW)
        others = [Client(hop.port) for _ in range(200)]
        waiting = [asyncio.ensure_future(client.ask(*call)) for client in others]
        await asyncio.sleep(0.2 * SLOW)
        first.leave()
        for client in others[::2]:
            client.leave()
        answers = await asyncio.gather(*waiting[1::2])
        asking.cancel()
        for task in waiting[::2]:
            task.cancel()
        return answers

    assert {answer.status for answer in asyncio.run(run())} == {200}
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


def test_R14_all_waiters_leave_and_it_is_cached(sandbox, tokenhop):
    hop = tokenhop()
    sandbox.fault("org_token", "slow", ms=400)
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    with Connection(hop.port) as connection:
        connection.send(request(url, token))
        time.sleep(0.1)
    wait_until(lambda: sandbox.requests("aus2_token") == 1, 10 * SLOW)
    assert hop.get(url, token).status_code == 200
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


@pytest.mark.threads
def test_R15_users_agents_and_connections_never_mix(sandbox, tokenhop):
    """Kept connections on which each request is somebody else's; each answer tells who the destination saw."""
    hop = tokenhop(two_workers, agents=["agent1", "agent2"])
    calls = []
    for user in ("alice", "bob"):
        for n in range(2):  # two tokens of the same user are two keys
            token = sandbox.mint(user=user, nonce=str(n))
            for target in ("agent2", "api"):
                calls.append((sandbox.url(target, "/a2a/whoami"), token, user, target, "agent1"))
        token = harness.Client(sandbox, "agent1").both_legs(token)  # with which agent 2 was called
        calls.append((sandbox.url("agent3", "/a2a/whoami"), token, user, "agent3", "agent2"))

    def load(agent):
        mine = [call for call in calls if call[4] == agent]
        return Steady(hop.port_of(agent), lambda: random.choice(mine)[:2], check, connections=16)

    by_call = {(call[0], call[1]): call for call in calls}
    tokens_seen = {}

    def check(asked, got):
        url, token, user, target, agent = by_call[asked]
        assert got.status == 200, got.body
        seen = got.json()
        assert (seen["user"], seen["agent"]) == (user, target)
        assert seen["chain"][0] == sandbox.client_id(agent)
        assert len(seen["chain"]) == (1 if agent == "agent1" else 2)
        assert tokens_seen.setdefault(asked, seen["token_sha256"]) == seen["token_sha256"]

    with load("agent1") as first, load("agent2") as second:
        time.sleep(3)
    assert first.count > 100 and second.count > 100 and not first.cuts and not second.cuts
    assert len(set(tokens_seen.values())) == len(calls)  # each key has a credential of its own
    for user in ("alice", "bob"):
        assert sandbox.exchanges(user, "agent1-agent2") == 2 + 1
        assert sandbox.exchanges(user, "agent1-api") == 2
        assert sandbox.exchanges(user, "agent2-agent3") == 1


# The destination refuses a credential


BODIES = {"none": ("GET", b""), "small": ("POST", b"x" * 1000), "held": ("POST", b"x" * 60000)}


@pytest.mark.parametrize("name", BODIES)
def test_R5_401_one_retry_with_a_new_credential(sandbox, tokenhop, name):
    method, body = BODIES[name]
    hop = tokenhop()
    sandbox.settings(introspect=1)
    url, token = sandbox.url("agent2", "/a2a/echo"), sandbox.mint()
    assert hop.get(url, token).status_code == 200
    assert sandbox.revoke() == 1
    answer = hop.request(method, url, token, data=body or None)
    assert answer.status_code == 200
    assert answer.json()["body_sha256"].startswith(hashlib.sha256(body).hexdigest()[:8])
    assert sandbox.exchanges("alice", "agent1-agent2") == 2
    statuses = [r for r in sandbox.records("agent2") if r["path"] == "/a2a/echo"]
    assert len(statuses) == 3 and len({r["credential"] for r in statuses}) == 2
    assert hop.get(url, token).status_code == 200
    assert sandbox.exchanges("alice", "agent1-agent2") == 2


def test_R5_chunked_body_is_held_too(sandbox, tokenhop):
    hop = tokenhop()
    sandbox.settings(introspect=1)
    url, token = sandbox.url("agent2", "/a2a/echo"), sandbox.mint()
    assert hop.get(url, token).status_code == 200
    sandbox.revoke()
    answer = hop.post(url, token, data=iter([b"a" * 5000] * 4))
    assert answer.status_code == 200 and answer.json()["body_length"] == 20000, answer.text


def test_R5_large_body_is_not_sent_twice(sandbox, tokenhop):
    """The 401 is the caller's; the next call has the new credential."""
    hop = tokenhop()
    sandbox.settings(introspect=1)
    url, token = sandbox.url("agent2", "/a2a/echo"), sandbox.mint()
    assert hop.get(url, token).status_code == 200
    sandbox.revoke()
    assert hop.post(url, token, data=b"x" * 1_000_000).status_code == 401
    assert hop.post(url, token, data=b"x" * 1_000_000).status_code == 200
    assert sandbox.exchanges("alice", "agent1-agent2") == 2


def test_destination_that_always_refuses(sandbox, tokenhop):
    """What it said itself is passed on, and it does not cost an exchange each time."""
    hop = tokenhop()
    sandbox.fault("agent2", "unauthorized", count=-1)
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    for _ in range(20):
        answer = hop.get(url, token)
        assert answer.status_code == 401 and "played" in answer.headers["WWW-Authenticate"]
    assert sandbox.exchanges("alice", "agent1-agent2") <= 3


@pytest.mark.threads
def test_revocation_under_load(sandbox, tokenhop):
    """Nobody notices: whoever is refused comes again with the new credential, which is got once."""
    hop = tokenhop(two_workers)
    sandbox.settings(introspect=1)
    tokens = [sandbox.mint(user=user) for user in ("alice", "bob")]
    url = sandbox.url("agent2", "/a2a/whoami")
    with Steady(hop.port, lambda: (url, random.choice(tokens)), connections=24) as load:
        time.sleep(0.5 * SLOW)
        before = load.count
        sandbox.revoke()
        time.sleep(1 * SLOW)
    assert load.statuses == {200: load.count} and not load.cuts
    assert load.count > before > 0
    assert sandbox.exchanges("alice", "agent1-agent2") == sandbox.exchanges("bob", "agent1-agent2") == 2


# Time


def test_renewed_ahead_of_its_end(sandbox, tokenhop):
    """A credential in use is renewed before it ends; nobody waits for that, however slow the server is."""
    hop = tokenhop(lambda config: config.update(cache={"margin": "2s"}))
    sandbox.settings(access_token_lifetime=13)
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    assert hop.get(url, token).status_code == 200
    sandbox.fault("org_token", "slow", count=1, ms=700)
    seen = set()

    def check(_, got):
        assert got.status == 200
        seen.add(got.json()["token_sha256"])

    with Steady(hop.port, lambda: (url, token), check, connections=2, pause=0.05) as load:
        wait_until(lambda: len(seen) == 2, 14 * SLOW)
    assert load.slowest < 0.6 * SLOW and not load.cuts
    assert sandbox.exchanges("alice", "agent1-agent2") == 2
    assert '"cache":"refreshed"' in hop.output or wait_until(
        lambda: '"cache":"refreshed"' in hop.output, 5
    )


def test_lives_no_longer_than_its_subject(sandbox, tokenhop):
    hop = tokenhop()
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(expires_in=2)
    assert hop.get(url, token).status_code == 200
    wait_until(lambda: hop.get(url, token).status_code == 401, 6)
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


def test_lifetime_is_capped(sandbox, tokenhop):
    hop = tokenhop(lambda config: config.update(cache={"max_lifetime": "1s", "margin": "100ms"}))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()
    assert hop.get(url, token).status_code == hop.get(url, token).status_code == 200
    assert sandbox.exchanges("alice", "agent1-agent2") == 1
    time.sleep(1.2)
    assert hop.get(url, token).status_code == 200
    assert sandbox.exchanges("alice", "agent1-agent2") == 2


# The server refuses, or is away


def test_refusal_is_remembered_briefly(sandbox, tokenhop):
    """For this subject only, and not for long."""
    hop = tokenhop()
    url = sandbox.url("agent2", "/a2a/whoami")
    carol, alice = sandbox.mint(user="carol"), sandbox.mint(user="alice")
    got = at_once(hop.port, [(url, carol)] * 50)
    statuses = {answer.status for answer in got}
    assert len(statuses) == 1 and statuses <= {401, 403}
    assert {hop.get(url, carol).status_code for _ in range(20)} == statuses
    assert sandbox.requests("org_token") == 1
    assert hop.get(url, alice).status_code == 200
    time.sleep(1.6)
    assert hop.get(url, carol).status_code in statuses
    assert sandbox.requests("org_token") == 3  # carol twice, alice once


@pytest.mark.threads
def test_server_down_cached_callers_do_not_notice(sandbox, tokenhop):
    """Who has a credential goes on; who has none is told quickly when to come back; then all is well again."""
    hop = tokenhop(two_workers)
    url = sandbox.url("agent2", "/a2a/whoami")
    alice, bob = sandbox.mint(user="alice"), sandbox.mint(user="bob")
    assert hop.get(url, alice).status_code == 200
    sandbox.fault("org_token", "close", count=-1)

    def check(_, got):
        assert got.status == 200

    with Steady(hop.port, lambda: (url, alice), check, connections=8) as cached:
        others = at_once(hop.port, [(url, bob)] * 100)
        for answer in others:
            assert answer.status == 503 and answer.json()["code"] == "exchange_unavailable"
            assert 1 <= int(answer.fields["retry-after"]) <= 60
            assert answer.seconds < 5 * SLOW
        asked = sandbox.requests("org_token")
        again = at_once(hop.port, [(url, bob)] * 100)
        assert {answer.status for answer in again} == {503}
        assert sandbox.requests("org_token") <= asked + 2  # it is left in peace
        sandbox.clear_faults()
        wait_until(lambda: hop.get(url, bob).status_code == 200, 20 * SLOW)
    assert cached.count > 0 and not cached.cuts


def test_waiting_exchanges_are_bounded(sandbox, tokenhop):
    hop = tokenhop(lambda config: config.update(limits={"waiting_exchanges": 10, "per_caller": {"waiting": 100}}, workers=1))
    sandbox.fault("org_token", "slow", count=-1, ms=600)
    url = sandbox.url("agent2", "/a2a/whoami")
    got = at_once(hop.port, [(url, sandbox.mint(nonce=str(n))) for n in range(40)])
    counts = {status: sum(a.status == status for a in got) for status in {a.status for a in got}}
    assert counts == {200: 10, 503: 30}
    refused = next(answer for answer in got if answer.status == 503)
    assert refused.json()["code"] == "overloaded" and int(refused.fields["retry-after"]) >= 1


def test_cache_is_bounded(sandbox, tokenhop, origin):
    """More subjects than entries: some go, all are served."""
    seen = origin()

    def change(config):
        config["cache"] = {"max_entries": 64}
        serve_at(config, seen)

    hop = tokenhop(change, alg="ES256")
    seen.answer = lambda _: response()
    tokens = [sandbox.mint(nonce=str(n)) for n in range(200)]
    for some in (tokens[i : i + 50] for i in range(0, 200, 50)):
        assert {answer.status for answer in at_once(hop.port, [(seen.url(), t) for t in some])} == {200}
    assert len({r.get("Authorization") for r in seen.requests}) == 200
    assert sandbox.exchanges("alice", "agent1-agent2") == 200
    assert {answer.status for answer in at_once(hop.port, [(seen.url(), t) for t in tokens])} == {200}
    assert sandbox.exchanges("alice", "agent1-agent2") >= 400 - 64
