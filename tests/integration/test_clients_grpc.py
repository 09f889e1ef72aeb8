"""gRPC by @grpc/grpc-js, which knows nothing but what `tokenhop exec` puts into its environment: what is unmatched goes
through a plain tunnel, in which HTTP/2 is spoken; what belongs to a connection is HTTP/1.1, and fails."""

import json

import pytest
from cryptography import x509

import harness
from test_clients import AGENT2, HERE, agent2_bases, environment, named, started  # noqa: F401
from tlsnet import Identity


@pytest.fixture
def service(tmp_path):
    """It is at the name that only tokenhop can look up."""
    identity = Identity(tmp_path, "gRPC", names=[x509.DNSName(harness.ORIGIN)])
    process = harness.Process()
    process._spawn(["node", HERE / "grpc_server.mjs", identity.file, identity.file], env=environment())
    ports = json.loads(process.process.stdout.readline() or "{}")
    assert ports, process.stderr
    process.places = {kind: f"{harness.ORIGIN}:{port}" for kind, port in ports.items()}
    process.ports, process.ca_file = ports, identity.ca_file
    yield process
    process.stop(expect=None)


@pytest.fixture
def agent(named, service, tmp_path):  # noqa: F811
    def change(config):
        config["unmatched"] = "forward"
        config["egress"]["allow"] += [f"127.0.0.1:{port}" for port in service.ports.values()]
        config["egress"]["connect_ports"] = list(service.ports.values())

    with started(named, tmp_path, agent2_bases(named), named.info["agents"]["agent2"]["ca_file"], change) as made:
        made.options = ("--roots", service.ca_file)
        yield made


def call(agent, kind, place):
    return json.loads(agent.run("node", "grpc_client.mjs", kind, place, seconds=120))


@pytest.mark.parametrize("kind", ["clear", "tls"])
def test_r20_grpc_in_a_plain_tunnel(agent, service, kind):
    answer = call(agent, kind, service.places[kind])
    assert answer == {"said": "hello", "authorization": [f"Bearer {agent.token}"], "count": 1000}
    agent.hop.stop()
    (line,) = [json.loads(line) for line in agent.hop.output.splitlines()]
    assert line["method"] == "CONNECT" and line["host"] == service.places[kind] and line["tunnel"] is True


@pytest.mark.parametrize("kind", ["clear", "tls"])
def test_r20_grpc_to_a_connection_fails(agent, named, kind):  # noqa: F811
    known = named.info["agents"]["agent2"]
    answer = call(agent, kind, f"{AGENT2}:{known['port' if kind == 'clear' else 'tls_port']}")
    assert answer["code"] in (13, 14), answer  # INTERNAL, UNAVAILABLE
    assert named.requests("agent2") == 0 and agent.hop.is_running()
