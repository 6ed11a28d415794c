"""Events on a real API server: one object for what happens again and again."""

from serinus.adapters.events import EventRecorder
from tests.cluster.control_plane import ControlPlane
from tests.contract import api
from tests.contract.manifests import Manifest
from tests.contract.world import World


def events(server: ControlPlane, world: World) -> list[Manifest]:
    path = f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events"
    found: list[Manifest] = api.send(server.api, "GET", path)["items"]
    return found


def test_the_same_event_is_one_series(server: ControlPlane, world: World) -> None:
    service = world.create()
    recorder = EventRecorder(world.kube)
    for message in ("exceeded quota", "denied", "exceeded quota", "exceeded quota"):
        recorder.event(service, "Warning", "WriteRefused", message)
    told = {event["note"]: event.get("series", {}).get("count", 1) for event in events(server, world)}
    assert told == {"exceeded quota": 3, "denied": 1}


def test_a_message_of_any_length_and_script_is_told(server: ControlPlane, world: World) -> None:
    service = world.create()
    EventRecorder(world.kube).event(service, "Normal", "Promoted", "模型" * 1000)
    (event,) = events(server, world)
    assert len(event["note"]) == 341


def test_kubectl_shows_the_events_of_a_service(server: ControlPlane, world: World) -> None:
    service = world.create()
    recorder = EventRecorder(world.kube)
    for _ in range(3):
        recorder.event(service, "Warning", "WriteRefused", "exceeded quota")
    shown = server.kubectl("events", "-n", world.namespace)
    assert "WriteRefused" in shown
    assert "x3" in shown
