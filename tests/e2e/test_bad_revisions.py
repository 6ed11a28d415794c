"""Revisions that never serve: each is rolled back at once, its fault is named, and the stable version keeps serving."""

import hashlib
from dataclasses import dataclass
from typing import Any

import pytest

from examples.digits.train import Model
from tests.cluster import object_store
from tests.cluster.errors import ClusterError
from tests.cluster.inference_service import InferenceServiceHandle, condition
from tests.e2e.expectations import deploy, wait_rolled_back
from tests.e2e.manifests import Manifest, canary, digits


@pytest.fixture(scope="module")
def stable(shared_service: InferenceServiceHandle, models: dict[str, Model]) -> InferenceServiceHandle:
    """Version 1 serves, and the store holds some files that are no models."""
    good = models["2"].path.read_bytes()
    object_store.upload(
        shared_service.cluster,
        {
            "broken/truncated.onnx": good[: len(good) // 2],
            "broken/text.onnx": b"this is not a model\n" * 100,
        },
    )
    deploy(shared_service, digits("1", replicas=1))
    return shared_service


def tiny_memory() -> Manifest:
    """Less memory than the server needs to start."""
    return {"requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "16Mi"}}


@dataclass(frozen=True)
class Fault:
    """What is applied over the stable spec, and what has to be said of it."""

    spec: dict[str, Any]
    reason: str
    words: tuple[str, ...]


FAULTS = {
    "missing": Fault(
        {"model": {"uri": "s3://models/no/such/model.onnx"}}, "NotFound", ("fetch", "s3://models/no/such/model.onnx")
    ),
    "truncated": Fault(
        {"model": {"uri": "s3://models/broken/truncated.onnx"}}, "ModelLoadFailed", ("server", "truncated.onnx")
    ),
    "not_onnx": Fault({"model": {"uri": "s3://models/broken/text.onnx"}}, "ModelLoadFailed", ("server", "text.onnx")),
    "digest_mismatch": Fault(
        {"model": {"sha256": hashlib.sha256(b"another file").hexdigest()}},
        "DigestMismatch",
        ("fetch", hashlib.sha256(b"another file").hexdigest()[:8]),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_unloadable_model_rolled_back_and_named(stable: InferenceServiceHandle, name: str) -> None:
    _assert_rolled_back_and_named(stable, name, FAULTS[name])


def test_crash_looping_version_rolled_back(stable: InferenceServiceHandle) -> None:
    """Its store may yet be reached, so that it is tried again and again."""
    words = ("fetch", "exits with code 13 again and again", "https://models.invalid/model.onnx")
    fault = Fault({"model": {"uri": "https://models.invalid/model.onnx"}}, "Unreachable", words)
    _assert_rolled_back_and_named(stable, "crash_looping", fault)


def test_oom_killed_model_rolled_back(stable: InferenceServiceHandle) -> None:
    fault = Fault({"resources": tiny_memory()}, "OOMKilled", ("server", "limits.memory"))
    _assert_rolled_back_and_named(stable, "oom_killed", fault)


def _assert_rolled_back_and_named(stable: InferenceServiceHandle, name: str, fault: Fault) -> None:
    stable.apply(_faulty(name, fault))
    status = wait_rolled_back(stable, f"2-{name.replace('_', '-')}")
    assert status.rollout.reason == fault.reason, status.rollout.message
    assert status.stable is not None
    assert (status.stable.version, status.stable.ready_replicas) == ("1", 1)
    assert condition(status, "Ready")[:2] == ("True", "Serving")
    state, reason, message = condition(status, "RolloutHealthy")
    assert (state, reason) == ("False", fault.reason)
    for word in fault.words:
        assert word in message


def _faulty(name: str, fault: Fault) -> Manifest:
    version = f"2-{name.replace('_', '-')}"
    manifest = digits("2", replicas=1)
    manifest["spec"]["model"] |= {"version": version, **fault.spec.get("model", {})}
    manifest["spec"]["resources"] = fault.spec.get("resources", manifest["spec"]["resources"])
    return manifest


REFUSED = {
    "unknown_field": (
        digits("1", replicas=1, canary={**canary(), "colour": "yellow"}),
        'unknown field "spec.canary.colour"',
    ),
    "no_version": (digits("1", model={"version": None}), "spec.model.version"),
    "version_latest": (digits("latest"), "must name one version for good"),
    "min_over_max": (
        digits("1", autoscaling={"minReplicas": 3, "maxReplicas": 2}),
        "autoscaling.minReplicas must not be more than autoscaling.maxReplicas",
    ),
    "falling_weights": (digits("1", canary=canary(50, 25)), "canary.steps must not fall in weight"),
    "threshold_off_the_grid": (
        digits("1", canary={"analysis": {"latency": [{"percentile": 95, "threshold": "120ms"}]}}),
        "the nearest are 100ms and 150ms",
    ),
    "unknown_scheme": (digits("1", model={"uri": "ftp://models/1.onnx"}), "model.uri must be s3://bucket/path"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_manifest_is_refused_by_kubectl_apply(stable: InferenceServiceHandle, name: str) -> None:
    manifest, words = REFUSED[name]
    before = stable.read()["spec"]
    with pytest.raises(ClusterError) as refusal:
        stable.apply(manifest)
    assert words in str(refusal.value)
    assert stable.read()["spec"] == before
