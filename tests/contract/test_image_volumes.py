"""An API server that knows no image volumes leaves them out of what is applied."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from serinus.reconciler import REFUSED_RETRY
from tests.cluster.control_plane import control_plane
from tests.contract.api import install_crd, send
from tests.contract.world import World


@pytest.fixture
def old_world() -> Iterator[World]:
    """A namespace of such a server."""
    with control_plane("--feature-gates=ImageVolume=false") as server:
        install_crd(server)
        send(server.api, "POST", "/api/v1/namespaces", {"metadata": {"name": "old"}})
        yield World(server.api, "old")


def test_image_volumes_that_are_left_out_are_told_and_not_fought_for(old_world: World) -> None:
    world = old_world
    world.create({"spec.model.uri": "oci://registry.example/fraud:1/model.onnx"})
    world.settle()
    [volumes] = [one["spec"]["template"]["spec"]["volumes"] for one in world.objects("Deployment")]
    assert "model" not in [volume["name"] for volume in volumes]
    stalled = world.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "WriteRefused")
    assert "is not kept as it is applied: the API server may leave out the image volume" in stalled["message"]
    before = world.versions()
    assert world.requests_of_a_visit() == []
    world.now += REFUSED_RETRY + timedelta(seconds=1)
    assert world.requests_of_a_visit() != [], "it is tried again in case the server knows them now"
    assert world.requests_of_a_visit() == []
    assert world.versions().keys() == before.keys()
    assert world.condition("Stalled") == stalled
