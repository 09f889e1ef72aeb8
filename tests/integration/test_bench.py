"""The comparison's own programs still build and work: one handful of requests of each kind, with tokenhop
alone. What they cost is nobody's business here."""

import json
import pathlib
import subprocess

import harness

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCENARIOS = ("hot", "newconn", "tunnel", "tlsconn", "tlshot", "tlsmint", "tlsbody")


def test_smoke_of_the_comparison(tmp_path):
    only = [part for name in SCENARIOS for part in ("--only", name)]
    done = subprocess.run(
        [
            ROOT / "tests/bench/run", "--smoke", "--proxies", "tokenhop", "--build", tmp_path / "build",
            "--tokenhop", harness.binary("tokenhop"), "--json", tmp_path / "numbers.json", *only,
        ],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "numbers.json").read_text())["rows"]
    measured = {row["what"]: row["values"]["tokenhop"] for row in rows}
    for what in (
        "cache hit, 1 tokens", "new client connection each", "CONNECT tunnel, CPU per MB",
        "new intercepted connection", "the same, destination closes", "request inside of one",
        "new name each time", "bodies inside of one, CPU per MB",
    ):  # fmt: skip
        assert measured[what] > 0, measured
    resumed = next(row for row in rows if row["what"] == "the same, it resumes sessions")
    assert "(0 resumed)" not in resumed["remark"], resumed
