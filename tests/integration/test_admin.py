"""The admin listener and tokenhop ctl: over a unix socket and TCP, by curl, by hand and by ctl; who may not; what it shows
and what it does."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import socket
import stat
import subprocess
import tempfile
import threading
import time

import pytest

import harness
import rawnet

TOKEN = "an-admin-token-0123456789"
MAY = {"X-Tokenhop-Admin": "1"}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Admin:
    """The admin listener of a running tokenhop."""

    def __init__(self, hop):
        self.hop = hop
        address = hop.config["admin"]["address"]
        if address.startswith("unix:"):
            self.path = hop.folder / address.removeprefix("unix:")
            self.connection = lambda: UnixConnection(self.path)
        else:
            host, port = address.rsplit(":", 1)
            self.connection = lambda: http.client.HTTPConnection(host, int(port), timeout=30)

    def request(self, method, path, body=None, **headers):
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            answer.text = answer.read().decode()
            return answer

    def get(self, path, **headers):
        answer = self.request("GET", path, **headers)
        assert answer.status == 200, answer.text
        return json.loads(answer.text)

    def post(self, path, body=None, **headers):
        return self.request("POST", path, json.dumps(body) if body is not None else "", **{**MAY, **headers})

    def raw(self, data, seconds=15):
        """Sends the bytes; all that comes until the end."""
        with contextlib.closing(self.connection()) as connection:
            connection.connect()
            connection.sock.settimeout(seconds)
            with contextlib.suppress(OSError):
                connection.sock.sendall(data)
                connection.sock.shutdown(socket.SHUT_WR)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.sock.recv(65536):
                    received += piece
            return received

    def is_ready(self):
        with contextlib.suppress(OSError):
            return self.request("GET", "/ready").status == 200
        return False

    def metrics(self):
        answer = self.request("GET", "/metrics")
        assert answer.status == 200
        return dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))


@pytest.fixture
def short_folder():
    """A unix socket's path has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="th") as folder:
        yield pathlib.Path(folder)


@pytest.fixture
def running(tokenhop, short_folder):
    """running(change) starts a tokenhop with an admin listener: by default a unix socket."""

    def start(change=None, **admin):
        def with_admin(config):
            config["admin"] = {"address": f"unix:{short_folder}/admin.sock", **admin}
            if change is not None:
                change(config)

        admin = Admin(tokenhop(with_admin))
        harness.wait_until(admin.is_ready)  # the listeners of agents are there before
        return admin

    return start


def ctl(admin, *args, config=True, **more):
    where = ["-c", admin.hop.file] if config else ["--address", admin.hop.config["admin"]["address"]]
    argv = [str(a) for a in (harness.binary("tokenhop"), "ctl", *where, *args)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, **more)
    for sign in ("Sanitizer", "runtime error:"):
        assert sign not in done.stderr, done.stderr
    return done


def call(hop, sandbox, token, agent="agent2"):
    answer = hop.get(sandbox.url(agent, "/a2a/whoami"), token)
    assert answer.status_code == 200, answer.text
    return answer


# --- what it shows ---


def test_status_tells_what_runs(running, sandbox):
    admin = running()
    token = sandbox.mint(user="alice")
    for _ in range(3):
        call(admin.hop, sandbox, token)
    status = admin.get("/status")
    assert status["pid"] == admin.hop.pid and status["state"] == "ready"
    assert status["workers"]["count"] == status["workers"]["running"] >= 1
    assert status["configuration"]["file"] == str(admin.hop.file)
    assert abs(status["configuration"]["loaded_at"] - time.time()) < 60
    assert status["requests"] == 3 and status["log_level"] == "info"
    assert status["cache"]["entries"] == 1 and status["cache"]["misses"] == 1 and status["cache"]["hits"] == 2


def test_connections_are_listed_with_what_is_cached(running, sandbox):
    admin = running()
    call(admin.hop, sandbox, sandbox.mint(user="alice"))
    call(admin.hop, sandbox, sandbox.mint(user="bob"))
    listed = {c["name"]: c for c in admin.get("/connections")["connections"]}
    configured = {c["name"]: c for c in admin.hop.config["connections"]}
    assert listed.keys() == configured.keys()
    assert listed["agent2"]["cached"] == 2 and listed["agent3"]["cached"] == 0
    assert listed["agent2"]["type"] == "agent_to_agent" and listed["agent2"]["agents"] == ["agent1"]
    assert listed["agent2"]["urls"] == [configured["agent2"]["url"]]
    assert listed["agent2"]["requests"] == 2 and "last_error" not in listed["agent2"]
    assert listed["agent2"]["authorization_server"] == configured["agent2"]["authorization_server"]


def test_requests_are_counted_by_connection(running, sandbox):
    admin = running()
    token = sandbox.mint(user="alice")
    for _ in range(3):
        call(admin.hop, sandbox, token)
    sandbox.fault("org_token", "unavailable", count=10)
    assert admin.hop.get(sandbox.url("agent3", "/a2a/whoami"), token).status_code == 503
    harness.wait_until(lambda: "exchange_unavailable" in admin.request("GET", "/connections").text)  # once it is recorded
    metrics = admin.metrics()
    of = lambda name, kind: metrics[f'tokenhop_connection_requests_total{{connection="{name}",class="{kind}"}}']
    assert (of("agent2", "2xx"), of("agent2", "5xx"), of("agent3", "2xx"), of("agent3", "5xx")) == ("3", "0", "0", "1")
    assert metrics['tokenhop_connection_cache_hits_total{connection="agent2"}'] == "2"
    assert int(metrics["tokenhop_leg_duration_seconds_count"]) >= 3
    assert int(metrics["tokenhop_connect_duration_seconds_count"]) >= 1
    assert int(metrics["process_open_fds"]) > 10 and int(metrics["process_max_fds"]) > 10
    listed = {c["name"]: c for c in admin.get("/connections")["connections"]}
    assert listed["agent3"]["last_error"] == "exchange_unavailable" and listed["agent3"]["failed_5xx"] == 1
    assert abs(listed["agent3"]["last_error_at"] - time.time()) < 60
    # They outlive a reload, also of what is not configured any more.
    admin.hop.config["connections"] = [c for c in admin.hop.config["connections"] if c["name"] == "agent3"]
    admin.hop.write()
    assert admin.post("/reload").status == 200
    metrics = admin.metrics()
    assert of("agent2", "2xx") == "3" and metrics['tokenhop_reloads_total{result="succeeded"}'] == "1"


def test_cache_is_listed_and_no_token_is_in_it(running, sandbox):
    admin = running()
    tokens = [sandbox.mint(user=user) for user in ("alice", "bob")]
    issued = [call(admin.hop, sandbox, token) for token in tokens]
    entries = admin.get("/cache")["entries"]
    assert len(entries) == 2
    for entry in entries:
        assert entry["connection"] == "agent2" and entry["agent"] == "agent1" and entry["state"] == "ready"
        assert re.fullmatch("[0-9a-f]{12}", entry["subject"]) and entry["expires_in_seconds"] > 0
    # The fingerprints are those of the access log.
    harness.wait_until(lambda: admin.hop.output.count("\n") >= 2)
    logged = {json.loads(line)["subject"] for line in admin.hop.output.splitlines()}
    assert logged == {entry["subject"] for entry in entries}
    assert len(admin.get(f"/cache?subject={entries[0]['subject']}&connection=agent2")["entries"]) == 1
    assert len(admin.get("/cache?connection=agent3")["entries"]) == 0
    cut = admin.get("/cache?limit=1")
    assert len(cut["entries"]) == 1 and cut["cut"] and cut["in_all"] == 2
    everything = "".join(admin.request("GET", path).text for path in
                         ("/", "/status", "/connections", "/cache", "/metrics", "/log-level"))
    assert issued and "eyJ" not in everything and "PRIVATE" not in everything
    for token in tokens:
        assert token not in everything and token.split(".")[2] not in everything


def test_bad_questions_are_refused(running):
    admin = running()
    for query, status in {"connection=nope": 404, "agent=nope": 404, "subject=zz": 404, "subject=" + "g" * 12: 404,
                          "limit=x": 400, "limit=100001": 400, "what=1": 400, "connection=": 400, "connection": 400,
                          "connection=agent2&connection=agent3": 400, "connection=" + "a" * 65: 400}.items():
        assert admin.request("GET", "/cache?" + query).status == status, query
    for body in ('', '{}', '[]', '{"all": false}', '{"all": true, "agent": "agent1"}', '{"agent": 1}', '{"agent": ""}',
                 '{"agent": "agent1", "agent": "agent1"}', '{"what": "x"}', '{"all": "true"}', '{"all": true', '\0'):
        for path in ("/cache/purge", "/revoke"):
            answer = admin.request("POST", path, body, **MAY)
            assert answer.status == 400, (path, body, answer.text)
            assert json.loads(answer.text)["error"]


def test_page_is_whole_and_escapes(running, sandbox):
    admin = running(lambda config: config["connections"][0].update(
        url=[config["connections"][0]["url"], "https://x.example/a'&b"]))
    answer = admin.request("GET", "/")
    assert answer.getheader("Content-Type").startswith("text/html")
    assert "script" not in answer.text and "default-src 'none'" in answer.getheader("Content-Security-Policy")
    assert "a&#39;&amp;b" in answer.text and "a'&b" not in answer.text
    assert "agent_to_agent" in answer.text
    style = admin.request("GET", "/style.css")
    assert style.status == 200 and style.getheader("Content-Type").startswith("text/css")


def check_documented(text, families):
    """docs/admin.md has a row for each metric, with its type, labels and help, and for no other."""
    labels, helps = {name: [] for name in families}, {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family, helps[line.split(" ", 3)[2]] = line.split(" ", 3)[2:]
        elif not line.startswith("#"):
            for label in re.findall(r'([a-z_]+)="', line):
                if label != "le" and label not in labels[family]:
                    labels[family].append(label)
    labels["tokenhop_breaker_state"] = ["endpoint"]  # has rows only once one has failed
    labels["tokenhop_policy_decisions_total"] = ["rule", "result"]  # only where there is a policy
    labels["tokenhop_shadow_requests_total"] = ["connection", "result"]  # only where a connection is in shadow
    page = (harness.SOURCE / "docs/admin.md").read_text()
    for name, kind in families.items():
        row = f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels[name])} | {helps[name]} |"
        assert row in page.splitlines(), f"docs/admin.md lacks the row\n{row}"
    gone = set(re.findall(r"^\| `([a-z0-9_]+)` \| (?:counter|gauge|histogram) \|", page, re.M)) - set(families)
    assert not gone, f"docs/admin.md has what is not there: {gone}"


def test_metrics_are_what_prometheus_reads(running, sandbox):
    admin = running()
    call(admin.hop, sandbox, sandbox.mint(user="alice"))
    answer = admin.request("GET", "/metrics")
    assert answer.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    families, seen = {}, set()
    for line in answer.text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in families and line.split(" ", 3)[3]
            families[name] = None
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert families[name] is None
            families[name] = kind
        else:
            match = re.fullmatch(r'([a-z0-9_]+)(\{[a-z_]+="(?:[^"\\]|\\.)*"(?:,[a-z_]+="(?:[^"\\]|\\.)*")*\})? (-?[0-9.]+)', line)
            assert match, line
            name = match[1]
            family = name if name in families else re.sub("_(bucket|sum|count)$", "", name)
            assert families[family] in ("counter", "gauge", "histogram"), line
            assert (name, match[2]) not in seen, f"twice: {line}"
            seen.add((name, match[2]))
    assert all(families.values())
    check_documented(answer.text, families)
    metrics = admin.metrics()
    assert metrics["tokenhop_requests_total"] == "1"
    assert metrics["tokenhop_workers"] == metrics["tokenhop_workers_running"]
    assert metrics["tokenhop_draining"] == "0"


# --- who may ---


def test_socket_is_its_owners_and_goes_with_the_process(running):
    admin = running()
    mode = os.stat(admin.path).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    admin.hop.stop()
    assert not admin.path.exists()


def test_stale_socket_is_replaced_and_a_live_one_is_not(running, tokenhop, tmp_path):
    admin = running()
    other = harness.Tokenhop(json.loads(json.dumps(admin.hop.config)), tmp_path)
    other.config["listeners"][0]["address"] = f"127.0.0.1:{harness.free_port()}"
    other.write()
    refused = subprocess.run([harness.binary("tokenhop"), "run", "-c", other.file], capture_output=True, text=True, timeout=30)
    assert refused.returncode == 2 and "another tokenhop answers there" in refused.stderr
    assert admin.get("/status")["pid"] == admin.hop.pid
    admin.hop.process.kill()
    admin.hop.process.wait()
    assert admin.path.exists()
    try:
        other.start()
        harness.wait_until(Admin(other).is_ready)
        assert Admin(other).get("/status")["pid"] == other.pid
    finally:
        other.stop()
    admin.hop.stop(expect=None)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_is_turned_away(running):
    admin = running()
    # Whoever opened the path to others: the peer is still asked who it is.
    os.chmod(admin.path.parent, 0o755)
    os.chmod(admin.path, 0o666)
    argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", str(admin.path), "http://localhost/status"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, user=65534, group=65534, extra_groups=[])
    assert done.stdout == "403"
    assert subprocess.run(argv, capture_output=True, text=True, timeout=30).stdout == "200"
    assert '"admin.peer_refused"' in admin.hop.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_group_may_where_configured(running):
    admin = running(mode="0660")
    os.chmod(admin.path.parent, 0o755)
    assert stat.S_IMODE(os.stat(admin.path).st_mode) == 0o660
    argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", str(admin.path), "http://localhost/status"]
    run = lambda **who: subprocess.run(argv, capture_output=True, text=True, timeout=30, user=65534, **who).stdout
    assert run(group=os.getegid(), extra_groups=[]) == "200"
    assert run(group=65534, extra_groups=[os.getegid()]) == "200"
    os.chmod(admin.path, 0o666)
    assert run(group=65534, extra_groups=[]) == "403"


def test_curl_over_the_socket(running):
    admin = running()
    curl = lambda *a: subprocess.run(["curl", "-s", "--unix-socket", str(admin.path), *a], capture_output=True, text=True,
                                     timeout=30).stdout
    assert json.loads(curl("http://localhost/ready")) == {"ok": True}
    assert json.loads(curl("-H", "X-Tokenhop-Admin: 1", "-d", '{"level": "warn"}', "http://localhost/log-level")) == {
        "level": "warn"}
    # A body that waits for leave to come.
    assert json.loads(curl("-H", "X-Tokenhop-Admin: 1", "-H", "Expect: 100-continue", "-d", '{"level": "info"}',
                           "http://localhost/log-level")) == {"level": "info"}


@pytest.fixture
def over_tcp(running, tmp_path):
    def start(token=True):
        admin = {"address": f"127.0.0.1:{harness.free_port()}"}
        if token:
            file = tmp_path / "admin.token"
            file.touch(0o600)
            file.write_text(TOKEN + "\n")
            admin["token_file"] = str(file)
        return running(**admin)

    return start


def test_tcp_with_a_token(over_tcp):
    admin = over_tcp()
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert admin.get("/status", **bearer)["state"] == "ready"
    assert admin.get("/ready") == {"ok": True} and admin.get("/live") == {"ok": True}
    for path in ("/", "/style.css", "/status", "/metrics", "/connections", "/cache", "/log-level", "/nope"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = admin.request("GET", path, **headers)
            assert answer.status == 401 and answer.getheader("WWW-Authenticate").startswith("Bearer"), path
    for path in ("/cache/purge", "/revoke", "/reload", "/drain", "/log-level"):
        assert admin.post(path, {"all": True}).status == 401
    assert admin.get("/status", **bearer)["state"] == "ready"
    assert ctl(admin, "status").returncode == 0
    file = admin.hop.config["admin"]["token_file"]
    assert ctl(admin, "--token-file", file, "status", config=False).returncode == 0
    done = ctl(admin, "status", config=False)
    assert done.returncode == 1 and "token" in done.stderr and TOKEN not in done.stderr
    # Another token takes effect by a reload.
    pathlib.Path(file).write_text(TOKEN + "-2\n")
    assert admin.post("/reload", **bearer).status == 200
    assert admin.request("GET", "/status", **bearer).status == 401
    assert admin.get("/status", Authorization=f"Bearer {TOKEN}-2")["state"] == "ready"


def test_a_browsers_cross_site_request_does_nothing(over_tcp, sandbox):
    admin = over_tcp(token=False)
    assert admin.get("/status")["state"] == "ready"
    evil = {"Origin": "https://evil.example"}
    # What a form or an image of another site can make a browser send:
    for headers in ({"Content-Type": "text/plain"}, evil, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        for path in ("/cache/purge", "/drain", "/reload", "/log-level"):
            answer = admin.request("POST", path, '{"all": true}', **headers)
            assert answer.status == 403, (path, headers)
            assert answer.getheader("Access-Control-Allow-Origin") is None
    # The preflight of a script:
    answer = admin.request("OPTIONS", "/drain", **evil, Access_Control_Request_Method="POST",
                           Access_Control_Request_Headers="x-tokenhop-admin")
    assert answer.status == 403 and answer.getheader("Access-Control-Allow-Headers") is None
    # A name of another site that resolves to loopback:
    for host in ("evil.example", "evil.example:80", "10.1.2.3"):
        assert admin.request("GET", "/status", Host=host).status == 403
        assert admin.post("/drain", Host=host).status == 403
    assert admin.get("/status")["state"] == "ready"


def test_r10_no_hop_reaches_the_admin_listener(over_tcp, sandbox):
    admin = over_tcp(token=False)
    hop, address = admin.hop, admin.hop.config["admin"]["address"]
    hop.config["unmatched"] = "forward"
    hop.config["egress"]["allow"].append("127.0.0.0/8")
    hop.reload()
    harness.wait_until(lambda: "config.reloaded" in hop.stderr)
    port = address.rsplit(":", 1)[1]
    for name in (address, f"localhost:{port}", f"0.0.0.0:{port}"):
        answer = hop.get(f"http://{name}/status")
        assert answer.status_code in (403, 508), (name, answer.text)
        assert "workers" not in answer.text


# --- what comes that is no request ---

GARBAGE = {
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(200) + b"\r\n\r\n": b"400",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": b"505",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n": b"400",
    b"GET http://localhost/status HTTP/1.1\r\nHost: localhost\r\n\r\n": b"404",
    b"CONNECT origin.example.com:80 HTTP/1.1\r\nHost: localhost\r\n\r\n": b"403",
    b"POST /drain HTTP/1.1\r\nHost: localhost\r\nX-Tokenhop-Admin: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": b"411",
    b"POST /drain HTTP/1.1\r\nHost: localhost\r\nX-Tokenhop-Admin: 1\r\nContent-Length: 5000\r\n\r\n": b"413",
    b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": b"400",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: tea\r\n\r\n": b"417",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000 + b"\r\n\r\n": b"431",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 70 + b"\r\n": b"431",
    b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n": b"414",
    b"\0" * 20000: b"400",
}


def test_garbage_is_refused(running):
    admin = running()
    for data, status in GARBAGE.items():
        answer = admin.raw(data)
        assert answer.startswith(b"HTTP/1.1 " + status), (data[:60], answer[:200])
    assert admin.get("/status")["state"] == "ready"


def test_pipelined_requests_and_split_ones(running):
    admin = running()
    one = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert admin.raw(one * 20 + last).count(b'"ok": true') == 21
    with contextlib.closing(admin.connection()) as connection:
        connection.connect()
        body = b'{"level": "warn"}'
        whole = (b"POST /log-level HTTP/1.1\r\nHost: localhost\r\nX-Tokenhop-Admin: 1\r\nConnection: close\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(body)) + body
        for i in range(len(whole)):
            connection.sock.sendall(whole[i:i + 1])
        assert b'"level": "warn"' in b"".join(iter(lambda: connection.sock.recv(4096), b""))
    # HEAD: the fields, and no body
    answer = admin.raw(b"HEAD /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n") and b"Content-Length: " in answer


def test_connections_are_bounded_and_ended(running):
    admin = running()
    idle = []
    try:
        for _ in range(64):
            idle.append(admin.connection())
            idle[-1].connect()
        answer = admin.raw(b"GET /live HTTP/1.1\r\n\r\n")
        assert answer == b"" or answer.startswith(b"HTTP/1.1 503")
        started = time.monotonic()
        idle[0].sock.settimeout(20)
        assert idle[0].sock.recv(1) == b""
        assert 5 < time.monotonic() - started < 15
    finally:
        for connection in idle:
            connection.close()
    harness.wait_until(lambda: admin.request("GET", "/live").status == 200)


# --- what it does ---


def test_purge_makes_the_next_call_a_miss(running, sandbox):
    admin = running()
    alice, bob = sandbox.mint(user="alice"), sandbox.mint(user="bob")
    for token in (alice, bob, alice, bob):
        call(admin.hop, sandbox, token)
    assert sandbox.exchanges("alice", "agent1-agent2") == sandbox.exchanges("bob", "agent1-agent2") == 1
    subjects = {entry["subject"] for entry in admin.get("/cache")["entries"]}
    answer = admin.post("/cache/purge", {"connection": "agent2", "agent": "agent1", "subject": subjects.pop()})
    assert json.loads(answer.text) == {"dropped": 1}
    for token in (alice, bob):
        call(admin.hop, sandbox, token)
    assert sandbox.exchanges("alice", "agent1-agent2") + sandbox.exchanges("bob", "agent1-agent2") == 3
    assert json.loads(admin.post("/cache/purge", {"connection": "agent3"}).text) == {"dropped": 0}
    done = ctl(admin, "cache", "purge")
    assert (done.returncode, done.stdout) == (0, "dropped 2\n")
    assert admin.get("/status")["cache"]["entries"] == 0
    for token in (alice, bob):
        call(admin.hop, sandbox, token)
    assert sandbox.exchanges("alice", "agent1-agent2") + sandbox.exchanges("bob", "agent1-agent2") == 5


def test_revoke_tells_the_authorization_server(running, sandbox):
    admin = running()
    token = sandbox.mint(user="alice")
    call(admin.hop, sandbox, token)
    done = ctl(admin, "revoke")
    assert done.returncode == 2 and "--all" in done.stderr
    done = ctl(admin, "--json", "revoke", "--connection", "agent2")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["dropped"] == 1 and outcome["revoked"] == 1 and outcome["failed"] == 0
    call(admin.hop, sandbox, token)
    assert sandbox.exchanges("alice", "agent1-agent2") == 2
    done = ctl(admin, "revoke", "--all")
    assert done.returncode == 0 and done.stdout.startswith("dropped 1: revoked 1")
    # Nothing is left to revoke: an answer none the less.
    assert ctl(admin, "revoke", "--all").stdout.startswith("dropped 0: revoked 0")


def reusing(config):
    for connection in config["connections"]:
        if connection["name"] == "agent2":
            connection["reuse_id_jag"] = True


@pytest.mark.parametrize("command", [("cache", "purge"), ("revoke", "--all")])
def test_what_is_dropped_is_got_anew_by_every_leg(running, sandbox, command):
    """An ID-JAG that is kept would bring the credential back without a word of who refuses the user now."""
    admin = running(reusing)
    token = sandbox.mint(user="alice")
    call(admin.hop, sandbox, token)
    done = ctl(admin, *command)
    assert done.returncode == 0, done.stderr
    call(admin.hop, sandbox, token)
    assert sandbox.requests("org_token") == 2
    assert sandbox.requests("aus2_token") == 2


def test_reload_waits_and_tells_the_mistakes(running, sandbox):
    admin = running()
    hop = admin.hop
    token = sandbox.mint(user="alice")
    call(hop, sandbox, token)
    connections = hop.config["connections"]
    hop.config["connections"] = [c for c in connections if c["name"] == "agent3"]
    hop.write()
    done = ctl(admin, "reload")
    assert (done.returncode, done.stderr) == (0, "")
    # It was waited for: the very next request goes by it.
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), token).status_code == 403
    assert [c["name"] for c in admin.get("/connections")["connections"]] == ["agent3"]

    hop.config["connections"] = connections
    hop.config["timeouts"] = {"haed": "1s", "idle": 7}
    hop.write()
    answer = admin.post("/reload")
    assert answer.status == 422
    mistakes = json.loads(answer.text)["mistakes"]
    assert {m["path"] for m in mistakes} == {"$.timeouts.haed", "$.timeouts.idle"}
    assert all(m["line"] > 0 and m["column"] > 0 and m["mend"] for m in mistakes)
    done = ctl(admin, "reload", config=False)
    assert done.returncode == 1 and done.stdout == ""
    assert f"{hop.file}:" in done.stderr and "$.timeouts.haed" in done.stderr and 'did you mean "head"?' in done.stderr
    status = admin.get("/status")
    assert status["configuration"]["refused"]["mistakes"] == 2 and status["state"] == "ready"
    assert admin.metrics()["tokenhop_configuration_refused"] == "1"
    assert [c["name"] for c in admin.get("/connections")["connections"]] == ["agent3"]

    del hop.config["timeouts"]
    hop.write()
    assert ctl(admin, "reload", config=False).returncode == 0
    assert "refused" not in admin.get("/status")["configuration"]
    assert admin.metrics()["tokenhop_configuration_refused"] == "0"
    call(hop, sandbox, token)


def test_reload_does_not_move_the_admin_listener(over_tcp):
    admin = over_tcp(token=False)
    address = admin.hop.config["admin"]["address"]
    admin.hop.config["admin"]["address"] = f"127.0.0.1:{harness.free_port()}"
    admin.hop.write()
    answer = admin.post("/reload")
    assert answer.status == 422 and "restart" in answer.text
    admin.hop.config["admin"]["address"] = address
    admin.hop.write()
    assert admin.post("/reload").status == 200


def test_log_level_while_it_runs(running, sandbox):
    admin = running()
    assert ctl(admin, "log-level").stdout == "info\n"
    assert ctl(admin, "log-level", "debug").stdout == "debug\n"
    assert admin.get("/log-level") == {"level": "debug"} and admin.get("/status")["log_level"] == "debug"
    assert ctl(admin, "log-level", "loud").returncode == 1
    for body in ('', '{"level": 1}', '{"level": "info", "more": 1}', '{}', '["info"]'):
        assert admin.request("POST", "/log-level", body, **MAY).status == 400
    assert ctl(admin, "reload").returncode == 0
    assert ctl(admin, "log-level").stdout == "info\n"


def test_drain_ends_it_when_hops_have_ended(running, sandbox, origin):
    asked, go_on = threading.Event(), threading.Event()

    def answer_late(request):
        asked.set()
        assert go_on.wait(20)
        return rawnet.response()

    slow = origin(answer_late)
    admin = running(lambda config: config.update(
        unmatched="forward", egress={"allow": [*config["egress"]["allow"], f"127.0.0.1:{slow.port}"]},
        timeouts={"drain": "20s"}))
    hop = admin.hop
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(hop.get, f"http://127.0.0.1:{slow.port}/slow")
        assert asked.wait(20)
        assert admin.request("GET", "/ready").status == 200
        done = ctl(admin, "drain")
        assert done.returncode == 0, done.stderr
        ready = admin.request("GET", "/ready")
        assert ready.status == 503 and json.loads(ready.text)["why"] == "draining"
        assert ctl(admin, "ready").returncode == 1 and ctl(admin, "live").returncode == 0
        assert admin.get("/status")["state"] == "draining" and hop.is_running()
        assert ctl(admin, "drain").returncode == 0  # said once more
        go_on.set()
        assert answer.result(20).text == "ok"
    assert hop.process.wait(10) == 0


def test_drain_with_nothing_under_way_is_answered(running):
    admin = running()
    answer = admin.post("/drain")
    assert answer.status == 200 and json.loads(answer.text) == {"draining": True}
    assert admin.hop.process.wait(10) == 0
    assert not admin.path.exists()
    done = ctl(admin, "status")
    assert done.returncode == 1 and "No such file" in done.stderr


def test_ctl_shows_tables(running, sandbox):
    admin = running()
    call(admin.hop, sandbox, sandbox.mint(user="alice"))
    status = ctl(admin, "status").stdout
    assert f"pid {admin.hop.pid}" in status and str(admin.hop.file) in status and "1 of 100000 entries" in status
    rows = ctl(admin, "connections").stdout.splitlines()
    assert rows[0].split()[:2] == ["NAME", "TYPE"] and rows[1].split()[:3] == ["agent2", "agent_to_agent", "agent1"]
    rows = ctl(admin, "cache", "list", "--connection", "agent2").stdout.splitlines()
    assert len(rows) == 2 and rows[1].split()[:2] == ["agent2", "agent1"]
    assert json.loads(ctl(admin, "--json", "status").stdout)["pid"] == admin.hop.pid
    assert "tokenhop_requests_total 1" in ctl(admin, "metrics").stdout.splitlines()
    assert ctl(admin, "ready").stdout == "yes\n"
    for args, what in ((["nonsense"], "none of the things"), ([], "say what"), (["cache"], "cache list"),
                       (["status", "x"], "too many"), (["status", "--agent", "a"], "of cache and revoke"),
                       (["cache", "purge", "--agent", "a b"], "cannot be the name"),
                       (["cache", "purge", "--all", "--agent", "agent1"], "not one of some")):
        done = ctl(admin, *args)
        assert done.returncode == 2 and what in done.stderr and done.stdout == "", args
    assert ctl(admin, "cache", "list", "--agent", "nope").returncode == 1


@pytest.mark.threads
def test_everything_at_once(running, sandbox):
    """Requests, questions, purges, reloads and levels from many threads: for the sanitizers, and that all are answered."""
    admin = running()
    hop = admin.hop
    tokens = [sandbox.mint(user=user) for user in ("alice", "bob", "alice")]
    deadline = time.monotonic() + 3

    def until_then(do):
        n = 0
        while time.monotonic() < deadline:
            do()
            n += 1
        return n

    def fine(answer):
        assert answer.status == 200, answer.text

    def ask(*paths):
        return lambda: [fine(admin.request("GET", path)) for path in paths]

    jobs = [
        *(lambda token=token: call(hop, sandbox, token) for token in tokens),
        ask("/status", "/metrics", "/cache"), ask("/", "/connections", "/ready", "/live"),
        lambda: fine(admin.post("/cache/purge", {"all": True})),
        lambda: fine(admin.post("/reload")),
        lambda: fine(admin.post("/log-level", {"level": "debug"})),
        lambda: fine(admin.post("/revoke", {"connection": "agent2"})),
    ]
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        assert all(n > 0 for n in pool.map(until_then, jobs))
    assert admin.get("/status")["state"] == "ready"
