"""The operator as a process, with the settings and exactly the rights that the chart gives it."""

import copy
import functools
import signal
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from serinus.core.names import REVISION_LABEL
from tests.chart.rendering import NAMESPACE, Object, rendered
from tests.chart.test_templates import CASES
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operator_process import OperatorProcess, operator_process
from tests.contract import api
from tests.contract.manifests import Manifest
from tests.contract.operators import deploy, eventually, is_at_rest, phase, promote_version_2
from tests.contract.world import World

READ: Final = {"list", "watch"}
OWN: Final = {"get", "list", "watch", "create", "patch", "delete"}
"""What is done with children. `create` is asked for by the API server when an apply makes an object."""

RIGHTS: Final[Mapping[str, set[str]]] = {
    "serinus.dev/inferenceservices": READ,
    "serinus.dev/inferenceservices/status": {"update"},
    "apps/deployments": OWN,
    "apps/deployments/scale": {"patch"},
    "apps/controllerrevisions": OWN,
    "/configmaps": OWN,
    "/services": OWN,
    "autoscaling/horizontalpodautoscalers": OWN,
    "policy/poddisruptionbudgets": OWN,
    "/pods": READ,
    "events.k8s.io/events": {"create", "patch"},
    "coordination.k8s.io/leases": {"create", "get", "update"},
}
"""By group and resource, all that the operator does in a namespace."""

CLUSTER_RIGHTS: Final[Mapping[str, set[str]]] = {"apiextensions.k8s.io/customresourcedefinitions": READ}
"""What it does beyond where it looks after all namespaces."""


@dataclass(frozen=True)
class Installed:
    """An operator that runs as the chart would have it run."""

    process: OperatorProcess
    user: str
    server: ControlPlane
    rights: Mapping[str, set[str]]
    """What the chart's roles allow it."""

    def used(self) -> Mapping[str, set[str]]:
        """What it has asked for so far."""
        used: dict[str, set[str]] = defaultdict(set)
        for event in self._requests():
            reference = event["objectRef"]
            path = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
            place = f"{reference.get('apiGroup', '')}/{path}"
            used[place].add(event["verb"])
            if event["responseStatus"]["code"] == 201:
                used[place].add("create")
        return used

    def refused(self) -> list[str]:
        """What it has asked for and may not do; in a namespace that is being deleted nobody may make anything."""
        return [
            event["requestURI"]
            for event in self._requests()
            if event["responseStatus"]["code"] == 403
            and "being terminated" not in event["responseStatus"].get("message", "")
        ]

    def writes(self) -> list[str]:
        """What it has written, but for renewals of its Lease."""
        reading = {"get", "list", "watch"}
        requests = [event for event in self._requests() if event["verb"] not in reading]
        return [event["requestURI"] for event in requests if event["objectRef"]["resource"] != "leases"]

    def _requests(self) -> list[dict[str, Any]]:
        return [event for event in self.server.requests_of(self.user) if "objectRef" in event]


def allowed(objects: Mapping[str, Object]) -> Mapping[str, set[str]]:
    """What the roles of the operator allow, by group and resource."""
    rights: dict[str, set[str]] = defaultdict(set)
    for key, one in objects.items():
        if "Role " in key and not key.endswith(("-view", "-edit")):
            for rule in one.get("rules", ()):
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        rights[f"{group}/{resource}"] |= set(rule["verbs"])
    return rights


@contextmanager
def installed(server: ControlPlane, release: str, values: Mapping[str, Any], directory: Path) -> Iterator[Installed]:
    """The chart, installed but for its Deployment, and the operator in place of that."""
    objects = rendered({"crds.enabled": False, "fullnameOverride": release, **values})
    server.kubectl("apply", "-f", "-", input=yaml.safe_dump_all([namespace(NAMESPACE)]))
    server.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects.values()))
    settings = yaml.safe_load(objects[f"ConfigMap {release}"]["data"]["config.yaml"])
    settings["prometheus"]["url"] = "http://127.0.0.1:1"
    user = f"system:serviceaccount:{NAMESPACE}:{release}"
    kubeconfig = server.kubeconfig_of(NAMESPACE, release)
    with operator_process(kubeconfig, directory, settings) as process:
        process.wait_until_ready()
        yield Installed(process, user, server, allowed(objects))


def namespace(name: str) -> Object:
    """A namespace that lets in only what is restricted."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def stray(world: World, kind: str) -> None:
    """Make another object of a kind, that belongs to the service, and that it has no use for."""
    one = copy.deepcopy(world.objects(kind)[0])
    for key in ("uid", "resourceVersion", "managedFields", "creationTimestamp", "generation"):
        one["metadata"].pop(key, None)
    one["metadata"]["name"] = "stray"
    one["metadata"]["labels"]["serinus.dev/revision"] = "0"
    for key in ("clusterIP", "clusterIPs"):
        one.get("spec", {}).pop(key, None)
    one.pop("status", None)
    numbers = range(-20, -9) if kind == "ControllerRevision" else (0,)
    for number in numbers:
        named = copy.deepcopy(one)
        if kind == "ControllerRevision":
            named["revision"] = number + 100
            named["metadata"]["name"] = f"stray-{number + 100}"
            named["metadata"]["labels"]["serinus.dev/revision"] = f"{number + 100}"
        api.create(world.server, named)


def orphan(world: World, kind: str) -> None:
    """Take an object's owner away: to the operator it is no longer there, until it is to be made again."""
    patch = [{"op": "remove", "path": "/metadata/ownerReferences"}]
    api.patch(world.server, world.objects(kind)[0], patch, content_type=api.JSON_PATCH)


def orphans(world: World) -> list[str]:
    """Kinds of which an object has no owner."""
    return [kind for kind in KINDS if any("ownerReferences" not in one["metadata"] for one in world.objects(kind))]


KINDS: Final = (
    "Deployment",
    "ControllerRevision",
    "ConfigMap",
    "Service",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
)


def live_through_everything(world: World) -> None:
    """Have the operator do all that it does: deploy, roll out, scale, and take away."""
    deploy(world)
    world.edit({"spec.autoscaling": {"minReplicas": 2, "maxReplicas": 4}, "spec.canary.analysis.interval": "1s"})
    eventually(lambda: world.objects("HorizontalPodAutoscaler"), "an autoscaler is made", world.make_ready)
    promote_version_2(world)
    for kind in KINDS:
        orphan(world, kind)
    eventually(lambda: not orphans(world), "what lost its owner is looked at and taken back", world.make_ready)
    for kind in KINDS:
        stray(world, kind)
    eventually(lambda: not strays(world), "what there is no use for is taken away", world.make_ready)
    for kind in KINDS:
        disown(world, kind)
    eventually(lambda: not disowned(world), "what nobody owns is taken over again", world.make_ready)
    for number in ("1", "2"):
        give_stale_command(world, number)
        eventually(functools.partial(has_heard, world, number), "a command is heard", world.make_ready)


def disown(world: World, kind: str) -> None:
    """Make what is in use belong to nobody: when it is wanted, there is one of that name already."""
    for one in in_use(world, kind):
        api.patch(world.server, one, {"metadata": {"ownerReferences": None}})


def disowned(world: World) -> list[str]:
    """Objects in use that nobody owns."""
    every = [one for kind in KINDS for one in in_use(world, kind)]
    return [one["metadata"]["name"] for one in every if "ownerReferences" not in one["metadata"]]


def in_use(world: World, kind: str) -> list[Manifest]:
    """The objects of a kind that the stable revision, or the service as a whole, has."""
    stable = world.status().stable
    assert stable is not None
    found = world.objects(kind)
    return [one for one in found if one["metadata"]["labels"].get(REVISION_LABEL, stable.revision) == stable.revision]


def has_heard(world: World, number: str) -> bool:
    """Whether the operator has noted a command."""
    return world.status().rollout.last_command == number


def give_stale_command(world: World, number: str) -> None:
    """Ask for the promotion of a revision that there is not, which is answered with the same event each time."""
    command = {"serinus.dev/command": f"{number}:promote:0a"}
    api.patch(world.server, world.service(), {"metadata": {"annotations": command}})


def strays(world: World) -> list[str]:
    """Strays that there are more of than are kept."""
    names = {kind: [one["metadata"]["name"] for one in world.objects(kind)] for kind in KINDS}
    kept = {"ControllerRevision": 12}
    return [kind for kind, found in names.items() if len(found) > kept.get(kind, 1)]


@pytest.mark.parametrize("everywhere", [True, False], ids=["all_namespaces", "one_namespace"])
def test_rights_are_exactly_what_is_done(server: ControlPlane, world: World, tmp_path: Path, everywhere: bool) -> None:
    values = {} if everywhere else {"watchNamespaces": [world.namespace]}
    release = "everywhere" if everywhere else "somewhere"
    with installed(server, release, values, tmp_path) as operator:
        live_through_everything(world)
        eventually(lambda: is_at_rest(world, 1), "it comes to rest", world.make_ready)
        expected = {**RIGHTS, **(CLUSTER_RIGHTS if everywhere else {})}
        assert operator.refused() == []
        assert operator.used() == expected
        assert operator.rights == expected


def test_operator_makes_children_rests_and_stops_when_told(server: ControlPlane, world: World, tmp_path: Path) -> None:
    with installed(server, "resting", {"watchNamespaces": [world.namespace]}, tmp_path) as operator:
        deploy(world)
        assert sorted(one["kind"] for one in world.owned()) == [
            "ConfigMap",
            "ControllerRevision",
            "Deployment",
            "PodDisruptionBudget",
            "Service",
        ]
        assert operator.process.get("/healthz") == (200, "ok")
        eventually(lambda: is_at_rest(world, 1), "it comes to rest")
        before, versions = operator.writes(), world.versions()
        resync(world)
        eventually(lambda: is_at_rest(world, 1), "it comes to rest again")
        assert operator.writes() == before, "a visit that finds all as it should be writes nothing"
        assert {key: version for key, version in world.versions().items() if "Inference" not in key} == {
            key: version for key, version in versions.items() if "Inference" not in key
        }
        operator.process.process.send_signal(signal.SIGTERM)
        assert operator.process.process.wait(30) == 0
        assert operator.process.lines(), "every line of the log is JSON"
    api.patch(world.server, world.service(), {"metadata": {"labels": {"touched": "after-the-end"}}})
    assert phase(world) == "Stable"


def resync(world: World) -> None:
    """Make the watches tell of the service and of its children, although nothing has changed that matters."""
    api.patch(world.server, world.service(), {"metadata": {"labels": {"touched": "yes"}}})


@pytest.mark.parametrize("name", CASES)
def test_the_api_server_takes_all_that_the_chart_makes(server: ControlPlane, name: str) -> None:
    objects = rendered(CASES[name])
    namespaces = {NAMESPACE} | {one["metadata"].get("namespace", NAMESPACE) for one in objects.values()}
    server.kubectl("apply", "-f", "-", input=yaml.safe_dump_all([namespace(one) for one in sorted(namespaces)]))
    told = server.kubectl("apply", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(objects.values()))
    assert len(told.splitlines()) == len(objects)
    assert all(line.endswith("(server dry run)") for line in told.splitlines())
