"""Leader election by a Lease, in a thread of its own, so that nothing the operator does can hold a renewal up."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from serinus.adapters.kube import KubernetesApi, NotFoundError
from serinus.core.election import LEASE_SECONDS, RETRY_SECONDS, LeaseRecord, Move, Sighting, leads, next_move, sight
from serinus.ports import ApiConflictError, Manifest

logger: Final = logging.getLogger(__name__)


class LeaderElection:
    """One candidate for the Lease `namespace`/`name`."""

    def __init__(
        self, api: KubernetesApi, namespace: str, name: str, candidate: str, monotonic: Callable[[], float]
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._candidate = candidate
        self._monotonic = monotonic
        self._sighting: Sighting | None = None
        self._renewal_sent: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, on_change: Callable[[bool], object]) -> None:
        """Stand for election; `on_change` is called, in the election's thread, with whether this candidate leads."""
        self._thread = threading.Thread(target=self._run, args=(on_change,), name="election", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stand no longer, and give the Lease back, so that the next one need not wait for it to run out."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self.leads():
            self._renewal_sent = None
            self._give_back()

    def leads(self) -> bool:
        """Whether this candidate may write now. A process that was frozen finds out here when it wakes."""
        return leads(self._renewal_sent, self._monotonic())

    def is_alive(self) -> bool:
        """Whether the election goes on."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self, on_change: Callable[[bool], object]) -> None:
        led = False
        while not self._stop.is_set():
            try:
                self.stand()
            except ApiConflictError:
                logger.debug("another candidate was faster")
            except Exception as error:
                logger.warning("the Lease %s/%s cannot be renewed: %s", self._namespace, self._name, error)
            if led != self.leads():
                led = not led
                logger.info("%s %s", self._candidate, "leads" if led else "does not lead any more")
                on_change(led)
            self._stop.wait(RETRY_SECONDS)

    def stand(self) -> None:
        """Look at the Lease once, and take or renew it where that is due."""
        sent = self._monotonic()
        lease = self._read()
        if lease is None:
            self._api.create(self._lease(transitions=0), timeout_seconds=RETRY_SECONDS)
            self._renewal_sent = sent
            return
        record = _record(lease)
        self._sighting = sight(self._sighting, record, self._monotonic())
        move = next_move(self._candidate, self._sighting, self._monotonic())
        if move is Move.WAIT:
            self._renewal_sent = None
            return
        transitions = record.transitions + (move is Move.TAKE)
        renewed = self._lease(transitions) | {"metadata": lease["metadata"]}
        # A Lease that somebody changed meanwhile is refused: the resourceVersion in its metadata is out of date.
        self._api.replace(renewed, timeout_seconds=RETRY_SECONDS)
        self._renewal_sent = sent

    def _read(self) -> Manifest | None:
        try:
            return self._api.get(self._lease(transitions=0), timeout_seconds=RETRY_SECONDS)
        except NotFoundError:
            return None

    def _give_back(self) -> None:
        try:
            lease = self._read()
            if lease is not None and _record(lease).holder == self._candidate:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                self._api.replace(lease, timeout_seconds=RETRY_SECONDS)
        except Exception as error:
            logger.warning("the Lease could not be given back: %s; it runs out by itself", error)

    def _lease(self, transitions: int) -> Manifest:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": {
                "holderIdentity": self._candidate,
                "leaseDurationSeconds": int(LEASE_SECONDS),
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }


def _record(lease: Manifest) -> LeaseRecord:
    spec = lease.get("spec", {})
    return LeaseRecord(
        holder=spec.get("holderIdentity") or "",
        renewed=str(spec.get("renewTime", "")),
        transitions=int(spec.get("leaseTransitions") or 0),
    )
