"""What an https parent sends behind its 200, in a record of its own, before anything went through the tunnel (R4)."""

import contextlib
import socket
import ssl
import threading

import pytest

from harness import ORIGIN
from rawnet import Connection, request
from test_parent import behind, entry, world  # noqa: F401
from test_upgrades import KEY

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nforged"


class EagerParent:
    """Sends its 200 and what comes behind it as records of one segment; `.heard`: what came after the CONNECT."""

    def __init__(self, identity, behind_it):
        self.behind_it, self.heard, self.asked, self.done = behind_it, b"", b"", threading.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(identity.file)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                with sock, contextlib.suppress(ssl.SSLError, OSError):
                    self._serve(sock)
                self.done.set()

    def _serve(self, sock):
        received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(received, to_send, server_side=True)

        def pump(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    sock.sendall(to_send.read())
                    data = sock.recv(65536)
                    received.write(data) if data else received.write_eof()

        pump(tls.do_handshake)
        while b"\r\n\r\n" not in self.asked:
            self.asked += pump(lambda: tls.read(65536))
        tls.write(b"HTTP/1.1 200 OK\r\n\r\n")
        if self.behind_it:
            tls.write(self.behind_it)
        else:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.unwrap()  # its end
        sock.sendall(to_send.read())
        while data := pump(lambda: tls.read(65536)) if self.behind_it else sock.recv(65536):
            self.heard += data

    def close(self):
        self.listener.close()


@pytest.mark.parametrize("behind_it", [SWITCHED, b""], ids=["answer", "end"])
def test_r4_nothing_is_asked_of_who_speaks_too_early(world, behind, own, proxy_authority, behind_it):  # noqa: F811
    """It cannot be the answer to what was not asked yet; and the credential is not sent after it."""
    parent = EagerParent(own, behind_it)
    hop = behind(entry(parent, proxy_authority, carries="origins"))
    with Connection(hop.port) as wire:
        answer = wire.send(request(f"http://{ORIGIN}:{world.clear.port}/x", fields=KEY)).read("HEAD")
    assert answer.status == 502
    assert parent.asked.startswith(b"CONNECT ") and parent.done.wait(20)
    # Of what was to be read behind the end no more than the farewell of TLS may come.
    assert parent.heard == b"" or (not behind_it and len(parent.heard) < 64), len(parent.heard)
    parent.close()
