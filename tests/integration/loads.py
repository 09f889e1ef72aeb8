"""Many requests at once, by asyncio: plain enough that what is measured is tokenhop."""

import asyncio
import dataclasses
import itertools
import json
import time

from rawnet import SLOW, request


class Cut(Exception):
    """The connection ended, or broke, before the answer was whole."""


@dataclasses.dataclass
class Got:
    status: int
    fields: dict
    body: bytes
    seconds: float = 0.0

    def json(self):
        return json.loads(self.body)


class Client:
    """One kept connection, opened when first asked and again after it ended."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def open(self):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def _answer(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {}
        for line in head[1:-2]:
            name, value = line.split(":", 1)
            fields[name.lower()] = value.strip()
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
        else:
            body = await self.reader.readexactly(int(fields.get("content-length", 0)))
        return Got(int(head[0].split()[1]), fields, body)

    async def ask(self, url, token=None, seconds=60, **kwargs):
        before = time.monotonic()
        try:
            await self.open()
            self.writer.write(request(url, token, **kwargs))
            got = await asyncio.wait_for(self._answer(), seconds * SLOW)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Cut(repr(error)) from error
        got.seconds = time.monotonic() - before
        if got.fields.get("connection") == "close":
            self.close()
        return got

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None

    def leave(self):
        """As a killed process does."""
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None


async def _at_once(port, calls):
    clients = [Client(port) for _ in calls]
    try:
        for some in itertools.batched(clients, 100) if hasattr(itertools, "batched") else [clients]:
            await asyncio.gather(*(client.open() for client in some))
        return await asyncio.gather(*(client.ask(*call) for client, call in zip(clients, calls)))
    finally:
        for client in clients:
            client.close()
        await asyncio.sleep(0)


def at_once(port, calls):
    """Each (url, token) on a connection of its own, all at the same time."""
    return asyncio.run(_at_once(port, calls))


class Steady:
    """A steady load in a thread: `connections` kept connections, each asking pick() again and again until stop().
    Each answer goes to check(call, got), cuts are kept in .cuts; what check raises fails the stop()."""

    def __init__(self, port, pick, check=None, connections=8, pause=0.0):
        import threading

        self.port, self.pick, self.check = port, pick, check
        self.connections, self.pause = connections, pause
        self.count, self.cuts, self.statuses, self.slowest = 0, [], {}, 0.0
        self.error, self.ended = None, False
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.thread.start()

    async def _one(self):
        client = Client(self.port)
        while not self.ended:
            url, token, *more = call = self.pick()
            try:
                got = await client.ask(url, token, **(more[0] if more else {}))
            except Cut as cut:
                self.cuts.append(str(cut))
                await asyncio.sleep(0.02)
                continue
            self.count += 1
            self.statuses[got.status] = self.statuses.get(got.status, 0) + 1
            self.slowest = max(self.slowest, got.seconds)
            if self.check:
                self.check(call, got)
            await asyncio.sleep(self.pause)
        client.close()
        await asyncio.sleep(0)  # what close() has asked for is done in the loop's next turn

    async def _run(self):
        try:
            await asyncio.gather(*(self._one() for _ in range(self.connections)))
        except BaseException as error:  # noqa: BLE001: for the thread that waits
            self.error, self.ended = error, True

    def stop(self, seconds=30):
        self.ended = True
        self.thread.join(seconds * SLOW)
        assert not self.thread.is_alive(), "a request is stuck"
        if self.error:
            raise self.error
        return self

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        self.ended = True
