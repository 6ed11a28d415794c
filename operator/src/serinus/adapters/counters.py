"""Counts how far the counters of scraped pods rose in a window, exactly, from the samples that Prometheus stored.

PromQL's `increase` extrapolates to the edges of its window, which inflates a burst and loses what falls between two
windows. Here a window begins at the sample that ended the one before: every increment that was scraped is counted in
one window, once, and counts stay whole.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

SeriesKey = tuple[str, str | float]
"""A series among those of one pod: the metric's name, and its code or its bucket bound (le) where it has one."""

_SERIES_LABELS: Final = frozenset({"__name__", "code", "le", "digest", "server_version"})
"""Labels that tell a pod's series apart. The others say which pod it is, and how it came to be scraped."""


class UnusableSeriesError(Exception):
    """The series cannot be counted. The message names them and says what to change."""


@dataclass(slots=True)
class ScrapedPod:
    """The series of one scrape target."""

    labels: Mapping[str, str]
    series: dict[SeriesKey, dict[float, float]] = field(default_factory=dict)
    """Values by the Unix time of their scrape, in seconds."""

    @property
    def first_scrape(self) -> float:
        """When the pod was first scraped, as far as known."""
        return min(min(samples) for samples in self.series.values())

    @property
    def last_scrape(self) -> float:
        """When the pod was last scraped, as far as known."""
        return max(max(samples) for samples in self.series.values())

    def has_sample(self, key: SeriesKey, since: float, until: float) -> bool:
        """Whether the series was scraped in (since, until]."""
        return any(since < time <= until for time in self.series.get(key, ()))

    def increase(self, key: SeriesKey, since: float, until: float) -> float:
        """How far the counter rose over the samples in (since, until], restarts from 0 included.

        The rise is measured from the last sample at or before `since`. A series that appears while its pod is scraped
        already began at 0. A pod that is new to Prometheus is counted from its first scrape on, since what it counted
        before need not belong to the window.
        """
        samples = sorted(self.series.get(key, {}).items())
        if not samples:
            return 0.0
        before = [value for time, value in samples if time <= since]
        within = [value for time, value in samples if since < time <= until]
        if before:
            previous = before[-1]
        elif samples[0][0] > self.first_scrape:
            previous = 0.0
        else:
            previous = samples[0][1]
        rise = 0.0
        for value in within:
            rise += value - previous if value >= previous else value
            previous = value
        return rise


def read_matrix(result: Iterable[Any]) -> list[ScrapedPod]:
    """The pods in the result of a range-vector query, in the JSON form of Prometheus' HTTP API.

    Series that differ only in how `le` is written, such as "1" and "1.0" before and after an update of Prometheus,
    are one. Raises UnusableSeriesError for values that no counter has, and for pods that are scraped twice.
    """
    pods: dict[frozenset[tuple[str, str]], ScrapedPod] = {}
    for entry in result:
        labels, values = entry["metric"], entry["values"]
        target = {name: value for name, value in labels.items() if name not in _SERIES_LABELS}
        pod = pods.setdefault(frozenset(target.items()), ScrapedPod(target))
        pod.series.setdefault(_key(labels), {}).update(_samples(labels, values))
    _refuse_twice_scraped(pods.values())
    return list(pods.values())


def _key(labels: Mapping[str, str]) -> SeriesKey:
    if "le" in labels:
        return labels["__name__"], float(labels["le"])
    return labels["__name__"], labels.get("code", "")


def _samples(labels: Mapping[str, str], values: Iterable[tuple[float, str]]) -> dict[float, float]:
    samples = {float(time): float(value) for time, value in values}
    for value in samples.values():
        if not (math.isfinite(value) and value >= 0):
            raise UnusableSeriesError(f"{_written(labels)} has the value {value:g}, which no counter has")
    return samples


def _refuse_twice_scraped(pods: Iterable[ScrapedPod]) -> None:
    """Raise UnusableSeriesError if two targets are the same address at the same time: requests would count twice."""
    by_address: dict[str, list[ScrapedPod]] = {}
    for pod in pods:
        if "instance" in pod.labels:
            by_address.setdefault(pod.labels["instance"], []).append(pod)
    for address, same in by_address.items():
        for one, other in combinations(same, 2):
            if _overlap(one, other):
                ways = " and ".join(
                    _written(dict(pod.labels.items() - twin.labels.items()))
                    for pod, twin in ((one, other), (other, one))
                )
                raise UnusableSeriesError(
                    f"{address} is scraped twice, as {ways}, so that its requests would count twice: let one scrape "
                    "configuration drop it, or remove the label that sets replicas of Prometheus apart"
                )


def _overlap(one: ScrapedPod, other: ScrapedPod) -> bool:
    """Whether the samples of two pods interleave; an address that passes from a pod to the next makes none do."""
    spans = [[time for samples in pod.series.values() for time in samples] for pod in (one, other)]
    return max(map(min, spans)) <= min(map(max, spans))


def _written(labels: Mapping[str, str]) -> str:
    """Labels the way PromQL writes a series."""
    inside = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__")
    return f"{labels.get('__name__', '')}{{{inside}}}"
