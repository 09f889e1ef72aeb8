"""Fixtures: a sandbox for all tests, reset before each; tokenhop started on demand. See harness.py."""

import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import harness  # noqa: E402
import rawnet  # noqa: E402
from tlsnet import PROXY_NAMES, Identity  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: worth running under the thread sanitizer too")


@pytest.fixture(scope="session")
def state_folder(tmp_path_factory):
    """Keys are made once: that takes longer than everything else."""
    folder = tmp_path_factory.mktemp("state")
    folder.chmod(0o700)
    return folder


@pytest.fixture(scope="session")
def running_sandbox(state_folder):
    sandbox = harness.Sandbox(state_folder).start()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def sandbox(running_sandbox):
    running_sandbox.reset()
    yield running_sandbox
    assert running_sandbox.is_running(), running_sandbox.stderr


@pytest.fixture
def own_sandbox(state_folder):
    """Starts sandboxes of the test's own: own_sandbox("--agent2-url", "http://agent2.test:80", introspect=True)."""
    started = []

    def start(*args, **settings):
        started.append(harness.Sandbox(state_folder, *args, **settings).start())
        return started[-1]

    yield start
    for sandbox in started:
        sandbox.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder):
    """Of destinations."""
    return Identity(folder, "Origin CA", authority=True)


@pytest.fixture(scope="module")
def good(folder, authority):
    """A destination's certificate that is as it should be; the name that counts is not in the subject."""
    return Identity(folder, "irrelevant", issuer=authority)


@pytest.fixture(scope="module")
def proxy_authority(folder):
    return Identity(folder, "Proxy CA", authority=True)


@pytest.fixture(scope="module")
def own(folder, proxy_authority):
    """A proxy's certificate, for its own listener."""
    return Identity(folder, "proxy", names=PROXY_NAMES, issuer=proxy_authority)


@pytest.fixture
def client(sandbox):
    return harness.Client(sandbox, "agent1")


@pytest.fixture
def tokenhop(sandbox, tmp_path):
    """tokenhop() starts one for the sandbox; tokenhop(change=function(config), agents=[...], alg=...)."""
    started = []

    def start(change=None, agents=("agent1",), alg="RS256", of=None, args=(), env=None):
        config = harness.base_config(of or sandbox, agents, alg)
        if change is not None:
            change(config)
        folder = tmp_path / f"tokenhop{len(started)}"
        folder.mkdir()
        started.append(harness.Tokenhop(config, folder, args, env).start())
        return started[-1]

    yield start
    for hop in started:
        hop.stop()


@pytest.fixture
def beside():
    """Starts another server, and waits until it listens at these ports."""
    started = []

    def start(argv, *ports):
        started.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for port in ports:
            harness.wait_listening(port, started[-1])

    yield start
    for each in started:
        each.terminate()
        each.wait(30)


@pytest.fixture
def origin():
    """origin(answer) starts a raw origin: rawnet.Origin."""
    started = []

    def start(answer=None, **kwargs):
        started.append(rawnet.Origin(answer, **kwargs))
        return started[-1]

    yield start
    for each in started:
        each.close()
