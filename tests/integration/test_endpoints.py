"""R27: what no rule names leads to no endpoint of an authorization server, configured or found in its metadata, by
whatever name or address."""
import json
import threading

import pytest

from harness import names_known
from rawnet import Connection, request, response


def serve_metadata(origin, elsewhere, held=None):
    """An authorization server whose metadata says that tokens are given out elsewhere."""

    def answer(asked):
        if held is not None:
            held.wait(30)
        if asked.target != "/.well-known/oauth-authorization-server/sts":
            return response(b"", 404)
        return response(json.dumps({"issuer": issuer.url("/sts"), "token_endpoint": elsewhere.url("/token")}).encode())

    issuer = origin(answer)
    return issuer


@pytest.fixture
def elsewhere(origin):
    return origin()


def forwarding(issuer, *origins):
    def change(config):
        config["authorization_servers"]["found"] = {"issuer": issuer.url("/sts"), "allow_cleartext": True}
        config["unmatched"] = "forward"
        config["workers"] = 1
        config["egress"]["allow"] += ["127.0.0.1"]
        config["egress"]["connect_ports"] = [each.port for each in origins]

    return change


def ask(hop, url):
    with Connection(hop.port) as connection:
        return connection.send(request(url)).read()


def tunnel(hop, authority):
    with Connection(hop.port) as connection:
        return connection.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").read()


def test_r27_endpoints_of_metadata_are_not_reached(tokenhop, origin, elsewhere):
    other = origin()
    hop = tokenhop(forwarding(serve_metadata(origin, elsewhere), elsewhere, other))
    for answer in (ask(hop, elsewhere.url("/token")), tunnel(hop, elsewhere.address)):
        assert answer.status == 403 and b"authorization server" in answer.body
    assert elsewhere.requests == []
    assert ask(hop, other.url("/")).status == 200


def test_r27_other_names_of_an_endpoint_lead_nowhere(tokenhop, origin, elsewhere):
    hop = tokenhop(forwarding(serve_metadata(origin, elsewhere), elsewhere), env=names_known("same.test"))
    for host in ("[::ffff:127.0.0.1]", "same.test"):
        assert tunnel(hop, f"{host}:{elsewhere.port}").status == 403
        assert ask(hop, f"http://{host}:{elsewhere.port}/token").status == 403
    assert elsewhere.raw == []


def test_r27_a_request_waits_until_the_metadata_is_there(tokenhop, origin, elsewhere):
    held = threading.Event()
    hop = tokenhop(forwarding(serve_metadata(origin, elsewhere, held), elsewhere))
    with Connection(hop.port) as first, Connection(hop.port) as gone:
        first.send(request(elsewhere.url("/token")))
        gone.send(request(elsewhere.url("/token")))
        gone.close()
        held.set()
        assert first.read().status == 403
    assert elsewhere.raw == []


def test_r27_a_server_without_metadata_stops_nobody(tokenhop, origin):
    other, silent = origin(), origin(lambda asked: response(b"", 404))
    hop = tokenhop(forwarding(silent, other))
    assert ask(hop, other.url("/")).status == 200
    assert ask(hop, silent.url("/")).status == 403
