"""Exchanges are counted by authorization server, user and month, as some servers grant a user only so many."""

import json

from test_admin import Admin


def configure(config):
    config["authorization_servers"]["org"]["quota"] = {"exchanges_per_user_month": 3, "warn_at": "60%"}
    config["workers"] = 1  # so that the access log has them in their order
    config["admin"] = {"address": "unix:admin.sock"}


def quota(hop, name, server):
    return int(Admin(hop).metrics().get(f'tokenhop_{name}{{authorization_server="{server}"}}', 0))


def call(sandbox, hop, user, token=None):
    token = token or sandbox.mint(user=user)
    answer = hop.get(sandbox.url("agent2", "/a2a/whoami"), token)
    assert answer.status_code == 200, answer.text
    return token


def test_a_user_near_the_quota_is_warned_of_once(sandbox, tokenhop):
    hop = tokenhop(configure)
    call(sandbox, hop, "bob")
    first = call(sandbox, hop, "alice")
    call(sandbox, hop, "alice", first)  # from the cache: that costs nothing
    for _ in range(3):
        call(sandbox, hop, "alice")  # another token, the same user; more than the quota are not refused here
    assert quota(hop, "month_exchanges", "org") == 5
    assert quota(hop, "month_user_exchanges_most", "org") == 4
    assert quota(hop, "month_users_warned", "org") == 1
    assert quota(hop, "quota_user_exchanges", "org") == 3
    assert quota(hop, "month_exchanges", "aus2") == 5  # the second leg is granted there
    assert quota(hop, "month_user_exchanges_most", "aus2") == 0  # it has no quota: its users are not kept
    hop.stop()
    warned = [line for line in map(json.loads, hop.stderr.splitlines()) if line["event"] == "quota.near"]
    assert [(line["authorization_server"], line["exchanges"], line["quota"]) for line in warned] == [("org", 2, 3)]
    subjects = [json.loads(line)["subject"] for line in hop.output.splitlines()]
    assert warned[0]["subject"] == subjects[3]  # whose it was is in the access log


def test_what_is_not_granted_does_not_count(sandbox, tokenhop):
    hop = tokenhop(configure)
    sandbox.fault("org_token", "error", count=1, error="access_denied")
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 403
    assert quota(hop, "month_exchanges", "org") == 0
    sandbox.fault("aus2_token", "error", count=1, error="access_denied")
    assert hop.get(sandbox.url("agent2", "/a2a/whoami"), sandbox.mint()).status_code == 403
    assert quota(hop, "month_exchanges", "org") == 1  # its ID-JAG was granted, and counts there
    assert quota(hop, "month_exchanges", "aus2") == 0
