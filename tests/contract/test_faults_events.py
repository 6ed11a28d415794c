"""What the operator sees late, twice, out of order or not at all leads to the same end."""

import random
from typing import Any

import pytest

from serinus.core.observe import Children
from serinus.core.projection import slim_service
from serinus.ports import ApiConflictError, ApiRefusedError, ApiUnavailableError
from serinus.reconciler import REFUSED_RETRY
from tests.cluster.control_plane import ControlPlane
from tests.contract import api
from tests.contract.operators import VERSION_2
from tests.contract.test_faults_deaths import QUICK, creations_and_deletions, outcome, played, promotion
from tests.contract.world import NAME, World


class ForgetfulWorld(World):
    """A world of which the operator sees, kind by kind, some earlier state or the present one."""

    def __init__(self, server: ControlPlane, namespace: str, seed: int) -> None:
        super().__init__(server.api, namespace)
        self.chance = random.Random(seed)  # noqa: S311 - the same disorder each time
        self.services: list[dict[str, Any]] = []
        self.seen: list[Children] = []

    def children(self, name: str = NAME) -> Children:
        """What the watches hold: each kind as it was at a time of its own."""
        self.seen.append(super().children(name))
        kinds = (
            *("config_maps", "deployments", "controller_revisions", "services"),
            *("autoscalers", "disruption_budgets", "pods"),
        )
        return Children(**{kind: getattr(self._some(self.seen), kind) for kind in kinds})

    def glance(self) -> None:
        """Have a visit that starts from what is out of date; one that is refused for it is made again later."""
        self.services.append(slim_service(self.service()))
        try:
            self.reconciler.reconcile(self._some(self.services), self.children())
        except (ApiConflictError, ApiRefusedError, ApiUnavailableError):
            return

    def _some(self, history: list[Any]) -> Any:  # noqa: ANN401 - one of the list
        return self.chance.choice(history[-4:])


def serves(world: World, version: str) -> bool:
    """Whether the version has a Deployment."""
    versions = [one["metadata"]["labels"]["app.kubernetes.io/version"] for one in world.objects("Deployment")]
    return version in versions


@pytest.mark.parametrize("seed", range(4))
def test_events_dropped_duplicated_reordered(seed: int, server: ControlPlane, namespace: str) -> None:
    """While a version is deployed and another rolled out, three visits in four start from the past."""
    expected = played(server, promotion)
    world = ForgetfulWorld(server, namespace, seed)
    visit = world.visit

    def disordered(name: str = NAME) -> Any:  # noqa: ANN401 - the result of the visit
        for _ in range(3):
            world.glance()
        assert serves(world, "1") or world.status().stable != expected.status().stable or serves(world, "2")
        world.seen[:] = [World.children(world)]
        return visit(name)

    world.visit = disordered  # type: ignore[method-assign]
    promotion(world)
    assert outcome(world) == outcome(expected)
    assert set(creations_and_deletions(expected)) <= set(creations_and_deletions(world))


def test_namespace_terminating(world: World) -> None:
    """What cannot be made any more is said and tried seldom; what is there goes on."""
    world.deploy(QUICK)
    api.send(world.server, "DELETE", f"/api/v1/namespaces/{world.namespace}")
    api.delete(world.server, world.only("Service"))
    world.edit(VERSION_2)
    for _ in range(3):
        world.visit()
    assert len(world.requests_of_a_visit()) == 1
    result = world.visit()
    assert result.again_after is None or result.again_after >= REFUSED_RETRY
    stalled = world.condition("Stalled")
    assert stalled["reason"] == "WriteRefused"
    assert f"{world.namespace} is being" in stalled["message"]
    assert serves(world, "1")
    assert world.objects("Service") == []
    assert world.condition("Ready")["status"] == "True"
