"""Chains of delegation, end to end: agent1 -> tokenhop -> agent2 -> tokenhop -> agent3."""

import random
import time

import pytest

import harness
from loads import Steady
from rawnet import SLOW


@pytest.fixture
def both(own_sandbox, tokenhop):
    """A sandbox whose agent2 calls on through the second listener of the same tokenhop."""
    port = harness.free_port()
    sandbox = own_sandbox("--agent2-proxy", f"http://127.0.0.1:{port}")

    def change(config):
        config["listeners"][1]["address"] = f"127.0.0.1:{port}"

    return sandbox, tokenhop(change, agents=["agent1", "agent2"], of=sandbox)


def seen_by(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]["parts"][1]["data"]


@pytest.mark.parametrize("start", ["user", "machine"])
def test_three_hops(both, start):
    sandbox, hop = both
    token = sandbox.mint(user="alice") if start == "user" else sandbox.mint(type="access_token", user="service")
    for _ in range(2):  # the second time from the cache
        at_agent2 = seen_by(hop.post(sandbox.url("agent2", "/a2a/"), token, json={"call": "agent3"}))
        assert at_agent2["agent3"]["status"] == 200, at_agent2["agent3"]
        at_agent3 = at_agent2["agent3"]["body"]["result"]["parts"][1]["data"]
        started = [] if start == "user" else [sandbox.client_id("service")]
        assert at_agent2["chain"] == [sandbox.client_id("agent1"), *started]
        assert at_agent3["chain"] == [sandbox.client_id("agent2"), sandbox.client_id("agent1"), *started]
        assert at_agent3["sub"] == at_agent2["sub"]
    who = "alice" if start == "user" else "service"
    assert sandbox.exchanges(who, "agent1-agent2") == 1
    assert sandbox.exchanges(who, "agent2-agent3") == 1
    # each agent only ever saw tokens that were made for it
    assert sandbox.stats()["counters"].get("agent_refused", {}) == {}


@pytest.mark.threads
def test_users_on_chains_never_mix(both):
    """Alice and bob and a machine over three hops at once: each agent sees its own caller, on kept connections."""
    sandbox, hop = both
    tokens = {sandbox.mint(user=user): user for user in ("alice", "bob")}
    tokens[sandbox.mint(type="access_token", user="service")] = None
    agent1, agent2, service = (sandbox.client_id(name) for name in ("agent1", "agent2", "service"))
    url = sandbox.url("agent2", "/a2a/")
    body = {"method": "POST", "fields": ["Content-Type: application/json"], "body": b'{"call": "agent3"}'}

    def check(asked, got):
        user = tokens[asked[1]]
        assert got.status == 200, got.body
        at_agent2 = got.json()["result"]["parts"][1]["data"]
        assert at_agent2["agent3"]["status"] == 200, at_agent2["agent3"]
        at_agent3 = at_agent2["agent3"]["body"]["result"]["parts"][1]["data"]
        started = [] if user else [service]
        assert at_agent2["user"] == at_agent3["user"] == user
        assert at_agent2["chain"] == [agent1, *started]
        assert at_agent3["chain"] == [agent2, agent1, *started]

    choices = list(tokens)
    with Steady(hop.port, lambda: (url, random.choice(choices), body), check, connections=12) as load:
        time.sleep(2 * SLOW)
    assert load.count > 30 and not load.cuts
    for who in ("alice", "bob", "service"):
        assert sandbox.exchanges(who, "agent1-agent2") == sandbox.exchanges(who, "agent2-agent3") == 1
    assert sandbox.stats()["counters"].get("agent_refused", {}) == {}


def test_chain_is_kept_whole(both):
    """R26: a server that shortens the chain, or forgets it, is not believed."""
    sandbox, hop = both
    token = sandbox.mint(type="access_token", user="service")
    for kind in ("shortened_chain", "lost_chain", "changed_actor"):
        sandbox.fault("aus3_token", kind, count=-1)
        answer = seen_by(hop.post(sandbox.url("agent2", "/a2a/"), token, json={"call": "agent3"}))
        assert answer["agent3"]["status"] == 502, (kind, answer["agent3"])
        sandbox.clear_faults()
    assert sandbox.requests("agent3") == 0


def test_both_kinds_of_subject(sandbox, tokenhop):
    """An ID token of the user's app, one of a linked app, and an access token made for agent 1: told apart by themselves."""
    hop = tokenhop()
    url = sandbox.url("agent2", "/a2a/whoami")
    subjects = {
        "id_token": sandbox.mint(),
        "linked app": sandbox.mint(audience="webapp"),
        "access_token": sandbox.mint(type="access_token", audience="agent1", client="service"),
    }
    for kind, token in subjects.items():
        seen = hop.get(url, token)
        assert seen.status_code == 200, (kind, seen.text)
        assert seen.json()["user"] == "alice"
        assert seen.json()["chain"][0] == sandbox.client_id("agent1")
    assert sandbox.exchanges("alice", "agent1-agent2") == 3
