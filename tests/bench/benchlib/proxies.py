"""The proxies that are compared, each set up for the same task: take a request in absolute form, swap
the bearer token for the one that belongs to it, forward it over pooled keep-alive connections.

HAProxy and nginx look the token up in a map loaded at start. They are set up as well as we know how:
no logs, no limits that bite, every pool as large as needed, nothing done that the task does not ask."""

import json
import os
import subprocess

from .machine import (ORIGIN, BenchError, NotOffered, Process, find_program, free_port,
                      wait_for_port)


class Proxy:
    """One running proxy. Subclasses write the configuration and give the command line."""

    name = None

    def __init__(self, bench, fleet):
        self.bench = bench
        self.fleet = fleet
        self.port = free_port()
        self.directory = os.path.join(fleet.directory, self.name)
        os.makedirs(self.directory, exist_ok=True)
        self.process = None

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.directory, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as f:
            f.write(text)
        return path

    def start(self):
        argv = self.prepare()
        self.process = Process(self.name, argv, self.directory, cpus=self.fleet.proxy_cpus)
        wait_for_port(self.port, self.process, 60)

    def prepare(self):
        raise NotImplementedError

    def warm(self):
        """Whatever must have happened before this proxy is at its best."""

    def stop(self):
        if self.process:
            self.process.stop()


class HAProxy(Proxy):
    name = "haproxy"
    splices = True
    tuning = ""

    def prepare(self):
        f = self.fleet
        options = {
            "sse": "    option http-no-delay\n",  # its default corks small chunks
            "body": "    option splice-response\n" if self.splices else "",
        }.get(f.purpose, "")
        key = "http_auth_bearer"
        if f.haproxy_sha:
            key += ",sha2(256),hex"
        path = self.write("haproxy.cfg", f"""\
global
    nbthread {f.workers}
    maxconn {self.bench.max_clients}
{self.tuning}    tune.pool-high-fd-ratio 90
    tune.pool-low-fd-ratio 90

defaults
    mode http
    timeout client 1h
    timeout server 1h
    timeout connect 10s
    timeout http-keep-alive 1h
    http-reuse always
{options}
frontend agents
    bind 127.0.0.1:{self.port}
    http-request set-header Authorization %[{key},map_str({f.map_file(self.map_kind())})]
    default_backend origin

backend origin
    server o 127.0.0.1:{f.origin_port} pool-purge-delay 1h
""")
        program = find_program("haproxy")
        done = subprocess.run([program, "-c", "-q", "-f", path], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            raise BenchError(f"HAProxy refuses its configuration: {done.stderr}")
        return [program, "-db", "-f", path]

    def map_kind(self):
        return "haproxy-sha" if self.fleet.haproxy_sha else "haproxy"


class HAProxyNoSplice(HAProxy):
    name = "haproxy-nosplice"
    splices = False


class HAProxyLargePipes(HAProxy):
    name = "haproxy-pipe1m"
    tuning = "    tune.pipesize 1048576\n"


class Nginx(Proxy):
    name = "nginx"
    buffer = "16k"

    def prepare(self):
        f = self.fleet
        buffering = {
            "sse": "proxy_buffering off;",
            # Without temporary files. Larger buffers make large bodies cheaper and every slow
            # reader dearer: one size has to serve both, as it does for the others.
            "body": f"proxy_buffering off; proxy_buffer_size {self.buffer}; "
                    f"proxy_buffers 8 {self.buffer};",
        }.get(f.purpose, "proxy_max_temp_file_size 0;")
        temp = "".join(f"    {kind}_temp_path {self.directory}/{kind};\n" for kind in
                       ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if os.geteuid() == 0 else ""
        path = self.write("nginx.conf", f"""\
{user}daemon off;
worker_processes {f.workers};
worker_rlimit_nofile {self.bench.max_files};
error_log stderr crit;
pid {self.directory}/nginx.pid;
events {{
    use epoll;
    accept_mutex off;
    worker_connections {self.bench.max_clients * 2};
}}
http {{
{temp}    access_log off;
    server_tokens off;
    tcp_nodelay on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    reset_timedout_connection on;
    map_hash_max_size {max(2048, f.n_tokens * 3)};
    map_hash_bucket_size 16384;
    map $http_authorization $swapped {{
        default "";
        include {f.map_file("nginx")};
    }}
    upstream origin {{
        server 127.0.0.1:{f.origin_port} max_fails=0;
        keepalive 512;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{self.port} backlog=4096{" reuseport" if f.workers > 1 else ""};
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header Authorization $swapped;
            proxy_read_timeout 1h;
            {buffering}
        }}
    }}
}}
""")
        return [find_program("nginx"), "-e", "stderr", "-p", self.directory, "-c", path]


class NginxLargeBuffers(Nginx):
    name = "nginx-1m"
    buffer = "1m"


class Tokenhop(Proxy):
    name = "tokenhop"

    def prepare(self):
        f = self.fleet
        key = os.path.join(self.directory, "agent1.pem")
        subprocess.run([find_program("openssl"), "genpkey", "-algorithm", "EC", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-out", key], check=True, capture_output=True)
        os.chmod(key, 0o600)
        token_endpoint = f"http://127.0.0.1:{f.as_port}"
        config = {
            "listeners": [{"name": "bench", "address": f"127.0.0.1:{self.port}", "mode": "forward",
                           "agent": "agent1"}],
            "authorization_servers": {
                "org": {"issuer": "https://org.bench.example",
                        "token_endpoint": token_endpoint + "/org/token"},
                "custom": {"issuer": "https://org.bench.example/oauth2/bench",
                           "token_endpoint": token_endpoint + "/custom/token"},
            },
            "agents": {"agent1": {
                "client_id": "wlpbench0000000000001",
                "auth": {"method": "private_key_jwt", "key_file": key, "kid": "bench",
                         "alg": "ES256"},
                "resource": "https://agent1.bench.example",
                "authorization_server": "org",
            }},
            "connections": [{
                "name": "agent2",
                "url": f"http://127.0.0.1:{f.origin_port}/",
                "type": "agent_to_agent",
                "agents": ["agent1"],
                "authorization_server": "custom",
                "resource": "https://agent2.bench.example",
                "scopes": ["chat.read"],
                # The token is looked up, as in the maps of the others. Their clients' tokens are signed by
                # nobody: on a miss the authorization server takes them, and here nobody verifies them.
                "subject": {"verify": False},
            }],
            "unmatched": "deny",
            "egress": {"allow": [f"127.0.0.1:{f.origin_port}", f"127.0.0.1:{f.as_port}"]},
            "origin": {"idle_timeout": "1h", "max_idle": 512},
            "cache": {"max_entries": 400000, "max_bytes": "1GiB"},
            "timeouts": {"idle": "1h"},
            "limits": {"connections": self.bench.max_clients, "waiting_exchanges": 4000},
            "workers": f.workers,
            "log": {"level": "warn", "access_file": ""},
        }
        if f.purpose == "tunnel":
            # The origin is no connection's then: CONNECT to it is a plain tunnel.
            config["connections"][0]["url"] = "http://agent2.bench.example/"
            config["unmatched"] = "forward"
            config["egress"]["connect_ports"] = [f.origin_port]
        if f.purpose == "tls":
            made = self.bench.authority()
            config["connections"][0]["url"] = f"https://*.bench.example:{f.tls_port}/"
            config["interception"] = {"cert_file": made.ca, "key_file": made.ca_key}
            config["origin"]["ca_file"] = made.ca
            config["egress"]["allow"].append(f"127.0.0.1:{f.tls_port}")
        path = self.write("tokenhop.json", json.dumps(config, indent=2))
        done = subprocess.run([self.bench.tokenhop, "check", "-c", path], capture_output=True,
                              text=True, check=False)
        if done.returncode:
            if f.purpose == "tunnel" and "not supported by this version" in done.stderr:
                raise NotOffered("this version of tokenhop has no tunnels")
            raise BenchError(f"tokenhop refuses its configuration: {done.stderr or done.stdout}")
        return [self.bench.tokenhop, "run", "-c", path]

    def warm(self):
        """One request with each token, so that each has been exchanged."""
        if self.fleet.purpose == "tunnel":
            return
        options = {}
        if self.fleet.purpose == "tls":
            options = {"ca": self.bench.authority().ca, "host": ORIGIN}
        self.bench.load(self.fleet, self, mode="hot", requests=self.fleet.n_tokens,
                        tokens=self.fleet.n_tokens, in_order=True, **options)


KINDS = {kind.name: kind for kind in (Tokenhop, HAProxy, HAProxyNoSplice, HAProxyLargePipes, Nginx,
                                      NginxLargeBuffers)}
