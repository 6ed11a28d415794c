"""What the pods are told of quota and access, as the server reads it."""

from typing import Any

import pytest

from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.core.policy import policy_document
from serinus_server.policy import AccessMode, AccessPolicy, AuditPolicy, AuditSink, Limits, Policy, parse_policy

MODEL = {"model": {"uri": "s3://models/fraud/1/model.onnx", "version": "1"}}


def document(**spec: Any) -> str:  # noqa: ANN401 - parts of a spec
    return policy_document(InferenceServiceSpec.model_validate(MODEL | spec), "risk", "fraud")


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        pytest.param({}, Policy(), id="nothing is held back"),
        pytest.param(
            {"quota": {"requestsPerSecond": 50, "burst": 80, "maxConcurrentRequests": 8}},
            Policy(limits=Limits(50, 80, 8)),
            id="a quota",
        ),
        pytest.param({"quota": {"requestsPerSecond": 50}}, Policy(limits=Limits(50, 50)), id="a burst of a second"),
        pytest.param(
            {"access": {"mode": "APIKey"}, "quota": {"perClient": {"maxConcurrentRequests": 2}}},
            Policy(limits_per_client=Limits(None, 0, 2), access=AccessPolicy(AccessMode.API_KEY)),
            id="a quota for each key",
        ),
        pytest.param(
            {"audit": {"url": "https://c/", "sample": "0.5%", "redact": ["face"], "maxTensorBytes": 64}},
            Policy(audit=AuditPolicy(0.5, AuditSink(url="https://c/"), frozenset({"face"}), 64)),
            id="an audit trail",
        ),
        pytest.param(
            {"access": {"mode": "KubernetesToken"}},
            Policy(access=AccessPolicy(AccessMode.KUBERNETES_TOKEN, "fraud.risk.svc")),
            id="every token for the service",
        ),
        pytest.param(
            {"access": {"mode": "KubernetesToken", "allowedUsers": ["ann"], "allowedGroups": ["staff", 'a"b']}},
            Policy(
                access=AccessPolicy(
                    AccessMode.KUBERNETES_TOKEN, "fraud.risk.svc", frozenset({"ann"}), frozenset({"staff", 'a"b'})
                )
            ),
            id="the tokens of some",
        ),
    ],
)
def test_the_server_reads_what_the_spec_says(spec: dict[str, Any], policy: Policy) -> None:
    assert parse_policy(document(**spec).encode()) == policy


def test_the_same_policy_is_the_same_text() -> None:
    one = document(quota={"requestsPerSecond": 5, "burst": 9}, access={"mode": "APIKey"})
    other = document(access={"mode": "APIKey"}, quota={"burst": 9, "requestsPerSecond": 5})
    assert one == other
