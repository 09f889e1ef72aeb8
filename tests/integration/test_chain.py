"""Chains of delegation, end to end: agent1 -> tokenhop -> agent2 -> tokenhop -> agent3."""

import pytest

import harness


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
