"""One InferenceService in a test cluster, as its owner handles it: apply, look, wait."""

import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import yaml
from kubernetes import client
from kubernetes import config as kubernetes_config
from kubernetes.client.exceptions import ApiException

from serinus.api.status import InferenceServiceStatus
from serinus.api.v1beta1 import GROUP, PLURAL, VERSION
from tests.cluster.cluster import Cluster

POLL_SECONDS = 0.25
EVENT_SECONDS = 15

Manifest = dict[str, Any]


class InferenceServiceHandle:
    """The InferenceService `namespace`/`name`, there or not yet there."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.name = name
        api_client = kubernetes_config.new_client_from_config(str(cluster.kubeconfig))
        self._objects = client.CustomObjectsApi(api_client)
        self._core = client.CoreV1Api(api_client)

    def apply(self, manifest: Mapping[str, Any] | str) -> None:
        """`kubectl apply` the manifest; raises ClusterError with kubectl's words when it is refused."""
        text = manifest if isinstance(manifest, str) else yaml.safe_dump(dict(manifest))
        self.cluster.kubectl("apply", "-n", self.namespace, "-f", "-", input=text)

    def delete(self) -> None:
        """Delete it and wait until it is gone."""
        self.cluster.kubectl("delete", "infsvc", "-n", self.namespace, self.name, "--timeout=60s")

    def command(self, verb: str, revision: str, number: str) -> None:
        """Give the operator a command by the annotation that it listens to."""
        self.cluster.kubectl(
            "annotate", "infsvc", "-n", self.namespace, self.name, "--overwrite",
            f"serinus.dev/command={number}:{verb}:{revision}",
        )  # fmt: skip

    def read(self) -> Manifest:
        """The object as the API server has it."""
        found: Manifest = self._objects.get_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, self.name)
        return found

    def status(self) -> InferenceServiceStatus:
        """Its status; that of an object which no operator has seen while there is none."""
        try:
            return InferenceServiceStatus.model_validate(self.read().get("status", {}))
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return InferenceServiceStatus()
            raise

    def children(self, kinds: str = "deployments,services,hpa,pdb,controllerrevisions,pods") -> list[Manifest]:
        """The objects that carry its label."""
        label = f"serinus.dev/inferenceservice={self.name}"
        shown = self.cluster.kubectl("get", kinds, "-n", self.namespace, "-l", label, "-o", "json")
        found: list[Manifest] = json.loads(shown)["items"]
        return found

    def pod_uids(self) -> set[str]:
        """Which pods it has; a replaced one is another."""
        return {pod["metadata"]["uid"] for pod in self.children("pods")}

    def events_until(self, reason: str) -> list[tuple[str, str]]:
        """Reason and text of its events, oldest first, once one of the reason is there.

        The operator tells an event after it wrote the status, so what the status says may have no event yet.
        """
        deadline = time.monotonic() + EVENT_SECONDS
        while reason not in dict(events := self._events()):
            if time.monotonic() > deadline:
                raise AssertionError(f"no event {reason} within {EVENT_SECONDS} s; there are {events}")
            time.sleep(POLL_SECONDS)
        return events

    def _events(self) -> list[tuple[str, str]]:
        selector = f"involvedObject.kind=InferenceService,involvedObject.name={self.name}"
        listed = self._core.list_namespaced_event(self.namespace, field_selector=selector).items
        return [(event.reason, event.message) for event in sorted(listed, key=lambda event: event.event_time)]

    def wait_until(
        self, holds: Callable[[InferenceServiceStatus], bool], what: str, seconds: float
    ) -> InferenceServiceStatus:
        """Wait until the status satisfies `holds` and return it.

        Raises AssertionError with the status as it is when that takes more than `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not holds(status := self.status()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s: {what}; the status is\n{described(status)}")
            time.sleep(POLL_SECONDS)
        return status


def condition(status: InferenceServiceStatus, kind: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition; empty where there is none."""
    for one in status.conditions:
        if one.type == kind:
            return one.status, one.reason, one.message
    return "", "", ""


def described(status: InferenceServiceStatus) -> str:
    """A status for a person to read."""
    return yaml.safe_dump(status.to_wire(), sort_keys=False)
