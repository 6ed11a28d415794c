"""What makes a revision, and what does not."""

import re
from typing import Any

import pytest

from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.core.revision import revision_of

BASE: dict[str, Any] = {"model": {"uri": "s3://models/fraud/7/model.onnx", "version": "7"}}


def named(spec: dict[str, Any]) -> str:
    return revision_of(InferenceServiceSpec.model_validate(spec)).name


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"model": BASE["model"] | {"version": "8"}}, id="version"),
        pytest.param({"model": BASE["model"] | {"uri": "s3://models/fraud/8/model.onnx"}}, id="uri"),
        pytest.param({"model": BASE["model"] | {"sha256": "0" * 64}}, id="sha256"),
        pytest.param({"model": BASE["model"] | {"credentials": {"secretName": "s3"}}}, id="credentials"),
        pytest.param({"resources": {"limits": {"memory": "2Gi"}}}, id="limits"),
        pytest.param({"resources": {"requests": {"cpu": "10m"}}}, id="requests"),
        pytest.param({"restartedAt": "2026-03-01T03:00:00Z"}, id="a restart that is asked for"),
        pytest.param(
            {"model": BASE["model"] | {"uri": "s3://models/1/", "pipeline": [{"name": "a", "file": "a.onnx"}]}},
            id="pipeline",
        ),
        pytest.param({"server": {"protocols": ["REST", "gRPC"]}}, id="protocols"),
        pytest.param({"server": {"workers": 4}}, id="workers"),
        pytest.param({"server": {"tls": {"secretName": "fraud-tls"}}}, id="certificate"),
        pytest.param({"server": {"batching": "Off"}}, id="batching"),
        pytest.param({"server": {"limits": {"requestTimeout": "5s"}}}, id="limits of a request"),
        pytest.param({"access": {"mode": "KubernetesToken"}}, id="a token of the pods' own"),
    ],
)
def test_what_the_pods_run_is_a_new_revision(change: dict[str, Any]) -> None:
    assert named(BASE | change) != named(BASE)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"autoscaling": {"minReplicas": 3, "maxReplicas": 9}}, id="scale"),
        pytest.param({"canary": {"promotion": "Manual"}}, id="policy"),
        pytest.param({"quota": {"requestsPerSecond": 5}}, id="quota"),
        pytest.param({"access": {"mode": "APIKey"}}, id="access by key"),
        pytest.param({"audit": {"url": "http://collector/"}}, id="audit"),
        pytest.param(
            {"server": {"batching": "Auto", "workers": "Auto", "limits": {}}}, id="defaults of the server written out"
        ),
        pytest.param({"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}, id="defaults written out"),
    ],
)
def test_what_the_pods_do_not_run_is_none(change: dict[str, Any]) -> None:
    assert named(BASE | change) == named(BASE)


def test_a_name_stays_what_it_is() -> None:
    """A changed hash would roll every service out anew when the operator is upgraded."""
    revision = revision_of(InferenceServiceSpec.model_validate(BASE))
    assert re.fullmatch("[0-9a-f]{10}", revision.name)
    assert (revision.name, revision.version) == ("71de06dd78", "7")
