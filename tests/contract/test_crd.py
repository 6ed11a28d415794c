"""The CustomResourceDefinition: made from the models, taken by the API server, and plain to kubectl."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from serinus.api import crd
from serinus.api.status import InferenceServiceStatus, Phase
from serinus.api.v1beta1 import GROUP, PLURAL
from tests.cluster.control_plane import ControlPlane
from tests.contract.world import World

ANNOTATION_LIMIT = 256 * 1024
"""`kubectl apply` keeps the whole object in an annotation, and all annotations together may not be larger."""


@pytest.mark.parametrize("path", crd.GENERATED_FILES, ids=lambda path: path.parent.name)
def test_crd_matches_models(path: Path) -> None:
    assert path.read_text() == crd.render(), "run `make generate`"


def test_crd_is_plain_yaml() -> None:
    text = crd.GENERATED_FILES[0].read_text()
    assert yaml.safe_load(text) == crd.custom_resource_definition()
    assert not [token for token in yaml.scan(text) if isinstance(token, yaml.AliasToken)]


def test_crd_is_small_enough_for_kubectl_apply(server: ControlPlane) -> None:
    applied = json.loads(server.kubectl("get", "crd", f"{PLURAL}.{GROUP}", "-o", "json"))
    [annotation] = applied["metadata"]["annotations"].values()
    assert len(annotation) < ANNOTATION_LIMIT
    assert server.kubectl("apply", "-f", str(crd.GENERATED_FILES[0])).strip().endswith("unchanged")


def test_crd_is_accepted_without_a_complaint(server: ControlPlane) -> None:
    conditions = json.loads(server.kubectl("get", "crd", f"{PLURAL}.{GROUP}", "-o", "json"))["status"]["conditions"]
    assert {one["type"]: one["status"] for one in conditions} == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("name", ["inferenceservices", "inferenceservice", "infsvc", "serinus"])
def test_kubectl_knows_the_kind_by(server: ControlPlane, world: World, name: str) -> None:
    world.create()
    assert (
        server.kubectl("get", name, "-n", world.namespace, "-o", "name").strip() == "inferenceservice.serinus.dev/fraud"
    )


def test_kubectl_explains_every_field(server: ControlPlane) -> None:
    explained = server.kubectl("explain", "infsvc.spec", "--recursive")
    assert "onInsufficientTraffic" in explained
    fields = _fields(crd.custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    assert [
        path for path, schema in fields if path.startswith(("spec", "status")) and not schema.get("description")
    ] == []


def _fields(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    children = list(schema.get("properties", {}).items())
    if "items" in schema:
        children = list(schema["items"].get("properties", {}).items())
    found = [(f"{path}.{name}".removeprefix("."), child) for name, child in children]
    return found + [deeper for path, child in found for deeper in _fields(child, path)]


def test_status_begins_as_not_observed(world: World) -> None:
    assert world.create()["status"] == {"observedGeneration": -1}
    assert world.status() == InferenceServiceStatus()


def test_spec_is_read_by_kubectl_wait(server: ControlPlane, world: World) -> None:
    world.deploy()
    server.kubectl("wait", "-n", world.namespace, "--for=condition=Ready", "--timeout=5s", "infsvc/fraud")


def test_printer_columns(server: ControlPlane, world: World) -> None:
    world.deploy({"spec.autoscaling.minReplicas": 2})
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    header, row = server.kubectl("get", "infsvc", "-n", world.namespace, "-o", "wide").splitlines()
    titles = ["NAME", "READY", "VERSION", "CANARY", "WEIGHT", "PHASE", "SUSPEND"]
    titles += ["REPLICAS", "URL", "AGE", "REASON", "MESSAGE"]
    assert header.split() == titles
    name, ready, version, canary, weight, phase, suspend, replicas, url, _, reason, *message = row.split()
    assert (name, ready, version, canary, weight, phase) == ("fraud", "True", "1", "2", "5", "Progressing")
    assert suspend == "false"
    assert (replicas, url) == ("3/3", f"http://fraud.{world.namespace}.svc")
    assert reason == "Serving"
    assert " ".join(message) == "Version 1 serves; 2 of 2 pods are ready."
