"""tokenhop exec: what it puts into the environment of a command, what it makes of a listener and a caller, and that it
stands between a command and whoever started it without being noticed."""

import base64
import json
import os
import pathlib
import pty
import re
import signal
import socket
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

import harness
from rawnet import SLOW
from tlsnet import Identity

SYSTEM_ROOTS = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
PROXIES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "grpc_proxy"]
DIRECT = ["no_proxy", "NO_PROXY", "no_grpc_proxy"]
BUNDLES = [
    "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE", "PIP_CERT",
    "HTTPLIB2_CA_CERTS", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
]  # fmt: skip
EXTRA = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"]
OPTIONS = ["NODE_USE_ENV_PROXY", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS"]
TRUST = [*BUNDLES, *EXTRA, "SSL_CERT_DIR", "SYSTEM_WGETRC"]
ALL = {*PROXIES, *DIRECT, *OPTIONS, *TRUST}


def certificates(path):
    """As PEM without the text around it."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----", pathlib.Path(path).read_text())
    return {x509.load_pem_x509_certificate(text.encode()).public_bytes(serialization.Encoding.DER) for text in found}


def config_of(**more):
    """Whose keys and secrets are nowhere: whoever runs an agent has none of them."""
    return {
        "listeners": [{"name": "agents", "address": "127.0.0.1:8080", "agent": "agent1"}],
        "authorization_servers": {"org": {"issuer": "https://example.okta.com", "ca_file": "none/ca.pem"}},
        "agents": {
            "agent1": {
                "client_id": "wlp1",
                "auth": {"method": "private_key_jwt", "key_file": "none/key.pem", "kid": "k"},
                "authorization_server": "org",
            }
        },
        "connections": [
            {"name": "agent2", "url": "https://agent2.example.com/", "type": "passthrough", "agents": ["agent1"]}
        ],
        "interception": {"cert_file": "ca.pem", "key_file": "none/ca.key"},
        **more,
    }


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Identity(tmp_path_factory.mktemp("authority"), "authority", authority=True)


class Exec:
    def __init__(self, folder, authority):
        self.folder, self.authority = folder, authority
        self.run_folder = folder / "run"
        self.run_folder.mkdir(mode=0o700)
        (folder / "ca.pem").write_bytes(authority.ca_file.read_bytes())
        self.write(config_of())

    def write(self, config):
        (self.folder / "tokenhop.jsonc").write_text(json.dumps(config, indent=1))

    def environment(self, **more):
        kept = {name: value for name, value in os.environ.items() if name.upper() not in {n.upper() for n in ALL}}
        return {**kept, "XDG_RUNTIME_DIR": str(self.run_folder), **more}

    def argv(self, *args):
        return [str(word) for word in (harness.binary("tokenhop"), "exec", "-c", self.folder / "tokenhop.jsonc", *args)]

    def run(self, *args, status=0, **env):
        done = subprocess.run(
            self.argv(*args), env=self.environment(**env), capture_output=True, text=True, timeout=60 * SLOW
        )
        assert done.returncode == status, done.stderr
        for sign in ("Sanitizer", "runtime error:"):
            assert sign not in done.stderr, done.stderr
        return done

    def seen(self, *options, code="", **env):
        """The environment that a command gets, and what `code` notes in `more` while it runs."""
        script = f"import json, os, pathlib, ssl\nmore = {{}}\n{code}\nprint(json.dumps([dict(os.environ), more]))"
        done = self.run(*options, "--", "/usr/bin/python3", "-B", "-c", script, **env)
        variables, more = json.loads(done.stdout)
        return (variables, more) if code else variables

    def leftovers(self):
        return list(self.run_folder.iterdir())


@pytest.fixture
def command(tmp_path, authority):
    made = Exec(tmp_path, authority)
    yield made
    assert made.leftovers() == []  # whatever happened


def bare_config(**more):
    """Without an authority, where the files of trust do not matter: writing them is most of what exec takes."""
    return {name: value for name, value in config_of(**more).items() if name != "interception"}


@pytest.fixture
def bare(command):
    command.write(bare_config())
    return command


# --- variables ---


def test_exec_sets_every_variable(command):
    """And nothing else: all that was there is there, and no secret of the configuration was read for it."""
    seen = command.seen()
    before = command.environment()
    assert {name for name in seen if seen[name] != before.get(name)} - {"LC_CTYPE"} == ALL
    assert set(before) <= set(seen)
    assert {seen[name] for name in PROXIES} == {"http://127.0.0.1:8080"}
    assert {seen[name] for name in DIRECT} == {"localhost,127.0.0.1,::1"}
    assert seen["NODE_USE_ENV_PROXY"] == "1"
    assert len({seen[name] for name in BUNDLES}) == 1 and len({seen[name] for name in EXTRA}) == 1
    java = seen["JAVA_TOOL_OPTIONS"].split(" ")
    for scheme in ("http", "https"):
        assert f"-D{scheme}.proxyHost=127.0.0.1" in java and f"-D{scheme}.proxyPort=8080" in java
    assert "-Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]" in java


def test_exec_without_interception(command):
    command.write(bare_config())
    seen = command.seen()
    assert {name for name in ALL if name in seen} == {*PROXIES, *DIRECT, *OPTIONS}
    assert "trustStore" not in seen["JAVA_TOOL_OPTIONS"]
    noted = command.run("--", "true").stderr
    assert "not intercepted" in noted and "http://" in noted
    assert "not intercepted" not in command.run("-q", "--", "true").stderr


BUNDLE_CODE = """
folder = pathlib.Path(os.environ["SSL_CERT_FILE"]).parent
more["mode"] = folder.stat().st_mode & 0o7777
more["names"] = sorted(p.name for p in folder.iterdir())
for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
    more[name] = pathlib.Path(os.environ[name]).read_text()
more["hashed"] = [p.read_text() for p in pathlib.Path(os.environ["SSL_CERT_DIR"]).iterdir()]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations(capath=os.environ["SSL_CERT_DIR"])
more["folder"] = str(folder)
"""


def read(tmp_path, text):
    (tmp_path / "read.pem").write_text(text)
    return certificates(tmp_path / "read.pem")


def test_exec_adds_to_the_roots(command, authority, tmp_path):
    """One bundle of the system's roots and the authority, and the same as a folder; private, of certificates only."""
    _, more = command.seen(code=BUNDLE_CODE)
    roots = certificates(SYSTEM_ROOTS)
    assert len(roots) > 50
    assert read(tmp_path, more["SSL_CERT_FILE"]) == roots | {authority.der}
    assert read(tmp_path, more["NODE_EXTRA_CA_CERTS"]) == {authority.der}
    assert read(tmp_path, "".join(more["hashed"])) == roots | {authority.der}
    assert more["mode"] == 0o700 and pathlib.Path(more["folder"]).parent == command.run_folder
    assert more["names"] == ["authority.pem", "bundle.pem", "node-proxy.cjs", "tokenhop-certs", "truststore.p12", "wgetrc"]
    assert "PRIVATE" not in more["SSL_CERT_FILE"]
    assert not pathlib.Path(more["folder"]).exists()


def test_exec_folder_is_looked_up_by_openssl(command, authority):
    """As OpenSSL looks up: by the hash of the subject."""
    done = command.run(
        "--", "sh", "-c", 'openssl verify -CApath "$SSL_CERT_DIR" -no-CAfile -no-CAstore "$0"', authority.ca_file
    )
    assert "OK" in done.stdout


def test_exec_keeps_what_was_trusted(command, authority, tmp_path):
    """What a variable names already is added to, for that variable; keys in such a file stay where they are."""
    other = Identity(tmp_path, "other", authority=True)
    code = "more = {n: pathlib.Path(os.environ[n]).read_text() for n in ('SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE', 'NODE_EXTRA_CA_CERTS')}"
    variables, more = command.seen(
        code=code, REQUESTS_CA_BUNDLE=str(other.file), NODE_EXTRA_CA_CERTS=str(other.ca_file),
        SSL_CERT_DIR="/own/certs", CURL_CA_BUNDLE=str(SYSTEM_ROOTS),
    )  # fmt: skip
    assert read(tmp_path, more["REQUESTS_CA_BUNDLE"]) == {other.der, authority.der}
    assert "PRIVATE" not in more["REQUESTS_CA_BUNDLE"]
    assert read(tmp_path, more["NODE_EXTRA_CA_CERTS"]) == {other.der, authority.der}
    assert read(tmp_path, more["SSL_CERT_FILE"]) == certificates(SYSTEM_ROOTS) | {authority.der}
    assert variables["SSL_CERT_DIR"].startswith("/own/certs:/")
    assert variables["CURL_CA_BUNDLE"] == variables["SSL_CERT_FILE"]  # the system's roots are not copied twice
    missing = command.run("--", "true", status=1, SSL_CERT_FILE="/none.pem").stderr
    assert "/none.pem" in missing and "the environment names it" in missing


def test_exec_roots_of_ones_own(command, authority, tmp_path):
    other = Identity(tmp_path, "other", authority=True)
    code = "more['pem'] = pathlib.Path(os.environ['SSL_CERT_FILE']).read_text()"
    _, more = command.seen("--roots", str(other.ca_file), code=code, SSL_CERT_FILE=str(SYSTEM_ROOTS))
    assert read(tmp_path, more["pem"]) == {other.der, authority.der}
    command.write(bare_config())
    # roots alone, of a proxy that speaks TLS; what has roots of its own does not know them
    code = "more['pem'] = pathlib.Path(os.environ['NODE_EXTRA_CA_CERTS']).read_text()"
    seen, more = command.seen("--roots", str(other.ca_file), code=code)
    assert set(TRUST) <= set(seen) and "trustStore" in seen["JAVA_TOOL_OPTIONS"]
    assert read(tmp_path, more["pem"]) == {other.der}
    command.write(config_of())
    for bad, why in (("/none.pem", "No such file"), (str(command.folder / "tokenhop.jsonc"), "no certificates")):
        refused = command.run("--roots", bad, "--", "true", status=1).stderr
        assert why in refused and "install ca-certificates" in refused and "--roots FILE" in refused


def test_exec_appends_options(command):
    seen = command.seen(NODE_OPTIONS="--max-old-space-size=100", JAVA_TOOL_OPTIONS="-Dx=y")
    assert re.fullmatch(r"--max-old-space-size=100 --require=/\S+/node-proxy\.cjs", seen["NODE_OPTIONS"])
    assert seen["JAVA_TOOL_OPTIONS"].startswith("-Dx=y -Dhttp.proxyHost=")
    chosen = "-Djavax.net.ssl.trustStore=/own.p12"
    assert command.seen(JAVA_TOOL_OPTIONS=chosen)["JAVA_TOOL_OPTIONS"].count("trustStore") == 1
    assert "keytool" in command.run("--", "true", JAVA_TOOL_OPTIONS=chosen).stderr


def test_exec_paths_with_blanks(command, tmp_path):
    """Both Node and the JVM part their options at blanks."""
    folder = tmp_path / "a b"
    done = command.run("--dir", folder, "--", "node", "-e", "console.log(process.env.NODE_OPTIONS)")
    assert done.stdout.strip() == f'--require="{folder}/node-proxy.cjs"'
    done = command.run("-q", "--dir", folder, "--", "java", "-XshowSettings:properties", "-version")
    assert f"javax.net.ssl.trustStore = {folder}/truststore.p12" in done.stderr


# --- what is called without the proxy ---


def test_exec_no_proxy(bare):
    """Loopback, unless a connection is there; and nothing that the environment says, which could lead around it."""
    assert bare.seen("--no-proxy", ".internal,10.0.0.1")["no_proxy"] == "localhost,127.0.0.1,::1,.internal,10.0.0.1"
    inherited = bare.run("--", "sh", "-c", "echo $no_proxy$NO_PROXY", no_proxy="agent2.example.com", NO_PROXY="*")
    assert inherited.stdout.strip() == "localhost,127.0.0.1,::1" * 2
    assert "--no-proxy" in inherited.stderr
    for host in ("127.0.0.1:9000", "localhost", "127.9.9.9", "[::1]:80", "x.localhost"):
        config = bare_config(egress={"allow": ["127.0.0.0/8", "[::1]:80"]})
        config["connections"][0]["url"] = f"http://{host}/"
        bare.write(config)
        seen = bare.seen()
        # nothing but the proxy itself, which whoever asks it need not be asked about
        assert {seen[name] for name in DIRECT} == {"127.0.0.1:8080"}, host
        assert seen["JAVA_TOOL_OPTIONS"].endswith(" -Dhttp.nonProxyHosts=")
    java = bare.seen("--no-proxy", ".internal,x:80,10.0.0.1")["JAVA_TOOL_OPTIONS"]
    assert java.endswith(" -Dhttp.nonProxyHosts=*.internal|10.0.0.1")


# --- listeners and callers ---


@pytest.mark.parametrize(
    "address, place",
    [
        ("0.0.0.0:8080", "127.0.0.1:8080"),
        ("[::]:8080", "[::1]:8080"),
        ("[::1]:81", "[::1]:81"),
        ("10.1.2.3:8080", "10.1.2.3:8080"),
    ],
)
def test_exec_address_of_the_listener(bare, address, place):
    config = bare_config()
    config["listeners"][0]["address"] = address
    bare.write(config)
    seen = bare.seen()
    assert seen["http_proxy"] == f"http://{place}"
    assert seen["no_proxy"].endswith(",10.1.2.3:8080" if place == "10.1.2.3:8080" else ",::1")
    host = place.rsplit(":", 1)[0].strip("[]")
    assert f"-Dhttp.proxyHost={host} " in seen["JAVA_TOOL_OPTIONS"]


def test_exec_chooses_a_listener(bare):
    config = bare_config()
    config["listeners"] += [
        {"name": "more", "address": "127.0.0.1:8081", "agent": "agent1"},
        {"name": "mesh", "address": "127.0.0.1:8082", "agent": "agent1", "mode": "gateway"},
    ]
    bare.write(config)
    several = bare.run("--", "true", status=2).stderr
    assert "--listener" in several and "agents at 127.0.0.1:8080" in several and "more at" in several
    assert bare.seen("--listener", "more")["http_proxy"] == "http://127.0.0.1:8081"
    assert "gateway" in bare.run("--listener", "mesh", "--", "true", status=2).stderr
    assert "no listener has the name" in bare.run("--listener", "x", "--", "true", status=2).stderr
    del config["listeners"][1]
    bare.write(config)
    assert bare.seen()["http_proxy"] == "http://127.0.0.1:8080"  # the only one of its mode
    config["listeners"] = config["listeners"][1:]
    bare.write(config)
    assert "no listener of mode forward" in bare.run("--", "true", status=2).stderr


@pytest.fixture
def asking(command):
    config = bare_config()
    del config["listeners"][0]["agent"]
    config["callers"] = [
        {"name": "one", "agent": "agent1", "basic": {"user": "te/am@1", "password_file": "one.pw"}},
        {"name": "two", "agent": "agent1", "basic": {"user": "two", "password": {"env": "TWO_PASSWORD"}}},
        {"name": "robot", "agent": "agent1", "bearer": {"token_file": "none"}},
    ]
    command.write(config)
    (command.folder / "one.pw").touch(0o600)
    (command.folder / "one.pw").write_text("p@ss:w/rd %\xe9 long\n")
    return command


def test_exec_password_of_a_caller(asking):
    """Percent-encoded, from the file or variable of that caller; of others nothing is read."""
    url = "http://te%2Fam%401:p%40ss%3Aw%2Frd%20%25%C3%A9%20long@127.0.0.1:8080"
    assert asking.seen("--caller", "one")["https_proxy"] == url
    assert asking.seen("--caller", "two", TWO_PASSWORD="secret-two")["http_proxy"] == "http://two:secret-two@127.0.0.1:8080"
    assert "TWO_PASSWORD" in asking.run("--caller", "two", "--", "true", status=1).stderr
    assert "--caller" in asking.run("--", "true", status=2).stderr
    assert "no caller has the name" in asking.run("--caller", "x", "--", "true", status=2).stderr
    assert "something else" in asking.run("--caller", "robot", "--", "true", status=2).stderr
    (asking.folder / "one.pw").chmod(0o644)
    refused = asking.run("--caller", "one", "--", "true", status=1).stderr
    assert "one.pw" in refused and "p@ss" not in refused
    asking.write(config_of())
    assert "asks nobody" in asking.run("--caller", "one", "--", "true", status=2).stderr


def test_exec_password_works_in_clients(asking):
    """What is sent is what the proxy asks for: RFC 7617 of the user and password, decoded."""
    server = socket.create_server(("127.0.0.1", 0))
    config = json.loads((asking.folder / "tokenhop.jsonc").read_text())
    config["listeners"][0]["address"] = f"127.0.0.1:{server.getsockname()[1]}"
    asking.write(config)
    (asking.folder / "one.pw").write_text("p@ss:w/rd % long\n")
    wanted = b"proxy-authorization: basic " + base64.b64encode(b"te/am@1:p@ss:w/rd % long").lower()
    clients = [
        ["curl", "-s", "http://agent2.example.com/"],
        ["/usr/bin/python3", "-c", "import requests; requests.get('http://agent2.example.com/')"],
        ["node", "-e", "fetch('http://agent2.example.com/')"],
        ["node", "-e", "require('http').get('http://agent2.example.com/')"],
    ]
    for client in clients:
        process = subprocess.Popen(asking.argv("-q", "--caller", "one", "--", *client), env=asking.environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        server.settimeout(60 * SLOW)
        try:
            # whether somebody accepts is looked at first
            got = b""
            while b"\r\n\r\n" not in got:
                wire = server.accept()[0]
                got = b""
                while b"\r\n\r\n" not in got and (piece := wire.recv(65536)):
                    got += piece
            assert wanted in got.lower(), (client, got)
            wire.close()
        finally:
            process.terminate()
            process.wait(60)
    server.close()


def test_exec_host_of_elsewhere(bare):
    """A container calls the proxy by another name than its address."""
    assert bare.seen("--host", "tokenhop.internal")["http_proxy"] == "http://tokenhop.internal:8080"
    assert bare.seen("--host", "[fd00::1]")["http_proxy"] == "http://[fd00::1]:8080"
    assert "-Dhttp.proxyHost=fd00::1 " in bare.seen("--host", "[fd00::1]")["JAVA_TOOL_OPTIONS"]
    assert bare.seen("--host", "tokenhop:81")["http_proxy"] == "http://tokenhop:81"
    assert bare.seen("--host", "[fd00::1]:81")["http_proxy"] == "http://[fd00::1]:81"
    for bad in ("", "a/b", "a b", "u@h", "[]", "[::1", "[::1]81", "a:", "a:0", "a:70000", "a:b", "a\n", "x" * 300):
        assert "--host" in bare.run("--host", bad, "--", "true", status=2).stderr


def test_exec_unix_listener(bare):
    """No variable can say where it is; a listener with a port is taken where there is one."""
    config = bare_config()
    config["listeners"].append({"name": "local", "address": f"unix:{bare.folder}/x.sock", "agent": "agent1"})
    bare.write(config)
    assert bare.seen()["http_proxy"] == "http://127.0.0.1:8080"
    assert "curl --unix-socket" in bare.run("--listener", "local", "--", "true", status=2).stderr
    del config["listeners"][0]
    bare.write(config)
    assert "curl --unix-socket" in bare.run("--", "true", status=2).stderr


def test_exec_socket_of_a_supervisor(bare):
    """Where that listens is not in the configuration."""
    config = bare_config()
    config["listeners"][0]["address"] = "systemd:agents"
    bare.write(config)
    assert "--host HOST:PORT" in bare.run("--", "true", status=2).stderr
    assert "--host HOST:PORT" in bare.run("--host", "tokenhop", "--", "true", status=2).stderr
    assert bare.seen("--host", "10.0.0.1:3128")["http_proxy"] == "http://10.0.0.1:3128"


def test_exec_withholds_secrets(bare):
    """Variables that the configuration takes secrets from are none of the agent's."""
    config = bare_config()
    config["agents"]["agent1"]["auth"] = {"method": "client_secret_post", "secret": {"env": "AGENT_SECRET"}}
    config["connections"].append({"name": "api", "url": "https://api.example.com/", "type": "static",
                                  "value": {"env": "API_KEY"}, "agents": ["agent1"]})  # fmt: skip
    bare.write(config)
    seen = bare.seen(AGENT_SECRET="secret-1", API_KEY="secret-2", API_KEY_ID="x", AGENT="y")
    assert "AGENT_SECRET" not in seen and "API_KEY" not in seen
    assert seen["API_KEY_ID"] == "x" and seen["AGENT"] == "y"


# --- the command ---


@pytest.mark.parametrize("status", [0, 1, 2, 77, 255])
def test_exec_ends_as_its_command(bare, status):
    bare.run("-q", "--", "sh", "-c", f"exit {status}", status=status)


@pytest.mark.parametrize("name", ["TERM", "KILL", "ABRT"])
def test_exec_ends_as_its_command_by_signal(bare, name):
    bare.run("-q", "--", "sh", "-c", f"ulimit -c 0; kill -{name} $$", status=128 + getattr(signal, f"SIG{name}"))


def test_exec_of_what_is_no_command(bare, tmp_path):
    assert "not there" in bare.run("-q", "--", "no-such-command-anywhere", status=127).stderr
    assert "not there" in bare.run("-q", "--", tmp_path / "none", status=127).stderr
    (tmp_path / "text").write_text("x")
    assert "cannot be executed" in bare.run("-q", "--", tmp_path / "text", status=126).stderr
    assert "cannot be executed" in bare.run("-q", "--", tmp_path, status=126).stderr


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH"])
def test_exec_passes_signals_on(bare, name):
    """To the command, which decides what becomes of it; the folder goes away whatever that is."""
    number = getattr(signal, f"SIG{name}")
    script = (
        "import os, signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: (print('got it', flush=True), sys.exit(9)))\n"
        "print(os.path.dirname(os.environ['NODE_OPTIONS'].split('=')[1]), flush=True)\n"
        "while True: signal.pause()\n"
    )
    process = subprocess.Popen(bare.argv("-q", "--", "/usr/bin/python3", "-c", script), env=bare.environment(),
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    folder = pathlib.Path(process.stdout.readline().strip())
    assert folder.is_dir()
    process.send_signal(number)
    assert process.communicate(timeout=60 * SLOW)[0] == "got it\n"
    assert process.returncode == 9 and not folder.exists()


def test_exec_signal_that_ends_it(bare):
    process = subprocess.Popen(bare.argv("-q", "--", "sh", "-c", "echo ready; exec sleep 1000"),
                               env=bare.environment(), stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(60 * SLOW) == 128 + signal.SIGTERM
    process.stdout.close()


def test_exec_of_the_terminal_the_command_hears_once(bare):
    """^C goes to the whole group: the command must not get it twice."""
    script = (
        "import signal, time\n"
        "n = []\n"
        "signal.signal(signal.SIGINT, lambda *_: n.append(1))\n"
        "print('ready', flush=True)\n"
        "while not n: signal.pause()\n"
        "time.sleep(0.5)\n"
        "print('times', len(n), flush=True)\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(harness.binary("tokenhop"), bare.argv("-q", "--", "/usr/bin/python3", "-c", script),
                  bare.environment())  # fmt: skip
    text = b""
    while b"ready" not in text:
        text += os.read(terminal, 4096)
    os.write(terminal, b"\x03")
    while b"times" not in text or not text.endswith(b"\n"):
        text += os.read(terminal, 4096)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert b"times 1" in text, text


def test_exec_inherits_nothing_odd(bare):
    """The command's mask, dispositions and descriptors are as if it had been started directly."""
    code = "print([line for line in open('/proc/self/status') if line[:4] in ('SigB', 'SigI', 'SigC', 'NoNe')], sorted(os.listdir('/proc/self/fd')))"
    argv = ["/usr/bin/python3", "-c", f"import os\n{code}"]
    ignoring = lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    direct = subprocess.run(argv, env=bare.environment(), capture_output=True, text=True, preexec_fn=ignoring)
    done = subprocess.run(bare.argv("-q", "--", *argv), env=bare.environment(), capture_output=True, text=True,
                          preexec_fn=ignoring)  # fmt: skip
    assert done.returncode == 0 and done.stdout == direct.stdout


# --- print, explain, notes ---


def test_exec_print(command, authority, tmp_path):
    """Exports for a shell, whose files stay; a quote in a value ends nothing."""
    folder = tmp_path / "it's here"
    refused = command.run("--print", status=2).stderr
    assert "--dir" in refused
    exports = command.run("-q", "--print", "--dir", folder).stdout
    script = exports + "printf '%s\\n' \"$http_proxy\" \"$SSL_CERT_FILE\" \"$NODE_OPTIONS\""
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=command.environment())
    proxy, bundle, options = done.stdout.splitlines()
    assert proxy == "http://127.0.0.1:8080" and bundle == f"{folder}/bundle.pem"
    assert authority.der in certificates(bundle)
    assert options == f'--require="{folder}/node-proxy.cjs"'
    assert {line.split("=")[0] for line in exports.splitlines()} == {f"export {name}" for name in ALL}
    # again, with another authority: nothing of the first stays, and all of the user's
    (folder / "certs").mkdir()
    (folder / "certs" / "listener.pem").write_text("mine")
    other = Identity(tmp_path, "other", authority=True)
    (command.folder / "ca.pem").write_bytes(other.ca_file.read_bytes())
    command.run("-q", "--print", "--dir", folder)
    hashed = {der for path in (folder / "tokenhop-certs").iterdir() for der in certificates(path)}
    assert hashed == certificates(bundle) == certificates(SYSTEM_ROOTS) | {other.der}
    assert (folder / "certs" / "listener.pem").read_text() == "mine"
    (folder / "tokenhop-certs" / "mine.pem").write_text("mine")
    assert command.run("-q", "--print", "--dir", folder, status=1).stderr.count("tokenhop-certs") == 1
    assert (folder / "tokenhop-certs" / "mine.pem").read_text() == "mine"


def test_exec_overwrites_nothing_that_it_has_not_made(command, authority, tmp_path):
    """A bundle of the user's that has the name of ours, whatever it is; one of ours goes with each new authority."""
    folder = tmp_path / "shared"
    run = lambda status=0: command.run("-q", "--print", "--dir", folder, status=status).stderr
    folder.mkdir()
    mine, away = folder / "bundle.pem", tmp_path / "away.pem"
    away.write_text("mine too\n")
    for make in (lambda: mine.write_text("mine\n"), lambda: mine.symlink_to(away), mine.mkdir, lambda: os.mkfifo(mine)):
        make()
        assert str(mine) in (said := run(1)) and "not overwritten" in said
        if mine.is_dir():
            mine.rmdir()
        else:
            assert mine.is_fifo() or mine.read_text().startswith("mine")
            mine.unlink()
    assert away.read_text() == "mine too\n"
    run()
    files = {path.name for path in folder.iterdir()}
    before = mine.read_bytes()
    run()  # the same once more
    assert mine.read_bytes() == before and {path.name for path in folder.iterdir()} == files
    other = Identity(tmp_path, "other", authority=True)
    (command.folder / "ca.pem").write_bytes(other.ca_file.read_bytes())
    run()
    assert other.der in certificates(mine) and authority.der not in certificates(mine)
    (command.folder / "ca.pem").write_bytes(authority.ca_file.read_bytes())
    run()  # what it has made before is its own as well
    assert mine.read_bytes() == before
    checked = subprocess.run(["sha256sum", "-c", "tokenhop-exec.made"], cwd=folder, capture_output=True, text=True)
    assert "bundle.pem: OK" in checked.stdout
    for name in sorted(files - {"tokenhop-certs"}):
        text = (folder / name).read_bytes()
        (folder / name).write_bytes(text + b"# mine\n")
        if name != "tokenhop-exec.made":
            assert name in run(1)
        assert (folder / name).read_bytes() == text + b"# mine\n"
        (folder / name).write_bytes(text)
    run()
    for name in ("bundle.pem", "tokenhop-exec.made") if os.geteuid() == 0 else ():  # another's, who could change it
        os.chown(folder / name, 65534, -1)
        assert name in run(1)
        os.chown(folder / name, 0, -1)
    run()


def test_exec_folder_of_others_is_refused(command, tmp_path):
    """Who could write there would say what the agent's Node loads."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    assert "others can write" in command.run("--dir", folder, "--", "true", status=1).stderr
    assert list(folder.iterdir()) == []


def test_exec_takes_no_folder_that_others_own(bare, tmp_path):
    """XDG_RUNTIME_DIR of another user: its owner could put another folder in the place of ours."""
    open_folder, sticky = tmp_path / "open", tmp_path / "sticky"
    for folder, mode in ((open_folder, 0o777), (sticky, 0o1777)):
        folder.mkdir()
        folder.chmod(mode)
    code = "more['place'] = os.environ['NODE_OPTIONS'].split('=')[1]"
    _, more = bare.seen(code=code, XDG_RUNTIME_DIR=str(open_folder), TMPDIR=str(sticky))
    assert pathlib.Path(more["place"]).parent.parent == sticky


@pytest.mark.parametrize("name", ["a:b", 'a"b', "a\\b", "a\nb"])
def test_exec_folder_that_no_variable_can_name(bare, tmp_path, name):
    assert "variables cannot hold" in bare.run("--dir", tmp_path / name, "--", "true", status=1).stderr


def test_exec_leaves_a_private_wgetrc(command, tmp_path):
    """It may hold a password, and what is in the folder is for everybody to read."""
    own = tmp_path / "wgetrc"
    own.write_text("timeout = 77\n")
    code = "more['text'] = pathlib.Path(os.environ['SYSTEM_WGETRC']).read_text()"
    own.chmod(0o644)
    variables, more = command.seen(code=code, SYSTEM_WGETRC=str(own))
    assert more["text"] == f"timeout = 77\n\nca_certificate = {variables['SSL_CERT_FILE']}\n"
    own.chmod(0o600)
    assert command.seen(SYSTEM_WGETRC=str(own))["SYSTEM_WGETRC"] == str(own)


def test_exec_as_process_1_leaves_no_zombies(bare):
    """In a container orphans become its children: here by PR_SET_CHILD_SUBREAPER, which outlives execve()."""
    import ctypes

    script = (
        "import os, sys, time, pathlib\n"
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    orphan = os.fork()\n"
        "    if orphan == 0: os.read(read, 1); os._exit(0)\n"
        "    print(orphan, flush=True); os._exit(0)\n"
        "os.wait()\n"
        "print(os.getppid(), flush=True)\n"
        "sys.stdin.readline()\n"
        "os.write(write, b'x')\n"
        "sys.stdin.readline()\n"
    )
    process = subprocess.Popen(
        bare.argv("-q", "--", "/usr/bin/python3", "-c", script), env=bare.environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lambda: ctypes.CDLL(None).prctl(36, 1),
    )  # fmt: skip
    orphan = pathlib.Path("/proc") / process.stdout.readline().strip() / "stat"
    assert int(process.stdout.readline()) == process.pid
    assert int(orphan.read_text().rsplit(")", 1)[1].split()[1]) == process.pid
    process.stdin.write("\n")
    process.stdin.flush()
    harness.wait_until(lambda: not orphan.exists(), seconds=30 * SLOW)
    process.communicate("\n")
    assert process.returncode == 0


def explained():
    done = subprocess.run([harness.binary("tokenhop"), "exec", "--explain"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    blocks = re.findall(r"^(\S+)\n  reads    (.*)\n((?:  .*\n)*)", done.stdout, re.M)
    return {name: (set(reads.split()), re.findall(r"^  (?:ignores )? *(.+)$", notes, re.M)) for name, reads, notes in blocks}


def test_exec_explain(command):
    """The runtimes read no variable that is not set, and each that is set is read by one."""
    runtimes = explained()
    assert set().union(*(reads for reads, _ in runtimes.values())) == ALL
    assert list(runtimes) == ["curl", "wget", "git", "python", "node", "deno", "go", "java", "grpc", "aws"]
    assert all(notes for _, notes in runtimes.values())
    one = subprocess.run([harness.binary("tokenhop"), "exec", "--explain", "node"], capture_output=True, text=True)
    assert one.stdout.startswith("node\n") and "NODE_OPTIONS" in one.stdout and "curl" not in one.stdout
    none = subprocess.run([harness.binary("tokenhop"), "exec", "--explain", "cobol"], capture_output=True, text=True)
    assert none.returncode == 2


def test_exec_documents_the_table():
    """docs/clients.md has a section a runtime, with just these variables and every note of what it ignores."""
    text = (harness.SOURCE / "docs/clients.md").read_text()
    sections = dict(re.findall(r"^### (\S+)\n(.*?)(?=^##|\Z)", text, re.M | re.S))
    plain = lambda markdown: re.sub(r"\s+", " ", markdown.replace("`", "").replace("\\*", "*"))
    runtimes = explained()
    assert set(sections) == set(runtimes)
    for name, (reads, notes) in runtimes.items():
        row = re.search(r"^Reads (.+?)\.$", sections[name], re.M | re.S)
        assert row and set(re.findall(r"`(\w+)`", row[1])) == reads, name
        for note in notes:
            assert plain(note) in plain(sections[name]), (name, note)


def test_exec_notes_what_a_runtime_ignores(bare, tmp_path):
    """By the command's name, by the interpreter of a script, by what Go's linker leaves in a program."""
    shebangs = {
        "a": ("#!/usr/bin/python3\n", "python ignores"),
        "b": ("#!/usr/bin/env python3\n", "python ignores"),
        "c": ("#!/usr/bin/env -S PYTHONPATH=x python3 -B\n", "python ignores"),
        "d": ("#!/usr/bin/env node\n", "node ignores"),
        "e": ("#!/bin/sh\n", None),
        "f": ("#!", None),
        "g": ("", None),
    }
    for name, (text, wanted) in shebangs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
        done = subprocess.run(bare.argv("--", tmp_path / name), env=bare.environment(), capture_output=True,
                              text=True, timeout=60 * SLOW)  # fmt: skip
        assert (wanted or " ignores") in done.stderr if wanted else " ignores" not in done.stderr, (name, done.stderr)
    assert "aiohttp" in bare.run("--", "python3", "-c", "").stderr
    assert "ignores" not in bare.run("--", "true").stderr


def test_exec_notes_that_go_ignores_loopback(bare):
    from test_clients import go_program

    assert "ignores" not in bare.run("--", go_program()).stderr
    config = bare_config(egress={"allow": ["127.0.0.1:9000"]})
    config["connections"][0]["url"] = "http://127.0.0.1:9000/"
    bare.write(config)
    assert "go ignores: Go never asks a proxy for localhost" in bare.run("--", go_program()).stderr


def test_exec_notes_that_java_ignores_passwords(asking):
    assert "Authenticator" in asking.run("--caller", "one", "--", "java", "-version").stderr


def test_exec_notes_that_nobody_listens(bare):
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = bare_config()
        config["listeners"][0]["address"] = f"127.0.0.1:{server.getsockname()[1]}"
        bare.write(config)
        assert "nobody accepts" not in bare.run("--", "true").stderr
    noted = bare.run("--", "true").stderr
    assert "nobody accepts connections" in noted and "tokenhop run -c" in noted


def test_exec_usage(command):
    for args, what in (
        (["true"], "after --"),
        (["--"], "after --"),
        ([], "after --"),
        (["--print", "--dir", "x", "--", "true"], "--print runs nothing"),
        (["--nonsense", "--", "true"], "--nonsense"),
    ):
        assert what in command.run(*args, status=2).stderr
    nothing = subprocess.run([harness.binary("tokenhop"), "exec", "--", "true"], capture_output=True, text=True)
    assert nothing.returncode == 2 and "-c FILE" in nothing.stderr
    (command.folder / "tokenhop.jsonc").write_text('{"listener": []}')
    assert "tokenhop.jsonc:1:" in command.run("--", "true", status=2).stderr
    (command.folder / "ca.pem").unlink()
    command.write(config_of())
    assert "tokenhop ca init" in command.run("--", "true", status=1).stderr
