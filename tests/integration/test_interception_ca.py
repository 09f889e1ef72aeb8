"""What the authority of `tokenhop ca init` is good for, and how callers come to trust it (R19)."""

import os
import re
import shlex
import ssl
import subprocess

import pytest

from harness import ORIGIN
from test_interception import Inside, ca, inner, intercepting, origin  # noqa: F401
from tlsnet import Identity


def issue(hop, folder, name, subject, extensions=""):
    """By the authority's key, in whose name a thief would."""
    (folder / f"{name}.ext").write_text(extensions)
    made = subprocess.run(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        f" -keyout {name}.key -subj '{subject}' -out {name}.csr &&"
        f" openssl x509 -req -in {name}.csr -CA {hop.folder}/ca.pem -CAkey {hop.folder}/ca.key -days 1"
        f" -extfile {name}.ext -out {name}.pem", shell=True, cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder / f"{name}.pem"


def verify(hop, pem, *options):
    return subprocess.run(
        ["openssl", "verify", *options, "-CAfile", hop.ca_file, pem], capture_output=True, text=True
    )


NAMES = {  # refused whatever it is for
    "another host": ("/O=x", "subjectAltName=DNS:other.example.com"),
    "a common name": ("/CN=other.example.com", ""),
    "address": ("/O=x", "subjectAltName=IP:10.0.0.1"),
    "address 6": ("/O=x", "subjectAltName=IP:2001:db8::1"),
    "workload": ("/O=x", "subjectAltName=URI:spiffe://example.org/agent"),
    "workload besides": ("/O=x", f"subjectAltName=DNS:{ORIGIN},URI:spiffe://example.org/agent"),
    "link": ("/O=x", "subjectAltName=URI:https://other.example.com/"),
    "mail": ("/O=x", "subjectAltName=email:alice@example.com"),
    "mail in the subject": ("/CN=x/emailAddress=alice@example.com", ""),
}
BARE = ("/O=example/CN=alice", "")
OWN = ("/O=x", f"subjectAltName=DNS:{ORIGIN}")


def test_R19_the_key_forges_nothing_else(intercepting, origin, tmp_path):  # noqa: F811
    hop = intercepting(origin.port, begin=False)
    assert ca("init", hop).returncode == 0
    own = issue(hop, tmp_path, "own", *OWN)
    assert verify(hop, own, "-purpose", "sslserver", "-verify_hostname", ORIGIN).returncode == 0
    for number, (what, named) in enumerate(NAMES.items()):
        done = verify(hop, issue(hop, tmp_path, f"n{number}", *named))
        assert done.returncode != 0, (what, done.stdout)
    for number, named in enumerate((OWN, BARE)):
        for purpose, usage in {
            "sslclient": "clientAuth", "smimesign": "emailProtection", "smimeencrypt": "emailProtection"
        }.items():  # fmt: skip
            said = f"{named[1]}\nextendedKeyUsage={usage}\n"
            done = verify(hop, issue(hop, tmp_path, f"{purpose}{number}", named[0], said), "-purpose", purpose)
            assert done.returncode != 0 and "purpose" in done.stderr, (purpose, named, done)
    shown = ca("show", hop)
    assert "good for     servers of TLS alone" in shown.stdout


def test_R19_an_authority_for_more_than_servers_still_serves(sandbox, intercepting, origin, tmp_path):  # noqa: F811
    """As those of earlier versions: `ca show` says what it is worth to a thief."""
    old = Identity(tmp_path, "Old", authority=True)

    def change(config):
        config["interception"] = {"cert_file": str(old.ca_file), "key_file": str(old.file)}

    hop = intercepting(origin.port, change=change, begin=False)
    hop.start()
    with Inside(hop, origin.port, context=ssl.create_default_context(cafile=old.ca_file)) as wire:
        wire.send(inner(origin.port, sandbox.mint()))
        assert wire.read().status == 200
    assert "more than servers of TLS" in ca("show", hop).stdout


NODE = """
const [proxy, host, port, token] = process.argv.slice(1);
require("http").request({ host: "127.0.0.1", port: proxy, method: "CONNECT", path: `${host}:${port}` })
  .on("connect", (_, socket) => require("https").get(
    { socket, servername: host, host, port, path: "/x", agent: false, headers: { Authorization: `Bearer ${token}` } },
    (answer) => { console.log(answer.statusCode); process.exit(); })).end();
"""
REQUESTS = "import os, requests, sys; print(requests.get(sys.argv[1], headers={'Authorization': 'Bearer ' + os.environ['TOKEN']}).status_code)"
HTTPX = REQUESTS.replace("requests", "httpx")
JAVA = """
public class One {
    public static void main(String[] words) throws Exception {
        var link = (java.net.HttpURLConnection) java.net.URI.create(words[0]).toURL().openConnection();
        link.setRequestProperty("Authorization", "Bearer " + System.getenv("TOKEN"));
        System.out.println(link.getResponseCode());
    }
}
"""
# The system's own store, but none of it outlives the command.
ASIDE = "mkdir s && cp -r /etc/ssl s && mount -t tmpfs none /usr/local/share/ca-certificates && mount --bind s/ssl /etc/ssl && "


@pytest.fixture(scope="module")
def java_class(tmp_path_factory):
    folder = tmp_path_factory.mktemp("java")
    (folder / "One.java").write_text(JAVA)
    return folder / "One.java"


def test_R19_what_init_prints_can_be_followed(sandbox, intercepting, origin, java_class):  # noqa: F811
    """Each line of it, as it stands there, and then a call that succeeds by it and by nothing else."""
    hop = intercepting(origin.port, begin=False)
    said = ca("init", hop)
    assert said.returncode == 0, said.stderr
    hop.start()
    advice = said.stdout.split("Let the callers trust it")[1]
    line = lambda pattern: re.search(pattern, advice)[1]
    url, token = f"https://{ORIGIN}:{origin.port}/x", sandbox.mint()
    plain = {**os.environ, "https_proxy": f"http://127.0.0.1:{hop.port}", "TOKEN": token}
    for name in ("no_proxy", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        plain.pop(name, None)

    def run(command, *words, wrap=(), before=""):
        script = f"{before}{command} {shlex.join(words)}"
        done = subprocess.run([*wrap, "sh", "-ec", script], cwd=hop.folder, env=plain, capture_output=True, text=True, timeout=120)
        return done.stdout.strip(), done.stderr

    get = ("-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {token}", url)
    java = ("-XX:TieredStopAtLevel=1", "-Dhttps.proxyHost=127.0.0.1", f"-Dhttps.proxyPort={hop.port}", str(java_class), url)
    ways = {
        "curl": (line(r"(curl --cacert \S+) \.\.\."), get),
        "node": (line(r"(NODE_EXTRA_CA_CERTS=\S+)") + " node -e", (NODE, str(hop.port), ORIGIN, str(origin.port), token)),
        "httpx": (line(r"(SSL_CERT_FILE=\S+) \(httpx") + " /usr/bin/python3 -c", (HTTPX, url)),
        "requests": (line(r"(REQUESTS_CA_BUNDLE=\S+) \(requests") + " /usr/bin/python3 -c", (REQUESTS, url)),
        "bundle": (line(r"(cat /etc/\S+ \S+ > bundle.pem)") + " && " + line(r"Go +(SSL_CERT_FILE=\S+),") + " /usr/bin/python3 -c", (HTTPX, url)),
        "java": (line(r"(?s)(keytool .*?changeit),") + " && java " + line(r"(-Djavax.*)"), java),
    }
    for name, (command, words) in ways.items():
        written, error = run(command, *words)
        assert written.splitlines()[-1:] == ["200"], (name, command, error)
    for command, words in (("curl", get), ("node -e", ways["node"][1]), ("/usr/bin/python3 -c", (HTTPX, url)), ("java", java)):
        assert "200" not in run(command, *words)[0], command
    written, error = run(line(r"Debian +(.*)") + " >&2 && curl", *get, wrap=("unshare", "-m"), before=ASIDE)
    assert written == "200", error
    assert run("curl", *get)[0] != "200"  # as before
