"""Which events were told lately: one that comes again continues a series, as Kubernetes calls it."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

SERIES_SECONDS: Final = 600.0
"""How long after an event the same one continues its series; beyond, it begins another."""

_MOST_KEPT: Final = 10_000
"""Events remembered at most; beyond, the oldest begin another series too early."""

Event = tuple[str, str, str]
"""The uid of the object, the reason, and the message."""


@dataclass(frozen=True, slots=True)
class Series:
    """An event that was told, and how often the same thing has happened."""

    name: str
    """Of the Kubernetes object that tells it."""
    count: int
    last: float
    """When it happened last, in seconds."""


class RecentEvents:
    """The events of the last while, that of the longest ago first."""

    def __init__(self) -> None:
        self._told: OrderedDict[Event, Series] = OrderedDict()

    def happened(self, event: Event, name: str, now: float) -> Series:
        """Note that the event has happened; `name` is what its object is called if it begins a series."""
        self._forget(now)
        before = self._told.pop(event, None)
        series = Series(name, 1, now) if before is None else Series(before.name, before.count + 1, now)
        self._told[event] = series
        return series

    def drop(self, event: Event) -> None:
        """Forget an event that could not be told."""
        self._told.pop(event, None)

    def _forget(self, now: float) -> None:
        while self._told:
            oldest = next(iter(self._told.values()))
            if len(self._told) < _MOST_KEPT and now - oldest.last < SERIES_SECONDS:
                return
            self._told.popitem(last=False)

    def __len__(self) -> int:
        return len(self._told)
