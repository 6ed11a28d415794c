"""An operator that dies before or after any write leaves nothing that the next one does not put right."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from kubernetes import client

from serinus.adapters.kube import KubernetesApi
from serinus.api.status import Phase
from serinus.reconciler import Reconciler
from tests.cluster.control_plane import ControlPlane
from tests.contract import api
from tests.contract.operators import VERSION_2, children
from tests.contract.world import SETTINGS, RecordingClient, World, traffic

QUICK: Final = {
    "spec.canary": {
        "steps": [{"weightPercent": 50, "duration": "30s"}],
        "analysis": {"interval": "30s"},
        "deadline": "1h",
    },
    "spec.autoscaling": {"minReplicas": 2, "maxReplicas": 4},
}

SIDE_BY_SIDE: Final = 4

Story = Callable[[World], None]

_numbers = itertools.count(1)


class DeadError(BaseException):
    """The process is gone: nobody catches this."""


class MortalClient(RecordingClient):
    """A client whose process dies before or after one of its writes."""

    def __init__(self, configuration: client.Configuration, dies_at: int, *, after: bool) -> None:
        super().__init__(configuration)
        self.dies_at = dies_at
        self.after = after
        self.writes: list[str] = []

    def call_api(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the client's signature
        """Send a request, or die."""
        if method == "GET":
            return super().call_api(method, url, *args, **kwargs)
        self.writes.append(method)
        if len(self.writes) == self.dies_at and not self.after:
            raise DeadError
        response = super().call_api(method, url, *args, **kwargs)
        if len(self.writes) == self.dies_at:
            raise DeadError
        return response


class MortalWorld(World):
    """A world whose operator dies once, and is replaced by one that remembers nothing."""

    def __init__(self, server: client.ApiClient, namespace: str, dies_at: int = 0, *, after: bool = False) -> None:
        super().__init__(server, namespace)
        self.deaths = 0
        self.first_writes: set[int] = set()
        """Numbers of the writes that were the first of their visits."""
        self._operate(MortalClient(server.configuration, dies_at, after=after))

    @property
    def writes(self) -> list[str]:
        """What an operator that does not die has written."""
        return [request for request in self.client.requests if not request.startswith("GET")]

    def _operate(self, through: RecordingClient) -> None:
        through.requests = self.client.requests
        self.client = through
        self.kube = KubernetesApi(through)
        self.reconciler = Reconciler(self.kube, self.metrics, self.recorder, SETTINGS, lambda: self.now)

    def visit(self, name: str = "fraud") -> Any:  # noqa: ANN401 - the result of the visit
        """Have the service reconciled; a second time, by another operator, where the first dies."""
        if isinstance(self.client, MortalClient):
            self.first_writes.add(len(self.client.writes) + 1)
        try:
            return super().visit(name)
        except DeadError:
            self.deaths += 1
            self._operate(RecordingClient(self.server.configuration))
            return super().visit(name)


def deployment(world: World) -> None:
    """A first version, which serves."""
    world.deploy(QUICK)


def promotion(world: World) -> None:
    """A canary and its promotion."""
    deployment(world)
    world.edit(VERSION_2)
    world.run_until(Phase.STABLE)


def rollback(world: World) -> None:
    """A canary, and the return to the version before."""
    deployment(world)
    world.metrics.canary = traffic(200, errors=80)
    world.edit(VERSION_2)
    world.run_until(Phase.ROLLED_BACK)


def namespace_of_its_own(server: ControlPlane) -> str:
    name = f"deaths-{next(_numbers)}"
    api.send(server.api, "POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


def played(server: ControlPlane, story: Story, dies_at: int = 0, *, after: bool = False) -> MortalWorld:
    world = MortalWorld(server.api, namespace_of_its_own(server), dies_at, after=after)
    story(world)
    assert world.deaths == (1 if dies_at else 0)
    return world


def outcome(world: World) -> dict[str, Any]:
    """What is left: the children, and what the status says but for times and the name of the namespace."""
    status = world.service()["status"]
    return {
        "children": children(world),
        "rollout": {key: status["rollout"].get(key) for key in ("phase", "reason", "weight", "stepIndex")},
        "stable": status["stable"],
        "canary": status.get("canary"),
        "conditions": {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]},
    }


def creations_and_deletions(world: World) -> list[str]:
    """What was made and what was removed of children, in any order; what was sent twice is told once."""
    verbs = ("POST", "DELETE")
    sent = (request.replace(world.namespace, "") for request in world.client.requests)
    return sorted({request for request in sent if request.startswith(verbs)})


def deaths(undisturbed: MortalWorld, written_before: int) -> Iterator[tuple[int, bool]]:
    """Each write after the first few, and whether the operator dies after it.

    Before a write that is not the first of its visit all is as it is after the one before, for whoever comes next.
    """
    for number in range(written_before + 1, len(undisturbed.writes) + 1):
        yield number, True
        if number in undisturbed.first_writes:
            yield number, False


@pytest.mark.parametrize(
    ("story", "former"),
    [
        pytest.param(deployment, None, id="deployment"),
        pytest.param(promotion, deployment, id="promotion"),
        pytest.param(rollback, deployment, id="rollback"),
    ],
)
def test_operator_killed_before_and_after_every_write(story: Story, former: Story | None, server: ControlPlane) -> None:
    """Of all that `story` writes beyond `former`."""
    undisturbed = played(server, story)
    written_before = len(played(server, former).writes) if former else 0
    expected, expected_changes = outcome(undisturbed), creations_and_deletions(undisturbed)
    assert len(undisturbed.writes) > written_before + 6

    def die(death: tuple[int, bool]) -> None:
        number, after = death
        world = played(server, story, number, after=after)
        assert outcome(world) == expected, f"died {'after' if after else 'before'} write {number}"
        assert creations_and_deletions(world) == expected_changes

    # Each in a namespace of its own, and most of the time waiting for the API server.
    with ThreadPoolExecutor(SIDE_BY_SIDE) as lives:
        list(lives.map(die, deaths(undisturbed, written_before)))
