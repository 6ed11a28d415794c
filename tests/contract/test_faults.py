"""Operators as processes on a real API server, while the network and the API server misbehave."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from serinus.core.names import policy_name
from tests.cluster.control_plane import ControlPlane
from tests.cluster.faulty_proxy import Answer, Delay, Fault, Request
from tests.contract import api
from tests.contract.operators import (
    VERSION_2,
    children,
    deploy,
    eventually,
    is_at_rest,
    is_stable,
    phase,
    promote_version_2,
    running,
)
from tests.contract.world import NAME, World


def status(code: int, reason: str) -> bytes:
    """What the API server answers when something is wrong."""
    return json.dumps(
        {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": reason}
    ).encode()


def test_api_server_down_then_back(server: ControlPlane, world: World, tmp_path: Path) -> None:
    with running(server, world.namespace, tmp_path) as operator:
        deploy(world)
        operator.proxy.go_down()
        world.edit(VERSION_2)
        api.delete(server.api, world.only("Service"))
        time.sleep(3)
        assert operator.process.get("/healthz") == (200, "ok")
        assert not world.objects("Service")
        operator.proxy.come_up()
        eventually(lambda: world.objects("Service"), "what was deleted meanwhile is made again")
        eventually(lambda: len(world.objects("Deployment")) == 2, "what was asked for meanwhile is begun")
        assert operator.process.process.poll() is None


STORMS = {
    "429": [Answer(429, status(429, "TooManyRequests"), {"Retry-After": "1"})],
    "500_409_410": [
        Answer(500, status(500, "InternalError")),
        Answer(503, b"<html>upstream connect error</html>", {"Content-Type": "text/html"}),
        Answer(409, status(409, "Conflict")),
        Answer(410, status(410, "Expired")),
    ],
}


@pytest.mark.parametrize("answers", STORMS.values(), ids=STORMS.keys())
def test_api_429_500_409_410_storms(answers: list[Answer], server: ControlPlane, world: World, tmp_path: Path) -> None:
    """Of all requests, lists and watches too, three in four fail for some seconds; then all is as without it."""
    chance = random.Random(4)  # noqa: S311 - the same storm each time

    def storm(request: Request) -> Fault | None:
        return chance.choice(answers) if chance.random() < 0.75 else None

    with running(server, world.namespace, tmp_path, {"watchInactivityTimeout": "2s"}) as operator:
        operator.proxy.rule = storm
        world.create()
        time.sleep(3)
        operator.proxy.rule = lambda _: None
        eventually(lambda: phase(world) == "Stable", "it is deployed after the storm", world.make_ready)
        eventually(lambda: is_at_rest(world), "it comes to rest")
        assert sorted(children(world)) == sorted(
            f"{kind} {name}"
            for kind, name in (
                ("ConfigMap", policy_name(NAME)),
                ("ControllerRevision", world.only("ControllerRevision")["metadata"]["name"]),
                ("Deployment", world.only("Deployment")["metadata"]["name"]),
                ("PodDisruptionBudget", NAME),
                ("Service", NAME),
            )
        )
        assert world.condition("Ready")["status"] == "True"
        assert operator.process.process.poll() is None


def test_a_list_that_is_refused_while_watches_wait_ends_nothing(
    server: ControlPlane, world: World, tmp_path: Path
) -> None:
    """What an API server that is being replaced looks like: it does not know the resource yet, or does not answer."""

    def replaced(request: Request) -> Fault | None:
        if "/services?" in request.path:
            return Answer(404, status(404, "NotFound"))
        return Delay(60) if request.is_watch else None

    with running(server, world.namespace, tmp_path, {"watchInactivityTimeout": "2s"}) as operator:
        deploy(world)
        operator.proxy.rule = replaced
        operator.proxy.blackhole_open_streams()
        eventually(lambda: "the watches ended" in operator.process.log.read_text(), "the watches end")
        operator.proxy.rule = lambda _: None
        world.edit(VERSION_2)
        eventually(lambda: len(world.objects("Deployment")) == 2, "the canary begins")
        assert operator.process.process.poll() is None


def test_watch_blackholed_is_noticed(server: ControlPlane, world: World, tmp_path: Path) -> None:
    with running(server, world.namespace, tmp_path, {"watchInactivityTimeout": "2s"}) as operator:
        deploy(world)
        operator.proxy.blackhole_open_streams()
        world.edit(VERSION_2)
        eventually(lambda: len(world.objects("Deployment")) == 2, "the canary begins")


def test_a_watch_that_lost_its_place_misses_no_deletion(server: ControlPlane, world: World, tmp_path: Path) -> None:
    """The API server has compacted its history: what was deleted meanwhile is told by no event."""
    gone = json.dumps({"type": "ERROR", "object": json.loads(status(410, "Expired"))}).encode() + b"\n"
    told: list[Request] = []

    def expire(request: Request) -> Fault | None:
        if request.is_watch and "/services?" in request.path and not told:
            told.append(request)
            return Answer(200, gone)
        return None

    with running(server, world.namespace, tmp_path) as operator:
        deploy(world)
        operator.proxy.go_down()
        api.delete(server.api, world.only("Service"))
        operator.proxy.rule = expire
        operator.proxy.come_up()
        eventually(lambda: world.objects("Service"), "what was deleted meanwhile is made again")
        assert told
        assert any("lost its place" in line["message"] for line in operator.process.lines())


def test_two_operators_without_election_converge(server: ControlPlane, world: World, tmp_path: Path) -> None:
    with (
        running(server, world.namespace, tmp_path / "a") as first,
        running(server, world.namespace, tmp_path / "b") as second,
    ):
        deploy(world, {"spec.canary": {"analysis": {"interval": "5s"}, "deadline": "1h"}})
        promote_version_2(world)
        eventually(lambda: is_at_rest(world), "they come to rest")
        assert len(world.objects("Deployment")) == 1
        assert len(world.objects("ControllerRevision")) == 2
        for operator in (first, second):
            assert operator.proxy.writes()
            assert operator.process.get("/healthz") == (200, "ok")


def test_leader_frozen_60s_makes_no_late_write(server: ControlPlane, world: World, tmp_path: Path) -> None:
    """The leader stops amid its writes for longer than its Lease is good for, and goes on where it stopped."""
    election = {"lease": {"namespace": world.namespace, "name": "serinus"}}
    with running(server, world.namespace, tmp_path / "a", election) as first:
        eventually(lambda: first.process.metric("serinus_operator_leading") == 1, "the first leads")
        with running(server, world.namespace, tmp_path / "b", election) as second:
            deploy(world)
            assert not second.proxy.writes()

            def freeze(request: Request) -> None:
                if request.method == "PUT" and "/status" in request.path:
                    os.kill(first.process.pid, signal.SIGSTOP)

            first.proxy.rule = freeze
            world.edit(VERSION_2)
            try:
                eventually(lambda: is_progressing(world), "the second takes over", world.make_ready)
            finally:
                first.proxy.rule = lambda _: None
                before = len(first.proxy.writes())
                os.kill(first.process.pid, signal.SIGCONT)
            eventually(lambda: first.process.metric("serinus_operator_leading") == 0, "the first stands by")
            time.sleep(3)
            assert first.proxy.writes()[before:] == []
            assert second.proxy.writes()
            assert first.process.get("/healthz") == (200, "ok")


def is_progressing(world: World) -> bool:
    return phase(world) in ("Progressing", "Paused") and is_stable(world, "1")
