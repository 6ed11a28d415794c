"""Events as they are sent to the API server."""

from typing import Any

import pytest

from serinus.adapters.events import EventRecorder
from serinus.adapters.kube import KubernetesApi, NotFoundError
from serinus.core.recent_events import SERIES_SECONDS
from serinus.ports import ApiUnavailableError, Manifest
from tests.unit.operator.fake_cluster import service_of


class Api(KubernetesApi):
    """Takes events, or fails to."""

    def __init__(self) -> None:
        self.created: list[Manifest] = []
        self.merged: list[Manifest] = []
        self.works = True
        self.forgets = False
        self.now = 0.0

    def create(self, manifest: Manifest, timeout_seconds: float = 0.0) -> Manifest:  # noqa: ARG002
        if not self.works:
            raise ApiUnavailableError("away")
        self.created.append(manifest)
        return manifest

    def merge(self, manifest: Manifest) -> Manifest:
        if self.forgets:
            raise NotFoundError("gone")
        self.merged.append(manifest)
        return manifest


def tell(api: Api, recorder: EventRecorder, *messages: str) -> None:
    for message in messages:
        recorder.event(service_of("1"), "Warning", "WriteRefused", message)
        api.now += 1


def recorder_of(api: Api) -> EventRecorder:
    return EventRecorder(api, lambda: api.now)


def test_an_event_says_of_what_it_is() -> None:
    api = Api()
    recorder_of(api).event(service_of("1"), "Warning", "RollingBack", "Version 2 was rolled back.")
    (event,) = api.created
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "RollingBack", "Version 2 was rolled back.")
    regarding = {"apiVersion", "kind", "name", "namespace", "uid", "resourceVersion"}
    assert event["regarding"].keys() == regarding
    assert (event["regarding"]["kind"], event["regarding"]["name"]) == ("InferenceService", "fraud")


def test_the_same_event_is_counted() -> None:
    api = Api()
    tell(api, recorder_of(api), "exceeded quota", "exceeded quota", "denied", "exceeded quota")
    first, denied = api.created
    assert (first["note"], denied["note"]) == ("exceeded quota", "denied")
    assert [(one["metadata"]["name"], one["series"]["count"]) for one in api.merged] == [
        (first["metadata"]["name"], 2),
        (first["metadata"]["name"], 3),
    ]
    assert all(one.keys() == {"apiVersion", "kind", "metadata", "series"} for one in api.merged)


def test_the_same_event_after_a_while_is_another() -> None:
    api = Api()
    recorder = recorder_of(api)
    tell(api, recorder, "exceeded quota")
    api.now += SERIES_SECONDS
    tell(api, recorder, "exceeded quota")
    assert len(api.created) == 2
    assert len({one["metadata"]["name"] for one in api.created}) == 2


def test_an_event_that_could_not_be_told_is_told_the_next_time() -> None:
    api = Api()
    recorder = recorder_of(api)
    api.works = False
    tell(api, recorder, "exceeded quota")
    api.works = True
    tell(api, recorder, "exceeded quota")
    assert (len(api.created), api.merged) == (1, [])


def test_an_event_that_the_cluster_has_forgotten_is_told_anew() -> None:
    api = Api()
    recorder = recorder_of(api)
    tell(api, recorder, "exceeded quota")
    api.forgets = True
    tell(api, recorder, "exceeded quota")
    assert len(api.created) == 2


@pytest.mark.parametrize("sign", ["x", "模", "é", "🐤"])
def test_a_long_message_is_cut_to_what_the_api_server_takes(sign: str) -> None:
    """Its limit is in bytes."""
    api, message = Api(), f"x{sign * 3000}"
    recorder_of(api).event(service_of("1"), "Normal", "Promoted", message)
    note: Any = api.created[0]["note"]
    assert 1020 < len(note.encode()) <= 1024
    assert message.startswith(note)
