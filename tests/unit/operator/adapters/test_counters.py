"""Counting from scraped samples: each increment once, whatever the windows, restarts and pods do."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.adapters.counters import ScrapedPod, UnusableSeriesError, read_matrix

ERRORS = ("serinus_requests_total", "500")
SUCCESSES = ("serinus_requests_total", "200")

Samples = dict[float, float]


@dataclass(frozen=True)
class Case:
    """The samples of a counter, and how far it rose in (20, 50]; the pod is scraped from 10 on."""

    samples: Samples
    rise: float
    pod_since: float = 10.0


CASES = {
    "rose": Case({10: 1, 20: 4, 30: 5, 40: 9, 50: 9}, 5),
    "did_not_rise": Case({10: 7, 20: 7, 30: 7, 40: 7, 50: 7}, 0),
    "rose_before_and_after_only": Case({10: 1, 20: 5, 30: 5, 50: 5, 60: 8}, 0),
    "has_no_sample": Case({}, 0),
    "has_no_sample_in_the_window": Case({10: 1, 20: 4}, 0),
    "has_samples_after_the_window_only": Case({60: 3, 70: 5}, 0),
    "a_sample_at_the_begin_belongs_to_the_window_before": Case({10: 0, 20: 100, 50: 101}, 1),
    "a_sample_at_the_end_belongs_to_the_window": Case({20: 1, 50: 3}, 2),
    "scrapes_between_were_missed": Case({20: 1, 50: 11}, 10),
    "the_scrape_at_the_begin_was_missed": Case({10: 1, 30: 3, 50: 4}, 3),
    "restarted_from_0": Case({20: 100, 30: 103, 40: 2, 50: 5}, 3 + 2 + 3),
    "restarted_twice": Case({20: 100, 30: 4, 40: 3, 50: 3}, 4 + 3),
    "restarted_to_0": Case({20: 100, 30: 0, 50: 0}, 0),
    "restarted_just_after_the_window_began": Case({20: 100, 21: 1}, 1),
    "appeared_while_its_pod_was_scraped": Case({30: 2, 40: 5}, 5),
    "appeared_at_the_begin_of_the_window": Case({20: 2, 40: 5}, 3),
    "its_pod_is_new": Case({30: 2000, 40: 2003}, 3, pod_since=30),
    "its_pod_is_new_and_was_scraped_once": Case({40: 2000}, 0, pod_since=40),
    "appeared_after_its_pod_within_the_window": Case({40: 2}, 2, pod_since=30),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_rise_of_a_counter_that(case: Case) -> None:
    pod = ScrapedPod({"pod": "a"}, {ERRORS: case.samples, SUCCESSES: {case.pod_since: 0, 70: 0}})
    assert pod.increase(ERRORS, since=20, until=50) == case.rise


def test_a_counter_that_a_pod_does_not_have_did_not_rise() -> None:
    pod = ScrapedPod({"pod": "a"}, {SUCCESSES: {10: 0, 30: 5}})
    assert pod.increase(ERRORS, 0, 50) == 0
    assert not pod.has_sample(ERRORS, 0, 50)


@pytest.mark.parametrize(
    ("since", "until", "is_there"), [(0, 10, True), (10, 29, False), (10, 30, True), (30, 50, False)]
)
def test_a_sample_is_in_a_window_that_ends_with_it_and_not_in_one_that_begins_with_it(
    since: float, until: float, is_there: bool
) -> None:
    assert ScrapedPod({"pod": "a"}, {SUCCESSES: {10: 0, 30: 5}}).has_sample(SUCCESSES, since, until) is is_there


@dataclass(frozen=True)
class History:
    """What a pod's counter did, scrape by scrape; the pod's other counter is there from its first scrape on."""

    times: tuple[int, ...]
    rises: tuple[int, ...]
    restarts: tuple[bool, ...]
    appears: int
    """The scrape at which the counter is first there."""

    def counter(self) -> tuple[Samples, Samples]:
        """The samples, and how many increments became known with each."""
        samples: Samples = {}
        known: Samples = {}
        value = 0
        for number, (time, rise, restarts) in enumerate(zip(self.times, self.rises, self.restarts, strict=True)):
            if number < self.appears:
                continue
            if restarts and rise < value:
                value = 0
            value += rise
            samples[time] = value
            known[time] = 0 if number == 0 else rise
        return samples, known

    def seen(self, since: float, until: float) -> ScrapedPod:
        """The pod as a look at the window sees it: some scrapes further back, and up to now."""
        in_sight = range(int(since) - 3, int(until) + 2)
        samples, _ = self.counter()
        return ScrapedPod(
            {"pod": "a"},
            {
                ERRORS: {time: value for time, value in samples.items() if time in in_sight},
                SUCCESSES: {time: 0 for time in self.times if time in in_sight},
            },
        )


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Scrapes a second apart, of which up to two in a row are missed; the pod comes and goes at any time."""
    gaps = draw(st.lists(st.integers(1, 3), min_size=1, max_size=40))
    first = draw(st.integers(0, 30))
    times = tuple(first + sum(gaps[:number]) for number in range(len(gaps)))
    rises = tuple(draw(st.lists(st.integers(0, 9), min_size=len(times), max_size=len(times))))
    restarts = tuple(
        draw(st.lists(st.sampled_from([False, False, False, True]), min_size=len(times), max_size=len(times)))
    )
    return History(times, rises, restarts, draw(st.integers(0, min(5, len(times)))))


@given(histories(), st.lists(st.integers(0, 160), min_size=2, max_size=20, unique=True).map(sorted))
def test_windows_that_meet_exactly_count_every_request_once(history: History, cuts: list[int]) -> None:
    _, known = history.counter()
    counted = [history.seen(since, until).increase(ERRORS, since, until) for since, until in pairwise(cuts)]
    assert sum(counted) == sum(rise for time, rise in known.items() if cuts[0] < time <= cuts[-1])


def series(metric: str = "serinus_requests_total", times: tuple[float, ...] = (10,), **labels: str) -> dict[str, Any]:
    return {"metric": {"__name__": metric, **labels}, "values": [[time, "1"] for time in times]}


def test_the_series_of_a_pod_are_put_together_by_its_labels() -> None:
    pods = read_matrix(
        [
            series(code="200", pod="a", instance="10.0.0.1:8080", revision="new"),
            series(code="500", pod="a", instance="10.0.0.1:8080", revision="new"),
            series(
                "serinus_build_info", digest="d", server_version="1", pod="a", instance="10.0.0.1:8080", revision="new"
            ),
            series(code="200", pod="b", instance="10.0.0.2:8080", revision="new"),
        ]
    )
    assert [(pod.labels["pod"], len(pod.series)) for pod in pods] == [("a", 3), ("b", 1)]
    assert set(pods[0].series) == {SUCCESSES, ERRORS, ("serinus_build_info", "")}


@pytest.mark.parametrize("forms", [("1", "1.0"), ("1.0", "1e+00"), ("0.25", "2.5e-01"), ("+Inf", "inf")])
def test_a_bound_is_the_same_however_it_is_written(forms: tuple[str, str]) -> None:
    name = "serinus_request_duration_seconds_bucket"
    older, newer = (series(name, times, le=form) for form, times in zip(forms, [(10, 20), (30, 40)], strict=True))
    (pod,) = read_matrix([older, newer])
    assert pod.series == {(name, float(forms[0])): {10: 1, 20: 1, 30: 1, 40: 1}}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1"])
def test_values_that_no_counter_has_are_refused_by_name(value: str) -> None:
    bad = {"metric": {"__name__": "serinus_requests_total", "pod": "a", "code": "200"}, "values": [[10, value]]}
    with pytest.raises(UnusableSeriesError, match=r'serinus_requests_total\{code="200",pod="a"\} has the value'):
        read_matrix([series(pod="b"), bad])


TWICE = {
    "by_two_jobs": ({"job": "pods"}, {"job": "annotated"}, 'job="annotated"'),
    "by_two_replicas_of_prometheus": ({"prometheus_replica": "p-0"}, {"prometheus_replica": "p-1"}, "p-1"),
    "with_and_without_the_pods_name": ({"pod": "a"}, {}, 'pod="a"'),
}


@pytest.mark.parametrize(("one", "other", "named"), TWICE.values(), ids=TWICE)
def test_a_pod_that_is_scraped_twice_is_refused(one: dict[str, str], other: dict[str, str], named: str) -> None:
    address = "10.0.0.1:8080"
    with pytest.raises(UnusableSeriesError, match=r"10\.0\.0\.1:8080 is scraped twice") as refused:
        read_matrix(
            [series(times=(10, 20), instance=address, **one), series(times=(11, 21), instance=address, **other)]
        )
    assert named in str(refused.value)


def test_an_address_that_passes_to_another_pod_is_no_pod_scraped_twice() -> None:
    before = series(times=(10, 20, 30), instance="10.0.0.1:8080", pod="a")
    after = series(times=(40, 50), instance="10.0.0.1:8080", pod="b")
    assert [pod.labels["pod"] for pod in read_matrix([before, after])] == ["a", "b"]
