"""Sockets by hand: an origin that answers what no server would, and requests that no client would send.

Origin records every byte that reaches it, so that a test can say what never did.
"""

import contextlib
import json
import os
import pathlib
import socket
import threading
import time

import harness


def build_option(name):
    """Of the build that is tested; None: it is not meson's."""
    options = harness.BUILD / "meson-info" / "intro-buildoptions.json"
    with contextlib.suppress(OSError, ValueError, StopIteration):
        return next(o["value"] for o in json.loads(options.read_text()) if o["name"] == name)
    return None


SANITIZED = build_option("b_sanitize") not in ("none", [], None)
# How much longer everything may take; never part of a limit that tokenhop itself is given.
SLOW = float(os.environ.get("TOKENHOP_TEST_SLOW", 5 if SANITIZED else 1))


class Request:
    def __init__(self, head, body):
        self.head, self.body = head, body
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ", 2)
        self.fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line]

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name, default=None):
        return next(iter(self.all(name)), default)


class Reader:
    """Exact reads from a socket."""

    def __init__(self, sock, seen=None):
        self.sock, self.buffer, self.seen = sock, b"", seen

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        if self.seen is not None:
            self.seen.extend(data)
        self.buffer += data

    def until(self, mark):
        while mark not in self.buffer:
            self.more()
        got, self.buffer = self.buffer.split(mark, 1)
        return got + mark

    def exactly(self, count):
        while len(self.buffer) < count:
            self.more()
        got, self.buffer = self.buffer[:count], self.buffer[count:]
        return got

    def chunked(self):
        body = b""
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self.until(b"\r\n") != b"\r\n":
                    pass
                return body
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"


def response(body=b"ok", status=200, fields=()):
    head = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Origin:
    """`answer(request)` gives the bytes to send, or a function that is given the socket; it closes by
    returning False or raising. Everything is kept: .requests, and .raw (all bytes of each connection). `listener`: a
    socket that listens already, elsewhere."""

    def __init__(self, answer=None, backlog=512, listener=None):
        self.answer = answer or (lambda request: response())
        self.requests, self.raw = [], []
        self.sockets, self.lock = set(), threading.Lock()
        self.listener = listener or socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def url(self, path="/a2a/x"):
        return f"http://{self.address}{path}"

    @property
    def bytes(self):
        return b"".join(bytes(raw) for raw in self.raw)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.sockets.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        seen = bytearray()
        self.raw.append(seen)
        reader = Reader(sock, seen)
        try:
            while True:
                head = reader.until(b"\r\n\r\n")[:-4]
                request = Request(head, b"")
                if request.get("Expect"):
                    sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                if request.get("Transfer-Encoding"):
                    request.body = reader.chunked()
                elif request.get("Content-Length"):
                    request.body = reader.exactly(int(request.get("Content-Length")))
                self.requests.append(request)
                answer = self.answer(request)
                if callable(answer):
                    answer = answer(sock)
                elif answer:
                    sock.sendall(answer)
                if answer is False:
                    return
        except (OSError, EOFError, ValueError, AssertionError):
            return
        finally:
            with self.lock:
                self.sockets.discard(sock)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for sock in list(self.sockets):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def serve_at(config, origin, connection="agent2"):
    """The connection's URL has a second pattern: what it protects is here too."""
    entry = next(c for c in config["connections"] if c["name"] == connection)
    urls = entry["url"] if isinstance(entry["url"], list) else [entry["url"]]
    entry["url"] = [*urls, f"http://{origin.address}/"]
    config["egress"]["allow"].append(origin.address)


class Answer:
    def __init__(self, status, fields, body, complete, interim, connection_ends):
        self.status, self.fields, self.body = status, fields, body
        self.complete, self.interim, self.connection_ends = complete, interim, connection_ends

    def get(self, name, default=None):
        return next((value for key, value in self.fields if key.lower() == name.lower()), default)

    def json(self):
        return json.loads(self.body)


class Connection:
    """One connection to tokenhop: send() bytes, read() answers. `port` may be the path of a unix socket."""

    def __init__(self, port, seconds=None, source="127.0.0.1"):
        if isinstance(port, int):
            self.sock = socket.create_connection(("127.0.0.1", port), (seconds or 20) * SLOW, (source, 0))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout((seconds or 20) * SLOW)
            self.sock.connect(str(port))
        self.sock.settimeout((seconds or 20) * SLOW)
        self.reader = Reader(self.sock)

    def send(self, data):
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def read(self, method="GET"):
        """The next final answer, `complete` False when the connection ended inside of it."""
        interim = []
        while True:
            head = self.reader.until(b"\r\n\r\n")[:-4].decode("latin-1").split("\r\n")
            status = int(head[0].split()[1])
            fields = [tuple(part.strip() for part in line.split(":", 1)) for line in head[1:]]
            if status >= 200:
                break
            interim.append(status)
        answer = Answer(status, fields, b"", True, interim, False)
        try:
            if method == "HEAD" or status in (204, 304):
                pass
            elif (answer.get("Transfer-Encoding") or "").lower() == "chunked":
                answer.body = self.reader.chunked()
            elif answer.get("Content-Length") is not None:
                answer.body = self.reader.exactly(int(answer.get("Content-Length")))
            else:
                while True:
                    answer.body += self.reader.buffer
                    self.reader.buffer = b""
                    self.reader.more()
        except EOFError:
            answer.body += self.reader.buffer
            ended_by_close = answer.get("Content-Length") is None and not answer.get("Transfer-Encoding")
            answer.complete, answer.connection_ends = ended_by_close, True
        except ConnectionResetError:
            answer.complete, answer.connection_ends = False, True
        return answer

    def is_closed(self, seconds=3):
        """Whether tokenhop ends it by itself, with nothing more to say."""
        self.sock.settimeout(seconds * SLOW)
        try:
            return self.reader.buffer == b"" and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Leaves as a killed process with unread bytes does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def request(url, token=None, method="GET", fields=(), body=b"", version="HTTP/1.1", length=True):
    """Bytes of a proxy request, absolute-form; `fields` as lines."""
    authority = url.split("/")[2]
    lines = [f"{method} {url} {version}", f"Host: {authority}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body and length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, *fields]).encode("latin-1") + b"\r\n\r\n" + body


class Figures:
    """What a running tokenhop holds, from /proc."""

    def __init__(self, hop):
        self.proc = pathlib.Path(f"/proc/{hop.pid}")
        self.ports = {int(listener["address"].rsplit(":", 1)[1]) for listener in hop.config["listeners"]}

    def descriptors(self):
        """Open descriptors. As the process is hardened only root sees these; others count its clients."""
        try:
            return len(list((self.proc / "fd").iterdir()))
        except PermissionError:
            lines = [line.split() for line in (self.proc / "net/tcp").read_text().splitlines()[1:]]
            time_wait = "06"
            return sum(int(w[1][9:], 16) in self.ports and w[3] != time_wait for w in lines)

    def status(self, name):
        for line in (self.proc / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(name)

    @property
    def rss(self):
        return self.status("VmRSS")

    @property
    def peak(self):
        return self.status("VmHWM")

    def reset_peak(self):
        with contextlib.suppress(PermissionError):  # then the peak is that of all its life: larger
            (self.proc / "clear_refs").write_text("5")

    def idle(self):
        """Descriptors once those of clients that have gone are closed; pooled ones to origins may stay."""
        before, deadline = -1, time.monotonic() + 20 * SLOW
        while (now := self.descriptors()) != before:
            assert time.monotonic() < deadline, "the count of descriptors does not settle"
            before = now
            time.sleep(0.2 * SLOW)
        return now

    def settle(self, level, seconds=15):
        """Waits until no more than `level` descriptors are open; returns how many are."""
        deadline = time.monotonic() + seconds * SLOW
        while self.descriptors() > level and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.descriptors()
