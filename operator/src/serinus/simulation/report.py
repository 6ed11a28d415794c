"""A simulation told to a person, or to a program."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from serinus.api.units import format_duration
from serinus.core.traffic import TrafficMode, traffic_mode
from serinus.simulation.advice import advice, steps_of
from serinus.simulation.run import (
    CAUGHT,
    OutcomeSummary,
    Spread,
    Summary,
    simulate,
    smallest_error_rate_caught,
    smallest_slow_rate_caught,
)
from serinus.simulation.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Report:
    """All that a simulation found out."""

    scenario: Scenario
    summary: Summary
    smallest_error_rate: float | None
    """The least error rate that is caught; None when none is."""
    smallest_slow_rates: Mapping[int, float | None]
    """The same for slow requests, by percentile."""
    notes: list[str]


def make_report(scenario: Scenario, seeds: int) -> Report:
    """Simulate `seeds` rollouts, and look for what they would catch."""
    latency = scenario.spec.canary.analysis.latency
    return Report(
        scenario=scenario,
        summary=simulate(scenario, seeds),
        smallest_error_rate=smallest_error_rate_caught(scenario, seeds),
        smallest_slow_rates={
            one.percentile: smallest_slow_rate_caught(scenario, one.percentile, seeds) for one in latency
        },
        notes=advice(scenario),
    )


def as_json(report: Report) -> dict[str, Any]:
    """The report for programs; shares are between 0 and 1, times in seconds."""
    scenario, summary = report.scenario, report.summary
    return {
        "version": scenario.spec.model.version,
        "requestsPerSecond": scenario.requests_per_second,
        "trafficMode": _mode(scenario).value,
        "rollouts": len(summary.endings),
        "steps": [
            {"weightPercent": step.weight_percent, "seconds": step.duration.total_seconds(), "share": step.share}
            for step in steps_of(scenario)
        ],
        "outcomes": {
            one.outcome.name.lower().replace("rolled_back", "rolledBack"): {
                "share": one.share,
                "reasons": one.reasons,
                "seconds": _spread_json(one.seconds) if one.seconds else None,
            }
            for one in summary.outcomes
        },
        "canaryRequests": _spread_json(summary.requests),
        "canaryBadRequests": _spread_json(summary.bad_requests),
        "smallestErrorRateCaught": report.smallest_error_rate,
        "smallestSlowRatesCaught": {f"P{one}": rate for one, rate in report.smallest_slow_rates.items()},
        "notes": report.notes,
    }


def as_text(report: Report) -> str:
    """The report as lines to read."""
    scenario, summary = report.scenario, report.summary
    version = f"version {scenario.spec.model.version}"
    requests, bad = summary.requests, summary.bad_requests
    lines = [
        f"{version.capitalize()} beside {scenario.stable_replicas} pods of the stable one, "
        f"{scenario.requests_per_second:g} requests/s, shared out by {_mode(scenario).value}",
        *_table(_steps_table(scenario)),
        "",
        *_table(_quality_table(scenario, version)),
        "",
        f"Of {len(summary.endings)} simulated rollouts:",
        *_table([["", "share", "time P50", "time P95", "reasons"], *map(_outcome_row, summary.outcomes)]),
        "",
        f"Until then {version} serves {requests.p50:.0f} requests (P50; P95 {requests.p95:.0f}), "
        f"of which {bad.p50:.0f} (P95 {bad.p95:.0f}) are bad.",
        *_smallest_lines(report),
        *(f"Note: {note}" for note in report.notes),
    ]
    return "\n".join(lines)


def _mode(scenario: Scenario) -> TrafficMode:
    return traffic_mode(scenario.spec.canary, has_gateway=scenario.has_gateway)


def _spread_json(spread: Spread) -> dict[str, float]:
    return {"p50": spread.p50, "p95": spread.p95}


def _steps_table(scenario: Scenario) -> list[list[str]]:
    rows = [
        [str(number), f"{step.weight_percent}%", _percent(step.share), format_duration(step.duration)]
        for number, step in enumerate(steps_of(scenario), start=1)
    ]
    return [["step", "weight", "in effect", "duration"], *rows]


def _quality_table(scenario: Scenario, version: str) -> list[list[str]]:
    analysis, stable, canary = scenario.spec.canary.analysis, scenario.stable, scenario.canary
    rows = [["errors", _percent(stable.error_rate), _percent(canary.error_rate), analysis.errors.threshold]]
    for latency in analysis.latency:
        shares = [_percent(one.slow_rates.get(latency.percentile, 0.0)) for one in (stable, canary)]
        rows.append([f"slower than {latency.threshold}", *shares, f"{100 - latency.percentile}%"])
    return [["truly bad", "stable", version, "allowed"], *rows]


def _outcome_row(one: OutcomeSummary) -> list[str]:
    times = ["-", "-"] if one.seconds is None else [_duration(one.seconds.p50), _duration(one.seconds.p95)]
    reasons = ", ".join(f"{reason} {_percent(share)}" for reason, share in one.reasons.items())
    return [one.outcome.value, _percent(one.share), *times, reasons]


def _smallest_lines(report: Report) -> list[str]:
    judged = [("fails", "errors", report.smallest_error_rate)]
    for one in report.scenario.spec.canary.analysis.latency:
        slower = f"slower than {one.threshold}"
        judged.append((f"is {slower}", slower, report.smallest_slow_rates[one.percentile]))
    return [_smallest_line(*one) for one in judged]


def _smallest_line(verb: str, what: str, rate: float | None) -> str:
    if rate is None:
        return f"Nothing is caught: not even a version of which every request {verb} is rolled back for it in time."
    return (
        f"Caught within this rollout in {CAUGHT:.0%} of the cases: {_percent(rate)} {what} or more, with all else as "
        "in the stable version."
    )


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _percent(share: float) -> str:
    return f"{share * 100:.3g}%"


def _duration(seconds: float) -> str:
    return format_duration(timedelta(seconds=round(seconds)))
