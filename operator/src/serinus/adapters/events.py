"""Kubernetes events on an InferenceService."""

import logging
import secrets
import socket
from datetime import UTC, datetime
from typing import Final

from serinus.adapters.kube import KubernetesApi
from serinus.core.names import RECONCILE_ID_ANNOTATION
from serinus.logs import reconcile_id
from serinus.ports import Manifest

logger: Final = logging.getLogger(__name__)

_LONGEST_NOTE: Final = 1024
"""The API server's own limit."""


class EventRecorder:
    """`ports.Recorder` on events.k8s.io/v1."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    def event(self, manifest: Manifest, severity: str, reason: str, message: str) -> None:
        """See `ports.Recorder.event`."""
        metadata = manifest["metadata"]
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{secrets.token_hex(8)}",
                "namespace": metadata["namespace"],
                "annotations": {RECONCILE_ID_ANNOTATION: reconcile_id() or ""},
            },
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": severity,
            "reason": reason,
            "action": reason,
            "note": message[:_LONGEST_NOTE],
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
        try:
            self._api.create(event)
        except Exception:
            logger.warning("could not record event %s", reason, exc_info=True)
