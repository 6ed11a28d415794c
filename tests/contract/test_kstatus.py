"""What kstatus, by which Flux and kpt wait for what they have applied, makes of a service in each situation.

The rules are its own: the program below `tests/cluster/binaries/kstatus` is that library and prints what it says.
"""

import json
from collections.abc import Callable
from typing import Final

import pytest

from serinus.api.status import Phase
from serinus.config import Settings
from serinus.reconciler import Reconciler
from tests.cluster import binaries, commands
from tests.contract import api
from tests.contract.manifests import Manifest
from tests.contract.world import NAME, World, traffic

UPGRADED: Final = Settings.model_validate(
    {"server": {"image": "serinus-server:2"}, "prometheus": {"url": "http://127.0.0.1:1"}}
)

PORT: Final = {"name": "http", "port": 80}


def kstatus(service: Manifest) -> str:
    """Its word for the object."""
    return commands.run([binaries.built(binaries.KSTATUS)], stdin=json.dumps(service)).strip()


def created(world: World) -> None:
    world.create()


def deploying(world: World) -> None:
    world.create()
    world.settle()


def deployed(world: World) -> None:
    world.deploy()


def unseen(world: World) -> None:
    world.deploy()
    world.edit({"spec.model.version": "2"})


def mid_canary(world: World) -> None:
    unseen(world)
    world.run_until(Phase.PROGRESSING)


def paused(world: World) -> None:
    world.deploy({"spec.canary.promotion": "Manual"})
    world.edit({"spec.model.version": "2"})
    assert world.run_until(Phase.PAUSED).rollout.reason == "ManualPromotion"


def rolled_back(world: World) -> None:
    mid_canary(world)
    world.metrics.canary = traffic(200, errors=60)
    world.run_until(Phase.ROLLED_BACK)


def invalid(world: World) -> None:
    world.deploy()
    world.edit({"spec.canary.traffic.mode": "GatewayAPI"})
    world.settle()
    assert world.condition("Ready")["reason"] == "InvalidSpec"


def refused(world: World) -> None:
    metadata = {"name": NAME, "namespace": world.namespace}
    api.create(world.server, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [PORT]}})
    world.create()
    world.visit()
    world.visit()


def outdated(world: World) -> None:
    world.deploy()
    world.reconciler = Reconciler(world.kube, world.metrics, world.recorder, UPGRADED, lambda: world.now)
    world.settle()
    assert world.condition("TemplateUpToDate")["status"] == "False"


def suspended(before: Callable[[World], None]) -> Callable[[World], None]:
    def suspend(world: World) -> None:
        before(world)
        world.edit({"spec.suspend": True})
        world.settle()

    return suspend


def deleted(world: World) -> None:
    world.deploy()
    world.edit({"metadata.finalizers": ["example.com/keep"]})
    api.delete(world.server, world.service())
    world.visit()


SITUATIONS: Final[dict[str, tuple[Callable[[World], None], str]]] = {
    "no operator has seen it": (created, "InProgress"),
    "the first version is being deployed": (deploying, "InProgress"),
    "it serves": (deployed, "Current"),
    "the spec has changed and nobody has seen it": (unseen, "InProgress"),
    "in mid-canary": (mid_canary, "InProgress"),
    "waits for a person": (paused, "Current"),
    "rolled back": (rolled_back, "Failed"),
    "the spec is invalid": (invalid, "Failed"),
    "a write is refused": (refused, "Failed"),
    "the platform has a newer template": (outdated, "Current"),
    "suspended while it serves": (suspended(deployed), "Current"),
    "suspended in mid-canary": (suspended(mid_canary), "Current"),
    "suspended before it serves": (suspended(deploying), "InProgress"),
    "suspended after a rollback": (suspended(rolled_back), "Failed"),
    "being deleted": (deleted, "Terminating"),
}


@pytest.mark.parametrize(("situation", "expected"), SITUATIONS.values(), ids=SITUATIONS.keys())
def test_kstatus(world: World, situation: Callable[[World], None], expected: str) -> None:
    situation(world)
    service = world.service()
    assert kstatus(service) == expected
    types = {one["type"] for one in service["status"].get("conditions", [])}
    assert not {"Reconciling", "Stalled"} <= types, "it is both under way and stalled"
