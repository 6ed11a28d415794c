"""Requests are counted exactly through a real Prometheus that scrapes what the server exposes."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import requests

from serinus.adapters.prometheus import PrometheusMetrics
from serinus.ports import MetricsQuery, MetricsSample, MetricsUnavailableError, RevisionSample
from tests.contract.prometheus_server import SCRAPE, Pod, PrometheusServer

BEFORE_PROMETHEUS = 1000
"""Requests that each pod has answered before it is scraped for the first time."""

PATIENCE_SECONDS = 30.0
NOTHING = RevisionSample(requests=0, errors=0, timed=0, slow={95: 0})

PODS = {
    pod.name: pod
    for pod in (
        Pod("counted-new-0", "counted", "new"),
        Pod("counted-new-1", "counted", "new"),
        Pod("counted-old-0", "counted", "old"),
        Pod("moving-new-0", "moving", "new"),
        Pod("moving-new-1", "moving", "new"),
        Pod("outlasting-new-0", "outlasting", "new"),
        Pod("mislabelled-new-0", "mislabelled", "new", namespace_label="kubernetes_namespace"),
        Pod("half-new-0", "half", "new"),
    )
}
ABSENT = ("moving-new-1",)
"""Pods that come later."""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that was started after the pods have answered requests."""
    server = PrometheusServer(tmp_path_factory.mktemp("prometheus"))
    with ExitStack() as stack:
        for pod in PODS.values():
            pod.answer(BEFORE_PROMETHEUS)
            if pod.name not in ABSENT:
                stack.enter_context(pod.running())
        server.configure(list(PODS.values()))
        stack.callback(server.stop)
        server.start()
        yield server


@dataclass
class Looks:
    """The looks that are taken at a service during a rollout, and what they have counted so far."""

    source: PrometheusMetrics
    service: str
    ready_pods: Mapping[str, int]
    thresholds: Mapping[int, float] = field(default_factory=lambda: {95: 0.25})
    since: datetime | None = None
    seen: list[MetricsSample] = field(default_factory=list)

    def take(self) -> MetricsSample | None:
        """Take a look, as often as one likes."""
        sample = self.source.sample(
            MetricsQuery(
                namespace="prod",
                service=self.service,
                ready_pods=self.ready_pods,
                since=self.since,
                now=datetime.now(UTC),
                interval=timedelta(seconds=1),
                latency_thresholds=self.thresholds,
            )
        )
        if sample is not None:
            self.seen.append(sample)
            self.since = sample.until
        return sample

    def look(self) -> None:
        """Look until there is something to see."""
        self._look_until(datetime.min.replace(tzinfo=UTC))

    def look_at_all(self) -> None:
        """Look until all that has happened up to now is counted, even if a scrape fails."""
        self._look_until(datetime.now(UTC) + 2 * SCRAPE)

    def _look_until(self, end: datetime) -> None:
        """As the operator does: what cannot be counted now is counted by a later look."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        sample = None
        while sample is None or sample.until < end:
            assert time.monotonic() < deadline
            with suppress(MetricsUnavailableError):
                sample = self.take()
            time.sleep(0.1)

    def counted(self, revision: str) -> RevisionSample:
        """All requests of a revision so far."""
        own = [sample.revisions[revision] for sample in self.seen]
        return RevisionSample(
            requests=sum(sample.requests for sample in own),
            errors=sum(sample.errors for sample in own),
            timed=sum(sample.timed for sample in own),
            slow={one: sum(sample.slow[one] for sample in own) for one in self.thresholds},
        )


def source(server: PrometheusServer, path: str = "", namespace_label: str = "namespace") -> PrometheusMetrics:
    return PrometheusMetrics(
        server.url + path, scrape_interval=SCRAPE, timeout=timedelta(seconds=10), namespace_label=namespace_label
    )


def test_every_request_is_counted_once_and_none_from_before(prometheus: PrometheusServer) -> None:
    looks = Looks(source(prometheus), "counted", {"new": 2, "old": 1})
    coarse = Looks(source(prometheus), "counted", {"new": 2, "old": 1}, thresholds={99: 1, 50: 0.1})
    new, other, old = (PODS[f"counted-{name}"] for name in ("new-0", "new-1", "old-0"))
    looks.look()
    coarse.look()
    new.answer(30)
    new.answer(5, seconds=0.25)
    new.answer(7, seconds=0.3)
    other.answer(2, seconds=1.5)
    new.answer(3, code=503)
    new.answer(1, code=504)
    new.answer(4, code=400)
    looks.look_at_all()
    other.restart()
    other.answer(6)
    old.answer(200)
    old.answer(1, code=500)
    looks.look_at_all()
    coarse.look_at_all()
    assert looks.seen[0].revisions == {"new": NOTHING, "old": NOTHING}
    assert looks.counted("new") == RevisionSample(58, 4, 50, {95: 9})
    assert looks.counted("old") == RevisionSample(201, 1, 200, {95: 0})
    assert coarse.counted("new") == RevisionSample(58, 4, 50, {50: 14, 99: 2})
    shown = [sample.revisions["new"].latencies for sample in coarse.seen if sample.revisions["new"].timed]
    assert shown
    assert all(0 < latencies[50] < latencies[99] <= 2.5 for latencies in shown)


def test_what_a_look_asked_can_be_asked_again(prometheus: PrometheusServer) -> None:
    looks = Looks(source(prometheus), "counted", {"new": 2, "old": 1})
    looks.look()
    asked = {"query": looks.seen[-1].query}
    reply = requests.get(f"{prometheus.url}/api/v1/query", params=asked, timeout=10).json()
    assert {series["metric"]["revision"] for series in reply["data"]["result"]} == {"new", "old"}


def test_pods_that_come_and_go(prometheus: PrometheusServer) -> None:
    looks = Looks(source(prometheus), "moving", {"new": 1})
    stays, comes = PODS["moving-new-0"], PODS["moving-new-1"]
    looks.look()
    with comes.running():
        looks.ready_pods = {"new": 2}
        looks.look()
        comes.answer(11)
        stays.answer(2)
        looks.look_at_all()
    looks.ready_pods = {"new": 1}
    stays.answer(5)
    looks.look_at_all()
    assert looks.counted("new") == RevisionSample(18, 0, 18, {95: 0})


def test_a_ready_pod_that_is_not_scraped(prometheus: PrometheusServer) -> None:
    Looks(source(prometheus), "half", {"new": 1}).look()
    with pytest.raises(
        MetricsUnavailableError, match="has scraped 1 of the 2 ready pods of revision new in the 1s500ms"
    ):
        Looks(source(prometheus), "half", {"new": 2}).take()


def test_a_service_that_is_not_scraped(prometheus: PrometheusServer) -> None:
    with pytest.raises(MetricsUnavailableError, match="It knows no series serinus_build_info"):
        Looks(source(prometheus), "unheard-of", {"new": 1}).take()


def test_the_namespace_stands_in_another_label(prometheus: PrometheusServer) -> None:
    with pytest.raises(MetricsUnavailableError, match=r"set prometheus\.namespaceLabel to kubernetes_namespace, where"):
        Looks(source(prometheus), "mislabelled", {"new": 1}).take()
    source_of_it = source(prometheus, namespace_label="kubernetes_namespace")
    looks = Looks(source_of_it, "mislabelled", {"new": 1})
    looks.look()
    assert looks.counted("new") == NOTHING


def test_a_name_with_quotes_is_a_name(prometheus: PrometheusServer) -> None:
    with pytest.raises(MetricsUnavailableError, match="It knows no series"):
        Looks(source(prometheus), 'x"} or vector(1) #\\', {"a|b.*(": 1}).take()


def test_a_url_below_which_there_is_no_prometheus(prometheus: PrometheusServer) -> None:
    with pytest.raises(MetricsUnavailableError, match="answered with status 404 and no JSON: is the URL its own"):
        Looks(source(prometheus, "/graphite"), "counted", {"new": 1}).take()


def test_an_outage_of_prometheus_is_told_and_no_request_is_lost(prometheus: PrometheusServer) -> None:
    looks = Looks(source(prometheus), "outlasting", {"new": 1})
    pod = PODS["outlasting-new-0"]
    looks.look()
    pod.answer(3)
    prometheus.stop()
    pod.answer(4)
    with pytest.raises(MetricsUnavailableError, match=r"cannot be asked: .*Connection refused"):
        Looks(source(prometheus), "outlasting", {"new": 1}).take()
    prometheus.start()
    looks.look()
    pod.answer(5)
    looks.look_at_all()
    assert looks.counted("new") == RevisionSample(12, 0, 12, {95: 0})
