"""Simulated requests are counted once, in the window in which they came."""

from datetime import UTC, datetime, timedelta

from serinus.core.window import Window
from serinus.simulation.scenario import Quality
from serinus.simulation.traffic import Traffic

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_windows_take_what_came_in_them_by_the_weight_of_the_time() -> None:
    traffic = Traffic(10, Quality(0), Quality(0), START, seed=1)
    traffic.flow(at(10), 0)
    traffic.flow(at(20), 1)
    canary, stable = traffic.count(Window(at(5), at(12)))
    assert (canary.requests, stable.requests) == (20, 50)
    canary, stable = traffic.count(Window(at(12), at(20)))
    assert (canary.requests, stable.requests) == (80, 0)


def test_what_no_window_took_counts_as_served() -> None:
    traffic = Traffic(10, Quality(0), Quality(1), START, seed=1)
    traffic.flow(at(10), 1)
    canary, _ = traffic.count(Window(at(2), at(4)))
    assert (canary.requests, canary.errors, canary.timed) == (20, 20, 0)
    traffic.finish()
    assert (traffic.served.requests, traffic.served.bad) == (100, 100)


def test_parts_of_requests_add_up() -> None:
    traffic = Traffic(0.25, Quality(0), Quality(0), START, seed=1)
    seen = []
    for second in range(1, 41):
        traffic.flow(at(second), 1)
        seen.append(traffic.count(Window(at(second - 1), at(second)))[0].requests)
    assert seen == [0, 0, 0, 1] * 10
    assert traffic.served.requests == 10


def test_slow_requests_are_among_those_that_succeed() -> None:
    traffic = Traffic(100, Quality(0), Quality(0.5, {95: 1.0}), START, seed=1)
    traffic.flow(at(10), 1)
    canary, _ = traffic.count(Window(START, at(10)))
    assert canary.requests == 1000
    assert canary.slow == {95: canary.timed}
    assert canary.timed == 1000 - canary.errors


def test_requests_over_a_threshold_are_over_the_shorter_ones_too() -> None:
    traffic = Traffic(100, Quality(0), Quality(0, {99: 0.02, 50: 0.4, 95: 0.02}), START, seed=1)
    traffic.flow(at(100), 1)
    canary, _ = traffic.count(Window(START, at(100)))
    assert 3700 < canary.slow[50] < 4300
    assert canary.slow[95] == canary.slow[99]
    assert 130 < canary.slow[99] < 270
    assert traffic.served.bad == canary.slow[99], "what is over P50's threshold alone is no bad request"
