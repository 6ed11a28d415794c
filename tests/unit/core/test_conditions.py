"""The conditions, by what is the case."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from serinus.api.status import AnalysisStatus, Condition, Phase, Rollout
from serinus.api.v1beta1 import Canary
from serinus.core import conditions
from serinus.core.conditions import Assertion, assess, invalid_spec, template_up_to_date, with_times
from serinus.core.hindrance import Autoscaler, Hindrance
from serinus.core.observe import Observed, PodFailure, Workload
from serinus.core.revision import Revision
from serinus.core.state import State
from serinus.ports import MetricsSample, MetricsUnavailableError

NOW = datetime(2026, 3, 1, 3, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
OLD, NEW = Revision("aaa", "1"), Revision("bbb", "2")

SERVING = Observed(workloads={"aaa": Workload(4, 4)})
COMING = Observed(workloads={"aaa": Workload(4, 0)})
BROKEN = replace(
    COMING, failures={"aaa": PodFailure("fraud-x", "fetch", "DigestMismatch", "model.onnx has sha256 00, expected 11")}
)
NO_ROOM = Hindrance("Pod fraud-x", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.", "Add nodes.")
ODD_REASON = Hindrance("Pod fraud-x", "not a word", "M", "A.")
WAITING = replace(COMING, hindrances={"aaa": NO_ROOM})
CANARY_WAITING = replace(SERVING, hindrances={"bbb": NO_ROOM})
NO_METRICS = Hindrance("HorizontalPodAutoscaler fraud", "FailedGetResourceMetric", "no metrics", "Look.")


def state(phase: Phase, reason: str = "", message: str = "As told.", **more: Any) -> State:  # noqa: ANN401
    """A state with the revisions that the phase has."""
    rolling = phase not in (Phase.INITIALIZING, Phase.STABLE, Phase.ROLLED_BACK)
    rollout = Rollout(phase=phase, reason=reason or phase.value, message=message, **more)
    return State(OLD, NEW if rolling else None, rollout, AnalysisStatus() if rolling else None)


@dataclass(frozen=True)
class Case:
    state: State
    expected: dict[str, tuple[str, str]]
    """Status and reason, by type; MetricsAvailable only where it matters."""
    observed: Observed = SERVING
    look: MetricsSample | MetricsUnavailableError | None = None
    problem: str | None = None
    policy: Canary = field(default_factory=Canary)
    says: dict[str, str] = field(default_factory=dict)
    """Part of the message, by type."""


READY, NOT_YET = ("True", "Serving"), ("False", "Deploying")
SAMPLE = MetricsSample(NOW, {})
UNAVAILABLE = MetricsUnavailableError("Prometheus at http://p cannot be asked: connection refused.")

CASES = {
    # kstatus: InProgress while Reconciling stands, Failed while Stalled stands, else Current when Ready.
    "first_deployment": Case(
        state(Phase.INITIALIZING, "FirstDeployment"),
        {"Ready": NOT_YET, "RolloutHealthy": ("True", "Initializing"), "Reconciling": ("True", "Initializing")},
        COMING,
        says={"Ready": "Version 1 is not ready yet; 0 of 4 pods are ready", "Reconciling": "As told."},
    ),
    "first_deployment_that_cannot_serve": Case(
        state(Phase.INITIALIZING, "FirstDeployment"),
        {
            "Ready": ("False", "DigestMismatch"),
            "RolloutHealthy": ("True", "Initializing"),
            "Stalled": ("True", "DigestMismatch"),
        },
        BROKEN,
        says={
            "Ready": "Version 1 does not serve. Container fetch of pod fraud-x: DigestMismatch: model.onnx has sha256 "
            "00, expected 11. Once that is put right its pods start by themselves; another spec is taken up at once.",
            "Stalled": "another spec is taken up at once",
        },
    ),
    "first_deployment_of_which_a_pod_serves": Case(
        state(Phase.INITIALIZING, "FirstDeployment"),
        {"Ready": READY, "RolloutHealthy": ("True", "Initializing"), "Reconciling": ("True", "Initializing")},
        replace(BROKEN, workloads={"aaa": Workload(4, 1)}),
        says={"Ready": "Version 1 serves; 1 of 4 pods are ready. Container fetch of pod fraud-x: DigestMismatch: "},
    ),
    "first_deployment_that_has_no_room_yet": Case(
        state(Phase.INITIALIZING, "FirstDeployment"),
        {
            "Ready": ("False", "Unschedulable"),
            "RolloutHealthy": ("True", "Initializing"),
            "Reconciling": ("True", "Unschedulable"),
        },
        WAITING,
        says={
            "Ready": "0 of 4 pods are ready. Pod fraud-x: Unschedulable: 0/1 nodes are available: 1 Insufficient cpu. "
            "Add nodes.",
            "Reconciling": "As told. Pod fraud-x: Unschedulable: ",
        },
    ),
    "first_deployment_that_fails_and_has_no_room_for_more": Case(
        state(Phase.INITIALIZING, "FirstDeployment"),
        {
            "Ready": ("False", "DigestMismatch"),
            "RolloutHealthy": ("True", "Initializing"),
            "Stalled": ("True", "DigestMismatch"),
        },
        replace(BROKEN, hindrances={"aaa": NO_ROOM}),
    ),
    "canary_that_has_no_room_yet": Case(
        state(Phase.CANARY_STARTING),
        {"Ready": READY, "RolloutHealthy": ("True", "CanaryStarting"), "Reconciling": ("True", "Unschedulable")},
        CANARY_WAITING,
        says={"Reconciling": "As told. Pod fraud-x: Unschedulable: "},
    ),
    "some_pods_have_no_room": Case(
        state(Phase.STABLE),
        {"Ready": READY, "RolloutHealthy": ("True", "Stable")},
        replace(SERVING, hindrances={"aaa": NO_ROOM}),
        says={"Ready": "4 of 4 pods are ready. Pod fraud-x: Unschedulable: "},
    ),
    "stable_that_lost_its_nodes": Case(
        state(Phase.STABLE), {"Ready": ("False", "Unschedulable"), "RolloutHealthy": ("True", "Stable")}, WAITING
    ),
    "reason_that_a_condition_does_not_take": Case(
        state(Phase.STABLE),
        {"Ready": ("False", "PodsHeldUp"), "RolloutHealthy": ("True", "Stable")},
        replace(COMING, hindrances={"aaa": ODD_REASON}),
    ),
    # The autoscaler.
    "autoscaler_that_scales": Case(
        state(Phase.STABLE),
        {"Ready": READY, "RolloutHealthy": ("True", "Stable"), "ScalingActive": ("True", "Scaling")},
        replace(SERVING, autoscaler=Autoscaler()),
    ),
    "autoscaler_that_has_said_nothing_yet": Case(
        state(Phase.STABLE),
        {"Ready": READY, "RolloutHealthy": ("True", "Stable"), "ScalingActive": ("Unknown", "NotKnownYet")},
        replace(SERVING, autoscaler=Autoscaler(is_known=False)),
    ),
    "autoscaler_without_metrics": Case(
        state(Phase.STABLE),
        {
            "Ready": READY,
            "RolloutHealthy": ("True", "Stable"),
            "ScalingActive": ("False", "FailedGetResourceMetric"),
        },
        replace(SERVING, autoscaler=Autoscaler(NO_METRICS)),
        says={"ScalingActive": "HorizontalPodAutoscaler fraud: FailedGetResourceMetric: no metrics. Look."},
    ),
    # The disruption budget.
    "evictions_blocked": Case(
        state(Phase.STABLE),
        {"Ready": READY, "RolloutHealthy": ("True", "Stable"), "EvictionsBlocked": ("True", "SyncFailed")},
        replace(SERVING, eviction_hindrance=Hindrance("PodDisruptionBudget fraud", "SyncFailed", "M", "A.")),
        says={"EvictionsBlocked": "PodDisruptionBudget fraud: SyncFailed: M. A."},
    ),
    # Once it serves.
    "stable": Case(
        state(Phase.STABLE),
        {"Ready": READY, "RolloutHealthy": ("True", "Stable")},
        says={"Ready": "Version 1 serves; 4 of 4 pods are ready."},
    ),
    "stable_without_a_ready_pod": Case(
        state(Phase.STABLE), {"Ready": NOT_YET, "RolloutHealthy": ("True", "Stable")}, COMING
    ),
    "stable_that_broke": Case(
        state(Phase.STABLE), {"Ready": ("False", "DigestMismatch"), "RolloutHealthy": ("True", "Stable")}, BROKEN
    ),
    **{
        f"while_{phase.value}": Case(
            state(phase),
            {"Ready": READY, "RolloutHealthy": ("True", phase.value), "Reconciling": ("True", phase.value)},
        )
        for phase in (Phase.CANARY_STARTING, Phase.PROGRESSING, Phase.PROMOTING)
    },
    "rolling_back": Case(
        state(Phase.ROLLING_BACK, "HighLatency"),
        {"Ready": READY, "RolloutHealthy": ("False", "HighLatency"), "Reconciling": ("True", "RollingBack")},
    ),
    "rolled_back": Case(
        state(Phase.ROLLED_BACK, "HighLatency", "Version 2 was rolled back."),
        {"Ready": READY, "RolloutHealthy": ("False", "HighLatency"), "Stalled": ("True", "RolledBack")},
        says={"RolloutHealthy": "Version 2 was rolled back.", "Stalled": "Version 2 was rolled back."},
    ),
    "paused_waits_for_a_person_and_is_not_reconciling": Case(
        state(Phase.PAUSED, "ManualPromotion"), {"Ready": READY, "RolloutHealthy": ("False", "ManualPromotion")}
    ),
    "write_refused": Case(
        state(Phase.PROGRESSING),
        {"Ready": READY, "RolloutHealthy": ("True", "Progressing"), "Stalled": ("True", "WriteRefused")},
        problem="Service fraud is there already and belongs to somebody else; rename the InferenceService",
        says={"Stalled": "rename the InferenceService"},
    ),
    # The metrics.
    "metrics_not_needed_yet": Case(
        state(Phase.STABLE),
        {"MetricsAvailable": ("Unknown", "NotNeededYet"), "Ready": READY, "RolloutHealthy": ("True", "Stable")},
    ),
    "metrics_there": Case(
        state(Phase.PAUSED, "Environment"),
        {
            "MetricsAvailable": ("True", "QuerySucceeded"),
            "Ready": READY,
            "RolloutHealthy": ("False", "Environment"),
        },
        look=SAMPLE,
    ),
    "metrics_away": Case(
        state(Phase.PAUSED, "Environment"),
        {"MetricsAvailable": ("False", "QueryFailed"), "Ready": READY, "RolloutHealthy": ("False", "Environment")},
        look=UNAVAILABLE,
        says={"MetricsAvailable": "connection refused. The rollout holds its weight until the metrics are back."},
    ),
    # The policy.
    "policy_edited_mid_canary": Case(
        state(Phase.PAUSED, "ManualPromotion", policy=Canary()),
        {"Ready": READY, "RolloutHealthy": ("False", "ManualPromotion")},
        policy=Canary(deadline="2h"),
        says={"RolloutHealthy": "As told. This rollout keeps the canary policy it began with; the edited one applies"},
    ),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_conditions(case: Case) -> None:
    told = {one.type: one for one in assess(case.state, case.observed, case.look, case.problem, case.policy)}
    if "MetricsAvailable" not in case.expected:
        told.pop("MetricsAvailable", None)
    assert {name: (one.status, one.reason) for name, one in told.items()} == case.expected
    for name, part in case.says.items():
        assert part in told[name].message


def test_an_unedited_policy_is_not_worth_a_word() -> None:
    rolling = state(Phase.PROGRESSING, policy=Canary())
    told = {one.type: one.message for one in assess(rolling, SERVING, None, None, Canary())}
    assert told["RolloutHealthy"] == "As told."


IMAGE = "spec.containers[server].image: server:1 -> server:2"


@pytest.mark.parametrize(
    ("asked", "deployed", "changes", "expected", "part"),
    [
        (OLD, OLD, (), ("True", "UpToDate"), "Version 1 runs the platform's present pod template."),
        (NEW, NEW, (), ("True", "UpToDate"), "Version 2 runs"),
        (OLD, OLD, (IMAGE,), ("False", "TemplateChanged"), f"since revision aaa was made: {IMAGE}. Nothing is"),
        (NEW, NEW, (IMAGE,), ("False", "TemplateChanged"), "since revision bbb was made"),
        (OLD, OLD, ("a", "b", "c", "d"), ("False", "TemplateChanged"), "a; b; c; and 1 more. Nothing"),
        (NEW, None, (), ("Unknown", "NotDeployed"), "Version 2, which the spec asks for, is not"),
    ],
)
def test_template_up_to_date(
    asked: Revision, deployed: Revision | None, changes: tuple[str, ...], expected: tuple[str, str], part: str
) -> None:
    told = template_up_to_date(asked, deployed, changes, "fraud -n risk", "Pinned")
    assert (told.type, (told.status, told.reason)) == ("TemplateUpToDate", expected)
    assert part in told.message
    assert ("kubectl patch infsvc fraud -n risk" in told.message) == (told.status == "False")


@pytest.mark.parametrize(
    ("asked", "changes", "expected", "part"),
    [
        (OLD, (), ("True", "UpToDate"), "Version 1 runs the platform's present pod template."),
        (OLD, (IMAGE,), ("False", "TemplateChanged"), f"{IMAGE}. The new template is rolled out as a canary once"),
        (
            Revision("ccc", "1", "ddd"),
            (IMAGE,),
            ("False", "TemplateRolledBack"),
            f"since revision aaa was made: {IMAGE}. Revision ccc, which has the present one, was rolled back; the",
        ),
    ],
)
def test_template_up_to_date_where_it_is_rolled_out_by_itself(
    asked: Revision, changes: tuple[str, ...], expected: tuple[str, str], part: str
) -> None:
    told = template_up_to_date(asked, OLD, changes, "fraud -n risk", "Canary")
    assert (told.type, (told.status, told.reason)) == ("TemplateUpToDate", expected)
    assert part in told.message
    assert "kubectl patch" not in told.message


@pytest.mark.parametrize(
    ("serves", "message"),
    [
        (
            True,
            "spec.model.uri: wrong. The version deployed before keeps serving. Correct the spec and apply it again.",
        ),
        (False, "spec.model.uri: wrong. Correct the spec and apply it again."),
    ],
)
def test_invalid_spec(serves: bool, message: str) -> None:
    assert invalid_spec("spec.model.uri: wrong.", serves) == (
        Assertion("Ready", "False", "InvalidSpec", message),
        Assertion("Stalled", "True", "InvalidSpec", message),
    )


def condition(name: str, status: conditions.ConditionStatus, reason: str = "Before", message: str = "m") -> Condition:
    return Condition(
        type=name, status=status, reason=reason, message=message, last_transition_time=NOW, observed_generation=1
    )


@pytest.mark.parametrize(
    ("before", "status", "since"),
    [
        pytest.param((), "True", LATER, id="new"),
        pytest.param((condition("Ready", "False"),), "True", LATER, id="flipped"),
        pytest.param((condition("Ready", "True"),), "True", NOW, id="same status, other reason"),
        pytest.param((condition("Ready", "Unknown"),), "False", LATER, id="from unknown"),
        pytest.param((condition("Other", "True"),), "True", LATER, id="another type"),
    ],
)
def test_the_transition_time_moves_on_flips_only(
    before: tuple[Condition, ...], status: conditions.ConditionStatus, since: datetime
) -> None:
    (ready,) = with_times([Assertion("Ready", status, "Now", "n")], before, 2, LATER)
    assert (ready.status, ready.reason, ready.message, ready.observed_generation) == (status, "Now", "n", 2)
    assert ready.last_transition_time == (since if since == NOW else LATER.replace(microsecond=0))


def test_conditions_are_sorted_by_type() -> None:
    told = [Assertion(name, "True", "R", "m") for name in ("Stalled", "Ready", "MetricsAvailable")]
    assert [one.type for one in with_times(told, (), 1, NOW)] == ["MetricsAvailable", "Ready", "Stalled"]


@pytest.mark.parametrize("name", ["MetricsAvailable", "RolloutHealthy", "TemplateUpToDate"])
def test_what_is_not_told_anew_stays(name: str) -> None:
    before = (condition(name, "False"), condition("Ready", "True"))
    after = with_times([Assertion("Ready", "True", "Serving", "m")], before, 2, LATER)
    assert before[0] in after


@pytest.mark.parametrize("name", ["Reconciling", "Stalled"])
def test_what_no_longer_holds_goes(name: str) -> None:
    after = with_times([Assertion("Ready", "True", "Serving", "m")], (condition(name, "True"),), 2, LATER)
    assert [one.type for one in after] == ["Ready"]


def test_a_message_of_any_length_fits() -> None:
    (ready,) = with_times([Assertion("Ready", "False", "InvalidSpec", "x" * 10_000)], (), 1, NOW)
    assert len(ready.message) == 4096
