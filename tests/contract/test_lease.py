"""Leader election on a real API server: one leads, a write of any other is not sent, and hand-over is quick."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from serinus.adapters.kube import KubernetesApi
from serinus.adapters.lease import LeaderElection
from serinus.core.election import LEAD_SECONDS, LEASE_SECONDS
from serinus.ports import NotLeadingError
from tests.cluster.control_plane import ControlPlane
from tests.contract import api

PATIENCE_SECONDS = 20.0


class AdjustableClock:
    """Monotonic time, which the test can set forward, as if the process had been frozen."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Candidate:
    """A replica of the operator, as far as the election goes."""

    def __init__(self, server: ControlPlane, namespace: str, name: str) -> None:
        self.clock = AdjustableClock()
        self.election = LeaderElection(KubernetesApi(server.api), namespace, "serinus", name, self.clock)
        self.writes = KubernetesApi(server.api, self.election.leads)
        self.changes: list[bool] = []
        self.changed = threading.Event()

    def on_change(self, leads: bool) -> None:
        self.changes.append(leads)
        self.changed.set()

    def wait_to_lead(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.election.leads():
            assert time.monotonic() < deadline, "it never led"
            time.sleep(0.05)


@contextmanager
def standing(server: ControlPlane, namespace: str, name: str) -> Iterator[Candidate]:
    candidate = Candidate(server, namespace, name)
    candidate.election.start(candidate.on_change)
    try:
        yield candidate
    finally:
        candidate.election.stop()


def lease(namespace: str) -> dict[str, object]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "serinus", "namespace": namespace},
    }


def some_service(namespace: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "written", "namespace": namespace},
        "spec": {"ports": [{"port": 80}]},
    }


def test_one_leads_and_the_other_waits(server: ControlPlane, namespace: str) -> None:
    with standing(server, namespace, "a") as first:
        first.wait_to_lead()
        with standing(server, namespace, "b") as second:
            time.sleep(2 * LEAD_SECONDS)
            assert (first.election.leads(), second.election.leads()) == (True, False)
            with pytest.raises(NotLeadingError):
                second.writes.create(some_service(namespace))
            first.writes.create(some_service(namespace))
    assert api.read(server.api, lease(namespace))["spec"]["holderIdentity"] == ""


def test_a_lease_given_back_is_taken_before_it_would_run_out(server: ControlPlane, namespace: str) -> None:
    with standing(server, namespace, "a") as first:
        first.wait_to_lead()
        with standing(server, namespace, "b") as second:
            begun = time.monotonic()
            first.election.stop()
            second.wait_to_lead()
            assert time.monotonic() - begun < LEASE_SECONDS
    assert api.read(server.api, lease(namespace))["spec"]["leaseTransitions"] == 1


def test_a_lease_of_a_candidate_that_died_runs_out(server: ControlPlane, namespace: str) -> None:
    dead = Candidate(server, namespace, "a")
    dead.election.stand()
    with standing(server, namespace, "b") as second:
        second.wait_to_lead()
        assert second.changes == [True]


def test_leader_frozen_60s_makes_no_late_write(server: ControlPlane, namespace: str) -> None:
    with standing(server, namespace, "a") as first:
        first.wait_to_lead()
        # What a process sees when it wakes: the clock has gone on, and nothing else has happened yet.
        first.clock.ahead = 60.0
        with pytest.raises(NotLeadingError):
            first.writes.create(some_service(namespace))
