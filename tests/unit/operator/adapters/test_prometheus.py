"""What a look at Prometheus says of its replies: counts, or a clear word why there are none."""

import json
import random
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from serinus.adapters.prometheus import PrometheusMetrics
from serinus.core.window import MAX_WINDOW_SCRAPES
from serinus.ports import MetricsQuery, MetricsUnavailableError, RevisionSample
from tests.unit.operator.adapters.canned_prometheus import (
    Answer,
    Asked,
    CannedPrometheus,
    Entry,
    Reply,
    answers,
    failure,
    success,
)

SCRAPE = timedelta(seconds=10)
NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
SINCE = NOW - timedelta(seconds=111)
"""The window that is looked at ends 11 s ago, so it is 100 s long."""

QUERY = MetricsQuery(
    namespace="prod",
    service="digits",
    ready_pods={"new": 1, "old": 1},
    since=SINCE,
    now=NOW,
    interval=timedelta(seconds=30),
    latency_thresholds={95: 0.25},
)

STEADY = (140, 130, 120, 110, 100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 0)
"""Ages of the scrapes of a pod, in seconds."""


def entry(name: str, values: Mapping[int, float | str], **labels: str) -> Entry:
    """A series with values by age, in seconds."""
    samples = [[NOW.timestamp() - age, str(value)] for age, value in sorted(values.items(), reverse=True)]
    return {
        "metric": {"__name__": name, "namespace": "prod", "inferenceservice": "digits", **labels},
        "values": samples,
    }


@dataclass(frozen=True)
class Pod:
    """A pod as Prometheus has scraped it; each counter stands at `before`, and rises 50 s ago."""

    revision: str
    succeeded: int = 0
    slow: int = 0
    failed: int = 0
    before: int = 7
    scrapes: tuple[int, ...] = STEADY
    le: str = "0.25"
    without: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def series(self) -> list[Entry]:
        name = self.labels.get("pod", f"digits-{self.revision}-0")
        labels = {"revision": self.revision, "pod": name, "instance": f"{name}:8080", **self.labels}
        bucket = "serinus_request_duration_seconds_bucket"
        every = [
            entry("serinus_build_info", dict.fromkeys(self.scrapes, 1), digest="d", server_version="1", **labels),
            entry("serinus_requests_total", self._counter(self.succeeded), code="200", **labels),
            entry("serinus_requests_total", self._counter(0), code="400", **labels),
            entry("serinus_requests_total", self._counter(self.failed), code="503", **labels),
            entry(bucket, self._counter(self.succeeded - self.slow), le=self.le, **labels),
            entry(bucket, self._counter(self.succeeded), le="+Inf", **labels),
        ]
        return [one for one in every if not {one["metric"]["__name__"], one["metric"].get("le")} & set(self.without)]

    def _counter(self, rise: int) -> dict[int, float | str]:
        return {age: self.before + (rise if age <= 50 else 0) for age in self.scrapes}


def scraped(*pods: Pod) -> list[Entry]:
    return [series for pod in pods for series in pod.series()]


GOOD = scraped(Pod("new"), Pod("old"))


@pytest.fixture
def canned() -> Iterator[CannedPrometheus]:
    server = CannedPrometheus(answers(GOOD))
    with server.running():
        yield server


def metrics(canned: CannedPrometheus, timeout: float = 10, namespace_label: str = "namespace") -> PrometheusMetrics:
    return PrometheusMetrics(
        canned.url, scrape_interval=SCRAPE, timeout=timedelta(seconds=timeout), namespace_label=namespace_label
    )


def counted(canned: CannedPrometheus, query: MetricsQuery = QUERY) -> Mapping[str, RevisionSample]:
    sample = metrics(canned).sample(query)
    assert sample is not None
    return sample.revisions


def complaint(canned: CannedPrometheus, query: MetricsQuery = QUERY, timeout: float = 10) -> str:
    with pytest.raises(MetricsUnavailableError) as raised:
        metrics(canned, timeout).sample(query)
    return str(raised.value)


NOTHING = RevisionSample(requests=0, errors=0, timed=0, slow={95: 0})


def test_requests_errors_and_slow_requests_are_counted_by_revision(canned: CannedPrometheus) -> None:
    pods = (
        Pod("new", succeeded=90, slow=30, failed=10),
        Pod("old", succeeded=500, slow=5, failed=1),
        Pod("old", succeeded=400, slow=5, failed=1, labels={"pod": "digits-old-1"}),
    )
    latency = [
        {"metric": {"revision": "new", "percentile": "95"}, "value": [0, "0.31"]},
        {"metric": {"revision": "old", "percentile": "95"}, "value": [0, "NaN"]},
    ]
    canned.answer = answers(scraped(*pods), latency)
    assert counted(canned, replace(QUERY, ready_pods={"new": 1, "old": 2})) == {
        "new": RevisionSample(requests=100, errors=10, timed=90, slow={95: 30}, latencies={95: 0.31}),
        "old": RevisionSample(requests=902, errors=2, timed=900, slow={95: 10}),
    }


def test_each_percentile_has_its_threshold(canned: CannedPrometheus) -> None:
    pod = Pod("new", succeeded=90, slow=30).series()
    shorter = [dict(one, metric={**one["metric"], "le": "0.05"}) for one in Pod("new", succeeded=90, slow=70).series()]
    latency = [
        {"metric": {"revision": "new", "percentile": "50"}, "value": [0, "0.08"]},
        {"metric": {"revision": "new", "percentile": "99"}, "value": [0, "0.31"]},
    ]
    canned.answer = answers([*pod, shorter[4]], latency)
    query = replace(QUERY, latency_thresholds={99: 0.25, 50: 0.05}, ready_pods={"new": 1})
    sample = counted(canned, query)["new"]
    assert (sample.slow, sample.latencies) == ({50: 70, 99: 30}, {50: 0.08, 99: 0.31})
    assert len(canned.asked) == 2, "one query for all that counts, one for all percentiles that are shown"
    canned.answer = answers(pod, latency)
    assert "has no bucket of 0.05 s" in complaint(canned, query)


@dataclass(frozen=True)
class Look:
    """Pods as scraped, and what is said of them: the counts of the new revision, or words of the complaint."""

    pods: tuple[Pod, ...]
    said: RevisionSample | str
    query: MetricsQuery = QUERY


ZERO_TRAFFIC_VERSUS_MISSING_SCRAPE = {
    "no_traffic": Look((Pod("new"), Pod("old")), NOTHING),
    "one_scrape_failed": Look((Pod("new", scrapes=(120, 100, 60, 30, 20)), Pod("old")), NOTHING),
    "no_ready_pod_and_no_series": Look((Pod("old"),), NOTHING, replace(QUERY, ready_pods={"new": 0, "old": 1})),
    "a_ready_pod_was_never_scraped": Look(
        (Pod("old"),), "has scraped 0 of the 1 ready pods of revision new in the 30s before 02:59:49 UTC"
    ),
    "one_of_two_ready_pods_is_not_scraped": Look(
        (Pod("new"), Pod("old")), "scraped 1 of the 2 ready pods of revision new", replace(QUERY, ready_pods={"new": 2})
    ),
    "a_pod_is_scraped_no_more": Look(
        (Pod("new", scrapes=STEADY[:-5]), Pod("old")), "Its targets page says why it misses some of serinus_build_info{"
    ),
    "a_pod_is_scraped_again_only_since_the_window_ended": Look(
        (Pod("new", scrapes=(140, 130, 120, 60, 50, 8)), Pod("old")),
        "has scraped 0 of the 1 ready pods of revision new",
    ),
    "prometheus_scrapes_no_more": Look(
        (Pod("new", scrapes=STEADY[:-6]), Pod("old", scrapes=STEADY[:-6])),
        "Its newest sample is 60 s old: it stopped scraping, or its clock differs",
    ),
    "nothing_is_scraped": Look((), "check that it scrapes the pods (they carry the annotation prometheus.io/scrape)"),
    "relabeling_drops_the_requests": Look(
        (Pod("new", without=("serinus_requests_total",)), Pod("old")),
        "has no series serinus_requests_total of revision new",
    ),
    "relabeling_drops_the_bucket_of_the_threshold": Look(
        (Pod("new", without=("0.25",)), Pod("old")),
        "has no bucket of 0.25 s in serinus_request_duration_seconds_bucket",
    ),
    "relabeling_drops_all_buckets": Look(
        (Pod("new", without=("serinus_request_duration_seconds_bucket",)), Pod("old")), "has no bucket of 0.25 s"
    ),
    "buckets_are_not_needed_when_latency_is_not_judged": Look(
        (Pod("new", without=("serinus_request_duration_seconds_bucket",)), Pod("old")),
        replace(NOTHING, slow={}),
        replace(QUERY, latency_thresholds={}),
    ),
    "a_pod_whose_model_is_not_loaded_yet_is_not_ready_and_not_needed": Look(
        (Pod("new", without=("serinus_build_info",)), Pod("old")),
        NOTHING,
        replace(QUERY, ready_pods={"new": 0, "old": 1}),
    ),
}


@pytest.mark.parametrize(
    "look", ZERO_TRAFFIC_VERSUS_MISSING_SCRAPE.values(), ids=ZERO_TRAFFIC_VERSUS_MISSING_SCRAPE.keys()
)
def test_zero_traffic_versus_missing_scrape(canned: CannedPrometheus, look: Look) -> None:
    canned.answer = answers(scraped(*look.pods))
    if isinstance(look.said, str):
        assert look.said in complaint(canned, look.query)
    else:
        assert counted(canned, look.query)["new"] == look.said


def _with_value(value: str) -> list[Entry]:
    spoiled = entry("serinus_requests_total", {50: value}, code="504", revision="new", pod="digits-new-0")
    return [*GOOD, spoiled]


TWICE = scraped(Pod("new"), Pod("new", labels={"job": "again"}), Pod("old"))

NAN_EMPTY_MULTIPLE_SERIES_PARTIAL_WARNINGS: dict[str, tuple[Answer, str]] = {
    "nan": (answers(_with_value("NaN")), 'serinus_requests_total{code="504",inferenceservice="digits"'),
    "infinite": (answers(_with_value("+Inf")), "has the value inf, which no counter has"),
    "negative": (answers(_with_value("-3")), "has the value -3, which no counter has"),
    "empty": (answers(), "has scraped 0 of the 1 ready pods"),
    "one_pod_under_two_jobs": (answers(TWICE), "digits-new-0:8080 is scraped twice"),
    "partial": (
        answers(GOOD, warnings=["store gateway-1 is unreachable"]),
        "warns that its answer may be partial: store gateway-1 is unreachable",
    ),
    "no_series": (lambda _: success([{"values": []}]), "answered without a list of series"),
    "a_scalar": (lambda _: success([1772334000, "1"]), "answered without a list of series"),
    "no_values": (lambda _: success([{"metric": {"__name__": "serinus_requests_total"}}]), "series of no known form"),
    "no_number": (answers(_with_value("many")), "series of no known form"),
    "latency_without_revision": (
        answers(GOOD, [{"metric": {"percentile": "95"}, "value": [0, "0.1"]}]),
        "series of no known form: KeyError('revision')",
    ),
}


@pytest.mark.parametrize(
    ("answer", "words"),
    NAN_EMPTY_MULTIPLE_SERIES_PARTIAL_WARNINGS.values(),
    ids=NAN_EMPTY_MULTIPLE_SERIES_PARTIAL_WARNINGS.keys(),
)
def test_nan_empty_multiple_series_partial_warnings(canned: CannedPrometheus, answer: Answer, words: str) -> None:
    canned.answer = answer
    assert words in complaint(canned)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answers(GOOD, infos=["PromQL info: metric might not be a counter"]), id="prometheus_3"),
        pytest.param(answers(GOOD, warnings=["PromQL info: metric might not be a counter"]), id="prometheus_2"),
    ],
)
def test_notes_on_style_spoil_no_look(canned: CannedPrometheus, answer: Answer) -> None:
    canned.answer = answer
    assert counted(canned)["new"] == NOTHING


def test_counter_reset_mid_window(canned: CannedPrometheus) -> None:
    """A container that restarts begins at 0; what it had counted until its last scrape counts, too."""
    restarted = {110: 1000, 100: 1004, 90: 2, 50: 5, 20: 5}
    fast = {110: 900, 100: 903, 90: 1, 50: 3, 20: 3}
    steady = dict.fromkeys(restarted, 1)
    labels = {"revision": "new", "pod": "digits-new-0"}
    bucket = "serinus_request_duration_seconds_bucket"
    canned.answer = answers(
        [
            entry("serinus_build_info", steady, **labels),
            entry("serinus_requests_total", {**restarted, 120: 990}, code="200", **labels),
            entry(bucket, {**fast, 120: 890}, le="0.25", **labels),
            entry(bucket, {**restarted, 120: 990}, le="+Inf", **labels),
            *scraped(Pod("old")),
        ]
    )
    # From the sample 120 s ago, the last before the window: 10 + 4, then the restart, 2 + 3.
    assert counted(canned)["new"] == RevisionSample(requests=19, errors=0, timed=19, slow={95: 3})


FAULTS: dict[str, tuple[Answer, str]] = {
    "500_without_json": (lambda _: Reply(b"Internal Server Error", 500), "answered with status 500 and no JSON"),
    "502_of_a_proxy": (lambda _: Reply(b"<html>Bad Gateway</html>", 502), "answered with status 502 and no JSON"),
    "422": (lambda _: failure(422, "query processing would load too many samples"), "422: query processing would load"),
    "503_timeout_of_the_query": (
        lambda _: failure(503, "query timed out"),
        "answered with status 503: query timed out",
    ),
    "401_without_reason": (lambda _: Reply(b"{}", 401), "answered with status 401: no reason given"),
    "error_with_status_200": (lambda _: Reply(b'{"status": "error", "error": "no"}'), "answered with status 200: no"),
    "not_json": (lambda _: Reply(b"<html>Sign in</html>"), "status 200 and no JSON: is the URL its own?"),
    "not_utf_8": (lambda _: Reply(b"\xff\xfe\x00"), "status 200 and no JSON"),
    "nothing": (lambda _: Reply(b""), "status 200 and no JSON"),
    "a_list": (lambda _: Reply(b"[]"), "answered with status 200: no reason given"),
    "no_result": (lambda _: Reply(b'{"status": "success", "data": {}}'), "answered without a list of series"),
    "no_data": (lambda _: Reply(b'{"status": "success"}'), "answered without a list of series"),
    "redirect_in_circles": (
        lambda _: Reply(b"", 302, {"Location": "/?query=a&time=0&timeout=0"}),
        "Exceeded 30 redirects",
    ),
    "redirect_to_nowhere": (lambda _: Reply(b"", 302), "answered with status 302 and no JSON"),
    "cut_short": (lambda _: replace(success(GOOD), is_cut=True), "cannot be asked: "),
    "a_long_reason": (lambda _: failure(400, "x" * 10_000), "x" * 500),
}


@pytest.mark.parametrize(("answer", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_told_and_never_taken_for_no_traffic(canned: CannedPrometheus, answer: Answer, words: str) -> None:
    canned.answer = answer
    message = complaint(canned)
    assert words in message
    assert message.startswith(f"Prometheus at {canned.url} ")
    assert len(message) < 700


@pytest.mark.parametrize("kind", ["samples", "latency", "elsewhere"])
def test_a_fault_of_any_of_the_queries_is_told(canned: CannedPrometheus, kind: str) -> None:
    good = answers([] if kind == "elsewhere" else GOOD)
    canned.answer = lambda asked: failure(500, "disk on fire") if asked.kind == kind else good(asked)
    assert "answered with status 500: disk on fire" in complaint(canned)


def test_a_redirect_is_followed(canned: CannedPrometheus) -> None:
    """As by a proxy that moves Prometheus below a path."""

    def moved(asked: Asked) -> Reply:
        if "moved" in asked.timeout:
            return success(GOOD if asked.promql == "samples" else [])
        return Reply(b"", 307, {"Location": f"/new?query={asked.kind}&time=0&timeout=moved"})

    canned.answer = moved
    assert counted(canned)["new"] == NOTHING


@pytest.mark.parametrize("begun", [b"", b'{"status": "success", '], ids=["at_all", "to_the_end"])
def test_a_prometheus_that_does_not_answer_is_given_up(canned: CannedPrometheus, begun: bytes) -> None:
    canned.answer = lambda _: Reply(begun, hangs=True)
    assert complaint(canned, timeout=0.1) == f"Prometheus at {canned.url} did not answer within 0.1 s"


def test_a_prometheus_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nowhere = PrometheusMetrics(
        f"http://reader:secret@127.0.0.1:{port}/",
        scrape_interval=SCRAPE,
        timeout=timedelta(seconds=5),
        namespace_label="namespace",
    )
    with pytest.raises(MetricsUnavailableError, match="Connection refused") as raised:
        nowhere.sample(QUERY)
    assert str(raised.value).startswith(f"Prometheus at http://127.0.0.1:{port}/ cannot be asked: ")


@pytest.mark.parametrize(
    ("elsewhere", "words"),
    [
        ([{"kubernetes_namespace": "prod"}], "set prometheus.namespaceLabel to kubernetes_namespace, where"),
        (
            [{"exported_namespace": "prod"}, {"ns": "prod"}],
            "set prometheus.namespaceLabel to exported_namespace or ns,",
        ),
        ([{"namespace": "another"}], "It knows no series serinus_build_info{"),
        ([], "the label namespace holds their namespace"),
    ],
)
def test_a_wrong_namespace_label_is_named(
    canned: CannedPrometheus, elsewhere: list[dict[str, str]], words: str
) -> None:
    canned.answer = answers(elsewhere=[{"metric": labels, "value": [0, "1"]} for labels in elsewhere])
    assert words in complaint(canned)


@pytest.mark.parametrize(
    ("threshold", "written"),
    [
        (1, "1"),
        (1, "1.0"),
        (1, "1e+00"),
        (10, "10.0"),
        (0.25, "0.25"),
        (0.25, "0.250"),
        (0.0001, "0.0001"),
        (0.0001, "1e-04"),
    ],
)
def test_the_bound_is_found_however_it_is_written(canned: CannedPrometheus, threshold: float, written: str) -> None:
    canned.answer = answers(scraped(Pod("new", succeeded=9, slow=2, le=written), Pod("old", le=written)))
    sample = counted(canned, replace(QUERY, latency_thresholds={95: threshold}))["new"]
    assert (sample.timed, sample.slow) == (9, {95: 2})
    matcher = json.loads(re.findall(r'le=~("[^"]*")', canned.asked[0].promql)[0])
    assert re.fullmatch(matcher, written)
    assert re.fullmatch(matcher, "+Inf")
    assert re.fullmatch(matcher, ""), "series without a bound are asked for as well"
    assert not any(re.fullmatch(matcher, another) for another in ("5", "0.5", "11", "100", "0.2", "0.2501"))


def test_the_query_names_the_service_and_its_revisions_only(canned: CannedPrometheus) -> None:
    hostile = replace(QUERY, namespace='pr"od\\', service="x|.*", ready_pods={"a.b": 0, "c": 0})
    sample = PrometheusMetrics(
        canned.url, scrape_interval=SCRAPE, timeout=timedelta(seconds=2.5), namespace_label="kubernetes_namespace"
    ).sample(hostile)
    assert sample is not None
    samples, latency = canned.asked
    selector = r'kubernetes_namespace="pr\"od\\", inferenceservice="x|.*", revision=~"a\\.b|c"'
    assert samples.promql.startswith("{" + selector + ", __name__=~")
    assert samples.promql.endswith("}[151000ms]"), "from 4 scrapes before the window until now"
    assert samples.time == f"{NOW.timestamp():.3f}"
    assert sample.query == f"{samples.promql} @ {samples.time}", "a person can ask the same again"
    assert "{" + selector + "}[100000ms]" in latency.promql
    assert latency.time == f"{(NOW - timedelta(seconds=11)).timestamp():.3f}"
    assert (samples.timeout, latency.timeout) == ("2500ms", "2500ms")


WINDOWS: dict[str, tuple[timedelta | None, timedelta, float | None]] = {
    # Since how long ago the last look ended, the interval, and how long the window is, in seconds.
    "at_the_first_look_the_interval": (None, timedelta(seconds=60), 60),
    "at_the_first_look_at_least_2_scrapes": (None, timedelta(seconds=15), 20),
    "since_the_last_look": (timedelta(seconds=61), timedelta(seconds=30), 50),
    "of_2_scrapes_is_long_enough": (timedelta(seconds=31), timedelta(seconds=30), 20),
    "under_2_scrapes_is_too_short": (timedelta(seconds=30.999), timedelta(seconds=30), None),
    "ends_before_the_last_look": (timedelta(seconds=5), timedelta(seconds=30), None),
    "after_a_long_outage_is_cut": (timedelta(days=1), timedelta(seconds=30), MAX_WINDOW_SCRAPES * 10),
}


@pytest.mark.parametrize(("age", "interval", "seconds"), WINDOWS.values(), ids=WINDOWS.keys())
def test_the_window(
    canned: CannedPrometheus, age: timedelta | None, interval: timedelta, seconds: float | None
) -> None:
    query = replace(QUERY, since=None if age is None else NOW - age, interval=interval)
    sample = metrics(canned).sample(query)
    if seconds is None:
        assert sample is None
        assert canned.asked == []
    else:
        assert sample is not None
        assert sample.until == NOW - timedelta(seconds=11)
        assert f"[{max(seconds, 40) * 1000:.0f}ms]" in canned.asked[1].promql, "a rate needs some samples"


class ScrapingPrometheus:
    """Answers from a history of scrapes: of pods that come, restart and go, with an outage of all scrapes between."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311
        begin = self._random.randrange(600, 2400)
        self._outage = range(begin, begin + self._random.randrange(20, 900))
        self.known = 0
        """Requests between two scrapes of the same pod, which is all that can be known."""
        self._pods = [self._pod(number) for number in range(6)]

    def _pod(self, number: int) -> tuple[dict[str, str], dict[float, int]]:
        begin = 0 if number == 0 else self._random.randrange(0, 1500, 10)
        samples: dict[float, int] = {}
        value = self._random.randrange(1000)
        for second in range(begin, 3600 if number == 0 else begin + self._random.randrange(300, 1500), 10):
            if second in self._outage:
                continue
            rise = self._random.randrange(20)
            if samples:
                self.known += rise
            restarts = self._random.random() < 0.02 and value > rise
            value = rise if restarts else value + rise
            jitter = self._random.randrange(1000) / 1000
            samples[NOW.timestamp() + second + jitter] = value
        return {"pod": f"digits-new-{number}", "instance": f"10.0.0.{number}:8080"}, samples

    def ready(self, now: datetime) -> int:
        """How many pods run."""
        lives = [(min(samples), max(samples)) for _, samples in self._pods]
        return sum(begin <= now.timestamp() <= end for begin, end in lives)

    def __call__(self, asked: Asked) -> Reply:
        if asked.kind != "samples":
            return success([])
        reach = re.search(r"\[(\d+)ms\]$", asked.promql)
        assert reach
        now = float(asked.time)
        result: list[Entry] = []
        for pod, samples in self._pods:
            seen = {time: value for time, value in samples.items() if now - int(reach[1]) / 1000 < time <= now}
            if not seen:
                continue
            labels = {"revision": "new", **pod}
            requests = {"__name__": "serinus_requests_total", "code": "200", **labels}
            result += [
                {"metric": {"__name__": "serinus_build_info", **labels}, "values": [[time, "1"] for time in seen]},
                {"metric": requests, "values": [[time, str(value)] for time, value in seen.items()]},
            ]
        return success(result)


@pytest.mark.parametrize("seed", range(12))
def test_windows_that_meet_exactly_count_every_request_once(canned: CannedPrometheus, seed: int) -> None:
    prometheus = ScrapingPrometheus(seed)
    canned.answer = prometheus
    ticks = random.Random(seed)  # noqa: S311
    source = metrics(canned)
    now, since, total = NOW + timedelta(seconds=31), NOW - timedelta(seconds=40), 0
    while since < NOW + timedelta(seconds=3600):
        ready = {"new": prometheus.ready(now)}
        query = replace(QUERY, now=now, since=since, ready_pods=ready, latency_thresholds={})
        sample = None
        with suppress(MetricsUnavailableError):
            sample = source.sample(query)
        if sample is not None:
            total += sample.revisions["new"].requests
            since = sample.until
        now += timedelta(seconds=ticks.uniform(5, 90))
    assert total == prometheus.known
