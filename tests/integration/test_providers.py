"""docs/providers.md holds: every row of its table has an example, every example is tried, as it is written but for
addresses, ids and keys, against the sandbox's server of that kind; and what arrives at the destination is looked at.

A case says what stands for what: each text on the left is in the example, as a whole value. What is left of the
example is what a reader copies."""

import base64
import hashlib
import json
import pathlib
import re
import subprocess

import pytest

import harness
from harness import SOURCE

PAGE = SOURCE / "docs" / "providers.md"
LISTEN = "127.0.0.1:8080"
KEY, SECRET = "agent.pem", "agent.secret"


def strip_comments(text):
    """JSON of the example; no string of an example has // but in a URL, which a colon goes before."""
    return re.sub(r"(?m)(^|[^:\"])//.*$", r"\1", text)


def load(example):
    return json.loads(strip_comments((SOURCE / example).read_text()))


def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()[:12]


class Case:
    """One example and the sandbox's server that stands for it."""

    def __init__(self, server, swaps, *, agent="agent1", subject=None, calls=None, okta=False, seen=None, sees=None,
                 tokens=1, scopes=None):
        self.server, self.swaps, self.agent = server, swaps, agent
        self.subject = subject  # makes the subject token; None: none is sent
        self.calls = calls  # connection -> (server whose /at/ it is, or a path of the sandbox's)
        self.okta, self.seen, self.sees, self.tokens, self.scopes = okta, seen, sees, tokens, scopes


def of_server(name):
    return lambda sandbox: sandbox.mint(type="access_token", server=name)


def at(name):
    return lambda sandbox: sandbox.server(name)["url"]


def path(agent, below):
    return lambda sandbox: sandbox.url(agent, below)


def issuer(name):
    return lambda sandbox: sandbox.issuer(name)


def registered(name, what="client_id"):
    return lambda sandbox: sandbox.server(name)["clients"]["agent1"][what]


def target(name, index=0):
    return lambda sandbox: sandbox.server(name)["targets"][index]


def key(client="agent1"):
    return lambda sandbox: sandbox.key_file(client)


def client_id(name):
    return lambda sandbox: sandbox.client_id(name)


def resource(name):
    return lambda sandbox: sandbox.resource(name)


def vault(name):
    return lambda sandbox: sandbox.info["vault"][name]["resource"]


ALICE = "00u1alicesandbox0001"

AUTH0 = {
    "https://example.eu.auth0.com/": issuer("auth0"),
    "Xk2v9QbTzR4mWc7Lp1nYsD6uHf8aEjGi": registered("auth0"),
    SECRET: registered("auth0", "secret_file"),
}
AUTH0_AGENT = {"https://agent1.example.com/": registered("auth0", "audience")}
AUTH0_API = {"connections.url": at("auth0"), "https://orders.example.com/": target("auth0")}

CASES = {
    "okta-on-behalf-of": Case("aus4", {
        "https://example.okta.com/oauth2/aus4orders": issuer("aus4"), "0oa1orders5mvH86KvFJ": client_id("service"),
        KEY: key("service"), "https://orders-app.example.com": resource("agent1"), "api://orders": "api://sandbox",
        "connections.url": path("api", "/a2a/"),
    }, agent="orders-app", subject=lambda sandbox: sandbox.mint(type="access_token"),
        sees=lambda sandbox, seen: seen["chain"] == [] and seen["claims"]["cid"] == sandbox.client_id("service")),
    "rfc8693": Case("rfc8693", {
        "https://sts.example.com/realm": issuer("rfc8693"), "agents.client_id": registered("rfc8693"), KEY: key(),
        "https://agent1.example.com": registered("rfc8693", "audience"), "connections.url": at("rfc8693"),
        "https://orders.example.com": target("rfc8693"),
    }, subject=of_server("rfc8693"), tokens=2,
        sees=lambda sandbox, seen: seen["chain"] == ["sts-agent1"] and seen["claims"]["aud"] == target("rfc8693")(sandbox)),
    "keycloak": Case("keycloak", {
        "https://keycloak.example.com/realms/example": issuer("keycloak"), "agents.client_id": registered("keycloak"),
        SECRET: registered("keycloak", "secret_file"), "connections.url": at("keycloak"),
    }, subject=of_server("keycloak"),
        sees=lambda sandbox, seen: seen["claims"]["aud"] == "orders-api" and seen["claims"]["azp"] == "agent1-client"),
    "auth0-on-behalf-of": Case("auth0", {**AUTH0, **AUTH0_AGENT, **AUTH0_API}, subject=of_server("auth0"),
        sees=lambda sandbox, seen: seen["chain"] == [registered("auth0")(sandbox)]),
    "auth0-custom-exchange": Case("auth0", {**AUTH0, **AUTH0_API}, subject=lambda sandbox: sandbox.mint(),
        sees=lambda sandbox, seen: seen["chain"] == []),
    "auth0-token-vault": Case("auth0", {**AUTH0, **AUTH0_AGENT, "connections.url": path("api", "/code/")},
        subject=of_server("auth0"), scopes=[]),
    "auth0-id-jag": Case("auth0", {
        "https://example.okta.com": issuer("org"), "https://store.eu.auth0.com/": issuer("auth0"),
        "wlp8x5q7mvH86KvFJ0g7": client_id("agent1"), KEY: key(), "https://agent1.example.com": resource("agent1"),
        "Xk2v9QbTzR4mWc7Lp1nYsD6uHf8aEjGi": registered("auth0"), SECRET: registered("auth0", "secret_file"),
        "connections.url": at("auth0"),
    }, subject=lambda sandbox: sandbox.mint(),
        sees=lambda sandbox, seen: seen["chain"] == [sandbox.client_id("agent1")]),
    "entra-on-behalf-of": Case("entra", {
        "https://login.microsoftonline.com/0f7a1b2c-3d4e-4f60-8a9b-c0d1e2f3a4b5/v2.0": issuer("entra"),
        "7c9e6679-7425-40de-944b-e07fc1f90ae7": registered("entra"), SECRET: registered("entra", "secret_file"),
        "connections.url": at("entra"),
    }, subject=of_server("entra"), scopes=["Orders.Read", "Orders.Write"]),
    "jwt-bearer": Case("bearer", {
        "https://login.stock.example.net": issuer("bearer"), "agents.client_id": registered("bearer"),
        "connections.url": at("bearer"),
    }, subject=lambda sandbox: sandbox.mint(aud=sandbox.issuer("bearer")), scopes=["stock.read"]),
    "identity-chaining": Case("partner", {
        "https://sts.example.com/realm": issuer("rfc8693"), "https://login.partner.example.net/as": issuer("partner"),
        "agents.client_id": registered("rfc8693"), "partner-of-example": registered("partner"), KEY: key(),
        "https://agent1.example.com": registered("rfc8693", "audience"), "connections.url": at("partner"),
    }, subject=of_server("rfc8693"), scopes=["parts.read"],
        sees=lambda sandbox, seen: seen["claims"]["iss"] == sandbox.issuer("partner")),
    "client-credentials": Case("rfc8693", {
        "https://sts.example.com/realm": issuer("rfc8693"), "agents.client_id": registered("rfc8693"), KEY: key(),
        "connections.url": at("rfc8693"), "https://orders.example.com": target("rfc8693"),
    }, seen="sts-agent1"),
    "google-sts": Case("google", {
        "https://sts.googleapis.com": issuer("google"),
        "https://sts.googleapis.com/v1/token": lambda sandbox: sandbox.endpoint("google"), "connections.url": at("google"),
    }, subject=lambda sandbox: sandbox.mint(aud="https:" + sandbox.server("google")["targets"][0]), scopes=[]),
    "pingfederate": Case("ping", {
        "https://ping.example.com": issuer("ping"), "agents.client_id": registered("ping"),
        SECRET: registered("ping", "secret_file"), "https://agent1.example.com": registered("ping", "audience"),
        "connections.url": at("ping"), "https://orders.example.com": target("ping"),
    }, subject=of_server("ping")),
    "wso2": Case("wso2", {
        "https://is.example.com/oauth2/token": issuer("wso2"), "agents.client_id": registered("wso2"),
        SECRET: registered("wso2", "secret_file"), "connections.url": at("wso2"),
    }, subject=of_server("wso2"), tokens=2, sees=lambda sandbox, seen: seen["chain"] == ["wso2-agent1"]),
    "static": Case("org", {
        "https://example.okta.com": issuer("org"), "wlp8x5q7mvH86KvFJ0g7": client_id("agent1"), KEY: key(),
        "connections.url": path("api", "/key/"), "search.key": lambda sandbox: write_key(sandbox),
    }, tokens=0),
    "passthrough": Case("org", {
        "https://example.okta.com": issuer("org"), "wlp8x5q7mvH86KvFJ0g7": client_id("agent1"), KEY: key(),
        "connections.url": path("agent2", "/a2a/"),
    }, tokens=0, subject=lambda sandbox: harness.Client(sandbox).both_legs(sandbox.mint())),
}

OKTA = SOURCE / "config" / "okta-resource-types.jsonc"  # one example of five types


def write_key(sandbox):
    file = pathlib.Path(sandbox.folder) / "search.key"
    file.touch(0o600)
    file.write_text(sandbox.admin("GET", "vault").json()["agent1-weather"]["value"] + "\n")
    return str(file)


def substitute(example, swaps, sandbox):
    """Whole values, and those that a key names ("agents.client_id"); every swap is used."""
    swaps = {text: value(sandbox) if callable(value) else value for text, value in swaps.items()}
    used = set()

    def swap(value, place):
        for name in (".".join(part for part in place if part), value):
            if name in swaps:
                used.add(name)
                return swaps[name]
        return value

    def walk(value, place):
        if isinstance(value, dict):
            return {k: walk(v, ("agents", "") if place == ("agents",) else (*place, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v, place) for v in value]
        return swap(value, place) if isinstance(value, str) else value

    config = walk(example, ())
    assert used == set(swaps), f"not in the example: {set(swaps) - used}"
    config.pop("$schema")
    config["listeners"][0]["address"] = f"127.0.0.1:{harness.free_port()}"
    config["egress"] = {"allow": [a["address"] for a in sandbox.info["agents"].values() if "address" in a]}
    return config


@pytest.fixture
def started(sandbox, tmp_path):
    running = []

    def start(name, change=None):
        case = CASES[name]
        config = substitute(load(f"config/providers/{name}.jsonc"), case.swaps, sandbox)
        if change is not None:
            change(config)
        folder = tmp_path / f"hop{len(running)}"
        folder.mkdir()
        running.append(harness.Tokenhop(config, folder).start())
        return running[-1]

    yield start
    for hop in running:
        hop.stop()


def url_of(name, sandbox):
    return CASES[name].swaps["connections.url"](sandbox) + "whoami"


def token_records(sandbox):
    return [r for r in sandbox.records() if r["place"].endswith("_token") and r["status"] == 200]


def test_every_row_has_an_example_and_every_example_a_row():
    text = PAGE.read_text()
    heads = re.findall(r"^\|.*\|\n\| --- ", text, re.M)
    rows = [row for row in re.findall(r"^\| .*$", text, re.M) if not row.startswith(("| --- ", "| what |"))]
    assert len(heads) == 1 and all("](../config/" in row for row in rows), "a row without an example"
    named = set(re.findall(r"\]\(\.\./config/providers/([a-z0-9-]+)\.jsonc\)", "\n".join(rows)))
    files = {file.stem for file in (SOURCE / "config" / "providers").glob("*.jsonc")}
    assert named == files == set(CASES)
    assert sum("](../config/okta-resource-types.jsonc)" in row for row in rows) == 5


def test_every_type_is_in_the_table():
    """As the schema has them: a type that is added needs a row."""
    schema = json.loads((SOURCE / "config" / "tokenhop.schema.json").read_text())
    types = set(find_types(schema))
    assert len(types) == 10, types
    named = set(re.findall(r"^\| [^|`]+ \| `([a-z_]+)` \| \[", PAGE.read_text(), re.M))
    assert named == types
    used = {c["type"] for name in CASES for c in load(f"config/providers/{name}.jsonc")["connections"]}
    assert used | {c["type"] for c in load("config/okta-resource-types.jsonc")["connections"]} == types


def find_types(schema):
    """The enum that has Okta's, wherever it stands."""
    if isinstance(schema, dict) and "agent_to_agent" in schema.get("enum", []):
        return schema["enum"]
    below = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []
    return next((found for found in map(find_types, below) if found), None)


@pytest.mark.parametrize("name", CASES)
def test_the_example_is_fine_for_check(sandbox, tmp_path, name):
    """As it is written, with files of the names that it has."""
    example = SOURCE / "config" / "providers" / f"{name}.jsonc"
    (tmp_path / "example.jsonc").write_text(example.read_text())
    key_text = pathlib.Path(sandbox.key_file("agent1")).read_text()
    for file, text in ((KEY, key_text), (SECRET, "s" * 64), ("search.key", "k-1")):
        (tmp_path / file).touch(0o600)
        (tmp_path / file).write_text(text)
    done = subprocess.run([harness.binary("tokenhop"), "check", "-c", tmp_path / "example.jsonc"], capture_output=True,
                          text=True, timeout=30)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", CASES)
def test_the_example_works(sandbox, started, name):
    case = CASES[name]
    if name == "auth0-token-vault":
        sandbox.admin("POST", "vault", json={"connection": "agent1-linked", "user": "alice", "consented": True})
    hop = started(name)
    token = case.subject(sandbox) if case.subject else None
    sandbox_before = len(token_records(sandbox))
    answer = hop.get(url_of(name, sandbox), token, agent=CASES[name].agent)
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    issued = token_records(sandbox)[sandbox_before:]
    arrived = [r["credential"] for r in sandbox.records() if r.get("path", "").endswith("/whoami")]

    if name == "passthrough":
        assert arrived == [digest(token)]
    elif name == "static":
        assert arrived == [digest(sandbox.admin("GET", "vault").json()["agent1-weather"]["value"])]
    else:  # what the server issued last, and never the caller's
        assert arrived == [issued[-1]["issued"]] and issued[-1]["place"] == f"{case.server}_token"
        assert token is None or arrived != [digest(token)]
        legs = case.tokens if name not in ("auth0-id-jag", "identity-chaining") else 2
        assert len(issued) == legs
    if name in ("auth0-token-vault", "static"):
        assert seen["who"] in ("alice", "agent1-weather")
    else:
        assert seen["sub"] == (case.seen or ALICE)
        wanted = case.scopes if case.scopes is not None else ["orders.read"]
        assert name == "passthrough" or seen["scopes"] == wanted
        assert case.sees is None or case.sees(sandbox, seen), seen

    before = len(token_records(sandbox))
    again = hop.get(url_of(name, sandbox), token, agent=CASES[name].agent)  # from the cache
    assert again.status_code == 200 and len(token_records(sandbox)) == before
    hop.stop()
    if token is not None:
        assert token not in hop.stderr and token not in hop.output


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.subject])
def test_nothing_goes_on_without_a_subject_token(sandbox, started, name):
    hop = started(name)
    answer = hop.get(url_of(name, sandbox), agent=CASES[name].agent)
    assert answer.status_code == 401
    if name != "passthrough":  # there the destination says it
        assert answer.json()["code"] == "subject_token_missing"
        assert sandbox.requests("api") == 0 and token_records(sandbox) == []


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.tokens])
def test_nothing_is_sent_when_the_server_fails(sandbox, started, name):
    case, hop = CASES[name], started(name)
    sandbox.fault(f"{case.server}_token", "status", count=-1, status=500)
    answer = hop.get(url_of(name, sandbox), case.subject(sandbox) if case.subject else None, agent=case.agent)
    assert answer.status_code == 503 and answer.json()["code"] == "exchange_unavailable"
    assert sandbox.requests("api") == 0


# Okta's five: config/okta-resource-types.jsonc


def okta_config(sandbox):
    example = json.loads(strip_comments(OKTA.read_text()))
    places = {"agent2": path("agent2", "/a2a/"), "orders": path("api", "/a2a/"), "weather": path("api", "/key/"),
              "ledger": path("api", "/account/"), "code": path("api", "/code/")}
    vaults = {"weather": "agent1-weather", "ledger": "agent1-ledger", "code": "agent1-code"}
    config = json.loads(json.dumps(example))
    for connection in config["connections"]:
        name = connection["name"]
        connection["url"] = places[name](sandbox)
        if name in vaults:
            connection["resource"] = vault(vaults[name])(sandbox)
        elif name == "agent2":
            connection["resource"] = sandbox.resource("agent2")
    assert {c["name"] for c in config["connections"]} == set(places)
    agent = config["agents"]["agent1"]
    agent |= {"client_id": sandbox.client_id("agent1"), "resource": sandbox.resource("agent1")}
    agent["auth"]["key_file"] = sandbox.key_file("agent1")
    for server, real in (("org", "org"), ("agents", "aus2"), ("orders", "aus4")):
        config["authorization_servers"][server]["issuer"] = sandbox.issuer(real)
    config.pop("$schema")
    config["listeners"][0]["address"] = f"127.0.0.1:{harness.free_port()}"
    config["egress"] = {"allow": [a["address"] for a in sandbox.info["agents"].values() if "address" in a]}
    return config


def test_the_five_of_okta(sandbox, tmp_path):
    with harness.Tokenhop(okta_config(sandbox), tmp_path) as hop:
        token = sandbox.mint()
        for connection in hop.config["connections"]:
            answer = hop.get(connection["url"] + "whoami", token)
            if connection["name"] == "code":
                assert answer.json()["code"] == "interaction_required"
                assert sandbox.http.get(answer.json()["interaction_uri"]).status_code == 200
                answer = hop.get(connection["url"] + "whoami", token)
            assert answer.status_code == 200, answer.text
            seen = answer.json()
            assert (seen.get("user") or seen.get("who")) in ("alice", "agent1-weather", "svc-ledger")
        arrived = [r["credential"] for r in sandbox.records() if r["place"] in ("agent2", "api")]
        assert len(arrived) == 5 and len(set(arrived)) == 5 and digest(token) not in arrived


# What each refuses, in its own words


def call(sandbox, hop, name, token=None):
    return hop.get(url_of(name, sandbox), token or CASES[name].subject(sandbox))


def expect(answer, status, code, *words):
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == code, answer.text
    for word in words:
        assert word in answer.json()["detail"], answer.text
    return answer


def edit(**changes):
    return lambda config: config["connections"][0].update(changes)


def test_keycloak_refuses(sandbox, started):
    hop = started("keycloak")
    own = sandbox.mint(type="access_token", server="keycloak", aud="orders-api")
    expect(call(sandbox, hop, "keycloak", own), 403, "access_denied", "Client is not within the token audience")
    expect(call(sandbox, started("keycloak", edit(audience="billing-api")), "keycloak"), 502, "exchange_failed",
           "Requested audience not available")
    expect(call(sandbox, started("keycloak", edit(scopes=["billing.read"])), "keycloak"), 403, "access_denied")
    assert sandbox.requests("api") == 0


def test_keycloak_and_a_wrong_secret(sandbox, started, tmp_path):
    secret = tmp_path / "wrong"
    secret.touch(0o600)
    secret.write_text("wrong")

    def change(config):
        config["agents"]["agent1"]["auth"]["secret_file"] = str(secret)

    hop = started("keycloak", change)
    expect(call(sandbox, hop, "keycloak"), 502, "exchange_failed", "unauthorized_client")


def test_keycloaks_other_parameters_are_refused_there(sandbox, started):
    """What version 1 knew: the reader of an old page gets the server's word for it."""
    hop = started("keycloak", edit(parameters=[{"name": "requested_issuer", "value": "github"}]))
    expect(call(sandbox, hop, "keycloak"), 502, "exchange_failed")
    assert sandbox.refused() == {"leftover_parameter": 1}


def test_auth0_denies(sandbox, started):
    hop = started("auth0-on-behalf-of", edit(audience="https://elsewhere.example.com/"))
    expect(call(sandbox, hop, "auth0-on-behalf-of"), 403, "access_denied", "Service not found")
    custom = started("auth0-custom-exchange")
    sandbox.settings(auth0_action=2)
    expect(call(sandbox, custom, "auth0-custom-exchange"), 403, "access_denied", "The Action denies")
    sandbox.settings(auth0_action=1)
    fresh = sandbox.mint(user="bob")  # the refusal of the other is remembered
    answer = call(sandbox, custom, "auth0-custom-exchange", fresh)
    expect(answer, 401, "subject_token_invalid")
    assert sandbox.requests("api") == 0


def test_auth0_wants_the_account_linked(sandbox, started):
    hop = started("auth0-token-vault")
    answer = call(sandbox, hop, "auth0-token-vault")
    expect(answer, 403, "interaction_required")
    assert "interaction_uri" not in answer.json() and "Link" not in answer.headers
    sandbox.admin("POST", "vault", json={"connection": "agent1-linked", "user": "alice", "consented": True})
    assert call(sandbox, hop, "auth0-token-vault").json()["who"] == "alice"


@pytest.mark.parametrize("subject", [{"aud": "api://somebody-else"}, {"signature": "bad"}])
def test_entra_refuses_the_assertion(sandbox, started, subject):
    hop = started("entra-on-behalf-of", edit(subject={"type": "access_token", "verify": False}))
    token = sandbox.mint(type="access_token", server="entra", **subject)
    answer = expect(call(sandbox, hop, "entra-on-behalf-of", token), 401, "subject_token_invalid", "invalid_grant")
    assert "audience must be the issuer" not in answer.text  # what Okta's words would mean


def test_entra_takes_no_machine(sandbox, started):
    hop = started("entra-on-behalf-of")
    token = sandbox.mint(type="access_token", server="entra", user="service")
    expect(call(sandbox, hop, "entra-on-behalf-of", token), 401, "subject_token_invalid")


def test_entra_and_a_wrong_scope(sandbox, started):
    hop = started("entra-on-behalf-of", edit(scopes=["api://orders/.default", "api://reports/.default"]))
    expect(call(sandbox, hop, "entra-on-behalf-of"), 403, "access_denied")


@pytest.mark.parametrize("name", [name for name, case in CASES.items()
                                  if case.tokens and name not in ("google-sts", "auth0-token-vault")])
def test_a_token_for_somebody_else_is_not_sent(sandbox, started, name):
    """Whatever the server answers, what is issued is held against what was asked."""
    case = CASES[name]
    sandbox.fault(f"{case.server}_token", "changed_subject", count=-1)
    hop = started(name)
    answer = hop.get(url_of(name, sandbox), case.subject(sandbox) if case.subject else None, agent=case.agent)
    # nobody is spoken for; the Action says who; Entra's sub is another for each application
    if name in ("client-credentials", "auth0-custom-exchange", "entra-on-behalf-of"):
        assert answer.status_code == 200
    else:
        expect(answer, 502, "exchange_failed")
        assert sandbox.requests("api") == 0


def test_entra_demands_more_of_the_user(sandbox, started):
    """Its claims reach the caller, Base64 in the challenge; with a login that has them the call goes through."""
    hop = started("entra-on-behalf-of")
    sandbox.settings(entra_claims=1)
    answer = call(sandbox, hop, "entra-on-behalf-of")
    assert answer.status_code == 401, answer.text
    challenge = answer.headers["WWW-Authenticate"]
    claims = re.search(r'claims="([A-Za-z0-9+/=_-]+)"', challenge)
    assert 'error="insufficient_claims"' in challenge and claims, challenge
    assert json.loads(base64.b64decode(claims[1]))["access_token"]["acrs"]["value"] == "c1"
    stronger = sandbox.mint(type="access_token", server="entra", claims={"acrs": ["c1"]})
    assert call(sandbox, hop, "entra-on-behalf-of", stronger).status_code == 200


def test_entra_wants_consent(sandbox, started):
    hop = started("entra-on-behalf-of")
    sandbox.settings(entra_consent=0)
    answer = expect(call(sandbox, hop, "entra-on-behalf-of"), 403, "interaction_required")
    assert "interaction_uri" not in answer.json()


def test_auth0_redeems_an_id_jag_again(sandbox, started):
    """Where that is configured, and another first leg is not needed then."""
    hop, token = started("auth0-id-jag", edit(reuse_id_jag=True)), sandbox.mint()
    assert call(sandbox, hop, "auth0-id-jag", token).status_code == 200
    sandbox.fault("api", "unauthorized", path="/at/auth0")  # so that another access token is wanted
    assert call(sandbox, hop, "auth0-id-jag", token).status_code == 200
    assert sandbox.requests("auth0_token") == 2 and sandbox.requests("org_token") == 1
