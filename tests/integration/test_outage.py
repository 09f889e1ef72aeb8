"""The authorization server is gone for a while, under load (R14, R28).

Ten seconds are enough to see the breaker open, probe and close; OUTAGE_SECONDS=60 sees its longest rests too:

    OUTAGE_SECONDS=60 /usr/bin/python3 -m pytest tests/integration/test_outage.py
"""

import contextlib
import itertools
import os
import signal
import socket
import threading
import time

import pytest

import harness
from harness import wait_until
from loads import Steady
from rawnet import SLOW, response, serve_at

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", 10))
REST_MAX = 30 * 1.1  # the longest rest and its jitter
CROWD = 16
SUBJECTS = 200


class DeadServer:
    """Counts who comes to where the authorization server was, and hangs up."""

    def __init__(self, port):
        self.count = 0
        self.listener = socket.create_server(("127.0.0.1", port))
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                self.listener.accept()[0].close()
                self.count += 1

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        self.listener.close()


def logged(hop, event):
    return sum(f'"event":"{event}"' in line for line in hop.stderr.splitlines())


@pytest.mark.threads
def test_outage(own_sandbox, tokenhop, origin):
    seen = origin(lambda _: response())
    ports = [f"--port-idp={harness.free_port()}"]
    ports.append("--port-agents=" + ",".join(str(harness.free_port()) for _ in range(3)))
    sandbox = own_sandbox(*ports)

    def change(config):
        config["workers"] = 2
        serve_at(config, seen)

    hop = tokenhop(change, of=sandbox, alg="ES256")
    alice = sandbox.mint(user="alice")
    known = [sandbox.mint(nonce=f"known{n}") for n in range(10)]
    unknown = [sandbox.mint(nonce=f"unknown{n}") for n in range(SUBJECTS)]
    for token in (alice, *known):
        assert hop.get(seen.url(), token).status_code == 200
    of_all = itertools.cycle(unknown)
    answers = []  # of those without a credential: when asked, when answered, what

    def cached_is_served(_, got):
        assert got.status == 200

    def keep(_, got):
        now = time.monotonic()
        answers.append((now - got.seconds, now, got))

    with Steady(hop.port, lambda: (seen.url(), alice), cached_is_served, 8, 0.01) as cached:
        sandbox.stop(expect=None, how=signal.SIGKILL)
        dead = DeadServer(sandbox.info["port"])
        gone = time.monotonic()
        with Steady(hop.port, lambda: (seen.url(), next(of_all)), keep, CROWD, 0.02) as others:
            time.sleep(OUTAGE_SECONDS)
            dead.close()
            back = time.monotonic()
            sandbox.start()
            sandbox.http = harness.requests.Session()
            sandbox.http.trust_env = False
            wait_until(
                lambda: answers[-1][2].status == 200, min(REST_MAX, OUTAGE_SECONDS) + 2 + 3 * SLOW
            )
            recovered = time.monotonic()
            fresh = sandbox.mint(nonce="fresh")
            wait_until(lambda: hop.get(seen.url(), fresh).status_code == 200, 3 * SLOW)
            # Whoever was refused itself waits for its own back-off too, which is not longer.
            wait_until(
                lambda: {a.status for _, _, a in answers[-SUBJECTS:]} == {200}, REST_MAX + 3 * SLOW
            )
    assert cached.count > 100 and not cached.cuts and not others.cuts

    during = [got for asked, told, got in answers if asked > gone and told < back]
    assert len(during) > 10 * OUTAGE_SECONDS / SLOW
    for got in during:
        assert got.status == 503 and got.json()["code"] == "exchange_unavailable"
        assert 1 <= int(got.fields["retry-after"]) <= 60
    assert max(got.seconds for got in during) < 4 * SLOW
    assert {got.status for asked, _, got in answers if asked > back} <= {200, 503}
    assert recovered - back < min(REST_MAX, OUTAGE_SECONDS) + 2 + 3 * SLOW

    # Those at once before it opens, then one probe a rest: 1, 2, 4, 8, 16, 30, 30 s ...
    assert 5 <= dead.count <= 5 + CROWD + 6 + OUTAGE_SECONDS / 30
    # Each subject is exchanged once, however many of its calls were refused before.
    assert sandbox.requests("org_token") <= SUBJECTS + 2
    assert sandbox.refused() == {}
    assert logged(hop, "breaker.opened") == logged(hop, "breaker.closed") == 1
