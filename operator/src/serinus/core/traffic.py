"""How requests are shared between revisions: by the number of pods behind one Service, or by the weights of a route."""

from collections.abc import Mapping
from enum import Enum

from serinus.api.status import Phase, Stage
from serinus.api.v1beta1 import MOST_REPLICAS, Canary, InferenceServiceSpec
from serinus.core.observe import Observed
from serinus.core.replicas import TOLERANCE_PERCENT, canary_replicas, pods_that_make, weight_of
from serinus.core.state import State


class TrafficMode(Enum):
    """What shares the requests out."""

    REPLICAS = "Replicas"
    GATEWAY_API = "GatewayAPI"


def traffic_mode(policy: Canary, *, has_gateway: bool) -> TrafficMode:
    """The mode of a rollout with `policy`, on a platform with or without a Gateway."""
    if has_gateway and policy.traffic.mode != "Replicas":
        return TrafficMode.GATEWAY_API
    return TrafficMode.REPLICAS


def is_strict(policy: Canary, mode: TrafficMode) -> bool:
    """Whether steps may only have weights that whole pods make. A route makes any."""
    return mode is TrafficMode.REPLICAS and policy.traffic.precision == "Strict"


def unreachable_weight(spec: InferenceServiceSpec, *, has_gateway: bool) -> str | None:
    """What is wrong with a policy that asks strictly for a weight that the service's pods do not make; None if nothing.

    With the most stable pods that there may be it has to be made, so that it is however many there are at the time.
    """
    policy = spec.canary
    if not is_strict(policy, traffic_mode(policy, has_gateway=has_gateway)):
        return None
    most = max(spec.autoscaling.min_replicas, spec.autoscaling.max_replicas or 0)
    for number, step in enumerate(policy.steps, start=1):
        if pods_that_make(step.weight_percent, most, most) is None:
            return _unreachable(number, step.weight_percent, most)
    return None


def _unreachable(number: int, weight: int, most: int) -> str:
    fewer = next((pods for pods in range(most - 1, 0, -1) if pods_that_make(weight, pods, pods)), None)
    more = pods_that_make(weight, most + 1, MOST_REPLICAS)
    fitting = " or ".join(str(pods) for pods in (fewer, more and more.stable) if pods)
    otherwise = f"Make the most {fitting} (autoscaling.maxReplicas), ask" if fitting else "Ask"
    return (
        f"spec.canary.traffic.precision: Strict allows only weights that whole pods make within {TOLERANCE_PERCENT} "
        f"percentage point, and step {number} asks for {weight}%: with {most} pods of the stable revision, which are "
        f"the most, {weight_of(canary_replicas(weight, most), most)}% is the nearest. {otherwise} for a weight that "
        "they make, or use Approximate, or mode GatewayAPI where the platform has a Gateway."
    )


def wanted_weight(state: State, canary: Canary) -> int:
    """The canary's share in percent that `state` asks for; `canary` is the policy in force.

    A step's weight is raised once its pods are ready, and held while the rollout is paused.
    """
    rollout = state.rollout
    if state.canary is None or rollout.phase in (Phase.CANARY_STARTING, Phase.ROLLING_BACK):
        return 0
    if rollout.phase is Phase.PROMOTING and rollout.stage in (Stage.SHIFT_TRAFFIC, Stage.BAKE):
        return 100
    if rollout.phase is Phase.PROGRESSING and rollout.stage in (Stage.SHIFT_TRAFFIC, Stage.ANALYZING):
        return canary.step_at(rollout.step_index).weight_percent
    return rollout.weight.desired


def service_target(state: State, mode: TrafficMode) -> str | None:
    """The one revision that the service's own Service selects; None for all revisions together.

    Where a route shares the requests out, those who call the Service itself reach the stable revision.
    """
    rollout = state.rollout
    if state.canary is None or mode is TrafficMode.GATEWAY_API:
        return state.stable.name
    if rollout.phase is Phase.PROMOTING and rollout.stage in (Stage.SHIFT_TRAFFIC, Stage.BAKE):
        return state.canary.name
    begun = rollout.phase is not Phase.PAUSED or rollout.weight.desired > 0
    if rollout.phase in (Phase.PROGRESSING, Phase.PROMOTING, Phase.PAUSED) and begun:
        return None
    return state.stable.name


def route_weights(state: State) -> Mapping[str, int]:
    """The weight in percent of each revision that the route sends to."""
    if state.canary is None or state.rollout.weight.desired == 0:
        return {state.stable.name: 100}
    weight = state.rollout.weight.desired
    return {state.stable.name: 100 - weight, state.canary.name: weight}


def is_shifted(state: State, observed: Observed, mode: TrafficMode) -> bool:
    """Whether requests are shared out as `state` asks for, as far as the API tells."""
    if mode is TrafficMode.REPLICAS:
        return observed.traffic_to == service_target(state, mode)
    return observed.route is not None and observed.route.accepted and observed.route.weights == route_weights(state)


def applied_weight(state: State, observed: Observed, mode: TrafficMode) -> int:
    """The canary's share in percent that is in effect: what the pods behind the Service make, or the route's weight."""
    if state.canary is None:
        return 0
    if mode is TrafficMode.GATEWAY_API:
        route = observed.route
        return route.weights.get(state.canary.name, 0) if route is not None and route.accepted else 0
    if observed.traffic_to == state.canary.name:
        return 100
    if observed.traffic_to is not None:
        return 0
    return weight_of(observed.ready(state.canary.name), observed.ready(state.stable.name))
