"""policy.json: what it may say, and what is wrong where."""

import orjson
import pytest

from serinus_server.policy import (
    UNLIMITED,
    AccessMode,
    AccessPolicy,
    AuditPolicy,
    AuditSink,
    InvalidPolicyError,
    Limits,
    Policy,
    parse_policy,
)

KEYS = {"mode": "APIKey"}
TOKENS = {"mode": "KubernetesToken", "audience": "fraud.risk"}


@pytest.mark.parametrize(
    ("document", "policy"),
    [
        ({}, Policy()),
        ({"quota": None, "access": None}, Policy()),
        (
            {"audit": {"samplePercent": 100, "sink": {"file": "/var/log/audit.jsonl"}}},
            Policy(audit=AuditPolicy(100, AuditSink(file="/var/log/audit.jsonl"), frozenset(), 4096)),
        ),
        (
            {
                "audit": {
                    "samplePercent": 0.5,
                    "sink": {"url": "http://audit.risk/records"},
                    "redact": ["face"],
                    "maxTensorBytes": 64,
                }
            },
            Policy(audit=AuditPolicy(0.5, AuditSink(url="http://audit.risk/records"), frozenset({"face"}), 64)),
        ),
        ({"quota": {}}, Policy(UNLIMITED)),
        ({"quota": {"requestsPerSecond": 200, "burst": 50}}, Policy(Limits(200, 50))),
        ({"quota": {"requestsPerSecond": 0.5}}, Policy(Limits(0.5, 1))),
        ({"quota": {"requestsPerSecond": 2.5}}, Policy(Limits(2.5, 3))),
        ({"quota": {"maxConcurrentRequests": 64}}, Policy(Limits(None, 0, 64))),
        (
            {
                "access": KEYS,
                "quota": {"perClient": {"requestsPerSecond": 20, "burst": 10, "maxConcurrentRequests": 8}},
            },
            Policy(UNLIMITED, Limits(20, 10, 8), AccessPolicy(AccessMode.API_KEY)),
        ),
        ({"access": TOKENS}, Policy(access=AccessPolicy(AccessMode.KUBERNETES_TOKEN, "fraud.risk"))),
        (
            {"access": {**TOKENS, "allowed": ["system:serviceaccount:shop:web"], "allowedGroups": []}},
            Policy(
                access=AccessPolicy(
                    AccessMode.KUBERNETES_TOKEN,
                    "fraud.risk",
                    frozenset({"system:serviceaccount:shop:web"}),
                    frozenset(),
                )
            ),
        ),
    ],
)
def test_a_policy_is_read(document: object, policy: Policy) -> None:
    assert parse_policy(orjson.dumps(document)) == policy


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "policy.json is not JSON"),
        (b"quota: {}", "policy.json is not JSON"),
        (b"[]", "the whole must be an object, not []"),
        (b'{"qouta": {}}', "qouta is not known"),
        (b'{"audit": {"sink": {"file": "/a"}}}', "audit.samplePercent must be a number of more than 0, up to 100"),
        (b'{"audit": {"samplePercent": 101, "sink": {"file": "/a"}}}', "audit.samplePercent must be a number of more"),
        (b'{"audit": {"samplePercent": 0, "sink": {"file": "/a"}}}', "audit.samplePercent must be a number of more"),
        (b'{"audit": {"samplePercent": 1}}', "audit.sink must have either a file or a url"),
        (b'{"audit": {"samplePercent": 1, "sink": {}}}', "audit.sink must have either a file or a url"),
        (
            b'{"audit": {"samplePercent": 1, "sink": {"file": "/a", "url": "http://b"}}}',
            "audit.sink must have either a file or a url",
        ),
        (
            b'{"audit": {"samplePercent": 1, "sink": {"file": "a.jsonl"}}}',
            "audit.sink.file must be an absolute path, not 'a.jsonl'",
        ),
        (
            b'{"audit": {"samplePercent": 1, "sink": {"url": "file:///etc/passwd"}}}',
            "audit.sink.url must begin with http:// or https://, not 'file:///etc/passwd'",
        ),
        (b'{"audit": {"samplePercent": 1, "sink": {"path": "/a"}}}', "audit.sink must have either a file or a url"),
        (
            b'{"audit": {"samplePercent": 1, "sink": {"file": "/a"}, "redacted": []}}',
            "audit.redacted is not known",
        ),
        (
            b'{"audit": {"samplePercent": 1, "sink": {"file": "/a"}, "maxTensorBytes": 0}}',
            "audit.maxTensorBytes must be a whole number of at least 1, not 0",
        ),
        (b'{"quota": 5}', "quota must be an object, not 5"),
        (b'{"quota": {"requestPerSecond": 5}}', "quota.requestPerSecond is not known"),
        (b'{"quota": {"requestsPerSecond": 0}}', "quota.requestsPerSecond must be a number of more than 0, not 0"),
        (b'{"quota": {"requestsPerSecond": "5"}}', "quota.requestsPerSecond must be a number of more than 0, not '5'"),
        (
            b'{"quota": {"requestsPerSecond": true}}',
            "quota.requestsPerSecond must be a number of more than 0, not True",
        ),
        (b'{"quota": {"burst": 5}}', "quota.burst needs requestsPerSecond beside it"),
        (b'{"quota": {"requestsPerSecond": 5, "burst": 0}}', "quota.burst must be a whole number of at least 1, not 0"),
        (b'{"quota": {"maxConcurrentRequests": 1.5}}', "maxConcurrentRequests must be a whole number of at least 1"),
        (b'{"quota": {"perClient": {"burts": 5}}}', "quota.perClient.burts is not known"),
        (b'{"quota": {"perClient": {}}}', "quota.perClient needs access, without which clients have no names"),
        (b'{"access": {}}', "access.mode must be one of APIKey, KubernetesToken, not ''"),
        (b'{"access": {"mode": "Open"}}', "access.mode must be one of APIKey, KubernetesToken, not 'Open'"),
        (b'{"access": {"mode": 1}}', "access.mode must be a string, not 1"),
        (b'{"access": {"mode": "APIKey", "audience": "a"}}', "access.audience is not known"),
        (b'{"access": {"mode": "KubernetesToken"}}', "access.audience must be there"),
        (
            b'{"access": {"mode": "KubernetesToken", "audience": "a", "allowed": "b"}}',
            "access.allowed must be a list of strings, not 'b'",
        ),
    ],
)
def test_a_wrong_policy_says_where(content: bytes, complaint: str) -> None:
    with pytest.raises(InvalidPolicyError) as caught:
        parse_policy(content)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("policy.json")


@pytest.mark.parametrize(
    ("allowed", "groups", "user", "members", "let_in"),
    [
        (None, None, "anybody", [], True),
        ([], None, "web", [], False),
        (["web"], None, "web", [], True),
        (["web"], None, "job", ["web"], False),
        (None, ["shop"], "job", ["shop"], True),
        (None, ["shop"], "shop", ["risk"], False),
        (["web"], ["shop"], "web", ["risk"], True),
        (["web"], ["shop"], "job", ["risk"], False),
    ],
)
def test_a_user_has_to_be_named_or_in_a_named_group(
    allowed: list[str] | None, groups: list[str] | None, user: str, members: list[str], let_in: bool
) -> None:
    policy = AccessPolicy(
        AccessMode.KUBERNETES_TOKEN,
        "a",
        None if allowed is None else frozenset(allowed),
        None if groups is None else frozenset(groups),
    )
    assert policy.allows(user, frozenset(members)) == let_in
