"""What Prometheus sees. Counted as plain numbers, which the workers of a server share: it costs next to nothing.

Every series exists at 0 from the start: a rate over a series that appears with its first error would
miss that error.
"""

import struct
import threading
import time
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.utils import floatToGoString

from serinus_server import __version__
from serinus_server.board import Board
from serinus_server.buckets import BUCKET_BOUNDS_SECONDS
from serinus_server.process_metrics import process_metrics

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

AUDIT_RESULTS: Final = ("written", "failed", "dropped")
SPAN_RESULTS: Final = ("exported", "failed", "dropped")
RELOAD_SOURCES: Final = ("policy", "api_keys", "tls")

_LABELS: Final = ("inferenceservice", "revision", "version")
_BOUNDS_AS_TEXT: Final = [*map(floatToGoString, BUCKET_BOUNDS_SECONDS), "+Inf"]


# Where each number is among the counters of a worker. A histogram takes one for each bucket, and one for its sum.
_DURATION_SLOTS: Final = len(BUCKET_BOUNDS_SECONDS) + 2
_BATCH_SLOTS: Final = len(BATCH_SIZES) + 2
_FIRST_CODE, _CODES = 100, 500  # an unexpected one is counted, too, and shown once it has come
_KNOWN, _FAILURES, _SUCCESSFUL, _SUCCESS_TIME, _RELOAD_SLOTS = range(5)
_DIGEST_WORDS: Final = 8
_IN_FLIGHT, _LOAD_SECONDS, _RUNS, _CERTIFICATE_EXPIRY, *_AUDIT, _REQUESTS = range(4 + len(AUDIT_RESULTS) + 1)
_REJECTIONS: Final = _REQUESTS + _CODES
_STAGE_SUMS: Final = _REJECTIONS + len(REJECTION_REASONS)
_DURATIONS: Final = _STAGE_SUMS + len(STAGES)
_BATCHES: Final = _DURATIONS + _DURATION_SLOTS
_RELOADS: Final = _BATCHES + _BATCH_SLOTS
_POLICY_DIGEST: Final = _RELOADS + len(RELOAD_SOURCES) * _RELOAD_SLOTS
_SPANS: Final = _POLICY_DIGEST + _DIGEST_WORDS
_PIPELINE_STAGES: Final = _SPANS + len(SPAN_RESULTS)


def counters_needed(stages: Collection[str] = ()) -> int:
    """How many numbers each worker counts with, where the model is a pipeline of `stages`."""
    return _PIPELINE_STAGES + len(stages) * _DURATION_SLOTS


class Metrics:
    """The counters of one server, whose model may be a pipeline of `stages`.

    This process counts in its own part of the board; what is exposed are all workers together, whichever is asked.
    All methods but `expose`, `stage_ran`, `audited` and `span_ended` belong to the event loop's thread.
    """

    def __init__(
        self,
        inferenceservice: str,
        revision: str,
        version: str,
        stages: Collection[str] = (),
        board: Board | None = None,
    ) -> None:
        """Without a `board` there is no other worker."""
        self._labels = [inferenceservice, revision, version]
        self._board = board or Board(counters_needed(stages))
        self._own = self._board.counters
        self._rejections = {reason: _REJECTIONS + number for number, reason in enumerate(REJECTION_REASONS)}
        self._reloads = {source: _RELOADS + number * _RELOAD_SLOTS for number, source in enumerate(RELOAD_SOURCES)}
        self._pipeline_stages = {
            stage: _PIPELINE_STAGES + number * _DURATION_SLOTS for number, stage in enumerate(stages)
        }
        self._lock = threading.Lock()
        self._digest: str | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def model_loaded(self, digest: str, seconds: float) -> None:
        """Note the model now served and how long its load took."""
        self._digest = digest
        self._own[_LOAD_SECONDS] = seconds

    def in_flight(self, requests: int) -> None:
        """So many inference requests are in work."""
        self._own[_IN_FLIGHT] = requests

    def certificate_in_force(self, expires: float) -> None:
        """Note when the certificate that clients are shown expires, in seconds since 1970."""
        self._own[_CERTIFICATE_EXPIRY] = expires

    def policy_in_force(self, digest: str) -> None:
        """Note the SHA-256 of the policy that holds now, in hexadecimal digits."""
        for number, (word,) in enumerate(struct.iter_unpack(">I", bytes.fromhex(digest))):
            self._own[_POLICY_DIGEST + number] = word

    def reloaded(self, source: str) -> None:
        """Mounted files were read, at start or after a change, and are in force."""
        start = self._reloads[source]
        self._own[start + _KNOWN] = self._own[start + _SUCCESSFUL] = 1
        self._own[start + _SUCCESS_TIME] = time.time()

    def reload_failed(self, source: str) -> None:
        """Mounted files cannot be used as they are."""
        start = self._reloads[source]
        self._own[start + _KNOWN] = 1
        self._own[start + _SUCCESSFUL] = 0
        self._own[start + _FAILURES] += 1

    def answered(self, code: int, seconds: float) -> None:
        """Count an inference reply; its duration counts only if it succeeded."""
        own = self._own
        own[_REQUESTS - _FIRST_CODE + code] += 1
        if 200 <= code < 300:  # noqa: PLR2004
            own[_DURATIONS + bisect_left(BUCKET_BOUNDS_SECONDS, seconds)] += 1
            own[_DURATIONS + _DURATION_SLOTS - 1] += seconds

    def rejected(self, reason: str) -> None:
        """Count a request refused without being run."""
        self._own[self._rejections[reason]] += 1

    def ran(self, decode: float, queue: float, run: float, encode: float) -> None:
        """Add the seconds that a request spent in each of `STAGES`."""
        own = self._own
        own[_RUNS] += 1
        own[_STAGE_SUMS] += decode
        own[_STAGE_SUMS + 1] += queue
        own[_STAGE_SUMS + 2] += run
        own[_STAGE_SUMS + 3] += encode

    def ran_together(self, requests: int) -> None:
        """Count one run of the model for so many requests."""
        self._own[_BATCHES + bisect_left(BATCH_SIZES, requests)] += 1
        self._own[_BATCHES + _BATCH_SLOTS - 1] += requests

    def stage_ran(self, stage: str, seconds: float) -> None:
        """Count a run of a stage of the pipeline. From any thread."""
        start = self._pipeline_stages[stage]
        with self._lock:
            self._own[start + bisect_left(BUCKET_BOUNDS_SECONDS, seconds)] += 1
            self._own[start + _DURATION_SLOTS - 1] += seconds

    def audited(self, result: str, records: int = 1) -> None:
        """Count audit records by what became of them, one of `AUDIT_RESULTS`. From any thread."""
        with self._lock:
            self._own[_AUDIT[AUDIT_RESULTS.index(result)]] += records

    def span_ended(self, result: str, spans: int = 1) -> None:
        """Count spans by what became of them, one of `SPAN_RESULTS`. From any thread."""
        with self._lock:
            self._own[_SPANS + SPAN_RESULTS.index(result)] += spans

    def expose(self) -> bytes:
        """All metrics in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """prometheus-client's collector protocol."""
        requests = CounterMetricFamily(
            "serinus_requests", "Inference requests answered, by status code.", labels=[*_LABELS, "code"]
        )
        for code in range(_FIRST_CODE, _FIRST_CODE + _CODES):
            count = self._sum(_REQUESTS - _FIRST_CODE + code)
            if count or code in EXPECTED_CODES:
                requests.add_metric([*self._labels, str(code)], count)
        yield requests
        yield self._request_durations()
        if self._pipeline_stages:
            yield self._stage_durations()
        rejections = CounterMetricFamily(
            "serinus_rejected_requests", "Inference requests refused without a run.", labels=[*_LABELS, "reason"]
        )
        for reason, slot in self._rejections.items():
            rejections.add_metric([*self._labels, reason], self._sum(slot))
        yield rejections
        stages = SummaryMetricFamily(
            "serinus_stage_seconds", "Time spent in each stage of a request.", labels=[*_LABELS, "stage"]
        )
        for number, stage in enumerate(STAGES):
            stages.add_metric([*self._labels, stage], int(self._sum(_RUNS)), self._sum(_STAGE_SUMS + number))
        yield stages
        yield self._batch_sizes()
        yield self._gauge("serinus_in_flight_requests", "Inference requests in work.", self._sum(_IN_FLIGHT))
        load_seconds = max(self._everybodys(_LOAD_SECONDS))
        yield self._gauge("serinus_model_load_seconds", "How long loading the model took.", load_seconds)
        yield self._build_info()
        yield from self._policy()
        if self._own[_CERTIFICATE_EXPIRY]:
            # A worker that does not have the new certificate yet shows the former one.
            soonest = min(filter(None, self._everybodys(_CERTIFICATE_EXPIRY)))
            text = "When the certificate that clients are shown expires."
            yield self._gauge("serinus_tls_certificate_expiry_timestamp_seconds", text, soonest)
        audit = CounterMetricFamily(
            "serinus_audit_records", "Audit records by what became of them.", labels=[*_LABELS, "result"]
        )
        for slot, result in zip(_AUDIT, AUDIT_RESULTS, strict=True):
            audit.add_metric([*self._labels, result], self._sum(slot))
        yield audit
        spans = CounterMetricFamily("serinus_trace_spans", "Spans by what became of them.", labels=[*_LABELS, "result"])
        for number, result in enumerate(SPAN_RESULTS):
            spans.add_metric([*self._labels, result], self._sum(_SPANS + number))
        yield spans
        yield from process_metrics(self._board.pids)

    def _everybodys(self, slot: int) -> list[float]:
        return [counters[slot] for counters in self._board.everybodys_counters]

    def _sum(self, slot: int) -> float:
        return sum(self._everybodys(slot))

    def _histogram(self, start: int, bounds: Sequence[str]) -> tuple[list[tuple[str, float]], float]:
        """Upper bounds with how many were at most as large, and the sum."""
        counts = accumulate(self._sum(start + number) for number in range(len(bounds)))
        return list(zip(bounds, counts, strict=True)), self._sum(start + len(bounds))

    def _request_durations(self) -> Metric:
        family = HistogramMetricFamily(
            "serinus_request_duration_seconds",
            "Time from a whole inference request to its reply, of successful ones.",
            labels=_LABELS,
        )
        family.add_metric(self._labels, *self._histogram(_DURATIONS, _BOUNDS_AS_TEXT))
        return family

    def _stage_durations(self) -> Metric:
        family = HistogramMetricFamily(
            "serinus_stage_duration_seconds",
            "Time of a run of each stage of the pipeline, for one request or a batch.",
            labels=[*_LABELS, "stage"],
        )
        for stage, start in self._pipeline_stages.items():
            family.add_metric([*self._labels, stage], *self._histogram(start, _BOUNDS_AS_TEXT))
        return family

    def _batch_sizes(self) -> Metric:
        family = HistogramMetricFamily("serinus_batch_size", "Requests in one run of the model.", labels=_LABELS)
        family.add_metric(self._labels, *self._histogram(_BATCHES, [*map(floatToGoString, BATCH_SIZES), "+Inf"]))
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
        for source, start in self._reloads.items():
            if self._own[start + _KNOWN]:
                # Each worker reads for itself: what holds is what holds for all.
                failures.add_metric([*self._labels, source], max(self._everybodys(start + _FAILURES)))
                last.add_metric([*self._labels, source], min(self._everybodys(start + _SUCCESSFUL)))
                when.add_metric([*self._labels, source], min(self._everybodys(start + _SUCCESS_TIME)))
        info = GaugeMetricFamily(
            "serinus_policy_info", "1, with the SHA-256 of the policy.json in force.", labels=[*_LABELS, "digest"]
        )
        for digest in sorted(self._policy_digests()):
            info.add_metric([*self._labels, digest], 1)
        yield from (failures, last, when, info)

    def _policy_digests(self) -> set[str]:
        """More than one for the moment in which not all workers have read a change."""
        slots = range(_POLICY_DIGEST, _POLICY_DIGEST + _DIGEST_WORDS)
        found = {tuple(int(counters[slot]) for slot in slots) for counters in self._board.everybodys_counters}
        return {struct.pack(">8I", *words).hex() for words in found if any(words)}
