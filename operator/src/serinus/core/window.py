"""Over which time a look at the metrics counts requests: from where the last look ended, to when all scrapes are in."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

MIN_WINDOW_SCRAPES: Final = 2
"""However their scrapes fall, all pods are seen in every window. What a failed scrape misses is in the next one."""

MAX_WINDOW_SCRAPES: Final = 240
"""After a long outage older requests are left out, which is no worse than having had less traffic."""

LAG_SCRAPES: Final = 1.1
"""Windows end this long ago: by now every scrape begun before their end is stored."""


@dataclass(frozen=True, slots=True)
class Window:
    """From when (exclusive) to when (inclusive) requests are counted, in whole milliseconds."""

    since: datetime
    until: datetime


def next_window(
    since: datetime | None, now: datetime, interval: timedelta, scrape_interval: timedelta
) -> Window | None:
    """The window of a look taken `now`; None while it would be too short.

    `since` is where the last look's window ended, None at the first look, which takes in `interval`.
    """
    until = _whole_milliseconds(now - LAG_SCRAPES * scrape_interval)
    shortest = MIN_WINDOW_SCRAPES * scrape_interval
    since = since or until - max(interval, shortest)
    if until - since < shortest:
        return None
    return Window(max(since, until - MAX_WINDOW_SCRAPES * scrape_interval), until)


def _whole_milliseconds(time: datetime) -> datetime:
    """The time without what Prometheus does not resolve, so that windows meet exactly."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
