"""A simulated service with its operator: pods are ready as they are wanted, requests flow, time passes on demand.

What is decided is decided by `serinus.core`; here is only what the decisions are made from.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from serinus.api.status import Phase, Rollout
from serinus.api.units import parse_duration
from serinus.core import canary, schedule
from serinus.core.desired import stable_replicas, wanted_canary_replicas
from serinus.core.observe import Observed, Route, Workload
from serinus.core.revision import Revision, revision_of
from serinus.core.situation import Situation
from serinus.core.state import State
from serinus.core.traffic import TrafficMode, applied_weight, route_weights, service_target, traffic_mode
from serinus.core.window import LAG_SCRAPES, MIN_WINDOW_SCRAPES, next_window
from serinus.ports import MetricsSample
from serinus.simulation.scenario import Scenario
from serinus.simulation.traffic import Tally, Traffic

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When each simulated rollout begins. No decision depends on the date."""

TRY_INTERVAL: Final = timedelta(seconds=1)
"""How soon a look that was too short is tried again."""

_BEFORE: Final = timedelta(days=1)
"""How long the stable version has served before, which is longer than a look ever takes in."""

_STABLE: Final = Revision("stable", "stable")

_ENDS: Final = frozenset({Phase.STABLE, Phase.ROLLED_BACK, Phase.PAUSED})


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of one rollout. A pause ends it: what follows is a person's."""

    phase: Phase
    """Stable (promoted), RolledBack, or Paused."""
    reason: str
    after: timedelta
    """From when the new version got its first requests, or was to."""
    looks: int
    served: Tally
    """What the new version has served."""


class World:
    """One rollout in a scenario; the same seed gives the same rollout."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        self._spec = scenario.spec
        self._asked = revision_of(scenario.spec)
        self._interval = parse_duration(scenario.spec.canary.analysis.interval)
        self._mode = traffic_mode(scenario.spec.canary, has_gateway=scenario.has_gateway)
        self._now = START
        self._state = State(_STABLE, None, Rollout(phase=Phase.STABLE, reason="Stable"))
        self._pods = {_STABLE.name: Workload(scenario.stable_replicas, scenario.stable_replicas)}
        self._selected: str | None = _STABLE.name
        self._route = Route({_STABLE.name: 100}, accepted=True) if self._mode is TrafficMode.GATEWAY_API else None
        self._traffic = Traffic(scenario.requests_per_second, scenario.stable, scenario.canary, START - _BEFORE, seed)
        self._traffic.flow(START, 0)

    def run(self) -> Ending:
        """Let the rollout take its course."""
        self._settle()
        while self._state.rollout.phase not in _ENDS:
            wait = schedule.next_visit(self._state, self._now)
            if wait is None:
                raise AssertionError(f"the rollout stands still: {self._state.rollout}")
            self._pass_time(self._longest_wait(wait))
            self._settle()
        self._traffic.finish()
        rollout, analysis = self._state.rollout, self._state.analysis
        return Ending(
            rollout.phase, rollout.reason, self._now - START, analysis.ticks if analysis else 0, self._traffic.served
        )

    def _longest_wait(self, wait: timedelta) -> timedelta:
        """`wait`, or longer where it is for a look whose window is too short yet and nothing is decided till then.

        The operator tries such a look each second. The tries are left out only if the decision taken at the last of
        them leaves the rollout as it is: all that a rollout waits for is that some time has come.
        """
        last_tick = self._state.analysis.last_tick_at if self._state.analysis else None
        if last_tick is None:
            return wait
        look = last_tick + (MIN_WINDOW_SCRAPES + LAG_SCRAPES) * self._scenario.scrape_interval
        tries = math.ceil((look - self._now - wait) / TRY_INTERVAL)
        longer = wait + tries * TRY_INTERVAL
        if tries <= 0 or canary.step(self._situation(self._now + longer)).state != self._state:
            return wait
        return longer

    def _pass_time(self, wait: timedelta) -> None:
        self._now += wait
        self._traffic.flow(self._now, self._share)

    @property
    def _share(self) -> float:
        """The part of the requests that reaches the new version."""
        if self._state.canary is None:
            return 0.0
        if self._mode is TrafficMode.GATEWAY_API or self._selected is not None:
            return applied_weight(self._state, self._observed(), self._mode) / 100
        # A Service deals requests out pod by pod; the weight in status is rounded to whole percent.
        ready = {name: pods.ready for name, pods in self._pods.items()}
        return ready[self._state.canary.name] / sum(ready.values())

    def _settle(self) -> None:
        """Visit until a visit leaves the rollout where it is."""
        before = None
        while before != (before := self._place()):
            self._visit()

    def _place(self) -> tuple[object, ...]:
        rollout = self._state.rollout
        return rollout.phase, rollout.stage, rollout.step_index, rollout.weight.applied, dict(self._pods)

    def _visit(self) -> None:
        situation = self._situation(self._now, self._look())
        self._state = canary.step(situation).state
        self._carry_out(situation.observed)

    def _situation(self, now: datetime, look: MetricsSample | None = None) -> Situation:
        return Situation(
            self._spec,
            self._asked,
            self._state,
            self._observed(),
            now,
            look,
            service="",
            has_gateway=self._scenario.has_gateway,
        )

    def _observed(self) -> Observed:
        return Observed(workloads=self._pods, traffic_to=self._selected, route=self._route)

    def _look(self) -> MetricsSample | None:
        """What a look sees, if one is due and its window long enough."""
        state = self._state
        if state.canary is None or not schedule.look_is_due(state, self._now):
            return None
        since = state.analysis.last_tick_at if state.analysis else None
        window = next_window(since, self._now, self._interval, self._scenario.scrape_interval)
        if window is None:
            return None
        new, old = self._traffic.count(window)
        return MetricsSample(window.until, {state.canary.name: new, state.stable.name: old})

    def _carry_out(self, observed: Observed) -> None:
        """Make the world match, at once: starting pods takes a rollout time, and decides nothing."""
        state = self._state
        wanted = {state.stable.name: stable_replicas(self._spec, state, observed, self._mode)}
        if state.canary is not None:
            wanted[state.canary.name] = wanted_canary_replicas(self._spec, state, observed, self._mode)
        self._pods = {name: Workload(replicas, replicas) for name, replicas in wanted.items()}
        self._selected = service_target(state, self._mode)
        if self._route is not None:
            self._route = Route(route_weights(state), accepted=True)
