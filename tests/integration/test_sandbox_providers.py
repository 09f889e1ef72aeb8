"""The sandbox's authorization servers that are not Okta's, over the wire; what each refuses of a request is in
src/sandbox/test_providers.c."""

import pytest

import harness
from harness import JB, TT, TX, ProviderClient, decode

ALL = list(ProviderClient.METHODS)
OBO = {"requested_token_use": "on_behalf_of"}


def subject(sandbox, server, agent="agent1", **more):
    return sandbox.mint(type="access_token", server=server, audience=agent, **more)


def request(sandbox, server, agent="agent1"):
    """One that is right, and what its token is for."""
    target = sandbox.server(server)["targets"][0]
    exchange = {"grant_type": TX, "subject_token_type": TT + "access_token"}
    if server == "entra":
        return {"grant_type": JB, "assertion": subject(sandbox, server, agent), "scope": target + "/.default", **OBO}
    if server == "bearer":
        return {"grant_type": JB, "assertion": sandbox.mint(aud=sandbox.issuer("bearer"))}
    if server == "partner":
        first = ProviderClient(sandbox, "rfc8693", agent).post({
            **exchange, "subject_token": subject(sandbox, "rfc8693", agent), "requested_token_type": TT + "jwt",
            "resource": sandbox.issuer("partner"), "scope": "parts.read"})
        assert first.status_code == 200, first.text
        return {"grant_type": JB, "assertion": first.json()["access_token"]}
    if server == "google":
        return {**exchange, "subject_token": sandbox.mint(aud="https:" + target), "subject_token_type": TT + "id_token",
                "requested_token_type": TT + "access_token", "audience": target}
    form = {**exchange, "subject_token": subject(sandbox, server, agent), "audience": target}
    if server == "auth0":
        form["requested_token_type"] = TT + "access_token"
    if server == "wso2":
        own = ProviderClient(sandbox, "wso2", agent).post({"grant_type": "client_credentials"})
        assert own.status_code == 200, own.text
        form |= {"actor_token": own.json()["access_token"], "actor_token_type": TT + "access_token"}
    return form


def whoami(sandbox, server, token):
    return sandbox.http.get(sandbox.server(server)["url"] + "whoami", headers={"Authorization": f"Bearer {token}"},
                            timeout=10)


@pytest.mark.parametrize("agent", ["agent1", "agent2"])
@pytest.mark.parametrize("server", ALL)
def test_each_grants_what_its_resource_takes(sandbox, server, agent):
    client = ProviderClient(sandbox, server, agent)
    answer = client.post(request(sandbox, server, agent))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    token = answer.json()["access_token"]
    seen = whoami(sandbox, server, token)
    assert seen.status_code == 200, seen.text
    assert seen.json()["user"] == "alice"
    for other in ALL:  # and nobody else
        if other != server:
            assert whoami(sandbox, other, token).status_code == 401
    for agent_ in ("agent2", "api"):
        assert sandbox.whoami(token, agent_).status_code == 401


@pytest.mark.parametrize("server", ALL)
def test_the_subject_token_is_no_credential(sandbox, server):
    form = request(sandbox, server)
    assert whoami(sandbox, server, form.get("subject_token") or form["assertion"]).status_code == 401


DOCUMENTS = {
    "rfc8693": "/.well-known/oauth-authorization-server/sts",
    "keycloak": "/realms/sandbox/.well-known/openid-configuration",
    "auth0": "/auth0/.well-known/openid-configuration",
    "entra": "/5a9d2c1e-7b3f-4e8a-9c60-1f2e3d4c5b6a/v2.0/.well-known/openid-configuration",
    "bearer": "/.well-known/oauth-authorization-server/bearer",
    "partner": "/.well-known/openid-configuration/partner/as",
    "ping": "/ping/.well-known/openid-configuration",
    "wso2": "/wso2/oauth2/token/.well-known/openid-configuration",
}


@pytest.mark.parametrize("server", DOCUMENTS)
def test_where_metadata_and_keys_are(sandbox, server):
    document = sandbox.http.get(sandbox.issuer() + DOCUMENTS[server]).json()
    for name in ("issuer", "token_endpoint", "jwks_uri"):
        assert document[name] == sandbox.server(server)[name]
    assert document.get("revocation_endpoint") == sandbox.server(server).get("revocation_endpoint")
    keys = sandbox.http.get(document["jwks_uri"]).json()["keys"]
    header, claims = decode(subject(sandbox, server))
    assert [key["kid"] for key in keys] == [header["kid"]] and claims["iss"] == document["issuer"]


def test_the_wrong_places_of_metadata_are_empty(sandbox):
    base = sandbox.issuer()
    for path in ("/sts/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/sandbox",
                 "/partner/as/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/google"):
        assert sandbox.http.get(base + path).status_code == 404


@pytest.mark.parametrize("server", ["rfc8693", "keycloak", "auth0", "bearer", "partner", "ping", "wso2"])
def test_revocation(sandbox, server):
    sandbox.settings(introspect=True)
    own, other = (ProviderClient(sandbox, server, agent) for agent in ("agent1", "agent2"))
    token = own.post(request(sandbox, server)).json()["access_token"]
    assert other.post({"token": token}, "revocation_endpoint").status_code == 200
    assert whoami(sandbox, server, token).status_code == 200  # another's is left alone
    assert own.post({"token": token}, "revocation_endpoint").status_code == 200
    assert whoami(sandbox, server, token).status_code == 401
    assert own.post({"token": "unknown"}, "revocation_endpoint").status_code == 200


@pytest.mark.parametrize("server", ["entra", "google"])
def test_where_nothing_can_be_revoked(sandbox, server):
    assert "revocation_endpoint" not in sandbox.server(server)


@pytest.mark.parametrize("server,form", [
    ("rfc8693", {"audience": "https://orders.sandbox.test"}),
    ("rfc8693", {"resource": "https://orders.sandbox.test"}),
    ("keycloak", {}), ("auth0", {"audience": "https://orders.sandbox.test/"}),
    ("entra", {"scope": "api://orders/.default"}), ("partner", {"resource": "https://parts.partner.test"}),
    ("ping", {"audience": "https://orders.ping.test"}), ("wso2", {})])
def test_client_credentials(sandbox, server, form):
    client = ProviderClient(sandbox, server)
    answer = client.post({"grant_type": "client_credentials", **form})
    assert answer.status_code == 200, answer.text
    assert "issued_token_type" not in answer.json() and "refresh_token" not in answer.json()
    seen = whoami(sandbox, server, answer.json()["access_token"]).json()
    assert seen["sub"] == client.client_id and seen["user"] is None and seen["chain"] == []


# Client authentication


def test_the_assertion_may_be_for_the_issuer_where_that_is_taken(sandbox):
    for server, agent, taken in (("rfc8693", "agent1", True), ("keycloak", "agent2", True), ("auth0", "agent2", True),
                                 ("partner", "agent1", False), ("entra", "agent2", False)):
        client = ProviderClient(sandbox, server, agent)
        answer = client.post(request(sandbox, server, agent), audience=sandbox.issuer(server))
        assert answer.status_code == (200 if taken else 401), answer.text


@pytest.mark.parametrize("change,reason", [
    ({"aud": ["both", "of"]}, "assertion_aud"), ({"aud": "https://elsewhere.test"}, "assertion_aud"),
    ({"exp": 1}, "assertion_expired"), ({"jti": None}, "assertion_jti"), ({"sub": "x", "iss": "x"}, "client_unknown")])
def test_assertions_are_checked_as_at_okta(sandbox, change, reason):
    client = ProviderClient(sandbox, "rfc8693")
    answer = client.post(request(sandbox, "rfc8693"), **change)
    assert answer.status_code == 401 and answer.json()["error"] == "invalid_client"
    assert sandbox.records("rfc8693_token")[-1]["reason"] == reason


def test_an_assertion_is_good_once(sandbox):
    client = ProviderClient(sandbox, "rfc8693")
    for status in (200, 401):
        assert client.post(request(sandbox, "rfc8693"), jti="the same").status_code == status
    assert sandbox.records("rfc8693_token")[-1]["reason"] == "assertion_replayed"


def test_an_assertion_of_okta_is_none_here(sandbox):
    """The key is the same, the client is not."""
    okta = harness.Client(sandbox)
    form = okta.form(sandbox.endpoint("rfc8693"), request(sandbox, "rfc8693"))
    assert sandbox.http.post(sandbox.endpoint("rfc8693"), data=form).status_code == 401


@pytest.mark.parametrize("keep,status", [(("x5t",), 200), (("x5t#S256",), 200), ((), 401)])
def test_entra_finds_the_key_by_the_certificate(sandbox, keep, status):
    client = ProviderClient(sandbox, "entra", "agent2")
    header = {name: value for name, value in client.certificate_header().items() if name in keep} | {"kid": None}
    answer = client.post(request(sandbox, "entra", "agent2"), header=header)
    assert answer.status_code == status, answer.text
    if status == 401:
        assert answer.json()["error_codes"] == [700027]


@pytest.mark.parametrize("change", [{"x5t": "AAAA"}, {"x5t#S256": "AAAA"}, {"x5t#S256": "AAAA", "x5t": None}])
def test_another_certificate_is_refused(sandbox, change):
    client = ProviderClient(sandbox, "entra", "agent2")
    answer = client.post(request(sandbox, "entra", "agent2"), header=client.certificate_header() | change)
    assert answer.status_code == 401
    assert sandbox.records("entra_token")[-1]["reason"] == "assertion_x5t_unknown"


def test_entra_wants_nbf(sandbox):
    client = ProviderClient(sandbox, "entra", "agent2")
    assert client.post(request(sandbox, "entra", "agent2"), nbf=None).status_code == 401
    assert sandbox.records("entra_token")[-1]["reason"] == "assertion_nbf"


# What cannot be seen without a server


def test_what_may_come_twice(sandbox):
    for server, status in (("rfc8693", 200), ("keycloak", 200), ("ping", 400)):
        targets = sandbox.server(server)["targets"]
        form = [*request(sandbox, server).items(), ("audience", targets[-1])]
        assert ProviderClient(sandbox, server).post(form).status_code == status


def test_the_refresh_token_of_auth0_opens_the_vault(sandbox):
    client = ProviderClient(sandbox, "auth0")
    kind = "http://auth0.com/oauth/token-type/federated-connection-access-token"
    form = {"grant_type": "urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token",
            "subject_token": sandbox.mint(type="refresh_token", server="auth0"), "connection": "github",
            "subject_token_type": TT + "refresh_token", "requested_token_type": kind}
    assert client.post(form).status_code == 401
    sandbox.admin("POST", "vault", json={"connection": "agent1-linked", "user": "alice", "consented": True})
    answer = client.post(form).json()
    assert answer["issued_token_type"] == kind
    headers = {"Authorization": f"Bearer {answer['access_token']}"}
    assert sandbox.http.get(sandbox.url("api", "/code/whoami"), headers=headers).json()["who"] == "alice"
    for token in (sandbox.mint(type="refresh_token", server="auth0", audience="agent2"), "v1.made-up"):
        assert client.post(form | {"subject_token": token}).status_code == 400


def test_an_id_jag_of_okta_is_redeemed_at_auth0(sandbox):
    okta, auth0 = harness.Client(sandbox), ProviderClient(sandbox, "auth0")
    first = okta.exchange(sandbox.mint(), "store", "orders.read")
    assert first.status_code == 200, first.text
    assert decode(first.json()["access_token"])[1]["client_id"] == auth0.client_id
    form = {"grant_type": JB, "assertion": first.json()["access_token"]}
    for _ in range(2):  # it may be presented again
        answer = auth0.post(form)
        assert answer.status_code == 200, answer.text
    seen = whoami(sandbox, "auth0", answer.json()["access_token"]).json()
    assert seen["user"] == "alice" and seen["chain"] == [okta.client_id] and seen["scopes"] == ["orders.read"]


def test_okta_on_behalf_of_without_agents(sandbox):
    """At a custom server, for an app; agents and the org are told no."""
    app, agent = harness.Client(sandbox, "service"), harness.Client(sandbox, "agent1")
    form = {"grant_type": TX, "subject_token": sandbox.mint(type="access_token"), "scope": "orders.read",
            "subject_token_type": TT + "access_token", "audience": "api://sandbox"}
    answer = app.post("aus4", form)
    assert answer.status_code == 200, answer.text
    assert answer.json()["issued_token_type"] == TT + "access_token"
    seen = sandbox.whoami(answer.json()["access_token"], "api").json()
    assert seen["user"] == "alice" and seen["chain"] == [] and seen["claims"]["cid"] == app.client_id
    assert app.post("aus4", form | {"requested_token_type": TT + "access_token"}).status_code == 200
    for change, error in (({"audience": sandbox.issuer("aus4")}, "invalid_target"), ({"scope": None}, "invalid_scope"),
                          ({"subject_token_type": TT + "id_token"}, "invalid_request"),
                          ({"subject_token": sandbox.mint(type="access_token", audience="agent2")}, "invalid_grant"),
                          ({"subject_token": sandbox.mint()}, "invalid_grant"), ({"scope": "x"}, "access_denied"),
                          ({"requested_token_type": TT + "id-jag"}, "invalid_request")):
        assert app.post("aus4", form | change).json()["error"] == error
    assert agent.post("aus4", form).json()["error"] == "unauthorized_client"
    assert app.post("aus2", form).json()["error"] == "unauthorized_client"
    assert app.post("org", form).json()["error"] == "invalid_request"


def test_faults_are_played_there_too(sandbox):
    for server in ALL:
        sandbox.fault(f"{server}_token", "unavailable", retry_after=1)
        assert ProviderClient(sandbox, server).post({"grant_type": "x"}).status_code == 503
    sandbox.fault("keycloak_token", "wrong_audience", value="elsewhere")
    token = ProviderClient(sandbox, "keycloak").post(request(sandbox, "keycloak")).json()["access_token"]
    assert decode(token)[1]["aud"] == "elsewhere"
    assert whoami(sandbox, "keycloak", token).status_code == 401
    sandbox.fault("api", "unauthorized", path="/at/ping")
    token = ProviderClient(sandbox, "ping").post(request(sandbox, "ping")).json()["access_token"]
    assert whoami(sandbox, "ping", token).status_code == 401
    assert whoami(sandbox, "ping", token).status_code == 200


def test_the_resource_says_whose_it_is(sandbox):
    url = sandbox.server("keycloak")["url"]
    answer = sandbox.http.get(url + "whoami")
    place = sandbox.url("api", "/.well-known/oauth-protected-resource/at/keycloak")
    assert answer.status_code == 401 and f'resource_metadata="{place}"' in answer.headers["WWW-Authenticate"]
    document = sandbox.http.get(place).json()
    assert document["resource"] == url.rstrip("/")
    assert document["authorization_servers"] == [sandbox.issuer("keycloak")]
    assert sandbox.http.get(sandbox.url("api", "/at/nobody/whoami")).status_code == 404


def test_a_stranger_signs_nothing(sandbox):
    """A token like the right one, but by another key."""
    for server in ("rfc8693", "keycloak", "entra"):
        token = subject(sandbox, server, signature="bad")
        form = {**request(sandbox, server)}
        form["assertion" if "assertion" in form else "subject_token"] = token
        assert ProviderClient(sandbox, server).post(form).status_code == 400
    assert sandbox.refused() == {"subject_signature": 3}


