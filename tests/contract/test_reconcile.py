"""The reconciler's promises on a real API server: it converges, stands still, and touches only what is its own."""

from typing import Final

import pytest

from serinus.api.status import Phase
from serinus.core.names import COMMAND_ANNOTATION, SERVICE_LABEL, policy_name
from serinus.core.projection import slim_service
from serinus.ports import ApiConflictError
from tests.contract import api
from tests.contract.manifests import VALID, Example, Manifest
from tests.contract.world import NAME, World

QUANTITIES = (
    "0.5",
    "0.1",
    "1000m",
    "1500m",
    "0.0001",
    "0.5m",
    "1k",
    "1000k",
    "1000T",
    "1024Mi",
    "1024Ti",
    "1.5Gi",
    "0.3Ki",
)
"""Amounts that the API server writes in other words than the user."""


def test_children_are_made(world: World) -> None:
    world.deploy({"spec.autoscaling": {"minReplicas": 2, "maxReplicas": 4}})
    revision = world.status().stable
    assert revision is not None
    assert sorted((one["kind"], one["metadata"]["name"]) for one in world.owned()) == [
        ("ConfigMap", policy_name("fraud")),
        ("ControllerRevision", f"fraud-{revision.revision}"),
        ("Deployment", f"fraud-{revision.revision}"),
        ("HorizontalPodAutoscaler", "fraud"),
        ("PodDisruptionBudget", "fraud"),
        ("Service", "fraud"),
    ]


SEEN_IN_CHILDREN: Final = [one for one in VALID if not all(path.startswith("spec.canary") for path in one.changes)]


@pytest.mark.parametrize("example", SEEN_IN_CHILDREN, ids=lambda example: example.name)
def test_second_reconcile_writes_nothing(world: World, example: Example) -> None:
    name = world.create(example.changes)["metadata"]["name"]
    world.settle(name)
    before = world.versions(name)
    assert world.requests_of_a_visit(name) == []
    assert world.versions(name) == before


@pytest.mark.parametrize("amount", QUANTITIES)
def test_second_reconcile_writes_nothing_for_the_quantity(world: World, amount: str) -> None:
    world.create({"spec.resources": {"requests": {"memory": amount, "cpu": amount}, "limits": {}}})
    world.settle()
    assert world.requests_of_a_visit() == []


def test_no_op_resync_makes_no_api_call(world: World) -> None:
    world.deploy()
    world.settle()
    assert [world.requests_of_a_visit() for _ in range(3)] == [[], [], []]


def test_no_annotations_or_finalizers_on_the_users_object(world: World) -> None:
    created = world.create()
    world.run_until(Phase.STABLE)
    after = world.service()
    assert after["spec"] == created["spec"]
    moving = ("resourceVersion", "managedFields")
    assert {key: value for key, value in after["metadata"].items() if key not in moving} == {
        key: value for key, value in created["metadata"].items() if key not in moving
    }
    [ours] = [one for one in after["metadata"]["managedFields"] if one["manager"] == "serinus"]
    assert ours["subresource"] == "status"
    assert set(ours["fieldsV1"]) == {"f:status"}


def test_all_that_was_made_goes_with_its_owner(world: World) -> None:
    created = world.deploy({"spec.autoscaling": {"minReplicas": 1, "maxReplicas": 4}})
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    owners = [one["metadata"]["ownerReferences"] for one in world.owned()]
    expected = {
        "apiVersion": "serinus.dev/v1beta1",
        "kind": "InferenceService",
        "name": "fraud",
        "uid": created["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
    assert owners == [[expected]] * 8
    assert [one for one in world.owned() if one["metadata"].get("finalizers")] == []


def test_a_service_that_is_being_deleted_is_left_alone(world: World) -> None:
    world.deploy()
    world.edit({"metadata.finalizers": ["example.com/keep"], "spec.model.version": "2"})
    api.delete(world.server, world.service())
    assert world.requests_of_a_visit() == []
    world.edit({"metadata.finalizers": []})


def test_inputs_not_mutated(world: World) -> None:
    """Every visit of `World` checks this; here, at a visit that writes all there is to write."""
    world.create({"spec.autoscaling": {"minReplicas": 2, "maxReplicas": 4}})
    assert len(world.requests_of_a_visit()) > 5


def test_two_services_do_not_touch_each_other(world: World) -> None:
    """Not even where the name of one begins with the name of the other."""
    world.deploy()
    world.deploy({"metadata.name": f"{NAME}-2", "spec.autoscaling.minReplicas": 2})
    before, other = world.versions(NAME), world.versions(f"{NAME}-2")
    assert not {key for key in before if not key.startswith("InferenceService")} & set(other)
    world.edit({"spec.model.version": "2"}, name=f"{NAME}-2")
    world.run_until(Phase.STABLE, name=f"{NAME}-2")
    api.delete(world.server, world.service(f"{NAME}-2"))
    assert world.requests_of_a_visit(NAME) == []
    assert world.versions(NAME) == before


@pytest.mark.parametrize("label", [SERVICE_LABEL, "app.kubernetes.io/instance"])
def test_a_foreign_object_with_our_label_is_neither_changed_nor_deleted(world: World, label: str) -> None:
    world.deploy()
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "theirs", "namespace": world.namespace, "labels": {label: NAME}},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
    }
    before = api.create(world.server, foreign)
    assert world.requests_of_a_visit() == []
    assert api.read(world.server, foreign) == before


def _budget(spec: Manifest) -> Manifest:
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": spec}


def _kubernetes_service(spec: Manifest) -> Manifest:
    return {"apiVersion": "v1", "kind": "Service", "spec": spec}


FOREIGN = {
    "service_with_a_selector": _kubernetes_service({"ports": [{"port": 80}], "selector": {"app": "theirs"}}),
    "service_without_a_selector": _kubernetes_service({"ports": [{"port": 5432}]}),
    "external_name": _kubernetes_service({"type": "ExternalName", "externalName": "db.example"}),
    "budget_of_another_form": _budget({"minAvailable": 1, "selector": {"matchLabels": {"app": "theirs"}}}),
    "budget_that_says_the_same": _budget(
        {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {SERVICE_LABEL: NAME}},
        }
    ),
}


@pytest.mark.parametrize("owned", [False, True], ids=["nobodys", "another_controllers"])
@pytest.mark.parametrize("name", FOREIGN)
def test_an_object_of_the_same_name_that_is_somebody_elses_is_refused(world: World, name: str, owned: bool) -> None:
    other = {"apiVersion": "example.com/v1", "kind": "Database", "name": NAME, "uid": "1-2-3", "controller": True}
    metadata = {"name": NAME, "namespace": world.namespace, "ownerReferences": [other] if owned else []}
    foreign = FOREIGN[name] | {"metadata": metadata}
    before = api.create(world.server, foreign)
    world.create()
    results = [world.visit() for _ in range(3)]
    assert api.read(world.server, foreign) == before
    stalled = world.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "WriteRefused")
    said = (
        f"{foreign['kind']} fraud is there already and belongs to somebody else; rename the InferenceService, or remove"
    )
    assert stalled["message"].startswith(said)
    assert results[-1].again_after is not None, "it is tried again"
    assert world.recorder.reasons.count("WriteRefused") == 1
    api.delete(world.server, foreign)
    world.run_until(Phase.STABLE)
    assert world.condition("Stalled") == {}


def test_recreate_same_name_new_uid(world: World) -> None:
    """The children of the former service are garbage, and are waited for; then the new one gets its own."""
    world.deploy()
    api.delete(world.server, world.service())
    former = [*world.owned()]
    recreated = world.create()
    with pytest.raises(Exception, match="former"):
        world.visit()
    assert [*world.owned()] == former
    for garbage in former:
        api.delete(world.server, garbage)
    world.run_until(Phase.STABLE)
    assert {one["metadata"]["ownerReferences"][0]["uid"] for one in world.owned()} == {recreated["metadata"]["uid"]}


def test_orphans_are_adopted(world: World) -> None:
    """After `kubectl delete --cascade=orphan` and another create, the pods keep running."""
    world.deploy()
    orphans = [*world.owned()]
    api.delete(world.server, world.service())
    for orphan in orphans:
        api.patch(world.server, orphan, {"metadata": {"ownerReferences": None}})
    recreated = world.create()
    world.run_until(Phase.STABLE)
    adopted = [*world.owned()]
    assert [one["metadata"]["uid"] for one in adopted] == [one["metadata"]["uid"] for one in orphans]
    assert {one["metadata"]["ownerReferences"][0]["uid"] for one in adopted} == {recreated["metadata"]["uid"]}


def test_write_over_a_newer_object_is_refused_before_anything_is_done(world: World) -> None:
    seen = slim_service(world.create())
    world.edit({"spec.autoscaling.minReplicas": 2})
    with pytest.raises(ApiConflictError):
        world.reconciler.reconcile(seen, world.children())
    assert [*world.owned()] == []
    world.run_until(Phase.STABLE)
    assert world.only("Deployment")["spec"]["replicas"] == 2


def test_visit_on_old_children_is_harmless(world: World) -> None:
    """The watches may lag behind the operator's own writes."""
    world.create()
    before = world.children()
    world.settle()
    written = [*world.owned()]
    world.reconciler.reconcile(slim_service(world.service()), before)
    assert [*world.owned()] == written


def test_command_annotation_is_read_and_stays(world: World) -> None:
    world.deploy()
    world.edit({"spec.model.version": "2"})
    canary = world.run_until(Phase.PROGRESSING).canary
    assert canary is not None
    command = f"1:abort:{canary.revision}"
    api.patch(world.server, world.service(), {"metadata": {"annotations": {COMMAND_ANNOTATION: command}}})
    world.run_until(Phase.ROLLED_BACK)
    assert world.service()["metadata"]["annotations"] == {COMMAND_ANNOTATION: command}
    assert world.requests_of_a_visit() == []
