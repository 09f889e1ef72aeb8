"""The sandbox itself, over the wire, by requests that are signed here in Python: what it grants, and every
refusal of reference section 14. A proxy's mistake must not pass because the sandbox is lenient."""

import json
import socket
import time

import pytest
import requests

from harness import CA, JB, TT, TX, Client, Sandbox, b64url, decode, sign_jwt, wait_until


def refusal(answer, status, error):
    assert answer.status_code == status, answer.text
    assert answer.json()["error"] == error
    assert answer.headers["Cache-Control"] == "no-store"
    return answer


def last_reason(sandbox, place="org_token"):
    return sandbox.records(place)[-1]["reason"]


def whoami(sandbox, token, agent="agent2", **kwargs):
    return sandbox.http.get(
        sandbox.url(agent, "/a2a/whoami"), headers={"Authorization": f"Bearer {token}"}, **kwargs
    )


# What is granted


@pytest.mark.parametrize("kid", ["k1", "k2"])
def test_user_both_legs(sandbox, kid):
    client = Client(sandbox, "agent1", kid)
    first = client.exchange(sandbox.mint(user="alice"))
    assert first.status_code == 200, first.text
    body = first.json()
    assert body["issued_token_type"] == TT + "id-jag"
    assert (body["token_type"], body["expires_in"]) == ("N_A", 300)
    assert first.headers["Cache-Control"] == "no-store"
    assert int(first.headers["X-Rate-Limit-Reset"]) > time.time()
    header, claims = decode(body["access_token"])
    assert header["typ"] == "oauth-id-jag+jwt"
    assert claims["iss"] == sandbox.issuer() and claims["aud"] == sandbox.issuer("aus2")
    assert claims["client_id"] == client.client_id
    assert claims["resource"] == sandbox.resource("agent2")
    assert claims["sub"] == sandbox.info["users"]["alice"]["id"]
    assert claims["exp"] - claims["iat"] == 300
    assert claims["act"] == {"sub": client.client_id, "sub_profile": "ai_agent"}

    second = client.redeem(body["access_token"])
    assert second.status_code == 200, second.text
    assert (second.json()["token_type"], second.json()["expires_in"]) == ("Bearer", 3600)
    seen = whoami(sandbox, second.json()["access_token"]).json()
    assert seen["user"] == "alice" and seen["chain"] == [client.client_id]
    assert seen["scopes"] == ["chat.read", "chat.history"]
    assert seen["claims"]["aud"] == sandbox.resource("agent2")
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


def test_machine_and_three_hops(sandbox):
    service, agent1, agent2 = (Client(sandbox, n) for n in ("service", "agent1", "agent2"))
    first = service.post(
        "aus1",
        {
            "grant_type": "client_credentials",
            "scope": "agent.invoke",
            "resource": sandbox.resource("agent1"),
        },
    )
    assert first.status_code == 200, first.text
    at_agent2 = agent1.both_legs(first.json()["access_token"])
    chain = whoami(sandbox, at_agent2).json()["chain"]
    assert chain == [agent1.client_id, service.client_id]
    at_agent3 = agent2.both_legs(at_agent2, "agent3", "chat.read")
    seen = whoami(sandbox, at_agent3, "agent3").json()
    assert seen["chain"] == [agent2.client_id, agent1.client_id, service.client_id]
    assert seen["sub"] == service.client_id and seen["user"] is None


def test_api_by_default_audience(sandbox, client):
    token = client.both_legs(sandbox.mint(), "api", "orders.read")
    assert decode(token)[1]["aud"] == "api://sandbox"
    assert whoami(sandbox, token, "api").status_code == 200


def test_measured_shape(sandbox, client):
    sandbox.settings(measured_shape=1)
    token = client.both_legs(sandbox.mint(user="bob"))
    header, claims = decode(token)
    assert header["typ"] == "at+jwt" and claims["scp"] == ["chat.read", "chat.history"]
    assert claims["sub"] == "bob@example.com" and claims["uid"] == sandbox.info["users"]["bob"]["id"]
    assert claims["cid"] == client.client_id and "scope" not in claims
    # and it is a subject token for the next hop
    third = Client(sandbox, "agent2").both_legs(token, "agent3", "chat.read")
    assert whoami(sandbox, third, "agent3").json()["user"] == "bob"


def test_linked_app(sandbox, client):
    token = sandbox.mint(audience="webapp")
    assert client.exchange(token).status_code == 200
    sandbox.settings(linked_app_id_token=0)
    refusal(client.exchange(token), 400, "invalid_grant")


# The form


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_method(sandbox, method):
    answer = sandbox.http.request(method, sandbox.endpoint(), timeout=10)
    assert answer.status_code == 405 and answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("kind", ["application/json", "text/plain", None])
def test_content_type(sandbox, client, kind):
    data = requests.models.RequestEncodingMixin._encode_params(
        client.form(sandbox.endpoint(), client.exchange_form(sandbox.mint()))
    )
    headers = {"Content-Type": kind} if kind else {}
    answer = sandbox.http.post(sandbox.endpoint(), data=data.encode(), headers=headers, timeout=10)
    assert answer.status_code == 415


FORM_CHANGES = {
    "duplicate": (lambda body: body + "&scope=chat.read", "form_duplicate"),
    "duplicate resource": (lambda body: body + "&resource=x", "form_duplicate"),
    "bad escape": (lambda body: body + "&x=%zz", "form_malformed"),
    "cut escape": (lambda body: body + "&x=%4", "form_malformed"),
    "raw space": (lambda body: body + "&x=a b", "form_malformed"),
    "raw equals": (lambda body: body + "&x=a=b", "form_malformed"),
    "empty name": (lambda body: body + "&=b", "form_malformed"),
    "trailing": (lambda body: body + "&", "form_malformed"),
    "control": (lambda body: body + "&x=%00", "form_malformed"),
    "too many": (lambda body: body + "".join(f"&x{i}=1" for i in range(40)), "form_too_many"),
}


@pytest.mark.parametrize("name", FORM_CHANGES)
def test_form(sandbox, client, name):
    change, reason = FORM_CHANGES[name]
    body = requests.models.RequestEncodingMixin._encode_params(
        client.form(sandbox.endpoint(), client.exchange_form(sandbox.mint()))
    )
    post = lambda text: sandbox.http.post(
        sandbox.endpoint(),
        data=text.encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        timeout=10,
    )
    refusal(post(change(body)), 400, "invalid_request")
    assert last_reason(sandbox) == reason
    assert post(body).status_code == 200  # and nothing of it was spent


# Client authentication


def at(seconds):
    return int(time.time()) + seconds


ASSERTIONS = {
    "no kid": ({"header": {"kid": None}}, "assertion_kid_missing"),
    "unknown kid": ({"header": {"kid": "k9"}}, "assertion_kid_unknown"),
    "other key's kid": ({"header": {"kid": "k2"}}, "assertion_signature"),
    "alg not in the list": ({"header": {"alg": "PS256"}}, "assertion_alg"),
    "alg none": ({"header": {"alg": "none"}}, "assertion_alg"),
    "alg hmac": ({"header": {"alg": "HS256"}}, "assertion_alg"),
    "alg of another size": ({"header": {"alg": "RS512"}}, "assertion_signature"),
    "typ": ({"header": {"typ": "oauth-id-jag+jwt"}}, "assertion_typ"),
    "crit": ({"header": {"crit": ["x"]}}, "assertion_crit"),
    "iss": ({"iss": "somebody"}, "assertion_iss_sub"),
    "no iss": ({"iss": None}, "assertion_iss_sub"),
    "sub": ({"sub": "somebody"}, "client_unknown"),
    "sub of a web app": ({"sub": "0oa3webappsandbox003"}, "assertion_kid_unknown"),
    "expired": ({"exp": at(-1)}, "assertion_expired"),
    "no exp": ({"exp": None}, "assertion_exp_missing"),
    "exp is text": ({"exp": "soon"}, "assertion_exp_missing"),
    "exp too far": ({"exp": at(3700)}, "assertion_exp_far"),
    "iat ahead": ({"iat": at(60)}, "assertion_iat"),
    "nbf ahead": ({"nbf": at(60)}, "assertion_nbf"),
    "no jti": ({"jti": None}, "assertion_jti"),
    "jti is a number": ({"jti": 7}, "assertion_jti"),
}


@pytest.mark.parametrize("name", ASSERTIONS)
def test_assertion(sandbox, client, name):
    change, reason = ASSERTIONS[name]
    answer = client.post("org", client.exchange_form(sandbox.mint()), **change)
    refusal(answer, 401, "invalid_client")
    assert last_reason(sandbox) == reason


@pytest.mark.parametrize("kind", ["issuer", "custom", "revoke", "slash", "list", "list of two"])
def test_assertion_audience(sandbox, client, kind):
    right = sandbox.endpoint()
    wrong = {
        "issuer": sandbox.issuer(),
        "custom": sandbox.endpoint("aus2"),
        "revoke": sandbox.endpoint("org", "revocation_endpoint"),
        "slash": right + "/",
        "list": [right],
        "list of two": [right, sandbox.endpoint("aus2")],
    }[kind]
    answer = client.post("org", client.exchange_form(sandbox.mint()), audience=wrong)
    refusal(answer, 401, "invalid_client")
    assert last_reason(sandbox) == "assertion_aud"


def test_assertion_by_another_key(sandbox, client):
    answer = client.post(
        "org", client.exchange_form(sandbox.mint()), key_file=sandbox.key_file("agent2")
    )
    refusal(answer, 401, "invalid_client")
    assert last_reason(sandbox) == "assertion_signature"


def test_assertion_replay(sandbox, client):
    form = client.form(sandbox.endpoint(), client.exchange_form(sandbox.mint()))
    assert sandbox.http.post(sandbox.endpoint(), data=form).status_code == 200
    refusal(sandbox.http.post(sandbox.endpoint(), data=form), 401, "invalid_client")
    assert last_reason(sandbox) == "assertion_replayed"


def test_jti_is_per_client(sandbox, client):
    """Two clients may choose the same jti; one that was not authenticated burns none."""
    token = sandbox.mint()
    stranger = client.post(
        "org", client.exchange_form(token), jti="same", key_file=sandbox.key_file("agent2")
    )
    refusal(stranger, 401, "invalid_client")
    assert client.post("org", client.exchange_form(token), jti="same").status_code == 200
    other = Client(sandbox, "agent2").post("org", client.exchange_form(token), jti="same")
    refusal(other, 400, "invalid_grant")  # authenticated; the token is not its own
    assert last_reason(sandbox) == "subject_audience"


METHODS = {
    "nothing": ({}, {}, 401, "invalid_client", "client_unauthenticated"),
    "client id only": ({"client_id": "wlp1agentsandbox0001"}, {}, 401, "invalid_client", "client_unauthenticated"),
    "secret": ({"client_id": "wlp1agentsandbox0001", "client_secret": "s"}, {}, 401, "invalid_client", "client_secret_not_allowed"),
    "basic": ({}, {"auth": ("wlp1agentsandbox0001", "s")}, 401, "invalid_client", "client_secret_not_allowed"),
    "assertion and secret": ({"client_secret": "s", "client_assertion": "x"}, {}, 400, "invalid_request", "two_client_authentications"),
    "assertion and basic": ({"client_assertion": "x"}, {"auth": ("a", "b")}, 400, "invalid_request", "two_client_authentications"),
    "basic and secret": ({"client_secret": "s"}, {"auth": ("a", "b")}, 400, "invalid_request", "two_client_authentications"),
    "assertion without type": ({"client_assertion": "x"}, {}, 401, "invalid_client", "assertion_type"),
    "not a JWT": ({"client_assertion": "x", "client_assertion_type": CA}, {}, 401, "invalid_client", "assertion_malformed"),
}


@pytest.mark.parametrize("name", METHODS)
def test_client_method(sandbox, client, name):
    more, kwargs, status, error, reason = METHODS[name]
    form = {**client.exchange_form(sandbox.mint()), **more}
    answer = sandbox.http.post(sandbox.endpoint(), data=form, timeout=10, **kwargs)
    refusal(answer, status, error)
    assert last_reason(sandbox) == reason
    if name == "basic":
        assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_client_id_beside(sandbox, client):
    form = client.exchange_form(sandbox.mint())
    assert client.post("org", {**form, "client_id": client.client_id}).status_code == 200
    refusal(client.post("org", {**form, "client_id": "wlp2agentsandbox0002"}), 401, "invalid_client")


# Leg 1

EXCHANGES = {
    "grant missing": ({"grant_type": None}, "invalid_request", "grant_missing"),
    "grant unknown": ({"grant_type": "password"}, "unsupported_grant_type", "grant_unsupported"),
    "jwt-bearer at the org": ({"grant_type": JB}, "unsupported_grant_type", "grant_unsupported"),
    "client_credentials at the org": ({"grant_type": "client_credentials"}, "unsupported_grant_type", "grant_unsupported"),
    "requested type missing": ({"requested_token_type": None}, "invalid_request", "requested_type"),
    "requested type": ({"requested_token_type": TT + "access_token"}, "invalid_request", "requested_type"),
    "subject missing": ({"subject_token": None}, "invalid_request", "subject_missing"),
    "subject not a JWT": ({"subject_token": "opaque"}, "invalid_request", "subject_malformed"),
    "subject type missing": ({"subject_token_type": None}, "invalid_request", "subject_type"),
    "subject type": ({"subject_token_type": TT + "saml2"}, "invalid_request", "subject_type"),
    "ID token as access token": ({"subject_token_type": TT + "access_token"}, "invalid_grant", "subject_issuer"),
    "actor": ({"actor_token": "x"}, "invalid_request", "actor_token"),
    "audience missing": ({"audience": None}, "invalid_request", "audience_missing"),
    "audience unknown": ({"audience": "https://elsewhere.example"}, "invalid_target", "audience"),
    "resource missing": ({"resource": None}, "invalid_target", "resource_missing"),
    "resource unknown": ({"resource": "https://elsewhere.example"}, "invalid_target", "resource"),
    "scope missing": ({"scope": None}, "invalid_scope", "scope_missing"),
    "scope with plus": ({"scope": "chat.read+chat.history"}, "invalid_scope", "scope_malformed"),
    "scope with two spaces": ({"scope": "chat.read  chat.history"}, "invalid_scope", "scope_malformed"),
    "scope twice": ({"scope": "chat.read chat.read"}, "invalid_scope", "scope_malformed"),
    "system scope": ({"scope": "chat.read openid"}, "invalid_scope", "scope_system"),
    "offline_access": ({"scope": "offline_access"}, "invalid_scope", "scope_system"),
    "scope beyond": ({"scope": "chat.read chat.delete"}, "unauthorized_client", "scope_not_allowed"),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_exchange_refused(sandbox, client, name):
    change, error, reason = EXCHANGES[name]
    answer = client.post("org", {**client.exchange_form(sandbox.mint()), **change})
    refusal(answer, 400, error)
    assert last_reason(sandbox) == reason
    assert sandbox.refused() == {reason: 1}


@pytest.mark.parametrize("which", ["token endpoint", "another's", "slash", "org"])
def test_audience_is_the_issuer(sandbox, client, which):
    wrong = {
        "token endpoint": sandbox.endpoint("aus2"),
        "another's": sandbox.issuer("aus1"),
        "slash": sandbox.issuer("aus2") + "/",
        "org": sandbox.issuer(),
    }[which]
    refusal(client.exchange(sandbox.mint(), audience=wrong), 400, "invalid_target")


@pytest.mark.parametrize("suffix", ["/", "/a2a/", "?"])
def test_resource_is_exact(sandbox, client, suffix):
    answer = client.exchange(sandbox.mint(), resource=sandbox.resource("agent2") + suffix)
    refusal(answer, 400, "invalid_target")


def test_resource_of_another_connection(sandbox, client):
    refusal(client.exchange(sandbox.mint(), resource=sandbox.resource("agent3")), 400, "invalid_target")
    refusal(
        client.exchange(sandbox.mint(), "api", "orders.read", resource=sandbox.resource("api")),
        400,
        "invalid_target",
    )


def test_no_connection(sandbox):
    """agent2 has none to the API."""
    token = sandbox.mint(type="access_token", audience="agent2", client="agent1", chain=1)
    refusal(Client(sandbox, "agent2").exchange(token, "api", "orders.read"), 400, "invalid_target")


SUBJECTS = {
    "expired": ({"expires_in": -1}, "subject_expired"),
    "bad signature": ({"signature": "bad"}, "subject_signature"),
    "unsigned": ({"signature": "none"}, "subject_signature"),
    "foreign issuer": ({"iss": "https://elsewhere.example"}, "subject_issuer"),
    "of another agent": ({"audience": "agent2"}, "subject_audience"),
    "wrong audience": ({"aud": "api://default"}, "subject_audience"),
    "audience list": ({"claims": {"aud": ["wlp1agentsandbox0001", "x"]}}, "subject_audience"),
    "unknown user": ({"sub": "00u9nobody"}, "subject_unknown_user"),
    "unassigned user": ({"user": "carol"}, "user_not_assigned"),
    "ID-JAG": ({"typ": "oauth-id-jag+jwt"}, "subject_is_id_jag"),
    "no exp": ({"claims": {"exp": None}}, "subject_expired"),
    "nbf ahead": ({"claims": {"nbf": 4000000000}}, "subject_expired"),
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_id_token_refused(sandbox, client, name):
    parameters, reason = SUBJECTS[name]
    token = sandbox.mint(**parameters)
    answer = client.exchange(token, subject_token_type=TT + "id_token")
    refusal(answer, 400, "invalid_grant")
    assert last_reason(sandbox) == reason
    assert token not in answer.text


ACCESS = {
    "expired": ({"expires_in": -1}, "subject_expired"),
    "bad signature": ({"signature": "bad"}, "subject_signature"),
    "of the org": ({"server": "org"}, "subject_issuer"),
    "of another agent": ({"audience": "agent2"}, "subject_audience"),
    "slash": ({"aud": "https://agent1.sandbox.test/"}, "subject_audience"),
    "client without link": ({"user": "rogue"}, "no_delegation_link"),
    "user's web app without link": ({"user": "alice"}, "no_delegation_link"),
    "no client": ({"claims": {"cid": None}}, "no_delegation_link"),
    "client is not the actor": ({"claims": {"act": {"sub": "wlp2agentsandbox0002"}}}, "subject_chain"),
    "actor without sub": ({"claims": {"act": {"name": "x"}}}, "subject_chain"),
}


@pytest.mark.parametrize("name", ACCESS)
def test_access_token_refused(sandbox, client, name):
    parameters, reason = ACCESS[name]
    token = sandbox.mint(**{"type": "access_token", "user": "service", **parameters})
    refusal(client.exchange(token, subject_token_type=TT + "access_token"), 400, "invalid_grant")
    assert last_reason(sandbox) == reason


def test_access_token_feature_off(sandbox, client):
    token = sandbox.mint(type="access_token", user="service")
    assert client.exchange(token).status_code == 200
    sandbox.settings(subject_access_token=0)
    answer = refusal(client.exchange(token), 400, "invalid_request")
    assert answer.json()["error_description"] == "'subject_token_type' is invalid or not supported."


def test_chain_of_five(sandbox):
    agent2 = Client(sandbox, "agent2")
    mint = lambda n: sandbox.mint(
        type="access_token", audience="agent2", user="alice", client="agent1", chain=n
    )
    answer = agent2.exchange(mint(4), "agent3", "chat.read")
    assert answer.status_code == 200, answer.text
    refusal(
        agent2.exchange(mint(5), "agent3", "chat.read"), 400, "invalid_subject_token_act_claim_depth"
    )


def test_services_do_not_exchange(sandbox):
    answer = Client(sandbox, "service").exchange(sandbox.mint())
    refusal(answer, 400, "unauthorized_client")


# Leg 2


@pytest.fixture
def id_jag(sandbox, client):
    return client.exchange(sandbox.mint()).json()["access_token"]


def test_exchange_at_custom_server(sandbox, client):
    answer = client.post("aus2", client.exchange_form(sandbox.mint()))
    refusal(answer, 400, "invalid_request")
    assert last_reason(sandbox, "aus2_token") == "requested_type"


def test_id_jag_twice(sandbox, client, id_jag):
    assert client.redeem(id_jag).status_code == 200
    refusal(client.redeem(id_jag), 400, "invalid_grant")
    assert last_reason(sandbox, "aus2_token") == "id_jag_used"
    sandbox.settings(id_jag_single_use=0)
    assert client.redeem(id_jag).status_code == 200


def test_id_jag_of_another_client(sandbox, client, id_jag):
    refusal(Client(sandbox, "agent2").redeem(id_jag), 400, "invalid_grant")
    assert last_reason(sandbox, "aus2_token") == "id_jag_client"
    assert client.redeem(id_jag).status_code == 200  # it was not spent by that


def test_id_jag_at_another_server(sandbox, client, id_jag):
    refusal(client.redeem(id_jag, "agent3"), 400, "invalid_grant")
    assert last_reason(sandbox, "aus3_token") == "id_jag_audience"


def test_id_jag_expired(sandbox, client):
    sandbox.settings(id_jag_lifetime=1)
    token = client.exchange(sandbox.mint()).json()["access_token"]
    time.sleep(1.1)
    refusal(client.redeem(token), 400, "invalid_grant")
    assert last_reason(sandbox, "aus2_token") == "id_jag_expired"


@pytest.mark.parametrize(
    "kind, reason",
    [
        ("id_token", "id_jag_typ"),
        ("wrong_signature", "id_jag_signature"),
        ("by itself", "id_jag_issuer"),
        ("opaque", "id_jag_malformed"),
    ],
)
def test_not_an_id_jag(sandbox, client, kind, reason):
    if kind == "wrong_signature":
        sandbox.fault("org_token", kind)
        token = client.exchange(sandbox.mint()).json()["access_token"]
    elif kind == "by itself":
        token = sandbox.mint(type="access_token", audience="agent2", typ="oauth-id-jag+jwt")
    else:
        token = sandbox.mint() if kind == "id_token" else "opaque"
    refusal(client.redeem(token), 400, "invalid_grant")
    assert last_reason(sandbox, "aus2_token") == reason


def test_assertion_missing(sandbox, client):
    refusal(client.redeem(None), 400, "invalid_request")


def test_client_assertion_for_the_other_leg(sandbox, client, id_jag):
    answer = client.post(
        "aus2", {"grant_type": JB, "assertion": id_jag}, audience=sandbox.endpoint("org")
    )
    refusal(answer, 401, "invalid_client")
    assert client.redeem(id_jag).status_code == 200


def test_second_leg_scope(sandbox, client, id_jag):
    refusal(client.redeem(id_jag, scope="chat.read"), 400, "invalid_scope")
    sandbox.settings(second_leg_scope=1)
    refusal(client.redeem(id_jag, scope="chat.read chat.admin"), 400, "invalid_scope")
    answer = client.redeem(id_jag, scope="chat.read")
    assert answer.json()["scope"] == "chat.read"


def test_second_leg_resource(sandbox, client, id_jag):
    refusal(client.redeem(id_jag, resource="https://elsewhere.example"), 400, "invalid_target")
    assert client.redeem(id_jag, resource=sandbox.resource("agent2")).status_code == 200


@pytest.mark.parametrize("target, scope", [("agent3", "chat.read"), ("api", "orders.read orders.write")])
def test_policy(sandbox, client, target, scope):
    token = client.exchange(sandbox.mint(), target, scope).json()["access_token"]
    answer = refusal(client.redeem(token, target), 400, "access_denied")
    assert answer.json()["error_description"].startswith("Policy evaluation failed")


CREDENTIALS = {
    "fine": ({}, 200, None),
    "no scope": ({"scope": None}, 400, "invalid_scope"),
    "system scope": ({"scope": "openid"}, 400, "invalid_scope"),
    "unknown scope": ({"scope": "agent.delete"}, 400, "invalid_scope"),
    "no resource": ({"resource": None}, 400, "invalid_target"),
    "slash": ({"resource": "https://agent1.sandbox.test/"}, 400, "invalid_target"),
}


@pytest.mark.parametrize("name", CREDENTIALS)
def test_client_credentials(sandbox, name):
    change, status, error = CREDENTIALS[name]
    form = {
        "grant_type": "client_credentials",
        "scope": "agent.invoke",
        "resource": sandbox.resource("agent1"),
        **change,
    }
    answer = Client(sandbox, "service").post("aus1", form)
    assert (answer.status_code, answer.json().get("error")) == (status, error)


def test_client_credentials_of_an_agent(sandbox, client):
    form = {
        "grant_type": "client_credentials",
        "scope": "agent.invoke",
        "resource": sandbox.resource("agent1"),
    }
    answer = refusal(client.post("aus1", form), 400, "unauthorized_client")
    assert "service apps" in answer.json()["error_description"]


# Revocation


def test_revoke(sandbox, client):
    token = client.both_legs(sandbox.mint())
    revoke = lambda who, **kw: who.post("aus2", {"token": token}, "revocation_endpoint", **kw)
    sandbox.settings(introspect=1)
    answer = revoke(Client(sandbox, "agent2"))  # another's: 200, and untouched
    assert answer.status_code == 200 and answer.text == ""
    assert whoami(sandbox, token).status_code == 200
    refusal(revoke(client, audience=sandbox.endpoint("aus2")), 401, "invalid_client")
    assert whoami(sandbox, token).status_code == 200
    assert revoke(client).status_code == 200
    assert whoami(sandbox, token).status_code == 401
    assert revoke(client).status_code == 200
    # who verifies by keys alone does not know
    sandbox.settings(introspect=0)
    assert whoami(sandbox, token).status_code == 200
    # but the provider does
    refusal(Client(sandbox, "agent2").exchange(token, "agent3", "chat.read"), 400, "invalid_grant")


def test_revoke_at_another_server(sandbox, client):
    sandbox.settings(introspect=1)
    token = client.both_legs(sandbox.mint())
    assert client.post("aus3", {"token": token}, "revocation_endpoint").status_code == 200
    assert whoami(sandbox, token).status_code == 200
    assert sandbox.revoke(server="aus2", user="bob") == 0
    assert sandbox.revoke(server="aus2", user="alice") == 1
    assert whoami(sandbox, token).status_code == 401


# Documents


def test_metadata_and_keys(sandbox):
    for name, server in sandbox.info["servers"].items():
        path = server["issuer"][len(sandbox.issuer()) :]
        for url in (
            server["issuer"] + "/.well-known/openid-configuration",
            sandbox.issuer() + "/.well-known/oauth-authorization-server" + path,
        ):
            document = sandbox.http.get(url).json()
            for member in ("issuer", "token_endpoint", "revocation_endpoint", "jwks_uri"):
                assert document[member] == server[member]
        keys = sandbox.http.get(server["jwks_uri"]).json()["keys"]
        assert [(k["kid"], k["alg"]) for k in keys] == [(name, "RS256")]
        assert not {"d", "p", "q", "dp", "dq", "qi"} & set(keys[0])


# Agents

TOKENS = {
    "missing": (None, None, "token_missing"),
    "wrong audience": ({"aud": "https://elsewhere.example"}, "invalid_token", "token_audience"),
    "slash": ({"aud": "SLASH"}, "invalid_token", "token_audience"),
    "of another agent": ({"audience": "agent3"}, "invalid_token", "token_issuer"),
    "of another server": ({"server": "aus3"}, "invalid_token", "token_issuer"),
    "expired": ({"expires_in": -1}, "invalid_token", "token_expired"),
    "bad signature": ({"signature": "bad"}, "invalid_token", "token_signature"),
    "unsigned": ({"signature": "none"}, "invalid_token", "token_signature"),
    "ID-JAG": ({"typ": "oauth-id-jag+jwt"}, "invalid_token", "token_is_id_jag"),
}


@pytest.mark.parametrize("name", TOKENS)
def test_agent_refuses(sandbox, name):
    parameters, error, reason = TOKENS[name]
    headers = {}
    if parameters is not None:
        if parameters.get("aud") == "SLASH":
            parameters = {"aud": sandbox.resource("agent2") + "/"}
        token = sandbox.mint(**{"type": "access_token", "audience": "agent2", **parameters})
        headers["Authorization"] = f"Bearer {token}"
    answer = sandbox.http.get(sandbox.url("agent2", "/a2a/whoami"), headers=headers)
    challenge = answer.headers["WWW-Authenticate"]
    assert answer.status_code == 401 and challenge.startswith("Bearer ")
    metadata = sandbox.url("agent2", "/.well-known/oauth-protected-resource")
    assert f'resource_metadata="{metadata}"' in challenge
    assert (f'error="{error}"' in challenge) if error else ("error=" not in challenge)
    assert answer.json()["reason"] == reason


def test_agent_refuses_user_token(sandbox):
    """What the whole project is about: the subject token itself opens nothing."""
    answer = whoami(sandbox, sandbox.mint())
    assert answer.status_code == 401 and answer.json()["reason"] == "token_issuer"


def test_two_authorizations(sandbox):
    token = sandbox.mint(type="access_token", audience="agent2")
    with socket.create_connection(("127.0.0.1", sandbox.port("agent2"))) as s:
        line = f"Authorization: Bearer {token}\r\n"
        s.sendall(f"GET /a2a/whoami HTTP/1.1\r\nHost: x\r\n{line}{line}\r\n".encode())
        assert b" 401 " in s.recv(4096)


def rpc(sandbox, method, agent="agent2", token=None, path="/a2a/", **params):
    token = token or sandbox.mint(type="access_token", audience=agent, scope="chat.read")
    return sandbox.http.post(
        sandbox.url(agent, path),
        json={"jsonrpc": "2.0", "id": 7, "method": method, "params": params},
        headers={"Authorization": f"Bearer {token}"},
        stream="tream" in method,
        timeout=20,
    )


def test_a2a_messages(sandbox):
    old = rpc(sandbox, "message/send").json()
    assert old["id"] == 7 and old["result"]["parts"][1]["data"]["user"] == "alice"
    new = rpc(sandbox, "SendMessage").json()
    assert new["result"]["message"]["parts"][1]["data"]["user"] == "alice"
    assert rpc(sandbox, "no/such").json()["error"]["code"] == -32601


def test_a2a_scope(sandbox):
    answer = rpc(sandbox, "sandbox/admin")
    assert answer.status_code == 403
    challenge = answer.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in challenge and 'scope="chat.admin"' in challenge
    token = sandbox.mint(type="access_token", audience="agent2", scope="chat.admin")
    assert rpc(sandbox, "sandbox/admin", token=token).status_code == 200


@pytest.mark.parametrize("method", ["message/stream", "SendStreamingMessage"])
def test_a2a_stream(sandbox, method):
    answer = rpc(sandbox, method, path="/a2a/?n=3&ms=150")
    assert answer.headers["Content-Type"] == "text/event-stream"
    arrived, events = [], []
    for line in answer.iter_lines(chunk_size=1):
        if line.startswith(b"data: "):
            arrived.append(time.monotonic())
            events.append(json.loads(line[6:]))
    assert len(events) == 3 and arrived[2] - arrived[0] > 0.2
    assert "alice" in json.dumps(events[2])


def test_agent_public_documents(sandbox):
    card = sandbox.http.get(sandbox.url("agent2", "/.well-known/agent-card.json")).json()
    assert card["url"] == sandbox.url("agent2", "/a2a/")
    document = sandbox.http.get(sandbox.url("agent2", "/.well-known/oauth-protected-resource")).json()
    assert document["resource"] == sandbox.resource("agent2")
    assert document["authorization_servers"] == [sandbox.issuer("aus2")]


def test_plain_endpoints(sandbox):
    get = lambda path, **kw: sandbox.http.get(sandbox.url("agent2", path), timeout=20, **kw)
    echo = sandbox.http.post(
        sandbox.url("agent2", "/echo?x=1"), data=b"abc", headers={"Authorization": "Bearer secret-1"}
    )
    assert echo.json()["body_sha256"].startswith("ba7816bf") and echo.json()["query"] == "x=1"
    assert "secret-1" not in echo.text
    assert get("/status/418").status_code == 418
    assert get("/status/204").status_code == 204
    assert len(get("/bytes/1000000").content) == 1000000
    chunked = get("/chunked/100000/1000")
    assert len(chunked.content) == 100000 and chunked.headers["Transfer-Encoding"] == "chunked"
    assert get("/sse?n=2&ms=10").text.count("data: ") == 2
    started = time.monotonic()
    assert get("/slow?ms=300").status_code == 200 and time.monotonic() - started >= 0.3
    cut = get("/close")  # requests does not mind
    assert cut.headers["Content-Length"] == "100" and cut.content == b"half"
    with pytest.raises(requests.exceptions.ConnectionError):
        get("/reset")
    assert get("/a2a/echo").status_code == 401
    assert sandbox.http.head(sandbox.url("agent2", "/bytes/5")).headers["Content-Length"] == "5"
    assert sandbox.http.head(sandbox.url("agent2", "/chunked/5/1")).content == b""


def test_client_that_leaves(sandbox):
    """Streams and delays whose peer has gone end; the server goes on."""
    for path in ("/sse?n=100&ms=20", "/bytes/100000000", "/slow?ms=200", "/chunked/900000/10"):
        with socket.create_connection(("127.0.0.1", sandbox.port("agent2"))) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            time.sleep(0.05)
    time.sleep(0.4)
    assert sandbox.http.get(sandbox.url("agent2", "/echo")).status_code == 200


def test_agent_calls_next(own_sandbox):
    """agent2 -> (proxy) -> agent3: here agent3 is its own proxy, and refuses the token it was not made for."""
    first = own_sandbox()
    second = own_sandbox("--agent2-proxy", f"http://u:p@127.0.0.1:{first.port('agent3')}")
    token = second.mint(type="access_token", audience="agent2")
    headers = {"Authorization": f"Bearer {token}"}
    answer = second.http.post(second.url("agent2", "/a2a/"), json={"call": "agent3"}, headers=headers)
    came_back = answer.json()["result"]["parts"][1]["data"]["agent3"]
    assert came_back["status"] in (401, 404), came_back
    record = first.records("agent3")[-1]
    assert record["path"].endswith("/a2a/")
    assert record["credential"] == answer.json()["result"]["parts"][1]["data"]["token_sha256"]


def test_agent_calls_next_without_proxy(sandbox):
    answer = rpc(sandbox, "message/send", message={"metadata": {"call": "agent3"}})
    assert answer.json()["result"]["parts"][1]["data"]["agent3"]["status"] == 0


# Faults

REPLIES = {
    "status": ({"status": 503, "retry_after": 7}, 503, lambda a: a.headers["Retry-After"] == "7"),
    "rate_limited": ({"retry_after": {"in": 9}}, 429, lambda a: "GMT" in a.headers["Retry-After"]),
    "html": ({}, 502, lambda a: "<html>" in a.text),
    "unavailable": ({}, 503, lambda a: a.json()["error"] == "temporarily_unavailable"),
    "error": (
        {"error": "interaction_required", "members": {"interaction_uri": "https://x.example/"}},
        400,
        lambda a: a.json()["interaction_uri"] == "https://x.example/",
    ),
    "garbage_json": ({}, 200, lambda a: a.text.startswith("{") and not a.text.endswith("}")),
    "empty": ({}, 200, lambda a: a.text == ""),
    "array": ({}, 200, lambda a: isinstance(a.json(), list)),
    "oversized_json": ({}, 200, lambda a: len(a.content) > 2 * 1024 * 1024),
    "deep_json": ({"depth": 5000}, 200, lambda a: "[" * 5000 in a.text),
    "redirect": ({}, 302, lambda a: a.headers["Location"] == "/sandbox/followed"),
    "no_access_token": ({}, 200, lambda a: "access_token" not in a.json()),
    "bad_access_token": ({}, 200, lambda a: "\r\n" in a.json()["access_token"]),
    "long_access_token": ({}, 200, lambda a: len(a.json()["access_token"]) == 200000),
    "opaque_access_token": ({}, 200, lambda a: "." not in a.json()["access_token"]),
    "token_type": ({}, 200, lambda a: a.json()["token_type"] == "mac"),
    "no_expires_in": ({}, 200, lambda a: "expires_in" not in a.json()),
    "expires_in": ({"value": "300"}, 200, lambda a: a.json()["expires_in"] == "300"),
    "issued_token_type": ({}, 200, lambda a: a.json()["issued_token_type"] == TT + "access_token"),
    "error_in_200": ({}, 200, lambda a: a.json()["error"] == "invalid_grant"),
    "content_type": ({}, 200, lambda a: a.headers["Content-Type"] == "text/html"),
    "duplicate_member": ({}, 200, lambda a: a.text.count('"access_token"') == 2),
    "wrong_audience": ({}, 200, lambda a: jag(a)["aud"] == "https://attacker.example"),
    "widened_scope": ({}, 200, lambda a: jag(a)["scope"].endswith(" chat.admin")),
    "changed_subject": ({}, 200, lambda a: jag(a)["sub"] == "00u9mallorysandbox09"),
    "lost_chain": ({}, 200, lambda a: "act" not in jag(a)),
    "changed_actor": ({}, 200, lambda a: jag(a)["act"]["sub"] == "wlpAttacker"),
    "expired_token": ({}, 200, lambda a: jag(a)["exp"] < time.time()),
}


def jag(answer):
    return decode(answer.json()["access_token"])[1]


@pytest.mark.parametrize("kind", REPLIES)
def test_fault(sandbox, client, kind):
    more, status, check = REPLIES[kind]
    token = sandbox.mint()
    sandbox.fault("org_token", kind, **more)
    answer = client.exchange(token)
    assert answer.status_code == status
    assert check(answer), answer.text[:300]
    assert sandbox.stats()["counters"]["faults"] == {"org_token": {kind: 1}}
    again = client.exchange(token)  # once only
    assert again.status_code == 200 and jag(again)["aud"] == sandbox.issuer("aus2")


def test_fault_wrong_signature(sandbox, client):
    sandbox.fault("aus2_token", "wrong_signature")
    token = client.both_legs(sandbox.mint())
    assert whoami(sandbox, token).json()["reason"] == "token_signature"


def test_fault_shortened_chain(sandbox, client):
    sandbox.fault("aus2_token", "shortened_chain")
    token = client.both_legs(sandbox.mint(type="access_token", user="service"))
    assert decode(token)[1]["act"] == {"sub": client.client_id, "sub_profile": "ai_agent"}


@pytest.mark.parametrize(
    "kind", ["reset", "close", "reset_mid_body", "close_mid_body", "close_mid_chunk", "garbage_http", "huge_head"]
)
def test_raw_fault(sandbox, client, kind):
    token = sandbox.mint()
    sandbox.fault("org_token", kind)
    if kind == "close_mid_body":  # requests does not mind
        answer = client.exchange(token)
        assert len(answer.content) < int(answer.headers["Content-Length"])
    else:
        with pytest.raises(requests.exceptions.RequestException):
            client.exchange(token)
    assert client.exchange(token).status_code == 200


def test_reset_is_a_reset(sandbox):
    sandbox.fault("agent2", "reset")
    with socket.create_connection(("127.0.0.1", sandbox.port("agent2"))) as s:
        s.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            s.recv(100)


def test_hang_and_slow(sandbox, client):
    token = sandbox.mint()
    sandbox.fault("org_token", "slow", ms=300)
    started = time.monotonic()
    assert client.exchange(token).status_code == 200
    assert time.monotonic() - started >= 0.3
    sandbox.fault("org_token", "hang", ms=700)
    form = client.form(sandbox.endpoint(), client.exchange_form(token))
    with pytest.raises(requests.exceptions.Timeout):
        requests.post(sandbox.endpoint(), data=form, timeout=0.3, proxies={"http": None})


def test_fault_counts(sandbox):
    sandbox.fault("agent2", "status", count=2, skip=1, status=503, path="/echo")
    get = lambda path: sandbox.http.get(sandbox.url("agent2", path)).status_code
    assert [get("/status/201"), get("/echo"), get("/echo"), get("/echo"), get("/echo")] == [201, 200, 503, 503, 200]
    sandbox.fault("agent2", "unauthorized", count=-1)
    answer = sandbox.http.get(sandbox.url("agent2", "/echo"))
    assert answer.status_code == 401 and "invalid_token" in answer.headers["WWW-Authenticate"]
    sandbox.clear_faults()
    assert get("/echo") == 200 and sandbox.faults() == []


def test_fault_echo_credential(sandbox):
    sandbox.fault("agent2", "echo_credential")
    answer = sandbox.http.get(sandbox.url("agent2", "/echo"), headers={"Authorization": "Bearer abc"})
    assert answer.headers["X-Echo"] == "Bearer abc"


@pytest.mark.parametrize(
    "rule",
    [
        {"place": "nowhere", "kind": "slow"},
        {"place": "org_token", "kind": "none"},
        {"place": "org_token", "kind": "nonsense"},
        {"place": "agent2", "kind": "no_expires_in"},
        {"place": "org_token", "kind": "echo_credential"},
        {"place": "org_token", "kind": "slow", "count": "2"},
        [],
        "x",
    ],
)
def test_bad_fault(sandbox, rule):
    url = f"http://127.0.0.1:{sandbox.info['port']}/sandbox/faults"
    answer = sandbox.http.post(url, json=rule)
    assert answer.status_code == (200 if rule == [] else 400)
    assert sandbox.faults() == []


# The program


def test_stats_hold_no_token(sandbox, client):
    token = sandbox.mint()
    issued = client.both_legs(token)
    whoami(sandbox, issued)
    text = json.dumps(sandbox.stats())
    for secret in (token, issued):
        assert secret not in text and secret.split(".")[2] not in text
    assert sandbox.stats()["remembered"] == {
        "assertions": 2, "redeemed_id_jags": 1, "access_tokens": 1,
    }


def test_settings(sandbox):
    url = f"http://127.0.0.1:{sandbox.info['port']}/sandbox/settings"
    for bad in ({"no_such": 1}, {"introspect": 2}, {"introspect": "1"}, {"introspect": 1, "x": 1}, [1]):
        assert sandbox.http.post(url, json=bad).status_code == 400
    assert sandbox.http.get(url).json()["introspect"] == 0
    assert sandbox.settings(introspect=True)["introspect"] == 1


def test_rate_limit(sandbox, client):
    sandbox.settings(rate_limit=2)
    token = sandbox.mint()
    wait_until(lambda: time.time() % 60 < 55, 10)  # within one minute
    sandbox.settings(rate_limit=2)
    assert [client.exchange(token).status_code for _ in range(3)] == [200, 200, 429]


def test_options(own_sandbox, tmp_path):
    config = tmp_path / "t.jsonc"
    sandbox = own_sandbox(
        "--agent2-url", "http://agent2.test", "--write-config", str(config),
        "--proxy-port", "18080", "--agent2-proxy-port", "18081", "--config-alg", "ES256",
        introspect=1,
    )
    assert sandbox.resource("agent2") == "http://agent2.test"
    text = config.read_text()
    written = json.loads(text[text.index("\n") :])
    assert [l["agent"] for l in written["listeners"]] == ["agent1", "agent2"]
    assert written["connections"][0]["resource"] == "http://agent2.test"
    assert written["agents"]["agent1"]["auth"]["key_file"] == sandbox.key_file("agent1", "k2")
    token = Client(sandbox).both_legs(sandbox.mint())
    answer = sandbox.http.get(
        f"http://127.0.0.1:{sandbox.port('agent2')}/a2a/whoami",
        headers={"Authorization": f"Bearer {token}", "Host": "agent2.test"},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "args", [["--address", "0.0.0.0"], ["--nonsense"], ["x"], ["--set", "a=b"], ["--port-idp", "70000"], ["--port-agents", "1,2,3,4"]]
)
def test_bad_options(state_folder, args):
    sandbox = Sandbox(state_folder, *args)
    with pytest.raises(AssertionError):
        sandbox.start()
    assert "tokenhop-sandbox" in sandbox.stderr


def test_keys_that_others_may_read(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    (folder / "org.pem").write_text("x")
    (folder / "org.pem").chmod(0o644)
    sandbox = Sandbox(folder)
    with pytest.raises(AssertionError):
        sandbox.start()
    assert "org.pem" in sandbox.stderr
