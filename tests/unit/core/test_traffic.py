"""How requests are shared out: what is asked for in each phase, in both modes, and when it is taken to be in effect."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from serinus.api.status import Phase, Rollout, Stage, Weight
from serinus.api.v1beta1 import Canary, InferenceServiceSpec
from serinus.core.observe import Children, Observed, Route, Workload, observe
from serinus.core.revision import Revision
from serinus.core.state import State
from serinus.core.traffic import (
    TrafficMode,
    applied_weight,
    is_shifted,
    route_weights,
    service_target,
    traffic_mode,
    unreachable_weight,
    wanted_weight,
)

STABLE, CANARY = Revision("aaa", "1"), Revision("bbb", "2")
POLICY = Canary.model_validate(
    {"steps": [{"weightPercent": 20, "duration": "1m"}, {"weightPercent": 50, "duration": "1m"}]}
)
BOTH_SERVE = {STABLE.name: Workload(4, 4), CANARY.name: Workload(1, 1)}


def policy(mode: str) -> Canary:
    return Canary.model_validate({"traffic": {"mode": mode}})


@pytest.mark.parametrize(
    ("asked", "has_gateway", "mode"),
    [
        ("Auto", True, TrafficMode.GATEWAY_API),
        ("Auto", False, TrafficMode.REPLICAS),
        ("Replicas", True, TrafficMode.REPLICAS),
        ("Replicas", False, TrafficMode.REPLICAS),
        ("GatewayAPI", True, TrafficMode.GATEWAY_API),
        # A rollout that began with a Gateway, on a platform that has taken it away since.
        ("GatewayAPI", False, TrafficMode.REPLICAS),
    ],
)
def test_mode(asked: str, has_gateway: bool, mode: TrafficMode) -> None:
    assert traffic_mode(policy(asked), has_gateway=has_gateway) is mode


@dataclass(frozen=True)
class Case:
    """A phase and a stage; `before` is the weight that was asked for until now."""

    phase: Phase
    stage: Stage | None
    step: int = 0
    before: int = 0
    weight: int = 0
    selects: str | None = field(default=STABLE.name, kw_only=True)

    def state(self, weight: int) -> State:
        rollout = Rollout(phase=self.phase, stage=self.stage, step_index=self.step, weight=Weight(desired=weight))
        return State(STABLE, CANARY, rollout)


CASES = {
    "starting": Case(Phase.CANARY_STARTING, Stage.SCALING),
    "the_first_step_shifts": Case(Phase.PROGRESSING, Stage.SHIFT_TRAFFIC, weight=20, selects=None),
    "the_first_step_is_judged": Case(Phase.PROGRESSING, Stage.ANALYZING, before=20, weight=20, selects=None),
    "the_second_step_scales_first": Case(Phase.PROGRESSING, Stage.SCALING, 1, before=20, weight=20, selects=None),
    "the_second_step_shifts_then": Case(Phase.PROGRESSING, Stage.SHIFT_TRAFFIC, 1, 20, weight=50, selects=None),
    "paused_it_holds": Case(Phase.PAUSED, None, 1, before=50, weight=50, selects=None),
    "promoting_it_scales_first": Case(Phase.PROMOTING, Stage.SCALE_UP, 1, before=50, weight=50, selects=None),
    "promoting_it_gets_all": Case(Phase.PROMOTING, Stage.SHIFT_TRAFFIC, 1, before=50, weight=100, selects=CANARY.name),
    "it_bakes": Case(Phase.PROMOTING, Stage.BAKE, 1, before=100, weight=100, selects=CANARY.name),
    "rolling_back": Case(Phase.ROLLING_BACK, None, 1, before=50, weight=0),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_asked_for(name: str) -> None:
    case = CASES[name]
    assert wanted_weight(case.state(case.before), POLICY) == case.weight
    after = case.state(case.weight)
    expected = {STABLE.name: 100 - case.weight, CANARY.name: case.weight} if case.weight else {STABLE.name: 100}
    assert route_weights(after) == expected
    assert service_target(after, TrafficMode.REPLICAS) == case.selects
    assert service_target(after, TrafficMode.GATEWAY_API) == STABLE.name


def test_without_a_canary_all_goes_to_stable() -> None:
    state = State(STABLE, None, Rollout(phase=Phase.STABLE, weight=Weight(desired=0)))
    assert wanted_weight(state, POLICY) == 0
    assert route_weights(state) == {STABLE.name: 100}
    assert applied_weight(state, Observed(workloads=BOTH_SERVE), TrafficMode.GATEWAY_API) == 0


JUDGED = CASES["the_first_step_is_judged"].state(20)


@pytest.mark.parametrize(
    ("observed", "mode", "shifted", "applied"),
    [
        (Observed(BOTH_SERVE, traffic_to=None), TrafficMode.REPLICAS, True, 20),
        (Observed(BOTH_SERVE, traffic_to=STABLE.name), TrafficMode.REPLICAS, False, 0),
        (Observed(BOTH_SERVE, traffic_to=CANARY.name), TrafficMode.REPLICAS, False, 100),
        (Observed(BOTH_SERVE, route=None), TrafficMode.GATEWAY_API, False, 0),
        (Observed(BOTH_SERVE, route=Route({"aaa": 80, "bbb": 20}, True)), TrafficMode.GATEWAY_API, True, 20),
        (Observed(BOTH_SERVE, route=Route({"aaa": 80, "bbb": 20}, False)), TrafficMode.GATEWAY_API, False, 0),
        (Observed(BOTH_SERVE, route=Route({"aaa": 90, "bbb": 10}, True)), TrafficMode.GATEWAY_API, False, 10),
        (Observed(BOTH_SERVE, route=Route({"aaa": 100}, True)), TrafficMode.GATEWAY_API, False, 0),
    ],
)
def test_what_is_in_effect(observed: Observed, mode: TrafficMode, shifted: bool, applied: int) -> None:
    assert is_shifted(JUDGED, observed, mode) is shifted
    assert applied_weight(JUDGED, observed, mode) == applied


def condition(kind: str, status: str = "True", generation: int = 3, reason: str = "Fine") -> dict[str, Any]:
    return {"type": kind, "status": status, "observedGeneration": generation, "reason": reason, "message": "so it is"}


@pytest.mark.parametrize(
    ("conditions", "accepted", "refusal"),
    [
        ([], False, ""),
        ([condition("Accepted"), condition("ResolvedRefs")], True, ""),
        # What a Gateway says of the route as it was before.
        ([condition("Accepted", generation=2), condition("ResolvedRefs", generation=2)], False, ""),
        ([condition("Accepted", "False", reason="NotAllowed")], False, "NotAllowed: so it is"),
        (
            [condition("Accepted"), condition("ResolvedRefs", "False", reason="BackendNotFound")],
            False,
            "BackendNotFound: so it is",
        ),
    ],
)
def test_when_a_route_counts_as_accepted(conditions: list[dict[str, Any]], accepted: bool, refusal: str) -> None:
    route = {
        "kind": "HTTPRoute",
        "metadata": {
            "name": "fraud",
            "generation": 3,
            "ownerReferences": [{"uid": "u", "controller": True}],
        },
        "spec": {
            "rules": [{"backendRefs": [{"name": "fraud-aaa", "weight": 80}, {"name": "fraud-bbb", "weight": 20}]}]
        },
        "status": {"parents": [{"conditions": conditions}]},
    }
    assert observe("u", Children(routes=(route,))).route == Route({"aaa": 80, "bbb": 20}, accepted, refusal)
    assert observe("another", Children(routes=(route,))).route is None


def strict(*weights: int, least: int, most: int | None = None, precision: str = "Strict") -> InferenceServiceSpec:
    return InferenceServiceSpec.model_validate(
        {
            "model": {"uri": "s3://models/fraud/1/model.onnx", "version": "1"},
            "autoscaling": {"minReplicas": least, "maxReplicas": most},
            "canary": {
                "steps": [{"weightPercent": weight, "duration": "1m"} for weight in weights],
                "traffic": {"precision": precision},
            },
        }
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param(strict(20, 50, least=4), [], id="made_by_the_pods"),
        pytest.param(strict(5, least=1, most=19), [], id="made_by_the_most_pods"),
        pytest.param(
            strict(20, 25, 50, least=4),
            [
                "step 2 asks for 25%: with 4 pods",
                "20% is the nearest",
                "Make the most 3 or 6 (autoscaling.maxReplicas), ask",
            ],
            id="made_by_more_pods_only",
        ),
        pytest.param(
            strict(25, least=1, most=4),
            ["with 4 pods of the stable revision, which are the most"],
            id="not_by_the_most",
        ),
        pytest.param(strict(60, least=4), ["50% is the nearest. Ask for a weight", "mode GatewayAPI"], id="over_half"),
        pytest.param(strict(25, least=4, precision="Approximate"), [], id="approximate"),
    ],
)
def test_weights_that_pods_do_not_make_strictly(spec: InferenceServiceSpec, says: list[str]) -> None:
    problem = unreachable_weight(spec, has_gateway=False) or ""
    assert bool(problem) is bool(says)
    assert problem.startswith("spec.canary.traffic.precision: " if says else "")
    for words in says:
        assert words in problem
    assert unreachable_weight(spec, has_gateway=True) is None, "a route makes any weight"
