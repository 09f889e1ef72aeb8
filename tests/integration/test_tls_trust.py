"""Whom tokenhop trusts to be a destination (R19): the system's authorities, those of `origin`, those of a connection."""

import ssl

import pytest

from harness import ORIGIN
from test_modes import ask, listening  # noqa: F401
from test_parent import PythonProxy, behind, world  # noqa: F401
from test_parent import ask as ask_by_proxy, entry
from test_tls_origin import origins, refusal_of, through, url  # noqa: F401
from tlsnet import PROXY_NAMES, Identity, TlsOrigin


@pytest.fixture
def other(folder):
    return Identity(folder, "Other CA", authority=True)


def own(**files):
    """agent2's connection has these files of its own."""

    def change(config):
        entry = next(c for c in config["connections"] if c["name"] == "agent2")
        entry.update({name: str(file) for name, file in files.items()})

    return change


def test_R19_the_systems_authorities_are_trusted(sandbox, tokenhop, origins, good, authority):  # noqa: F811
    """Where the configuration says nothing. And nobody else is: the same destination, the system's roots as they are."""
    origin = origins(good)

    def change(config):
        entry = next(c for c in config["connections"] if c["name"] == "agent2")
        entry["url"] = f"https://{ORIGIN}:{origin.port}/"
        config["egress"]["allow"].append(origin.address)

    hop = tokenhop(change, env={"SSL_CERT_FILE": str(authority.ca_file)})
    answer = hop.get(url(origin.port), sandbox.mint())
    assert answer.status_code == 200, answer.text
    hop = tokenhop(change)
    assert hop.get(url(origin.port), sandbox.mint()).status_code == 502
    assert len(origin.requests) == 1


def test_R19_a_connections_authorities_replace_all_others(
    sandbox, tokenhop, origins, folder, good, authority, other  # noqa: F811
):  # fmt: skip
    """Those alone decide who gets its credentials: neither origin.ca_file nor the system's roots do."""
    named, usual = origins(Identity(folder, "x", issuer=other)), origins(good)
    system = Identity(folder, "System CA", authority=True)
    of_system = origins(Identity(folder, "x", issuer=system))

    def change(config):
        own(ca_file=other.ca_file)(config)
        entry = next(c for c in config["connections"] if c["name"] == "agent2")
        entry["url"] = [f"https://{ORIGIN}:{o.port}/" for o in (named, usual, of_system)]
        config["egress"]["allow"] += [o.address for o in (named, usual, of_system)]
        config["origin"] = {"ca_file": str(authority.ca_file)}

    hop = tokenhop(change, env={"SSL_CERT_FILE": str(system.ca_file)})
    assert hop.get(url(named.port), sandbox.mint()).status_code == 200
    for refused in (usual, of_system):
        assert "tls_certificate_error" in refusal_of(hop, refused.port, sandbox)[1]
        assert refused.bytes == b""
    # without them it is the other way round
    hop = tokenhop(lambda c: (change(c), [e.pop("ca_file", None) for e in c["connections"]]),
                   env={"SSL_CERT_FILE": str(system.ca_file)})  # fmt: skip
    assert hop.get(url(usual.port), sandbox.mint()).status_code == 200
    assert hop.get(url(of_system.port), sandbox.mint()).status_code == 200
    assert "tls_certificate_error" in refusal_of(hop, named.port, sandbox)[1]


def test_R19_a_connections_list_replaces_the_others(sandbox, through, origins, folder, good, authority):  # noqa: F811
    """What it names is refused, and what origin.crl_file alone names is not."""
    revoked = Identity(folder, "revoked", issuer=authority)
    there, fine = origins(revoked), origins(good)
    general = authority.write_list(good)
    special = general.with_name("special.crl")
    general.rename(special.with_name("general.crl"))
    authority.write_list(revoked).rename(special)

    def change(config):
        own(ca_file=authority.ca_file, crl_file=special)(config)
        agent2 = next(c for c in config["connections"] if c["name"] == "agent2")
        agent2["url"] = agent2["url"][1:]  # without the one in clear
        config["origin"]["crl_file"] = str(special.with_name("general.crl"))

    hop = through(there.port, fine.port, change=change)
    assert "has been revoked" in refusal_of(hop, there.port, sandbox)[0]
    assert there.bytes == b""
    assert hop.get(url(fine.port), sandbox.mint()).status_code == 200


def test_R20_gateway_whose_scheme_is_https(sandbox, listening, origins, good, authority, tmp_path):  # noqa: F811
    """The connection with https:// in front is meant, and it is called by TLS."""
    secret = tmp_path / "in-clear"
    secret.write_text("not-for-this")
    secret.chmod(0o600)
    origin = origins(good)

    def change(config):
        entry = next(c for c in config["connections"] if c["name"] == "agent2")
        entry["url"] = f"https://{ORIGIN}:{origin.port}/"
        config["egress"]["allow"].append(origin.address)
        config["origin"] = {"ca_file": str(authority.ca_file)}
        config["connections"].append({
            "name": "in-clear", "type": "static", "agents": ["agent1"], "value_file": str(secret),
            "allow_cleartext": True, "url": f"http://{ORIGIN}:{origin.port}/"})  # fmt: skip

    hop = listening(change, mode="gateway", scheme="https")
    answer = ask(hop, "/a2a/x", f"{ORIGIN}:{origin.port}", sandbox.mint())
    assert answer.status == 200, answer.text
    assert [r.target for r in origin.requests] == ["/a2a/x"] and b"not-for-this" not in origin.bytes
    assert len(origin.versions) == 1


class Asking(PythonProxy):
    """An https parent that would like to see a client certificate, of anybody."""

    def __init__(self, identity, *authorities):
        super().__init__(identity)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        for each in authorities:
            self.context.load_verify_locations(each.ca_file)


def test_R19_a_parent_that_asks_is_shown_no_certificate(folder, world, behind, authority, proxy_authority):  # noqa: F811
    """That of a connection is for its destination alone."""
    mine = Identity(folder, "agent1", issuer=authority, usage=["client"])
    parent = Asking(Identity(folder, "proxy", names=PROXY_NAMES, issuer=proxy_authority), authority)
    with_asking = lambda context: (  # noqa: E731
        context.load_verify_locations(authority.ca_file), setattr(context, "verify_mode", ssl.CERT_OPTIONAL))
    there = TlsOrigin(Identity(folder, "x", issuer=authority), change=with_asking)

    def change(config):
        config["connections"][0]["url"] = f"https://{ORIGIN}:{there.port}/"
        config["connections"][0]["client_certificate"] = {"cert_file": str(mine.file), "key_file": str(mine.file)}

    hop = behind(entry(parent, proxy_authority), change=change)
    assert ask_by_proxy(hop, f"http://{ORIGIN}:{there.port}/x").status == 200
    assert there.shown == [mine.der]  # inside of the tunnel
    assert parent.shown and all(shown is None for shown in parent.shown)
    there.close()
    parent.close()
