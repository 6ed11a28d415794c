"""The children of a service, in the states that its rollout goes through.

The golden files hold all manifests of a state, to be reviewed like code. To write them anew after a change of a
template: SERINUS_REWRITE_GOLDEN=1 pytest tests/unit/core/test_desired.py
"""

import copy
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from serinus.api.status import FailedRevision, Phase, Rollout, Stage, Weight
from serinus.api.v1beta1 import InferenceServiceSpec
from serinus.config import GatewaySettings, ServerSettings, TracingSettings
from serinus.core.desired import (
    Desired,
    desired,
    has_autoscaler,
    service_url,
    stable_replicas,
    wanted_canary_replicas,
)
from serinus.core.identity import Identity
from serinus.core.names import REVISION_LABEL, workload_name
from serinus.core.observe import Observed, Workload
from serinus.core.pod_template import pod_template
from serinus.core.revision import Revision, revision_of
from serinus.core.state import State
from serinus.core.traffic import TrafficMode, service_target
from serinus.ports import Manifest

GOLDEN = Path(__file__).with_name("golden")
REWRITE = "SERINUS_REWRITE_GOLDEN" in os.environ

FRAUD = Identity("risk", "fraud", "11111111-0000-0000-0000-000000000000")
SERVER = ServerSettings(image="registry.example/serinus-server:1.0")
GATEWAY = GatewaySettings(namespace="infra", name="shared", domain="models.example")


def spec_of(version: str, **more: Any) -> InferenceServiceSpec:  # noqa: ANN401 - parts of a spec
    model = {"uri": f"s3://models/fraud/{version}/model.onnx", "version": version} | more.pop("model", {})
    return InferenceServiceSpec.model_validate({"model": model} | more)


V1, V2 = spec_of("1"), spec_of("2")
OLD, NEW = revision_of(V1), revision_of(V2)


def pinned(spec: InferenceServiceSpec) -> Manifest:
    return pod_template(FRAUD, spec, revision_of(spec), SERVER)


def _failure_of(revision: Revision) -> FailedRevision:
    at = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
    return FailedRevision(
        revision=revision.name, version=revision.version, reason="HighErrorRate", message="It failed.", at=at
    )


@dataclass(frozen=True)
class Case:
    """A state of the service; what is observed of it by default is version 1, serving with two pods."""

    phase: Phase = Phase.STABLE
    stage: Stage | None = None
    spec: InferenceServiceSpec = V1
    stable: Revision = OLD
    canary: Revision | None = None
    baseline: int = 0
    observed: Observed = field(default_factory=Observed)
    server: ServerSettings = SERVER
    gateway: GatewaySettings | None = None
    weight: int = 0
    failed: Revision | None = None

    def state(self) -> State:
        rollout = Rollout(
            phase=self.phase,
            stage=self.stage,
            baseline_replicas=self.baseline,
            weight=Weight(desired=self.weight),
            failed_revisions=() if self.failed is None else (_failure_of(self.failed),),
        )
        return State(self.stable, self.canary, rollout)

    def desired(self) -> Desired:
        asked = revision_of(self.spec)
        return desired(FRAUD, self.spec, asked, self.state(), self.observed, self.server, self.gateway)


ONE_SERVES = Observed(
    workloads={OLD.name: Workload(2, 2)}, pinned={OLD.name: pinned(V1)}, history={OLD.name: 1}, traffic_to=OLD.name
)
TWO_SERVE = replace(
    ONE_SERVES,
    workloads={OLD.name: Workload(4, 4), NEW.name: Workload(1, 1)},
    pinned={OLD.name: pinned(V1), NEW.name: pinned(V2)},
    history={OLD.name: 1, NEW.name: 2},
    traffic_to=None,
)
GUARDED = spec_of(
    "1",
    model={
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "credentials": {"secretName": "s3"},
    },
    resources={"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 2, "memory": "2Gi"}},
)
WITH_TLS = spec_of("2", server={"protocols": ["REST", "gRPC"], "tls": {"secretName": "fraud-tls"}, "workers": 2})
SECURE = revision_of(WITH_TLS)
SCALED = {
    "autoscaling": {
        "minReplicas": 2,
        "maxReplicas": 10,
        "targets": {"cpuUtilizationPercent": 60, "inFlightRequests": 4},
    }
}

ON_A_CLAIM = spec_of("1", model={"uri": "pvc://models/fraud/1/model.onnx", "sha256": GUARDED.model.sha256})

IN_AN_IMAGE = spec_of(
    "1", model={"uri": "oci://registry.example/models/fraud:1/model.onnx", "credentials": {"secretName": "registry"}}
)

FROM_A_HUB = spec_of("1", model={"uri": "hf://risk/fraud@v1/model.onnx", "credentials": {"secretName": "hub"}})

CASES = {
    "plain": Case(Phase.INITIALIZING),
    "with_autoscaler": Case(spec=spec_of("1", **SCALED), observed=ONE_SERVES),
    "with_credentials_digest_and_pull_secrets": Case(
        Phase.INITIALIZING,
        spec=GUARDED,
        stable=revision_of(GUARDED),
        server=ServerSettings(image="r.example/s:1", image_pull_policy="Always", image_pull_secrets=("r1", "r2")),
    ),
    "model_on_a_claim": Case(Phase.INITIALIZING, spec=ON_A_CLAIM, stable=revision_of(ON_A_CLAIM)),
    "model_in_an_image": Case(
        Phase.INITIALIZING,
        spec=IN_AN_IMAGE,
        stable=revision_of(IN_AN_IMAGE),
        server=ServerSettings(image="r.example/s:1", image_pull_secrets=("r1", "registry")),
    ),
    "model_from_a_hub": Case(
        Phase.INITIALIZING,
        spec=FROM_A_HUB,
        stable=revision_of(FROM_A_HUB),
        server=ServerSettings(image="r.example/s:1", hugging_face_endpoint="https://hub.example"),
    ),
    "mid_canary": Case(
        Phase.PROGRESSING, Stage.ANALYZING, spec_of("2", **SCALED), canary=NEW, baseline=4, observed=TWO_SERVE
    ),
    "promoting": Case(Phase.PROMOTING, Stage.BAKE, spec_of("2", **SCALED), canary=NEW, baseline=4, observed=TWO_SERVE),
    "rolling_back": Case(Phase.ROLLING_BACK, None, spec_of("2", **SCALED), canary=NEW, baseline=4, observed=TWO_SERVE),
    "with_tls_and_workers": Case(Phase.INITIALIZING, spec=WITH_TLS, stable=SECURE),
    "behind_a_gateway": Case(observed=ONE_SERVES, gateway=GATEWAY),
    "mid_canary_behind_a_gateway": Case(
        Phase.PROGRESSING,
        Stage.ANALYZING,
        spec_of("2", **SCALED),
        canary=NEW,
        baseline=4,
        observed=TWO_SERVE,
        gateway=GATEWAY,
        weight=5,
    ),
    "rolled_back": Case(Phase.ROLLED_BACK, spec=V2, observed=TWO_SERVE),
}


def children(wanted: Desired, kind: str) -> list[Manifest]:
    return [manifest for manifest in wanted.manifests if manifest["kind"] == kind]


class _Plain(yaml.SafeDumper):
    """Writes the same object twice rather than as an alias."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the name is PyYAML's
        return True


def written(wanted: Desired) -> str:
    templates = {one["metadata"]["name"]: one["spec"]["template"] for one in children(wanted, "Deployment")}
    documents = copy.deepcopy(list(wanted.manifests))
    for document in documents:
        if (
            document["kind"] == "ControllerRevision"
            and document["data"]["template"] == templates[document["metadata"]["name"]]
        ):
            document["data"]["template"] = "that of the Deployment"
    documents += [{"replicas": dict(wanted.replicas), "keptRevisions": sorted(wanted.kept_revisions)}]
    return yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=120)


@pytest.mark.parametrize("name", CASES)
def test_render_golden(name: str) -> None:
    path = GOLDEN / f"{name}.yaml"
    text = written(CASES[name].desired())
    if REWRITE:
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} is not what is rendered; the module says how to write it anew"


def test_every_golden_file_is_tested() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


# Going over to TLS, and back.

BOTH_SERVE = replace(ONE_SERVES, pinned={OLD.name: pinned(V1), SECURE.name: pinned(WITH_TLS)})


@pytest.mark.parametrize(
    ("case", "ports", "scheme"),
    [
        pytest.param(Case(observed=ONE_SERVES), {"http": 80}, "http", id="without"),
        pytest.param(
            Case(Phase.PROGRESSING, Stage.ANALYZING, WITH_TLS, canary=SECURE, observed=BOTH_SERVE),
            {"http": 80, "https": 443, "grpcs": 9443},
            "http",
            id="going over",
        ),
        pytest.param(
            Case(Phase.ROLLED_BACK, spec=WITH_TLS, observed=BOTH_SERVE), {"http": 80}, "http", id="rolled back"
        ),
        pytest.param(
            Case(spec=WITH_TLS, stable=SECURE, observed=BOTH_SERVE), {"https": 443, "grpcs": 9443}, "https", id="with"
        ),
        pytest.param(
            Case(Phase.CANARY_STARTING, Stage.SCALING, V1, stable=SECURE, canary=OLD, observed=BOTH_SERVE),
            {"http": 80, "https": 443, "grpcs": 9443},
            "https",
            id="going back",
        ),
        pytest.param(
            Case(Phase.INITIALIZING, spec=WITH_TLS, stable=SECURE),
            {"https": 443, "grpcs": 9443},
            "https",
            id="before the first pods",
        ),
    ],
)
def test_clients_find_the_port_of_each_revision_that_is_deployed(
    case: Case, ports: dict[str, int], scheme: str
) -> None:
    [service] = children(case.desired(), "Service")
    assert {one["name"]: one["port"] for one in service["spec"]["ports"]} == ports
    assert all(one["targetPort"] == one["name"] for one in service["spec"]["ports"])
    assert service_url(FRAUD, case.state(), case.spec, case.observed, None) == f"{scheme}://fraud.risk.svc"


def test_ports_of_other_containers_are_none_of_the_service() -> None:
    template = pinned(V1)
    template["spec"]["containers"].insert(0, {"name": "proxy", "ports": [{"name": "https", "containerPort": 1}]})
    case = Case(observed=replace(ONE_SERVES, pinned={OLD.name: template}))
    assert [one["name"] for one in children(case.desired(), "Service")[0]["spec"]["ports"]] == ["http"]
    assert service_url(FRAUD, case.state(), case.spec, case.observed, None) == "http://fraud.risk.svc"


# What holds of all children, whatever the state.

all_states = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@all_states
def test_children_are_rendered_the_same_twice(case: Case) -> None:
    before = copy.deepcopy(case)
    assert case.desired() == case.desired()
    assert case == before


@all_states
def test_children_belong_to_the_service_and_go_with_it(case: Case) -> None:
    for manifest in case.desired().manifests:
        metadata = manifest["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
            "InferenceService",
            "fraud",
            FRAUD.uid,
            True,
        )
        assert metadata["namespace"] == "risk"
        assert metadata["labels"]["serinus.dev/inferenceservice"] == "fraud"
        assert len(metadata["name"]) <= 63
        assert metadata.keys() == {"name", "namespace", "labels", "ownerReferences"}


@all_states
def test_replicas_are_not_in_a_deployment(case: Case) -> None:
    for deployment in children(case.desired(), "Deployment"):
        assert "replicas" not in deployment["spec"]


@all_states
def test_every_selector_of_a_deployment_carries_the_revision(case: Case) -> None:
    for deployment in children(case.desired(), "Deployment"):
        revision = deployment["metadata"]["labels"][REVISION_LABEL]
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert selector[REVISION_LABEL] == revision
        assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
        spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert all(one["labelSelector"]["matchLabels"] == selector for one in spread)


@all_states
def test_pods_keep_to_pod_security_restricted(case: Case) -> None:
    for deployment in children(case.desired(), "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        for container in pod["initContainers"] + pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}
        writable = [volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume]
        assert all("sizeLimit" in volume for volume in writable)
        server = pod["containers"][0]["volumeMounts"]
        assert [mount["name"] for mount in server if not mount.get("readOnly")] == ["tmp"]


@all_states
def test_pods_are_given_time_to_end(case: Case) -> None:
    for deployment in children(case.desired(), "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        (draining,) = (
            int(argument.removeprefix("--drain-delay=").removesuffix("s"))
            for argument in pod["containers"][0]["args"]
            if argument.startswith("--drain-delay=")
        )
        longest_request = 30
        assert pod["terminationGracePeriodSeconds"] > draining + longest_request + 5


@all_states
def test_the_secret_is_named_and_never_read_by_the_server(case: Case) -> None:
    for deployment in children(case.desired(), "Deployment"):
        (server,) = deployment["spec"]["template"]["spec"]["containers"]
        assert "envFrom" not in server


# Versions, replicas and requests.


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"image": "registry.example/serinus-server:2.0"}, id="another image"),
        pytest.param({"tracing": TracingSettings(otlp_endpoint="http://collector:4318")}, id="tracing turned on"),
    ],
)
def test_operator_upgrade_keeps_pods(changed: dict[str, Any]) -> None:
    upgraded = SERVER.model_copy(update=changed)
    for name, case in CASES.items():
        if case.observed.pinned:
            assert replace(case, server=upgraded).desired() == case.desired(), name


def test_servers_are_told_where_to_send_spans() -> None:
    tracing = TracingSettings(otlp_endpoint="http://collector.otel:4318", sample_ratio=0.001)
    template = pod_template(FRAUD, V1, OLD, SERVER.model_copy(update={"tracing": tracing}))
    (server,) = template["spec"]["containers"]
    assert [entry for entry in server["env"] if not entry["name"].startswith("SERINUS_")] == [
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector.otel:4318"},
        {"name": "OTEL_TRACES_SAMPLER", "value": "parentbased_traceidratio"},
        {"name": "OTEL_TRACES_SAMPLER_ARG", "value": "0.001"},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "k8s.namespace.name=risk,k8s.pod.name=$(POD_NAME)"},
    ]


def test_a_revision_is_deployed_from_what_is_pinned_after_the_spec_has_moved_on() -> None:
    wanted = CASES["rolled_back"].desired()
    (deployment,) = children(wanted, "Deployment")
    assert deployment["metadata"]["name"] == workload_name("fraud", OLD.name)
    assert deployment["spec"]["template"] == pinned(V1)


def test_a_deleted_controller_revision_is_made_anew_from_the_deployment() -> None:
    running = pinned(V1) | {"defaulted": True}
    lost = replace(TWO_SERVE, pinned={NEW.name: pinned(V2)}, running={OLD.name: running})
    wanted = replace(CASES["rolled_back"], observed=lost).desired()
    (history,) = children(wanted, "ControllerRevision")
    assert history["data"]["template"] == running


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        pytest.param(SERVER, pinned(V1), id="the present template where that is what runs"),
        pytest.param(
            ServerSettings(image="registry.example/serinus-server:2.0"),
            pinned(V1) | {"defaulted": True},
            id="what runs where the template has changed since",
        ),
    ],
)
def test_a_deleted_controller_revision_of_what_is_asked_for_restarts_no_pod(
    server: ServerSettings, expected: Manifest
) -> None:
    running = {OLD.name: pinned(V1) | {"defaulted": True}}
    lost = replace(ONE_SERVES, pinned={}, history={}, running=running)
    wanted = Case(observed=lost, server=server).desired()
    (history,), (deployment,) = children(wanted, "ControllerRevision"), children(wanted, "Deployment")
    assert history["data"]["template"] == deployment["spec"]["template"] == expected


def test_a_revision_of_which_nothing_is_known_is_not_made_up() -> None:
    wanted = replace(CASES["rolled_back"], observed=Observed()).desired()
    assert children(wanted, "Deployment") == []
    assert [manifest["kind"] for manifest in wanted.manifests] == ["ConfigMap", "Service", "PodDisruptionBudget"]


def test_revisions_are_numbered_in_the_order_they_came() -> None:
    new = replace(TWO_SERVE, pinned={OLD.name: pinned(V1)}, history={"aaa": 1, "bbb": 6, OLD.name: 4})
    wanted = replace(CASES["mid_canary"], observed=new).desired()
    numbers = {
        one["metadata"]["labels"][REVISION_LABEL]: one["revision"] for one in children(wanted, "ControllerRevision")
    }
    assert numbers == {OLD.name: 4, NEW.name: 7}


HISTORY = {OLD.name: 1} | {f"{number:x}": number for number in range(2, 30)}


@pytest.mark.parametrize(
    ("wish", "kept"),
    [
        pytest.param({}, [f"{number:x}" for number in range(20, 30)], id="ten by default"),
        pytest.param({"revisionHistoryLimit": 2}, ["1c", "1d"], id="as many as the spec says"),
        pytest.param({"revisionHistoryLimit": 0}, [], id="none"),
        pytest.param({"revisionHistoryLimit": 100}, [f"{number:x}" for number in range(2, 30)], id="all there are"),
    ],
)
def test_the_newest_revisions_are_kept_and_those_in_use(wish: dict[str, int], kept: list[str]) -> None:
    observed = replace(TWO_SERVE, history=HISTORY)
    wanted = replace(CASES["rolled_back"], spec=spec_of("2", **wish), observed=observed).desired()
    assert wanted.kept_revisions == {OLD.name, *kept}


def test_a_revision_that_was_rolled_back_is_not_kept() -> None:
    observed = replace(ONE_SERVES, history={"f1": 1, NEW.name: 2, OLD.name: 3})
    wanted = replace(CASES["rolled_back"], failed=NEW, observed=observed).desired()
    assert wanted.kept_revisions == {OLD.name, "f1"}


def test_revisions_in_use_take_no_place_of_former_ones() -> None:
    observed = replace(TWO_SERVE, history={"f1": 1, "f2": 2, OLD.name: 3, NEW.name: 4})
    spec = spec_of("2", revisionHistoryLimit=1)
    wanted = replace(CASES["mid_canary"], spec=spec, observed=observed).desired()
    assert wanted.kept_revisions == {OLD.name, NEW.name, "f2"}


@pytest.mark.parametrize(
    ("name", "history", "number"),
    [
        pytest.param("mid_canary", {OLD.name: 1}, 2, id="the first successor"),
        pytest.param("mid_canary", {OLD.name: 1, NEW.name: 2}, 2, id="seen again"),
        pytest.param("mid_canary", {NEW.name: 1, "aaa": 2, OLD.name: 3}, 4, id="gone back to"),
        pytest.param("mid_canary", {NEW.name: 4, "aaa": 2, OLD.name: 3}, 4, id="gone back to and seen again"),
    ],
)
def test_the_greatest_number_is_that_of_the_revision_begun_last(
    name: str, history: dict[str, int], number: int
) -> None:
    wanted = replace(CASES[name], observed=replace(TWO_SERVE, history=history)).desired()
    numbers = {
        one["metadata"]["labels"][REVISION_LABEL]: one["revision"] for one in children(wanted, "ControllerRevision")
    }
    assert numbers == {OLD.name: history[OLD.name], NEW.name: number}


def test_a_first_revision_that_is_asked_for_again_is_numbered_again() -> None:
    history = {OLD.name: 1, NEW.name: 2}
    wanted = replace(CASES["plain"], observed=replace(ONE_SERVES, history=history)).desired()
    (revision,) = children(wanted, "ControllerRevision")
    assert revision["revision"] == 3


def test_the_stable_revision_keeps_its_number_when_the_spec_goes_back_to_it() -> None:
    history = {OLD.name: 1, NEW.name: 2}
    wanted = Case(observed=replace(ONE_SERVES, history=history)).desired()
    (revision,) = children(wanted, "ControllerRevision")
    assert revision["revision"] == 1


@pytest.mark.parametrize(
    ("phase", "stage", "target"),
    [
        (Phase.CANARY_STARTING, Stage.SCALING, "stable"),
        (Phase.PROGRESSING, Stage.SCALING, "both"),
        (Phase.PROGRESSING, Stage.ANALYZING, "both"),
        (Phase.PAUSED, None, "both"),
        (Phase.PROMOTING, Stage.SCALE_UP, "both"),
        (Phase.PROMOTING, Stage.SHIFT_TRAFFIC, "canary"),
        (Phase.PROMOTING, Stage.BAKE, "canary"),
        (Phase.ROLLING_BACK, None, "stable"),
    ],
)
def test_where_the_requests_go(phase: Phase, stage: Stage | None, target: str) -> None:
    case = Case(phase, stage, V2, canary=NEW, baseline=4, observed=TWO_SERVE, weight=20)
    assert (
        service_target(case.state(), TrafficMode.REPLICAS)
        == {"stable": OLD.name, "canary": NEW.name, "both": None}[target]
    )
    (service,) = children(case.desired(), "Service")
    expected = {} if target == "both" else {REVISION_LABEL: service_target(case.state(), TrafficMode.REPLICAS)}
    assert service["spec"]["selector"] == {"serinus.dev/inferenceservice": "fraud"} | expected


def test_without_a_canary_all_requests_go_to_stable() -> None:
    assert {service_target(Case(phase).state(), TrafficMode.REPLICAS) for phase in Phase} == {OLD.name}


@pytest.mark.parametrize(
    ("autoscaling", "autoscaled"),
    [
        ({"minReplicas": 2}, False),
        ({"minReplicas": 2, "maxReplicas": 2}, False),
        ({"minReplicas": 2, "maxReplicas": 3}, True),
    ],
)
def test_an_autoscaler_where_there_is_something_to_scale(autoscaling: dict[str, Any], autoscaled: bool) -> None:
    case = Case(spec=spec_of("1", autoscaling=autoscaling), observed=ONE_SERVES)
    assert has_autoscaler(case.spec) is autoscaled
    assert bool(children(case.desired(), "HorizontalPodAutoscaler")) is autoscaled


@dataclass(frozen=True)
class Pods:
    """How many pods are wanted: `minimum` and `most` of the spec, `before` the rollout, `stable` and `canary` now."""

    phase: Phase
    minimum: int
    most: int | None
    before: int
    stable: int
    canary: int
    wanted: tuple[int, int]
    weight: int = 20
    strict: bool = False
    gateway: bool = False


PODS = {
    "fixed": Pods(Phase.PROGRESSING, 4, None, 4, 4, 0, wanted=(4, 1)),
    "fixed_and_grown_mid_canary": Pods(Phase.PROGRESSING, 8, None, 4, 4, 1, wanted=(8, 2)),
    "fixed_and_shrunk_mid_canary": Pods(Phase.PROGRESSING, 2, None, 4, 4, 1, wanted=(4, 1)),
    "autoscaled_up": Pods(Phase.PROGRESSING, 2, 20, 4, 12, 1, wanted=(12, 3)),
    "autoscaled_down_to_where_it_began": Pods(Phase.PROGRESSING, 2, 20, 8, 5, 2, wanted=(8, 2)),
    "canary_that_somebody_scaled_is_put_back": Pods(Phase.PROGRESSING, 2, 20, 4, 4, 3, wanted=(4, 1)),
    "canary_follows_stable_down": Pods(Phase.PROGRESSING, 2, 20, 4, 8, 3, wanted=(8, 2)),
    "paused": Pods(Phase.PAUSED, 2, 20, 4, 4, 3, wanted=(4, 1)),
    "canary_of_half": Pods(Phase.PROGRESSING, 4, None, 4, 4, 1, wanted=(4, 4), weight=50),
    "promoting": Pods(Phase.PROMOTING, 2, 20, 4, 12, 1, wanted=(12, 12)),
    "promoted_one_keeps_its_pods_as_the_old_one_loses_its_own": Pods(Phase.PROMOTING, 2, 20, 4, 4, 12, wanted=(4, 12)),
    # The weight met strictly.
    "strict_and_met": Pods(Phase.PROGRESSING, 4, None, 4, 4, 0, wanted=(4, 1), strict=True),
    "strict_and_more_pods_make_it": Pods(Phase.PROGRESSING, 2, 20, 4, 4, 0, wanted=(6, 2), weight=25, strict=True),
    "strict_from_what_the_autoscaler_has_made": Pods(
        Phase.PROGRESSING, 2, 20, 4, 7, 2, wanted=(8, 3), weight=28, strict=True
    ),
    "strict_while_paused": Pods(Phase.PAUSED, 2, 20, 4, 4, 0, wanted=(6, 2), weight=25, strict=True),
    "strict_and_promoting": Pods(Phase.PROMOTING, 2, 20, 4, 6, 2, wanted=(6, 6), weight=25, strict=True),
    "strict_with_a_maximum_lowered_since": Pods(
        Phase.PROGRESSING, 2, 3, 5, 5, 0, wanted=(5, 2), weight=25, strict=True
    ),
    "strict_behind_a_gateway": Pods(
        Phase.PROGRESSING, 2, 20, 4, 4, 0, wanted=(4, 1), weight=25, strict=True, gateway=True
    ),
    # Behind a Gateway: as many as bear the share, and more where its own autoscaler has made them.
    "gateway": Pods(Phase.PROGRESSING, 2, 20, 4, 12, 1, wanted=(12, 3), gateway=True),
    "gateway_autoscaled": Pods(Phase.PROGRESSING, 2, 20, 4, 12, 7, wanted=(12, 7), gateway=True),
    "gateway_fixed_and_scaled_by_somebody": Pods(Phase.PROGRESSING, 4, None, 4, 4, 3, wanted=(4, 1), gateway=True),
    "gateway_promoting": Pods(Phase.PROMOTING, 2, 20, 4, 12, 7, wanted=(12, 12), gateway=True),
    "gateway_promoting_with_more": Pods(Phase.PROMOTING, 2, 20, 4, 6, 9, wanted=(6, 9), gateway=True),
}


@pytest.mark.parametrize("pods", PODS.values(), ids=PODS.keys())
def test_how_many_pods(pods: Pods) -> None:
    spec = spec_of(
        "2",
        autoscaling={"minReplicas": pods.minimum, "maxReplicas": pods.most},
        canary={
            "steps": [{"weightPercent": pods.weight, "duration": "1m"}],
            "traffic": {"precision": "Strict" if pods.strict else "Approximate"},
        },
    )
    mode = TrafficMode.GATEWAY_API if pods.gateway else TrafficMode.REPLICAS
    workloads = {OLD.name: Workload(pods.stable, 0), NEW.name: Workload(pods.canary, 0)}
    observed = replace(TWO_SERVE, workloads=workloads)
    case = Case(pods.phase, Stage.SCALE_UP, spec, canary=NEW, baseline=pods.before, observed=observed)
    case = replace(case, gateway=GATEWAY if pods.gateway else None)
    how_many = (stable_replicas, wanted_canary_replicas)
    assert tuple(one(spec, case.state(), observed, mode) for one in how_many) == pods.wanted
    assert tuple(case.desired().replicas.values()) == pods.wanted


def test_a_canary_that_is_taken_out_is_not_scaled() -> None:
    assert CASES["rolling_back"].desired().replicas.keys() == {workload_name("fraud", OLD.name)}


def test_the_autoscaler_keeps_stable_at_what_it_was_before_the_rollout() -> None:
    (autoscaler,) = children(CASES["mid_canary"].desired(), "HorizontalPodAutoscaler")
    assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (4, 10)
    crowded = replace(CASES["mid_canary"], baseline=12)
    (autoscaler,) = children(crowded.desired(), "HorizontalPodAutoscaler")
    assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (12, 12)
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == workload_name("fraud", OLD.name)


def test_the_autoscaler_keeps_the_stable_pods_that_a_strict_weight_takes() -> None:
    canary = {"steps": [{"weightPercent": 25, "duration": "1m"}], "traffic": {"precision": "Strict"}}
    strict = replace(CASES["mid_canary"], spec=spec_of("2", canary=canary, **SCALED))
    (autoscaler,) = children(strict.desired(), "HorizontalPodAutoscaler")
    assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (6, 10)
    assert strict.desired().replicas == {workload_name("fraud", OLD.name): 6, workload_name("fraud", NEW.name): 2}


@pytest.mark.parametrize(
    ("phase", "bounds"),
    [
        (Phase.CANARY_STARTING, [(4, 10), (1, 10)]),
        (Phase.PROGRESSING, [(4, 10), (1, 10)]),
        (Phase.PAUSED, [(4, 10), (1, 10)]),
        (Phase.PROMOTING, [(4, 10), (4, 10)]),
        (Phase.ROLLING_BACK, [(4, 10)]),
    ],
)
def test_a_canary_behind_a_gateway_has_its_own_autoscaler(phase: Phase, bounds: list[tuple[int, int]]) -> None:
    """Its minimum bears the share that it has, and all before it gets all: no autoscaler is ahead of the requests."""
    case = replace(CASES["mid_canary_behind_a_gateway"], phase=phase)
    autoscalers = children(case.desired(), "HorizontalPodAutoscaler")
    assert [(one["spec"]["minReplicas"], one["spec"]["maxReplicas"]) for one in autoscalers] == bounds
    targets = [one["spec"]["scaleTargetRef"]["name"] for one in autoscalers]
    assert targets == [workload_name("fraud", OLD.name), workload_name("fraud", NEW.name)][: len(bounds)]
    assert [REVISION_LABEL in one["metadata"]["labels"] for one in autoscalers] == [False, True][: len(bounds)]


def test_no_autoscaler_of_a_canary_without_a_gateway_or_without_a_range() -> None:
    assert len(children(CASES["mid_canary"].desired(), "HorizontalPodAutoscaler")) == 1
    fixed = replace(CASES["mid_canary_behind_a_gateway"], spec=spec_of("2"))
    assert children(fixed.desired(), "HorizontalPodAutoscaler") == []
