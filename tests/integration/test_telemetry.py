"""Traces and metrics for an OpenTelemetry collector: what it gets, and that nobody waits for it."""

import http.server
import json
import re
import threading
import time

import pytest

import harness

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


class Collector:
    """Takes OTLP/HTTP; .answers are the statuses of the next messages, then 200. `stall` lets none be answered."""

    def __init__(self):
        self.messages, self.answers, self.stall = [], [], threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                while outer.stall.is_set():
                    time.sleep(0.02)
                outer.messages.append((self.path, dict(self.headers), body))
                status, fields = outer.answers.pop(0) if outer.answers else (200, {})
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def spans(self):
        seen = []
        for path, _, body in list(self.messages):
            if path == "/v1/traces":
                for resource in json.loads(body)["resourceSpans"]:
                    assert attributes(resource["resource"])["service.name"] == "tokenhop"
                    seen += [span for scope in resource["scopeSpans"] for span in scope["spans"]]
        return seen

    def metrics(self):
        bodies = [json.loads(body) for path, _, body in self.messages if path == "/v1/metrics"]
        return {m["name"]: m for m in bodies[-1]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]} if bodies else {}

    def close(self):
        self.stall.clear()
        self.server.shutdown()
        self.server.server_close()


def attributes(of):
    return {a["key"]: next(iter(a["value"].values())) for a in of["attributes"]}


@pytest.fixture
def collector():
    running = Collector()
    yield running
    running.close()


@pytest.fixture
def exporting(tokenhop, collector):
    def start(**telemetry):
        def change(config):
            config["telemetry"] = {"otlp_endpoint": collector.url, "metrics_interval": "0s", **telemetry}

        return tokenhop(change)

    return start


def call(hop, sandbox, token, agent="agent2", **headers):
    answer = hop.get(sandbox.url(agent, "/a2a/whoami?secret=query"), token, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def test_a_hop_and_its_legs_are_one_trace(exporting, collector, sandbox):
    hop = exporting()
    token = sandbox.mint(user="alice")
    call(hop, sandbox, token, traceparent=f"00-{TRACE}-{CALLER}-01")
    spans = harness.wait_until(lambda: len(collector.spans()) >= 3 and collector.spans())
    assert {span["traceId"] for span in spans} == {TRACE} and len(spans) == 3
    top = next(span for span in spans if span["kind"] == 2)
    legs = [span for span in spans if span["kind"] == 3]
    assert top["parentSpanId"] == CALLER and top["name"] == "GET agent2" and "status" not in top
    assert {leg["name"] for leg in legs} == {"leg id_jag", "leg access_token"}
    about = attributes(top)
    assert about["http.response.status_code"] == "200" and about["tokenhop.cache"] == "miss"
    assert about["tokenhop.connection"] == "agent2" and about["tokenhop.agent"] == "agent1"
    assert about["url.path"] == "/a2a/whoami" and re.fullmatch("[0-9a-f]{12}", about["tokenhop.subject"])
    for leg in legs:
        assert leg["parentSpanId"] == top["spanId"] != leg["spanId"]
        assert attributes(leg)["http.response.status_code"] == "200"
        # Within the hop, but for the millisecond of the wall clock.
        assert int(leg["startTimeUnixNano"]) >= int(top["startTimeUnixNano"]) - 2_000_000
        assert int(leg["endTimeUnixNano"]) <= int(top["endTimeUnixNano"]) + 2_000_000
    assert abs(int(top["endTimeUnixNano"]) / 1e9 - time.time()) < 60
    # The destination's own span is below ours.
    seen = [r for r in sandbox.records() if r.get("traceparent")]
    assert not seen or any(top["spanId"] in r["traceparent"] for r in seen)
    call(hop, sandbox, token, traceparent=f"00-{TRACE}-{CALLER}-01")
    hit = harness.wait_until(lambda: len(collector.spans()) >= 4 and collector.spans()[3])
    assert attributes(hit)["tokenhop.cache"] == "hit"
    everything = b"".join(body for _, _, body in collector.messages).decode()
    assert "eyJ" not in everything and token.split(".")[2] not in everything and "secret" not in everything


def test_what_the_caller_does_not_sample_is_not_exported(exporting, collector, sandbox):
    hop = exporting()
    token = sandbox.mint(user="alice")
    call(hop, sandbox, token, traceparent=f"00-{TRACE}-{CALLER}-00")
    call(hop, sandbox, token, traceparent="nonsense")  # begins one of its own, which is sampled
    call(hop, sandbox, token)
    harness.wait_until(lambda: len(collector.spans()) >= 2)
    hop.stop()
    spans = collector.spans()
    assert len(spans) == 2 and all(span["traceId"] != TRACE and "parentSpanId" not in span for span in spans)


def test_none_of_its_own_where_the_share_is_zero(exporting, collector, sandbox):
    hop = exporting(sample_percent=0)
    token = sandbox.mint(user="alice")
    call(hop, sandbox, token)
    call(hop, sandbox, token, traceparent=f"00-{TRACE}-{CALLER}-01")
    hop.stop()
    assert [span["traceId"] for span in collector.spans()] == [TRACE]


def test_failures_are_marked(exporting, collector, sandbox):
    hop = exporting()
    sandbox.fault("org_token", "unavailable", count=10)
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(user="alice")).status_code == 503
    hop.stop()
    top = next(span for span in collector.spans() if span["kind"] == 2)
    leg = next(span for span in collector.spans() if span["kind"] == 3)
    assert top["status"] == {"code": 2} and attributes(top)["error.type"] == "exchange_unavailable"
    assert leg["status"] == {"code": 2} and leg["parentSpanId"] == top["spanId"]


def test_the_rest_is_sent_at_the_end(exporting, collector, sandbox):
    hop = exporting(metrics_interval="1h")
    token = sandbox.mint(user="alice")
    for _ in range(20):
        call(hop, sandbox, token)
    hop.stop()
    assert sum(span["kind"] == 2 for span in collector.spans()) == 20
    metrics = collector.metrics()
    assert metrics["tokenhop_requests_total"]["sum"]["dataPoints"][0]["asInt"] == "20"


def test_a_collector_that_asks_to_come_back_is_asked_again(exporting, collector, sandbox):
    collector.answers += [(503, {"Retry-After": "1"}), (429, {})]
    hop = exporting()
    call(hop, sandbox, sandbox.mint(user="alice"))
    harness.wait_until(lambda: len(collector.messages) >= 3, 15)
    bodies = [body for _, _, body in collector.messages]
    assert bodies[0] == bodies[1] == bodies[2]
    assert '"telemetry.failed"' not in hop.stop()


def test_what_a_collector_refuses_is_given_up(exporting, collector, sandbox):
    collector.answers += [(400, {})]
    hop = exporting()
    call(hop, sandbox, sandbox.mint(user="alice"))
    harness.wait_until(lambda: '"telemetry.failed"' in hop.stderr)
    call(hop, sandbox, sandbox.mint(user="bob"))
    harness.wait_until(lambda: len(collector.messages) >= 2)
    assert collector.messages[0][2] != collector.messages[1][2]


def test_nobody_waits_for_a_collector(exporting, collector, sandbox):
    collector.stall.set()
    hop = exporting(metrics_interval="1s")
    token = sandbox.mint(user="alice")
    call(hop, sandbox, token)
    time.sleep(1.5)  # the first batch is on its way, and stays there
    started = time.monotonic()
    with hop.session() as session:
        for _ in range(200):
            assert session.get(sandbox.url("agent2", "/a2a/whoami"),
                               headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert time.monotonic() - started < 20
    started = time.monotonic()
    hop.stop()
    assert time.monotonic() - started < 8  # 2 s for the collector, at most


def test_authorization_and_metrics(exporting, collector, sandbox, tmp_path):
    file = tmp_path / "collector"
    file.touch(0o600)
    file.write_text("Bearer collectors-own-key\n")
    hop = exporting(metrics_interval="1s", authorization_file=str(file))
    call(hop, sandbox, sandbox.mint(user="alice"))
    harness.wait_until(lambda: {path for path, _, _ in collector.messages} == {"/v1/traces", "/v1/metrics"})
    for _, headers, body in collector.messages:
        assert headers["Authorization"] == "Bearer collectors-own-key" and headers["Content-Type"] == "application/json"
        assert b"collectors-own-key" not in body
    points = lambda m: next(m[kind]["dataPoints"] for kind in ("sum", "gauge", "histogram") if kind in m)
    metrics = harness.wait_until(lambda: collector.metrics().get("tokenhop_requests_total", {}) and
                                 points(collector.metrics()["tokenhop_requests_total"])[0]["asInt"] == "1" and collector.metrics())
    assert metrics["tokenhop_requests_total"]["sum"]["isMonotonic"] and "gauge" in metrics["tokenhop_hops_open"]
    histogram = points(metrics["tokenhop_hop_duration_seconds"])[0]
    assert len(histogram["bucketCounts"]) == len(histogram["explicitBounds"]) + 1
    assert sum(map(int, histogram["bucketCounts"])) == int(histogram["count"]) == 1
    by_connection = [attributes(p) for p in points(metrics["tokenhop_connection_requests_total"])]
    assert by_connection == [{"connection": "agent2", "class": "2xx"}]
    assert "collectors-own-key" not in hop.stop()
