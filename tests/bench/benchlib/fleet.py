"""A fleet: one origin, the authorization servers, and the proxies to be compared in front of them, all
running at once so that rounds can go from one to the next."""

import json
import os
import subprocess
import tempfile

from .machine import (ORIGIN, BenchError, NotOffered, Process, cpu_sets, find_program, install_missing,
                      note)
from .proxies import KINDS
from . import tunnels  # noqa: F401  (adds to KINDS)


class Bench:
    """What all scenarios share: the options, the programs, where files go."""

    def __init__(self, args, programs, tokenhop, directory, max_files):
        self.args = args
        self.programs = programs  # name -> path
        self.tokenhop = tokenhop  # path, or None
        self.directory = directory
        self.max_files = max_files
        # HAProxy counts two descriptors a connection, and half a one for pipes.
        self.max_clients = min(8000, (max_files - 500) // 3)
        self.names = [n for n in ("tokenhop", "haproxy", "nginx")
                      if n in args.proxies and (n != "tokenhop" or tokenhop)]
        self.maps = {}
        self.made = None

    def quick(self, full, quick):
        if self.args.smoke:
            return max(2, quick // 20)
        return quick if self.args.quick else full

    def also(self, *names):
        """Those that only some scenarios are for; what is missing is installed."""
        wanted = [n for n in names if n.split("-")[0] in self.args.proxies]
        if any(n.startswith("squid") for n in wanted):
            install_missing("tunnel", ["squid"])
        if "trafficserver" in wanted:
            install_missing("tunnel", ["traffic_server"])
        return wanted

    def map_file(self, kind, n_tokens):
        """Written once per run; the large ones are 140 MB."""
        if (kind, n_tokens) not in self.maps:
            path = os.path.join(self.directory, f"{kind}-{n_tokens}.map")
            with open(path, "wb") as f:
                subprocess.run([self.programs["bench_map"], kind, str(n_tokens)], stdout=f,
                               check=True)
            self.maps[(kind, n_tokens)] = path
        return self.maps[(kind, n_tokens)]

    def token(self, index):
        """The access token that belongs to the subject token of that index, for a proxy without a map."""
        with open(self.map_file("haproxy", index + 1)) as f:
            return f.read().splitlines()[index].split()[-1]

    def authority(self):
        """Made once per run: whom clients and proxies trust, for interception and at the origin."""
        if not self.made:
            self.made = Authority(os.path.join(self.directory, "authority"))
        return self.made

    def load_argv(self, fleet, proxy, **options):
        """proxy None: the origin itself, without any proxy."""
        port = proxy.port if proxy else fleet.origin_port
        argv = [self.programs["bench_load"], "--proxy", str(port), "--origin",
                str(fleet.target_port)]
        if not proxy:
            argv.append("--direct")
        for name, value in options.items():
            name = "--" + name.replace("_", "-")
            argv += [name] if value is True else [name, str(value)]
        return argv

    def load(self, fleet, proxy, allow_errors=False, at_ready=None, **options):
        """Runs the load generator to its end and returns what it printed. A run with errors gives no
        number: it is an error here, unless allowed. at_ready: called when all connections have been
        opened and used once, before the rest begins."""
        argv = self.load_argv(fleet, proxy, **options, **({"wait": True} if at_ready else {}))
        load = Process("load", argv, fleet.directory, cpus=fleet.other_cpus, stdout=subprocess.PIPE,
                       stdin=subprocess.PIPE)
        if at_ready:
            if load.popen.stdout.readline().strip() != b"ready":
                raise BenchError(f"the connections could not be opened: {load.tail()}")
            at_ready()
        out, _ = load.popen.communicate(b"\n" if at_ready else None, timeout=900)
        load.stop()
        who = proxy.name if proxy else "the origin"
        if proxy:
            proxy.process.check_alive()
        try:
            result = json.loads(out)
        except ValueError:
            raise BenchError(f"no result from {' '.join(argv)}: {load.tail()}") from None
        if not allow_errors and (result["errors"] or result["late"] > result["requests"] * 0.01):
            raise BenchError(f"{who}: {result['errors']} of {result['requests']} requests failed, "
                             f"{result['late']} came too late: {result['problem']} "
                             f"(status {result['bad_status']}); {' '.join(argv)}")
        return result


class Authority:
    """An authority and the origin's certificate by it, all keys on P-256."""

    def __init__(self, directory):
        os.makedirs(directory)
        os.chmod(directory, 0o755)
        self.ca, self.ca_key, self.cert, self.key = (
            os.path.join(directory, n) for n in ("ca.pem", "ca.key", "origin.pem", "origin.key"))
        request, names = (os.path.join(directory, n) for n in ("origin.csr", "names"))
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        with open(names, "w") as f:
            f.write(f"subjectAltName=DNS:{ORIGIN}\nextendedKeyUsage=serverAuth\n")
        self.openssl("req", "-x509", *key, "-keyout", self.ca_key, "-out", self.ca, "-days", "30",
                     "-subj", "/CN=bench authority", "-addext", "keyUsage=critical,keyCertSign")
        self.openssl("req", *key, "-keyout", self.key, "-out", request, "-subj", "/CN=bench origin")
        self.openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key,
                     "-CAcreateserial", "-days", "30", "-extfile", names, "-out", self.cert)
        os.chmod(self.ca_key, 0o600)

    @staticmethod
    def openssl(*argv):
        done = subprocess.run([find_program("openssl"), *argv], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise BenchError(f"openssl {argv[0]}: {done.stderr}")


class Fleet:
    """Use as a context: everything is stopped at its end.

    purpose: "hot", "sse", "body" (large ones), "tunnel", or "tls" (interception, the origin in TLS too);
    proxies have a setting or two for some. resume: the origin takes up sessions."""

    def __init__(self, bench, purpose="hot", workers=1, n_tokens=1, names=None, haproxy_sha=False,
                 resume=False):
        self.bench = bench
        self.purpose = purpose
        self.workers = workers
        self.n_tokens = n_tokens
        self.haproxy_sha = haproxy_sha
        self.resume = resume
        self.directory = tempfile.mkdtemp(prefix=f"{purpose}-", dir=bench.directory)
        self.proxy_cpus, self.other_cpus = cpu_sets(workers, bench.args.pin)
        self.names = bench.names if names is None else names
        self.proxies = []
        self.servers = []

    def map_file(self, kind):
        return self.bench.map_file(kind, self.n_tokens)

    def _server(self, name, *argv):
        read_end, write_end = os.pipe()
        server = Process(name, [self.bench.programs[name], *argv], self.directory,
                         cpus=self.other_cpus, stdout=write_end)
        os.close(write_end)
        with os.fdopen(read_end) as f:
            ports = f.readline().split()
        if not ports or not all(port.isdigit() for port in ports):
            raise BenchError(f"{name} did not start: {server.tail()}")
        self.servers.append(server)
        return server, *(int(port) for port in ports)

    @property
    def target_port(self):
        """Of the origin, where the clients' requests go."""
        return self.tls_port if self.purpose == "tls" else self.origin_port

    def __enter__(self):
        try:
            options = ["--tokens", str(self.n_tokens)]
            if self.purpose == "tls":
                made = self.bench.authority()
                options += ["--cert", made.cert, "--key", made.key]
                options += ["--resume"] if self.resume else []
            self.origin, self.origin_port, self.tls_port = self._server("bench_origin", *options)
            self.as_, self.as_port = self._server("bench_as")
            for name in self.names:
                proxy = KINDS[name](self.bench, self)
                self.proxies.append(proxy)
                try:
                    proxy.start()
                except NotOffered as e:
                    note(f"  {e}: only the others are measured")
                    self.proxies.remove(proxy)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def warm(self):
        for proxy in self.proxies:
            if proxy.name == "tokenhop" and self.n_tokens > 1000:
                note(f"  warming tokenhop: {self.n_tokens} exchanges of two legs")
            proxy.warm()

    def close(self):
        for proxy in self.proxies:
            proxy.stop()
        for server in self.servers:
            server.stop()
        self.proxies = []
        self.servers = []
