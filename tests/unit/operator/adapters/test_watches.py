"""What is known of the watches from kopf's requests and from the events."""

import asyncio
from http import HTTPStatus

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from yarl import URL

from serinus.adapters.watches import WatchLog

PODS, DEPLOYMENTS = "/api/v1/pods", "/apis/apps/v1/deployments"
RISK, MAIL = "/api/v1/namespaces/risk/pods", "/api/v1/namespaces/mail/pods"


class Bench:
    """A watch log on a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lost: list[str] = []
        self.log = WatchLog(lambda: self.now, frozenset({"pods", "deployments"}), self.lost.append)

    def list(self, path: str = PODS, **query: str) -> None:
        self.log.answered("LIST", URL(path).with_query(query))

    def watch(self, path: str = PODS) -> None:
        self.log.answered("WATCH", URL(path).with_query(watch="true", resourceVersion="1"))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_watch_ages_until_it_is_heard_of(bench: Bench) -> None:
    bench.list()
    bench.list(DEPLOYMENTS)
    bench.now += 10
    bench.watch()
    bench.now += 5
    assert bench.log.ages() == {"pods": 5.0, "deployments": 15.0}
    bench.log.event("deployments", "risk")
    assert bench.log.ages() == {"pods": 5.0, "deployments": 0.0}


def test_of_several_namespaces_the_oldest_counts(bench: Bench) -> None:
    bench.list(RISK)
    bench.list(MAIL)
    bench.now += 10
    bench.log.event("pods", "risk")
    assert bench.log.ages() == {"pods": 10.0}


def test_what_the_operator_does_not_work_on_has_no_age(bench: Bench) -> None:
    bench.list("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
    bench.log.answered("GET", URL("/api/v1/namespaces/risk/pods/fraud-1"))
    assert bench.log.ages() == {}
    assert bench.log.since_answer() == 0.0


def test_before_the_first_answer_nothing_was_answered(bench: Bench) -> None:
    assert bench.log.since_answer() == float("inf")


def test_a_place_is_lost_where_a_resource_is_listed_again(bench: Bench) -> None:
    bench.list()
    bench.list(DEPLOYMENTS)
    bench.watch()
    bench.watch()
    assert bench.lost == []
    bench.list()
    assert bench.lost == ["pods"]


def test_a_list_in_chunks_is_one_list(bench: Bench) -> None:
    bench.list(limit="500")
    bench.list(limit="500", **{"continue": "abc"})
    assert bench.lost == []


def test_each_namespace_is_listed_by_itself(bench: Bench) -> None:
    bench.list(RISK)
    bench.list(MAIL)
    assert bench.lost == []


def test_requests_of_a_session_are_counted_and_noted(bench: Bench) -> None:
    """On a real server: 200 is heard, 500 is counted only, and so is an answer that never comes."""

    async def answer(request: web.Request) -> web.Response:
        if "drop" in request.query and request.transport is not None:
            request.transport.close()
        return web.Response(status=int(request.query.get("status", HTTPStatus.OK)))

    async def story() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        [(host, port)] = [address[:2] for address in runner.addresses]
        async with aiohttp.ClientSession(f"http://{host}:{port}", trace_configs=[bench.log.trace()]) as session:
            await session.get(PODS, params={"status": "500"})
            assert bench.log.ages() == {}
            await session.get(PODS, params={"watch": "true"})
            with pytest.raises(aiohttp.ClientError):
                await session.get(DEPLOYMENTS, params={"drop": "1"})
        await runner.cleanup()

    before = {key: counted(*key) for key in (("LIST", "500"), ("WATCH", "200"), ("LIST", "none"))}
    asyncio.run(story())
    assert bench.log.ages() == {"pods": 0.0}
    assert counted("LIST", "500") == before["LIST", "500"] + 1
    assert counted("WATCH", "200") == before["WATCH", "200"] + 1
    assert counted("LIST", "none") > before["LIST", "none"]


def counted(verb: str, code: str) -> float:
    """Requests counted of a verb that were answered by a code."""
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "serinus_operator_api_requests_total"
        and (sample.labels["verb"], sample.labels["code"]) == (verb, code)
    )
