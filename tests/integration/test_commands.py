"""The commands that are no proxy: keygen, explain, exchange. What explain says is held against what the proxy does."""

import base64
import hashlib
import http.client
import json
import os
import pty
import re
import stat
import subprocess

import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

import harness

TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]*\.")  # how every JWT begins, its first part whole
ALGS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class Done:
    """A command that has ended: status, out, err."""

    def __init__(self, *args, given="", cwd=None, umask=-1, **more):
        argv = [str(a) for a in (harness.binary("tokenhop"), *args)]
        more.setdefault("stdout", subprocess.PIPE)
        if "stdin" not in more:
            more["input"] = given
        done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, timeout=60, cwd=cwd, umask=umask, **more)
        self.status, self.out, self.err = done.returncode, done.stdout or "", done.stderr
        for sign in ("Sanitizer", "runtime error:"):
            assert sign not in self.err, self.err
        self.all = self.out + self.err


def number(text):
    return int.from_bytes(octets(text), "big")


def octets(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- keygen ---


def public_of(jwk):
    """The JWK, read by other means than ours."""
    if jwk["kty"] == "RSA":
        return rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
    if jwk["kty"] == "OKP":
        assert jwk["crv"] == "Ed25519"
        return ed25519.Ed25519PublicKey.from_public_bytes(octets(jwk["x"]))
    curve = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}[jwk["crv"]]()
    assert len(octets(jwk["x"])) == len(octets(jwk["y"])) == (curve.key_size + 7) // 8  # RFC 7518, 6.2.1.2
    return ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), curve).public_key()


def thumbprint_of(jwk):
    names = {"RSA": ["e", "kty", "n"], "EC": ["crv", "kty", "x", "y"], "OKP": ["crv", "kty", "x"]}[jwk["kty"]]
    text = json.dumps({name: jwk[name] for name in names}, separators=(",", ":"), sort_keys=True)
    return harness.b64url(hashlib.sha256(text.encode()).digest())


def signature_scheme(alg):
    """What to hand to sign() and verify() beside the bytes."""
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}.get(alg[2:])
    if alg[:2] == "RS":
        return padding.PKCS1v15(), digest
    if alg[:2] == "PS":
        return padding.PSS(padding.MGF1(digest), digest.digest_size), digest
    return (ec.ECDSA(digest),) if alg[:2] == "ES" else ()


@pytest.mark.parametrize("alg", ALGS)
def test_keygen_makes_a_pair(sandbox, tmp_path, alg):
    done = Done("keygen", "--alg", alg, "--out", "agent.pem", cwd=tmp_path)
    assert done.status == 0, done.err
    jwk = json.loads(done.out)
    pem = (tmp_path / "agent.pem").read_bytes()
    private = serialization.load_pem_private_key(pem, None)
    public_of(jwk).verify(private.sign(b"text", *signature_scheme(alg)), b"text", *signature_scheme(alg))
    assert (jwk["alg"], jwk["use"], jwk["kid"]) == (alg, "sig", thumbprint_of(jwk))
    assert not {"d", "p", "q", "dp", "dq", "qi"} & set(jwk)
    assert stat.S_IMODE((tmp_path / "agent.pem").stat().st_mode) == 0o600
    assert "PRIVATE" not in done.all
    # And a configuration takes it.
    config = harness.base_config(sandbox)
    config["agents"]["agent1"]["auth"].update(key_file="agent.pem", alg=alg, kid=jwk["kid"])
    (tmp_path / "tokenhop.jsonc").write_text(json.dumps(config))
    check = Done("check", "-c", tmp_path / "tokenhop.jsonc")
    assert check.status == 0, check.err


@pytest.mark.parametrize("umask", [0, 0o777])
def test_keygen_keeps_the_key_its_owners(tmp_path, umask):
    path = tmp_path / "agent.pem"
    assert Done("keygen", "--alg", "ES256", "--out", path, umask=umask).status == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Done("keygen", "--alg", "ES256", "--out", path, "--force", umask=umask).status == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keygen_overwrites_nothing_unless_told(tmp_path):
    path = tmp_path / "agent.pem"
    path.write_text("precious")
    done = Done("keygen", "--alg", "ES256", "--out", path)
    assert (done.status, done.out, path.read_text()) == (1, "", "precious")
    assert "--force" in done.err and str(path) in done.err
    done = Done("keygen", "--alg", "ES256", "--kid", "k7", "--out", path, "--force")
    assert done.status == 0 and json.loads(done.out)["kid"] == "k7"
    assert isinstance(serialization.load_pem_private_key(path.read_bytes(), None), ec.EllipticCurvePrivateKey)
    assert [p.name for p in tmp_path.iterdir()] == ["agent.pem"]  # nothing is left beside it


def test_keygen_follows_no_link(tmp_path):
    (tmp_path / "agent.pem").symlink_to(tmp_path / "elsewhere")
    assert Done("keygen", "--alg", "ES256", "--out", tmp_path / "agent.pem").status == 1
    assert not (tmp_path / "elsewhere").exists()
    assert Done("keygen", "--alg", "ES256", "--out", tmp_path / "agent.pem", "--force").status == 0
    assert not (tmp_path / "elsewhere").exists() and not (tmp_path / "agent.pem").is_symlink()


def test_keygen_to_standard_output(tmp_path):
    done = Done("keygen", "--alg", "ES256", "--out", "-", cwd=tmp_path)
    private = serialization.load_pem_private_key(done.out.encode(), None)
    assert public_of(json.loads(done.err)).public_numbers() == private.public_key().public_numbers()
    assert list(tmp_path.iterdir()) == []


def test_keygen_shows_no_key_on_a_terminal():
    terminal, other_end = pty.openpty()
    try:
        done = Done("keygen", "--alg", "ES256", "--out", "-", stdout=other_end)
        assert done.status == 2 and "terminal" in done.err and "{" not in done.err
    finally:
        os.close(other_end)
        os.close(terminal)


@pytest.mark.parametrize("full", ["--out=-", "--out=agent.pem"])
def test_keygen_says_when_it_cannot_write(tmp_path, full):
    with open("/dev/full", "w") as sink:
        done = Done("keygen", "--alg", "ES256", full, cwd=tmp_path, stdout=sink)
    assert done.status == 1 and "No space left" in done.err


@pytest.mark.parametrize(
    "args, word",
    [
        ([], "--out"),
        (["--out"], "--out needs an argument"),
        (["--out", "x", "--alg", "HS256"], "--alg"),
        (["--out", "x", "--alg", "none"], "--alg"),
        (["--out", "x", "--kid", 'a"b'], "--kid"),
        (["--out", "x", "--kid", ""], "--kid"),
        (["--out", "x", "--force=1"], "--force takes none"),
        (["--out", "x", "--speed=1"], "--speed is not"),
        (["--out", "x", "-z"], "letter"),
        (["--out", "x", "y"], "word 3"),
        (["--out", "nowhere/x", "--alg", "ES256"], "No such file"),
    ],
)
def test_keygen_refuses(tmp_path, args, word):
    done = Done("keygen", *args, cwd=tmp_path)
    assert done.status == (1 if word == "No such file" else 2) and done.out == ""
    assert word in done.err and list(tmp_path.iterdir()) == []


# --- explain ---


@pytest.fixture
def explained(sandbox, tokenhop, tmp_path):
    """explained(change): a running proxy, and a function that asks explain by its configuration."""

    def start(change=None, agents=("agent1",)):
        hop = tokenhop(change, agents=agents)

        def ask(url, *args):
            return Done("explain", "-c", hop.file, *args, url)

        return hop, ask

    return start


def assert_agrees(done, answer):
    """The proxy's own answer to such a request, and what was said of it before."""
    if "error=" in answer.headers.get("Proxy-Status", ""):
        problem = answer.json()
        assert done.status == 1, done.all
        assert f"refused: {answer.status_code} {problem['code']}" in done.out, (problem, done.out)
    else:
        assert done.status == 0, (answer.text, done.all)
        assert "refused" not in done.out.replace("without a subject token: refused", "")


def widen(sandbox):
    def change(config):
        idp = f"127.0.0.1:{sandbox.info['port']}"
        base = config["connections"][0]
        config["egress"]["allow"] += [idp, "127.0.0.1:1"]
        config["unmatched"] = [
            {"url": f"http://{idp}/sandbox/faults", "action": "deny"},
            {"url": f"http://{idp}/sandbox/", "action": "forward"},
            {"url": "http://169.254.169.254/", "action": "forward"},
        ]

        def more(name, url, **rest):
            config["connections"].append({**base, "name": name, "url": url, **rest})

        more("clear", "http://10.1.2.3/")
        more("metadata", "http://169.254.169.254/x/")
        more("tls", "https://127.0.0.1:1/")
        more("open", sandbox.url("agent2", "/bytes/"), without_subject="forward")

    return change


def test_explain_agrees_with_the_proxy(sandbox, explained):
    hop, ask = explained(widen(sandbox), agents=("agent1", "agent2"))
    token = sandbox.mint(user="alice")
    idp = f"http://127.0.0.1:{sandbox.info['port']}"
    # By hand, as a library would put paths in a form of its own.
    for method, url in [
        ("GET", sandbox.url("agent2", "/a2a/whoami")),
        ("POST", sandbox.url("agent2", "/a2a/echo")),
        ("TRACE", sandbox.url("agent2", "/a2a/whoami")),
        ("GET", sandbox.url("agent2", "/.well-known/agent-card.json")),
        ("GET", sandbox.url("agent2", "/bytes/10")),
        ("GET", sandbox.url("agent2", "/a2a//whoami")),
        ("GET", sandbox.url("agent2", "/a2a/%2e%2e/whoami")),
        ("GET", sandbox.url("api", "/echo")),
        ("GET", f"{idp}/sandbox/info"),
        ("GET", f"{idp}/sandbox/faults"),
        ("GET", f"{idp}/elsewhere"),
        ("GET", "http://nowhere.example/"),
        ("GET", "http://169.254.169.254/"),
        ("GET", "http://169.254.169.254/x/"),
        ("GET", "http://10.1.2.3/"),
        ("GET", f"http://127.0.0.1:{hop.port}/"),
    ]:
        for caller in ("agent1", "agent2"):
            bearer = token if caller == "agent1" else sandbox.mint(user="alice", audience="agent2")
            answer = by_hand(hop, caller, method, url, bearer)
            assert_agrees(ask(url, "--method", method, "--caller", caller), answer)


def by_hand(hop, caller, method, url, token):
    connection = http.client.HTTPConnection("127.0.0.1", hop.port_of(caller), timeout=30)
    try:
        connection.putrequest(method, url, skip_accept_encoding=True)
        connection.putheader("Authorization", f"Bearer {token}")
        if method == "POST":
            connection.putheader("Content-Length", "0")
        connection.endheaders()
        answer = connection.getresponse()
        whole = requests.Response()
        whole.status_code, whole._content = answer.status, answer.read()
        whole.headers.update(answer.headers.items())
        return whole
    finally:
        connection.close()


def test_explain_a_destination_with_tls(sandbox, explained):
    hop, ask = explained(widen(sandbox))
    answer = hop.get("http://127.0.0.1:1/", sandbox.mint(user="alice"))
    done = ask("http://127.0.0.1:1/")
    assert done.status == 0 and "origin: https://127.0.0.1:1, carried over TLS" in done.out
    # The gate let it pass; then nobody listened there.
    assert (answer.status_code, answer.json()["code"]) == (502, "origin_failed")


def test_explain_shows_the_legs(sandbox, explained):
    _, ask = explained()
    done = ask(sandbox.url("agent2", "/a2a/tasks?secret=1"))
    assert done.status == 0
    for text in [
        'carried: by connection "agent2", with a credential',
        "without a subject token: refused, 401 subject_token_missing",
        f"origin: {sandbox.resource('agent2')}",
        "address: a loopback address",
        f'1 id_jag at "org": POST {sandbox.endpoint("org")}',
        f"audience: {sandbox.issuer('aus2')}",
        f"resource: {sandbox.resource('agent2')}",
        "scope: chat.read chat.history",
        f'2 access_token at "aus2": POST {sandbox.endpoint("aus2")}',
        f"authenticated as: {sandbox.client_id('agent1')}",
    ]:
        assert text in done.out, text
    assert sandbox.records() == []  # nobody was asked


def test_explain_says_why_a_pattern_lost(sandbox, explained):
    def change(config):
        base = config["connections"][0]
        for name, url in [
            ("wild", "http://*.example.com/"),
            ("root", "http://one.example.com/"),
            ("deep", "http://one.example.com/a2a/"),
            ("port", "http://one.example.com:8080/"),
            ("path", "http://one.example.com/b"),
            ("tls", "https://one.example.com/a2a"),
        ]:
            config["connections"].append({**base, "name": name, "url": url})

    _, ask = explained(change)
    out = ask("http://one.example.com/a2a/x").out
    for text in [
        '* http://one.example.com/a2a/ of "deep": matches',
        '- http://*.example.com/ of "wild": matches, but a pattern that names the host in full goes first',
        '- http://one.example.com/ of "root": matches, but a pattern with a longer path goes first',
        '- http://one.example.com:8080/ of "port": another port',
        '- http://one.example.com/b of "path": another path',
        f'- {sandbox.resource("agent2")}/ of "agent2": another host',
    ]:
        assert text in out, (text, out)
    assert '- http://one.example.com/ of "root": an https:// request never' in ask("https://one.example.com/a2a").out


def test_explain_shows_each_caller_or_one(sandbox, explained):
    _, ask = explained(agents=("agent1", "agent2"))
    url = sandbox.url("agent2", "/a2a/")
    both = ask(url)
    assert 'listener "agent1"' in both.out and 'listener "agent2"' in both.out
    assert both.status == 1 and 'mend: add the agent to "agents"' in both.out
    assert ask(url, "--caller", "agent1").status == 0
    assert ask(url, "--caller", "agent2").status == 1
    wrong = ask(url, "--caller", "agnet1")
    assert wrong.status == 2 and 'did you mean "agent1"?' in wrong.err


def test_explain_refuses_what_it_cannot_read(explained, sandbox):
    _, ask = explained()
    for url in ("agent2.example.com/a2a", "http://a@b/", "http://h/#f", "http://h/%zz"):
        done = ask(url)
        assert done.status == 1 and "refused: 400 bad_request" in done.out
    assert "403 destination_denied" in ask("http://h/", "--method", "CONNECT").out
    assert ask("http://h/", "--method", "A B").status == 2
    assert Done("explain", "-c", "nowhere.jsonc", "http://h/").status == 2
    assert Done("explain", "http://h/").status == 2


# --- exchange ---


@pytest.fixture
def exchange(sandbox, tmp_path):
    """exchange(token, ...): the command by the sandbox's configuration; checks that nothing secret is shown."""

    def start(token, *args, connection="agent2", agents=("agent1",), change=None, alg="RS256"):
        config = harness.base_config(sandbox, agents, alg)
        if change is not None:
            change(config)
        path = tmp_path / "tokenhop.jsonc"
        path.write_text(json.dumps(config))
        named = ["--connection", connection] if connection else []
        done = Done("exchange", "-c", path, *named, *args, given=token)
        shown = done.all.replace(done.out, "") if "--print-token" in args else done.all
        assert not TOKEN.search(shown), shown
        for part in token.split("."):
            assert len(part) < 8 or part not in shown
        assert "PRIVATE" not in done.all
        return done

    return start


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_exchange_of_an_id_token(sandbox, exchange, alg):
    done = exchange(sandbox.mint(user="alice"), alg=alg)
    assert (done.status, done.err) == (0, "")
    sub = decoded_sub(sandbox)
    for text in [
        'connection "agent2" (agent_to_agent), as agent "agent1"',
        f"request 1, leg id_jag\n  POST {sandbox.endpoint('org')}\n  grant_type: {harness.TX}",
        f"subject_token_type: {harness.TT}id_token",
        f'"iss": "{sandbox.client_id("agent1")}"',  # of the client assertion
        '"typ": "oauth-id-jag+jwt"',
        f"request 2, leg access_token\n  POST {sandbox.endpoint('aus2')}\n  grant_type: {harness.JB}",
        f"scope: chat.read chat.history\n  access_token\n    {{\n      \"alg\"",
        f'"aud": "{sandbox.resource("agent2")}"',
        f'chain of actors\n  sub {sub}\n  `- act {sandbox.client_id("agent1")} (agent "agent1")\n\n',
    ]:
        assert text in done.out, (text, done.out)
    assert re.search(r"answer 1: status 200, after \d+\.\d ms", done.out)
    assert re.search(r"the access token serves for 3[0-9]{3} s", done.out)
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


def decoded_sub(sandbox, user="alice"):
    return harness.decode(sandbox.mint(user=user))[1]["sub"]


def test_exchange_of_an_access_token_shows_the_chain(sandbox, exchange):
    service = sandbox.client_id("service")
    done = exchange(sandbox.mint(type="access_token", user="service"))
    assert (done.status, done.err) == (0, "")
    assert f"subject_token_type: {harness.TT}access_token" in done.out
    agent = sandbox.client_id("agent1")
    chain = done.out.split("chain of actors\n")[1].split("\n\n")[0]
    assert chain == f'  sub {service}\n  `- act {agent} (agent "agent1")\n     `- act {service}'


def test_exchange_of_the_other_type(sandbox, exchange):
    done = exchange(sandbox.mint(user="bob"), connection="api")
    assert done.status == 0 and "(authorization_server)" in done.out and "resource:" not in done.out


def test_exchange_prints_the_token_alone(sandbox, exchange):
    token = sandbox.mint(user="alice")
    done = exchange(token, "--print-token")
    assert done.status == 0
    got = done.out.removesuffix("\n")
    assert "chain of actors" in done.err
    for part in got.split("."):
        assert part not in done.err
    assert sandbox.whoami(got).json()["sub"] == decoded_sub(sandbox)


def test_exchange_prints_no_token_when_it_is_refused(sandbox, exchange):
    done = exchange(sandbox.mint(user="carol"), "--print-token")
    assert (done.status, done.out) == (1, "")
    assert "refused" in done.err or "access_denied" in done.err


def test_exchange_says_when_it_cannot_write(sandbox, exchange, tmp_path):
    exchange(sandbox.mint(user="alice"))  # writes the configuration
    with open("/dev/full", "w") as sink:
        done = Done("exchange", "-c", tmp_path / "tokenhop.jsonc", "--connection", "agent2", "--print-token",
                    given=sandbox.mint(user="alice"), stdout=sink)
    assert done.status == 1 and "No space left" in done.err and not TOKEN.search(done.err)


def scopes(*names):
    def change(config):
        config["connections"][0]["scopes"] = list(names)

    return change


def test_exchange_refusals(sandbox, exchange, tmp_path):
    alice = sandbox.mint(user="alice")
    stranger = tmp_path / "stranger.pem"
    assert Done("keygen", "--out", stranger).status == 0

    def wrong_key(config):
        config["agents"]["agent1"]["auth"]["key_file"] = str(stranger)

    def wrong_resource(config):
        config["connections"][0]["resource"] += "/"

    def only_id_tokens(config):
        config["connections"][0]["subject"] = {"type": "id_token"}

    for token, change, words in [
        (sandbox.mint(user="alice", expires_in=-60), None, ["subject_token_invalid", "expired"]),
        (sandbox.mint(user="alice", audience="agent2"), only_id_tokens, ["subject_token_invalid", "audience"]),
        (sandbox.mint(user="alice", audience="agent2"), None, ["subject_token_invalid", "audience"]),
        (sandbox.mint(user="carol"), None, ["subject_token_invalid", "leg id_jag", "not assigned"]),
        (alice, scopes("chat.nonsense"), ["access_denied", "leg id_jag", "scope"]),
        (alice, wrong_key, ["exchange_failed", "leg id_jag", "invalid_client", "another key"]),
        (alice, wrong_resource, ["access_denied", "resource"]),
        ("no token at all", None, ["subject_token_invalid"]),
    ]:
        done = exchange(token, change=change)
        assert done.status == 1, done.all
        for word in words:
            assert word in done.err, (word, done.err)
        assert "chain of actors" not in done.out


def test_exchange_shows_what_the_server_says(sandbox, exchange):
    done = exchange(sandbox.mint(user="alice"), change=scopes("chat.nonsense"))
    assert "answer 1: status 400" in done.out and "hint: " in done.out and "  error: " in done.out


@pytest.mark.parametrize(
    "place, kind, more, status, words",
    [
        ("org_token", "unavailable", {"retry_after": 7}, 1, ["exchange_unavailable", "asks to wait 7 s"]),
        ("org_token", "close", {}, 1, ["exchange_unavailable"]),
        ("aus2_token", "close", {}, 0, []),  # tried once more
        ("aus2_token", "wrong_audience", {}, 1, ["exchange_failed", "leg access_token"]),
        ("aus2_token", "lost_chain", {}, 1, ["exchange_failed", "leg access_token"]),
        ("aus2_token", "opaque_access_token", {}, 0, []),
        ("aus2_token", "html", {}, 1, ["leg access_token", "502"]),
        ("org_token", "duplicate_member", {}, 1, ["exchange_failed", "leg id_jag"]),
    ],
)
def test_exchange_when_the_server_fails(sandbox, exchange, place, kind, more, status, words):
    sandbox.fault(place, kind, **more)
    done = exchange(sandbox.mint(user="alice"))
    assert done.status == status, done.all
    for word in words:
        assert word in done.err, (word, done.err)
    if kind == "opaque_access_token":
        assert "(an opaque token)" in done.out and "(the access token is opaque)" in done.out
    if (place, kind) == ("aus2_token", "close"):
        assert "answer 2: none" in done.out and "request 3, leg access_token" in done.out


def test_exchange_asks_for_consent(sandbox, exchange):
    uri = sandbox.issuer("org") + "/consent/1"
    sandbox.fault("org_token", "error", error="interaction_required", members={"interaction_uri": uri})
    done = exchange(sandbox.mint(user="alice"))
    assert done.status == 1 and f"the user goes to {uri}" in done.err


def test_exchange_ends_at_its_deadline(sandbox, exchange):
    sandbox.fault("org_token", "hang", ms=20000)
    done = exchange(sandbox.mint(user="alice"), change=lambda c: c.update(timeouts={"exchange": "1s"}))
    assert done.status == 1 and "exchange_timeout" in done.err


def test_exchange_escapes_what_tokens_say(sandbox, exchange):
    done = exchange(sandbox.mint(user="alice", claims={"name": "\x1b[2J\u202e\u009b"}))
    assert done.status == 0 and "\\u001b[2j\\u202e\\u009b" in done.out.lower()
    assert all(c == "\n" or " " <= c <= "~" for c in done.out)


def test_exchange_reads_the_subject_from_a_file(sandbox, exchange, tmp_path):
    path = tmp_path / "subject.jwt"
    path.write_text("\n " + sandbox.mint(user="alice") + " \r\n")
    path.chmod(0o644)
    done = exchange("", "--subject-file", path)
    assert done.status == 2 and "chmod" in done.err and sandbox.records("org_token") == []
    path.chmod(0o600)
    assert exchange("", "--subject-file", path).status == 0
    assert exchange("", "--subject-file", tmp_path / "nowhere").status == 2
    path.write_text("\n")
    assert exchange("", "--subject-file", path).status == 2


def test_exchange_needs_a_subject_token(sandbox, exchange, tmp_path):
    done = exchange(" \n")
    assert done.status == 2 and "standard input: there is no subject token" in done.err
    done = exchange("x" * 200000)
    assert done.status == 2 and "longer than" in done.err
    terminal, other_end = pty.openpty()
    try:
        done = Done("exchange", "-c", tmp_path / "tokenhop.jsonc", "--connection", "agent2", stdin=other_end)
        assert done.status == 2 and "terminal" in done.err
    finally:
        os.close(other_end)
        os.close(terminal)


def test_exchange_repeats_no_token_of_the_command_line(sandbox, exchange):
    token = sandbox.mint(user="alice")
    for args in ([token], [f"--subject-token={token}"], [f"--{token}"], ["--agent", token]):
        assert exchange(token, *args).status == 2
    assert exchange(token, connection=token).status == 2
    assert sandbox.records("org_token") == []


def test_exchange_names(sandbox, exchange):
    token = sandbox.mint(user="alice")

    def both(config):
        config["connections"][0]["agents"] = ["agent1", "agent2"]

    done = exchange(token, connection="agnet2")
    assert done.status == 2 and 'there is no connection "agnet2"' in done.err and 'mean "agent2"?' in done.err
    done = exchange(token, "--agent", "agnet1")
    assert done.status == 2 and 'did you mean "agent1"?' in done.err
    done = exchange(token, "--agent", "agent2", agents=("agent1", "agent2"))
    assert done.status == 2 and 'those are "agent1"' in done.err
    done = exchange(token, agents=("agent1", "agent2"), change=both)
    assert done.status == 2 and '"agent1", "agent2"' in done.err
    assert exchange(token, "--agent", "agent1", agents=("agent1", "agent2"), change=both).status == 0
    assert exchange(token, connection=None).status == 2


# --- all of them ---


def test_each_command_has_help_with_examples():
    names = re.findall(r"^  (\w+) ", Done("--help").out, re.M)
    assert {"run", "check", "keygen", "explain", "exchange"} <= set(names)
    for name in names:
        done = Done(name, "--help")
        assert done.status == 0 and done.out.startswith(f"usage: tokenhop {name}") and done.err == ""
    for name in ("keygen", "explain", "exchange"):
        assert f"\n  tokenhop {name} " in Done(name, "--help").out


def test_the_page_of_commands_can_be_followed(sandbox, tmp_path):
    """Every line of its shell blocks, as it stands there."""
    config = harness.base_config(sandbox)
    config["connections"][0]["url"] = [config["connections"][0]["url"], "http://agent2.example.com/a2a/"]
    (tmp_path / "tokenhop.jsonc").write_text(json.dumps(config))
    (tmp_path / "subject.jwt").write_text(sandbox.mint(user="alice"))
    (tmp_path / "subject.jwt").chmod(0o600)
    (tmp_path / "build").symlink_to(harness.BUILD.resolve())
    page = (harness.SOURCE / "docs/commands.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page, re.S) for line in block.splitlines()]
    assert {line.split()[1] for line in lines} == {"check", "keygen", "password", "explain", "exchange", "exec"}
    (tmp_path / "agent.py").write_text("import os; assert os.environ['http_proxy'] and os.environ['HTTPS_PROXY']\n")
    for line in lines:
        done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60, input="correct horse battery\n")
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    assert (tmp_path / "team-a.pw").read_text().startswith("$y$")
    assert json.loads((tmp_path / "agent1.jwk.json").read_text())["use"] == "sig"
    credential = (tmp_path / "credential.jwt").read_text().strip()
    assert sandbox.whoami(credential).json()["sub"] == decoded_sub(sandbox)
