"""The scenarios, each one row or a few of the table in the end."""

import os
import subprocess
import time

from . import interception
from .fleet import Fleet
from .machine import BenchError, Process, get_json, note
from .measure import (IDLE_REST, Row, check_origin, cpu_of, cpu_rounds, interleaved, medians,
                      requests_of, settled, speed_remark)


def hot(bench, n_tokens, workers):
    with Fleet(bench, workers=workers, n_tokens=n_tokens) as fleet:
        fleet.warm()
        raw, wall = cpu_rounds(bench, fleet, requests_of, mode="hot", connections=32 * workers,
                               requests=bench.quick(60000, 15000), tokens=n_tokens)
    what = f"cache hit, {n_tokens:,} tokens" + (f", {workers} workers" if workers > 1 else "")
    values = medians(raw)
    rows = [Row(what, "us", values, ["haproxy"], 0.80, raw=raw, remark=speed_remark(wall))]
    if workers == 1:
        rows.append(Row(what, "us", values, ["nginx"], 0.85))
    return rows


def scenario_hot(bench):
    """CPU per cache-hit request, keep-alive, 1 / 1,000 / 100,000 tokens"""
    many = bench.quick(100000, 20000)
    return [row for n in (1, 1000, many) for row in hot(bench, n, 1)]


def scenario_hot2(bench):
    """the same with 2 workers"""
    many = bench.quick(100000, 20000)
    return [row for n in (1, 1000, many) for row in hot(bench, n, 2)]


def scenario_newconn(bench):
    """CPU per request on new client connections"""
    with Fleet(bench, n_tokens=1000) as fleet:
        fleet.warm()
        raw, wall = cpu_rounds(bench, fleet, requests_of, mode="newconn", connections=32,
                               requests=bench.quick(20000, 5000), tokens=1000)
    return [Row("new client connection each", "us", medians(raw), ["haproxy", "nginx"], 0.90,
                raw=raw, remark=speed_remark(wall))]


def scenario_refuse(bench):
    """CPU and time of refusing a malformed request, each on a new connection"""
    waits = {}

    def one_round(proxy):
        value, result = cpu_of(bench, fleet, proxy, requests_of, mode="newconn", malformed=True,
                               connections=1, requests=bench.quick(10000, 3000), tokens=1000)
        waits.setdefault(proxy.name, []).append(result["p50_us"])
        return value

    with Fleet(bench, n_tokens=1000) as fleet:
        fleet.warm()
        before = get_json(fleet.origin_port, "/stats")
        raw = interleaved(bench, fleet, one_round)
        if get_json(fleet.origin_port, "/stats") != before:
            raise BenchError("a malformed request came to the origin")
    return [Row("malformed request: CPU", "us", medians(raw), ["haproxy", "nginx"], raw=raw),
            Row("malformed request: until the 400", "us", medians(waits), ["haproxy", "nginx"],
                raw=waits, remark="connection made, median of one client at a time")]


def scenario_rate(bench):
    """CPU at a fixed 3,000 requests a second"""
    latency = {}

    with Fleet(bench, n_tokens=1000) as fleet:
        fleet.warm()

        def one_round(proxy):
            value, result = cpu_of(bench, fleet, proxy, requests_of, mode="rate", rate=3000,
                                   seconds=bench.quick(5, 2), connections=256, tokens=1000)
            latency.setdefault(proxy.name, []).append(result["p50_us"])
            return value

        for proxy in fleet.proxies:
            bench.load(fleet, proxy, mode="hot", requests=1000, connections=256, tokens=1000)
        raw = interleaved(bench, fleet, one_round)
        check_origin(fleet)
    return [Row("fixed 3,000 requests/s", "us", medians(raw), ["haproxy"], 0.85, raw=raw,
                remark="median latency, us: " + ", ".join(
                    f"{n} {v:.0f}" for n, v in medians(latency).items()))]


def scenario_sse(bench):
    """delay added to an event, and CPU per event"""
    delay = {}
    options = dict(mode="sse", connections=32, tokens=32,
                   path=f"/sse/10000/{bench.quick(400, 150)}")

    def one_round(proxy):
        if proxy:
            value, result = cpu_of(bench, fleet, proxy, lambda r: r["events"], **options)
        else:
            value, result = 0, bench.load(fleet, None, **options)
        expected = 32 * int(options["path"].rsplit("/", 1)[1])
        if result["events"] != expected:
            raise BenchError(f"{result['events']} events came instead of {expected}")
        delay.setdefault(proxy.name if proxy else "direct", []).append(result["p50_us"])
        return value

    with Fleet(bench, purpose="sse", n_tokens=1000) as fleet:
        fleet.warm()
        raw = interleaved(bench, fleet, one_round, direct=True)
        check_origin(fleet)
    middle = medians(delay)
    direct = middle.pop("direct")
    raw.pop("direct")
    added = {name: value - direct for name, value in middle.items()}
    return [Row("SSE: delay added, median", "us", added, absolute=100, raw=delay,
                remark=f"without a proxy {direct:.0f} us"),
            Row("SSE: CPU per event", "us", medians(raw), ["haproxy"], 0.85, raw=raw)]


def scenario_body(bench):
    """CPU per MB of large plain bodies"""
    size = 64 << 20
    names = list(bench.names)
    if "haproxy" in names:
        names += ["haproxy-nosplice", "haproxy-pipe1m"]
    if "nginx" in names:
        names += ["nginx-1m"]
    names += bench.also("squid")
    with Fleet(bench, purpose="body", names=names) as fleet:
        fleet.warm()
        raw, wall = cpu_rounds(bench, fleet, lambda r: r["body_bytes"] / 1e6, warm_requests=2,
                               mode="body", connections=2, path=f"/big/{size}",
                               requests=bench.quick(24, 8))
    values = medians(raw)
    tuned = {n: values.pop(n) for n in list(values) if n in ("haproxy-pipe1m", "nginx-1m")}
    return [Row("64 MiB bodies, CPU per MB", "us", values, ["haproxy"], 1.05, raw=raw,
                remark=speed_remark(wall).replace("per second", "MB per second")),
            Row("64 MiB bodies, CPU per MB", "us", values, ["nginx", "haproxy-nosplice"], 0.40,
                remark="set up otherwise: " + ", ".join(f"{n} {v:.0f}" for n, v in tuned.items()))]


def scenario_tunnel(bench):
    """CPU per MB through a CONNECT tunnel"""
    names = [n for n in bench.names if n == "tokenhop"] + bench.also("squid", "trafficserver")
    with Fleet(bench, purpose="tunnel", names=names) as fleet:
        raw, wall = cpu_rounds(bench, fleet, lambda r: r["body_bytes"] / 1e6, warm_requests=2,
                               mode="body", tunnel=True, connections=2, path=f"/big/{64 << 20}",
                               requests=bench.quick(16, 8))
    return [Row("CONNECT tunnel, CPU per MB", "us", medians(raw), ["squid", "trafficserver"], 0.50,
                raw=raw, remark=speed_remark(wall).replace("per second", "MB per second"))]


def scenario_idle(bench):
    """memory for 5,000 idle keep-alive clients"""
    n = bench.quick(5000, 2000)
    each, total, detail = {}, {}, {}
    for name in bench.names:
        # Alone, so that no page is shared with another proxy.
        with Fleet(bench, n_tokens=64, names=[name]) as fleet:
            fleet.warm()
            proxy = fleet.proxies[0]
            bench.load(fleet, proxy, mode="hot", requests=2000, connections=64, tokens=64)
            before = settled(proxy.process, IDLE_REST)
            argv = bench.load_argv(fleet, proxy, mode="idle", connections=n, tokens=64)
            load = Process("load-idle", argv, fleet.directory, cpus=fleet.other_cpus,
                           stdout=subprocess.PIPE, stdin=subprocess.PIPE)
            if load.popen.stdout.readline().strip() != b"ready":
                raise BenchError(f"{name}: {n} clients could not connect: {load.tail()}")
            held = settled(proxy.process, IDLE_REST)
            out, _ = load.popen.communicate(timeout=60)
            load.stop()
            if b'"errors": 0' not in out or b'"reconnects": 0' not in out:
                raise BenchError(f"{name} did not keep {n} clients: {out.decode()}")
            each[name] = (held["pss"] - before["pss"]) / n
            total[name] = held["pss"] / 1e6
            detail[name] = {"before": before, "held": held}
    remark = "RSS, MB: " + ", ".join(f"{k} {v['held']['rss'] / 1e6:.1f}" for k, v in detail.items())
    return [Row(f"{n:,} idle clients, each", "bytes", each, absolute=512, raw=detail),
            Row(f"{n:,} idle clients, in all", "MB", total, absolute=10, remark=remark)]


def scenario_credentials(bench):
    """memory for 100,000 cached credentials"""
    n = bench.quick(100000, 20000)
    grown = {}

    def measure(label, name, **options):
        with Fleet(bench, names=[name], n_tokens=1, **options) as fleet:
            empty = settled(fleet.proxies[0].process)
        with Fleet(bench, names=[name], n_tokens=n, **options) as fleet:
            # tokenhop's cache fills by requests: its growth is taken from one process, after a
            # first exchange has loaded whatever an exchange needs.
            if name == "tokenhop":
                bench.load(fleet, fleet.proxies[0], mode="hot", requests=200, tokens=100,
                           first=5000000)
                empty = settled(fleet.proxies[0].process)
                fleet.warm()
            full = settled(fleet.proxies[0].process)
        grown[label] = (full["pss"] - empty["pss"]) / n

    for name in bench.names:
        measure(name, name)
    remark = ""
    if "haproxy" in bench.names:
        measure("haproxy_sha", "haproxy", haproxy_sha=True)
        remark = f"HAProxy with a map keyed by SHA-256: {grown.pop('haproxy_sha'):,.0f} bytes"
    return [Row(f"{n:,} credentials, each", "bytes", grown, ["haproxy"], 0.70, remark=remark)]


def fresh_tokens(count):
    """The first index of `count` tokens that nobody has used in this run."""
    fresh_tokens.next += count
    return fresh_tokens.next - count


fresh_tokens.next = 1000000


def scenario_flight(bench):
    """1,000 concurrent requests with one missing token: one exchange"""
    if "tokenhop" not in bench.names:
        return [Row("1,000 requests, one missing token", "exchanges", {}, absolute=1)]
    n = 1000
    raw = []
    for workers in (1, 2):
        with Fleet(bench, workers=workers, names=["tokenhop"]) as fleet:
            proxy = fleet.proxies[0]
            fleet.warm()
            # Slow enough that all requests are there before the first answer.
            get_json(fleet.as_port, "/delay/300")
            for _ in range(bench.args.rounds):
                before = get_json(fleet.as_port, "/count")
                bench.load(fleet, proxy, mode="hot", connections=n, requests=n, tokens=1,
                           first=fresh_tokens(1))
                after = get_json(fleet.as_port, "/count")
                raw += [after["org"] - before["org"], after["custom"] - before["custom"]]
            check_origin(fleet)
    if min(raw) < 1:
        raise BenchError("a request with a new token was answered without an exchange")
    return [Row("1,000 requests, one missing token", "exchanges", {"tokenhop": max(raw)},
                absolute=1, raw={"tokenhop": raw},
                remark="requests per leg and burst, the most of all bursts, 1 and 2 workers")]


def scenario_miss(bench):
    """CPU of one cache miss: two legs, ES256"""
    if "tokenhop" not in bench.names:
        return [Row("one cache miss", "us", {}, absolute=400)]
    n = bench.quick(3000, 1000)
    with Fleet(bench, names=["tokenhop"]) as fleet:
        fleet.warm()

        def one_round(proxy):
            before = get_json(fleet.as_port, "/count")
            value, _ = cpu_of(bench, fleet, proxy, requests_of, mode="hot", connections=4,
                              requests=n, tokens=n, first=fresh_tokens(n), in_order=True)
            after = get_json(fleet.as_port, "/count")
            if after["org"] - before["org"] != n or after["custom"] - before["custom"] != n:
                raise BenchError(f"{n} missing tokens led to {before} -> {after}")
            return value

        one_round(fleet.proxies[0])
        raw = interleaved(bench, fleet, one_round)
        check_origin(fleet)
    return [Row("one cache miss, request included", "us", medians(raw), absolute=400, raw=raw)]


def scenario_slow(bench):
    """peak memory with 32 slow readers of 64 MiB"""
    n = 32
    each, peak, detail = {}, {}, {}
    options = {"seconds": 3} if bench.args.quick else {}
    for name in bench.names + bench.also("squid"):
        with Fleet(bench, purpose="body", names=[name]) as fleet:
            fleet.warm()
            proxy = fleet.proxies[0]
            bench.load(fleet, proxy, mode="hot", requests=1000, connections=n)
            before = settled(proxy.process)
            argv = bench.load_argv(fleet, proxy, mode="slow", connections=n, path=f"/big/{64 << 20}",
                                   read=65536, tick=10, rcvbuf=65536, **options)
            load = Process("load-slow", argv, fleet.directory, cpus=fleet.other_cpus,
                           stdout=subprocess.PIPE)
            most = dict(before)
            while load.popen.poll() is None:
                now = proxy.process.memory()
                most = {k: max(v, now[k]) for k, v in most.items()}
                time.sleep(0.02)
            out = load.popen.stdout.read()
            load.stop()
            if b'"errors": 0' not in out:
                raise BenchError(f"{name}: slow readers failed: {out.decode()} {load.tail()}")
            each[name] = (most["pss"] - before["pss"]) / n / 1024
            peak[name] = most["pss"] / 1e6
            detail[name] = {"before": before, "peak": most}
    remark = "RSS, MB: " + ", ".join(f"{k} {v['peak']['rss'] / 1e6:.1f}" for k, v in detail.items())
    return [Row(f"{n} slow readers, each", "KiB", each, absolute=16, raw=detail),
            Row(f"{n} slow readers, peak", "MB", peak, absolute=8, remark=remark)]


SCENARIOS = {name[len("scenario_"):]: fn
             for name, fn in list(globals().items()) + list(vars(interception).items())
             if name.startswith("scenario_")}


def run_scenario(bench, name):
    began = time.monotonic()
    note(f"{name}: {SCENARIOS[name].__doc__}")
    rows = SCENARIOS[name](bench)
    note(f"  took {time.monotonic() - began:.0f} s; load average {os.getloadavg()[0]:.1f}")
    return rows
