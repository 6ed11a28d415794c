"""A platform that changes the pods of all services: they stay, or go through the canary where it says so."""

import time

from tests.cluster import installation
from tests.cluster.inference_service import InferenceServiceHandle, condition
from tests.cluster.traffic import Exchange, flowing
from tests.e2e.expectations import (
    HIGH_RATE,
    LEAVING_SECONDS,
    QUIET_SECONDS,
    assert_nothing_lost,
    deploy,
    is_being_judged,
    wait_promoted,
)
from tests.e2e.manifests import digits

CHANGE = {"server.image.pullPolicy": "Never"}


def test_changed_template_waits_where_it_is_pinned_and_goes_through_the_canary_where_not(
    service: InferenceServiceHandle, exchanges: list[Exchange]
) -> None:
    deploy(service, digits("1"))
    pods = service.pod_uids()
    with flowing(service.cluster, service.namespace, service.name, exchanges, HIGH_RATE) as traffic:
        with installation.upgraded(service.cluster, CHANGE):
            pinned = service.wait_until(
                lambda status: condition(status, "TemplateUpToDate")[1] == "TemplateChanged", "the change is said", 60
            )
            assert "imagePullPolicy: IfNotPresent -> Never" in condition(pinned, "TemplateUpToDate")[2]
            time.sleep(QUIET_SECONDS)
            assert service.pod_uids() == pods
        with installation.upgraded(service.cluster, CHANGE | {"server.templateUpdates": "Canary"}):
            service.wait_until(is_being_judged, "the new template is being judged", 90)
            assert pods < service.pod_uids()
            renewed = wait_promoted(service, "1")
            time.sleep(LEAVING_SECONDS)
            assert not pods & service.pod_uids()
            assert _pull_policies(service) == {"Never"}
            assert condition(renewed, "TemplateUpToDate")[:2] == ("True", "UpToDate")
        totals = traffic.stop()
    assert_nothing_lost(totals)
    assert totals.of("1").replies == totals.sent
    told = dict(service.events_until("Promoted"))
    assert told["CanaryStarted"].startswith("The pods of version 1 are renewed: revision ")
    assert told["Promoted"] == "The renewed version 1 was promoted and serves all requests."


def _pull_policies(service: InferenceServiceHandle) -> set[str]:
    return {container["imagePullPolicy"] for pod in service.children("pods") for container in pod["spec"]["containers"]}
