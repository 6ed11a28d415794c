"""The operator's own metrics."""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from serinus.api.status import Phase
from serinus.core.state import State
from serinus.ports import Manifest

RECONCILES: Final = Counter(
    "serinus_operator_reconcile_total", "Visits to an InferenceService, by how they ended.", ["result"]
)
RECONCILE_SECONDS: Final = Histogram(
    "serinus_operator_reconcile_duration_seconds",
    "Duration of a visit.",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)
LEADING: Final = Gauge("serinus_operator_leading", "1 while this replica leads and works, 0 while it stands by.")
QUEUE_DEPTH: Final = Gauge("serinus_operator_queue_depth", "InferenceServices that wait for a visit.")
QUEUE_SECONDS: Final = Histogram(
    "serinus_operator_queue_latency_seconds",
    "How long an InferenceService waited for its visit.",
    buckets=(0.001, 0.01, 0.1, 0.5, 1, 5, 10, 60, 300),
)
API_REQUESTS: Final = Counter(
    "serinus_operator_api_requests_total",
    "Requests to the Kubernetes API. The code is that of the answer, and `none` where there was none.",
    ["verb", "resource", "code"],
)
API_SECONDS: Final = Histogram(
    "serinus_operator_api_request_duration_seconds",
    "Duration of requests to the Kubernetes API; of lists and watches, until the answer begins.",
    ["verb", "resource"],
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 5, 30),
)
API_THROTTLED_SECONDS: Final = Counter(
    "serinus_operator_api_throttled_seconds_total",
    "How long writes waited for the operator's own limit, or because the API server had asked for patience.",
)
TRANSITIONS: Final = Counter(
    "serinus_operator_rollout_transitions_total",
    "What happened in rollouts: started, promoted, rolled back.",
    ["reason"],
)
VERDICTS: Final = Counter(
    "serinus_rollout_verdicts_total",
    "Looks at the metrics of a rollout, by what the analysis said after them.",
    ["namespace", "name", "verdict"],
)
ROLLBACKS: Final = Counter(
    "serinus_rollout_rollbacks_total", "Rollouts that were rolled back, by reason.", ["namespace", "name", "reason"]
)
BUILD: Final = Info("serinus_operator_build", "The operator's version, and that of Python.")
BUILD.info({"version": version("serinus"), "python": platform.python_version()})

for _result in ("success", "conflict", "not_leading", "error"):
    RECONCILES.labels(_result)


def count_request(verb: str, resource: str, code: str, seconds: float) -> None:
    """Count a request to the Kubernetes API that took so long."""
    API_REQUESTS.labels(verb, resource, code).inc()
    API_SECONDS.labels(verb, resource).observe(seconds)


def count_rollout(metadata: Manifest, before: State, after: State) -> None:
    """Count what a visit has made of a rollout: a look at the metrics, or the decision to roll back."""
    labels = metadata["namespace"], metadata["name"]
    looks = before.analysis.ticks if before.analysis and before.canary == after.canary else 0
    if after.canary is not None and after.analysis is not None and after.analysis.ticks > looks:
        VERDICTS.labels(*labels, after.analysis.verdict).inc()
    if after.rollout.phase is Phase.ROLLING_BACK and before.rollout.phase is not Phase.ROLLING_BACK:
        ROLLBACKS.labels(*labels, after.rollout.reason).inc()


def forget(namespace: str, name: str) -> None:
    """Remove the series of an InferenceService that is gone."""
    for counter in (VERDICTS, ROLLBACKS):
        counter.remove_by_labels({"namespace": namespace, "name": name})


@dataclass(frozen=True, slots=True)
class Readings:
    """What is read off the operator when its metrics are asked for."""

    oldest_key: float
    """How long the longest waiting key has waited, in seconds."""
    watch_ages: Mapping[str, float]
    """Seconds since each watch was last heard of, by resource."""
    services: Iterable[Manifest]
    """The InferenceServices that this replica looks after: none while another one leads."""


class Snapshot(Collector):
    """Metrics that are read off the operator when they are asked for, so that nothing needs to be kept or removed."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read

    def register(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Have the metrics served with the others."""
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering reads nothing yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read them."""
        readings = self._read()
        yield GaugeMetricFamily(
            "serinus_operator_queue_oldest_key_seconds",
            "How long the longest waiting InferenceService has waited.",
            readings.oldest_key,
        )
        ages = GaugeMetricFamily(
            "serinus_operator_watch_age_seconds",
            "Since a watch last brought an event, or was opened or listed anew.",
            labels=["resource"],
        )
        for resource, age in sorted(readings.watch_ages.items()):
            ages.add_metric([resource], age)
        yield ages
        yield from _rollouts(readings.services)


def _rollouts(services: Iterable[Manifest]) -> Iterator[Metric]:
    phases = GaugeMetricFamily(
        "serinus_rollout_phase",
        "1 for the phase that the rollout of an InferenceService is in.",
        labels=["namespace", "name", "phase"],
    )
    weights = GaugeMetricFamily(
        "serinus_rollout_weight_ratio",
        "The new revision's share of the requests: what the step asks for, what the pods make, what was measured.",
        labels=["namespace", "name", "kind"],
    )
    for service in services:
        labels = [service["metadata"]["namespace"], service["metadata"]["name"]]
        rollout: Mapping[str, Any] = service.get("status", {}).get("rollout", {})
        if "phase" in rollout:
            phases.add_metric([*labels, rollout["phase"]], 1)
        if "canary" in service.get("status", {}):
            for kind, percent in sorted(rollout.get("weight", {}).items()):
                weights.add_metric([*labels, kind], percent / 100)
    yield phases
    yield weights
