"""Two users, two agents, two destinations, two scopes, and everything failing now and then: not one credential at the
wrong destination or for the wrong subject (R11, R14, R15, R26). Every request is checked where it arrives.

Each request says in its path for whom it is, through which agent, and by which connection; the destinations, a process
of their own, compare that with what the credential says. A few thousand requests see each fault some times; the whole:

    MIXUP_REQUESTS=100000 /usr/bin/python3 -m pytest tests/integration/test_mixup.py
"""

import asyncio
import json
import multiprocessing
import os
import random
import signal
import socket
import time

import pytest

import harness
from loads import Client, Cut
from rawnet import SANITIZED

REQUESTS = int(os.environ.get("MIXUP_REQUESTS", 1500 if SANITIZED else 5000))
SEED = int(os.environ.get("MIXUP_SEED", 0)) or random.randrange(1, 1 << 30)
CONNECTIONS = 24
SCOPES = {
    "agent2": {"low": "chat.read", "high": "chat.history"},
    "agent3": {"low": "chat.read", "high": "chat.history"},
    "api": {"low": "orders.read", "high": "orders.write"},
}
MAY_CALL = {"agent1": ["agent2", "api"], "agent2": ["agent3"]}
TOKEN_PLACES = ["org_token", "aus2_token", "aus3_token", "aus4_token"]
# kind, and what goes with it; what an agent answers is played by the destinations below
FAULTS = [
    ("unavailable", {}),
    ("rate_limited", {"retry_after": 1}),
    ("error", {"error": "invalid_grant"}),
    ("error", {"error": "access_denied"}),
    ("error", {"error": "invalid_client", "status": 401}),
    ("error", {"error": "invalid_request"}),
    ("slow", {"ms": 200}),
    ("reset", {}),
    ("close_mid_body", {}),
    ("garbage_json", {}),
    ("html", {}),
    ("duplicate_member", {}),
    ("expires_in", {"value": 1}),
    ("expires_in", {"value": 0}),
    ("no_expires_in", {}),
    ("changed_subject", {}),
    ("wrong_audience", {}),
    ("widened_scope", {}),
    ("changed_actor", {}),
    ("lost_chain", {}),
]


class Destination(asyncio.Protocol):
    """agent2, agent3, the API or what is unmatched, told by the port. Answers well, mostly."""

    def __init__(self, name, expected, found, chance):
        self.name, self.expected, self.found, self.chance = name, expected, found, chance
        self.data = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, self.data = self.data.split(b"\r\n\r\n", 1)
            self.answer(head.decode("latin-1").split("\r\n"))

    def answer(self, lines):
        self.found["seen"] += 1
        fields = [line.split(": ", 1) for line in lines[1:]]
        brought = [value for name, value in fields if name.lower() == "authorization"]
        path = lines[0].split(" ")[1]
        why = self.wrong(path, brought)
        if why:
            self.found["wrong"].append(f"{self.name} {path}: {why}")
        throw = self.chance.random()
        if throw < 0.01:
            self.transport.abort()
        elif throw < 0.02:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            self.transport.close()
        elif throw < 0.04:
            self.transport.write(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
        else:
            body = path.encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def wrong(self, path, brought):
        if self.name == "elsewhere":
            return "a credential came" if brought else None
        if len(brought) != 1 or not brought[0].startswith("Bearer "):
            return f"{len(brought)} credentials"
        claims = self.claims(brought[0])
        _, kind, user, agent, _ = path.split("/")
        want = self.expected["users"][user] | {"aud": self.expected["resources"][self.name]}
        want |= {"scope": SCOPES[self.name][kind], "act": self.expected["agents"][agent]}
        have = {"sub": claims["sub"], "aud": claims["aud"], "scope": claims["scope"], "act": claims["act"]["sub"]}
        return None if have == want else f"{have} instead of {want}"

    def claims(self, value):
        known = self.found["known"]
        if value not in known:
            known[value] = harness.decode(value.removeprefix("Bearer "))[1]
        return known[value]


def serve(listeners, expected, seed, pipe):
    """The process of the destinations; says what it found when it is asked to end."""
    found = {"seen": 0, "wrong": [], "known": {}}
    chance = random.Random(seed)

    async def run():
        loop = asyncio.get_running_loop()
        for name, listener in listeners.items():
            await loop.create_server(
                lambda name=name: Destination(name, expected, found, chance), sock=listener
            )
        await loop.run_in_executor(None, pipe.recv)

    asyncio.run(run())
    pipe.send((found["seen"], found["wrong"][:20], len(found["known"])))


@pytest.fixture
def destinations():
    """start(expected) -> ports by name; end() -> what they found."""
    context = multiprocessing.get_context("fork")
    started = {}

    class Started:
        def __init__(self):
            self.listeners = {n: socket.create_server(("127.0.0.1", 0), backlog=512) for n in (*SCOPES, "elsewhere")}
            self.ports = {name: each.getsockname()[1] for name, each in self.listeners.items()}

        def start(self, expected):
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=serve, args=(self.listeners, expected, SEED, theirs), daemon=True)
            self.process.start()
            started["it"] = self

        def end(self):
            self.pipe.send("end")
            found = self.pipe.recv()
            self.process.join(10)
            return found

    it = Started()
    yield it
    if started and it.process.is_alive():
        it.process.kill()
        it.process.join()
    for each in it.listeners.values():
        each.close()


def configure(sandbox, ports):
    config = harness.base_config(sandbox, agents=("agent1", "agent2"), alg="ES256")
    info = sandbox.info["agents"]
    config["connections"] = [
        {
            "name": f"{target}-{kind}",
            "url": f"http://127.0.0.1:{ports[target]}/{kind}/",
            "type": "authorization_server" if target == "api" else "agent_to_agent",
            "agents": [agent for agent, targets in MAY_CALL.items() if target in targets],
            "authorization_server": info[target]["server"],
            "scopes": [scope],
            **({} if target == "api" else {"resource": info[target]["resource"]}),
        }
        for target, scopes in SCOPES.items()
        for kind, scope in scopes.items()
    ]
    config["unmatched"] = [{"url": f"http://127.0.0.1:{ports['elsewhere']}/", "action": "forward"}]
    config["egress"] = {"allow": [f"127.0.0.1:{port}" for port in ports.values()]}
    config["workers"] = 2
    config["cache"] = {"margin": "0s"}
    config["timeouts"] = {"exchange": "5s"}
    return config


class Callers:
    def __init__(self, hop, ports, tokens, chance):
        self.hop, self.ports, self.tokens, self.chance = hop, ports, tokens, chance
        self.left, self.statuses, self.wrong, self.cuts = REQUESTS, {}, [], 0

    def pick(self):
        agent = self.chance.choice(("agent1", "agent2"))
        throw = self.chance.random()
        target = self.chance.choice(MAY_CALL[agent])
        if throw < 0.1:
            target = "elsewhere"
        elif throw < 0.15:
            target = self.chance.choice(list(SCOPES))  # perhaps one that is not for this agent
        user = self.chance.choice(("alice", "bob"))
        path = f"/{self.chance.choice(('low', 'high'))}/{user}/{agent}/{self.left}"
        token = self.chance.choice(self.tokens[agent, user])
        return agent, f"http://127.0.0.1:{self.ports[target]}{path}", path, token

    async def one(self):
        clients = {agent: Client(self.hop.port_of(agent)) for agent in ("agent1", "agent2")}
        while self.left > 0:
            self.left -= 1
            agent, url, path, token = self.pick()
            client = clients[agent]
            if self.chance.random() < 0.01:
                client.leave()
            asking = asyncio.ensure_future(client.ask(url, token))
            if self.chance.random() < 0.01:  # and leaves while it waits
                await asyncio.sleep(self.chance.random() / 100)
                client.leave()
            try:
                got = await asking
            except Cut:
                self.cuts += 1
                continue
            except AttributeError:  # left before it wrote
                continue
            self.statuses[got.status] = self.statuses.get(got.status, 0) + 1
            if got.status == 200 and got.body.decode() != path:
                self.wrong.append(f"{path} was answered by what is for {got.body!r}")
        for client in clients.values():
            client.close()

    async def run(self, disturb):
        disturbing = asyncio.ensure_future(disturb(self))
        await asyncio.gather(*(self.one() for _ in range(CONNECTIONS)))
        disturbing.cancel()


def place_of(kind, chance):
    """A token endpoint at which it means something."""
    if kind == "wrong_audience":
        return chance.choice(TOKEN_PLACES[:-1])
    return chance.choice(TOKEN_PLACES[1:] if kind in ("changed_subject", "widened_scope") else TOKEN_PLACES)


def disturbances(sandbox, hop, chance):
    async def run(callers):
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(0.02 + chance.random() / 10)
            kind, more = chance.choice(FAULTS)
            if (more.get("error") == "invalid_client" or kind == "rate_limited") and chance.random() < 0.9:
                continue  # these keep everybody from asking at all for a while
            # What the ID-JAG says is for its reader; and which audience the API's server has of itself is not configured.
            place = place_of(kind, chance)
            await loop.run_in_executor(None, lambda: sandbox.fault(place, kind, count=chance.randint(1, 2), **more))
            if chance.random() < 0.05:
                hop.reload()
            if chance.random() < 0.1:
                await loop.run_in_executor(None, sandbox.clear_faults)

    return run


@pytest.mark.threads
def test_r11_r14_r15_r26_nothing_is_mixed_up(own_sandbox, tokenhop, destinations):
    sandbox = own_sandbox(access_token_lifetime=1)  # so that most of what is kept ends and is got anew
    chance = random.Random(SEED)
    ports = destinations.ports
    tokens = {}
    for user in ("alice", "bob"):
        for agent in ("agent1", "agent2"):
            kind = {} if agent == "agent1" else {"type": "access_token", "client": "agent1", "chain": 1}
            tokens[agent, user] = [
                sandbox.mint(user=user, audience=agent, nonce=f"{n}", expires_in=3000, **kind) for n in range(40)
            ]
    expected = {
        "users": {user: {"sub": harness.decode(tokens["agent1", user][0])[1]["sub"]} for user in ("alice", "bob")},
        "agents": {agent: sandbox.client_id(agent) for agent in ("agent1", "agent2")},
        "resources": {name: sandbox.info["agents"][name]["audience"] for name in SCOPES},
    }
    destinations.start(expected)
    hop = tokenhop(lambda config: config.update(configure(sandbox, ports)), agents=("agent1", "agent2"), of=sandbox, alg="ES256")
    callers = Callers(hop, ports, tokens, chance)
    before = time.monotonic()
    asyncio.run(callers.run(disturbances(sandbox, hop, random.Random(SEED + 1))))
    hop.stop()
    seen, wrong, credentials = destinations.end()
    print(f"seed {SEED}: {REQUESTS} requests in {time.monotonic() - before:.1f} s, {seen} arrived with {credentials} "
          f"credentials; {json.dumps(callers.statuses)}, {callers.cuts} cut; mixed up: {len(wrong)}")
    assert not wrong and not callers.wrong, (SEED, wrong, callers.wrong)
    # It was a test of something: most were served, many credentials were got, and faults were met.
    assert callers.statuses[200] > REQUESTS / 4 and seen >= callers.statuses[200], callers.statuses
    assert credentials > 20, credentials
    assert sum(callers.statuses.get(status, 0) for status in (401, 403, 502, 503)) > REQUESTS / 500
