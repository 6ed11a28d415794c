"""What the processes of a server take in all, under the usual names of one process."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from prometheus_client import Metric, ProcessCollector

_START: Final = "process_start_time_seconds"


def process_metrics(pids: Sequence[int]) -> Iterable[Metric]:
    """The sums over all, and the earliest start. Memory that they share counts for each."""
    families: dict[str, Metric] = {}
    for pid in pids:
        for family in ProcessCollector(pid=partial(str, pid), registry=None).collect():
            former = families.setdefault(family.name, family)
            if former is not family:
                combine = min if family.name == _START else sum
                former.samples = [
                    mine._replace(value=combine((mine.value, other.value)))
                    for mine, other in zip(former.samples, family.samples, strict=True)
                ]
    return families.values()
