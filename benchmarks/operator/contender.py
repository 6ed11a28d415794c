"""What is measured: an operator with its resource, on an API server of its own."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster.control_plane import ControlPlane

USER: Final = "system:serviceaccount:default:operator"
"""Whom the API server takes the operator for."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """One operator."""

    name: str
    children: frozenset[str]
    """The resources, by plural, of which it makes one object for each service."""
    manifest: Callable[[str], Manifest]
    """The service of a name, with an autoscaler."""
    prepare: Callable[[ControlPlane], None]
    """Define its resources."""
    process: Callable[[ControlPlane, Path], AbstractContextManager[int]]
    """Run it, with a folder for its files, as `USER`; begins with its process id once its watches are in sync."""


def let_in(server: ControlPlane) -> Path:
    """Give the operator a name by which its requests are known, and all rights; return its kubeconfig."""
    server.kubectl("create", "serviceaccount", "operator")
    server.kubectl("create", "clusterrolebinding", "operator", "--clusterrole=cluster-admin", f"--user={USER}")
    return server.kubeconfig_of("default", "operator")
