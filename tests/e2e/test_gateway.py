"""Rollouts behind a real Gateway: Envoy shares the requests out by the weights of the HTTPRoute."""

import time

import pytest

from serinus.api.status import InferenceServiceStatus, Phase, Stage
from tests.cluster import Cluster, gateway, installation
from tests.cluster.inference_service import InferenceServiceHandle
from tests.cluster.traffic import Exchange, Gateway, flowing
from tests.e2e.expectations import HIGH_RATE, assert_nothing_lost, deploy, wait_promoted, wait_rolled_back
from tests.e2e.manifests import SERVICE, canary, digits

DOMAIN = "models.test"
WEIGHT = 10
LEAVING_SECONDS = 15


@pytest.fixture(scope="module")
def address(cluster: Cluster) -> str:
    """Where the Gateway answers."""
    gateway.install(cluster)
    return gateway.address(cluster)


def test_gateway_api_canary_and_rollback(
    cluster: Cluster, address: str, service: InferenceServiceHandle, exchanges: list[Exchange]
) -> None:
    settings = {"gateway.name": gateway.GATEWAY, "gateway.namespace": gateway.NAMESPACE, "gateway.domain": DOMAIN}
    host = f"{SERVICE}.{service.namespace}.{DOMAIN}"
    with installation.upgraded(cluster, settings):
        status = deploy(service, digits("1"))
        assert status.url == f"http://{host}"
        way = Gateway(address, host)
        with flowing(cluster, service.namespace, SERVICE, exchanges, HIGH_RATE, way) as traffic:
            service.apply(digits("2", canary=canary(WEIGHT, 50, seconds=20)))
            judged = service.wait_until(_has_been_measured, "the first step has been judged", 90)
            assert judged.replicas == "3/3"
            assert judged.rollout.weight.desired == judged.rollout.weight.applied == WEIGHT
            wait_promoted(service, "2")
            service.apply(digits("4", canary=canary(WEIGHT)))
            wait_rolled_back(service, "4")
            time.sleep(LEAVING_SECONDS)
            totals = traffic.stop()
        assert_nothing_lost(totals, but_errors_of="4")
        assert totals.of("4").failed > 0
        assert judged.rollout.weight.measured is not None
        assert abs(judged.rollout.weight.measured - WEIGHT) <= 4, "two pods and one would make 33% by themselves"
        _assert_only_stable_is_left(service)


def _has_been_measured(status: InferenceServiceStatus) -> bool:
    rollout = status.rollout
    first = rollout.phase is Phase.PROGRESSING and rollout.stage is Stage.ANALYZING and rollout.step_index == 0
    return first and status.analysis is not None and status.analysis.step_ticks >= 2


def _assert_only_stable_is_left(service: InferenceServiceHandle) -> None:
    status = service.status()
    assert status.stable is not None
    of_stable = f"{SERVICE}-{status.stable.revision}"
    (route,) = service.children("httproutes")
    backends = [(one["name"], one["weight"]) for rule in route["spec"]["rules"] for one in rule["backendRefs"]]
    assert backends == [(of_stable, 100)]
    assert {one["metadata"]["name"] for one in service.children("services")} == {SERVICE, of_stable}
