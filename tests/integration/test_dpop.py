"""DPoP (RFC 9449): what the sandbox takes for a proof, and tokenhop before it, on legs and on forwarded requests."""

import base64
import hashlib
import itertools
import json
import time
import uuid

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

import harness
from loads import Steady
from rawnet import SLOW, response, serve_at
from test_commands import TOKEN, Done, public_of, thumbprint_of
from tlsnet import TlsOrigin

JWT_DPOP = "urn:ietf:params:oauth:grant-type:jwt-dpop"


def number(value):
    return harness.b64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Prover:
    """A key, and proofs by it: right ones, but for what a test changes. None leaves a member out."""

    def __init__(self, key=None):
        self.key = key or ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self):
        public = self.key.public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):
            raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
            return {"kty": "OKP", "crv": "Ed25519", "x": harness.b64url(raw)}
        numbers = public.public_numbers()
        if isinstance(public, rsa.RSAPublicKey):
            return {"kty": "RSA", "e": number(numbers.e), "n": number(numbers.n)}
        x, y = (harness.b64url(n.to_bytes(32, "big")) for n in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    @property
    def jkt(self):
        return thumbprint_of(self.jwk)

    def sign(self, text):
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(text)
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        r, s = utils.decode_dss_signature(self.key.sign(text, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def prove(self, method, url, token=None, header=None, **claims):
        alg = {"EC": "ES256", "OKP": "EdDSA", "RSA": "RS256"}[self.jwk["kty"]]
        whole = {"typ": "dpop+jwt", "alg": alg, "jwk": self.jwk, **(header or {})}
        body = {"jti": uuid.uuid4().hex, "htm": method, "htu": url, "iat": int(time.time())}
        if token:
            body["ath"] = harness.b64url(hashlib.sha256(token.encode()).digest())
        body.update(claims)
        parts = [{n: v for n, v in part.items() if v is not None} for part in (whole, body)]
        text = ".".join(harness.b64url(part) for part in parts)
        return f"{text}.{harness.b64url(self.sign(text.encode()))}"


class Leg:
    """Leg 1 by hand, with a proof."""

    def __init__(self, sandbox, client):
        self.sandbox, self.client, self.token = sandbox, client, sandbox.mint()
        self.url = sandbox.endpoint("org")

    def post(self, *proofs, url=None, form=None, **assertion):
        url = url or self.url
        form = form or self.client.exchange_form(self.token)
        body = self.client.form(url, form, **assertion)
        # requests joins fields of one name
        fields = {"DPoP": proofs[0]} if len(proofs) == 1 else {}
        if len(proofs) > 1:
            return by_hand(url, body, [("DPoP", p) for p in proofs])
        answer = self.sandbox.http.post(url, data=body, headers=fields, timeout=30)
        return answer.status_code, answer.headers, answer.json()


def by_hand(url, body, fields):
    import http.client
    import urllib.parse

    at = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=30)
    connection.putrequest("POST", at.path)
    text = urllib.parse.urlencode(body)
    for name, value in [*fields, ("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", len(text))]:
        connection.putheader(name, value)
    connection.endheaders(text.encode())
    answer = connection.getresponse()
    done = answer.status, answer.headers, json.loads(answer.read())
    connection.close()
    return done


@pytest.fixture
def leg(sandbox, client):
    return Leg(sandbox, client)


# --- the sandbox ---

KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("kind", KEYS)
def test_sandbox_binds_what_is_proved(sandbox, client, leg, kind):
    prover = Prover(KEYS[kind]())
    status, _, answer = leg.post(prover.prove("POST", leg.url))
    assert status == 200 and answer["token_type"] == "N_A", answer
    assert harness.decode(answer["access_token"])[1]["cnf"] == {"jkt": prover.jkt}
    url = sandbox.endpoint("aus2")
    form = {"grant_type": JWT_DPOP, "assertion": answer["access_token"]}
    status, _, answer = leg.post(prover.prove("POST", url), url=url, form=form)
    assert status == 200 and answer["token_type"] == "DPoP", answer
    token = answer["access_token"]
    assert harness.decode(token)[1]["cnf"] == {"jkt": prover.jkt}
    url = sandbox.url("agent2", "/a2a/whoami")
    headers = {"Authorization": f"DPoP {token}", "DPoP": prover.prove("GET", url, token)}
    seen = sandbox.http.get(url + "?q=1", headers=headers)
    assert seen.status_code == 200 and seen.json()["bound"] is True, seen.text
    assert sandbox.http.get(url, headers=headers).json()["reason"] == "proof_used"


WRONG = {
    "proof_typ": {"header": {"typ": "JWT"}},
    "proof_alg": {"header": {"alg": "none"}},
    "proof_alg mac": {"header": {"alg": "HS256"}},
    "proof_jwk": {"header": {"jwk": None}},
    "proof_jwk symmetric": {"header": {"jwk": {"kty": "oct"}}},
    "proof_private_key": {"header": {"jwk": {"kty": "oct", "k": "AAAA"}}},
    "proof_private_key d": {"header": {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}}},
    "proof_signature": {"header": {"jwk": Prover().jwk}},
    "proof_signature alg": {"header": {"alg": "ES384"}},
    "proof_htm": {"htm": "PUT"},
    "proof_htm case": {"htm": "pOST"},
    "proof_htm missing": {"htm": None},
    "proof_htu": {"htu": "https://elsewhere.example/"},
    "proof_htu missing": {"htu": None},
    "proof_iat": {"iat": 1000000000},
    "proof_iat ahead": {"iat": int(time.time()) + 3600},
    "proof_iat text": {"iat": str(int(time.time()))},
    "proof_iat missing": {"iat": None},
    "proof_jti": {"jti": "short"},
    "proof_jti missing": {"jti": None},
    "proof_ath": {"ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"},
}


@pytest.mark.parametrize("case", WRONG)
def test_sandbox_refuses_proofs(sandbox, client, leg, case):
    """Everything of a proof is looked at, at a token endpoint and at an agent alike."""
    prover = Prover()
    status, _, answer = leg.post(prover.prove("POST", leg.url, **WRONG[case]))
    assert (status, answer["error"]) == (400, "invalid_dpop_proof"), answer
    assert sandbox.refused() == {case.split()[0]: 1}
    token = bound_token(sandbox, client, prover)
    url = sandbox.url("agent2", "/a2a/whoami")
    wrong = {"htm": "post"} if case == "proof_htm case" else WRONG[case]
    headers = {"Authorization": f"DPoP {token}", "DPoP": prover.prove("GET", url, token, **wrong)}
    seen = sandbox.http.get(url, headers=headers)
    assert seen.status_code == 401 and seen.json()["reason"] == case.split()[0], seen.text
    challenge = seen.headers["WWW-Authenticate"]
    assert challenge.startswith('DPoP algs="ES256 ') and 'error="invalid_dpop_proof"' in challenge


def bound_token(sandbox, client, prover):
    leg = Leg(sandbox, client)
    first = leg.post()[2]["access_token"]
    url = sandbox.endpoint("aus2")
    form = {"grant_type": harness.JB, "assertion": first}
    return leg.post(prover.prove("POST", url), url=url, form=form)[2]["access_token"]


def test_sandbox_wants_one_proof_of_its_own(sandbox, client, leg):
    prover = Prover()
    proof = prover.prove("POST", leg.url)
    assert leg.post(proof, prover.prove("POST", leg.url))[0] == 400
    assert leg.post(proof)[0] == 200
    assert leg.post(proof)[2]["error"] == "invalid_dpop_proof"
    assert leg.post(prover.prove("POST", sandbox.endpoint("aus2")))[0] == 400
    assert leg.post("not.a.proof")[0] == 400
    assert sandbox.refused() == {"proof_twice": 1, "proof_used": 1, "proof_htu": 1, "proof_malformed": 1}


def test_sandbox_agents_take_bound_tokens_as_such(sandbox, client):
    prover, other = Prover(), Prover()
    token, bearer = bound_token(sandbox, client, prover), client.both_legs(sandbox.mint())
    url = sandbox.url("agent2", "/a2a/whoami")

    def ask(scheme, token, proof=None):
        fields = {"Authorization": f"{scheme} {token}", **({"DPoP": proof} if proof else {})}
        answer = sandbox.http.get(url, headers=fields)
        return answer.json().get("reason", answer.status_code)

    assert ask("Bearer", token, prover.prove("GET", url, token)) == "token_is_bound"
    assert ask("DPoP", token) == "proof_missing"
    assert ask("DPoP", token, other.prove("GET", url, token)) == "proof_other_key"
    assert ask("DPoP", bearer, prover.prove("GET", url, bearer)) == "token_not_bound"
    assert ask("dpop", token, prover.prove("GET", url, token)) == 200
    assert ask("Bearer", bearer) == 200
    sandbox.settings(agent_dpop_required=1)
    assert ask("Bearer", bearer) == "bearer_not_taken"
    metadata = sandbox.http.get(sandbox.url("agent2", "/.well-known/oauth-protected-resource")).json()
    assert metadata["dpop_bound_access_tokens_required"] is True


def test_sandbox_nonces(sandbox, client, leg):
    sandbox.settings(dpop_nonce=1, dpop_nonce_requests=2)
    prover, seen = Prover(), []
    for _ in range(3):
        status, fields, answer = leg.post(prover.prove("POST", leg.url, nonce=seen[-1] if seen else None))
        seen.append(fields["DPoP-Nonce"])
        assert (status, answer.get("error")) == ((200, None) if len(seen) > 1 else (400, "use_dpop_nonce"))
    assert len(set(seen)) == 1
    status, fields, answer = leg.post(prover.prove("POST", leg.url, nonce=seen[-1]))
    assert status == 200 and fields["DPoP-Nonce"] != seen[-1]  # used twice: the next one is due, this one still taken
    for nonce in ("x", ""):
        assert leg.post(prover.prove("POST", leg.url, nonce=nonce))[2]["error"] == "use_dpop_nonce"
    assert leg.post()[0] == 200  # without a proof nothing is wanted
    sandbox.settings(dpop=3)
    status, _, answer = leg.post()
    assert (status, answer["error"]) == (400, "invalid_dpop_proof") and "missing" in answer["error_description"]
    sandbox.settings(dpop=0)
    assert "cnf" not in harness.decode(leg.post("nonsense")[2]["access_token"])[1]


def test_sandbox_bound_id_jag(sandbox, client, leg):
    prover, url = Prover(), sandbox.endpoint("aus2")
    bound = leg.post(prover.prove("POST", leg.url))[2]["access_token"]
    free = leg.post()[2]["access_token"]

    def redeem(id_jag, grant, *proofs):
        return leg.post(*proofs, url=url, form={"grant_type": grant, "assertion": id_jag})[2].get("error", "granted")

    assert redeem(bound, harness.JB) == redeem(bound, JWT_DPOP) == "invalid_grant"
    assert redeem(bound, JWT_DPOP, Prover().prove("POST", url)) == "invalid_grant"
    assert redeem(free, JWT_DPOP, prover.prove("POST", url)) == "invalid_grant"
    assert sandbox.refused() == {"id_jag_proof": 3, "id_jag_unbound": 1}
    assert redeem(bound, harness.JB, prover.prove("POST", url)) == "granted"
    assert redeem(free, harness.JB, prover.prove("POST", url)) == "granted"


# --- tokenhop ---


def with_dpop(mode="token", **agent):
    def change(config):
        for connection in config["connections"]:
            connection["dpop"] = mode
        for each in config["agents"].values():
            each.update(agent)

    return change


def whoami(sandbox, hop, token, **kwargs):
    return hop.get(sandbox.url("agent2", "/a2a/whoami"), token, **kwargs)


def refused_by_agents(sandbox):
    return sandbox.stats()["counters"].get("agent_refused", {}).get("agent2", {})


@pytest.mark.parametrize("mode", ["token", "all_legs", "bound_id_jag"])
@pytest.mark.parametrize("nonces", [0, 1])
def test_bound_tokens(sandbox, tokenhop, mode, nonces):
    sandbox.settings(dpop=2 if mode == "token" else 3, dpop_nonce=nonces, agent_dpop_nonce=nonces, agent_dpop_required=1)
    hop = tokenhop(with_dpop(mode))
    token = sandbox.mint()
    jkts = set()
    for i in range(5):
        seen = whoami(sandbox, hop, token, headers={"DPoP": "the.caller's.own"})
        assert seen.status_code == 200 and seen.json()["bound"] is True, seen.text
        assert "DPoP-Nonce" not in seen.headers
        jkts.add(seen.json()["claims"]["cnf"]["jkt"])
    assert len(jkts) == 1 and len(jkts.pop()) == 43
    assert sandbox.exchanges("alice", "agent1-agent2") == 1
    # each nonce was asked for once: by the org and the custom server, which are one origin, and by the agent
    assert sandbox.refused() == ({"proof_nonce": 1} if nonces else {})
    assert refused_by_agents(sandbox) == ({"proof_nonce": 1} if nonces else {})


def test_post_with_a_body_is_sent_again_with_the_nonce(sandbox, tokenhop):
    sandbox.settings(agent_dpop_nonce=1)
    hop = tokenhop(with_dpop())
    message = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"text": "x" * 30000}}
    seen = hop.post(sandbox.url("agent2", "/a2a/"), sandbox.mint(), json=message)
    assert seen.status_code == 200 and seen.json()["result"]["parts"][1]["data"]["user"] == "alice", seen.text
    assert refused_by_agents(sandbox) == {"proof_nonce": 1}


@pytest.mark.threads
def test_nonces_that_rotate_under_load(sandbox, tokenhop):
    """Several workers, many callers: what one has learned serves all, and no caller sees a refusal."""
    sandbox.settings(agent_dpop_nonce=1, dpop_nonce=1, dpop_nonce_requests=200)
    hop = tokenhop(lambda config: (with_dpop("all_legs")(config), config.update(workers=2)))
    tokens = [sandbox.mint(user=user) for user in ("alice", "bob")]
    url = sandbox.url("agent2", "/a2a/whoami")
    picks = itertools.cycle(tokens)
    with Steady(hop.port, lambda: (url, next(picks)), connections=8) as load:
        time.sleep(2 * SLOW)
    assert set(load.statuses) == {200} and not load.cuts and load.count > 100, load.statuses
    assert set(refused_by_agents(sandbox)) == {"proof_nonce"}
    assert sandbox.exchanges("alice", "agent1-agent2") == sandbox.exchanges("bob", "agent1-agent2") == 1


def test_server_that_passes_over_proofs(sandbox, tokenhop):
    sandbox.settings(dpop=0)
    hop = tokenhop(with_dpop("all_legs"))
    seen = whoami(sandbox, hop, sandbox.mint())
    assert seen.status_code == 200 and seen.json()["bound"] is False
    errors = hop.stop()
    assert "it is used as a bearer token" in errors and "the server has passed over it" in errors


@pytest.mark.parametrize("place", ["org_token", "aus2_token"])
def test_r26_token_of_another_key(sandbox, tokenhop, place):
    hop = tokenhop(with_dpop("all_legs"))
    sandbox.fault(place, "bound_to_another_key")
    answer = whoami(sandbox, hop, sandbox.mint())
    assert answer.status_code == 502 and "another key" in answer.json()["detail"]
    assert sandbox.requests("agent2") == 0
    assert whoami(sandbox, hop, sandbox.mint(user="bob")).status_code == 200


def test_server_that_wants_what_is_not_configured(sandbox, tokenhop):
    sandbox.settings(dpop=3)
    hop = tokenhop(with_dpop("token"))
    answer = whoami(sandbox, hop, sandbox.mint())
    assert answer.status_code == 502 and '"all_legs"' in answer.json()["detail"], answer.text


def test_revoked_token_is_got_anew(sandbox, tokenhop):
    """The 401 of a token that is not taken is another thing than that of a nonce."""
    sandbox.settings(introspect=1, agent_dpop_nonce=1)
    hop = tokenhop(with_dpop())
    token = sandbox.mint()
    assert whoami(sandbox, hop, token).status_code == 200
    assert sandbox.revoke() == 1
    assert whoami(sandbox, hop, token).status_code == 200
    assert sandbox.exchanges("alice", "agent1-agent2") == 2
    assert refused_by_agents(sandbox) == {"proof_nonce": 1, "token_revoked": 1}


def make_key(folder, alg):
    path = folder / f"dpop-{alg}.pem"
    done = Done("keygen", "--alg", alg, "--out", path)
    assert done.status == 0, done.err
    return path, json.loads(done.out)


@pytest.mark.threads
@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256", "PS384", "ES512"])
def test_key_from_a_file(sandbox, tokenhop, tmp_path, alg):
    """RSA and the large curves sign on helper threads: requests at once, with nonces that change under them."""
    sandbox.settings(agent_dpop_nonce=1, dpop_nonce=1, dpop_nonce_requests=20)
    path, jwk = make_key(tmp_path, alg)
    hop = tokenhop(with_dpop("all_legs", dpop_key_file=str(path), dpop_alg=alg))
    url, token = sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()

    def check(asked, got):
        assert got.status == 200, got.body
        assert got.json()["claims"]["cnf"]["jkt"] == thumbprint_of(jwk)

    with Steady(hop.port, lambda: (url, token), check, connections=4) as load:
        time.sleep(0.5 * SLOW)
    assert load.count > 10 and not load.cuts
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


def test_reload_keeps_the_key_unless_it_changes(sandbox, tokenhop, tmp_path):
    def in_any_folder(config):
        with_dpop()(config)
        config["hardening"] = {"landlock": False}

    hop = tokenhop(in_any_folder)
    token = sandbox.mint()

    def jkt():
        seen = whoami(sandbox, hop, token)
        assert seen.status_code == 200, seen.text
        return seen.json()["claims"]["cnf"]["jkt"]

    made = jkt()
    hop.config["log"] = {"level": "debug"}
    hop.reload()
    harness.wait_until(lambda: "reload" in hop.stderr)
    assert jkt() == made and sandbox.exchanges("alice", "agent1-agent2") == 1
    path, jwk = make_key(tmp_path, "ES256")
    hop.config["agents"]["agent1"]["dpop_key_file"] = str(path)
    hop.reload()
    harness.wait_until(lambda: jkt() == thumbprint_of(jwk))  # with the old token the proof would not fit
    del hop.config["agents"]["agent1"]["dpop_key_file"]
    hop.reload()
    harness.wait_until(lambda: jkt() == made)
    assert refused_by_agents(sandbox) == {}


def test_the_url_is_the_one_that_the_destination_sees(sandbox, tokenhop, authority, good):
    """The caller says http and perhaps a query; the proof says https, port and path."""
    origin = TlsOrigin(good, lambda r: response())

    def change(config):
        with_dpop()(config)
        entry = next(c for c in config["connections"] if c["name"] == "agent2")
        entry["url"] = [entry["url"], f"https://{harness.ORIGIN}:{origin.port}/"]
        config["egress"]["allow"].append(f"127.0.0.1:{origin.port}")
        config["origin"] = {"ca_file": str(authority.ca_file)}

    hop = tokenhop(change)
    token = sandbox.mint()
    seen_jtis = set()
    for path in ("/a2a/x", "/a2a/x?query=1", "/a2a/%20x;y=1"):
        assert hop.request("PATCH", f"http://{harness.ORIGIN.title()}:{origin.port}{path}", token).status_code == 200
        request = origin.requests[-1]
        (proof,) = request.all("DPoP")
        scheme, credential = request.get("Authorization").split()
        header, claims = harness.decode(proof)
        assert scheme == "DPoP"
        assert claims["htu"] == f"https://{harness.ORIGIN}:{origin.port}" + path.split("?")[0]
        assert claims["htm"] == "PATCH" and abs(claims["iat"] - time.time()) < 10
        assert claims["ath"] == harness.b64url(hashlib.sha256(credential.encode()).digest())
        assert set(header) == {"typ", "alg", "jwk"} and set(header["jwk"]) == {"kty", "crv", "x", "y"}
        text, signature = proof.rsplit(".", 1)
        raw = base64.urlsafe_b64decode(signature + "==")
        der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        public_of(header["jwk"]).verify(der, text.encode(), ec.ECDSA(hashes.SHA256()))
        seen_jtis.add(claims["jti"])
    assert len(seen_jtis) == 3
    origin.close()


def test_kept_connection_gets_a_proof_for_each_request(sandbox, tokenhop, origin):
    at = origin(lambda r: response(fields=["DPoP-Nonce: n-1"]))
    hop = tokenhop(lambda config: (with_dpop()(config), serve_at(config, at), config.update(workers=1)))
    token = sandbox.mint()
    for _ in range(3):
        assert hop.get(at.url(), token).status_code == 200
    proofs = [r.get("DPoP") for r in at.requests]
    assert len(set(proofs)) == 3
    assert [harness.decode(p)[1].get("nonce") for p in proofs] == [None, "n-1", "n-1"]


def test_chain_of_bound_tokens(own_sandbox, tokenhop):
    """agent2 calls on with the bound token that it was called with: its server decides, and the log names it."""
    port = harness.free_port()
    sandbox = own_sandbox("--agent2-proxy", f"http://127.0.0.1:{port}", dpop=2, agent_dpop_required=1)

    def change(config):
        with_dpop()(config)
        config["listeners"][1]["address"] = f"127.0.0.1:{port}"

    hop = tokenhop(change, agents=["agent1", "agent2"], of=sandbox)
    answer = hop.post(sandbox.url("agent2", "/a2a/"), sandbox.mint(), json={"call": "agent3"})
    assert answer.status_code == 200, answer.text
    at_agent2 = answer.json()["result"]["parts"][1]["data"]
    assert at_agent2["agent3"]["status"] == 200, at_agent2["agent3"]
    at_agent3 = at_agent2["agent3"]["body"]["result"]["parts"][1]["data"]
    jkts = [data["claims"]["cnf"]["jkt"] for data in (at_agent2, at_agent3)]
    assert jkts[0] != jkts[1]  # each agent has a key of its own
    assert hop.stop().count("the subject token is bound to a key (cnf)") == 1


def test_exchange_shows_that_it_was_proved(sandbox, tmp_path):
    sandbox.settings(dpop=3, dpop_nonce=1)
    config = harness.base_config(sandbox)
    with_dpop("bound_id_jag")(config)
    path = tmp_path / "tokenhop.jsonc"
    path.write_text(json.dumps(config))
    token = sandbox.mint()
    done = Done("exchange", "-c", path, "--connection", "agent2", given=token)
    assert done.status == 0, done.all
    assert done.out.count("  DPoP: a proof by the key ") == 3  # two legs, and the nonce
    assert "hint: the server wants a nonce" in done.out
    assert "token_type: DPoP" in done.out and '"cnf"' in done.out
    assert "it is sent in the field Authorization, by the scheme DPoP, with a proof for each request" in done.out
    assert not TOKEN.search(done.all)
    done = Done("explain", "-c", path, sandbox.url("agent2", "/a2a/"))
    assert done.out.count("DPoP: (a proof by the agent's DPoP key)") == 2 and JWT_DPOP in done.out
