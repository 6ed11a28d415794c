"""Judges a new revision from counts of bad requests, beside the stable revision that serves at the same time.

Checks are of errors, and of latency at some percentiles. Each is tested against its limit (absolute) and against the
stable revision (relative), with the e-processes of `serinus.core.evalue`. All tests together wrongly condemn a revision
that keeps to its limits in at most ALPHA of all rollouts, however many they are and however often they are looked at.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from serinus.api import units
from serinus.api.status import AnalysisStatus, ArmCounts, CheckStatus, Look, Verdict
from serinus.api.v1beta1 import Analysis
from serinus.core import evalue
from serinus.core.evalue import Counts
from serinus.ports import RevisionSample

ERRORS: Final = "errors"
"""The name of the check that counts failed requests."""

ALPHA: Final = 0.01
"""The largest share of rollouts of good revisions that may be rolled back by mistake."""

MIN_BAD_TICKS: Final = 2
"""A single bad look, such as one hiccup of the network, condemns nobody."""

MIN_STEP_TICKS: Final = 2
"""Looks that a step has to see to pass."""

MIN_DIFFERENCE: Final = 0.005
"""A revision that is worse than stable by a smaller share of its requests is let pass: much traffic would prove it.

The share is taken over the whole rollout, or over its latest looks alone where those prove so great a difference: a
long good record would hide it otherwise.
"""

_LAST_LOOKS: Final = 3
"""Looks of which the status keeps the counts, to be read."""

_BASELINE_SUSPECT_LOG_E: Final = 0.001
"""Over 0, the log e-value of an arm without requests, by more than the rounding of what the status keeps."""

_CLEARS_BASELINE: Final = math.log(20)
"""How clearly stable's requests have to speak against its being as bad, before the limit condemns the new revision."""


@dataclass(frozen=True, slots=True)
class _Check:
    """A check as the policy asks for it; `limit` is the largest share of bad requests, `tolerated` times stable's."""

    name: str
    threshold: str
    bad_word: str
    limit: float
    tolerated: float
    percentile: int | None = None
    """Of a check of latency."""

    def counts(self, sample: RevisionSample) -> Counts:
        if self.percentile is None:
            return Counts(sample.requests, sample.errors)
        return Counts(sample.timed, sample.slow.get(self.percentile, 0))

    def latency(self, sample: RevisionSample) -> str | None:
        """The duration at the check's percentile, to show."""
        seconds = None if self.percentile is None else sample.latencies.get(self.percentile)
        return None if seconds is None else _format_latency(seconds)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a check sees in one look; looks are numbered from 1 since the evidence began."""

    check: _Check
    number: int
    until: datetime
    canary: Counts
    baseline: Counts
    canary_latency: str | None
    baseline_latency: str | None

    @classmethod
    def of(cls, check: _Check, number: int, until: datetime, canary: RevisionSample, baseline: RevisionSample) -> Self:
        return cls(
            check,
            number,
            until,
            canary=check.counts(canary),
            baseline=check.counts(baseline),
            canary_latency=check.latency(canary),
            baseline_latency=check.latency(baseline),
        )

    def is_bad(self) -> bool:
        """Whether the canary was over the limit in this look, or over what is tolerated beside the baseline."""
        over_baseline = self.baseline.requests > 0 and self.canary.rate > self.check.tolerated * self.baseline.rate
        return self.canary.rate > self.check.limit or over_baseline

    def is_damning(self, critical: float) -> bool:
        """Whether the look would condemn the canary, if one look could."""
        if not self.is_bad():
            return False
        relative = evalue.log_mean(evalue.relative_log_factors(self.canary, self.baseline, self.check.tolerated))
        absolute = evalue.log_mean(evalue.absolute_log_factors(self.canary, self.check.limit))
        differs = self.canary.rate - self.baseline.rate >= MIN_DIFFERENCE
        return absolute >= critical or (differs and relative >= critical)


def _checks(policy: Analysis) -> list[_Check]:
    tolerated = float(policy.baseline.tolerance)
    limit = units.parse_percentage(policy.errors.threshold)
    checks = [_Check(ERRORS, f"errors <= {policy.errors.threshold}", "failed", limit, tolerated)]
    for latency in sorted(policy.latency, key=lambda one: one.percentile):
        percentile = latency.percentile
        threshold = f"P{percentile} <= {latency.threshold}"
        limit = (100 - percentile) / 100
        checks.append(_Check(f"latency-p{percentile}", threshold, "were slower", limit, tolerated, percentile))
    return checks


def tick(
    policy: Analysis,
    analysis: AnalysisStatus,
    canary: RevisionSample,
    baseline: RevisionSample,
    until: datetime,
    *,
    version: str = "the new version",
) -> AnalysisStatus:
    """Take one look: add its counts to the evidence, once, and judge anew.

    `canary` and `baseline` are the requests between `analysis.last_tick_at` and `until` (aware). `version` names the
    new revision in messages, such as "version 3". Raises ValueError for counts that cannot be (more bad requests than
    requests) and for an `until` that is not after the last look, since requests would count twice.
    """
    if analysis.last_tick_at is not None and until <= analysis.last_tick_at:
        raise ValueError(f"requests up to {analysis.last_tick_at} are counted already; this look ends at {until}")
    number = analysis.ticks + 1
    looks = [_Look.of(check, number, until, canary, baseline) for check in _checks(policy)]
    before = {check.check: check for check in analysis.checks}
    critical = _critical_log_e(policy)
    checks = tuple(_judge(look, _add(look, before.get(look.check.name), critical), critical, version) for look in looks)
    after = analysis.model_copy(
        update={
            "checks": checks,
            "ticks": number,
            "step_ticks": analysis.step_ticks + 1,
            "step_requests": analysis.step_requests + canary.requests,
            "last_tick_at": until,
        }
    )
    return _conclude(policy, after, version)


def begin_step(analysis: AnalysisStatus) -> AnalysisStatus:
    """Begin a step: its own counters start at 0, the evidence of the whole rollout stays."""
    return analysis.model_copy(
        update={
            "step_ticks": 0,
            "step_requests": 0,
            "verdict": Verdict.NO_DATA,
            "message": "The step has begun and has seen no requests yet",
        }
    )


def drop_evidence(analysis: AnalysisStatus) -> AnalysisStatus:
    """Begin the evidence anew, for a rollout that goes on after its environment was bad.

    What both revisions suffered is still in the e-values, and would be held against the new revision once the stable
    one has recovered. The time up to which requests are counted is kept, so that none is counted twice.
    """
    return AnalysisStatus(last_tick_at=analysis.last_tick_at)


def environment_is_bad(policy: Analysis, analysis: AnalysisStatus) -> bool:
    """Whether both revisions are proved to break the same limit, which then is not the new revision's doing.

    False where a check fails all the same: a revision that is worse than a bad environment is still worse.
    """
    if analysis.verdict == Verdict.FAIL:
        return False
    critical = _critical_log_e(policy)
    return any(
        _log_e(check.absolute_log_e, analysis.ticks) >= critical
        and _log_e(check.baseline_absolute_log_e, analysis.ticks) >= critical
        for check in analysis.checks
    )


@dataclass(frozen=True, slots=True)
class LogEValues:
    """How far the tests of a check have come, as natural logarithms of their e-values; each rejects at `critical`."""

    check: str
    absolute: float
    """Against "keeps to the limit"."""
    relative: float
    """Against "is at most the tolerated multiple of stable's"."""
    difference: float
    """Against "is worse than stable by MIN_DIFFERENCE at most"."""
    stable: float
    """Of the stable revision, against "keeps to the limit"."""
    critical: float


def log_e_values(policy: Analysis, analysis: AnalysisStatus) -> tuple[LogEValues, ...]:
    """The e-values of each check that has been looked at, to show."""
    return tuple(
        LogEValues(
            check=one.check,
            absolute=_log_e(one.absolute_log_e, analysis.ticks),
            relative=_log_e(one.relative_log_e, analysis.ticks),
            difference=_log_e(one.difference_log_e, analysis.ticks),
            stable=_log_e(one.baseline_absolute_log_e, analysis.ticks),
            critical=_critical_log_e(policy),
        )
        for one in analysis.checks
    )


def min_requests_advice(policy: Analysis) -> str | None:
    """What to say when `minRequests` good requests would not show that the limits are kept; None when they would.

    So many requests without a bad one bound the true share of bad requests by the limit, with 95% confidence.
    """
    check = min(_checks(policy), key=lambda check: check.limit)
    needed = evalue.requests_to_show(check.limit)
    if policy.min_requests >= needed:
        return None
    return (
        f"canary.analysis.minRequests of {policy.min_requests} is too low to show '{check.threshold}': even when no "
        f"request is bad it takes {needed} to be 95% sure. A step may pass before a small excess can be seen"
    )


def _critical_log_e(policy: Analysis) -> float:
    """The log e-value at which a test rejects: ALPHA is shared by an absolute and a relative test for each check.

    The chance that any of them ever rejects what holds is at most the sum of theirs, however they depend on each other.
    """
    return math.log(2 * len(_checks(policy)) / ALPHA)


def _add(look: _Look, before: CheckStatus | None, critical: float) -> CheckStatus:
    """The check's evidence with the counts of a look added.

    However bad the look is, it raises no e-value by more than takes a first look to the critical value, with the half
    of the mixture that begins there. So one bad look after many ordinary ones condemns nobody, and can be outweighed.
    To take less than an e-value may have does not spoil its guarantee.
    """
    check, number = look.check, look.number
    most = critical + math.log(2)
    before = before or CheckStatus(check=check.name, threshold=check.threshold)
    relative = evalue.relative_log_factors(look.canary, look.baseline, check.tolerated)
    difference = evalue.difference_log_factors(look.canary, look.baseline, MIN_DIFFERENCE)
    absolute = evalue.absolute_log_factors(look.canary, check.limit)
    baseline_absolute = evalue.absolute_log_factors(look.baseline, check.limit)
    late = (before.late_canary, before.late_baseline)
    if not evalue.continues_evidence(_counts(before.late_canary), check.limit):
        late = (ArmCounts(), ArmCounts())
    return before.model_copy(
        update={
            "threshold": check.threshold,
            "canary": _sum(before.canary, look.canary),
            "baseline": _sum(before.baseline, look.baseline),
            "late_canary": _sum(late[0], look.canary),
            "late_baseline": _sum(late[1], look.baseline),
            "bad_ticks": before.bad_ticks + look.is_bad(),
            "last_looks": (*before.last_looks, _as_status(look))[-_LAST_LOOKS:],
            "canary_latency": look.canary_latency,
            "baseline_latency": look.baseline_latency,
            "relative_log_e": _grown(before.relative_log_e, relative, number, most),
            "difference_log_e": _grown(before.difference_log_e, difference, number, most),
            "absolute_log_e": _grown(before.absolute_log_e, absolute, number, most),
            "baseline_absolute_log_e": _grown(before.baseline_absolute_log_e, baseline_absolute, number, most),
        }
    )


@dataclass(frozen=True, slots=True)
class _Findings:
    """What the evidence of a check amounts to after a look."""

    over_limit: bool
    over_baseline: bool
    is_damning: bool
    """The last look would condemn the canary, if one look could."""
    excuse: str | None
    """Why a canary that is over the limit need not be to blame."""
    shows_overall: bool
    """The counts since the rollout began tell of it, without a look at the latest."""

    @property
    def is_suspicious(self) -> bool:
        return self.over_limit or self.over_baseline or self.is_damning


def _find(look: _Look, status: CheckStatus, critical: float) -> _Findings:
    canary, baseline = _counts(status.canary), _counts(status.baseline)
    over_limit = _log_e(status.absolute_log_e, look.number) >= critical
    differs_overall = canary.rate - baseline.rate >= MIN_DIFFERENCE
    differs = differs_overall or _log_e(status.difference_log_e, look.number) >= critical
    over_baseline = differs and _log_e(status.relative_log_e, look.number) >= critical
    return _Findings(
        over_limit=over_limit,
        over_baseline=over_baseline,
        is_damning=look.is_damning(critical),
        excuse=_excuse(look, status) if over_limit else None,
        shows_overall=(over_limit and canary.rate > look.check.limit) or (over_baseline and differs_overall),
    )


def _judge(look: _Look, status: CheckStatus, critical: float, version: str) -> CheckStatus:
    """The check with its verdict and the sentence that explains it."""
    found = _find(look, status, critical)
    is_to_blame = found.over_baseline or (found.over_limit and not found.excuse)
    if status.canary.requests == 0:
        verdict = Verdict.NO_DATA
    elif is_to_blame and status.bad_ticks >= MIN_BAD_TICKS:
        verdict = Verdict.FAIL
    elif found.is_suspicious:
        verdict = Verdict.INCONCLUSIVE
    else:
        verdict = Verdict.PASS
    return status.model_copy(
        update={
            "absolute_e": evalue.format_e(_log_e(status.absolute_log_e, look.number)),
            "relative_e": evalue.format_e(_log_e(status.relative_log_e, look.number)),
            "rejects_at": evalue.format_e(critical),
            "verdict": verdict,
            "message": _message(look, status, found, version),
        }
    )


def _message(look: _Look, status: CheckStatus, found: _Findings, version: str) -> str:
    """What speaks for the verdict, in a sentence."""
    check = look.check
    message = _evidence(check, _counts(status.canary), _counts(status.baseline), version)
    tells_of_last_look = found.is_suspicious and not found.shows_overall
    if tells_of_last_look:
        message += f"; {_of(look.canary)} in the last look"
    if found.excuse:
        message += f"; {found.excuse}"
    limit_explains = found.over_limit or (tells_of_last_look and look.canary.rate > check.limit)
    if found.over_baseline and not limit_explains:
        message += f"; at most {check.tolerated:g} times the share of stable is tolerated"
    return message


def _excuse(look: _Look, status: CheckStatus) -> str | None:
    """Why a canary that is over the limit need not be to blame; None when it is.

    When both are bad, the canary's evidence may be complete a few looks before the baseline's, and long before where
    the baseline has less of the traffic. The next looks decide. What counts is how the baseline did in the very looks
    that speak against the canary: a long good record says nothing of an environment that has gone bad since.
    """
    limit, baseline = look.check.limit, _counts(status.late_baseline)
    suspicion = _log_e(status.baseline_absolute_log_e, look.number)
    overall = _counts(status.baseline).rate
    if overall > limit or baseline.rate > limit or suspicion > _BASELINE_SUSPECT_LOG_E:
        return "stable seems to be over the limit too"
    as_bad = max(limit, _counts(status.late_canary).rate)
    if baseline.requests and evalue.log_likelihood_ratio(baseline, as_bad, limit) > -_CLEARS_BASELINE:
        return f"stable may be over the limit too, {_of(baseline)} in the same looks cannot tell"
    return None


def _evidence(check: _Check, canary: Counts, baseline: Counts, version: str) -> str:
    """The counts of a check in a sentence."""
    stable = f"stable: {_of(baseline)}" if baseline.requests else "stable: no requests"
    if canary.requests == 0:
        return f"{check.threshold}: {version} has had no requests that count here; {stable}"
    return (
        f"{check.threshold}: {canary.bad} of {canary.requests} requests of {version} {check.bad_word} "
        f"({_percent(canary.rate)}, {_percent(check.limit)} allowed); {stable}"
    )


def _conclude(policy: Analysis, analysis: AnalysisStatus, version: str) -> AnalysisStatus:
    """The analysis with the verdict over all its checks."""
    failed = [check.message for check in analysis.checks if check.verdict == Verdict.FAIL]
    open_questions = [check.message for check in analysis.checks if check.verdict != Verdict.PASS]
    if failed:
        verdict, message = Verdict.FAIL, ". ".join(failed)
    elif analysis.step_requests == 0:
        verdict, message = Verdict.NO_DATA, f"No request has reached {version} in this step yet"
    elif open_questions:
        verdict, message = Verdict.INCONCLUSIVE, "Not decided yet: " + ". ".join(open_questions)
    elif analysis.step_requests < policy.min_requests or analysis.step_ticks < MIN_STEP_TICKS:
        verdict, message = (
            Verdict.INCONCLUSIVE,
            (
                f"Nothing bad so far, but {version} has had {analysis.step_requests} requests in {analysis.step_ticks} "
                f"looks of this step, and needs {policy.min_requests} in at least {MIN_STEP_TICKS}"
            ),
        )
    else:
        verdict, message = Verdict.PASS, ". ".join(check.message for check in analysis.checks)
    return analysis.model_copy(update={"verdict": verdict, "message": message})


def _log_e(log_values: Sequence[str], looks: int) -> float:
    return evalue.log_e([float(value) for value in log_values], looks)


def _grown(before: Sequence[str], log_factors: Sequence[float], looks: int, most: float) -> tuple[str, ...]:
    """The log values after a look, as the status keeps them: Kubernetes objects hold no floats."""
    grown = evalue.grow([float(value) for value in before], [min(factor, most) for factor in log_factors], looks)
    return tuple(f"{value:.6f}" for value in grown)


def _counts(arm: ArmCounts) -> Counts:
    return Counts(arm.requests, arm.bad)


def _as_status(look: _Look) -> Look:
    arms = (look.canary, look.baseline)
    canary, baseline = (ArmCounts(requests=arm.requests, bad=arm.bad) for arm in arms)
    return Look(until=look.until, canary=canary, baseline=baseline)


def _sum(arm: ArmCounts, look: Counts) -> ArmCounts:
    total = _counts(arm) + look
    return ArmCounts(requests=total.requests, bad=total.bad)


def _of(counts: Counts) -> str:
    return f"{counts.bad} of {counts.requests} ({_percent(counts.rate)})"


def _percent(share: float) -> str:
    return f"{share * 100:.1f}%"


def _format_latency(seconds: float) -> str:
    """A duration to three digits, such as 12.3ms or 1.5s."""
    milliseconds = float(f"{seconds * 1000:.3g}")
    return f"{milliseconds:g}ms" if milliseconds < 1000 else f"{seconds:.3g}s"  # noqa: PLR2004
