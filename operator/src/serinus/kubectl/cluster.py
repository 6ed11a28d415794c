"""What the plugin asks of the cluster, through the kubectl that it is a plugin of.

So all that makes kubectl reach a cluster, such as its ways to log in, makes the plugin reach it too; and nothing has to
be loaded that knows how to.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from serinus.api.v1beta1 import GROUP, PLURAL
from serinus.core.names import COMMAND_ANNOTATION
from serinus.kubectl.history import service_selector
from serinus.kubectl.service import Service

_TIMEOUT: Final = "--request-timeout=10s"
_RESOURCE: Final = f"{PLURAL}.{GROUP}"
_PREFIXES: Final = ("error: ", "Error from server: ", "Error from server (NotFound): ")
"""What kubectl begins its complaints with, which the plugin begins by itself or tells in the same words."""


class ClusterError(Exception):
    """What was asked of the cluster did not come to pass; the message says why."""


class Cluster:
    """One namespace of the cluster that kubectl leads to."""

    def __init__(self, kubectl: Sequence[str]) -> None:
        """`kubectl` is the program and the options that every call gets."""
        self._kubectl = (*kubectl, _TIMEOUT)

    @classmethod
    def connect(cls, kubeconfig: Path | None, context: str | None, namespace: str | None) -> Self:
        """Use the kubectl on the PATH with these options. Raises ClusterError if there is none."""
        program = shutil.which("kubectl")
        if program is None:
            raise ClusterError("there is no kubectl on the PATH, which this is a plugin of")
        options = {"--kubeconfig": kubeconfig, "--context": context, "--namespace": namespace}
        return cls((program, *(f"{name}={value}" for name, value in options.items() if value is not None)))

    def service(self, name: str) -> Service:
        """The InferenceService of that name. Raises ClusterError."""
        return Service.read(self._read("get", _RESOURCE, name))

    def give_command(self, name: str, command: str) -> None:
        """Write a command down for the operator. Raises ClusterError."""
        self._run("annotate", _RESOURCE, name, "--overwrite", f"{COMMAND_ANNOTATION}={command}")

    def controller_revisions(self, name: str) -> list[dict[str, Any]]:
        """The ControllerRevisions that carry the service's label. Raises ClusterError."""
        manifests: list[dict[str, Any]] = self._read("get", "controllerrevisions.apps", "-l", service_selector(name))[
            "items"
        ]
        return manifests

    def _read(self, *arguments: str) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads(self._run(*arguments, "-o", "json"))
        return manifest

    def _run(self, *arguments: str) -> str:
        """What kubectl prints. Raises ClusterError with its own words where it fails."""
        done = subprocess.run([*self._kubectl, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0:
            return done.stdout
        # Before it gives up, kubectl may log each try.
        last = (done.stderr.strip().splitlines() or [f"kubectl ended with status {done.returncode}"])[-1]
        for prefix in _PREFIXES:
            last = last.removeprefix(prefix)
        raise ClusterError(last)
