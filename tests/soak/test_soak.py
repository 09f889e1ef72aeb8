"""For ten minutes what test_mixup.py does for some seconds, with about one fault in a hundred requests; and beside
it callers that keep silent connections, read slowly, and speak nonsense. In the end what tokenhop holds is what it held
after the first minutes."""

import asyncio
import dataclasses
import os
import pathlib
import random
import time

import harness
import test_mixup
from rawnet import request
from test_mixup import destinations  # noqa: F401 - a fixture

SECONDS = int(os.environ["SOAK_SECONDS"])
EVERY = max(1, SECONDS / 120)
SLACK_KB, SLACK_FDS = 4096, 64  # what a quarter may have more than the one before: buffers come and go


@dataclasses.dataclass
class Sample:
    seconds: float
    rss_kb: int
    fds: int
    threads: int


def sample(pid, began):
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    fds = len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(time.monotonic() - began, int(status["VmRSS"].split()[0]), fds, int(status["Threads"]))


class Soak(test_mixup.Callers):
    def __init__(self, *args):
        super().__init__(*args)
        self.left, self.samples, self.nuisances, self.faults = 1 << 60, [], 0, 0

    async def watch(self, began):
        while time.monotonic() - began < SECONDS:
            self.samples.append(sample(self.hop.pid, began))
            await asyncio.sleep(EVERY)
        self.left = 0

    async def nuisance(self):
        """Callers that nobody wants."""
        while self.left > 0:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.hop.port_of("agent1"))
            what = self.chance.randrange(5)
            if what == 0:
                writer.write(b"GET http://127.0.0.1/ HTTP/1.1\r\nHo")  # and no more
            elif what == 1:
                writer.write(bytes(self.chance.randrange(256) for _ in range(300)))
            elif what == 2:  # asks, and reads none of the answers
                agent, url, _, token = self.pick()
                writer.write(request(url, token) * 3)
            elif what == 3:
                writer.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % self.ports["agent2"])
            self.nuisances += 1
            await asyncio.sleep(self.chance.random() * 4)
            writer.transport.abort()

    async def soak(self, disturb):
        began = time.monotonic()
        disturbing = [asyncio.ensure_future(disturb(self)), *(asyncio.ensure_future(self.nuisance()) for _ in range(16))]
        await asyncio.gather(self.watch(began), *(self.one() for _ in range(test_mixup.CONNECTIONS)))
        for each in disturbing:
            each.cancel()


def rare(sandbox, hop, chance):
    """One fault in about a hundred requests; a reload now and then."""

    async def run(callers):
        loop = asyncio.get_running_loop()
        before = callers.left
        while callers.left > 0:
            await asyncio.sleep(0.05)
            while before - callers.left >= 100 and callers.left > 0:
                before -= 100
                kind, more = chance.choice(test_mixup.FAULTS)
                if more.get("error") == "invalid_client" or kind == "rate_limited":
                    continue  # these keep everybody from asking at all for a while
                place = test_mixup.place_of(kind, chance)
                await loop.run_in_executor(None, lambda: sandbox.fault(place, kind, count=1, **more))
                callers.faults += 1
            if chance.random() < 0.01:
                hop.reload()

    return run


def test_soak(own_sandbox, tokenhop, destinations):  # noqa: F811
    sandbox = own_sandbox(access_token_lifetime=3)
    chance = random.Random(test_mixup.SEED)
    tokens = {
        (agent, user): [
            sandbox.mint(user=user, audience=agent, nonce=f"{n}", expires_in=SECONDS + 600,
                         **({} if agent == "agent1" else {"type": "access_token", "client": "agent1", "chain": 1}))
            for n in range(40)
        ]
        for user in ("alice", "bob")
        for agent in ("agent1", "agent2")
    }
    destinations.start({
        "users": {user: {"sub": harness.decode(tokens["agent1", user][0])[1]["sub"]} for user in ("alice", "bob")},
        "agents": {agent: sandbox.client_id(agent) for agent in ("agent1", "agent2")},
        "resources": {name: sandbox.info["agents"][name]["audience"] for name in test_mixup.SCOPES},
    })

    def configure(config):
        config.update(test_mixup.configure(sandbox, destinations.ports))
        config["timeouts"] |= {"head": "3s", "idle": "5s"}

    hop = tokenhop(configure, agents=("agent1", "agent2"), of=sandbox, alg="ES256")
    callers = Soak(hop, destinations.ports, tokens, chance)
    asyncio.run(callers.soak(rare(sandbox, hop, chance)))
    pending = sum(fault["count"] for fault in sandbox.faults())
    settled = harness.wait_until(lambda: (s := sample(hop.pid, 0)).fds <= callers.samples[0].fds + 24 and s, 60)
    status = hop.stop()
    seen, wrong, credentials = destinations.end()
    quarters = [callers.samples[i * len(callers.samples) // 4 : (i + 1) * len(callers.samples) // 4] for i in range(4)]
    for name in ("rss_kb", "fds"):
        print(name, "at most, by quarter:", [max(getattr(s, name) for s in quarter) for quarter in quarters])
    answered, faults = sum(callers.statuses.values()), callers.faults - pending
    print(f"seed {test_mixup.SEED}: {answered} answered, {faults} faults, {seen} "
          f"arrived with {credentials} credentials, {callers.nuisances} nuisances, {callers.statuses}, {callers.cuts} cut; "
          f"{settled.fds} descriptors and {settled.rss_kb} KB in the end; mixed up: {len(wrong)}")
    assert not wrong and not callers.wrong, (wrong, callers.wrong)
    assert max(s.rss_kb for s in quarters[3]) <= max(s.rss_kb for s in quarters[1]) * 1.05 + SLACK_KB
    assert max(s.fds for s in quarters[3]) <= max(s.fds for s in quarters[1]) + SLACK_FDS
    assert len({s.threads for s in callers.samples}) == 1
    assert 0.005 * answered < faults < 0.02 * answered  # that an authorization server did play
    assert callers.statuses[200] > seen / 2 and credentials > 50
    assert '"internal"' not in status, status
