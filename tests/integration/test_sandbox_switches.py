"""What nobody knows of Okta for certain is a switch of the sandbox (reference, section 15): both positions of each,
over the wire."""

import time

import pytest

from harness import TT, Client, decode
from test_sandbox import last_reason, refusal

OT = "urn:okta:params:oauth:token-type:"
WEATHER = "agent1-weather"
CODE = "agent1-code"


def jag(client, token=None, **form):
    answer = client.exchange(token or client.sandbox.mint(), **form)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


def machine(sandbox):
    return sandbox.mint(type="access_token", user="service")


def ask_vault(client, token, connection, kind):
    type_ = "access_token" if "://" in str(decode(token)[1]["aud"]) else "id_token"
    return client.post("org", {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": token,
        "subject_token_type": TT + type_, "requested_token_type": OT + kind,
        "resource": client.sandbox.info["vault"][connection]["resource"]})


def test_scope_on_the_second_leg(sandbox, client):
    refusal(client.redeem(jag(client), scope="chat.read"), 400, "invalid_scope")
    sandbox.settings(second_leg_scope=1)
    assert client.redeem(jag(client), scope="chat.read").json()["scope"] == "chat.read"
    assert client.redeem(jag(client)).json()["scope"] == "chat.read chat.history"
    sandbox.settings(second_leg_scope=2)
    assert client.redeem(jag(client), scope="chat.read").json()["scope"] == "chat.read"
    assert client.redeem(jag(client)).json()["scope"] == ""


def test_resource_on_the_second_leg(sandbox, client):
    resource = sandbox.resource("agent2")
    assert client.redeem(jag(client)).status_code == 200
    assert client.redeem(jag(client), resource=resource).status_code == 200
    refusal(client.redeem(jag(client), resource=resource + "/"), 400, "invalid_target")
    sandbox.settings(second_leg_resource=0)
    assert client.redeem(jag(client)).status_code == 200
    refusal(client.redeem(jag(client), resource=resource), 400, "invalid_request")
    sandbox.settings(second_leg_resource=2)
    assert client.redeem(jag(client), resource=resource).status_code == 200
    refusal(client.redeem(jag(client)), 400, "invalid_target")
    api = client.exchange(sandbox.mint(), "api", "orders.read").json()["access_token"]
    assert client.redeem(api, "api").status_code == 200  # the ID-JAG names none


def test_a_machine_on_the_second_leg(sandbox, client):
    assert client.redeem(jag(client, machine(sandbox))).status_code == 200
    sandbox.settings(second_leg_machine=0)
    refusal(client.redeem(jag(client, machine(sandbox))), 400, "invalid_grant")
    assert client.redeem(jag(client)).status_code == 200


@pytest.mark.parametrize("connection,kind,status", [
    (WEATHER, "vaulted-secret", 200), ("agent1-ledger", "service-account", 200), (CODE, "oauth-sts", 400)])
def test_a_machine_at_the_vault(sandbox, client, connection, kind, status):
    answer = ask_vault(client, machine(sandbox), connection, kind)
    assert answer.status_code == status
    if status == 400:
        refusal(answer, 400, "interaction_required")  # for ever: nobody can consent
    sandbox.settings(vault_machine=0)
    refusal(ask_vault(client, machine(sandbox), connection, kind), 400, "invalid_grant")
    assert last_reason(sandbox) == "subject_machine"
    assert ask_vault(client, sandbox.mint(), WEATHER, "vaulted-secret").status_code == 200


def test_the_length_of_a_chain(sandbox):
    agent2 = Client(sandbox, "agent2")

    def chain(length, **more):
        token = sandbox.mint(type="access_token", audience="agent2", client="agent1", chain=length, **more)
        return agent2.exchange(token, "agent3", "chat.read")

    assert chain(4).status_code == 200
    refusal(chain(5), 400, "invalid_subject_token_act_claim_depth")
    sandbox.settings(max_chain=3)
    assert chain(2).status_code == 200
    refusal(chain(3), 400, "invalid_subject_token_act_claim_depth")


def test_whether_the_start_counts(sandbox):
    agent2 = Client(sandbox, "agent2")
    sandbox.settings(max_chain=2)
    token = Client(sandbox, "agent1").both_legs(machine(sandbox))  # agent1 > service
    refusal(agent2.exchange(token, "agent3", "chat.read"), 400, "invalid_subject_token_act_claim_depth")
    sandbox.settings(chain_counts_start=0)
    assert agent2.exchange(token, "agent3", "chat.read").status_code == 200


def test_how_a_missing_link_is_told(sandbox, client):
    rogue = sandbox.mint(type="access_token", user="rogue")
    refusal(client.exchange(rogue), 400, "invalid_grant")
    sandbox.settings(missing_link_target=1)
    refusal(client.exchange(rogue), 400, "invalid_target")
    assert last_reason(sandbox) == "no_delegation_link"


def test_how_long_the_page_is_good(sandbox, client):
    def page():
        return refusal(ask_vault(client, sandbox.mint(), CODE, "oauth-sts"), 400,
                       "interaction_required").json()["interaction_uri"]

    first = page()
    assert page() == first
    assert sandbox.http.get(first).status_code == 200
    sandbox.reset()
    sandbox.settings(interaction_lifetime=1)
    first = page()
    time.sleep(1.1)
    assert sandbox.http.get(first).status_code == 400
    second = page()
    assert second != first
    assert sandbox.http.get(second).status_code == 200


def test_the_quota(sandbox, client):
    for _ in range(3):
        jag(client)
    sandbox.settings(id_jag_quota=4)
    jag(client)
    refusal(client.exchange(sandbox.mint()), 429, "too_many_requests")
    assert client.exchange(sandbox.mint(user="bob")).status_code == 200
    assert client.exchange(sandbox.mint(), "agent3", "chat.read").status_code == 200
    assert client.exchange(machine(sandbox)).status_code == 200


def test_arrays_in_the_id_jag(sandbox, client):
    claims = decode(jag(client))[1]
    assert isinstance(claims["aud"], str) and isinstance(claims["resource"], str)
    sandbox.settings(id_jag_arrays=1)
    token = jag(client)
    claims = decode(token)[1]
    assert claims["aud"] == [sandbox.issuer("aus2")] and claims["resource"] == [sandbox.resource("agent2")]
    access = client.redeem(token).json()["access_token"]
    assert sandbox.whoami(access).json()["claims"]["aud"] == sandbox.resource("agent2")
