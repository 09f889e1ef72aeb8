"""The scenarios of TLS interception: clients that ask for a tunnel and speak TLS in it, to an origin that
speaks TLS too, beside Squid's ssl-bump. No side resumes a session but where it is said."""

import subprocess

from .fleet import Fleet
from .machine import ORIGIN, BenchError, Process, find_program, get_json
from .measure import (IDLE_REST, Row, check_origin, cpu_inside, cpu_of, cpu_rounds, interleaved, medians,
                      requests_of, settled, speed_remark)

SQUIDS = ["squid-bump", "squid-stare"]


def names_of(bench, squids=SQUIDS):
    names = [n for n in bench.names if n == "tokenhop"] + bench.also(*squids)
    if len(names) > 1:
        done = subprocess.run([find_program("squid"), "-v"], capture_output=True, text=True,
                              check=False)
        if "--with-openssl" not in done.stdout:
            raise BenchError("this Squid has no ssl-bump: install squid-openssl in its place")
    return names


def to_host(bench, **options):
    return dict({"ca": bench.authority().ca, "host": ORIGIN}, **options)


def handshakes(fleet, what):
    """Calls what() and says how many handshakes the origin had meanwhile, and how many were resumed."""
    before = get_json(fleet.origin_port, "/stats")
    result = what()
    after = get_json(fleet.origin_port, "/stats")
    return result, after["tls"] - before["tls"], after["resumed"] - before["resumed"]


def connections(bench, what, path, limit, resume=False):
    """A new client connection for each request, which asks for `path`."""
    seen = {}
    n = bench.quick(1500, 200)

    def counted(bench, fleet, proxy, per, **options):
        result, full, resumed = handshakes(fleet, lambda: cpu_of(bench, fleet, proxy, per,
                                                                     **options))
        seen[proxy.name] = f"{proxy.name} {full} ({resumed} resumed)"
        return result

    with Fleet(bench, purpose="tls", names=names_of(bench), resume=resume) as fleet:
        fleet.warm()
        raw, wall = cpu_rounds(bench, fleet, requests_of, warm_requests=20, how=counted,
                               **to_host(bench, mode="newconn", connections=16, requests=n,
                                         path=path))
    remark = (speed_remark(wall) + f"; handshakes with the origin for {n}: " +
              ", ".join(seen.values()))
    values = medians(raw)
    return [Row(what, "us", values, ["squid-stare"], limit, raw=raw, remark=remark),
            Row(what, "us", values, ["squid-bump"])]


def scenario_tlsconn(bench):
    """CPU per new intercepted connection, with one request"""
    return [*connections(bench, "new intercepted connection", "/a2a/tasks", 0.15),
            *connections(bench, "the same, destination closes", "/once", None),
            *connections(bench, "the same, it resumes sessions", "/once", None, resume=True)]


def scenario_tlshot(bench):
    """CPU per request inside of intercepted connections"""
    with Fleet(bench, purpose="tls", names=names_of(bench)) as fleet:
        fleet.warm()
        raw, wall = cpu_rounds(bench, fleet, requests_of, warm_requests=200, how=cpu_inside,
                               **to_host(bench, mode="hot", connections=32,
                                         requests=bench.quick(20000, 3000)))
    return [Row("request inside of one", "us", medians(raw), SQUIDS, 0.40, raw=raw,
                remark=speed_remark(wall))]


def scenario_tlsmint(bench):
    """CPU per intercepted connection to a name that is new each time"""
    n = bench.quick(500, 100)
    # Staring needs the destination, which has no such names: only the cheaper way can be compared.
    with Fleet(bench, purpose="tls", names=names_of(bench, ["squid-bump"])) as fleet:
        fleet.warm()
        first = {proxy.name: 0 for proxy in fleet.proxies}

        def one_round(proxy):
            before = proxy.process.cpu_ns()
            bench.load(fleet, proxy, mode="mint", connections=16, requests=n, host="bench.example",
                       ca=bench.authority().ca, first=first[proxy.name])
            first[proxy.name] += n
            return (proxy.process.cpu_ns() - before) / 1000 / n

        for proxy in fleet.proxies:
            one_round(proxy)
        raw = interleaved(bench, fleet, one_round)
        check_origin(fleet)
    return [Row("new name each time", "us", medians(raw), ["squid-bump"], 0.20, raw=raw)]


def scenario_tlsbody(bench):
    """CPU per MB of large bodies inside of intercepted connections"""
    with Fleet(bench, purpose="tls", names=names_of(bench)) as fleet:
        fleet.warm()
        raw, wall = cpu_rounds(bench, fleet, lambda r: r["body_bytes"] / 1e6, warm_requests=2,
                               how=cpu_inside,
                               **to_host(bench, mode="body", connections=2, path=f"/big/{16 << 20}",
                                         requests=bench.quick(16, 4)))
    return [Row("bodies inside of one, CPU per MB", "us", medians(raw), SQUIDS, raw=raw,
                remark=speed_remark(wall).replace("per second", "MB per second"))]


def scenario_tlsidle(bench):
    """memory of idle intercepted connections"""
    n = bench.quick(2000, 300)
    each, detail = {}, {}
    for name in names_of(bench):
        with Fleet(bench, purpose="tls", names=[name]) as fleet:
            fleet.warm()
            proxy = fleet.proxies[0]
            bench.load(fleet, proxy, **to_host(bench, mode="hot", requests=200, connections=32))
            before = settled(proxy.process, IDLE_REST)
            argv = bench.load_argv(fleet, proxy, **to_host(bench, mode="idle", connections=n))
            load = Process("load-idle", argv, fleet.directory, cpus=fleet.other_cpus,
                           stdout=subprocess.PIPE, stdin=subprocess.PIPE)
            if load.popen.stdout.readline().strip() != b"ready":
                raise BenchError(f"{name}: {n} clients could not connect: {load.tail()}")
            held = settled(proxy.process, IDLE_REST)
            out, _ = load.popen.communicate(timeout=60)
            load.stop()
            if b'"errors": 0' not in out or b'"reconnects": 0' not in out:
                raise BenchError(f"{name} did not keep {n} clients: {out.decode()}")
            each[name] = (held["pss"] - before["pss"]) / n / 1024
            detail[name] = {"before": before, "held": held}
    remark = "RSS, MB: " + ", ".join(f"{k} {v['held']['rss'] / 1e6:.1f}" for k, v in detail.items())
    return [Row(f"{n:,} idle intercepted, each", "KiB", each, remark=remark, raw=detail)]
