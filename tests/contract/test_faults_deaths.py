"""An operator that dies before or after any write leaves nothing that the next one does not put right."""

import itertools
from collections.abc import Callable, Iterator
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
        self._operate(MortalClient(server.configuration, dies_at, after=after))

    def _operate(self, through: RecordingClient) -> None:
        through.requests = self.client.requests
        self.client = through
        self.kube = KubernetesApi(through)
        self.reconciler = Reconciler(self.kube, self.metrics, self.recorder, SETTINGS, lambda: self.now)

    def visit(self, name: str = "fraud") -> Any:  # noqa: ANN401 - the result of the visit
        """Have the service reconciled; a second time, by another operator, where the first dies."""
        try:
            return super().visit(name)
        except DeadError:
            self.deaths += 1
            self._operate(RecordingClient(self.server.configuration))
            return super().visit(name)


def promotion(world: World) -> None:
    """A deployment, a canary and its promotion."""
    world.deploy(QUICK)
    world.edit(VERSION_2)
    world.run_until(Phase.STABLE)


def rollback(world: World) -> None:
    """A deployment, a canary, and the return to the version before."""
    world.deploy(QUICK)
    world.metrics.canary = traffic(200, errors=80)
    world.edit(VERSION_2)
    world.run_until(Phase.ROLLED_BACK)


STORIES: Final = {"promotion": promotion, "rollback": rollback}


def namespace_of_its_own(server: ControlPlane) -> str:
    name = f"deaths-{next(_numbers)}"
    api.send(server.api, "POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


def played(server: ControlPlane, story: Callable[[World], None], dies_at: int = 0, *, after: bool = False) -> World:
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


@pytest.fixture(scope="module", params=STORIES, name="story")
def _story(request: pytest.FixtureRequest) -> Iterator[Callable[[World], None]]:
    yield STORIES[request.param]


def test_operator_killed_before_and_after_every_write(story: Callable[[World], None], server: ControlPlane) -> None:
    undisturbed = played(server, story)
    assert isinstance(undisturbed.client, MortalClient)
    writes = len(undisturbed.client.writes)
    assert writes >= 20
    expected, expected_changes = outcome(undisturbed), creations_and_deletions(undisturbed)
    for number in range(1, writes + 1):
        for after in (False, True):
            world = played(server, story, number, after=after)
            assert outcome(world) == expected, f"died {'after' if after else 'before'} write {number}"
            assert creations_and_deletions(world) == expected_changes
