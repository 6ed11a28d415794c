"""Rollouts behind a real Gateway: Envoy shares the requests out by the weights of the HTTPRoute."""

import json
import time

import pytest

from serinus.api.status import InferenceServiceStatus, Phase
from tests.cluster import Cluster, gateway, installation
from tests.cluster.inference_service import InferenceServiceHandle
from tests.cluster.traffic import Exchange, Gateway, flowing
from tests.e2e.expectations import (
    HIGH_RATE,
    LEAVING_SECONDS,
    RATE,
    assert_nothing_lost,
    deploy,
    is_being_judged,
    wait_promoted,
    wait_rolled_back,
)
from tests.e2e.manifests import SERVICE, canary, digits

DOMAIN = "models.test"
WEIGHT = 10


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
            begun = service.wait_until(is_being_judged, "version 2 is being judged", 60)
            assert begun.canary is not None
            # Two looks are enough for the step to pass: held, it is still there to be seen after them.
            service.command("pause", begun.canary.revision, "hold")
            judged = service.wait_until(_has_been_measured, "the first step has been judged", 90)
            service.command("resume", begun.canary.revision, "release")
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


def test_a_canary_behind_a_gateway_is_autoscaled_by_itself_and_keeps_its_weight(
    cluster: Cluster, address: str, service: InferenceServiceHandle, exchanges: list[Exchange]
) -> None:
    # So little CPU is enough that a tenth of the traffic makes an autoscaler ask for the most.
    scaling = {"minReplicas": 1, "maxReplicas": 3, "targets": {"cpuUtilizationPercent": 1}}
    settings = {"gateway.name": gateway.GATEWAY, "gateway.namespace": gateway.NAMESPACE, "gateway.domain": DOMAIN}
    way = Gateway(address, f"{SERVICE}.{service.namespace}.{DOMAIN}")
    with installation.upgraded(cluster, settings):
        deploy(service, digits("1", autoscaling=scaling))
        with flowing(cluster, service.namespace, SERVICE, exchanges, RATE, way) as traffic:
            service.wait_until(lambda status: status.replicas == "3/3", "the autoscaler has made 3 of it", 120)
            service.apply(digits("2", autoscaling=scaling, canary=canary(20, seconds=120)))
            begun = service.wait_until(is_being_judged, "version 2 is being judged", 60)
            assert begun.canary is not None
            assert _autoscalers(service)[f"{SERVICE}-{begun.canary.revision}"] == (1, 3), "a fifth of 3 is borne by 1"
            _change_weights_by_hand(service)
            service.wait_until(lambda _: _weights(service) == [80, 20], "the weights are put back", 10)
            scaled = service.wait_until(_canary_has_3_pods, "the canary's own autoscaler has made 3 of it", 110)
            assert scaled.rollout.weight.desired == 20
            wait_promoted(service, "2")
            promoted = service.status()
            time.sleep(LEAVING_SECONDS)
            totals = traffic.stop()
    assert_nothing_lost(totals)
    assert promoted.stable is not None
    assert promoted.stable.replicas == 3
    assert _autoscalers(service) == {SERVICE: (1, 3)}, "that of the canary went, and the service's took over"


def _canary_has_3_pods(status: InferenceServiceStatus) -> bool:
    return status.canary is not None and status.canary.ready_replicas == 3


def _autoscalers(service: InferenceServiceHandle) -> dict[str, tuple[int, int]]:
    """The least and the most pods of each autoscaler."""
    found = service.children("hpa")
    return {one["metadata"]["name"]: (one["spec"]["minReplicas"], one["spec"]["maxReplicas"]) for one in found}


def _weights(service: InferenceServiceHandle) -> list[int]:
    (route,) = service.children("httproutes")
    return [one["weight"] for rule in route["spec"]["rules"] for one in rule["backendRefs"]]


def _change_weights_by_hand(service: InferenceServiceHandle) -> None:
    changes = [
        {"op": "replace", "path": f"/spec/rules/0/backendRefs/{place}/weight", "value": weight}
        for place, weight in enumerate((10, 90))
    ]
    patch = ("patch", "httproute", SERVICE, "-n", service.namespace, "--type=json", "-p", json.dumps(changes))
    service.cluster.kubectl(*patch)


def _has_been_measured(status: InferenceServiceStatus) -> bool:
    rollout = status.rollout
    held = rollout.phase is Phase.PAUSED and rollout.step_index == 0
    return held and status.analysis is not None and status.analysis.step_ticks >= 2


def _assert_only_stable_is_left(service: InferenceServiceHandle) -> None:
    status = service.status()
    assert status.stable is not None
    of_stable = f"{SERVICE}-{status.stable.revision}"
    (route,) = service.children("httproutes")
    backends = [(one["name"], one["weight"]) for rule in route["spec"]["rules"] for one in rule["backendRefs"]]
    assert backends == [(of_stable, 100)]
    assert {one["metadata"]["name"] for one in service.children("services")} == {SERVICE, of_stable}
