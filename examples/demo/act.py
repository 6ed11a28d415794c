"""One act of the demo: a version is applied, watched until the operator has decided, and held against what was due."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from examples.demo.display import Display
from serinus.api.status import InferenceServiceStatus, Phase
from tests.cluster.inference_service import InferenceServiceHandle
from tests.cluster.traffic import Totals, Traffic

MANIFESTS = Path(__file__).parents[1] / "digits"
DECISION_SECONDS = 240
ROW_SECONDS = 3.0
POLL_SECONDS = 0.5

_MOVING = frozenset({Phase.CANARY_STARTING, Phase.PROGRESSING, Phase.PROMOTING, Phase.PAUSED, Phase.ROLLING_BACK})


@dataclass(frozen=True)
class Act:
    """What is applied, and how it is to end: the version that then serves, and the reason given."""

    version: str
    title: str
    ends_with: str
    reason: str

    @property
    def manifest(self) -> Path:
        """The file that is applied."""
        return MANIFESTS / f"v{self.version}.yaml"


@dataclass(frozen=True)
class Outcome:
    """How an act ended. Times are in seconds; `exposed` is from the first reply of the version to the decision."""

    act: Act
    reason: str
    serving: str
    seconds: float
    exposed: float | None
    message: str

    @property
    def as_promised(self) -> bool:
        """Whether the operator decided as it should."""
        return (self.serving, self.reason) == (self.act.ends_with, self.act.reason)


def play(act: Act, service: InferenceServiceHandle, traffic: Traffic | None, display: Display) -> Outcome:
    """Apply the act's manifest and watch until it is decided.

    Raises AssertionError when nothing is decided within four minutes.
    """
    display.title(act.title, f"kubectl apply -n {service.namespace} -f examples/digits/{act.manifest.name}")
    watch = _Watch(act, service, traffic, display)
    service.apply(act.manifest.read_text())
    return watch.until_decided()


class _Watch:
    """The watching of one act."""

    def __init__(self, act: Act, service: InferenceServiceHandle, traffic: Traffic | None, display: Display) -> None:
        self._act = act
        self._service = service
        self._traffic = traffic
        self._display = display
        self._begun = time.monotonic()
        self._first_reply: float | None = None
        self._next_row = 0.0
        self._told = _news(service.status())

    def until_decided(self) -> Outcome:
        while True:
            status, totals = self._service.status(), self._totals()
            self._note_first_reply(totals)
            self._show(status, totals)
            if self._is_decided(status):
                return self._outcome(status)
            if time.monotonic() - self._begun > DECISION_SECONDS:
                raise AssertionError(f"nothing was decided within {DECISION_SECONDS} s: {status.rollout.message}")
            time.sleep(POLL_SECONDS)

    def _totals(self) -> Totals:
        return self._traffic.totals if self._traffic else Totals()

    def _note_first_reply(self, totals: Totals) -> None:
        if self._first_reply is None and totals.of(self._act.version).replies:
            self._first_reply = time.monotonic()

    def _show(self, status: InferenceServiceStatus, totals: Totals) -> None:
        news = _news(status)
        if status.rollout.message and news != self._told:
            self._told = news
            self._display.say(self._elapsed(), status.rollout.phase, status.rollout.message)
        elif time.monotonic() >= self._next_row and status.canary is not None:
            self._next_row = time.monotonic() + ROW_SECONDS
            self._display.row(self._elapsed(), status, totals)

    def _is_decided(self, status: InferenceServiceStatus) -> bool:
        """Whether the spec as applied has been seen and nothing moves any more."""
        seen = status.observed_generation == self._service.read()["metadata"]["generation"]
        if not seen or status.rollout.phase in _MOVING or status.rollout.phase is Phase.INITIALIZING:
            return False
        decided = {failed.version for failed in status.rollout.failed_revisions}
        version = self._act.version
        return status.stable is not None and (status.stable.version == version or version in decided)

    def _outcome(self, status: InferenceServiceStatus) -> Outcome:
        now = time.monotonic()
        return Outcome(
            act=self._act,
            reason=status.rollout.reason,
            serving=status.stable.version if status.stable else "",
            seconds=now - self._begun,
            exposed=now - self._first_reply if self._first_reply else None,
            message=status.rollout.message,
        )

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun


def _news(status: InferenceServiceStatus) -> str:
    return f"{status.rollout.phase}: {status.rollout.message}"
