"""What the authority of `tokenhop ca init` is good for, and how callers come to trust it (R19)."""

import ssl
import subprocess

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
