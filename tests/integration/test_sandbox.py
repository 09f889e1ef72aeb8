"""The sandbox itself, over the wire, by requests that are signed here in Python: what it grants, and every
refusal of reference section 14. A proxy's mistake must not pass because the sandbox is lenient."""

import time

import pytest
import requests

from harness import CA, JB, TT, Client, decode


def refusal(answer, status, error):
    assert answer.status_code == status, answer.text
    assert answer.json()["error"] == error
    assert answer.headers["Cache-Control"] == "no-store"
    return answer


def last_reason(sandbox, place="org_token"):
    return sandbox.records(place)[-1]["reason"]


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
    seen = sandbox.whoami(second.json()["access_token"]).json()
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
    chain = sandbox.whoami(at_agent2).json()["chain"]
    assert chain == [agent1.client_id, service.client_id]
    at_agent3 = agent2.both_legs(at_agent2, "agent3", "chat.read")
    seen = sandbox.whoami(at_agent3, "agent3").json()
    assert seen["chain"] == [agent2.client_id, agent1.client_id, service.client_id]
    assert seen["sub"] == service.client_id and seen["user"] is None


def test_api_by_default_audience(sandbox, client):
    token = client.both_legs(sandbox.mint(), "api", "orders.read")
    assert decode(token)[1]["aud"] == "api://sandbox"
    assert sandbox.whoami(token, "api").status_code == 200


def test_measured_shape(sandbox, client):
    sandbox.settings(measured_shape=1)
    token = client.both_legs(sandbox.mint(user="bob"))
    header, claims = decode(token)
    assert header["typ"] == "at+jwt" and claims["scp"] == ["chat.read", "chat.history"]
    assert claims["sub"] == "bob@example.com" and claims["uid"] == sandbox.info["users"]["bob"]["id"]
    assert claims["cid"] == client.client_id and "scope" not in claims
    # and it is a subject token for the next hop
    third = Client(sandbox, "agent2").both_legs(token, "agent3", "chat.read")
    assert sandbox.whoami(third, "agent3").json()["user"] == "bob"


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
    """So long after the test asks, not after this file was read."""
    return lambda: int(time.time()) + seconds


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
    change = {key: value() if callable(value) else value for key, value in change.items()}
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
    assert sandbox.whoami(token).status_code == 200
    refusal(revoke(client, audience=sandbox.endpoint("aus2")), 401, "invalid_client")
    assert sandbox.whoami(token).status_code == 200
    assert revoke(client).status_code == 200
    assert sandbox.whoami(token).status_code == 401
    assert revoke(client).status_code == 200
    # who verifies by keys alone does not know
    sandbox.settings(introspect=0)
    assert sandbox.whoami(token).status_code == 200
    # but the provider does
    refusal(Client(sandbox, "agent2").exchange(token, "agent3", "chat.read"), 400, "invalid_grant")


def test_revoke_at_another_server(sandbox, client):
    sandbox.settings(introspect=1)
    token = client.both_legs(sandbox.mint())
    assert client.post("aus3", {"token": token}, "revocation_endpoint").status_code == 200
    assert sandbox.whoami(token).status_code == 200
    assert sandbox.revoke(server="aus2", user="bob") == 0
    assert sandbox.revoke(server="aus2", user="alice") == 1
    assert sandbox.whoami(token).status_code == 401


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
