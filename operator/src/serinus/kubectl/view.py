"""A service's rollout in lines to read."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from serinus.api.status import ArmCounts, CheckStatus, Condition, Phase, RevisionStatus, Rollout
from serinus.api.units import format_duration
from serinus.core.command import PAUSED_BY_COMMAND
from serinus.kubectl.service import Service
from serinus.kubectl.verbs import MEANINGS, sensible_verbs

_CHECK_COLUMNS: Final = (
    "check",
    "new",
    "stable",
    "last look",
    "bad looks",
    "e limit",
    "e stable",
    "rejects at",
    "verdict",
)

_STILL: Final = ("ManualPromotion", PAUSED_BY_COMMAND)
"""Pauses during which the deadline stands still."""


def status_lines(service: Service, now: datetime) -> list[str]:
    """All that is known of the rollout: where it stands, on what evidence, and what can be done."""
    rollout = service.status.rollout
    return [
        headline(service),
        *table(_facts(service, now)),
        *_evidence(service),
        "",
        *table([_condition_row(one, rollout.message) for one in service.status.conditions]),
        "",
        *_next_steps(service),
        *([] if service.is_observed else ["The operator has not seen the newest spec yet."]),
        *([] if rollout.message else ["The operator has not written a status yet."]),
    ]


def headline(service: Service) -> str:
    """Name, phase and reason."""
    rollout = service.status.rollout
    reason = f" ({rollout.reason})" if rollout.reason and rollout.reason != rollout.phase else ""
    return f"{service.target}: {rollout.phase}{reason}"


def progress_line(service: Service) -> str:
    """The rollout in one line, for a log of what changes."""
    status, rollout, analysis = service.status, service.status.rollout, service.status.analysis
    parts = [headline(service)]
    if status.canary is not None:
        weight = rollout.weight
        parts += [f"version {status.canary.version}", _step(service), f"weight {weight.desired}%/{weight.applied}%"]
    if status.canary is not None and analysis is not None:
        parts += [f"{one.threshold}: {_counts(one.canary)}, stable {_counts(one.baseline)}" for one in analysis.checks]
        parts.append(f"verdict {analysis.verdict}")
    return "  ".join(part for part in parts if part)


def _facts(service: Service, now: datetime) -> list[list[str]]:
    status, rollout = service.status, service.status.rollout
    rows = []
    if status.stable:
        rows.append(["serves", _revision(status.stable)])
    if status.canary:
        weight = rollout.weight
        measured = "not yet" if weight.measured is None else f"{weight.measured}%"
        rows += [
            ["new", _revision(status.canary)],
            ["step", _step(service)],
            ["weight", f"desired {weight.desired}%, applied {weight.applied}%, measured {measured}"],
            ["time left", _time_left(rollout, now)],
        ]
    if status.url:
        rows.append(["url", status.url])
    rows.append(["why", rollout.message])
    return [row for row in rows if row[1]]


def _revision(revision: RevisionStatus) -> str:
    pods = f"{revision.ready_replicas} of {revision.replicas} pods ready"
    return f"version {revision.version}, revision {revision.revision}, {pods}"


def _step(service: Service) -> str:
    """Where in its steps the rollout is."""
    rollout, policy = service.status.rollout, service.policy
    stage = f", {rollout.stage}" if rollout.stage else ""
    if policy is None:
        return f"step {rollout.step_index + 1}{stage}"
    step = policy.step_at(rollout.step_index)
    number = f"{rollout.step_index + 1} of {len(policy.steps)}"
    return f"{number}: {step.weight_percent}% for {step.duration}{stage}"


def _time_left(rollout: Rollout, now: datetime) -> str:
    if rollout.deadline is None:
        return ""
    if rollout.phase is Phase.PAUSED and rollout.reason in _STILL and rollout.stage_started_at:
        return f"{_duration(rollout.deadline - rollout.stage_started_at)} until the deadline, which stands still"
    left = rollout.deadline - now
    return f"{_duration(left)} until it is rolled back" if left > timedelta() else "none: the deadline has passed"


def _evidence(service: Service) -> list[str]:
    analysis, policy = service.status.analysis, service.policy
    if analysis is None or not analysis.checks or policy is None:
        return []
    rows = [_check_row(one) for one in analysis.checks]
    seen = f"this step has seen {analysis.step_requests} of {policy.analysis.min_requests} requests"
    which = seen if service.status.canary else "of the last rollout"
    return [
        "",
        f"  {analysis.ticks} looks, verdict {analysis.verdict}; {which}",
        *table([[*_CHECK_COLUMNS], *rows]),
    ]


def _check_row(check: CheckStatus) -> list[str]:
    return [
        check.threshold,
        _counts(check.canary),
        _counts(check.baseline),
        _latencies(check),
        str(check.bad_ticks),
        check.absolute_e,
        check.relative_e,
        check.rejects_at,
        check.verdict.value,
    ]


def _latencies(check: CheckStatus) -> str:
    """The durations at the check's percentile in the last look, of the new and of the stable version."""
    if not (check.canary_latency or check.baseline_latency):
        return "-"
    return f"{check.canary_latency or '-'} / {check.baseline_latency or '-'}"


def _condition_row(condition: Condition, told: str) -> list[str]:
    message = "" if condition.message == told else condition.message
    return [condition.type, condition.status, condition.reason, message]


def _next_steps(service: Service) -> list[str]:
    verbs = sensible_verbs(service)
    if not verbs:
        return ["Nothing to decide."]
    rows = [[f"kubectl serinus {verb} {service.target}", MEANINGS[verb]] for verb in verbs]
    return ["What you can do:", *table(rows)]


def _counts(arm: ArmCounts) -> str:
    if arm.requests == 0:
        return "no requests"
    return f"{arm.bad} of {arm.requests} ({arm.bad / arm.requests * 100:.2g}%)"


def _duration(duration: timedelta) -> str:
    return format_duration(timedelta(seconds=round(duration.total_seconds())))


def table(rows: Iterable[list[str]]) -> list[str]:
    """Aligned columns, the last one as it is."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
