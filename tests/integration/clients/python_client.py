"""Python clients that know of the proxy what their environment says, no more. See node_client.mjs: the same steps.

python_client.py CLIENT BASE...      with TOKEN set
"""

import asyncio
import json
import os
import sys
import time

HEADERS = {"Authorization": "Bearer " + os.environ["TOKEN"]}
EVENTS = "/a2a/sse?n=4&ms=200"
BODY = b"x" * 100_000


def say(**line):
    print(json.dumps({"base": base, **line}), flush=True)


def say_line(line):
    if line.startswith("data: "):
        say(step="event", at=time.monotonic() * 1000, text=line)


def with_requests():
    import requests

    session = requests.Session()
    for _ in range(2):
        answer = session.get(f"{base}/a2a/whoami", headers=HEADERS)
        say(step="whoami", status=answer.status_code, body=answer.json())
    answer = session.post(f"{base}/a2a/echo", headers=HEADERS, data=BODY)
    say(step="echo", status=answer.status_code, body=answer.json())
    with session.get(base + EVENTS, headers=HEADERS, stream=True) as answer:
        for line in answer.iter_lines(chunk_size=1):
            say_line(line.decode())


def with_httpx():
    import httpx

    with httpx.Client(timeout=60) as client:
        for _ in range(2):
            answer = client.get(f"{base}/a2a/whoami", headers=HEADERS)
            say(step="whoami", status=answer.status_code, body=answer.json())
        answer = client.post(f"{base}/a2a/echo", headers=HEADERS, content=BODY)
        say(step="echo", status=answer.status_code, body=answer.json())
        with client.stream("GET", base + EVENTS, headers=HEADERS) as answer:
            for line in answer.iter_lines():
                say_line(line)


async def with_httpx_async():
    import httpx

    async def pieces():  # of unknown length: chunked
        for _ in range(10):
            yield BODY[:10_000]

    async with httpx.AsyncClient(timeout=60) as client:
        for _ in range(2):
            answer = await client.get(f"{base}/a2a/whoami", headers=HEADERS)
            say(step="whoami", status=answer.status_code, body=answer.json())
        answer = await client.post(f"{base}/a2a/echo", headers=HEADERS, content=pieces())
        say(step="echo", status=answer.status_code, body=answer.json())
        async with client.stream("GET", base + EVENTS, headers=HEADERS) as answer:
            async for line in answer.aiter_lines():
                say_line(line)


async def with_aiohttp():
    import aiohttp

    async with aiohttp.ClientSession(trust_env=True, headers=HEADERS) as session:
        for _ in range(2):
            async with session.get(f"{base}/a2a/whoami") as answer:
                say(step="whoami", status=answer.status, body=await answer.json())
        async with session.post(f"{base}/a2a/echo", data=BODY) as answer:
            say(step="echo", status=answer.status, body=await answer.json())
        async with session.get(base + EVENTS) as answer:
            async for line in answer.content:
                say_line(line.decode())


def with_urllib():
    from urllib.request import Request, urlopen

    for _ in range(2):
        with urlopen(Request(f"{base}/a2a/whoami", headers=HEADERS)) as answer:
            say(step="whoami", status=answer.status, body=json.load(answer))
    with urlopen(Request(f"{base}/a2a/echo", headers=HEADERS, data=BODY)) as answer:
        say(step="echo", status=answer.status, body=json.load(answer))
    with urlopen(Request(base + EVENTS, headers=HEADERS)) as answer:
        for line in answer:
            say_line(line.decode())


CLIENTS = {
    "requests": with_requests,
    "httpx": with_httpx,
    "httpx-async": lambda: asyncio.run(with_httpx_async()),
    "aiohttp": lambda: asyncio.run(with_aiohttp()),
    "urllib": with_urllib,
}

for base in sys.argv[2:]:
    CLIENTS[sys.argv[1]]()
