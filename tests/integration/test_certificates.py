"""Agents that authenticate by certificate, against the sandbox: in TLS (RFC 8705), and named in the assertion (Entra)."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

import harness


def certificate_of(key_file, path):
    """Self-signed, of that key."""
    key = serialization.load_pem_private_key(open(key_file, "rb").read(), None)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agent1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return str(path)


@pytest.fixture
def by_tls(own_sandbox, tokenhop, tmp_path):
    """A sandbox that knows agent1 by certificate, and tokenhop that shows the certificate of `key`."""

    def start(kid="k1", method="self_signed_tls_client_auth"):
        sandbox = own_sandbox("--port-idp-tls=0", agent1_auth_method=5)
        place = f"https://127.0.0.1:{sandbox.info['tls_port']}"
        key = sandbox.key_file("agent1", kid)

        def change(config):
            for server in config["authorization_servers"].values():
                path = server["issuer"].split("/", 3)[3:]
                server["token_endpoint"] = "/".join([place, *(path or ["oauth2"]), "v1", "token"])
                server["ca_file"] = sandbox.info["ca_file"]
            for connection in config["connections"]:
                connection["second_leg_scopes"] = []  # the endpoints are not derived: it could be anybody's server
            config["agents"]["agent1"]["auth"] = {
                "method": method, "cert_file": certificate_of(key, tmp_path / "agent1.crt"), "key_file": key,
            }

        return sandbox, tokenhop(change, of=sandbox)

    return start


@pytest.mark.parametrize("method", ["self_signed_tls_client_auth", "tls_client_auth"])
def test_certificate_in_tls(by_tls, method):
    sandbox, hop = by_tls(method=method)
    answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice"))
    assert answer.status_code == 200 and answer.json()["chain"] == [sandbox.client_id("agent1")], answer.text
    assert sandbox.exchanges("alice", "agent1-agent2") == 1


def test_another_key(by_tls):
    sandbox, hop = by_tls(kid="k2")
    answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice"))
    assert answer.status_code == 502 and "invalid_client" in answer.json()["detail"]
    assert sandbox.refused() == {"certificate_unknown": 1}


def test_without_a_certificate(by_tls, tokenhop):
    """The id alone is not enough, by TLS or in clear."""
    sandbox, _ = by_tls()

    def change(config):
        config["agents"]["agent1"]["auth"] = {"method": "none"}

    hop = tokenhop(change, of=sandbox)
    answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice"))
    assert answer.status_code == 502 and sandbox.refused() == {"certificate_missing": 1}


@pytest.mark.parametrize("x5t", ["S256", "SHA1"])
def test_entra_finds_the_certificate_that_the_assertion_names(sandbox, tmp_path, x5t):
    server = sandbox.server("entra")
    client = server["clients"]["agent2"]
    config = harness.base_config(sandbox, agents=("agent2",))
    config["authorization_servers"]["entra"] = {"issuer": sandbox.issuer("entra"), "assertion_nbf": True}
    config["agents"]["agent2"] |= {
        "client_id": client["client_id"], "authorization_server": "entra",
        "auth": {"method": "private_key_jwt", "alg": "PS256", "x5t": x5t, "cert_file": client["certificate_file"],
                 "key_file": sandbox.key_file("agent2")},
    }
    config["agents"]["agent2"].pop("resource")
    config["connections"] = [{
        "name": "orders", "url": server["url"], "type": "on_behalf_of", "agents": ["agent2"],
        "authorization_server": "entra", "scopes": ["api://orders/.default"], "issued_checks": {"scope": False},
        "subject": {"type": "access_token"},
    }]
    token = sandbox.mint(type="access_token", server="entra", audience="agent2")
    with harness.Tokenhop(config, tmp_path) as hop:
        answer = hop.get(server["url"] + "whoami", token, agent="agent2")
    assert answer.status_code == 200, answer.text
    assert token not in answer.text
