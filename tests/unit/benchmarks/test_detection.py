"""The rules that the benchmark compares, and what holds of ours on its traffic."""

from collections.abc import Callable

import pytest

from benchmarks.detection.rollouts import Traffic, judge
from benchmarks.detection.rules import ArgoRollouts, Flagger, Rule
from serinus.ports import RevisionSample

GOOD = RevisionSample(100, 1, 99)
BAD = RevisionSample(100, 2, 98)
STABLE = RevisionSample(100, 0, 100)

B, G = BAD, GOOD


@pytest.mark.parametrize(
    ("rule", "looks", "condemned_at"),
    [
        pytest.param(lambda: Flagger(2), [B, B, G], 3, id="flagger_rolls_back_at_the_tick_after_the_last_bad_look"),
        pytest.param(lambda: Flagger(2), [B, G, G, B, G], 5, id="flagger_does_not_forget_a_bad_look"),
        pytest.param(lambda: Flagger(2), [B, G, G, G, B], None, id="flagger_looks_once_more"),
        pytest.param(lambda: ArgoRollouts(1), [B, B, G], 2, id="argo_fails_with_the_look_over_the_limit"),
        pytest.param(lambda: ArgoRollouts(1), [B, G, G, B], 4, id="argo_does_not_forget_a_bad_look"),
        pytest.param(lambda: ArgoRollouts(0), [G, B], 2, id="argo_by_default_fails_at_the_first"),
        pytest.param(lambda: ArgoRollouts(0), [G, G, G], None, id="at_the_limit_is_not_over_it"),
    ],
)
def test_rule(rule: Callable[[], Rule], looks: list[RevisionSample], condemned_at: int | None) -> None:
    judge_of_rollout = rule()
    condemned = [number for number, look in enumerate(looks, 1) if judge_of_rollout.condemns(look, STABLE)]
    assert (condemned[0] if condemned else None) == condemned_at


@pytest.mark.parametrize(
    ("times", "requests", "at_least", "at_most", "looks"),
    [
        # How many times as bad as a stable version of 0.5%, where 1% is allowed: the share rolled back, and the most
        # looks at the median.
        pytest.param(1, 50, 0.0, 0.01, None, id="as_good"),
        pytest.param(1.2, 50, 0.0, 0.01, None, id="a_little_worse"),
        pytest.param(2, 50, 0.0, 0.05, None, id="at_the_limit"),
        pytest.param(5, 50, 0.95, 1.0, 16, id="five_times_as_bad"),
        pytest.param(10, 50, 1.0, 1.0, 5, id="ten_times_as_bad"),
        pytest.param(1, 500, 0.0, 0.01, None, id="as_good_in_much_traffic"),
        pytest.param(1.2, 500, 0.0, 0.01, None, id="a_little_worse_in_much_traffic"),
        pytest.param(2, 500, 0.0, 0.3, None, id="at_the_limit_in_much_traffic"),
        pytest.param(5, 500, 1.0, 1.0, 4, id="five_times_as_bad_in_much_traffic"),
    ],
)
def test_detection(times: float, requests: int, at_least: float, at_most: float, looks: int | None) -> None:
    verdicts = judge(Traffic(requests, requests, 0.005, 0.005 * times), "Serinus", seeds=100)
    assert at_least <= verdicts.rolled_back <= at_most
    assert (verdicts.looks is None) == (looks is None)
    if looks is not None and verdicts.looks is not None:
        assert verdicts.looks <= looks


def test_all_rules_see_the_same_requests() -> None:
    traffic = Traffic(50, 50, 0.005, 0.05)
    assert list(traffic.looks(3)) == list(traffic.looks(3))
    assert list(traffic.looks(3)) != list(traffic.looks(4))


def test_fewer_bad_requests_reach_users_than_with_a_count_of_bad_looks() -> None:
    traffic = Traffic(50, 50, 0.005, 0.2)
    ours, theirs = (judge(traffic, rule, seeds=50).bad_requests for rule in ("Serinus", "Flagger, threshold 5"))
    assert ours is not None
    assert theirs is not None
    assert ours < theirs
