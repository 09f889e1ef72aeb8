"""Network namespaces of a test's own: a client, the gateway that it reaches the world through, and that world.

    client 10.77.1.2, fd77:1::2 -- agents0 | gateway | world0 -- origins 10.77.2.2, 10.77.2.3, 93.184.216.34, fd77:2::2, ...

Nothing in them is on the machine's network, so that addresses, ports and names are the same for every process that
tests; the namespaces' names are its own. They take CAP_SYS_ADMIN and CAP_NET_ADMIN, as root has on a machine and
in a privileged container: without them a test that needs them fails, and says so.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import socket
import subprocess

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def command(*argv, **more):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=60, **more)
    assert done.returncode == 0, f"{' '.join(map(str, argv))}: status {done.returncode}\n{done.stderr}"
    return done.stdout


def join(fd):
    """The calling thread is in that network namespace from now on."""
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """`with` it, this thread is inside: sockets and children made there belong to it."""

    def __init__(self, what):
        self.name = f"th{os.getpid()}{what}"
        self.etc = pathlib.Path("/etc/netns") / self.name  # `ip netns exec` puts these files over those in /etc
        self.before = []

    def make(self, hosts):
        for program in ("ip", "nft", "iptables-nft", "ip6tables-nft"):
            assert shutil.which(program), f"{program} is missing: deploy/install-packages test"
        try:
            command("ip", "netns", "add", self.name)
        except AssertionError as error:
            raise AssertionError(
                "this machine or container lets nobody make network namespaces, which transparent mode is tested in "
                f"(root, CAP_SYS_ADMIN and CAP_NET_ADMIN are needed): {error}"
            ) from error
        self.etc.mkdir(parents=True)
        self.name_hosts(hosts)
        (self.etc / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        (self.etc / "nsswitch.conf").write_text("hosts: files\npasswd: files\ngroup: files\n")
        self.run("ip", "link", "set", "lo", "up")

    def name_hosts(self, hosts):
        lines = [f"{address} {name}\n" for name, addresses in hosts.items() for address in addresses]
        (self.etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n" + "".join(lines))

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)
        shutil.rmtree(self.etc, ignore_errors=True)

    @property
    def prefix(self):
        return ["ip", "netns", "exec", self.name]

    def run(self, *argv, **more):
        return command(*self.prefix, *argv, **more)

    def nft(self, rules):
        self.run("nft", "-f", "-", input=rules)

    def iptables(self, rules):
        """A command a line; by nftables' tables, so that they are forgotten as others are."""
        for line in rules.splitlines():
            program, *rest = line.split()
            self.run(f"{program}-nft", *rest)

    def redirect(self, rules, by):
        {"nft": self.nft, "iptables": self.iptables}[by](rules)

    def forget_rules(self):
        self.run("nft", "flush", "ruleset")

    def __enter__(self):
        self.before.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        with open(f"/run/netns/{self.name}") as file:
            join(file.fileno())
        return self

    def __exit__(self, *_):
        fd = self.before.pop()
        join(fd)
        os.close(fd)

    def listen(self, address, port):
        with self:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.create_server((address, port), family=family, backlog=64)

    def connect(self, address, port, seconds=20):
        with self:
            return socket.create_connection((address, port), seconds)


class Network:
    """The three of them, joined. `hosts`: what names are called everywhere; name_hosts() changes it for one."""

    ORIGINS = ["10.77.2.2/24", "10.77.2.3/24", "93.184.216.34/32", "fd77:2::2/64", "2606:2800:220::34/128"]

    def __init__(self, hosts):
        self.client, self.gateway, self.world = (Namespace(what) for what in ("client", "gateway", "world"))
        self.hosts = hosts

    def _join(self, outer, outer_name, inner_addresses, other, other_addresses):
        other_name = f"{outer_name}-far"
        outer.run("ip", "link", "add", outer_name, "type", "veth", "peer", "name", other_name, "netns", other.name)
        for namespace, link, addresses in (
            (outer, outer_name, inner_addresses),
            (other, other_name, other_addresses),
        ):
            for address in addresses:
                nodad = ["nodad"] if ":" in address else []
                namespace.run("ip", "address", "add", address, "dev", link, *nodad)
            namespace.run("ip", "link", "set", link, "up")

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        try:
            for namespace in (self.client, self.gateway, self.world):
                self.stack.callback(namespace.remove)
                namespace.make(self.hosts)
            gateway = self.gateway
            self._join(gateway, "agents0", ["10.77.1.1/24", "fd77:1::1/64"], self.client, ["10.77.1.2/24", "fd77:1::2/64"])
            self._join(gateway, "world0", ["10.77.2.1/24", "fd77:2::1/64"], self.world, self.ORIGINS)
            for namespace, near in ((self.client, "77:1::1"), (self.world, "77:2::1")):
                namespace.run("ip", "route", "add", "default", "via", "10." + near.replace("::", ".").replace(":", "."))
                namespace.run("ip", "-6", "route", "add", "default", "via", "fd" + near)
            gateway.run("ip", "route", "add", "93.184.216.34", "via", "10.77.2.2")
            gateway.run("ip", "-6", "route", "add", "2606:2800:220::34", "via", "fd77:2::2")
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()
