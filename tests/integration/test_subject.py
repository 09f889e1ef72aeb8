"""The subject token: what is refused and how, where it may never go (R11, R13, R26, R28), and what is unmatched.

An origin of our own stands where agent 2 is: whatever reaches it was forwarded.
"""

import contextlib
import json
import re
import socket

import pytest

from harness import decode, free_port, wait_until
from rawnet import SLOW, Connection, request, response, serve_at


@pytest.fixture
def guarded(sandbox, tokenhop, origin):
    """tokenhop with a raw origin on the connection agent2. At the end: no subject token has been anywhere."""
    tokens, seen = [], origin()

    def start(change=None, **kwargs):
        def both(config):
            serve_at(config, seen)
            config["timeouts"] = {"exchange": "2s"}
            if change:
                change(config)

        hop = tokenhop(both, **kwargs)
        hop.origin = seen
        return hop

    start.origin = seen
    start.mint = lambda **kw: tokens.append(sandbox.mint(**kw)) or tokens[-1]
    yield start
    for token in tokens:
        for part in token.split("."):
            assert part == "" or part.encode() not in seen.bytes


def ask(hop, token=None, url=None, **kwargs):
    with Connection(hop.port) as connection:
        return connection.send(request(url or hop.origin.url(), token, **kwargs)).read()


def check_problem(answer, status, code, connection="agent2"):
    """RFC 9457 and RFC 9209; 401 alone bears a challenge (R28)."""
    body = answer.json()
    assert (answer.status, body["code"]) == (status, code), answer.body
    assert answer.get("Content-Type") == "application/problem+json"
    assert body["status"] == status and body["type"] == f"urn:tokenhop:problem:{code}"
    assert body["title"] and re.fullmatch("[0-9a-f]{32}", body["trace_id"])
    if connection:
        assert body["connection"] == connection
    assert re.match("tokenhop; error=[a-z_]+", answer.get("Proxy-Status"))
    assert answer.get("Cache-Control") == "no-store"
    challenge = answer.get("WWW-Authenticate")
    assert (challenge is not None) == (status == 401) and (status != 401 or challenge.startswith("Bearer "))
    assert (answer.get("Retry-After") is not None) == (status == 503)
    return answer


def check_silent(hop, *tokens):
    """R11: no part of a token is in anything that was written. Called after an end, when all is written."""
    hop.stop()
    written = hop.output + hop.stderr
    assert '"method":"GET"' in hop.output  # the access log is part of it
    for token in tokens:
        for part in token.split("."):
            assert part == "" or part[:16] not in written


# Refused before anything is asked

MALFORMED = {
    "missing": ([], 401, "subject_token_missing"),
    "empty": (["Authorization:"], 401, "subject_token_invalid"),
    "scheme only": (["Authorization: Bearer"], 401, "subject_token_invalid"),
    "basic": (["Authorization: Basic dTpw"], 401, "subject_token_invalid"),
    "dpop": (["Authorization: DPoP {}"], 401, "subject_token_invalid"),
    "no scheme": (["Authorization: {}"], 401, "subject_token_invalid"),
    "two words": (["Authorization: Bearer {} {}"], 401, "subject_token_invalid"),
    "comma": (["Authorization: Bearer {}, Bearer {}"], 401, "subject_token_invalid"),
    "quoted": (['Authorization: Bearer "{}"'], 401, "subject_token_invalid"),
    "not token68": (["Authorization: Bearer a{{}}b"], 401, "subject_token_invalid"),
    "equals inside": (["Authorization: Bearer a=b"], 401, "subject_token_invalid"),
    "two fields": (["Authorization: Bearer {}", "Authorization: Bearer {}"], 400, "bad_request"),
    "two different": (["Authorization: Bearer {}", "authorization: Basic dTpw"], 400, "bad_request"),
}


def test_R11_malformed(guarded, sandbox):
    hop = guarded()
    token = guarded.mint()
    for name, (fields, status, code) in MALFORMED.items():
        lines = [field.replace("{{}}", "<>").replace("{}", token) for field in fields]
        answer = ask(hop, fields=lines)
        print(name, answer.status)
        check_problem(answer, status, code)
    assert sandbox.requests("org_token") == 0 and hop.origin.requests == []
    check_silent(hop, token)


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR  "])
def test_R11_scheme_in_any_case(guarded, scheme):
    hop = guarded()
    answer = ask(hop, fields=[f"Authorization: {scheme} {guarded.mint()}"])
    assert answer.status == 200
    (seen,) = hop.origin.requests
    assert seen.get("Authorization").startswith("Bearer ")


REFUSED = {
    "expired": {"expires_in": -10},
    "of another agent": {"audience": "agent3"},
    "wrong audience": {"aud": "https://elsewhere.example"},
    "wrong issuer": {"iss": "https://elsewhere.example"},
    "bad signature": {"signature": "bad"},
    "unsigned": {"signature": "none"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_R11_refused_subject(guarded, sandbox, name):
    hop = guarded()
    token = guarded.mint(**REFUSED[name])
    answer = check_problem(ask(hop, token), 401, "subject_token_invalid")
    assert 'error="invalid_token"' in answer.get("WWW-Authenticate")
    assert hop.origin.requests == []
    check_silent(hop, token)


def test_expired_subject_costs_nothing(guarded, sandbox):
    """What is plainly expired is not sent to the authorization server at all."""
    hop = guarded()
    check_problem(ask(hop, guarded.mint(expires_in=-60)), 401, "subject_token_invalid")
    assert sandbox.requests("org_token") == 0


def test_user_without_assignment(guarded, sandbox):
    hop = guarded()
    answer = ask(hop, guarded.mint(user="carol"))
    assert answer.status in (401, 403) and hop.origin.requests == []
    # and it does not touch alice
    assert ask(hop, guarded.mint(user="alice")).status == 200


# The authorization server fails, or lies

DOWN, BAD = (503, "exchange_unavailable"), (502, "exchange_failed")
FAULTS = {
    "status": ({}, DOWN),
    "rate_limited": ({"retry_after": 7}, DOWN),
    "html": ({}, DOWN),
    "unavailable": ({}, DOWN),
    "reset": ({}, DOWN),
    "close": ({}, DOWN),
    "reset_mid_body": ({}, DOWN),
    "close_mid_body": ({}, DOWN),
    "close_mid_chunk": ({}, DOWN),
    "garbage_http": ({}, BAD),
    "huge_head": ({}, BAD),
    "garbage_json": ({}, BAD),
    "empty": ({}, BAD),
    "array": ({}, BAD),
    "oversized_json": ({}, BAD),
    "deep_json": ({}, BAD),
    "redirect": ({}, BAD),
    "no_access_token": ({}, BAD),
    "bad_access_token": ({}, BAD),
    "long_access_token": ({}, BAD),
    "duplicate_member": ({}, BAD),
    "wrong_audience": ({}, BAD),
    "widened_scope": ({}, BAD),
    "changed_subject": ({}, BAD),
    "lost_chain": ({}, BAD),
    "changed_actor": ({}, BAD),
    "issued_token_type": ({}, BAD),
    "error": ({"error": "server_error", "status": 500}, DOWN),
    "error invalid_client": ({"error": "invalid_client", "status": 401}, BAD),
    "error access_denied": ({"error": "access_denied", "status": 403}, (403, "access_denied")),
    "error invalid_scope": ({"error": "invalid_scope"}, (403, "access_denied")),
}


FIRST_LEG_ONLY = ["issued_token_type"]  # a plain token answer has none


@pytest.mark.parametrize(
    "name, place",
    [(n, p) for n in FAULTS for p in ("org_token", "aus2_token") if p == "org_token" or n not in FIRST_LEG_ONLY],
)
def test_R13_R28_fault(guarded, sandbox, name, place):
    """Never forwarded, never a 401, no token in what is said."""
    more, (status, code) = FAULTS[name]
    hop = guarded()
    sandbox.fault(place, name.split()[0], count=-1, **more)
    token = guarded.mint()
    answer = check_problem(ask(hop, token), status, code)
    assert hop.origin.requests == []
    if "retry_after" in more:
        assert 1 <= int(answer.get("Retry-After")) <= more["retry_after"]
    assert "/sandbox/followed" not in json.dumps(sandbox.stats())
    again = ask(hop, token)
    assert again.status == status and hop.origin.requests == []
    check_silent(hop, token)


def test_id_jag_that_leg_2_refuses(guarded, sandbox):
    """It may have been used before or waited too long: leg 1 is run anew, once, and then it is over."""
    kind = "wrong_signature"
    hop = guarded()
    sandbox.fault("org_token", kind)
    assert ask(hop, guarded.mint()).status == 200
    assert sandbox.requests("org_token") == sandbox.requests("aus2_token") == 2
    sandbox.fault("org_token", kind, count=-1)
    check_problem(ask(hop, guarded.mint(user="bob")), 401, "subject_token_invalid")
    assert sandbox.requests("org_token") == sandbox.requests("aus2_token") == 4
    assert len(hop.origin.requests) == 1


def test_R28_id_jag_that_has_ended(guarded, sandbox):
    """That is the server's failure, and the caller's token none the worse for it."""
    hop = guarded()
    sandbox.fault("org_token", "expired_token")
    check_problem(ask(hop, guarded.mint()), 502, "exchange_failed")
    assert sandbox.requests("aus2_token") == 0 and hop.origin.requests == []


@pytest.mark.parametrize("place", ["org_token", "aus2_token"])
def test_R22_exchange_timeout(guarded, sandbox, place):
    hop = guarded(lambda config: config.update(timeouts={"exchange": "400ms"}))
    sandbox.fault(place, "hang", count=-1, ms=20000)
    check_problem(ask(hop, guarded.mint()), 504, "exchange_timeout")
    assert hop.origin.requests == []
    sandbox.clear_faults()


def test_interaction_required(guarded, sandbox):
    hop = guarded()
    uri = sandbox.issuer() + "/consent?x=1"
    sandbox.fault("org_token", "error", error="interaction_required", members={"interaction_uri": uri})
    answer = check_problem(ask(hop, guarded.mint()), 403, "interaction_required")
    assert answer.json()["interaction_uri"] == uri and uri in answer.get("Link")


def test_error_description_with_the_token_is_not_shown(guarded, sandbox):
    """A server that repeats what it was sent does not make tokenhop repeat it."""
    hop = guarded()
    token = guarded.mint()
    sandbox.fault("org_token", "error", count=-1, error="invalid_scope", description=f"bad {token} {token[:60]}")
    answer = check_problem(ask(hop, token), 403, "access_denied")
    for part in token.split("."):
        assert part[:16].encode() not in answer.body
    check_silent(hop, token)


@pytest.mark.parametrize("value", [0, -5, "soon", "-5", True, [300]])
def test_R14_unusable_lifetime_is_not_cached(guarded, sandbox, value):
    """Served, as it was issued; kept it is not, when nobody knows for how long."""
    hop = guarded()
    sandbox.fault("aus2_token", "expires_in", count=-1, value=value)
    token = guarded.mint()
    assert [ask(hop, token).status for _ in range(2)] == [200, 200]
    assert sandbox.exchanges("alice", "agent1-agent2") == 2


@pytest.mark.parametrize("value", ["300", 300.5, 1e300])
def test_odd_lifetime_is_kept(guarded, sandbox, value):
    hop = guarded()
    sandbox.fault("aus2_token", "expires_in", count=-1, value=value)
    token = guarded.mint()
    assert [ask(hop, token).status for _ in range(3)] == [200] * 3
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


def test_issued_token_that_has_expired_is_not_kept(guarded, sandbox):
    hop = guarded()
    sandbox.fault("aus2_token", "expired_token", count=-1)
    token = guarded.mint()
    for _ in range(2):
        assert ask(hop, token).status in (200, 502)
    assert sandbox.exchanges("alice", "agent1-agent2") == 2


def test_no_expires_in_is_kept_for_a_while(guarded, sandbox):
    hop = guarded()
    sandbox.fault("aus2_token", "no_expires_in", count=-1)
    token = guarded.mint()
    assert [ask(hop, token).status for _ in range(3)] == [200] * 3
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


# Unmatched


def test_R7_unmatched_is_denied(guarded, origin):
    other = origin()
    hop = guarded(lambda config: config["egress"]["allow"].append(other.address))
    token = guarded.mint()
    for fields in ([], ["Authorization: Basic dTpw"], [f"Authorization: Bearer {token}"]):
        check_problem(ask(hop, url=other.url(), fields=fields), 403, "destination_denied", connection=None)
    assert other.raw == []
    check_silent(hop, token)


def test_R11_unmatched_forward_strips_the_subject_token(guarded, sandbox, origin):
    other = origin()

    def change(config):
        config["unmatched"] = "forward"
        config["egress"]["allow"].append(other.address)

    hop = guarded(change)
    token = guarded.mint()
    opaque = "an-opaque-subject-token-of-somebody"
    with Connection(hop.port) as connection:
        # never seen before, but it reads as one; then one that is only known as seen
        connection.send(request(other.url(), token)).read()
        assert ask(hop, token).status == 200
        ask(hop, opaque)
        for fields in (
            [f"Authorization: Bearer {token}"],
            [f"authorization: bearer {token}"],
            [f"Authorization: Bearer {opaque}"],
            ["Proxy-Authorization: Basic dTpw"],
        ):
            assert connection.send(request(other.url(), fields=fields)).read().status == 200
        # the caller's own business there stays its own
        connection.send(request(other.url(), fields=["Authorization: Bearer for-the-other-only"])).read()
        connection.send(request(other.url(), fields=["Authorization: Basic dTpw"])).read()
    assert [seen.get("Authorization") for seen in other.requests] == [None] * 5 + [
        "Bearer for-the-other-only",
        "Basic dTpw",
    ]
    assert b"Proxy-Auth" not in other.bytes and opaque.encode() not in other.bytes
    assert token.split(".")[1].encode() not in other.bytes


def test_R8_address_that_is_not_allowed(guarded, origin):
    """Loopback is nobody's unless egress.allow names it, and metadata services are never reached."""
    other = origin()
    hop = guarded(lambda config: config.update(unmatched="forward"))
    for url in (other.url(), "http://169.254.169.254/latest", f"http://[::ffff:127.0.0.1]:{other.port}/"):
        check_problem(ask(hop, url=url), 403, "destination_denied", connection=None)
    assert other.raw == []


def test_R10_its_own_listener(guarded):
    def change(config):
        config["unmatched"] = "forward"
        config["egress"]["allow"].append(config["listeners"][0]["address"])

    hop = guarded(change)
    answer = ask(hop, url=f"http://127.0.0.1:{hop.port}/")
    assert answer.status in (403, 508, 400), answer.body
    with Connection(hop.port) as connection:
        assert connection.send(request(hop.origin.url(), guarded.mint())).read().status == 200


def addresses_of_this_machine():
    """Loopback's others, and those of the interface that leads out, if there is one."""
    found = ["127.0.0.5", "[::1]"]
    for family, far in ((socket.AF_INET, "203.0.113.77"), (socket.AF_INET6, "2001:db8::77")):
        with socket.socket(family, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            sock.connect((far, 9))
            host = sock.getsockname()[0]
            found.append(f"[{host}]" if ":" in host else host)
    return found


def test_r10_its_own_listener_on_all_addresses(sandbox, tokenhop):
    port = free_port()

    def change(config):
        first = config["listeners"][0]
        first["address"] = f"0.0.0.0:{port}"
        config["listeners"].append({**first, "name": "six", "address": f"[::]:{port}"})
        config["unmatched"] = "forward"
        config["egress"]["allow"] += ["0.0.0.0/0", "::/0"]

    hop = tokenhop(change)
    own = addresses_of_this_machine()
    for host in own:
        with Connection(port) as connection:
            assert connection.send(request(f"http://{host}:{port}/")).read().status == 508, host
    hop.stop()
    assert len(hop.output.splitlines()) == len(own)  # no request has come back here


def test_access_log_tells_the_story(guarded, sandbox):
    hop = guarded()
    alice, bob = guarded.mint(user="alice"), guarded.mint(user="bob")
    for token in (alice, alice, bob, None):
        ask(hop, token, url=hop.origin.url("/a2a/x?secret=in-the-query"))
    hop.stop()
    lines = [json.loads(line) for line in hop.output.splitlines()]
    assert sorted(line["cache"] for line in lines if "subject" in line) == ["hit", "miss", "miss"]
    assert len({line["subject"] for line in lines if "subject" in line}) == 2
    refused = next(line for line in lines if line["status"] == 401)
    assert refused["connection"] == "agent2" and "subject_token_missing" in json.dumps(refused)
    assert "in-the-query" not in hop.output
    for token in (alice, bob):
        assert decode(token)[1]["sub"] not in hop.output


def test_R27_credential_in_a_response_head(guarded, sandbox):
    """R27: a credential that comes back in a head is not shown to the caller."""
    hop = guarded()
    hop.origin.answer = lambda seen: response(fields=[f"X-Echo: {seen.get('Authorization')}"])
    answer = ask(hop, guarded.mint())
    issued = hop.origin.requests[0].get("Authorization").split()[1]
    assert issued not in json.dumps(answer.fields)


def test_recovers_after_faults(guarded, sandbox):
    hop = guarded()
    sandbox.fault("org_token", "unavailable", count=2)
    token = guarded.mint()
    assert ask(hop, token).status == 503
    wait_until(lambda: ask(hop, token).status == 200, 30 * SLOW)


@pytest.mark.parametrize("own", [False, True])
def test_subject_got_by_tokenhop_itself(sandbox, guarded, own):
    """Nobody called the agent: tokenhop begins, as the service app that may call it. A token that the caller sends
    is not looked at, and goes nowhere."""

    def change(config):
        config["connections"][0]["subject"] = {
            "from": "client_credentials", "authorization_server": "aus1", "scopes": ["agent.invoke"],
            "client_id": sandbox.client_id("service"),
            "auth": {"method": "private_key_jwt", "alg": "ES256", "kid": "k2", "key_file": sandbox.key_file("service", "k2")},
        }  # fmt: skip

    hop = guarded(change, alg="ES256")
    token = guarded.mint(user="alice") if own else None
    for _ in range(2):
        assert ask(hop, token).status == 200
    (credential,) = {r.get("Authorization").removeprefix("Bearer ") for r in hop.origin.requests}
    claims = decode(credential)[1]
    assert claims["sub"] == sandbox.client_id("service")
    assert claims["act"]["sub"] == sandbox.client_id("agent1") and claims["act"]["act"]["sub"] == claims["sub"]
    assert (sandbox.requests("aus1_token"), sandbox.requests("org_token"), sandbox.requests("aus2_token")) == (1, 1, 1)
    if own:
        assert token not in json.dumps(sandbox.stats())


def test_subject_got_by_tokenhop_itself_is_refused(sandbox, guarded):
    """It is tokenhop's own client that is refused: no caller can mend that, so it is no 401 (R28)."""

    def change(config):
        config["connections"][0]["subject"] = {
            "from": "client_credentials", "authorization_server": "aus1", "scopes": ["agent.invoke"],
            "client_id": sandbox.client_id("rogue"),
            "auth": {"method": "private_key_jwt", "alg": "ES256", "kid": "k2", "key_file": sandbox.key_file("rogue", "k2")},
        }  # fmt: skip

    hop = guarded(change, alg="ES256")
    answer = ask(hop)
    check_problem(answer, 502, "exchange_failed")
    assert hop.origin.requests == []


def test_r14_retry_after_as_a_date(sandbox, guarded):
    hop = guarded(alg="ES256")
    sandbox.fault("org_token", "rate_limited", retry_after={"in": 9})
    answer = ask(hop, guarded.mint(user="alice"))
    check_problem(answer, 503, "exchange_unavailable")
    assert 6 <= int(answer.get("Retry-After")) <= 11, answer.fields
