"""The rules that are compared: each takes one look after another, and says when it would roll back.

Those of Flagger and Argo Rollouts are their documented rules, as their source code has them, on the same counts. What
they count as a failed look is a share of bad requests over the limit.

- Flagger, pkg/controller/scheduler.go: a failed analysis adds one to failedChecks, which a good one does not take
  back; the tick that finds `threshold` of them rolls back, before it would look again.
- Argo Rollouts, analysis/analysis.go: a metric fails as soon as more than `failureLimit` measurements have failed.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from serinus.api.status import AnalysisStatus, Verdict
from serinus.api.v1beta1 import Analysis
from serinus.core import analysis
from serinus.ports import RevisionSample

LIMIT_PERCENT: Final = 1
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Rule(Protocol):
    """One rollout's judge."""

    def condemns(self, canary: RevisionSample, stable: RevisionSample) -> bool:
        """Take a look; whether the new version is rolled back now."""
        ...


class Serinus:
    """The operator's own judgement."""

    def __init__(self) -> None:
        self._policy = Analysis.model_validate({"errors": {"threshold": f"{LIMIT_PERCENT}%"}})
        self._status = AnalysisStatus()
        self._now = _START

    def condemns(self, canary: RevisionSample, stable: RevisionSample) -> bool:
        """See `Rule`."""
        self._now += timedelta(seconds=30)
        self._status = analysis.tick(self._policy, self._status, canary, stable, self._now)
        return self._status.verdict is Verdict.FAIL


class Flagger:
    """A number of failed looks, found at the tick after the last of them."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._failed = 0

    def condemns(self, canary: RevisionSample, stable: RevisionSample) -> bool:  # noqa: ARG002 - it looks at one arm
        """See `Rule`."""
        if self._failed >= self._threshold:
            return True
        self._failed += _over_the_limit(canary)
        return False


class ArgoRollouts:
    """More failed looks than a limit."""

    def __init__(self, failure_limit: int) -> None:
        self._failure_limit = failure_limit
        self._failed = 0

    def condemns(self, canary: RevisionSample, stable: RevisionSample) -> bool:  # noqa: ARG002 - it looks at one arm
        """See `Rule`."""
        self._failed += _over_the_limit(canary)
        return self._failed > self._failure_limit


RULES: Final[dict[str, Callable[[], Rule]]] = {
    "Serinus": Serinus,
    "Flagger, threshold 5": lambda: Flagger(5),
    "Flagger, threshold 10": lambda: Flagger(10),
    "Argo, failureLimit 0": lambda: ArgoRollouts(0),
    "Argo, failureLimit 3": lambda: ArgoRollouts(3),
}
"""Thresholds are those of the projects' own examples; Argo Rollouts' default is 0."""


def _over_the_limit(canary: RevisionSample) -> bool:
    return canary.errors * 100 > LIMIT_PERCENT * canary.requests
