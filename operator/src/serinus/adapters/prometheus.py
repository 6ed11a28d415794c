"""Request counts from Prometheus, or a clear word that they cannot be trusted now.

A look makes two HTTP calls: one query for the samples of all counters that decide, which so are of one time, and one
for the latency to show. What Prometheus does not say for certain, such as anything about pods that it does not scrape,
is an error and never "no requests".
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from prometheus_api_client import PrometheusConnect
from urllib3.util import Retry

from serinus.adapters.counters import ScrapedPod, SeriesKey, UnusableSeriesError, read_matrix
from serinus.adapters.mounted_credentials import MountedCredentials
from serinus.api.units import format_duration
from serinus.core.window import Window, next_window
from serinus.ports import MetricsQuery, MetricsSample, MetricsUnavailableError, RevisionSample

REACH_SCRAPES: Final = 4
"""So far before its window a look also reads: a pod that missed some scrapes is counted from its last one on."""

MISSING_AFTER_SCRAPES: Final = 3
"""A pod without a sample for so long is not scraped. A single scrape may fail: the next one makes up for it."""

_LONGEST_QUOTE: Final = 500
"""Characters of a reply that a message repeats."""

_BUILD_INFO: Final[SeriesKey] = ("serinus_build_info", "")
_REQUESTS: Final = "serinus_requests_total"
_DURATIONS: Final = "serinus_request_duration_seconds_bucket"
_METRICS: Final = (_BUILD_INFO[0], _REQUESTS, _DURATIONS)


class PrometheusMetrics:
    """Counts requests through the HTTP API of Prometheus 2 or 3."""

    def __init__(
        self,
        url: str,
        *,
        scrape_interval: timedelta,
        timeout: timedelta,
        namespace_label: str,
        credentials: MountedCredentials | None = None,
    ) -> None:
        """Prepare for the Prometheus at `url`, without calling it yet.

        `scrape_interval` is how often it scrapes the pods, `timeout` how long it may take to answer, and
        `namespace_label` the label in which its scrape configuration puts a pod's namespace.
        """
        self._scrape_interval = scrape_interval
        self._timeout = timeout
        self._namespace_label = namespace_label
        self._name = f"Prometheus at {_without_credentials(url)}"
        session = requests.Session()
        if credentials is not None:
            session.auth = credentials
            session.verify = str(credentials.authorities) if credentials.authorities else True
        session.hooks["response"].append(self._check_reply)
        # No retries: the next look comes soon, and its window takes in what this one could not see.
        self._prometheus = PrometheusConnect(
            url.rstrip("/"), session=session, retry=Retry(0), timeout=timeout.total_seconds()
        )

    def sample(self, query: MetricsQuery) -> MetricsSample | None:
        """Count the requests since the last look; None while the window would be under two scrapes.

        Raises MetricsUnavailableError when Prometheus cannot be asked, when ready pods are not scraped, and when its
        series cannot be counted. The message says which, and what to do.
        """
        window = next_window(query.since, query.now, query.interval, self._scrape_interval)
        if window is None:
            return None
        promql = self._samples_query(query, window)
        pods = self._scraped_pods(promql, query.now)
        self._require_all_scraped(query, window, pods)
        self._require_all_series(query, pods)
        latencies = self._latencies(query, window)
        by_revision = {
            revision: [pod for pod in pods if pod.labels.get("revision") == revision] for revision in query.ready_pods
        }
        samples = {
            revision: _count(own, window, query.latency_thresholds, latencies.get(revision, {}))
            for revision, own in by_revision.items()
        }
        return MetricsSample(window.until, samples, f"{promql} @ {query.now.timestamp():.3f}")

    def _samples_query(self, query: MetricsQuery, window: Window) -> str:
        """PromQL for the samples of all series that count, from some scrapes before the window until now."""
        selector = self._selector(query, f"__name__=~{_quoted('|'.join(_METRICS))}", _le_matcher(query))
        reach = query.now - window.since + REACH_SCRAPES * self._scrape_interval
        return f"{selector}[{_promql_duration(reach)}]"

    def _scraped_pods(self, promql: str, now: datetime) -> list[ScrapedPod]:
        """The samples that Prometheus has, by pod."""
        result = self._ask(promql, now)
        try:
            return read_matrix(result)
        except UnusableSeriesError as error:
            raise MetricsUnavailableError(f"{self._name}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise MetricsUnavailableError(f"{self._name} answered with series of no known form: {error!r}") from error

    def _latencies(self, query: MetricsQuery, window: Window) -> dict[str, dict[int, float]]:
        """The duration in seconds at each percentile, of each revision that had requests."""
        if not query.latency_thresholds:
            return {}
        selector = f"{_DURATIONS}{self._selector(query)}"
        # A rate needs two samples, which a short window may not hold.
        span = max(window.until - window.since, REACH_SCRAPES * self._scrape_interval)
        rate = f"sum by (revision, le) (rate({selector}[{_promql_duration(span)}]))"
        quantiles = (
            f'label_replace(histogram_quantile({percentile / 100:g}, {rate}), "percentile", "{percentile}", "", "")'
            for percentile in query.latency_thresholds
        )
        latencies: dict[str, dict[int, float]] = {}
        try:
            for entry in self._ask(" or ".join(quantiles), window.until):
                percentile, seconds = int(entry["metric"]["percentile"]), float(entry["value"][1])
                if math.isfinite(seconds):
                    latencies.setdefault(entry["metric"]["revision"], {})[percentile] = seconds
        except (KeyError, TypeError, ValueError) as error:
            raise MetricsUnavailableError(f"{self._name} answered with series of no known form: {error!r}") from error
        return latencies

    def _require_all_scraped(self, query: MetricsQuery, window: Window, pods: Sequence[ScrapedPod]) -> None:
        """Raise MetricsUnavailableError unless as many pods as are ready have a sample just before the window's end.

        A later one does not do: the next window is measured from there, and does not look back further.
        """
        until = window.until.timestamp()
        lately = MISSING_AFTER_SCRAPES * self._scrape_interval
        for revision, ready in query.ready_pods.items():
            own = [pod for pod in pods if pod.labels.get("revision") == revision]
            scraped = [pod for pod in own if pod.has_sample(_BUILD_INFO, until - lately.total_seconds(), until)]
            if len(scraped) < ready:
                raise MetricsUnavailableError(
                    f"{self._name} has scraped {len(scraped)} of the {ready} ready pods of revision {revision} in the "
                    f"{format_duration(lately)} before {window.until:%H:%M:%S} UTC. "
                    + (self._why_missing(query, pods) if pods else self._why_nothing(query))
                )

    def _why_missing(self, query: MetricsQuery, pods: Sequence[ScrapedPod]) -> str:
        """What to do when some pods are scraped, or were."""
        newest = query.now.timestamp() - max(pod.last_scrape for pod in pods)
        if newest > (MISSING_AFTER_SCRAPES * self._scrape_interval).total_seconds():
            return f"Its newest sample is {newest:.0f} s old: it stopped scraping, or its clock differs from this one."
        return f"Its targets page says why it misses some of {_BUILD_INFO[0]}{self._selector(query)}."

    def _why_nothing(self, query: MetricsQuery) -> str:
        """What to do when there is not one sample of the service; asks whether only the namespace's label is wrong."""
        service = f"inferenceservice={_quoted(query.service)}, revision=~{_quoted(_any_of(query.ready_pods))}"
        elsewhere = self._ask(f"{_BUILD_INFO[0]}{{{service}}}", query.now)
        labels = {
            name
            for entry in elsewhere
            for name, value in entry["metric"].items()
            if value == query.namespace and name != self._namespace_label
        }
        if labels:
            return (
                f"It has series of this service without the label {self._namespace_label}={_quoted(query.namespace)}: "
                f"set prometheus.namespaceLabel to {' or '.join(sorted(labels))}, where the namespace stands."
            )
        return (
            f"It knows no series {_BUILD_INFO[0]}{self._selector(query)}: check that it scrapes the pods (they carry "
            f"the annotation prometheus.io/scrape) and that the label {self._namespace_label} holds their namespace."
        )

    def _require_all_series(self, query: MetricsQuery, pods: Sequence[ScrapedPod]) -> None:
        """Raise MetricsUnavailableError if a pod that serves lacks a series, which would pass for "no requests"."""
        bounds = [*query.latency_thresholds.values(), math.inf] if query.latency_thresholds else []
        for pod in pods:
            if _BUILD_INFO not in pod.series:
                continue
            missing = [
                f"bucket of {bound:g} s in {_DURATIONS}" for bound in bounds if (_DURATIONS, bound) not in pod.series
            ]
            if not any(metric == _REQUESTS for metric, _ in pod.series):
                missing.insert(0, f"series {_REQUESTS}")
            if missing:
                raise MetricsUnavailableError(
                    f"{self._name} has no {missing[0]} of revision {pod.labels.get('revision')}, but its "
                    f"{_BUILD_INFO[0]}: check that no relabeling drops it"
                )

    def _selector(self, query: MetricsQuery, *more: str) -> str:
        """Matchers that hold for series of the service's revisions only, and `more`, in braces."""
        matchers = (
            f"{self._namespace_label}={_quoted(query.namespace)}",
            f"inferenceservice={_quoted(query.service)}",
            f"revision=~{_quoted(_any_of(query.ready_pods))}",
        )
        return "{" + ", ".join((*matchers, *more)) + "}"

    def _ask(self, promql: str, at: datetime) -> list[Any]:
        """The result of an instant query. Raises MetricsUnavailableError."""
        parameters = {"time": f"{at.timestamp():.3f}", "timeout": f"{self._timeout / timedelta(milliseconds=1):.0f}ms"}
        try:
            result: list[Any] = self._prometheus.custom_query(promql, params=parameters)
        except requests.RequestException as error:
            # How requests names a time-out depends on retries, and on whether the reply has begun.
            if isinstance(cause := _root_cause(error), TimeoutError):
                seconds = self._timeout.total_seconds()
                raise MetricsUnavailableError(f"{self._name} did not answer within {seconds:g} s") from error
            raise MetricsUnavailableError(f"{self._name} cannot be asked: {cause}") from error
        return result

    def _check_reply(self, response: requests.Response, *_: object, **__: object) -> None:
        """Look at what PrometheusConnect does not: whether a reply is whole, and why it refuses."""
        if response.is_redirect:
            return
        try:
            reply = response.json()
        except requests.JSONDecodeError as error:
            raise MetricsUnavailableError(
                f"{self._name} answered with status {response.status_code} and no JSON: is the URL its own?"
            ) from error
        if not isinstance(reply, dict):
            reply = {}
        if response.status_code != requests.codes.ok or reply.get("status") != "success":
            why = str(reply.get("error") or "no reason given")[:_LONGEST_QUOTE]
            raise MetricsUnavailableError(f"{self._name} answered with status {response.status_code}: {why}")
        # Notes on style come as `infos`, or among the warnings before version 3. Other warnings mean that the result
        # may lack something.
        warnings = [str(one) for one in reply.get("warnings") or () if not str(one).startswith("PromQL info:")]
        if warnings:
            quote = "; ".join(warnings)[:_LONGEST_QUOTE]
            raise MetricsUnavailableError(f"{self._name} warns that its answer may be partial: {quote}")
        if not _holds_series(reply.get("data")):
            raise MetricsUnavailableError(f"{self._name} answered without a list of series: is the URL its own?")


def _count(
    pods: Sequence[ScrapedPod], window: Window, thresholds: Mapping[int, float], latencies: Mapping[int, float]
) -> RevisionSample:
    """The requests of one revision's pods."""
    since, until = window.since.timestamp(), window.until.timestamp()
    requests_by_code: dict[str, float] = {}
    timed, slow = 0.0, dict.fromkeys(thresholds, 0.0)
    for pod in pods:
        for key in pod.series:
            if key[0] == _REQUESTS:
                code = str(key[1])
                requests_by_code[code] = requests_by_code.get(code, 0) + pod.increase(key, since, until)
        pod_timed = pod.increase((_DURATIONS, math.inf), since, until)
        timed += pod_timed
        for percentile, threshold in thresholds.items():
            # A restart that the smaller of the two counters shows and the larger hides could make this negative.
            slow[percentile] += max(0.0, pod_timed - pod.increase((_DURATIONS, threshold), since, until))
    return RevisionSample(
        requests=round(sum(requests_by_code.values())),
        errors=round(sum(count for code, count in requests_by_code.items() if code.startswith("5"))),
        timed=round(timed),
        slow={percentile: round(count) for percentile, count in slow.items()},
        latencies=latencies if timed else {},
    )


def _holds_series(data: object) -> bool:
    """Whether this is the result of a query, as far as it concerns the form of it."""
    result = data.get("result") if isinstance(data, dict) else None
    return isinstance(result, list) and all(
        isinstance(entry, dict) and isinstance(entry.get("metric"), dict) for entry in result
    )


def _le_matcher(query: MetricsQuery) -> str:
    """A matcher of the buckets that count, however their bound is written, and of series without a bound."""
    forms = ["", "[+]Inf"]
    for threshold in query.latency_thresholds.values():
        whole, _, fraction = f"{Decimal(repr(threshold)).normalize():f}".partition(".")
        forms.append(f"{whole}[.]{fraction}0*" if fraction else f"{whole}([.]0*)?")
    if query.latency_thresholds:
        # 1 may stand as 1.0 or 1e+00. All exponents are let pass, and the numbers compared when they are read.
        forms.append("[0-9.]+e[-+]?[0-9]+")
    return f"le=~{_quoted('|'.join(forms))}"


def _any_of(values: Iterable[str]) -> str:
    """A regular expression (RE2) that matches the values and nothing else."""
    return "|".join(map(re.escape, sorted(values)))


def _quoted(text: str) -> str:
    """A PromQL string; its escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)


def _promql_duration(duration: timedelta) -> str:
    return f"{math.ceil(duration / timedelta(milliseconds=1))}ms"


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _root_cause(error: BaseException) -> BaseException:
    """The exception at the bottom: what requests says of it repeats the URL and hides the reason in brackets."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return error
