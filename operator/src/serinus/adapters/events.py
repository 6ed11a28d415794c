"""Kubernetes events on an InferenceService."""

import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from serinus.adapters.kube import KubernetesApi, NotFoundError
from serinus.core.names import RECONCILE_ID_ANNOTATION
from serinus.core.recent_events import RecentEvents
from serinus.logs import reconcile_id
from serinus.ports import Manifest

logger: Final = logging.getLogger(__name__)

_LONGEST_NOTE: Final = 1024
"""The API server's own limit, in bytes."""


class EventRecorder:
    """`ports.Recorder` on events.k8s.io/v1. Safe to use from several threads.

    What happens again within a while is told by the count of the event that is there: a series.
    """

    def __init__(self, api: KubernetesApi, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._recent = RecentEvents()
        self._lock = threading.Lock()

    def event(self, manifest: Manifest, severity: str, reason: str, message: str) -> None:
        """See `ports.Recorder.event`."""
        metadata = manifest["metadata"]
        key = metadata["uid"], reason, message
        name = f"{metadata['name']}.{secrets.token_hex(8)}"
        with self._lock:
            series = self._recent.happened(key, name, self._clock())
        try:
            if series.count == 1 or not self._continue(metadata["namespace"], series.name, series.count):
                self._api.create(_event(manifest, series.name, severity, reason, message))
        except Exception:
            logger.warning("could not record event %s", reason, exc_info=True)
            with self._lock:
                self._recent.drop(key)

    def _continue(self, namespace: str, name: str, count: int) -> bool:
        """Count the event once more; False where the cluster has forgotten it."""
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "series": {"count": count, "lastObservedTime": _now()},
        }
        try:
            self._api.merge(event)
        except NotFoundError:
            return False
        return True


def _event(manifest: Manifest, name: str, severity: str, reason: str, message: str) -> Manifest:
    metadata = manifest["metadata"]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "annotations": {RECONCILE_ID_ANNOTATION: reconcile_id() or ""},
        },
        "eventTime": _now(),
        "type": severity,
        "reason": reason,
        "action": reason,
        "note": message.encode()[:_LONGEST_NOTE].decode(errors="ignore"),
        "reportingController": "serinus.dev/operator",
        "reportingInstance": socket.gethostname(),
        "regarding": {
            "apiVersion": manifest["apiVersion"],
            "kind": manifest["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
