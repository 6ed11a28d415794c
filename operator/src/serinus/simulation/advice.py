"""What is wrong with a policy for its traffic: what it cannot see, and what it would wait for in vain."""

from dataclasses import dataclass
from datetime import timedelta

from serinus.api.units import format_duration, parse_duration
from serinus.core.analysis import min_requests_advice
from serinus.core.canary import TRAFFIC_PATIENCE
from serinus.core.replicas import Pods, canary_replicas, pods_that_make
from serinus.core.traffic import TrafficMode, is_strict, traffic_mode
from serinus.core.window import MIN_WINDOW_SCRAPES
from serinus.simulation.scenario import Scenario


@dataclass(frozen=True, slots=True)
class StepTraffic:
    """What a step asks for, and what it gets."""

    weight_percent: int
    duration: timedelta
    share: float
    """The part of the requests that the new version gets: numbers of pods make few weights exactly."""


def steps_of(scenario: Scenario) -> list[StepTraffic]:
    """The steps of the scenario's policy."""
    return [
        StepTraffic(step.weight_percent, parse_duration(step.duration), _share(scenario, step.weight_percent))
        for step in scenario.spec.canary.steps
    ]


def advice(scenario: Scenario) -> list[str]:
    """What to say before any rollout is simulated; nothing when policy and traffic go together."""
    analysis = scenario.spec.canary.analysis
    notes = [f"{note}." for note in [min_requests_advice(analysis)] if note]
    interval = parse_duration(analysis.interval)
    shortest = MIN_WINDOW_SCRAPES * scenario.scrape_interval
    if interval < shortest:
        notes.append(
            f"Looks are {format_duration(shortest)} apart, although canary.analysis.interval is {analysis.interval}: "
            f"each counts the requests of {MIN_WINDOW_SCRAPES} scrapes at least."
        )
    for number, step in enumerate(steps_of(scenario), start=1):
        patience = TRAFFIC_PATIENCE * max(step.duration, interval)
        expected = scenario.requests_per_second * step.share * patience.total_seconds()
        if expected < analysis.min_requests:
            notes.append(
                f"Step {number} waits {format_duration(patience)} at most for its {analysis.min_requests} requests "
                f"(canary.analysis.minRequests), and gets about {expected:.0f}: too few to be judged. Raise its "
                f"weightPercent or its duration."
            )
    return notes


def _share(scenario: Scenario, weight_percent: int) -> float:
    policy = scenario.spec.canary
    if traffic_mode(policy, has_gateway=scenario.has_gateway) is TrafficMode.GATEWAY_API:
        return weight_percent / 100
    stable = max(scenario.stable_replicas, scenario.spec.autoscaling.min_replicas)
    most = max(stable, scenario.spec.autoscaling.max_replicas or 0)
    strict = pods_that_make(weight_percent, stable, most) if is_strict(policy, TrafficMode.REPLICAS) else None
    pods = strict or Pods(stable, canary_replicas(weight_percent, stable))
    return pods.canary / (pods.canary + pods.stable)
