"""What Prometheus sees. Counted in plain Python on the event loop's thread, so that it costs next to nothing.

Every series exists at 0 from the start: a rate over a series that appears with its first error would
miss that error.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.utils import floatToGoString

from serinus_server import __version__
from serinus_server.buckets import BUCKET_BOUNDS_SECONDS

EXPECTED_CODES: Final = (200, 400, 401, 403, 408, 413, 415, 429, 499, 500, 503, 504)
"""Status codes of inference replies; 499 is a client that left before its reply."""

REJECTION_REASONS: Final = (
    "not_ready",
    "in_flight_requests",
    "in_flight_bytes",
    "deadline",
    "body_size",
    "quota_rate",
    "quota_concurrency",
    "client_quota_rate",
    "client_quota_concurrency",
    "unauthenticated",
    "forbidden",
    "authentication_unavailable",
    "no_client_certificate",
)
BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32)
"""Upper bounds of the batch size histogram: requests in one run of the model."""

STAGES: Final = ("decode", "queue", "run", "encode")

_LABELS: Final = ("inferenceservice", "revision", "version")
_BOUNDS_AS_TEXT: Final = [*map(floatToGoString, BUCKET_BOUNDS_SECONDS), "+Inf"]


@dataclass(slots=True)
class _Reloads:
    """How reading mounted files went."""

    failures: int = 0
    last_successful: bool = True
    last_success: float = 0.0


class _Durations:
    """A histogram on the latency grid."""

    __slots__ = ("_buckets", "sum")

    def __init__(self) -> None:
        self._buckets = [0] * (len(BUCKET_BOUNDS_SECONDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self._buckets[bisect_left(BUCKET_BOUNDS_SECONDS, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Upper bound, and how many were at most as long."""
        return list(zip(_BOUNDS_AS_TEXT, map(float, accumulate(self._buckets)), strict=True))


class Metrics:
    """The counters of one server, whose model may be a pipeline of `stages`.

    All methods but `expose` and `stage_ran` belong to the event loop's thread.
    """

    def __init__(self, inferenceservice: str, revision: str, version: str, stages: Collection[str] = ()) -> None:
        self._labels = [inferenceservice, revision, version]
        self._requests = dict.fromkeys(EXPECTED_CODES, 0)
        self._rejections = dict.fromkeys(REJECTION_REASONS, 0)
        self._durations = _Durations()
        self._pipeline_stages = {stage: _Durations() for stage in stages}
        self._pipeline_lock = threading.Lock()
        self._runs = 0
        self._batches = [0] * (len(BATCH_SIZES) + 1)
        self._batched_requests = 0
        self._stage_sums = [0.0] * len(STAGES)
        self._load_seconds = 0.0
        self._digest: str | None = None
        self._reloads: dict[str, _Reloads] = {}
        self.policy_digest: str | None = None
        self.in_flight = 0
        self.audit_written = 0
        self.audit_failed = 0
        self.audit_dropped = 0
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def model_loaded(self, digest: str, seconds: float) -> None:
        """Note the model now served and how long its load took."""
        self._digest = digest
        self._load_seconds = seconds

    def reloaded(self, source: str) -> None:
        """Mounted files were read, at start or after a change, and are in force."""
        reloads = self._reloads.setdefault(source, _Reloads())
        reloads.last_successful = True
        reloads.last_success = time.time()

    def reload_failed(self, source: str) -> None:
        """Mounted files cannot be used as they are."""
        reloads = self._reloads.setdefault(source, _Reloads())
        reloads.failures += 1
        reloads.last_successful = False

    def answered(self, code: int, seconds: float) -> None:
        """Count an inference reply; its duration counts only if it succeeded."""
        self._requests[code] = self._requests.get(code, 0) + 1
        if 200 <= code < 300:  # noqa: PLR2004
            self._durations.add(seconds)

    def rejected(self, reason: str) -> None:
        """Count a request refused without being run."""
        self._rejections[reason] += 1

    def ran(self, decode: float, queue: float, run: float, encode: float) -> None:
        """Add the seconds that a request spent in each of `STAGES`."""
        self._runs += 1
        sums = self._stage_sums
        sums[0] += decode
        sums[1] += queue
        sums[2] += run
        sums[3] += encode

    def ran_together(self, requests: int) -> None:
        """Count one run of the model for so many requests."""
        self._batches[bisect_left(BATCH_SIZES, requests)] += 1
        self._batched_requests += requests

    def stage_ran(self, stage: str, seconds: float) -> None:
        """Count a run of a stage of the pipeline. From any thread."""
        with self._pipeline_lock:
            self._pipeline_stages[stage].add(seconds)

    def expose(self) -> bytes:
        """All metrics in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """prometheus-client's collector protocol."""
        requests = CounterMetricFamily(
            "serinus_requests", "Inference requests answered, by status code.", labels=[*_LABELS, "code"]
        )
        for code, count in self._requests.items():
            requests.add_metric([*self._labels, str(code)], count)
        yield requests
        yield self._request_durations()
        if self._pipeline_stages:
            yield self._stage_durations()
        rejections = CounterMetricFamily(
            "serinus_rejected_requests", "Inference requests refused without a run.", labels=[*_LABELS, "reason"]
        )
        for reason, count in self._rejections.items():
            rejections.add_metric([*self._labels, reason], count)
        yield rejections
        stages = SummaryMetricFamily(
            "serinus_stage_seconds", "Time spent in each stage of a request.", labels=[*_LABELS, "stage"]
        )
        for stage, seconds in zip(STAGES, self._stage_sums, strict=True):
            stages.add_metric([*self._labels, stage], self._runs, seconds)
        yield stages
        yield self._batch_sizes()
        yield self._gauge("serinus_in_flight_requests", "Inference requests in work.", self.in_flight)
        yield self._gauge("serinus_model_load_seconds", "How long loading the model took.", self._load_seconds)
        yield self._build_info()
        yield from self._policy()
        audit = CounterMetricFamily(
            "serinus_audit_records", "Audit records by what became of them.", labels=[*_LABELS, "result"]
        )
        counts = {"written": self.audit_written, "failed": self.audit_failed, "dropped": self.audit_dropped}
        for result, count in counts.items():
            audit.add_metric([*self._labels, result], count)
        yield audit

    def _request_durations(self) -> Metric:
        family = HistogramMetricFamily(
            "serinus_request_duration_seconds",
            "Time from a whole inference request to its reply, of successful ones.",
            labels=_LABELS,
        )
        family.add_metric(self._labels, self._durations.cumulative(), self._durations.sum)
        return family

    def _stage_durations(self) -> Metric:
        family = HistogramMetricFamily(
            "serinus_stage_duration_seconds",
            "Time of a run of each stage of the pipeline, for one request or a batch.",
            labels=[*_LABELS, "stage"],
        )
        with self._pipeline_lock:
            for stage, durations in self._pipeline_stages.items():
                family.add_metric([*self._labels, stage], durations.cumulative(), durations.sum)
        return family

    def _batch_sizes(self) -> Metric:
        family = HistogramMetricFamily("serinus_batch_size", "Requests in one run of the model.", labels=_LABELS)
        bounds = [*map(floatToGoString, BATCH_SIZES), "+Inf"]
        counts = zip(bounds, map(float, accumulate(self._batches)), strict=True)
        family.add_metric(self._labels, list(counts), self._batched_requests)
        return family

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, text, labels=_LABELS)
        family.add_metric(self._labels, value)
        return family

    def _build_info(self) -> Metric:
        family = GaugeMetricFamily(
            "serinus_build_info", "1, with what is served.", labels=[*_LABELS, "digest", "server_version"]
        )
        if self._digest is not None:
            family.add_metric([*self._labels, self._digest, __version__], 1)
        return family

    def _policy(self) -> Iterator[Metric]:
        """What mounted files say, as the server has it."""
        labels = [*_LABELS, "source"]
        failures = CounterMetricFamily(
            "serinus_policy_reload_failures", "Mounted files that could not be used, by version.", labels=labels
        )
        last = GaugeMetricFamily(
            "serinus_policy_last_reload_successful", "1 if the mounted files are in force as they are.", labels=labels
        )
        when = GaugeMetricFamily(
            "serinus_policy_last_reload_success_timestamp_seconds", "When mounted files were last read.", labels=labels
        )
        for source, reloads in self._reloads.items():
            failures.add_metric([*self._labels, source], reloads.failures)
            last.add_metric([*self._labels, source], reloads.last_successful)
            when.add_metric([*self._labels, source], reloads.last_success)
        info = GaugeMetricFamily(
            "serinus_policy_info", "1, with the SHA-256 of the policy.json in force.", labels=[*_LABELS, "digest"]
        )
        if self.policy_digest is not None:
            info.add_metric([*self._labels, self.policy_digest], 1)
        yield from (failures, last, when, info)
