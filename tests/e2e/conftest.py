"""The test cluster with Serinus installed, the digits models in its store, and a namespace for each test."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.digits import dataset, train
from examples.digits.requests import labelled_requests
from tests.cluster import Cluster, ClusterError, ensure, installation, object_store
from tests.cluster.inference_service import InferenceServiceHandle
from tests.cluster.selection import choose
from tests.cluster.traffic import Exchange
from tests.e2e.manifests import SERVICE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster with the chart installed. One that was not up before is taken down again."""
    was_up = choose().running()
    try:
        cluster = ensure()
        installation.install(cluster)
    except ClusterError as error:
        pytest.fail(f"the test cluster cannot be had: {error}", pytrace=False)
    yield cluster
    if not was_up:
        cluster.down()


@pytest.fixture(scope="session")
def models(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, train.Model]:
    """The digits models by version, in the object store too."""
    trained = train.train(tmp_path_factory.mktemp("digits"))
    object_store.upload(cluster, {f"digits/{one.version}/model.onnx": one.path for one in trained})
    return {one.version: one for one in trained}


@pytest.fixture(scope="session")
def exchanges() -> list[Exchange]:
    """The digits' test images as requests."""
    return [Exchange(request.body, request.label) for request in labelled_requests(dataset.load())]


@pytest.fixture
def service(cluster: Cluster, models: dict[str, train.Model]) -> Iterator[InferenceServiceHandle]:
    """The digits service, not yet applied, in a namespace of its own with the Secret to fetch models."""
    with _service(cluster) as handle:
        yield handle


@pytest.fixture(scope="module")
def shared_service(cluster: Cluster, models: dict[str, train.Model]) -> Iterator[InferenceServiceHandle]:
    """The same for all tests of a module."""
    with _service(cluster) as handle:
        yield handle


@contextmanager
def _service(cluster: Cluster) -> Iterator[InferenceServiceHandle]:
    namespace = f"e2e-{secrets.token_hex(4)}"
    cluster.kubectl("apply", "--server-side", "-f", "-", input=installation.restricted_namespace(namespace))
    object_store.grant_access(cluster, namespace)
    yield InferenceServiceHandle(cluster, namespace, SERVICE)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
