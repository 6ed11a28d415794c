"""The same event continues a series for a while, another one begins one."""

import pytest

from serinus.core.recent_events import SERIES_SECONDS, Event, RecentEvents, Series

REFUSED: Event = ("uid-1", "WriteRefused", "exceeded quota")


@pytest.mark.parametrize(
    ("event", "after", "series"),
    [
        pytest.param(REFUSED, 0, ("first", 2), id="the same at once"),
        pytest.param(REFUSED, SERIES_SECONDS - 1, ("first", 2), id="the same within the time"),
        pytest.param(REFUSED, SERIES_SECONDS, ("second", 1), id="the same after it"),
        pytest.param(("uid-2", *REFUSED[1:]), 1, ("second", 1), id="of another object"),
        pytest.param(("uid-1", "StepPassed", REFUSED[2]), 1, ("second", 1), id="for another reason"),
        pytest.param((*REFUSED[:2], "denied by a webhook"), 1, ("second", 1), id="with other words"),
    ],
)
def test_what_continues_a_series(event: Event, after: float, series: tuple[str, int]) -> None:
    recent = RecentEvents()
    assert recent.happened(REFUSED, "first", 100.0) == Series("first", 1, 100.0)
    assert recent.happened(event, "second", 100.0 + after) == Series(*series, 100.0 + after)


def test_what_goes_on_is_one_series() -> None:
    recent = RecentEvents()
    told = [recent.happened(REFUSED, str(now), now) for now in range(0, 3600, 30)]
    assert {series.name for series in told} == {"0"}
    assert told[-1].count == len(told)


def test_what_could_not_be_told_begins_anew() -> None:
    recent = RecentEvents()
    recent.happened(REFUSED, "first", 0.0)
    recent.drop(REFUSED)
    recent.drop(REFUSED)
    assert recent.happened(REFUSED, "second", 1.0) == Series("second", 1, 1.0)


def test_what_is_no_longer_recent_is_forgotten() -> None:
    recent = RecentEvents()
    for number in range(1000):
        recent.happened((f"uid-{number}", "Promoted", "m"), "e", number)
    assert len(recent) == SERIES_SECONDS


def test_a_storm_of_events_is_not_all_remembered() -> None:
    recent = RecentEvents()
    for number in range(20_000):
        recent.happened((f"uid-{number}", "Promoted", "m"), "e", 0.0)
    assert len(recent) == 10_000
    assert recent.happened(("uid-19999", "Promoted", "m"), "f", 0.0).count == 2
