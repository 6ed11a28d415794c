"""Models that are not fetched from an object store."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from examples.digits.train import Model
from tests.cluster import Cluster, model_image
from tests.cluster.inference_service import InferenceServiceHandle, condition
from tests.cluster.traffic import IMAGE, Exchange
from tests.e2e.calls import predict
from tests.e2e.expectations import DEPLOY_SECONDS, deploy, wait_rolled_back, wait_serves
from tests.e2e.manifests import Manifest, digits

CLAIM = "models"
MODEL_IMAGE = "localhost/serinus-test-digits:1"
STORE = "import base64, pathlib, sys; file = pathlib.Path(sys.argv[1]); file.parent.mkdir(parents=True); "
STORE += "file.write_bytes(base64.b64decode(sys.stdin.read()))"


def claim() -> Manifest:
    """A claim for a volume that somebody makes for it."""
    amount = {"requests": {"storage": "1Mi"}}
    spec = {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "resources": amount}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": spec}


@pytest.fixture
def volume(cluster: Cluster, service: InferenceServiceHandle, models: dict[str, Model]) -> Iterator[Manifest]:
    """A volume for the claim, not yet made, on a folder of the node with version 1 of the digits model."""
    name, folder = f"models-{service.namespace}", f"/tmp/serinus-{service.namespace}"
    pod = {
        "containers": [
            {
                "name": "store",
                "image": IMAGE,
                "command": ["sleep", "infinity"],
                "volumeMounts": [{"name": "folder", "mountPath": "/folder"}],
                "securityContext": {"runAsUser": 0},
            }
        ],
        "volumes": [{"name": "folder", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}],
        "terminationGracePeriodSeconds": 0,
    }
    store = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod}
    cluster.kubectl("apply", "-n", "default", "-f", "-", input=json.dumps(store))
    cluster.kubectl("wait", "-n", "default", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    inside = ("exec", "-i", "-n", "default", name, "--")
    content = base64.b64encode(models["1"].path.read_bytes()).decode()
    cluster.kubectl(*inside, "python", "-c", STORE, "/folder/digits/1/model.onnx", input=content)
    yield {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Mi"},
            "accessModes": ["ReadOnlyMany"],
            "hostPath": {"path": folder},
            "claimRef": {"namespace": service.namespace, "name": CLAIM},
        },
    }
    cluster.kubectl(*inside, "rm", "-r", "/folder/digits")
    cluster.kubectl("delete", "pod", "-n", "default", name, "--wait=false")
    cluster.kubectl("delete", "pv", name, "--ignore-not-found", "--wait=false")


def test_model_on_a_claim(
    service: InferenceServiceHandle, volume: Manifest, models: dict[str, Model], exchanges: list[Exchange]
) -> None:
    """A claim that is missing, then not bound, is named; once it is there the model on it is served."""
    digest = hashlib.sha256(models["1"].path.read_bytes()).hexdigest()
    service.apply(on_claim("1", sha256=digest))
    _assert_held_up(service, "ClaimNotFound", f"Create the PersistentVolumeClaim {CLAIM}")
    service.apply(claim())
    _assert_held_up(service, "ClaimNotBound", f"kubectl describe pvc -n {service.namespace} {CLAIM}")
    service.apply(volume)
    wait_serves(service)
    _assert_recognizes(service, exchanges[0])

    service.apply(on_claim("2"))
    status = wait_rolled_back(service, "2")
    assert status.rollout.reason == "NotFound"
    _, _, message = condition(status, "RolloutHealthy")
    assert "Container verify of pod" in message
    assert "the volume has no digits/2/model.onnx; digits holds 1/" in message


def on_claim(version: str, **model: Any) -> Manifest:  # noqa: ANN401 - parts of spec.model
    return at(f"pvc://{CLAIM}/digits/{version}/model.onnx", version, **model)


def at(uri: str, version: str, **model: Any) -> Manifest:  # noqa: ANN401 - parts of spec.model
    """The digits service with a model for which no credentials are needed."""
    manifest = digits(version, replicas=1)
    manifest["spec"]["model"] = {"uri": uri, "version": version, **model}
    return manifest


def test_model_in_an_image(
    service: InferenceServiceHandle, models: dict[str, Model], exchanges: list[Exchange]
) -> None:
    """It is mounted as a volume; an image that there is not is named, and the version in it is rolled back."""
    model_image.load(service.cluster, models["1"].path, MODEL_IMAGE)
    digest = hashlib.sha256(models["1"].path.read_bytes()).hexdigest()
    deploy(service, at(f"oci://{MODEL_IMAGE}/digits/model.onnx", "1", sha256=digest))
    _assert_recognizes(service, exchanges[0])

    service.apply(at("oci://registry.invalid/digits:2/digits/model.onnx", "2"))
    status = wait_rolled_back(service, "2")
    assert status.rollout.reason == "ModelImageNotPulled"
    _, _, message = condition(status, "RolloutHealthy")
    assert "Container verify of pod" in message
    assert 'ImagePullBackOff: Back-off pulling image "registry.invalid/digits:2"' in message
    assert "Correct spec.model.uri" in message


def _assert_recognizes(service: InferenceServiceHandle, exchange: Exchange) -> None:
    """The service serves the model of the digits, and not just any."""
    with service.cluster.port_forward(service.namespace, service.name, 80) as url:
        reply = predict(url, exchange.body)
    assert reply.status == 200, reply.body
    assert [one["data"] for one in reply.body["outputs"] if one["name"] == "label"] == [[exchange.label]]


def _assert_held_up(service: InferenceServiceHandle, reason: str, words: str) -> None:
    """The service waits, and says for what."""
    status = service.wait_until(lambda status: condition(status, "Ready")[1] == reason, reason, DEPLOY_SECONDS)
    assert condition(status, "Ready")[0] == "False"
    assert words in condition(status, "Ready")[2]
    assert condition(status, "Reconciling")[:2] == ("True", reason)
    assert condition(status, "Stalled")[0] == ""
