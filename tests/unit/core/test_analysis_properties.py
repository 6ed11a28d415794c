"""What holds of the evidence whatever the counts are."""

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from serinus.api.status import AnalysisStatus, Verdict
from serinus.api.v1beta1 import Analysis
from serinus.core import analysis, evalue
from serinus.core.evalue import Counts
from serinus.ports import RevisionSample

POLICY = Analysis.model_validate({"errors": {"threshold": "1%"}, "latency": [{"percentile": 95, "threshold": "100ms"}]})
START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


@st.composite
def counts(draw: st.DrawFn, most: int = 100_000) -> Counts:
    requests = draw(st.integers(0, most))
    return Counts(requests, draw(st.integers(0, requests)))


@st.composite
def samples(draw: st.DrawFn) -> RevisionSample:
    errors, timed = draw(counts()), draw(counts())
    latencies = draw(st.just({}) | st.fixed_dictionaries({95: st.floats(1e-5, 30)}))
    return RevisionSample(errors.requests, errors.bad, timed.requests, {95: timed.bad}, latencies)


looks = st.lists(st.tuples(samples(), samples()), min_size=1, max_size=8)
limits = st.floats(0.00001, 0.99999)
tolerances = st.floats(1, 999)


def after(seen: list[tuple[RevisionSample, RevisionSample]], *, through_json: bool = False) -> AnalysisStatus:
    state = AnalysisStatus()
    for number, (canary, baseline) in enumerate(seen, start=1):
        state = analysis.tick(POLICY, state, canary, baseline, START + number * timedelta(seconds=30))
        if through_json:
            state = AnalysisStatus.model_validate_json(state.model_dump_json(by_alias=True))
    return state


@given(looks)
def test_a_restart_between_any_two_looks_changes_nothing(
    seen: list[tuple[RevisionSample, RevisionSample]],
) -> None:
    assert after(seen, through_json=True) == after(seen)


@given(looks)
def test_evidence_is_always_finite_and_counts_add_up(seen: list[tuple[RevisionSample, RevisionSample]]) -> None:
    state = after(seen)
    errors, latency = state.checks
    assert errors.canary.requests == sum(canary.requests for canary, _ in seen)
    assert errors.canary.bad == sum(canary.errors for canary, _ in seen)
    assert latency.baseline.bad == sum(baseline.slow[95] for _, baseline in seen)
    for check in state.checks:
        for value in (
            *check.relative_log_e,
            *check.difference_log_e,
            *check.absolute_log_e,
            *check.baseline_absolute_log_e,
        ):
            assert math.isfinite(float(value))


@given(looks)
def test_a_verdict_has_what_it_requires(seen: list[tuple[RevisionSample, RevisionSample]]) -> None:
    state = after(seen)
    if state.verdict is Verdict.PASS:
        assert state.step_requests >= POLICY.min_requests
        assert state.step_ticks >= analysis.MIN_STEP_TICKS
        assert not analysis.environment_is_bad(POLICY, state)
    if state.verdict is Verdict.FAIL:
        assert any(check.bad_ticks >= analysis.MIN_BAD_TICKS for check in state.checks)
        assert not analysis.environment_is_bad(POLICY, state)


@given(counts(), counts(), limits)
def test_two_looks_weigh_as_much_as_one_of_all_their_requests(one: Counts, other: Counts, limit: float) -> None:
    apart = zip(evalue.absolute_log_factors(one, limit), evalue.absolute_log_factors(other, limit), strict=True)
    together = evalue.absolute_log_factors(one + other, limit)
    for pair, whole in zip(apart, together, strict=True):
        assert math.isclose(sum(pair), whole, rel_tol=1e-9, abs_tol=1e-6)


@given(counts().filter(lambda look: look.bad < look.requests), counts(), limits, tolerances)
def test_another_bad_request_of_the_canary_never_weakens_the_evidence(
    canary: Counts, baseline: Counts, limit: float, tolerated: float
) -> None:
    worse = Counts(canary.requests, canary.bad + 1)
    less = evalue.absolute_log_factors(canary, limit), evalue.relative_log_factors(canary, baseline, tolerated)
    more = evalue.absolute_log_factors(worse, limit), evalue.relative_log_factors(worse, baseline, tolerated)
    for before, now in zip((*less[0], *less[1]), (*more[0], *more[1]), strict=True):
        assert now >= before or math.isclose(now, before, rel_tol=1e-9)


@given(counts(), counts().filter(lambda look: look.bad < look.requests), tolerances)
def test_a_bad_request_of_the_baseline_never_strengthens_the_evidence(
    canary: Counts, baseline: Counts, tolerated: float
) -> None:
    less = evalue.relative_log_factors(canary, baseline, tolerated)
    more = evalue.relative_log_factors(canary, Counts(baseline.requests, baseline.bad + 1), tolerated)
    for before, now in zip(less, more, strict=True):
        assert now <= before or math.isclose(now, before, rel_tol=1e-9)


@given(counts(), tolerances)
def test_without_a_baseline_nothing_is_relative(canary: Counts, tolerated: float) -> None:
    for factor in evalue.relative_log_factors(canary, Counts(0, 0), tolerated):
        assert abs(factor) < 1e-6


@given(st.lists(counts(), min_size=1, max_size=20), limits)
def test_evidence_for_a_version_is_bounded_so_that_it_can_turn(seen: list[Counts], limit: float) -> None:
    values: tuple[float, ...] = ()
    for number, look in enumerate(seen, start=1):
        values = evalue.grow(values, evalue.absolute_log_factors(look, limit), number)
        assert evalue.log_e(values, number) >= -math.log(2 * number) - 1e-9


def _binomial(n: int, k: int, chance: float) -> float:
    return math.comb(n, k) * chance**k * (1 - chance) ** (n - k)


@given(st.lists(counts(40), max_size=5), st.integers(0, 25), st.floats(0.001, 0.9))
def test_at_the_limit_the_expected_e_value_stays_what_it_is(past: list[Counts], requests: int, limit: float) -> None:
    """The guarantee itself: the e-process is a martingale when the share of bad requests is exactly the limit."""
    values: tuple[float, ...] = ()
    for number, look in enumerate(past, start=1):
        values = evalue.grow(values, evalue.absolute_log_factors(look, limit), number)
    expected = 0.0
    for bad in range(requests + 1):
        factors = evalue.absolute_log_factors(Counts(requests, bad), limit)
        e_value = math.exp(evalue.log_e(evalue.grow(values, factors, len(past) + 1), len(past) + 1))
        expected += _binomial(requests, bad, limit) * e_value
    assert math.isclose(expected, math.exp(evalue.log_e(values, len(past))), rel_tol=1e-6)


@given(
    st.lists(st.tuples(counts(40), counts(40)), max_size=5),
    st.integers(1, 100),
    st.integers(1, 100),
    st.integers(0, 25),
    st.floats(1, 5),
)
def test_at_the_tolerated_ratio_the_expected_e_value_stays_what_it_is(
    past: list[tuple[Counts, Counts]], canary_requests: int, baseline_requests: int, bad: int, tolerated: float
) -> None:
    """The same of the comparison, given how many requests of both revisions are bad together."""
    values: tuple[float, ...] = ()
    for number, (canary, baseline) in enumerate(past, start=1):
        values = evalue.grow(values, evalue.relative_log_factors(canary, baseline, tolerated), number)
    weight = tolerated * canary_requests
    canarys_share = weight / (weight + baseline_requests)
    bad = min(bad, canary_requests, baseline_requests)
    expected = 0.0
    for canarys in range(bad + 1):
        factors = evalue.relative_log_factors(
            Counts(canary_requests, canarys), Counts(baseline_requests, bad - canarys), tolerated
        )
        e_value = math.exp(evalue.log_e(evalue.grow(values, factors, len(past) + 1), len(past) + 1))
        expected += _binomial(bad, canarys, canarys_share) * e_value
    assert math.isclose(expected, math.exp(evalue.log_e(values, len(past))), rel_tol=1e-6)


@given(
    st.integers(1, 25),
    st.integers(1, 25),
    st.floats(0, 0.9),
    st.sampled_from([0.001, 0.005, 0.1]),
)
def test_at_the_tolerated_difference_no_e_value_is_expected_to_rise(
    canary_requests: int, baseline_requests: int, share: float, tolerated: float
) -> None:
    """Whatever the baseline's own share is, which nobody knows; 1 if that is 0, so that nothing is given away."""
    expected = [0.0] * 5
    for canary_bad in range(canary_requests + 1):
        for baseline_bad in range(baseline_requests + 1):
            chance = _binomial(canary_requests, canary_bad, share + tolerated)
            chance *= _binomial(baseline_requests, baseline_bad, share)
            look = Counts(canary_requests, canary_bad), Counts(baseline_requests, baseline_bad)
            for number, factor in enumerate(evalue.difference_log_factors(*look, tolerated)):
                expected[number] += chance * math.exp(factor)
    for value in expected:
        assert value <= 1 + 1e-9
        assert share > 0 or math.isclose(value, 1)


@given(counts(), counts())
def test_a_bad_request_weighs_on_the_difference_the_right_way(canary: Counts, baseline: Counts) -> None:
    factors = evalue.difference_log_factors(canary, baseline, 0.005)
    assert all(math.isfinite(factor) for factor in factors)
    if canary.requests and canary.bad < canary.requests and baseline.requests:
        worse = evalue.difference_log_factors(Counts(canary.requests, canary.bad + 1), baseline, 0.005)
        assert all(now > before for before, now in zip(factors, worse, strict=True))
    if canary.requests and baseline.bad < baseline.requests:
        excused = evalue.difference_log_factors(canary, Counts(baseline.requests, baseline.bad + 1), 0.005)
        assert all(now < before for before, now in zip(factors, excused, strict=True))


@given(looks)
def test_the_latest_requests_are_those_of_the_last_looks_and_of_the_same_for_both(
    seen: list[tuple[RevisionSample, RevisionSample]],
) -> None:
    check = after(seen).checks[0]
    canary, baseline = Counts(0, 0), Counts(0, 0)
    tails = []
    for new, old in reversed(seen):
        canary, baseline = canary + Counts(new.requests, new.errors), baseline + Counts(old.requests, old.errors)
        tails.append((canary, baseline))
    late = [Counts(arm.requests, arm.bad) for arm in (check.late_canary, check.late_baseline)]
    assert tuple(late) in tails
