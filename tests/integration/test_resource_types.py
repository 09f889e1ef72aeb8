"""Okta's one-leg resource types through the whole house: vaulted secret, service account, brokered third-party token."""

import base64
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import pytest
import requests

import harness
import rawnet

OT = "urn:okta:params:oauth:token-type:"
WEATHER, LEDGER, CODE = "weather", "ledger", "code"  # connections, and what each is at the sandbox
PATHS = {WEATHER: "/key", LEDGER: "/account", CODE: "/code"}
VAULT = {WEATHER: "agent1-weather", LEDGER: "agent1-ledger", CODE: "agent1-code"}
WHO = {WEATHER: "agent1-weather", LEDGER: "svc-ledger", CODE: "alice"}
EACH = [WEATHER, LEDGER, CODE]
JSON_RPC = {"jsonrpc": "2.0", "method": "SendMessage", "params": {"message": {"parts": []}}}


def connection(sandbox, name, **more):
    row = sandbox.info["vault"][VAULT[name]]
    whole = {
        "name": name,
        "url": sandbox.url("api", PATHS[name] + "/"),
        "type": row["type"],
        "agents": ["agent1"],
        "resource": row["resource"],
        **({"inject": {"header": "X-Api-Key", "template": "{api_key}"}} if name == WEATHER else {}),
        **more,
    }
    return {key: value for key, value in whole.items() if value is not None}


@pytest.fixture
def hop(sandbox, tokenhop):
    """hop(weather={"inject": ...}) starts a tokenhop with the three connections, changed so."""

    def start(change=None, **changes):
        def edit(config):
            config["connections"] += [connection(sandbox, name, **changes.get(name, {})) for name in EACH]
            config["log"] = {"level": "debug"}
            if change is not None:
                change(config)

        return tokenhop(change=edit)

    return start


def url(sandbox, name, path="/whoami"):
    return sandbox.url("api", PATHS[name] + path)


def vault(sandbox):
    return sandbox.admin("GET", "vault").json()


def vault_do(sandbox, name, **what):
    return sandbox.admin("POST", "vault", json={"connection": VAULT[name], **what}).json()


def give_consent(uri):
    answer = requests.get(uri, timeout=10)
    assert answer.status_code == 200, answer.text


def ready(sandbox, hop, name, token):
    """A first call that succeeds; where consent is needed, it was given."""
    answer = hop.get(url(sandbox, name), token)
    if name == CODE:
        assert answer.status_code == 403, answer.text
        give_consent(answer.json()["interaction_uri"])
        answer = hop.get(url(sandbox, name), token)
    assert answer.status_code == 200, answer.text
    return answer


def secrets_of(sandbox):
    """Whatever the destination alone may see."""
    found = []
    for item in vault(sandbox).values():
        found += [item["value"], *(grant["token"] for grant in item["grants"].values())]
    account = vault(sandbox)[VAULT[LEDGER]]
    found.append(base64.b64encode(f"{account['username']}:{account['value']}".encode()).decode())
    return [text for text in found if text]


def assert_unwritten(hop, secrets):
    hop.stop()
    assert len(secrets) >= 3 and '"status":' in hop.output
    for text in secrets:
        assert text not in hop.stderr and text not in hop.output


def token_server(origin, body, status=200):
    """A token endpoint that answers so, whatever it is asked."""
    text = json.dumps(body).encode()
    return origin(lambda request: rawnet.response(text, status, ["Content-Type: application/json"]))


def use(server):
    def change(config):
        config["authorization_servers"]["org"] = {
            "issuer": server.url(""),
            "token_endpoint": server.url("/token"),
        }

    return change


# --- each type ---


@pytest.mark.parametrize("name", EACH)
def test_a_call_and_another_from_the_cache(sandbox, hop, name):
    running, token = hop(), sandbox.mint(user="alice")
    first = ready(sandbox, running, name, token).json()
    assert first["kind"] == sandbox.info["vault"][VAULT[name]]["type"]
    assert first["who"] == WHO[name]
    before = sandbox.requests("org_token")
    assert running.get(url(sandbox, name), token).json() == first
    assert sandbox.requests("org_token") == before
    assert sandbox.exchanges("alice", VAULT[name]) == 1
    assert "agent_refused" not in sandbox.stats()["counters"]
    assert_unwritten(running, [*secrets_of(sandbox), token])


@pytest.mark.parametrize("name", EACH)
def test_the_form_of_the_exchange(sandbox, hop, origin, name):
    """Resource to the letter, no audience, no scope; RFC 8693 besides."""
    answers = {
        WEATHER: ("vaulted-secret", {"vaulted_secret": {"api_key": "k"}, "token_type": "N_A"}),
        LEDGER: ("service-account", {"service_account": {"username": "u", "password": "p"}, "token_type": "N_A"}),
        CODE: ("oauth-sts", {"access_token": "t", "token_type": "Bearer"}),
    }
    kind, answer = answers[name]
    server = token_server(origin, {"issued_token_type": OT + kind, "expires_in": 300, **answer})
    running = hop(use(server), **{name: {"resource": "an admin's string & 100%"}})
    token = sandbox.mint(user="alice")
    assert running.get(url(sandbox, name, "/echo"), token).status_code == 401  # not the vault's: once more, and passed on
    forms = [parse_qs(request.body.decode(), strict_parsing=True) for request in server.requests
             if request.target == "/token"]
    assert len(forms) == 2
    for form in forms:
        assert set(form) == {"grant_type", "requested_token_type", "subject_token", "subject_token_type", "resource",
                             "client_assertion_type", "client_assertion"}
        assert form["grant_type"] == [harness.TX]
        assert form["requested_token_type"] == [OT + kind]
        assert form["subject_token"] == [token]
        assert form["subject_token_type"] == [harness.TT + "id_token"]
        assert form["resource"] == ["an admin's string & 100%"]


@pytest.mark.parametrize("name", EACH)
def test_what_the_destination_receives(sandbox, hop, origin, name):
    """One credential, in its field; nothing that the caller sent in a field of credentials."""
    there = origin(lambda request: rawnet.response())
    token = sandbox.mint(user="alice")
    running = hop(lambda config: rawnet.serve_at(config, there, name))
    ready(sandbox, running, name, token)
    sent = ["x-api-KEY: the caller's", "X_Api_Key: the caller's too", "X-Api-Key: again", "DPoP: the caller's",
            "Proxy-Authorization: Basic Y2FsbGVyOmNhbGxlcg==", "X-Other: stays"]
    with rawnet.Connection(running.port) as connection:
        connection.send(rawnet.request(there.url("/x"), token, fields=sent))
        assert connection.read().status == 200
    request, item = there.requests[0], vault(sandbox)[VAULT[name]]
    account = base64.b64encode(f"svc-ledger:{item['value']}".encode()).decode()
    wanted = {
        WEATHER: ("X-Api-Key", item["value"]),
        LEDGER: ("Authorization", f"Basic {account}"),
        CODE: ("Authorization", f"Bearer {item['grants']['alice']['token']}"),
    }[name]
    assert request.all(wanted[0]) == [wanted[1]]
    assert request.all("X-Other") == ["stays"]
    assert request.all("DPoP") == request.all("Proxy-Authorization") == []
    if name == WEATHER:
        assert request.all("Authorization") == request.all("X_Api_Key") == []
        assert b"the caller's" not in there.bytes
    assert token.encode() not in there.bytes


@pytest.mark.parametrize("name", [WEATHER, LEDGER])
def test_a_401_gets_a_new_credential(sandbox, hop, name):
    running, token = hop(), sandbox.mint(user="alice")
    first = ready(sandbox, running, name, token).json()
    vault_do(sandbox, name)  # it has another value now
    second = running.get(url(sandbox, name), token)
    assert second.status_code == 200, second.text
    assert second.json()["who"] == first["who"]
    assert second.json()["credential_sha256"] != first["credential_sha256"]
    assert sandbox.exchanges("alice", VAULT[name]) == 2
    assert sandbox.stats()["counters"]["agent_refused"]["api"] == {"credential_invalid": 1}
    before = sandbox.requests("org_token")
    assert running.get(url(sandbox, name), token).json() == second.json()
    assert sandbox.requests("org_token") == before


def test_a_token_dead_at_the_third_party_is_revoked_and_replaced(sandbox, hop):
    """Okta knows nothing of it, and would hand out the same again (reference, 7)."""
    running, token = hop(), sandbox.mint(user="alice")
    ready(sandbox, running, CODE, token)
    dead = vault(sandbox)[VAULT[CODE]]["grants"]["alice"]["token"]
    vault_do(sandbox, CODE, user="alice", dead=True)
    assert running.get(url(sandbox, CODE), token).json()["who"] == "alice"
    assert sandbox.requests("org_revoke") == sandbox.requests("org_revoke", 200) == 1
    assert sandbox.stats()["counters"]["agent_refused"]["api"] == {"credential_invalid": 1}
    alive = vault(sandbox)[VAULT[CODE]]["grants"]["alice"]["token"]
    assert alive != dead
    for _ in range(2):
        assert running.get(url(sandbox, CODE), token).status_code == 200
    assert sandbox.requests("org_revoke") == 1
    assert_unwritten(running, [*secrets_of(sandbox), dead, alive])


def test_a_token_dead_at_the_third_party_may_need_consent_anew(sandbox, hop):
    sandbox.settings(sts_keeps_consent=False)
    running, token = hop(), sandbox.mint(user="alice")
    ready(sandbox, running, CODE, token)
    vault_do(sandbox, CODE, user="alice", dead=True)
    refused = running.get(url(sandbox, CODE), token)
    assert refused.status_code == 403 and refused.json()["code"] == "interaction_required"
    give_consent(refused.json()["interaction_uri"])
    assert running.get(url(sandbox, CODE), token).json()["who"] == "alice"


@pytest.mark.parametrize("kind,more", [("status", {"status": 500}), ("reset", {}), ("hang", {"ms": 8000}), ("html", {})])
def test_a_revocation_that_fails_is_passed_over(sandbox, hop, kind, more):
    running, token = hop(lambda config: config.update(timeouts={"exchange": "3s"})), sandbox.mint(user="alice")
    ready(sandbox, running, CODE, token)
    vault_do(sandbox, CODE, user="alice", dead=True)
    sandbox.fault("org_revoke", kind, count=-1, **more)
    before = sandbox.exchanges("alice", VAULT[CODE])
    answer = running.get(url(sandbox, CODE), token)
    assert answer.status_code == 401  # the same token came again, and the destination's word is passed on
    assert sandbox.exchanges("alice", VAULT[CODE]) == before + 1


@pytest.mark.parametrize("name", [WEATHER, LEDGER])
def test_what_cannot_be_revoked_is_not(sandbox, hop, name):
    running, token = hop(), sandbox.mint(user="alice")
    ready(sandbox, running, name, token)
    vault_do(sandbox, name)
    assert running.get(url(sandbox, name), token).status_code == 200
    assert sandbox.requests("org_revoke") == 0


@pytest.mark.parametrize("name", EACH)
def test_a_401_that_lasts_is_passed_on(sandbox, hop, name):
    running, token = hop(), sandbox.mint(user="alice")
    ready(sandbox, running, name, token)
    sandbox.fault("api", "unauthorized", count=-1, path=PATHS[name])
    answer = running.get(url(sandbox, name), token)
    assert answer.status_code == 401 and "Proxy-Status" not in answer.headers
    exchanged = sandbox.exchanges("alice", VAULT[name])
    assert exchanged == 2
    assert running.get(url(sandbox, name), token).status_code == 401
    assert sandbox.exchanges("alice", VAULT[name]) == exchanged  # not once more for each
    sandbox.clear_faults()
    assert running.get(url(sandbox, name), token).status_code == 200


def test_credentials_of_different_users_are_kept_apart(sandbox, hop):
    """Never shared between subjects, even where they are equal (reference, 13)."""
    running = hop()
    for user in ("alice", "bob"):
        assert running.get(url(sandbox, WEATHER), sandbox.mint(user=user)).status_code == 200
        assert sandbox.exchanges(user, VAULT[WEATHER]) == 1
    alice, bob = sandbox.mint(user="alice"), sandbox.mint(user="bob")
    ready(sandbox, running, CODE, alice)
    refused = running.get(url(sandbox, CODE), bob)
    assert refused.status_code == 403
    assert refused.json()["code"] == "interaction_required"
    give_consent(refused.json()["interaction_uri"])
    answer = running.get(url(sandbox, CODE), bob)
    assert answer.json()["who"] == "bob"
    assert running.get(url(sandbox, CODE), alice).json()["who"] == "alice"


def test_a_machine_may_use_a_secret_and_an_account(sandbox, hop):
    running = hop()
    token = sandbox.mint(type="access_token", user="service")
    for name in (WEATHER, LEDGER):
        assert running.get(url(sandbox, name), token).status_code == 200
    refused = running.get(url(sandbox, CODE), token)  # nobody is there to consent
    assert refused.status_code == 403
    assert refused.json()["code"] == "interaction_required"
    assert "interaction_uri" not in refused.json() and "Link" not in refused.headers


# --- how long it is kept ---


@pytest.mark.parametrize("name", [WEATHER, LEDGER])
@pytest.mark.parametrize("lifetime,kept", [(300, True), (20, False), ("absent", True), (0, False), (-5, False)])
def test_it_is_kept_as_long_as_the_vault_says(sandbox, hop, name, lifetime, kept):
    """Less the margin (5 s here); a minute where nothing is said."""
    if lifetime == "absent":
        sandbox.fault("org_token", "no_expires_in", count=-1)
    else:
        sandbox.fault("org_token", "expires_in", count=-1, value=lifetime)
    running = hop(lambda config: config.update(cache={"margin": "25s"}))
    token = sandbox.mint(user="alice")
    for _ in range(2):
        assert running.get(url(sandbox, name), token).status_code == 200
    assert sandbox.exchanges("alice", VAULT[name]) == (1 if kept else 2)


# --- what must not be taken ---


@pytest.mark.parametrize("value", ["text", ["a"], None, {}, {"api_key": 1}, {"api_key": None}, {"api_key": ["k"]},
                                   {"other": "k-s3cret"}, {"API_KEY": "k-s3cret"}, {"api_key": ""},
                                   {"api_key": "k-s3cret\r\nX-Evil: 1"}, {"api_key": "k-s3cret\t"},
                                   {"api_key": "k-s3cret\x7f"}, {"api_key": " k-s3cret"},
                                   {"api_key": "k-s3cret", "more": {"deep": "k-s3cret"}}])
def test_a_secret_that_cannot_be_used_is_502(sandbox, hop, value):
    sandbox.fault("org_token", "vaulted_secret", count=-1, value=value)
    running, token = hop(), sandbox.mint(user="alice")
    answer = running.get(url(sandbox, WEATHER), token)
    assert answer.status_code == 502, answer.text
    assert answer.json()["code"] == "exchange_failed"
    assert sandbox.requests("api") == 0
    assert "s3cret" not in answer.text
    running.stop()
    assert "s3cret" not in running.stderr + running.output


def test_a_missing_key_is_told_by_the_names_that_came(sandbox, hop):
    running = hop(weather={"inject": {"header": "X-Api-Key", "template": "{apikey}"}})
    answer = running.get(url(sandbox, WEATHER), sandbox.mint(user="alice"))
    assert answer.status_code == 502
    detail = answer.json()["detail"]
    assert '"apikey"' in detail and "api_key, host" in detail
    assert vault(sandbox)[VAULT[WEATHER]]["value"] not in answer.text
    assert_unwritten(running, secrets_of(sandbox))


@pytest.mark.parametrize("value", [{"username": "u"}, {"password": "p-s3cret"}, {"username": None, "password": "p-s3cret"},
                                   {"username": "a:b", "password": "p-s3cret"}, {"username": "u", "password": "\ts3cret"},
                                   {"username": "", "password": "p-s3cret"}, {"username": 1, "password": "p-s3cret"}, "u:p"])
def test_an_account_that_cannot_be_used_is_502(sandbox, hop, value):
    sandbox.fault("org_token", "service_account", count=-1, value=value)
    answer = hop().get(url(sandbox, LEDGER), sandbox.mint(user="alice"))
    assert answer.status_code == 502, answer.text
    assert sandbox.requests("api") == 0
    assert "s3cret" not in answer.text


@pytest.mark.parametrize("name", EACH)
def test_another_issued_type_is_502(sandbox, hop, name):
    running, token = hop(), sandbox.mint(user="alice")
    if name == CODE:
        give_consent(running.get(url(sandbox, name), token).json()["interaction_uri"])
    sandbox.fault("org_token", "issued_token_type", count=-1)
    answer = running.get(url(sandbox, name), token)
    assert answer.status_code == 502
    assert "issued_token_type" in answer.json()["detail"]


@pytest.mark.parametrize("resource", ["of agent2 alone", "orn:okta:pam:00o1sandbox:secrets:none"])
def test_a_secret_of_another_agent_is_403(sandbox, hop, resource):
    answer = hop(weather={"resource": resource}).get(url(sandbox, WEATHER), sandbox.mint(user="alice"))
    assert answer.status_code == 403
    assert answer.json()["code"] == "access_denied"
    assert sandbox.refused() == {"resource": 1}


def test_the_shorter_names_are_taken_too(sandbox, hop):
    sandbox.settings(short_secret_names=True)
    assert hop().get(url(sandbox, WEATHER), sandbox.mint(user="alice")).status_code == 200


def test_nothing_is_sent_when_the_exchange_fails(sandbox, hop):
    sandbox.fault("org_token", "status", count=-1, status=500)
    running, token = hop(), sandbox.mint(user="alice")
    for name in EACH:
        answer = running.get(url(sandbox, name), token, headers={"X-Api-Key": "the caller's"})
        assert answer.status_code == 503
    assert sandbox.requests("api") == 0


# --- inject ---


@pytest.mark.parametrize("inject,field,value", [
    ({"header": "X-Api-Key", "template": "{api_key}"}, "x-api-key", "{value}"),
    ({"header": "Authorization", "template": "ApiKey {api_key}"}, "authorization", "ApiKey {value}"),
    ({"header": "authorization", "template": "Bearer {api_key}"}, "authorization", "Bearer {value}"),
    ({"header": "Cookie", "template": "k={api_key}; h={host}"}, "cookie", "k={value}; h=weather.sandbox.test"),
    ({"header": "X-Key", "template": "{{{api_key}}}@{host}"}, "x-key", "{{{value}}}@weather.sandbox.test"),
])
def test_where_a_secret_goes(sandbox, hop, origin, inject, field, value):
    there = origin(lambda request: rawnet.response())
    running = hop(lambda config: rawnet.serve_at(config, there, WEATHER), weather={"inject": inject})
    headers = {"Cookie": "the caller's", "X-Key": "the caller's"}
    assert running.get(there.url("/x"), sandbox.mint(user="alice"), headers=headers).status_code == 200
    request = there.requests[0]
    assert request.all(field) == [value.format(value=vault(sandbox)[VAULT[WEATHER]]["value"])]
    if field != "authorization":
        assert request.all("Authorization") == []
    if field != "cookie":
        assert request.all("Cookie") == ["the caller's"]


def test_a_token_in_a_field_of_its_own(sandbox, hop, origin):
    """R11: the caller's Authorization goes when the credential goes elsewhere; also for two legs."""
    there = origin(lambda request: rawnet.response())

    def change(config):
        rawnet.serve_at(config, there, "agent2")
        entry = next(c for c in config["connections"] if c["name"] == "agent2")
        entry["inject"] = {"header": "X-Token", "template": "token {access_token}"}

    token = sandbox.mint(user="alice")
    assert hop(change).get(there.url("/x"), token).status_code == 200
    request = there.requests[0]
    assert request.all("Authorization") == []
    assert len(request.all("X-Token")) == 1 and request.get("X-Token").startswith("token eyJ")
    assert token.encode() not in there.bytes


def test_a_public_path_bears_no_credential(sandbox, hop, origin):
    there = origin(lambda request: rawnet.response())
    running = hop(lambda config: rawnet.serve_at(config, there, WEATHER))
    answer = running.get(there.url("/.well-known/agent-card.json"), sandbox.mint(user="alice"),
                         headers={"X-Api-Key": "the caller's"})
    assert answer.status_code == 200
    assert there.requests[0].all("X-Api-Key") == there.requests[0].all("Authorization") == []


def test_without_a_subject_token(sandbox, hop, origin):
    there = origin(lambda request: rawnet.response())
    running = hop(lambda config: rawnet.serve_at(config, there, LEDGER),
                  ledger={"without_subject": "forward"})
    assert running.get(url(sandbox, WEATHER)).json()["code"] == "subject_token_missing"
    assert running.get(there.url("/x")).status_code == 200
    assert there.requests[0].all("Authorization") == []


def test_a_reload_with_another_template(sandbox, hop, origin):
    """What the cache keeps is the field's value: another template is another key."""
    there = origin(lambda request: rawnet.response())
    running = hop(lambda config: rawnet.serve_at(config, there, WEATHER))
    token = sandbox.mint(user="alice")
    assert running.get(there.url("/x"), token).status_code == 200
    entry = next(c for c in running.config["connections"] if c["name"] == WEATHER)
    entry["inject"] = {"header": "X-Other-Key", "template": "v1 {api_key}"}
    running.reload()

    def has_changed():
        assert running.get(there.url("/x"), token).status_code == 200
        return there.requests[-1].all("X-Other-Key")

    key = vault(sandbox)[VAULT[WEATHER]]["value"]
    assert harness.wait_until(has_changed) == [f"v1 {key}"]
    assert there.requests[0].all("X-Api-Key") == [key]
    assert there.requests[-1].all("X-Api-Key") == []


# --- consent ---


def test_consent_from_end_to_end(sandbox, hop):
    running, token = hop(), sandbox.mint(user="alice")
    refused = running.get(url(sandbox, CODE), token)
    problem = refused.json()
    assert refused.status_code == 403
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Proxy-Status"].startswith("tokenhop; error=")
    assert refused.headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in refused.headers and "Location" not in refused.headers
    assert problem["code"] == "interaction_required" and problem["connection"] == CODE
    assert problem["interaction_uri"].startswith(sandbox.issuer() + "/oauth2/v1/sts/redirect?dataHandle=")
    assert refused.headers["Link"] == f'<{problem["interaction_uri"]}>; rel="urn:tokenhop:rel:interaction"'
    assert "jsonrpc" not in problem
    assert sandbox.requests("org_sts") == 0  # nobody opened it but the user
    assert sandbox.requests("api") == 0
    give_consent(problem["interaction_uri"])
    answer = running.get(url(sandbox, CODE), token)  # at once: what the user mends is not remembered
    assert answer.status_code == 200 and answer.json()["who"] == "alice"
    assert sandbox.requests("org_sts") == 1
    handle = problem["interaction_uri"].split("=")[1]
    running.stop()
    assert handle not in running.stderr + running.output


def test_those_who_wait_for_one_consent_get_one_address(sandbox, hop):
    running, token = hop(), sandbox.mint(user="alice")
    sandbox.fault("org_token", "slow", ms=1000)
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: running.get(url(sandbox, CODE), token), range(5)))
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.json()["interaction_uri"] for answer in answers}) == 1
    assert sandbox.refused() == {"interaction_required": 1}


def test_an_address_is_given_to_its_subject_only(sandbox, hop):
    running = hop()
    one = running.get(url(sandbox, CODE), sandbox.mint(user="alice")).json()["interaction_uri"]
    other = running.get(url(sandbox, CODE), sandbox.mint(user="bob")).json()["interaction_uri"]
    assert one != other


def test_a_consent_that_is_withdrawn_is_asked_for_anew(sandbox, hop):
    running, token = hop(), sandbox.mint(user="alice")
    ready(sandbox, running, CODE, token)
    vault_do(sandbox, CODE, user="alice", consented=False)
    refused = running.get(url(sandbox, CODE), token)  # the destination's 401 leads to it
    assert refused.status_code == 403, refused.text
    assert refused.json()["code"] == "interaction_required"
    give_consent(refused.json()["interaction_uri"])
    assert running.get(url(sandbox, CODE), token).status_code == 200


@pytest.mark.parametrize("uri", ["https://evil.example/consent", "javascript:alert(1)", "//evil.example/", "", 5,
                                 "http://127.0.0.1:1/consent", "http://127.0.0.1@evil.example/"])
def test_an_address_elsewhere_is_502(sandbox, hop, uri):
    sandbox.fault("org_token", "error", count=-1, error="interaction_required", members={"interaction_uri": uri})
    answer = hop().get(url(sandbox, CODE), sandbox.mint(user="alice"))
    assert answer.status_code == 502
    assert answer.json()["code"] == "exchange_failed"
    assert "Link" not in answer.headers and "evil" not in answer.text


# --- consent for who speaks JSON-RPC ---


def assert_both(answer, request_id):
    """The problem, and the error of JSON-RPC in one body."""
    body = answer.json()
    assert answer.status_code == 403 and body["code"] == "interaction_required"
    assert body["jsonrpc"] == "2.0"
    assert body["id"] == request_id and type(body["id"]) is type(request_id)
    error = body["error"]
    assert error["code"] == -32050 and error["message"]
    assert error["data"]["interaction_uri"] == body["interaction_uri"]
    assert error["data"]["code"] == "interaction_required" and error["data"]["connection"] == CODE


@pytest.mark.parametrize("request_id", [1, 0, -3, 2**53 + 1, "abc", "", 'a"}\\', "\u00e9\n", "x" * 200])
@pytest.mark.parametrize("kind", ["application/json", "application/a2a+json; charset=utf-8"])
def test_jsonrpc_gets_its_error(sandbox, hop, kind, request_id):
    running, token = hop(), sandbox.mint(user="alice")
    body = json.dumps({**JSON_RPC, "id": request_id})
    for _ in range(2):  # from the exchange, and from what is remembered
        assert_both(running.post(url(sandbox, CODE), token, data=body, headers={"Content-Type": kind}), request_id)


@pytest.mark.parametrize("body,kind", [
    (json.dumps({**JSON_RPC, "id": 1}), "text/plain"),
    (json.dumps(JSON_RPC), "application/json"),
    (json.dumps({**JSON_RPC, "id": None}), "application/json"),
    (json.dumps({**JSON_RPC, "id": 1.5}), "application/json"),
    (json.dumps({**JSON_RPC, "id": {"a": 1}}), "application/json"),
    (json.dumps([{**JSON_RPC, "id": 1}]), "application/json"),
    ('{"jsonrpc":"2.0","id":1,"id":2}', "application/json"),
    ('{"jsonrpc":"2.0","id":1', "application/json"),
    ("[" * 9000, "application/json"),
    ('{"a":' * 2000, "application/json"),
    ("", "application/json"),
    ("\0" * 100, "application/json"),
    (json.dumps({**JSON_RPC, "id": "x" * 300}), "application/json"),
])
def test_what_is_no_jsonrpc_request_gets_the_problem_alone(sandbox, hop, body, kind):
    answer = hop().post(url(sandbox, CODE), sandbox.mint(user="alice"), data=body, headers={"Content-Type": kind})
    assert answer.status_code == 403
    assert answer.json()["code"] == "interaction_required" and answer.json()["interaction_uri"]
    assert not {"jsonrpc", "id", "error"} & set(answer.json())


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_jsonrpc_whose_body_comes_after_its_head(sandbox, hop, remembered, version):
    running, token = hop(), sandbox.mint(user="alice")
    if remembered:
        assert running.get(url(sandbox, CODE), token).status_code == 403
    body = json.dumps({**JSON_RPC, "id": "late"}).encode()
    whole = rawnet.request(url(sandbox, CODE), token, "POST", ["Content-Type: application/json"], body, version)
    head = len(whole) - len(body)
    with rawnet.Connection(running.port) as connection:
        for piece in (whole[:head], whole[head:head + 5], whole[head + 5:]):
            connection.send(piece)
            time.sleep(0.1)
        answer = connection.read("POST")
        assert answer.status == 403 and json.loads(answer.body)["id"] == "late"
        if version == "HTTP/1.1":  # and the connection serves on
            assert not answer.connection_ends
            connection.send(rawnet.request(url(sandbox, WEATHER), token))
            assert connection.read().status == 200


def test_jsonrpc_in_chunks(sandbox, hop):
    running, token = hop(), sandbox.mint(user="alice")
    body = json.dumps({**JSON_RPC, "id": 5}).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    fields = ["Content-Type: application/json", "Transfer-Encoding: chunked"]
    with rawnet.Connection(running.port) as connection:
        connection.send(rawnet.request(url(sandbox, CODE), token, "POST", fields, chunks, length=False))
        answer = connection.read("POST")
        assert answer.status == 403 and json.loads(answer.body)["id"] == 5


def test_jsonrpc_that_is_refused_after_a_401(sandbox, hop):
    """The body was sent on, and is held for the second try."""
    running, token = hop(), sandbox.mint(user="alice")
    ready(sandbox, running, CODE, token)
    vault_do(sandbox, CODE, user="alice", consented=False)
    body = json.dumps({**JSON_RPC, "id": "held", "params": "x" * 30000})
    assert_both(running.post(url(sandbox, CODE), token, data=body, headers={"Content-Type": "application/json"}), "held")


def test_a_body_that_never_comes_holds_nobody_up(sandbox, hop):
    """A client that waits for 100 Continue, or announces more than is read, is answered at once."""
    running, token = hop(), sandbox.mint(user="alice")
    for fields in (["Content-Length: 50", "Expect: 100-continue"], ["Content-Length: 5000000"]):
        with rawnet.Connection(running.port) as connection:
            connection.send(rawnet.request(url(sandbox, CODE), token, "POST", ["Content-Type: application/json", *fields]))
            before = time.monotonic()
            answer = connection.read("POST")
            assert answer.status == 403 and time.monotonic() - before < 5
            assert answer.get("Connection") == "close"
            assert "jsonrpc" not in json.loads(answer.body)


# --- the commands ---


def run_command(*args, **more):
    done = subprocess.run([harness.binary("tokenhop"), *args], capture_output=True, text=True, timeout=30, **more)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", EACH)
def test_explain_and_exchange_show_the_plan(sandbox, hop, tmp_path, name):
    running, token = hop(), sandbox.mint(user="alice")
    status, out, err = run_command("explain", "-c", running.file, url(sandbox, name))
    assert status == 0, err
    row = sandbox.info["vault"][VAULT[name]]
    assert f"({row['type']})" in out and row["resource"] in out
    assert "audience" not in out.split("legs,")[1] and "scope" not in out.split("legs,")[1]
    if name == CODE:
        status, out, err = run_command("exchange", "-c", running.file, "--connection", name, input=token)
        assert status == 1 and "interaction_required" in out + err
        uri = next(word for word in (out + err).split() if "dataHandle=" in word)
        give_consent(uri)
    status, out, err = run_command("exchange", "-c", running.file, "--connection", name, input=token)
    assert status == 0, err
    secrets = secrets_of(sandbox)
    assert not [text for text in [*secrets, token] if text in out + err]
    if name == WEATHER:
        assert "  api_key\n  host\n" in out and "X-Api-Key" in out
    status, out, err = run_command("exchange", "-c", running.file, "--connection", name, "--print-token", input=token)
    assert status == 0
    assert any(text in out for text in secrets)


# --- on exit ---


def test_r24_on_exit_the_provider_forgets_what_can_be_forgotten(sandbox, hop):
    """Third parties' tokens; secrets and accounts cannot be revoked (reference, 9)."""
    running, token = hop(lambda config: config.update(revoke_on_exit=True)), sandbox.mint(user="alice")
    for name in EACH:
        ready(sandbox, running, name, token)
    running.stop()
    assert sandbox.requests("org_revoke") == sandbox.requests("org_revoke", 200) == 1
    ended = [line for line in map(json.loads, running.stderr.splitlines()) if line["event"] == "revocation.ended"]
    assert (ended[0]["revoked"], ended[0]["not_revocable"]) == (1, 2)
