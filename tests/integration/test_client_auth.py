"""How agents authenticate: every method end to end against a sandbox that takes only the registered one, secrets
that stay where they belong (R11, R13), and the change from one key to the next."""

import base64
import hashlib
import hmac
import json
import subprocess
import urllib.parse

import pytest

import harness
from harness import AUTH_METHODS, CA, Client, b64url, binary

METHODS_OF_A_SECRET = ["client_secret_basic", "client_secret_post", "client_secret_jwt"]


def register(sandbox, method):
    sandbox.settings(agent1_auth_method=AUTH_METHODS.index(method))


def auth_of(sandbox, method, **more):
    if method == "none":
        return {"method": method}
    return {"method": method, "secret_file": sandbox.secret_file("agent1"), **more}


def with_auth(auth):
    def change(config):
        config["agents"]["agent1"]["auth"] = auth

    return change


def last_reason(sandbox, place="org_token"):
    return sandbox.records(place)[-1]["reason"]


def logged(hop, event):
    return [json.loads(line) for line in hop.stderr.splitlines() if event in line]


@pytest.mark.parametrize("method", [*METHODS_OF_A_SECRET, "none"])
def test_each_method(sandbox, tokenhop, method):
    register(sandbox, method)
    hop = tokenhop(with_auth(auth_of(sandbox, method)))
    for user in ("alice", "bob"):
        answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user=user))
        assert answer.status_code == 200, (answer.text, last_reason(sandbox))
        assert answer.json()["user"] == user and answer.json()["chain"] == [sandbox.client_id("agent1")]
    assert sandbox.requests("org_token") == sandbox.requests("aus2_token") == 2


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_each_algorithm_of_a_secret(sandbox, tokenhop, alg):
    register(sandbox, "client_secret_jwt")
    hop = tokenhop(with_auth(auth_of(sandbox, "client_secret_jwt", alg=alg)))
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 200


@pytest.mark.parametrize("alg", ["RS384", "RS512"])
def test_other_algorithms_of_the_same_key(sandbox, tokenhop, alg):
    def change(config):
        config["agents"]["agent1"]["auth"]["alg"] = alg

    hop = tokenhop(change)
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 200


def test_algorithm_that_the_server_does_not_take(sandbox, tokenhop):
    def change(config):
        config["agents"]["agent1"]["auth"]["alg"] = "PS256"

    answer = tokenhop(change).get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())
    assert (answer.status_code, answer.json()["code"]) == (502, "exchange_failed")
    assert last_reason(sandbox) == "assertion_alg"


def test_secret_of_the_environment(sandbox, tokenhop):
    register(sandbox, "client_secret_basic")
    auth = {"method": "client_secret_basic", "secret": {"env": "TEST_AGENT_SECRET"}}
    hop = tokenhop(with_auth(auth), env={"TEST_AGENT_SECRET": sandbox.secret("agent1")})
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 200


@pytest.mark.parametrize("typ", ["none", "JWT", "client-authentication+jwt"])
@pytest.mark.parametrize("method", ["private_key_jwt", "client_secret_jwt"])
def test_what_an_assertion_can_have_beside(sandbox, tokenhop, method, typ):
    register(sandbox, method)

    def change(config):
        if method != "private_key_jwt":
            config["agents"]["agent1"]["auth"] = auth_of(sandbox, method)
        for server in config["authorization_servers"].values():
            server.update(client_id_in_body=True, assertion_typ=typ)

    assert tokenhop(change).get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 200


@pytest.mark.parametrize("method", METHODS_OF_A_SECRET)
def test_R13_wrong_secret_is_ours_to_mend_and_stays_hidden(sandbox, tokenhop, tmp_path, method):
    register(sandbox, method)
    secret = "wrong-but-a-secret-all-the-same-0123456789"
    file = tmp_path / "wrong.secret"
    file.write_text(secret + "\n")
    file.chmod(0o600)
    hop = tokenhop(with_auth({"method": method, "secret_file": str(file)}))
    answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())
    assert (answer.status_code, answer.json()["code"]) == (502, "exchange_failed")
    assert last_reason(sandbox) in ("client_secret_wrong", "assertion_signature")
    hop.stop()
    (line,) = logged(hop, "broker.exchange_failed")
    assert line["level"] == "error" and "invalid_client" in json.dumps(line)
    assert sandbox.requests("agent2_request") == 0
    for text in (answer.text, str(answer.headers), hop.stderr, hop.output):
        assert secret not in text and base64.b64encode(secret.encode()).decode()[8:-4] not in text


@pytest.mark.parametrize("place", ["error_description", "error"])
@pytest.mark.parametrize("method", METHODS_OF_A_SECRET)
def test_R11_server_that_repeats_the_secret(sandbox, tokenhop, method, place):
    register(sandbox, method)
    secret = sandbox.secret("agent1")
    members = {"error": "invalid_client", place: f"no: {secret}"}
    sandbox.fault("org_token", "error", error=members.pop("error"), status=401, members=members)
    hop = tokenhop(with_auth(auth_of(sandbox, method)))
    answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())
    assert answer.status_code == 502
    hop.stop()
    for text in (answer.text, hop.stderr, hop.output):
        assert secret[:20] not in text


# That the registered one is taken is test_each_method.
@pytest.mark.parametrize(
    "registered, used",
    [(registered, used) for registered in AUTH_METHODS for used in METHODS_OF_A_SECRET if registered != used])
def test_the_registered_method_alone_is_taken(sandbox, tokenhop, registered, used):
    register(sandbox, registered)
    hop = tokenhop(with_auth(auth_of(sandbox, used)))
    answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())
    assert (answer.status_code, answer.json()["code"]) == (502, "exchange_failed")
    expected = {"client_secret_jwt": {"assertion_not_allowed", "assertion_alg"}}
    assert last_reason(sandbox) in expected.get(used, {"client_secret_not_allowed"})


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_exchange_shows_no_secret(sandbox, tmp_path, method):
    register(sandbox, method)
    config = harness.base_config(sandbox)
    config["agents"]["agent1"]["auth"] = auth_of(sandbox, method)
    (tmp_path / "tokenhop.jsonc").write_text(json.dumps(config))
    command = [binary("tokenhop"), "exchange", "-c", tmp_path / "tokenhop.jsonc", "--connection", "agent2"]
    done = subprocess.run(command, input=sandbox.mint(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    whole, secret = done.stdout + done.stderr, sandbox.secret("agent1")
    assert ("Authorization" if method == "client_secret_basic" else "client_secret") in whole
    for form in (secret, urllib.parse.quote_plus(secret)):
        assert form[:20] not in whole


# From one key to the next


def rotating(sandbox, first=None, second=None):
    """`first` and `second`: files of keys that take the place of the registered ones."""
    auth = {
        "method": "private_key_jwt",
        "key_file": str(first or sandbox.key_file("agent1", "k1")),
        "kid": "k1",
        "next": {"key_file": str(second or sandbox.key_file("agent1", "k2")), "kid": "k2", "alg": "ES256"},
    }

    def change(config):
        config["agents"]["agent1"]["auth"] = auth
        config["workers"] = 1  # each learns by itself which key is taken

    return change


def stranger(tmp_path, alg):
    path = tmp_path / f"{alg}.pem"
    subprocess.run([binary("tokenhop"), "keygen", "--alg", alg, "--out", path], check=True, capture_output=True)
    return path


def test_next_key_is_asked_with_once_the_first_is_refused(sandbox, tokenhop, tmp_path):
    hop = tokenhop(rotating(sandbox, first=stranger(tmp_path, "RS256")))
    url = sandbox.url("agent2", "/a2a/whoami")
    assert hop.get(url, sandbox.mint(user="alice")).status_code == 200
    # once refused, then the other key, on both legs
    assert sandbox.requests("org_token") == 2 and sandbox.requests("aus2_token") == 1
    # and first with it from then on
    assert hop.get(url, sandbox.mint(user="bob")).status_code == 200
    assert sandbox.requests("org_token") == 3 and sandbox.requests("aus2_token") == 2
    hop.stop()
    (line,) = logged(hop, "exchange.other_key")
    assert (line["level"], line["refused_kid"], line["kid"]) == ("warn", "k1", "k2")


def test_next_key_waits_while_the_first_is_good(sandbox, tokenhop, tmp_path):
    hop = tokenhop(rotating(sandbox, second=stranger(tmp_path, "ES256")))
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 200
    assert sandbox.requests("org_token") == sandbox.requests("aus2_token") == 1


def test_two_refused_keys_are_two_requests(sandbox, tokenhop, tmp_path):
    hop = tokenhop(
        rotating(sandbox, stranger(tmp_path, "RS256"), stranger(tmp_path, "ES256"))
    )
    answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint())
    assert (answer.status_code, answer.json()["code"]) == (502, "exchange_failed")
    assert sandbox.requests("org_token") == 2 and sandbox.requests("aus2_token") == 0


def test_another_refusal_does_not_change_keys(sandbox, tokenhop):
    hop = tokenhop(rotating(sandbox))
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="carol")).status_code in (401, 403)
    assert sandbox.requests("org_token") == 1


# The sandbox by hand, so that a mistake of tokenhop's does not pass because it is lenient


def basic(client_id, secret, quote=urllib.parse.quote_plus):
    pair = f"{quote(client_id)}:{quote(secret)}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def hs_assertion(client, secret, digest=hashlib.sha256, alg="HS256"):
    claims = harness.decode(client.assertion(client.sandbox.endpoint()))[1]
    text = f"{b64url({'alg': alg})}.{b64url(claims)}"
    signature = hmac.new(secret, text.encode(), digest).digest()
    return {"client_assertion_type": CA, "client_assertion": f"{text}.{b64url(signature)}"}


def ask(sandbox, client, more=None, headers=None):
    form = {**client.exchange_form(sandbox.mint()), **(more or {})}
    form = {name: value for name, value in form.items() if value is not None}
    return sandbox.http.post(sandbox.endpoint(), data=form, headers=headers, timeout=30)


def test_sandbox_wants_basic_to_the_letter(sandbox, client):
    register(sandbox, "client_secret_basic")
    secret = sandbox.secret("agent1")
    right = basic(client.client_id, secret)
    assert ask(sandbox, client, headers=right).status_code == 200
    assert ask(sandbox, client, {"client_id": client.client_id}, right).status_code == 200
    value = right["Authorization"]
    for more, field, reason in [
        ({}, basic(client.client_id, secret, quote=str)["Authorization"], "basic_malformed"),
        ({}, basic(client.client_id, secret[:-1])["Authorization"], "client_secret_wrong"),
        ({}, basic(client.client_id, "")["Authorization"], "client_secret_wrong"),
        ({}, basic("nobody", secret)["Authorization"], "client_unknown"),
        ({}, basic(sandbox.client_id("agent2"), secret)["Authorization"], "client_secret_not_allowed"),
        ({}, "Basic", "basic_malformed"),
        ({}, value.replace("Basic", "Bearer"), "basic_malformed"),
        ({}, value + "=", "basic_malformed"),
        ({}, value.replace("Basic ", "Basic  "), "basic_malformed"),
        ({}, "Basic " + base64.b64encode(b"no colon").decode(), "basic_malformed"),
        ({"client_id": "another"}, value, "client_id_differs"),
    ]:
        answer = ask(sandbox, client, more, {"Authorization": field})
        assert (answer.status_code, last_reason(sandbox)) == (401, reason), field
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    answer = ask(sandbox, client, {"client_id": client.client_id, "client_secret": secret}, right)
    assert (answer.status_code, last_reason(sandbox)) == (400, "two_client_authentications")


def test_sandbox_keeps_keys_and_secrets_apart(sandbox, client):
    secret = sandbox.secret("agent1").encode()
    public = harness.load_key(client.sandbox.key_file("agent1")).public_key()
    pem = public.public_bytes(
        harness.serialization.Encoding.PEM, harness.serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for key in (secret, pem):  # registered for a key: no secret signs, the public key least of all
        assert ask(sandbox, client, hs_assertion(client, key)).status_code == 401
        assert last_reason(sandbox) == "assertion_alg"
    register(sandbox, "client_secret_jwt")
    assert ask(sandbox, client, hs_assertion(client, secret)).status_code == 200
    assert ask(sandbox, client, hs_assertion(client, secret, hashlib.sha512, "HS512")).status_code == 200
    for more, reason in [
        (hs_assertion(client, secret, alg="HS384"), "assertion_signature"),  # the other's digest
        (hs_assertion(client, secret[:-1]), "assertion_signature"),
        (hs_assertion(client, pem), "assertion_signature"),
        (hs_assertion(client, secret, alg="none"), "assertion_alg"),
        (hs_assertion(client, secret, alg="hs256"), "assertion_alg"),
        ({"client_assertion_type": CA, "client_assertion": client.assertion(sandbox.endpoint())}, "assertion_alg"),
    ]:
        assert ask(sandbox, client, more).status_code == 401
        assert last_reason(sandbox) == reason
    once = hs_assertion(client, secret)
    assert [ask(sandbox, client, once).status_code for _ in range(2)] == [200, 401]
    assert last_reason(sandbox) == "assertion_replayed"


def test_sandbox_takes_the_client_id_alone_from_whom_it_may(sandbox, client):
    register(sandbox, "none")
    assert ask(sandbox, client, {"client_id": client.client_id}).status_code == 200
    for client_id in (None, "nobody", sandbox.client_id("agent2")):
        assert ask(sandbox, client, {"client_id": client_id}).status_code == 401
        assert last_reason(sandbox) == "client_unauthenticated"
