"""A real API server for all tests of this folder, with the CustomResourceDefinition installed."""

import itertools
from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane, control_plane
from tests.contract.api import install_crd, send
from tests.contract.world import World

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[ControlPlane]:
    """The API server."""
    with control_plane() as running:
        install_crd(running)
        yield running


@pytest.fixture
def namespace(server: ControlPlane) -> str:
    """A namespace of the test's own."""
    name = f"test-{next(_numbers)}"
    send(server.api, "POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture
def world(server: ControlPlane, namespace: str) -> World:
    """The reconciler in that namespace."""
    return World(server.api, namespace)
