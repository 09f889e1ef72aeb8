"""Processes under test, for pytest: the sandbox and tokenhop itself.

Both are found in the build folder that TOKENHOP_BUILD names (default: build/ of the source tree):
src/sandbox/tokenhop-sandbox and src/tokenhop. Nothing leaves loopback, environment proxies are ignored,
ports are free ones, and what is started is stopped by its pid; a process that does not end by itself on
SIGTERM, ends with a status other than 0, or wrote a sanitizer's report fails the test.

    def test_call(sandbox, tokenhop):                       # fixtures of conftest.py
        hop = tokenhop(agents=["agent1"])                   # a running tokenhop for this sandbox
        token = sandbox.mint(user="alice")                  # an ID token for agent1
        answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), token)
        assert answer.json()["chain"] == [sandbox.client_id("agent1")]
        assert sandbox.exchanges("alice", "agent1-agent2") == 1

        sandbox.fault("org_token", "unavailable", count=2, retry_after=1)
        sandbox.settings(introspect=True); sandbox.revoke()
        sandbox.records("aus2_token")                       # what arrived, oldest first

Sandbox: mint, fault, faults, clear_faults, settings, stats, records, requests, refused, exchanges, revoke, reset, whoami,
         url, issuer, client_id, key_file, resource.  `tokenhop-sandbox --help` lists users, settings and faults.
Tokenhop: Tokenhop(config, folder).start(); request/get/post through it; .port, .proxies; stop().
         base_config(sandbox, ...) makes a configuration to change before it is written.
ProviderClient: the same at a server that is not Okta's; Sandbox.server("keycloak") describes it.
Client:  a registered client's assertions and requests, by hand, for what tokenhop would never send.
"""

import base64
import contextlib
import functools
import hmac
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import uuid
from urllib.parse import quote

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TOKENHOP_BUILD", SOURCE / "build"))

TX = "urn:ietf:params:oauth:grant-type:token-exchange"
JB = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TT = "urn:ietf:params:oauth:token-type:"
CA = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

# the sandbox's setting agent1_auth_method
AUTH_METHODS = ["private_key_jwt", "client_secret_basic", "client_secret_post", "client_secret_jwt", "none"]

# The destination that tests call by name, on loopback. Never localhost: many clients never ask a proxy for that. And
# nobody but tokenhop knows this one, so that who goes around the proxy gets nowhere.
ORIGIN = "origin.example.com"

START_SECONDS = 30
STOP_SECONDS = 30


def binary(name):
    path = BUILD / {"tokenhop": "src/tokenhop", "tokenhop-sandbox": "src/sandbox/tokenhop-sandbox"}[name]
    if not path.exists():
        raise FileNotFoundError(f"{path}: build it, or set TOKENHOP_BUILD")
    return path


def names_known(*names):
    """The whole environment of a program to which ORIGIN, and these, are 127.0.0.1: see tests/support/hosts.c."""
    library = BUILD / "tests/support/hosts.so"
    if not library.exists():
        raise FileNotFoundError(f"{library}: build it (with unit_tests), or set TOKENHOP_BUILD")
    # the address sanitizer wants to be the first library, but needs it only for what it intercepts
    checks = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
    hosts = " ".join(f"{name}=127.0.0.1" for name in (ORIGIN, *names))
    return {**os.environ, "LD_PRELOAD": str(library), "TEST_HOSTS": hosts, "ASAN_OPTIONS": checks}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_listening(port, process=None, seconds=START_SECONDS, host="127.0.0.1"):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nobody listens on port {port}")


def wait_open(address, process=None):
    """As wait_listening(), for the address of a listener."""
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))
        return wait_listening(int(port), process, host=host)

    def is_open():
        assert process is None or process.poll() is None, f"ended with {process.returncode} before it listened"
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
            s.connect(address[5:])
            return True

    wait_until(is_open, START_SECONDS)


def wait_until(what, seconds=10):
    """Until what() is true; returns it. Fails the test otherwise."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = what()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("it did not become true in time")


def b64url(data):
    if isinstance(data, (dict, list)):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(token):
    """Header and claims of a JWT, not verified."""
    return tuple(
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for part in token.split(".")[:2]
    )


@functools.lru_cache(maxsize=None)  # loading checks the key, which takes longer than signing
def load_key(key_file):
    return serialization.load_pem_private_key(pathlib.Path(key_file).read_bytes(), None)


def sign_jwt(key_file, claims, **header):
    """A compact JWT; header members with the value None are left out."""
    key = load_key(key_file)
    header = {"alg": "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256", **header}
    header = {name: value for name, value in header.items() if value is not None}
    text = f"{b64url(header)}.{b64url(claims)}".encode()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = utils.decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    else:
        signature = key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    return f"{text.decode()}.{b64url(signature)}"


class Process:
    """A child with its standard error kept; start() and stop() by pid."""

    def __init__(self):
        self.process = None
        self.stderr = ""

    def _spawn(self, argv, **more):
        self.stderr = ""
        self.process = subprocess.Popen(
            [str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
        )
        self._readers = []
        self._read_in_thread(self._read_stderr)

    def _read_in_thread(self, read):
        self._readers.append(threading.Thread(target=read, daemon=True))
        self._readers[-1].start()

    def _read_stderr(self):
        for line in self.process.stderr:
            self.stderr += line

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, expect=0, how=signal.SIGTERM):
        """Ends it and returns what it wrote to standard error."""
        if self.process is None:
            return self.stderr
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(how)
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = "killed: it did not end on SIGTERM"
        for reader in self._readers:
            reader.join(5)
        process.stdout.close()
        process.stderr.close()
        for sign in ("Sanitizer", "runtime error:"):
            assert sign not in self.stderr, self.stderr
        assert expect is None or status == expect, f"exit status {status}\n{self.stderr}"
        return self.stderr


class Sandbox(Process):
    def __init__(self, folder, *args, **settings):
        """`settings` as in `tokenhop-sandbox --help`; `folder` keeps the keys between runs."""
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.args = [*args, *(f"--set={name}={int(value)}" for name, value in settings.items())]
        self.http = requests.Session()
        self.http.trust_env = False

    def start(self):
        self._spawn([binary("tokenhop-sandbox"), "--state", self.folder, *self.args])
        line = self.process.stdout.readline()
        if not line:
            self.stop(expect=None)
            raise AssertionError(f"the sandbox did not start\n{self.stderr}")
        self.info = json.loads(line)
        return self

    def stop(self, *args, **kwargs):
        self.http.close()
        return super().stop(*args, **kwargs)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # Names and places

    def server(self, name="org"):
        """Okta's, or another: "keycloak" (tokenhop-sandbox --help)."""
        return self.info["servers"].get(name) or self.info["providers"][name]

    def issuer(self, server="org"):
        return self.server(server)["issuer"]

    def endpoint(self, server="org", name="token_endpoint"):
        return self.server(server)[name]

    def client_id(self, name):
        return self.info["clients"][name]["client_id"]

    def key_file(self, name, kid="k1"):
        return next(k["key_file"] for k in self.info["clients"][name]["keys"] if k["kid"] == kid)

    def secret_file(self, name):
        return self.info["clients"][name]["secret_file"]

    def secret(self, name):
        return pathlib.Path(self.secret_file(name)).read_text().removesuffix("\n")

    def resource(self, name):
        return self.info["agents"][name]["resource"]

    def port(self, name):
        return self.info["agents"][name]["port"]

    def url(self, name, path="/"):
        return self.resource(name) + path

    # Steering

    def admin(self, method, path, **kwargs):
        answer = self.http.request(
            method, f"http://127.0.0.1:{self.info['port']}/sandbox/{path}", timeout=30, **kwargs
        )
        assert answer.status_code == 200, answer.text
        return answer

    def mint(self, **parameters):
        """A token; parameters as in src/sandbox/mint.c: user, audience, type, expires_in, ..."""
        return self.mint_all(**parameters)["token"]

    def mint_all(self, **parameters):
        if isinstance(parameters.get("claims"), dict):
            parameters["claims"] = json.dumps(parameters["claims"])
        return self.admin("POST", "mint", data=parameters).json()

    def fault(self, place, kind, count=1, **more):
        self.admin("POST", "faults", json={"place": place, "kind": kind, "count": count, **more})

    def faults(self):
        return self.admin("GET", "faults").json()

    def clear_faults(self):
        self.admin("DELETE", "faults")

    def settings(self, **values):
        return self.admin("POST", "settings", json=values).json()

    def revoke(self, **which):
        """As an administrator: all access tokens, or those of server= and user=. Returns how many."""
        return self.admin("POST", "revoke", json=which).json()["revoked"]

    def reset(self):
        """No faults, no counts, nothing remembered, settings as at the start."""
        self.admin("POST", "reset")

    # Looking

    def whoami(self, token, agent="agent2"):
        """What an agent says of a token that is brought to it directly."""
        headers = {"Authorization": f"Bearer {token}"}
        return self.http.get(self.url(agent, "/a2a/whoami"), headers=headers, timeout=30)

    def stats(self):
        return self.admin("GET", "stats").json()

    def records(self, place=None):
        return [r for r in self.stats()["record"] if place in (None, r["place"])]

    def requests(self, place, status="requests"):
        counters = self.stats()["counters"].get("endpoints", {})
        return counters.get(place, {}).get(str(status), 0)

    def refused(self):
        return self.stats()["counters"].get("refused", {})

    def exchanges(self, user, connection):
        """Granted first legs of this user (or client, for machines) on this connection."""
        return self.stats()["counters"].get("exchanges", {}).get(user, {}).get(connection, 0)


class Client:
    """A registered client that speaks to the token endpoints by hand."""

    def __init__(self, sandbox, name="agent1", kid="k1"):
        self.sandbox, self.name, self.kid = sandbox, name, kid
        self.client_id = sandbox.client_id(name)

    def assertion(self, audience, *, key_file=None, header=None, **claims):
        """`header` and `claims` replace members, None leaves one out."""
        now = int(time.time())
        whole = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "iat": now - 5,
            "exp": now + 60,
            "jti": uuid.uuid4().hex,
            **claims,
        }
        whole = {name: value for name, value in whole.items() if value is not None}
        header = {"kid": self.kid, **(header or {})}
        return sign_jwt(key_file or self.sandbox.key_file(self.name, self.kid), whole, **header)

    def form(self, audience, form, **assertion):
        whole = {
            "client_assertion_type": CA,
            "client_assertion": self.assertion(audience, **assertion),
            **form,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def post(self, server, form, endpoint="token_endpoint", audience=None, **assertion):
        url = self.sandbox.endpoint(server, endpoint)
        return self.sandbox.http.post(
            url, data=self.form(audience or url, form, **assertion), timeout=30, allow_redirects=False
        )

    def exchange_form(self, token, target="agent2", scope="chat.read chat.history", **form):
        """Leg 1; the subject's type is told from its audience."""
        agent = self.sandbox.info["agents"][target]
        kind = "access_token" if "://" in str(decode(token)[1].get("aud")) else "id_token"
        return {
            "grant_type": TX,
            "subject_token": token,
            "subject_token_type": TT + kind,
            "requested_token_type": TT + "id-jag",
            "audience": self.sandbox.issuer(agent["server"]),
            "resource": agent["resource"] if agent["audience"] == agent["resource"] else None,
            "scope": scope,
            **form,
        }

    def exchange(self, token, target="agent2", scope="chat.read chat.history", **form):
        return self.post("org", self.exchange_form(token, target, scope, **form))

    def redeem(self, id_jag, target="agent2", **form):
        server = self.sandbox.info["agents"][target]["server"]
        return self.post(server, {"grant_type": JB, "assertion": id_jag, **form})

    def both_legs(self, token, target="agent2", scope="chat.read chat.history"):
        first = self.exchange(token, target, scope)
        assert first.status_code == 200, first.text
        second = self.redeem(first.json()["access_token"], target)
        assert second.status_code == 200, second.text
        return second.json()["access_token"]


class ProviderClient(Client):
    """An agent at one of the servers that are not Okta's, authenticating as it is registered there."""

    METHODS = {  # of agent1 and agent2; src/sandbox/providers.c
        "rfc8693": ("key", "basic"),
        "keycloak": ("basic", "key"),
        "auth0": ("post", "key"),
        "entra": ("post", "certificate"),
        "bearer": ("none", "secret_jwt"),
        "partner": ("key", "post"),
        "google": ("anonymous", "anonymous"),
        "ping": ("basic", "key"),
        "wso2": ("basic", "key"),
    }

    def __init__(self, sandbox, server, name="agent1"):
        super().__init__(sandbox, name)
        self.server = server
        self.method = self.METHODS[server][name == "agent2"]
        self.row = sandbox.server(server)["clients"].get(name, {})
        self.client_id = self.row.get("client_id")

    @property
    def own_secret(self):
        return pathlib.Path(self.row["secret_file"]).read_text().removesuffix("\n")

    def certificate_header(self):
        certificate = x509.load_pem_x509_certificate(pathlib.Path(self.row["certificate_file"]).read_bytes())
        digest = lambda algorithm: b64url(certificate.fingerprint(algorithm))
        return {"x5t": digest(hashes.SHA1()), "x5t#S256": digest(hashes.SHA256()), "kid": None}

    def mac_assertion(self, audience):
        now = int(time.time())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": audience, "iat": now - 5, "exp": now + 60,
                  "jti": uuid.uuid4().hex}
        text = f"{b64url({'alg': 'HS256'})}.{b64url(claims)}"
        return f"{text}.{b64url(hmac.digest(self.own_secret.encode(), text.encode(), 'sha256'))}"

    def post(self, form, endpoint="token_endpoint", audience=None, header=None, **assertion):
        """`form` is a dict, or a list of pairs where something comes twice; `assertion` as in Client."""
        url = self.sandbox.endpoint(self.server, endpoint)
        pairs = list(form.items()) if isinstance(form, dict) else list(form)
        headers = {}
        if self.method in ("key", "certificate"):
            if self.method == "certificate":
                header = self.certificate_header() if header is None else header
                assertion.setdefault("nbf", int(time.time()) - 5)
            pairs += list(self.form(audience or url, {}, header=header, **assertion).items())
        elif self.method == "secret_jwt":
            pairs += [("client_assertion_type", CA), ("client_assertion", self.mac_assertion(audience or url))]
        elif self.method == "basic":
            pair = f"{quote(self.client_id, safe='')}:{quote(self.own_secret, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        elif self.method in ("post", "none"):
            pairs.append(("client_id", self.client_id))
            if self.method == "post":
                pairs.append(("client_secret", self.own_secret))
        pairs = [(name, value) for name, value in pairs if value is not None]
        return self.sandbox.http.post(url, data=pairs, headers=headers, timeout=30, allow_redirects=False)


def base_config(sandbox, agents=("agent1",), alg="RS256"):
    """A configuration for this sandbox: one listener an agent, on free ports, all connections. Change it at
    will before Tokenhop writes it."""
    kid = {"RS256": "k1", "ES256": "k2"}[alg]
    info = sandbox.info

    def agent(name):
        return {
            "client_id": sandbox.client_id(name),
            "auth": {
                "method": "private_key_jwt",
                "key_file": sandbox.key_file(name, kid),
                "kid": kid,
                "alg": alg,
            },
            "resource": sandbox.resource(name),
            "authorization_server": "org",
            **({"linked_client_ids": [sandbox.client_id("webapp")]} if name == "agent1" else {}),
        }

    def connection(name, users, scopes):
        known = info["agents"][name]
        by_resource = known["resource"] == known["audience"]
        return {
            "name": name,
            "url": known["resource"] + "/",
            "type": "agent_to_agent" if by_resource else "authorization_server",
            "agents": [user for user in users if user in agents],
            "authorization_server": known["server"],
            "scopes": scopes,
            **({"resource": known["resource"]} if by_resource else {}),
        }

    connections = [
        connection("agent2", ["agent1"], ["chat.read", "chat.history"]),
        connection("agent3", ["agent1", "agent2"], ["chat.read"]),
        connection("api", ["agent1"], ["orders.read"]),
    ]
    return {
        "listeners": [
            {"name": name, "address": f"127.0.0.1:{free_port()}", "mode": "forward", "agent": name}
            for name in agents
        ],
        "authorization_servers": {
            name: {"issuer": server["issuer"]} for name, server in info["servers"].items()
        },
        "agents": {name: agent(name) for name in agents},
        "connections": [c for c in connections if c["agents"]],
        "unmatched": "deny",
        "egress": {"allow": [a["address"] for a in info["agents"].values() if "address" in a]},
    }


class Tokenhop(Process):
    """`tokenhop run -c` with this configuration (a dict, or the text of a file). It knows ORIGIN."""

    prefix = ()  # a command that runs it, and leaves it its pid

    def __init__(self, config, folder, args=(), env=None):
        super().__init__()
        self.config, self.args = config, list(args)
        self.folder = pathlib.Path(folder)
        self.file = self.folder / "tokenhop.jsonc"
        self.env = {**names_known(), **(env or {})}
        self._lines = []

    def write(self):
        text = self.config if isinstance(self.config, str) else json.dumps(self.config, indent=2)
        self.file.write_text(text)

    def start(self):
        self.write()
        self._spawn([*self.prefix, binary("tokenhop"), "run", "-c", self.file, *self.args], env=self.env)
        self._read_in_thread(self._read_output)
        try:
            for listener in self.config["listeners"]:
                wait_open(listener["address"], self.process)
        except AssertionError as error:
            self.stop(expect=None)
            raise AssertionError(f"tokenhop did not start: {error}\n{self.stderr}") from error
        return self

    def _read_output(self):
        with contextlib.suppress(ValueError):
            for line in self.process.stdout:
                self._lines.append(line)

    @property
    def output(self):
        """What it wrote to standard output: the access log, unless configured otherwise. Whole after stop()."""
        return "".join(self._lines)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def port_of(self, agent="agent1"):
        listener = next(l for l in self.config["listeners"] if l["agent"] == agent)
        return int(listener["address"].rsplit(":", 1)[1])

    @property
    def port(self):
        return self.port_of(self.config["listeners"][0].get("agent"))

    def session(self, agent="agent1"):
        """A requests session that goes through the proxy, loopback destinations too."""
        session = requests.Session()
        session.trust_env = False
        session.proxies = {"http": f"http://127.0.0.1:{self.port_of(agent)}"}
        return session

    def request(self, method, url, token=None, agent="agent1", headers=None, **kwargs):
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        kwargs.setdefault("timeout", 60)
        kwargs.setdefault("allow_redirects", False)
        with self.session(agent) as session:
            return session.request(method, url, headers=headers, **kwargs)

    def get(self, url, token=None, **kwargs):
        return self.request("GET", url, token, **kwargs)

    def post(self, url, token=None, **kwargs):
        return self.request("POST", url, token, **kwargs)

    def reload(self):
        self.write()
        self.process.send_signal(signal.SIGHUP)
