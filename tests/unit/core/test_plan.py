"""The writes, by what is wanted and what is there."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.api.status import Phase
from serinus.api.units import QUANTITY_PATTERN
from serinus.core.desired import Desired
from serinus.core.matching import matches
from serinus.core.names import REVISION_LABEL, workload_name
from serinus.core.observe import Children, Route
from serinus.core.plan import Action, Apply, Delete, Scale, plan
from serinus.ports import Manifest
from tests.unit.core.test_desired import CASES, FRAUD, NEW, OLD

Place = tuple[str | int, ...]

WANTED = CASES["mid_canary"].desired()
OTHER_UID = "22222222-0000-0000-0000-000000000000"

KINDS = {
    "ConfigMap": "config_maps",
    "Deployment": "deployments",
    "ControllerRevision": "controller_revisions",
    "Service": "services",
    "HorizontalPodAutoscaler": "autoscalers",
    "PodDisruptionBudget": "disruption_budgets",
    "HTTPRoute": "routes",
}


def children_of(manifests: list[Manifest]) -> Children:
    parts = {part: tuple(one for one in manifests if one["kind"] == kind) for kind, part in KINDS.items()}
    return Children(**parts)


def stored(manifest: Manifest, wanted: Desired = WANTED) -> Manifest:
    """The object as the API server gives it back: with its metadata, its defaults, and quantities in its own form."""
    live = copy.deepcopy(manifest)
    live["metadata"] |= {"uid": f"uid-{manifest['kind']}-{manifest['metadata']['name']}", "resourceVersion": "1"}
    spec = live.get("spec", {})
    match manifest["kind"]:
        case "Deployment":
            spec["replicas"] = wanted.replicas.get(manifest["metadata"]["name"], 1)
            spec["template"]["metadata"]["creationTimestamp"] = None
            _default_pod(spec["template"]["spec"])
            live["status"] = {"readyReplicas": spec["replicas"]}
        case "Service":
            spec |= {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "sessionAffinity": "None"}
        case "HorizontalPodAutoscaler":
            spec["behavior"] = {"scaleDown": {"policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}}
    return live


def _default_pod(pod: dict[str, Any]) -> None:
    pod |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    for container in pod["initContainers"] + pod["containers"]:
        container |= {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        pod["containers"][0][probe] |= {"successThreshold": 1}
        pod["containers"][0][probe]["httpGet"] |= {"scheme": "HTTP"}


def live_of(wanted: Desired) -> list[Manifest]:
    return [stored(manifest, wanted) for manifest in wanted.manifests]


def planned(live: list[Manifest], wanted: Desired = WANTED) -> tuple[Action, ...]:
    return plan(FRAUD.uid, wanted, children_of(live))


def find(live: list[Manifest], kind: str, revision: str | None = None) -> Manifest:
    return next(
        one for one in live if one["kind"] == kind and revision in (None, one["metadata"]["labels"].get(REVISION_LABEL))
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_nothing_to_do_when_live_matches(case: Any) -> None:  # noqa: ANN401 - a row of another table
    wanted = case.desired()
    assert planned(live_of(wanted), wanted) == ()


def test_all_is_made_where_nothing_is() -> None:
    first = [
        WANTED.replicas[manifest["metadata"]["name"]] if manifest["kind"] == "Deployment" else None
        for manifest in WANTED.manifests
    ]
    assert list(planned([])) == [
        Apply(manifest, exists=False, replicas=replicas)
        for manifest, replicas in zip(WANTED.manifests, first, strict=True)
    ]


def test_what_pods_run_is_written_down_before_they_run_it() -> None:
    kinds = [action.manifest["kind"] for action in planned([]) if isinstance(action, Apply)]
    assert kinds[:6] == ["ConfigMap", *["ControllerRevision", "Deployment"] * 2, "Service"]


def test_inputs_not_mutated() -> None:
    live = live_of(WANTED)[1:]
    before, wanted = copy.deepcopy(live), copy.deepcopy(WANTED)
    planned(live)
    assert (live, WANTED) == (before, wanted)


# Drift.


def leaves(value: object, place: Place = ()) -> Iterator[Place]:
    match value:
        case dict() if value:
            for key, inner in value.items():
                yield from leaves(inner, (*place, key))
        case list() if value:
            for index, inner in enumerate(value):
                yield from leaves(inner, (*place, index))
        case _:
            yield place


def changed(value: object) -> object:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}x"
    raise AssertionError(f"no leaf: {value!r}")


def at(manifest: Manifest, place: Place) -> Any:  # noqa: ANN401 - any JSON
    inner: Any = manifest
    for key in place:
        inner = inner[key]
    return inner


IDENTITY = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}
OWNERSHIP = {("metadata", "ownerReferences", 0, "uid"), ("metadata", "ownerReferences", 0, "controller")}

FIELDS = [
    pytest.param(index, place, id=f"{manifest['kind']}:{'.'.join(map(str, place))}")
    for index, manifest in enumerate(WANTED.manifests)
    if manifest["metadata"]["labels"].get(REVISION_LABEL) != NEW.name
    for place in leaves(manifest)
    if place not in IDENTITY | OWNERSHIP
]


@pytest.mark.parametrize(("index", "place"), FIELDS)
def test_drift_reverted(index: int, place: Place) -> None:
    """A field that somebody changed or took away is applied again, by force; nothing else is touched."""
    again = (Apply(WANTED.manifests[index], exists=True),)
    live = live_of(WANTED)
    at(live[index], place[:-1])[place[-1]] = changed(at(live[index], place))
    assert planned(live) == again
    live = live_of(WANTED)
    del at(live[index], place[:-1])[place[-1]]
    assert planned(live) == again


@pytest.mark.parametrize("part", ["containers", "initContainers", "volumes"])
def test_parts_of_a_pod_that_are_gone_come_back(part: str) -> None:
    live = live_of(WANTED)
    find(live, "Deployment", OLD.name)["spec"]["template"]["spec"].pop(part)
    (apply,) = planned(live)
    assert isinstance(apply, Apply)


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_that_is_gone_comes_back(kind: str) -> None:
    wanted = CASES["mid_canary_behind_a_gateway"].desired() if kind == "HTTPRoute" else WANTED
    live = live_of(wanted)
    gone = find(live, kind)
    live.remove(gone)
    apply = planned(live, wanted)[0]
    assert isinstance(apply, Apply)
    assert (apply.manifest["kind"], apply.manifest["metadata"]["name"]) == (kind, gone["metadata"]["name"])
    assert not apply.exists


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Service", ("spec", "selector")),
        ("PodDisruptionBudget", ("spec", "selector", "matchLabels")),
        ("Deployment", ("spec", "selector", "matchLabels")),
    ],
)
def test_one_key_more_in_a_selector_is_drift(kind: str, path: Place) -> None:
    live = live_of(WANTED)
    at(find(live, kind), path)["more"] = "x"
    (apply,) = planned(live)
    assert isinstance(apply, Apply)


def test_one_port_more_is_drift() -> None:
    live = live_of(WANTED)
    find(live, "Service")["spec"]["ports"].append({"name": "more", "port": 81})
    assert planned(live) == (Apply(find(list(WANTED.manifests), "Service"), exists=True),)


def template_of(live: list[Manifest]) -> dict[str, Any]:
    template: dict[str, Any] = find(live, "Deployment", OLD.name)["spec"]["template"]
    return template


FOREIGN: dict[str, Callable[[list[Manifest]], object]] = {
    "label": lambda live: find(live, "Service")["metadata"]["labels"].update({"team": "risk"}),
    "annotation": lambda live: find(live, "Deployment")["metadata"].update({"annotations": {"a": "b"}}),
    "finalizer": lambda live: find(live, "Service")["metadata"].update({"finalizers": ["f/g"]}),
    "second owner": lambda live: find(live, "Service")["metadata"]["ownerReferences"].append(
        {"name": "x", "uid": OTHER_UID}
    ),
    "first owner": lambda live: find(live, "Service")["metadata"]["ownerReferences"].insert(
        0, {"name": "x", "uid": OTHER_UID}
    ),
    "pod annotation": lambda live: template_of(live)["metadata"]["annotations"].update(
        {"kubectl.kubernetes.io/restartedAt": "now"}
    ),
    "field": lambda live: find(live, "Service")["spec"].update({"internalTrafficPolicy": "Local"}),
    "node selector": lambda live: template_of(live)["spec"].update({"nodeSelector": {"gpu": "yes"}}),
    "sidecar": lambda live: template_of(live)["spec"]["containers"].insert(0, {"name": "mesh", "image": "m"}),
    "variable": lambda live: template_of(live)["spec"]["containers"][0]["env"].append({"name": "X", "value": "1"}),
    "volume": lambda live: template_of(live)["spec"]["volumes"].append({"name": "certs", "emptyDir": {}}),
    "resource": lambda live: template_of(live)["spec"]["containers"][0]["resources"]["limits"].update({"x.y/gpu": "1"}),
}


@pytest.mark.parametrize("add", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_fields_are_kept(add: Callable[[list[Manifest]], object]) -> None:
    """Server-side apply would leave them where they are, so that a write would change nothing, time and again."""
    live = live_of(WANTED)
    add(live)
    assert planned(live) == ()


@pytest.mark.parametrize(
    ("wanted", "live", "same"),
    [({}, None, True), ([], None, True), ({"a": 1}, None, False), ([1], None, False), ({}, {"a": 1}, True)],
)
def test_what_is_empty_may_be_left_out(wanted: Any, live: Any, same: bool) -> None:  # noqa: ANN401 - any JSON
    assert matches({"spec": wanted}, {"spec": live}) is same
    if live is None:
        assert matches({"spec": wanted}, {}) is same


# Quantities.


@pytest.mark.parametrize(
    ("wanted", "live", "same"),
    [
        # How the API server writes what we sent.
        ("0.5", "500m", True),
        ("1000m", "1", True),
        ("1024Mi", "1Gi", True),
        ("1.5Gi", "1536Mi", True),
        ("0.1Mi", "104857600m", True),
        ("1000T", "1P", True),
        ("1024Ti", "1Pi", True),
        ("0.0001", "1m", True),
        ("2", 2, True),
        # Forms that others write.
        ("1k", "1e3", True),
        ("1k", "1E3", True),
        ("1", "1.", True),
        ("0.5", ".5", True),
        ("1", "+1", True),
        ("1G", "1e9", True),
        ("1Ti", "1Ei", False),
        ("1", "100E", False),
        ("1", "5n", False),
        ("1", "1000000u", True),
        ("1", "-1", False),
        ("1", "10e-1", True),
        ("500m", "501m", False),
        ("1G", "1Gi", False),
        ("1E", "1e18", True),
        # Nothing that can be read.
        ("1", "", False),
        ("1", "lots", False),
        ("1", "1ki", False),
        ("1", "1e9999", False),
        ("1", None, False),
        ("1", {"a": 1}, False),
        ("1", [1], False),
        ("1", True, False),
    ],
)
@pytest.mark.parametrize("name", ["cpu", "memory", "sizeLimit"])
def test_quantities_are_compared_by_what_they_say(wanted: str, live: Any, same: bool, name: str) -> None:  # noqa: ANN401
    assert matches({name: wanted}, {name: live}) is same


@given(st.from_regex(QUANTITY_PATTERN, fullmatch=True), st.text() | st.integers() | st.floats() | st.none())
def test_no_quantity_breaks_it(wanted: str, live: Any) -> None:  # noqa: ANN401
    assert matches({"cpu": wanted}, {"cpu": wanted})
    assert matches({"cpu": wanted}, {"cpu": live}) in (True, False)


# Replicas.


def test_replicas_are_scaled() -> None:
    live = live_of(WANTED)
    find(live, "Deployment", OLD.name)["spec"]["replicas"] = 2
    assert planned(live) == (Scale("risk", workload_name("fraud", OLD.name), 4),)


def test_a_deployment_without_wanted_replicas_keeps_its_own() -> None:
    wanted = CASES["rolling_back"].desired()
    live = live_of(wanted)
    find(live, "Deployment", NEW.name)["spec"]["replicas"] = 7
    assert planned(live, wanted) == ()


# What is no longer wanted.

AFTER = CASES["rolled_back"].desired()


def test_the_canary_is_taken_out_and_its_history_stays() -> None:
    live = live_of(WANTED)
    deletes = [action for action in planned(live, AFTER) if isinstance(action, Delete)]
    gone = {(one.manifest["kind"], one.manifest["metadata"]["name"]) for one in deletes}
    assert gone == {("Deployment", workload_name("fraud", NEW.name)), ("HorizontalPodAutoscaler", "fraud")}


def test_deletes_name_the_very_object_and_come_last() -> None:
    live = live_of(WANTED)[1:]
    actions = planned(live, AFTER)
    assert isinstance(actions[0], Apply)
    assert all(isinstance(action, Delete) for action in actions[-2:])
    assert all(one.manifest["metadata"]["uid"] for one in actions if isinstance(one, Delete))


def test_old_history_is_pruned() -> None:
    live = live_of(AFTER)
    old = copy.deepcopy(find(live, "ControllerRevision", OLD.name))
    old["metadata"] |= {"name": "fraud-old", "labels": {REVISION_LABEL: "0ld"}}
    live.append(old)
    assert planned(live, AFTER) == (Delete(old),)
    assert planned(live, replace(AFTER, kept_revisions=AFTER.kept_revisions | {"0ld"})) == ()


def test_what_is_being_deleted_is_not_deleted_again() -> None:
    live = live_of(WANTED)
    for manifest in live:
        manifest["metadata"]["deletionTimestamp"] = "2026-03-01T03:00:00Z"
    assert not any(isinstance(action, Delete) for action in planned(live, AFTER))


def test_pods_of_a_revision_in_use_outlive_the_knowledge_of_how_to_make_them() -> None:
    forgotten = Desired((), WANTED.replicas, WANTED.kept_revisions)
    deleted = [one.manifest["kind"] for one in planned(live_of(WANTED), forgotten) if isinstance(one, Delete)]
    assert "Deployment" not in deleted
    assert "ControllerRevision" not in deleted


# Whose objects they are.


def of_another(manifest: Manifest) -> Manifest:
    manifest["metadata"]["ownerReferences"][0]["uid"] = OTHER_UID
    return manifest


def test_children_of_another_owner_are_not_pruned() -> None:
    live = [of_another(manifest) for manifest in live_of(WANTED)]
    assert not any(isinstance(action, Delete) for action in planned(live, AFTER))


def test_an_object_of_that_name_adopted_by_another_is_not_taken_over() -> None:
    live = [of_another(manifest) for manifest in live_of(WANTED)]
    applies = [action for action in planned(live) if isinstance(action, Apply)]
    assert len(applies) == len(WANTED.manifests)
    assert not any(apply.exists for apply in applies)


def test_an_object_of_that_name_without_an_owner_is_not_taken_over() -> None:
    live = live_of(WANTED)
    del find(live, "Service")["metadata"]["ownerReferences"]
    assert planned(live) == (Apply(find(list(WANTED.manifests), "Service"), exists=False),)


@pytest.mark.parametrize(("weights", "service_goes"), [({OLD.name: 0, NEW.name: 100}, False), ({NEW.name: 100}, True)])
def test_a_revisions_service_goes_only_when_the_route_has_let_go_of_it(
    weights: dict[str, int], service_goes: bool
) -> None:
    shared = CASES["mid_canary_behind_a_gateway"]
    observed = replace(shared.observed, route=Route(weights, accepted=True))
    promoted = replace(shared, phase=Phase.STABLE, stage=None, stable=NEW, canary=None, observed=observed)
    actions = planned(live_of(shared.desired()), promoted.desired())
    gone = {action.manifest["kind"] for action in actions if isinstance(action, Delete)}
    assert gone == {"Deployment", "HorizontalPodAutoscaler", *(["Service"] if service_goes else [])}
