"""What scenarios are made of: rows of the table, rounds that take turns, and what is read between them."""

import statistics
import time

from .machine import BenchError, get_json


class Row:
    """One line of the table. values: proxy name -> number in `unit`; the judgement compares
    `measured` with `limit` (at most)."""

    def __init__(self, what, unit, values, versus=None, limit=None, absolute=None, raw=None,
                 remark=""):
        self.what = what
        self.unit = unit
        self.values = values
        self.raw = raw or {}
        self.remark = remark
        self.versus = versus or []
        self.target = ""
        self.measured = None
        self.met = None
        ours = values.get("tokenhop")
        if absolute is not None:
            self.target = f"<= {absolute:g} {unit}"
            self.measured = ours
            limit = absolute
        elif limit is not None:
            self.target = f"<= {limit:.2f} x {' / '.join(versus)}"
        elif versus:
            self.target = f"none, x {' / '.join(versus)}"
        if versus and absolute is None:
            theirs = [values[n] for n in versus if values.get(n) is not None]
            if ours is not None and len(theirs) == len(versus) and min(theirs) > 0:
                self.measured = ours / min(theirs)
        if limit is not None and self.measured is not None:
            self.met = self.measured <= limit
        self.is_ratio = absolute is None and bool(versus)

    def as_json(self):
        return {"what": self.what, "unit": self.unit, "values": self.values, "target": self.target,
                "measured": self.measured, "met": self.met, "raw": self.raw, "remark": self.remark}


def medians(raw):
    return {name: statistics.median(values) for name, values in raw.items() if values}


def interleaved(bench, fleet, one_round, direct=False):
    """Calls one_round(proxy) for each proxy in turn, round after round, beginning each round with
    another; returns {name: [values]}. direct: also once a round without any proxy (None)."""
    players = list(fleet.proxies) + ([None] if direct else [])
    raw = {p.name if p else "direct": [] for p in players}
    for i in range(bench.args.rounds):
        for k in range(len(players)):
            p = players[(i + k) % len(players)]
            raw[p.name if p else "direct"].append(one_round(p))
    return raw


def cpu_of(bench, fleet, proxy, per, **options):
    """CPU time of the proxy during one load, in microseconds for each of what `per` counts."""
    before = proxy.process.cpu_ns()
    result = bench.load(fleet, proxy, **options)
    # The last connections are closed after the load generator has gone.
    time.sleep(0.05)
    used = proxy.process.cpu_ns() - before
    return used / 1000 / per(result), result


def cpu_inside(bench, fleet, proxy, per, **options):
    """The same without what it takes to open the connections, each of which was used once."""
    before = []
    result = bench.load(fleet, proxy, at_ready=lambda: before.append(proxy.process.cpu_ns()),
                        **options)
    time.sleep(0.05)
    return (proxy.process.cpu_ns() - before[0]) / 1000 / per(result), result


def check_origin(fleet):
    stats = get_json(fleet.origin_port, "/stats")
    if stats["unauthorized"]:
        raise BenchError(f"the origin refused {stats['unauthorized']} requests: a token was wrong")
    refused = get_json(fleet.as_port, "/count")["refused"]
    if refused:
        raise BenchError(f"the authorization server refused {refused} requests: "
                         f"{fleet.as_.tail()}")


def cpu_rounds(bench, fleet, per, warm_requests=2000, how=cpu_of, **options):
    """Interleaved CPU per unit and units a second, after a short unmeasured round each."""
    wall = {p.name: [] for p in fleet.proxies}

    def one_round(proxy):
        value, result = how(bench, fleet, proxy, per, **options)
        wall[proxy.name].append(per(result) / result["seconds"])
        return value

    if warm_requests:
        short = dict(options, requests=warm_requests)
        for proxy in fleet.proxies:
            bench.load(fleet, proxy, **short)
    exchanges = get_json(fleet.as_port, "/count")
    raw = interleaved(bench, fleet, one_round)
    check_origin(fleet)
    if get_json(fleet.as_port, "/count") != exchanges:
        raise BenchError("tokenhop exchanged tokens again while cache hits were measured")
    return raw, wall


def speed_remark(wall):
    return "per second: " + ", ".join(f"{n} {v:,.0f}" for n, v in medians(wall).items())


def requests_of(result):
    return result["requests"]


# Idle is who has been so for a while: each of the proxies gives buffers of its last burst back.
IDLE_REST = 5


def settled(process, rest=0):
    """Memory once it has stopped changing, after `rest` seconds in which nobody asks for anything."""
    time.sleep(rest)
    last = process.memory()
    for _ in range(20):
        time.sleep(0.1)
        now = process.memory()
        if abs(now["pss"] - last["pss"]) < 16384:
            return now
        last = now
    return last
