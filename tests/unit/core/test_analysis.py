"""The verdicts of the analysis, as a table of looks and what is said after them."""

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from serinus.api.status import AnalysisStatus, CheckStatus, Verdict
from serinus.api.v1beta1 import Analysis
from serinus.core import analysis
from serinus.ports import RevisionSample

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
INTERVAL = timedelta(seconds=30)

Look = tuple[RevisionSample, RevisionSample]


def failing(bad: int, requests: int) -> RevisionSample:
    """Requests of which some failed, and none that succeeded was slow."""
    good = requests - bad
    return RevisionSample(requests=requests, errors=bad, timed=good)


def slow(bad: int, requests: int) -> RevisionSample:
    """Requests that all succeeded, some of them slowly."""
    return RevisionSample(requests=requests, errors=0, timed=requests, slow={95: bad})


NO_REQUESTS = RevisionSample(requests=0, errors=0, timed=0)


def policy(errors: str = "1%", latency: str | None = "100ms", tolerance: str = "1.5", minimum: int = 100) -> Analysis:
    return Analysis.model_validate(
        {
            "errors": {"threshold": errors},
            "latency": [{"percentile": 95, "threshold": latency}] if latency else [],
            "baseline": {"tolerance": tolerance},
            "minRequests": minimum,
        }
    )


def after(looks: list[Look], rules: Analysis, state: AnalysisStatus | None = None) -> AnalysisStatus:
    state = state or AnalysisStatus()
    for canary, baseline in looks:
        until = (state.last_tick_at or START) + INTERVAL
        state = analysis.tick(rules, state, canary, baseline, until, version="version 3")
    return state


def check(state: AnalysisStatus, name: str) -> CheckStatus:
    return next(one for one in state.checks if one.check == name)


@dataclass(frozen=True)
class Case:
    looks: list[Look]
    verdict: Verdict
    rules: Analysis = field(default_factory=policy)
    environment_is_bad: bool = False


CASES = {
    # Nothing to judge by.
    "no_request_at_all": Case([(NO_REQUESTS, failing(0, 300))] * 3, Verdict.NO_DATA),
    "one_look_is_too_few": Case([(failing(0, 400), failing(0, 400))], Verdict.INCONCLUSIVE),
    "too_few_requests": Case([(failing(0, 49), failing(0, 300))] * 2, Verdict.INCONCLUSIVE),
    # Good versions.
    "enough_good_requests": Case([(failing(0, 50), failing(0, 300))] * 2, Verdict.PASS),
    "as_many_errors_as_stable": Case([(failing(1, 200), failing(3, 600))] * 10, Verdict.PASS),
    "no_stable_to_compare_with": Case([(failing(0, 50), NO_REQUESTS)] * 2, Verdict.PASS),
    "latency_not_judged_when_left_out": Case([(slow(50, 50), slow(0, 300))] * 3, Verdict.PASS, policy(latency=None)),
    "worse_than_stable_by_under_half_a_percentage_point": Case(
        [(failing(40, 10_000), failing(1, 10_000))] * 5, Verdict.PASS, policy("5%")
    ),
    "within_the_tolerated_ratio": Case([(failing(140, 10_000), failing(100, 10_000))] * 5, Verdict.PASS, policy("5%")),
    # Bad versions.
    "a_single_bad_look_condemns_nobody": Case([(failing(50, 50), failing(0, 300))], Verdict.INCONCLUSIVE),
    "a_single_bad_look_among_good_ones_neither": Case(
        [(failing(0, 50), failing(0, 300)), (failing(50, 50), failing(0, 300)), (failing(0, 50), failing(0, 300))],
        Verdict.INCONCLUSIVE,
    ),
    "a_single_bad_look_after_ordinary_ones_neither": Case(
        [(failing(1, 200), failing(3, 600))] * 30 + [(failing(100, 200), failing(3, 600))], Verdict.INCONCLUSIVE
    ),
    "a_single_bad_look_is_outweighed_by_a_good_one_after_ordinary_ones": Case(
        [(failing(1, 200), failing(3, 600))] * 30
        + [(failing(100, 200), failing(3, 600)), (failing(1, 200), failing(3, 600))],
        Verdict.PASS,
    ),
    "a_single_bad_look_long_ago_is_forgiven": Case(
        [(failing(1, 200), failing(3, 600))] * 3
        + [(failing(100, 200), failing(3, 600))]
        + [(failing(1, 200), failing(3, 600))] * 20,
        Verdict.PASS,
    ),
    "two_bad_looks_after_ordinary_ones": Case(
        [(failing(1, 200), failing(3, 600))] * 30 + [(failing(100, 200), failing(3, 600))] * 3, Verdict.FAIL
    ),
    "half_of_the_requests_fail": Case([(failing(25, 50), failing(0, 300))] * 2, Verdict.FAIL),
    "half_of_few_requests_fail": Case([(failing(5, 10), failing(0, 30))] * 2, Verdict.FAIL),
    "every_request_fails_and_none_is_timed": Case([(failing(40, 40), failing(0, 300))] * 2, Verdict.FAIL),
    "most_requests_are_slow": Case([(slow(45, 50), slow(1, 300))] * 2, Verdict.FAIL),
    "over_the_limit_without_a_stable_beside_it": Case([(failing(20, 50), NO_REQUESTS)] * 2, Verdict.FAIL),
    "within_the_limit_but_far_worse_than_stable": Case(
        [(failing(40, 1000), failing(1, 1000))] * 2, Verdict.FAIL, policy("5%")
    ),
    "goes_bad_after_a_long_good_record": Case(
        [(failing(0, 500), failing(0, 500))] * 40 + [(failing(10, 500), failing(0, 500))] * 5, Verdict.FAIL
    ),
    "goes_bad_after_a_blip_and_a_long_good_record": Case(
        [(failing(3, 500), failing(0, 500))]
        + [(failing(0, 500), failing(0, 500))] * 40
        + [(failing(10, 500), failing(0, 500))] * 5,
        Verdict.FAIL,
    ),
    "goes_bad_within_the_limit_after_a_long_good_record": Case(
        [(failing(0, 500), failing(0, 500))] * 40 + [(failing(10, 500), failing(0, 500))] * 5,
        Verdict.FAIL,
        policy("5%"),
    ),
    "goes_worse_by_under_half_a_percentage_point_after_a_long_good_record": Case(
        [(failing(1, 10_000), failing(1, 10_000))] * 40 + [(failing(45, 10_000), failing(1, 10_000))] * 20,
        Verdict.PASS,
        policy("5%"),
    ),
    "goes_bad_while_stable_has_little_traffic": Case(
        [(failing(0, 450), failing(0, 50))] * 40 + [(failing(45, 450), failing(0, 50))] * 3, Verdict.FAIL
    ),
    # Both revisions bad: not the new version's doing.
    "both_arms_degrade": Case([(failing(20, 50), failing(80, 200))] * 2, Verdict.INCONCLUSIVE, environment_is_bad=True),
    "both_arms_slow": Case([(slow(30, 50), slow(120, 200))] * 2, Verdict.INCONCLUSIVE, environment_is_bad=True),
    "both_over_the_limit_and_stable_not_yet_proved_so": Case(
        [(failing(4, 50), failing(1, 50))] * 2, Verdict.INCONCLUSIVE
    ),
    "both_go_bad_after_a_long_good_record": Case(
        [(failing(0, 250), failing(0, 250))] * 40 + [(failing(9, 250), failing(8, 250))] * 5,
        Verdict.INCONCLUSIVE,
        environment_is_bad=True,
    ),
    "both_go_bad_and_stable_has_too_little_traffic_to_prove_it": Case(
        [(failing(0, 450), failing(0, 50))] * 40 + [(failing(15, 450), failing(2, 50))] * 3, Verdict.INCONCLUSIVE
    ),
    "goes_slightly_bad_while_stable_has_too_little_traffic_to_compare_with": Case(
        [(failing(0, 475), failing(0, 25))] * 40 + [(failing(15, 475), failing(0, 25))] * 3, Verdict.INCONCLUSIVE
    ),
    "far_worse_than_a_bad_stable": Case([(failing(180, 200), failing(40, 200))] * 2, Verdict.FAIL),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name) for name, case in CASES.items()],
)
def test_verdict(case: Case) -> None:
    state = after(case.looks, case.rules)
    assert state.verdict is case.verdict, state.message
    assert analysis.environment_is_bad(case.rules, state) is case.environment_is_bad


def test_latency_is_judged_by_the_requests_that_succeeded() -> None:
    state = after([(RevisionSample(100, 40, 60, {95: 6}), RevisionSample(300, 3, 297, {95: 2}))], policy())
    latency = check(state, "latency-p95")
    assert (latency.canary.requests, latency.canary.bad) == (60, 6)
    assert (latency.baseline.requests, latency.baseline.bad) == (297, 2)
    assert (check(state, "errors").canary.requests, check(state, "errors").canary.bad) == (100, 40)


def percentiles(**thresholds: str) -> Analysis:
    checks = [{"percentile": int(name[1:]), "threshold": threshold} for name, threshold in thresholds.items()]
    return Analysis.model_validate({"latency": checks})


@pytest.mark.parametrize(
    ("over", "failed"),
    [
        pytest.param({50: 30, 90: 1, 99: 0}, [], id="none"),
        pytest.param({50: 90, 90: 5, 99: 1}, ["latency-p50"], id="the_lowest"),
        pytest.param({50: 30, 90: 8, 99: 8}, ["latency-p99"], id="the_highest"),
        pytest.param({50: 99, 90: 90, 99: 90}, ["latency-p50", "latency-p90", "latency-p99"], id="all"),
    ],
)
def test_each_percentile_is_judged_by_itself(over: dict[int, int], failed: list[str]) -> None:
    rules = percentiles(p99="1s", p50="50ms", p90="250ms")
    canary = RevisionSample(100, 0, 100, over, {50: 0.04, 90: 0.2, 99: 0.9})
    stable = RevisionSample(100, 0, 100, {50: 30, 90: 4, 99: 1})
    state = after([(canary, stable)] * 4, rules)
    assert [one.check for one in state.checks] == ["errors", "latency-p50", "latency-p90", "latency-p99"]
    assert [one.check for one in state.checks if one.verdict is Verdict.FAIL] == failed
    assert [one.canary.bad for one in state.checks] == [0, *(4 * over[one] for one in (50, 90, 99))]
    assert [one.canary_latency for one in state.checks] == [None, "40ms", "200ms", "900ms"]


@pytest.mark.parametrize(
    ("rules", "rejects_at"),
    [
        (Analysis(), 200),
        (percentiles(p95="100ms"), 400),
        (percentiles(p50="50ms", p99="500ms"), 600),
        (percentiles(p50="50ms", p90="100ms", p95="250ms", p99="500ms"), 1000),
    ],
)
def test_the_more_tests_there_are_the_more_each_has_to_show(rules: Analysis, rejects_at: int) -> None:
    state = after([(failing(0, 100), failing(0, 100))], rules)
    for one in analysis.log_e_values(rules, state):
        assert math.exp(one.critical) == pytest.approx(rejects_at)


def test_a_look_counts_once() -> None:
    state = after([(failing(1, 50), failing(0, 300))], policy())
    assert state.last_tick_at is not None
    with pytest.raises(ValueError, match="counted already"):
        analysis.tick(policy(), state, failing(1, 50), failing(0, 300), state.last_tick_at)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="51 bad of 50"):
        after([(failing(51, 50), failing(0, 300))], policy())


def test_the_evidence_is_told_in_numbers() -> None:
    state = after([(failing(number, 100), failing(1, 300)) for number in (0, 1, 2, 9, 9)], policy())
    errors = check(state, "errors")
    assert [(look.canary.bad, look.baseline.bad, look.baseline.requests) for look in errors.last_looks] == [
        (2, 1, 300), (9, 1, 300), (9, 1, 300),
    ]  # fmt: skip
    assert errors.last_looks[-1].until == state.last_tick_at
    values = next(one for one in analysis.log_e_values(policy(), state) if one.check == "errors")
    assert (errors.rejects_at, errors.verdict) == ("400", Verdict.FAIL)
    assert float(errors.absolute_e.replace("10^", "1e")) == pytest.approx(math.exp(values.absolute), rel=0.5)
    assert float(errors.relative_e.replace("10^", "1e")) == pytest.approx(math.exp(values.relative), rel=0.5)


def test_a_step_begins_with_the_evidence_of_the_rollout() -> None:
    before = after([(failing(2, 100), failing(0, 300))] * 2, policy())
    step = analysis.begin_step(before)
    assert (step.step_ticks, step.step_requests, step.verdict) == (0, 0, Verdict.NO_DATA)
    assert (step.checks, step.ticks, step.last_tick_at) == (before.checks, before.ticks, before.last_tick_at)


def test_a_step_passes_on_its_own_requests_only() -> None:
    step = analysis.begin_step(after([(failing(0, 500), failing(0, 500))] * 5, policy()))
    first = after([(failing(0, 60), failing(0, 300))], policy(), step)
    assert first.verdict is Verdict.INCONCLUSIVE
    assert after([(failing(0, 60), failing(0, 300))], policy(), first).verdict is Verdict.PASS


def test_dropped_evidence_is_not_held_against_the_version_but_no_request_counts_twice() -> None:
    bad = after([(failing(20, 50), failing(80, 200))] * 3, policy())
    assert analysis.environment_is_bad(policy(), bad)
    afresh = analysis.drop_evidence(bad)
    assert afresh.last_tick_at == bad.last_tick_at
    recovered = after([(failing(0, 60), failing(0, 200))] * 2, policy(), afresh)
    assert recovered.verdict is Verdict.PASS
    assert not analysis.environment_is_bad(policy(), recovered)


def test_state_is_json_without_floats_and_small() -> None:
    state = after([(failing(1, 5000), slow(7, 30_000))] * 300, policy())
    text = json.dumps(state.to_wire())
    assert len(text) < 4000

    def refuse(number: str) -> float:
        raise AssertionError(f"a float in status: {number}")

    json.loads(text, parse_float=refuse)


@pytest.mark.parametrize(
    ("looks", "rules", "name", "message"),
    [
        (
            [(slow(90, 100), slow(1, 300))] * 2,
            policy(),
            "latency-p95",
            "P95 <= 100ms: 180 of 200 requests of version 3 were slower (90.0%, 5.0% allowed); stable: 2 of 600 (0.3%)",
        ),
        (
            [(failing(30, 60), NO_REQUESTS)] * 2,
            policy(),
            "errors",
            "errors <= 1%: 60 of 120 requests of version 3 failed (50.0%, 1.0% allowed); stable: no requests",
        ),
        (
            [(failing(40, 1000), failing(1, 1000))] * 2,
            policy("5%"),
            "errors",
            "errors <= 5%: 80 of 2000 requests of version 3 failed (4.0%, 5.0% allowed); stable: 2 of 2000 (0.1%); "
            "at most 1.5 times the share of stable is tolerated",
        ),
        (
            [(failing(0, 500), failing(0, 500))] * 40 + [(failing(10, 500), failing(0, 500))] * 5,
            policy(),
            "errors",
            "errors <= 1%: 50 of 22500 requests of version 3 failed (0.2%, 1.0% allowed); stable: 0 of 22500 (0.0%); "
            "10 of 500 (2.0%) in the last look",
        ),
        (
            [(failing(0, 500), failing(0, 500))] * 40 + [(failing(10, 500), failing(0, 500))] * 5,
            policy("5%"),
            "errors",
            "errors <= 5%: 50 of 22500 requests of version 3 failed (0.2%, 5.0% allowed); stable: 0 of 22500 (0.0%); "
            "10 of 500 (2.0%) in the last look; at most 1.5 times the share of stable is tolerated",
        ),
        (
            [(failing(0, 475), failing(0, 25))] * 40 + [(failing(15, 475), failing(0, 25))] * 3,
            policy(),
            "errors",
            "errors <= 1%: 45 of 20425 requests of version 3 failed (0.2%, 1.0% allowed); stable: 0 of 1075 (0.0%); "
            "15 of 475 (3.2%) in the last look; "
            "stable may be over the limit too, 0 of 75 (0.0%) in the same looks cannot tell",
        ),
        (
            [(failing(1, 200), failing(3, 600))] * 30 + [(failing(100, 200), failing(3, 600))],
            policy("3%"),
            "errors",
            "errors <= 3%: 130 of 6200 requests of version 3 failed (2.1%, 3.0% allowed); stable: 93 of 18600 (0.5%); "
            "100 of 200 (50.0%) in the last look",
        ),
        (
            [(failing(20, 50), failing(80, 200))] * 2,
            policy(),
            "errors",
            "errors <= 1%: 40 of 100 requests of version 3 failed (40.0%, 1.0% allowed); stable: 160 of 400 (40.0%); "
            "stable seems to be over the limit too",
        ),
        (
            [(NO_REQUESTS, failing(0, 300))],
            policy(),
            "errors",
            "errors <= 1%: version 3 has had no requests that count here; stable: 0 of 300 (0.0%)",
        ),
    ],
)
def test_the_message_gives_the_evidence(looks: list[Look], rules: Analysis, name: str, message: str) -> None:
    assert check(after(looks, rules), name).message == message


def test_the_verdict_is_explained() -> None:
    failed = after([(RevisionSample(100, 50, 50, {95: 45}), failing(0, 300))] * 2, policy())
    assert failed.message == ". ".join(one.message for one in failed.checks)
    assert (
        after([(NO_REQUESTS, failing(0, 9))], policy()).message == "No request has reached version 3 in this step yet"
    )
    assert after([(failing(0, 9), failing(0, 9))], policy()).message == (
        "Nothing bad so far, but version 3 has had 9 requests in 1 looks of this step, and needs 100 in at least 2"
    )
    assert after([(failing(20, 50), failing(80, 200))] * 2, policy()).message.startswith("Not decided yet: errors")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, None), (0.0000951, "0.0951ms"), (0.01234, "12.3ms"), (0.9994, "999ms"), (0.9996, "1s"), (12.345, "12.3s")],
)
def test_latency_is_shown_to_three_digits(seconds: float | None, shown: str | None) -> None:
    sample = RevisionSample(requests=1, errors=0, timed=1, latencies={} if seconds is None else {95: seconds})
    latency = check(after([(sample, NO_REQUESTS)], policy()), "latency-p95")
    assert (latency.canary_latency, latency.baseline_latency) == (shown, None)


@pytest.mark.parametrize(
    ("rules", "needed"),
    [
        (policy("10%", minimum=58), 59),  # P95 is the tighter limit: 5%
        (policy("10%", minimum=59), None),
        (policy("1%", minimum=298), 299),
        (policy("1%", minimum=299), None),
        (policy("0.1%", minimum=2994), 2995),
        (policy("0.1%", minimum=2995), None),
        (policy("5%", latency=None, minimum=58), 59),
    ],
)
def test_advice_when_min_requests_is_too_low_for_the_limits(rules: Analysis, needed: int | None) -> None:
    advice = analysis.min_requests_advice(rules)
    if needed is None:
        assert advice is None
    else:
        assert advice is not None
        assert f"minRequests of {rules.min_requests} is too low" in advice
        assert f"takes {needed} " in advice


@pytest.mark.parametrize("errors", ["99.999%", "0.001%", "50%"])
def test_extreme_limits_can_be_judged(errors: str) -> None:
    rules = policy(errors, latency=None)
    assert after([(failing(0, 500), failing(0, 500))] * 3, rules).verdict is Verdict.PASS
    broken = [(failing(200_000, 200_000), failing(0, 200_000))] * 2
    assert after(broken, rules).verdict is Verdict.FAIL
