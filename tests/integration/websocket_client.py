"""WebSocket clients that know of the proxy what the environment says, no more.

    python3 websocket_client.py CLIENT URL      with http_proxy or https_proxy, TOKEN and CA_FILE set

Sends a short text and one of a megabyte, and says as JSON what came back.
"""

import asyncio
import json
import os
import socket
import ssl
import sys
import urllib.parse

LONG = "x" * 1_000_000
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}"}


def context(url):
    return ssl.create_default_context(cafile=os.environ["CA_FILE"]) if url.startswith("wss:") else None


async def by_aiohttp(url):
    import aiohttp

    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.ws_connect(url, headers=HEADERS, ssl=context(url), max_msg_size=0) as ws:
            await ws.send_str("hello")
            short = await ws.receive_str()
            await ws.send_str(LONG)
            return short, await ws.receive_str()


def tunnel(url):
    """This version of websockets knows no proxies; its users open the tunnel themselves."""
    place, proxy = urllib.parse.urlsplit(url), os.environ[("https" if url.startswith("wss:") else "http") + "_proxy"]
    sock = socket.create_connection((urllib.parse.urlsplit(proxy).hostname, urllib.parse.urlsplit(proxy).port))
    sock.sendall(f"CONNECT {place.netloc} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    assert b" 200 " in answer.splitlines()[0], answer
    return sock


async def by_websockets(url):
    import websockets

    more = {"ssl": context(url), "server_hostname": urllib.parse.urlsplit(url).hostname} if url[2] == "s" else {}
    async with websockets.connect(
        url, sock=tunnel(url), extra_headers=HEADERS, max_size=None, **more
    ) as ws:
        await ws.send("hello")
        short = await ws.recv()
        await ws.send(LONG)
        return short, await ws.recv()


short, long = asyncio.run({"aiohttp": by_aiohttp, "websockets": by_websockets}[sys.argv[1]](sys.argv[2]))
print(json.dumps({"short": short, "long_is_whole": long == LONG}))
