"""Each error that a token endpoint can answer, as docs/answers.md has it: what the caller gets, who else is answered
the same without another request, and what is logged (R13, R14, R28)."""

import json
import re
import time

import pytest

import harness

PAGE = harness.SOURCE / "docs" / "answers.md"
TABLE = harness.SOURCE / "src" / "oauth" / "token_error.c"
WITHIN = 0.8  # seconds in which what is remembered surely still is
ENTRY = re.compile(r'^    \{"(\w+)", TH_E_', re.M)


def read_rows():
    section = PAGE.read_text().split("## What a token endpoint answers")[1]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    for line in lines:
        error, says, gets, remembered, level = (cell.strip() for cell in line.strip("|").split("|"))
        status, code = gets.split()
        yield error.strip("`"), says, int(status), code.strip("`"), remembered, level


ROWS = list(read_rows())


def answer_of(sandbox, error, says):
    """As the server words it: a status of 400, or what Okta's API errors have."""
    if error == "any other":
        error = "some_error_of_tomorrow"
    if error.startswith("E00"):
        return {"kind": "error", "status": 400, "members": {"error": None, "errorCode": error, "errorSummary": says}}
    fault = {"kind": "error", "error": error, "status": 401 if error == "invalid_client" else 400}
    if says:
        fault["description"] = says
    if error.endswith("_required"):
        fault["members"] = {"interaction_uri": sandbox.issuer() + "/oauth2/v1/sts/redirect?dataHandle=x"}
    return fault


@pytest.fixture
def place(tokenhop):
    """One worker, as who is refused is remembered by each."""
    return tokenhop(lambda config: config.update(workers=1), alg="ES256")


def arrived(sandbox, place="org_token"):
    """Requests, played faults too."""
    return sandbox.requests(place) + sum(sandbox.stats()["counters"].get("faults", {}).get(place, {}).values())


class Asked:
    """A call through the proxy, and how many requests it cost the token endpoint."""

    def __init__(self, hop, sandbox, token):
        before = arrived(sandbox)
        self.answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), token)
        self.cost = arrived(sandbox) - before
        self.status = self.answer.status_code


def log_of(hop, error, skip):
    want = f'"oauth_error":"{error}"'
    lines = [line for line in hop.stderr[skip:].splitlines() if "broker.exchange_failed" in line]
    return [json.loads(line) for line in lines if want in line or error == "any other"]


def play(hop, sandbox, row):
    """All three calls at once; None if they took so long that nothing follows from them."""
    error, says, *_ = row
    mine, others = sandbox.mint(user="alice", nonce=str(time.time())), sandbox.mint(user="bob", nonce=str(time.time()))
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(nonce=str(time.time()))).status_code == 200
    sandbox.fault("org_token", **answer_of(sandbox, error, says))
    skip = len(hop.stderr)
    first = Asked(hop, sandbox, mine)
    since = time.monotonic()
    again, other = Asked(hop, sandbox, mine), Asked(hop, sandbox, others)
    in_time = time.monotonic() - since < WITHIN
    sandbox.clear_faults()
    return (first, again, other, skip) if in_time else None


@pytest.mark.parametrize("row", ROWS, ids=[f"{error} {says[:30]}".strip() for error, says, *_ in ROWS])
def test_r13_r28_row(place, sandbox, row):
    error, _, status, code, remembered, level = row
    for _ in range(5):
        played = play(place, sandbox, row)
        if played:
            break
        time.sleep(1.2)  # until what was remembered no longer is
    first, again, other, skip = played
    assert (first.status, first.answer.json()["code"], first.cost) == (status, code, 1)
    if status == 503:
        assert int(first.answer.headers["Retry-After"]) >= 1
    if status == 401:
        assert "error=" in first.answer.headers["WWW-Authenticate"]
    assert ("interaction_uri" in first.answer.json()) == (code == "interaction_required")
    if remembered == "no":
        assert (again.status, again.cost, other.status, other.cost) == (200, 1, 200, 1)
    else:
        assert (again.status, again.answer.json()["code"], again.cost) == (status, code, 0)
        assert other.cost == (0 if remembered == "agent" else 1)
        assert other.status == (status if remembered == "agent" else 200)
    lines = harness.wait_until(lambda: log_of(place, error, skip))
    assert lines[0]["level"] == level, lines


def test_every_error_has_a_row():
    known = set(ENTRY.findall(TABLE.read_text().split("causes[]")[0]))
    known.remove("unsupported_token_type")  # only a revocation endpoint says so, and no caller waits for that
    shown = {row[0] for row in ROWS}
    assert known and known <= shown, known - shown
    assert shown - known == {"any other"}


def test_second_leg_invalid_grant_is_tried_anew_once(place, sandbox):
    url = sandbox.url("agent2", "/a2a/whoami")
    sandbox.fault("aus2_token", "error", error="invalid_grant", count=1)
    assert place.get(url, sandbox.mint(nonce=str(time.time()))).status_code == 200
    assert (arrived(sandbox), arrived(sandbox, "aus2_token")) == (2, 2)
    sandbox.fault("aus2_token", "error", error="invalid_grant", count=2)
    answer = place.get(url, sandbox.mint(nonce=str(time.time())))
    assert (answer.status_code, answer.json()["code"]) == (401, "subject_token_invalid")
    assert (arrived(sandbox), arrived(sandbox, "aus2_token")) == (4, 4)


@pytest.mark.parametrize("status, want", [(429, 503), (500, 503), (503, 503), (400, 502), (404, 502), (418, 502)])
def test_r28_status_without_an_error(place, sandbox, status, want):
    sandbox.fault("org_token", "status", status=status)
    answer = place.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint(nonce=str(time.time())))
    assert answer.status_code == want and answer.json()["code"].startswith("exchange_")
