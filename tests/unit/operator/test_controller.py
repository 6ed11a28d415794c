"""The workers between the watches and the reconciler."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from serinus.controller import Controller, Key
from serinus.core.observe import Children
from serinus.core.projection import packed
from serinus.ports import ApiConflictError, Manifest, NotLeadingError
from serinus.reconciler import Reconciler, Result

FRAUD, SPAM = ("risk", "fraud"), ("mail", "spam")
INDICES = (
    "services",
    "config_maps",
    "deployments",
    "controller_revisions",
    "kubernetes_services",
    "autoscalers",
    "disruption_budgets",
)


def service(key: Key = FRAUD, version: int = 1, uid: str = "1") -> Manifest:
    return {"metadata": {"namespace": key[0], "name": key[1], "uid": uid, "resourceVersion": str(version)}}


class FakeReconciler:
    """Does as the test says, and keeps what it was given."""

    def __init__(self) -> None:
        self.visits: list[tuple[Manifest, Children]] = []
        self.forgotten: list[Key] = []
        self.outcomes: list[Result | Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.inside: list[str] = []

    def reconcile(self, manifest: Manifest, children: Children) -> Result:
        name = manifest["metadata"]["name"]
        assert name not in self.inside, "two workers visit the same service"
        self.inside.append(name)
        self.visits.append((manifest, children))
        self.gate.wait(10)
        self.inside.remove(name)
        outcome = self.outcomes.pop(0) if self.outcomes else Result()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def forget(self, namespace: str, name: str) -> None:
        self.forgotten.append((namespace, name))


class Bench:
    """A controller that leads, with indices that the test fills."""

    def __init__(self, workers: int) -> None:
        self.reconciler = FakeReconciler()
        self.controller = Controller(cast(Reconciler, self.reconciler), workers)
        self.indices: dict[str, dict[Key, list[bytes]]] = {name: {} for name in (*INDICES, "pods")}

    def see(self, manifest: Manifest) -> None:
        """What an event of the watch does."""
        key = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        self.indices["services"][key] = [packed(manifest)]
        self.controller.enqueue(key)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)

    async def visited(self, times: int) -> None:
        """Wait until there have been so many visits, and see that there are no more."""
        await self.until(lambda: len(self.reconciler.visits) >= times and not self.reconciler.inside)
        await asyncio.sleep(0.02)
        assert len(self.reconciler.visits) == times


def play(story: Callable[[Bench], Awaitable[None]], workers: int = 2) -> None:
    async def played() -> None:
        bench = Bench(workers)
        bench.controller.start(bench.indices)
        bench.controller.lead(True)
        try:
            await story(bench)
        finally:
            bench.reconciler.gate.set()
            await bench.controller.stop()

    asyncio.run(played())


def test_an_event_leads_to_a_visit_with_what_the_indices_hold() -> None:
    async def story(bench: Bench) -> None:
        children = {name: {"kind": name} for name in (*INDICES[1:], "pods")}
        for name, child in children.items():
            bench.indices[name] = {FRAUD: [packed(child)], SPAM: [packed({"kind": "other"})]}
        bench.see(service())
        await bench.visited(1)
        ((visited, seen),) = bench.reconciler.visits
        assert visited == service()
        assert seen == Children(
            deployments=(children["deployments"],),
            controller_revisions=(children["controller_revisions"],),
            services=(children["kubernetes_services"],),
            autoscalers=(children["autoscalers"],),
            disruption_budgets=(children["disruption_budgets"],),
            config_maps=(children["config_maps"],),
            pods=(children["pods"],),
        )

    play(story)


def test_events_during_a_visit_lead_to_one_more() -> None:
    async def story(bench: Bench) -> None:
        bench.reconciler.gate.clear()
        bench.see(service())
        await bench.until(lambda: bench.reconciler.inside)
        for _ in range(5):
            bench.see(service())
        bench.reconciler.gate.set()
        await bench.visited(2)

    play(story, workers=4)


def test_services_are_visited_side_by_side() -> None:
    async def story(bench: Bench) -> None:
        bench.reconciler.gate.clear()
        bench.see(service(FRAUD))
        bench.see(service(SPAM))
        await bench.until(lambda: sorted(bench.reconciler.inside) == ["fraud", "spam"])

    play(story)


@pytest.mark.parametrize(
    "fault",
    [
        ApiConflictError("modified"),
        NotLeadingError("another leads"),
        ConnectionError("reset"),
        ValueError("a bug"),
    ],
    ids=["conflict", "not_leading", "connection", "bug"],
)
def test_a_visit_that_failed_is_made_again(fault: Exception) -> None:
    async def story(bench: Bench) -> None:
        bench.reconciler.outcomes = [fault, fault]
        bench.see(service())
        await bench.visited(3)
        assert bench.controller.is_healthy()

    play(story)


def test_a_visit_says_when_the_next_is_due() -> None:
    async def story(bench: Bench) -> None:
        bench.reconciler.outcomes = [Result(again_after=timedelta(milliseconds=1)), Result(again_after=timedelta())]
        bench.see(service())
        await bench.visited(3)

    play(story)


def test_a_service_that_is_gone_is_forgotten() -> None:
    async def story(bench: Bench) -> None:
        bench.reconciler.outcomes = [Result(written=service(version=9))]
        bench.see(service())
        await bench.visited(1)
        bench.indices["services"].clear()
        bench.controller.enqueue(FRAUD)
        await bench.until(lambda: bench.reconciler.forgotten)
        assert bench.reconciler.forgotten == [FRAUD]
        assert len(bench.reconciler.visits) == 1
        bench.see(service(version=2, uid="2"))
        await bench.visited(2)
        assert bench.reconciler.visits[1][0] == service(version=2, uid="2")

    play(story)


def _written(**more: Any) -> Result:  # noqa: ANN401 - the parts of `service`
    return Result(written=service(**more))


@pytest.mark.parametrize(
    ("written", "seen", "visited"),
    [
        pytest.param(_written(version=9), service(version=1), service(version=9), id="the watch has yet to catch up"),
        pytest.param(_written(version=9), service(version=10), service(version=10), id="the numbers are numbers"),
        pytest.param(_written(version=9), service(version=9), service(version=9), id="the watch has caught up"),
        pytest.param(_written(version=9), service(version=11), service(version=11), id="somebody wrote after it"),
        pytest.param(_written(version=9), service(version=3, uid="2"), service(version=3, uid="2"), id="made anew"),
        pytest.param(Result(), service(version=2), service(version=2), id="nothing was written"),
    ],
)
def test_a_visit_starts_from_the_newest_that_is_known(written: Result, seen: Manifest, visited: Manifest) -> None:
    async def story(bench: Bench) -> None:
        bench.reconciler.outcomes = [written]
        bench.see(service())
        await bench.visited(1)
        bench.see(seen)
        await bench.visited(2)
        assert bench.reconciler.visits[1][0] == visited

    play(story)


def test_nothing_is_visited_while_another_leads_and_nothing_is_missed() -> None:
    async def story(bench: Bench) -> None:
        bench.controller.lead(False)
        for key in (FRAUD, SPAM):
            bench.see(service(key))
        await bench.visited(0)
        bench.controller.lead(True)
        await bench.visited(2)

    play(story)


def test_healthy_while_all_workers_live() -> None:
    async def story(bench: Bench) -> None:
        assert bench.controller.is_healthy()
        bench.controller._tasks[0].cancel()
        await bench.until(bench.controller._tasks[0].done)
        assert not bench.controller.is_healthy()

    play(story)


def test_not_healthy_before_the_start() -> None:
    async def story() -> bool:
        return Bench(2).controller.is_healthy()

    assert asyncio.run(story()) is False


def test_stopping_lets_the_visit_under_way_finish() -> None:
    ended: list[str] = []

    async def story(bench: Bench) -> None:
        bench.reconciler.gate.clear()
        bench.see(service())
        await bench.until(lambda: bench.reconciler.inside)
        stopping = asyncio.create_task(bench.controller.stop())
        await asyncio.sleep(0.02)
        assert not stopping.done()
        bench.reconciler.gate.set()
        await stopping
        assert bench.reconciler.inside == []
        ended.append("well")

    play(story)
    assert ended == ["well"]
