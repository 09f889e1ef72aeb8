"""docs/central-delegation.md, as it is written: its keys are made by its commands, its configuration is run with the
sandbox's addresses and ids in place of its own, and every row of its last table is tried."""

import json
import re
import subprocess

import pytest
import requests

import harness
from harness import SOURCE
from rawnet import response
from test_providers import strip_comments

PAGE = (SOURCE / "docs" / "central-delegation.md").read_text()
NAMES = {"assistant": "agent1", "research": "agent2", "dispatch": "agent3", "archive": "agent3", "orders": "api"}
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.split("## 4.")[1].splitlines()
    if line.startswith("| ") and "`" in line
]


def run(*args, **kwargs):
    return subprocess.run([harness.binary("tokenhop"), *map(str, args)], capture_output=True, text=True, **kwargs)


def written(sandbox, folder, carrier):
    """The page's configuration, for this sandbox."""
    config = json.loads(strip_comments(re.findall(r"```jsonc\n(.*?)```", PAGE, re.S)[0]))
    text = json.dumps(config)
    for name, known in (("assistant", "agent1"), ("research", "agent2"), ("dispatch", "agent3")):
        text = text.replace(json.dumps(config["agents"][name]["client_id"]), json.dumps(sandbox.client_id(known)))
        text = text.replace(f'"{name}.pem"', json.dumps(sandbox.key_file(known, "k2")))
        (folder / f"{name}.pw").write_text(f"the password of {name}\n")
    for name in ("research", "archive", "orders"):
        issuer = config["authorization_servers"][name]["issuer"]
        text = text.replace(json.dumps(issuer), json.dumps(sandbox.issuer(issuer.rsplit("/", 1)[1])))
        text = text.replace(f"https://{name}.example.com", sandbox.resource(NAMES[name]))
    text = text.replace("https://example.okta.com", sandbox.issuer())
    text = text.replace("https://assistant.example.com", sandbox.resource("agent1"))
    text = text.replace("https://carrier.example.com/", carrier.url("/"))
    (folder / "carrier.secret").write_text("the-secret-of-the-carrier\n")
    for path in folder.iterdir():
        path.chmod(0o600)
    config = json.loads(text)
    config["listeners"][0]["address"] = f"127.0.0.1:{harness.free_port()}"
    config["workers"] = 1  # so that the lines come in the order of the requests
    # The sandbox is at loopback, and no Okta org: its endpoints are found by their metadata.
    config["egress"] = {"allow": ["127.0.0.0/8"]}
    return config


@pytest.fixture
def central(sandbox, tmp_path, origin):
    carrier = origin(lambda request: response(json.dumps(request.all("Authorization")).encode()))
    with harness.Tokenhop(written(sandbox, tmp_path, carrier), tmp_path) as hop:
        hop.carrier = carrier
        yield hop


def test_the_keys_are_made(tmp_path):
    lines = [line for line in PAGE.splitlines() if line.startswith("build/src/tokenhop keygen")]
    assert len(lines) == 3
    for line in lines:
        args = line.split()[1:]
        done = run(*args, cwd=tmp_path)
        assert done.returncode == 0 and '"kid": "k2"' in done.stdout and (tmp_path / args[-1]).stat().st_mode & 0o077 == 0, done


def call(sandbox, hop, who, what, whom):
    method, target, path = what.strip("`").split(" ")
    base = hop.carrier.url("") if target == "carrier" else sandbox.resource(NAMES[target])
    user = whom.split(",")[0]
    token = None
    if user != "nobody":
        kind = {"audience": "agent1"}
        if "through assistant" in whom:
            kind = {"audience": "agent2", "type": "access_token", "client": "agent1", "chain": 1}
        token = sandbox.mint(user=user, **kind)
    proxy = hop.config["listeners"][0]["address"]
    credentials = "" if who == "a stranger" else f"{who.strip('`')}:the%20password%20of%20{who.strip('`')}@"
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": f"http://{credentials}{proxy}"}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return session.request(method, base.rstrip("/") + path, headers=headers, timeout=60)


def test_each_row_is_so(sandbox, central, tmp_path):
    assert len(ROWS) == 12
    for who, what, whom, outcome in ROWS:
        answer = call(sandbox, central, who, what, whom)
        assert answer.status_code == int(outcome[:3]), (who, what, whom, answer.text)
        if answer.status_code != 200:
            assert answer.json()["code"] == outcome.split("`")[1], (who, what, answer.text)
        elif "carrier" in what:
            assert answer.json() == ["Bearer the-secret-of-the-carrier"]
        else:
            user, acted, scopes = re.fullmatch(r"200, as (\w+), acted for by `(.+)`, scopes `(.+)`", outcome).groups()
            seen = answer.json()
            assert seen["sub"] == harness.decode(sandbox.mint(user=user))[1]["sub"]
            assert seen["chain"][::-1] == [sandbox.client_id(NAMES[name]) for name in acted.split()], (what, seen)
            assert sorted(seen["scopes"]) == scopes.split()
    central.stop()
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert len(lines) == len(ROWS)
    for line, (who, what, _, outcome) in zip(lines, ROWS):
        assert (line["result"] == "granted") == outcome.startswith("200"), (line, outcome)
        assert line.get("caller", "a stranger").endswith(who.strip("`")) and line["method"] == what[1:].split()[0]
    assert run("audit", "verify", tmp_path / "audit.jsonl").returncode == 0


def test_it_can_be_watched_before(sandbox, tmp_path, origin):
    """The same rows with every connection in shadow: what would have become of them, and nobody is kept from anything but
    by who may connect and what is no connection of the agent's."""
    carrier = origin(lambda request: response(json.dumps(request.all("Authorization")).encode()))
    config = written(sandbox, tmp_path, carrier)
    for connection in config["connections"]:
        connection["shadow"] = "exchange"
    with harness.Tokenhop(config, tmp_path) as hop:
        hop.carrier = carrier
        for n, (who, what, whom, outcome) in enumerate(ROWS, 1):
            answer = call(sandbox, hop, who, what, whom)
            is_refused = "destination_denied" in outcome or "407" in outcome
            assert not is_refused or answer.status_code == int(outcome[:3]), (who, what, answer.text)
            assert "policy_denied" not in answer.text and (answer.status_code == 200 or "carrier" not in what)
            harness.wait_until(lambda: len((tmp_path / "audit.jsonl").read_text().splitlines()) == n)
    assert {value for request in carrier.requests for value in request.all("Authorization")} == set()
    for text, (who, what, _, outcome) in zip((tmp_path / "audit.jsonl").read_text().splitlines(), ROWS):
        line = json.loads(text)
        wanted = ["refused"] if "destination_denied" in outcome or "407" in outcome else ["would_grant", "would_widen"]
        assert line["result"] in (["would_deny"] if "policy_denied" in outcome else wanted), (who, what, line)
    assert run("audit", "verify", tmp_path / "audit.jsonl").returncode == 0


def test_it_can_be_asked_before(sandbox, central):
    assert run("check", "-c", central.file).returncode == 0
    url = sandbox.url("agent2", "/a2a/whoami")
    done = run("explain", "-c", central.file, "--method", "POST", "--caller", "trading-assistant", url)
    assert "traders" in done.stdout and "scopes: chat.read chat.history" in done.stdout, done
    done = run("explain", "-c", central.file, "--caller", "operations-dispatch", url)
    assert done.returncode == 1 and "refused: 403 destination_denied" in done.stdout, done
