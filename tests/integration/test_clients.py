"""Real clients that know nothing but what `tokenhop exec` puts into their environment: each call, in clear and by TLS,
arrives at agent 2 as alice through agent 1, after one exchange."""

import contextlib
import fcntl
import hashlib
import ipaddress
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest
from cryptography import x509

import harness
from harness import free_port
from rawnet import SLOW
from tlsnet import Identity

HERE = pathlib.Path(__file__).resolve().parent / "clients"
PYTHON = ["requests", "httpx", "httpx-async", "aiohttp", "urllib"]
NODE = ["fetch", "undici", "undici-connect", "fetch-undici", "axios", "http-request", "a2a-sdk"]

# What they call: names, as some clients never ask a proxy for an address of the machine itself. No client can look
# them up: tokenhop does.
AGENT2, MCP = "agent2.example.com", "mcp.example.com"


def environment(**more):
    """Of whoever runs an agent: without anything about proxies or trust."""
    said = ("PROXY", "CERT", "CA_", "CAINFO", "NODE_", "JAVA_", "_CA")
    kept = {name: value for name, value in os.environ.items() if not any(s in name.upper() for s in said)}
    return {**kept, **more}


@pytest.fixture(scope="module")
def named(state_folder):
    """A sandbox whose agent 2 has a name, and a port by TLS as well."""
    port = free_port()
    sandbox = harness.Sandbox(
        state_folder, f"--port-agents={port},0,0", "--port-agent2-tls=0", f"--agent2-url=http://{AGENT2}:{port}"
    ).start()
    yield sandbox
    sandbox.stop()


@pytest.fixture(scope="module")
def mcp_server(named, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mcp")
    identity = Identity(folder, "MCP", names=[x509.DNSName(MCP)])
    server = named.server("aus2")
    command = ["node", HERE / "mcp_server.mjs", server["issuer"], server["jwks_uri"], named.resource("agent2")]
    process = harness.Process()
    process._spawn([*command, identity.file, identity.file], env=environment())
    process.ports = json.loads(process.process.stdout.readline() or "{}")
    process.ca_file = identity.ca_file
    assert process.ports, process.stderr
    yield process
    process.stop(expect=None)


def change_config(config, sandbox, bases, ca_file):
    """agent2's connection at these bases, intercepted with an authority of our own."""
    agent2 = next(c for c in config["connections"] if c["name"] == "agent2")
    agent2["url"] = [f"{base}/" for base in bases]
    config["egress"]["allow"] += [f"127.0.0.1:{base.rsplit(':', 1)[1]}" for base in bases]
    config["origin"] = {"ca_file": str(ca_file)}
    config["interception"] = {"cert_file": "ca.pem", "key_file": "ca.key"}


class Agent:
    """Runs programs by `tokenhop exec` for a running tokenhop."""

    def __init__(self, hop, sandbox, bases):
        self.hop, self.sandbox, self.bases, self.options = hop, sandbox, bases, ()
        self.token = sandbox.mint()

    def command(self, *command):
        words = (harness.binary("tokenhop"), "exec", "-q", "-c", self.hop.file, *self.options, "--", *command)
        return [str(word) for word in words]

    def run(self, *command, seconds=60):
        done = subprocess.run(
            self.command(*command), env=environment(TOKEN=self.token), capture_output=True, text=True, cwd=HERE,
            timeout=seconds * SLOW,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stderr}\n{done.stdout}\n{self.hop.stderr}"
        return done.stdout

    def lines(self, *command):
        return [json.loads(line) for line in self.run(*command, *self.bases).splitlines()]


@contextlib.contextmanager
def started(sandbox, folder, bases, ca_file, change=None):
    sandbox.reset()
    config = harness.base_config(sandbox)
    change_config(config, sandbox, bases, ca_file)
    if change is not None:
        change(config)
    hop = harness.Tokenhop(config, folder, env=harness.names_known(AGENT2, MCP))
    hop.write()
    made = subprocess.run(
        [harness.binary("tokenhop"), "ca", "init", "-c", hop.file], capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 0, made.stderr
    with hop:
        yield Agent(hop, sandbox, bases)


def agent2_bases(named):
    known = named.info["agents"]["agent2"]
    return [f"http://{AGENT2}:{known['port']}", f"https://{AGENT2}:{known['tls_port']}"]


@pytest.fixture
def agent(named, tmp_path):
    with started(named, tmp_path, agent2_bases(named), named.info["agents"]["agent2"]["ca_file"]) as made:
        yield made


def check_whoami(seen, sandbox):
    assert seen["user"] == "alice" and seen["sub"] == sandbox.info["users"]["alice"]["id"]
    assert seen["chain"] == [sandbox.client_id("agent1")]
    assert seen["scopes"] == ["chat.read", "chat.history"]


def check_exchanged_once(sandbox):
    assert sandbox.exchanges("alice", "agent1-agent2") == 1
    assert sandbox.requests("org_token") == 1 and sandbox.requests("aus2_token") == 1


def check_steps(lines, agent):
    """Two calls of each base, with the one credential; and the whole of a body."""
    answers = [line for line in lines if line["step"] == "whoami"]
    assert [a["base"] for a in answers] == [base for base in agent.bases for _ in range(2)]
    assert {a["status"] for a in answers} == {200}, answers
    for answer in answers:
        check_whoami(answer["body"], agent.sandbox)
    assert len({a["body"]["token_sha256"] for a in answers}) == 1
    for echo in (line for line in lines if line["step"] == "echo"):
        assert echo["status"] == 200
        assert echo["body"]["body_sha256"].startswith(hashlib.sha256(b"x" * 100_000).hexdigest()[:8])
    check_exchanged_once(agent.sandbox)  # whatever came after


def check_events(lines, agent):
    """R25: four events, 200 ms apart, arrive so, not together."""
    for base in agent.bases:
        at = [line["at"] for line in lines if line["step"] == "event" and line["base"] == base]
        assert len(at) == 4, lines
        gaps = [later - earlier for earlier, later in zip(at, at[1:])]
        assert min(gaps) > 60 and at[-1] - at[0] > 450, gaps


@pytest.mark.parametrize("client", PYTHON)
def test_r25_python(agent, client):
    lines = agent.lines("/usr/bin/python3", "-B", "python_client.py", client)
    check_steps(lines, agent)
    check_events(lines, agent)


@pytest.mark.parametrize("client", NODE)
def test_r25_node(agent, client):
    assert (HERE.parent / "node_modules").is_dir(), "run tests/integration/install-node first"
    lines = agent.lines(shutil.which("node"), "node_client.mjs", client)
    check_steps(lines, agent)
    check_events(lines, agent)


def test_r25_deno(agent, tmp_path):
    (deno,) = (HERE.parent / "node_modules/@deno").glob("*/deno")
    deno.chmod(0o755)
    call = ("env", f"DENO_DIR={tmp_path}/deno", "DENO_NO_UPDATE_CHECK=1", deno, "run", "--allow-net", "--allow-env")
    lines = agent.lines(*call, "deno_client.mjs")
    check_steps(lines, agent)
    check_events(lines, agent)


def test_aws(agent):
    check_steps(agent.lines("/usr/bin/python3", "-B", "aws_client.py"), agent)


def test_mcp_sdk(named, mcp_server, tmp_path):
    """The MCP SDK at both ends: a server that verifies the token it gets, and a client that has none of it."""
    bases = [f"http://{MCP}:{mcp_server.ports['port']}", f"https://{MCP}:{mcp_server.ports['tls_port']}"]
    with started(named, tmp_path, bases, mcp_server.ca_file) as agent:
        lines = agent.lines(shutil.which("node"), "node_client.mjs", "mcp-sdk")
        tools = [line for line in lines if line["step"] == "tool"]
        assert [line["base"] for line in tools] == bases
        for seen in (line["body"] for line in tools):
            claims = seen["payload"]
            assert claims["sub"] == named.info["users"]["alice"]["id"]
            assert claims["act"]["sub"] == named.client_id("agent1") and claims["aud"] == named.resource("agent2")
            assert seen["token_sha256"] != hashlib.sha256(agent.token.encode()).hexdigest()
        assert len({line["body"]["token_sha256"] for line in tools}) == 1
        check_events(lines, agent)
        check_exchanged_once(named)


def go_program():
    """Built once for all processes of the tests, without the network."""
    folder = harness.BUILD / "tests/clients"
    folder.mkdir(parents=True, exist_ok=True)
    program, source = folder / "go_client", HERE / "go_client.go"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            offline = {"GOPROXY": "off", "GOFLAGS": "-mod=mod", "GO111MODULE": "off", "GOCACHE": str(folder / "cache")}
            subprocess.run(["go", "build", "-o", program, source], check=True, env=environment(**offline), timeout=300)
    return program


def test_r25_go(agent):
    lines = agent.lines(go_program())
    check_steps(lines, agent)
    check_events(lines, agent)


def test_r25_java(agent):
    """Both clients of the JDK, in one JVM."""
    lines = agent.lines("java", "-XX:TieredStopAtLevel=1", "JavaClient.java")  # it does not run for long
    for client in ("HttpClient", "HttpURLConnection"):
        own = [line for line in lines if line["client"] == client]
        check_steps(own, agent)
        check_events(own, agent)


def by_command(agent, *command):
    """A command that writes what it gets of several URLs, one after the other."""
    urls = [f"{base}/a2a/whoami" for base in agent.bases for _ in range(2)]
    text, lines = agent.run(*command, f"Authorization: Bearer {agent.token}", *urls), []
    for url in urls:
        body, end = json.JSONDecoder().raw_decode(text.lstrip())
        text = text.lstrip()[end:]
        lines.append({"base": url.removesuffix("/a2a/whoami"), "step": "whoami", "status": 200, "body": body})
    assert text.strip() == ""
    return lines


def test_curl(agent):
    lines = by_command(agent, "curl", "-sS", "--fail-with-body", "-H")
    for base in agent.bases:
        sent = agent.run("curl", "-sS", "-H", f"Authorization: Bearer {agent.token}", "-d", "x" * 100_000,
                         f"{base}/a2a/echo")  # fmt: skip
        lines.append({"base": base, "step": "echo", "status": 200, "body": json.loads(sent)})
    check_steps(lines, agent)


def test_r25_curl_sees_events_as_they_come(agent):
    lines = []
    for base in agent.bases:
        call = agent.command("curl", "-sSN", "-H", f"Authorization: Bearer {agent.token}", f"{base}/a2a/sse?n=4&ms=200")
        with subprocess.Popen(call, env=environment(), stdout=subprocess.PIPE, text=True) as curl:
            for line in curl.stdout:
                if line.startswith("data: "):
                    lines.append({"base": base, "step": "event", "at": time.monotonic() * 1000})
        assert curl.returncode == 0
    check_events(lines, agent)


def test_wget(agent):
    check_steps(by_command(agent, "wget", "-q", "-O", "-", "--header"), agent)


def test_git(agent):
    """It asks for a repository that is not there; what counts is that it got as far, with the credential."""
    for base in agent.bases:
        call = ["git", "-c", f"http.extraHeader=Authorization: Bearer {agent.token}", "ls-remote", f"{base}/a2a/x.git"]
        done = subprocess.run(agent.command(*call), env=environment(), capture_output=True, text=True, timeout=60 * SLOW)
        assert done.returncode != 0 and "certificate" not in done.stderr, done.stderr
    records = agent.sandbox.records("agent2")
    assert [r["path"] for r in records] == ["/a2a/x.git/info/refs"] * 2, records
    assert len({r["credential"] for r in records}) == 1 and records[0]["credential"] != ""
    check_exchanged_once(agent.sandbox)


TLS_CLIENTS = {
    "python": ["/usr/bin/python3", "-c", "import requests, sys; h = dict([sys.argv[1].split(': ')])\n"
               "for url in sys.argv[2:]: print(requests.get(url, headers=h).text)"],
    "node": ["node", "-e", "(async () => { const [, h, ...urls] = process.argv; const headers = [h.split(': ')];"
             " for (const url of urls) console.log(await (await fetch(url, { headers })).text()) })()"],
    "node-http": ["node", "-e", "const [, h, ...urls] = process.argv; const headers = Object.fromEntries([h.split(': ')]);"
                  " (async () => { for (const url of urls) await new Promise((done) => require(url.split(':')[0])"
                  ".get(url, { headers }, (r) => r.on('end', done).pipe(process.stdout, { end: false }))) })()"],
}  # fmt: skip


@pytest.mark.parametrize("client", TLS_CLIENTS)
def test_listener_that_speaks_tls(named, tmp_path, client):
    """The proxy's URL is https:// then, and --roots names who vouches for it."""
    authority = Identity(tmp_path, "proxies", authority=True)
    name = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    identity = Identity(tmp_path, "proxy", names=[name], issuer=authority)

    def change(config):
        config["listeners"][0]["tls"] = {"cert_file": str(identity.file), "key_file": str(identity.file)}

    with started(named, tmp_path, agent2_bases(named), named.info["agents"]["agent2"]["ca_file"], change) as agent:
        agent.options = ("--roots", authority.ca_file)
        assert agent.run("sh", "-c", "echo $http_proxy $https_proxy") == " ".join([f"https://127.0.0.1:{agent.hop.port}"] * 2) + "\n"
        check_steps(by_command(agent, *TLS_CLIENTS[client]), agent)


def test_without_proxy_nobody_is_found(agent):
    """What the tests above prove hangs on this: without the environment no client comes anywhere, and the subject token
    itself is no good at agent 2."""
    done = subprocess.run(
        ["curl", "-sS", f"{agent.bases[0]}/a2a/whoami"], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 6, done.stderr  # the name is not resolved
    port = agent.bases[0].rsplit(":", 1)[1]
    answer = agent.sandbox.http.get(
        f"http://127.0.0.1:{port}/a2a/whoami", headers={"Authorization": f"Bearer {agent.token}"}
    )
    assert answer.status_code == 401


def test_r18_public_card_without_token(agent):
    """R18: a client reads the card before it has a token; nothing is exchanged for it."""
    base, sandbox, hop = agent.bases[0], agent.sandbox, agent.hop
    for path in ("/.well-known/agent-card.json", "/.well-known/oauth-protected-resource"):
        assert hop.get(base + path).status_code == 200
        assert hop.get(base + path, agent.token).status_code == 200
    assert hop.get(base + "/.well-known/other").status_code == 401
    assert sandbox.requests("org_token") == 0
    assert [record["credential"] for record in sandbox.records("agent2")] == [""] * 4
