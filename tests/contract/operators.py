"""Operators that run as processes, each behind a proxy of its own, and what is waited for."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster.control_plane import ControlPlane
from tests.cluster.faulty_proxy import FaultyProxy, faulty_proxy
from tests.cluster.operator_process import SETTINGS, OperatorProcess, operator_process
from tests.contract.manifests import Manifest
from tests.contract.world import NAME, World

PATIENCE_SECONDS: Final = 60.0

VERSION_2: Final = {"spec.model.version": "2", "spec.model.uri": "s3://models/fraud/2/model.onnx"}


@dataclass(frozen=True)
class Operator:
    """A running operator, and the proxy that all its requests to the API server go through."""

    process: OperatorProcess
    proxy: FaultyProxy


@contextmanager
def running(
    server: ControlPlane, namespace: str, directory: Path, settings: dict[str, Any] | None = None
) -> Iterator[Operator]:
    """An operator that looks after one namespace, in sync."""
    with faulty_proxy(server) as proxy:
        config = SETTINGS | {"watchNamespaces": [namespace], "watchInactivityTimeout": "20s"} | (settings or {})
        with operator_process(proxy.kubeconfig(directory / "kubeconfig"), directory, config) as process:
            process.wait_until_ready()
            try:
                yield Operator(process, proxy)
            finally:
                # A graceful end takes kopf some seconds, and is not what is tested here.
                process.process.kill()


def eventually(condition: Callable[[], object], what: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Wait until `condition` holds; `meanwhile` is done again and again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        meanwhile()
        time.sleep(0.1)


def phase(world: World) -> str:
    """The phase of the rollout; empty before the first visit."""
    return str(world.service()["status"].get("rollout", {}).get("phase", ""))


def deploy(world: World, changes: dict[str, Any] | None = None) -> None:
    """Create the service, and wait until an operator has made it serve."""
    world.create(changes)
    eventually(lambda: phase(world) == "Stable", "the first deployment serves", world.make_ready)


def command(world: World, verb: str, identifier: str) -> None:
    """Give a command about the new revision."""
    revision = world.service()["status"]["canary"]["revision"]
    world.edit({"metadata.annotations": {"serinus.dev/command": f"{identifier}:{verb}:{revision}"}})


def promote_version_2(world: World) -> None:
    """Ask for version 2, have it promoted without looking at metrics, and wait until it is stable."""
    world.edit(VERSION_2)
    eventually(lambda: phase(world) in ("Progressing", "Paused"), "a canary begins", world.make_ready)
    command(world, "promote", "c1")
    eventually(
        lambda: phase(world) == "Stable" and world.status().stable is not None and is_stable(world, "2"),
        "version 2 is promoted",
        world.make_ready,
    )


def is_stable(world: World, version: str) -> bool:
    """Whether the version is the stable one."""
    stable = world.status().stable
    return stable is not None and stable.version == version


def is_at_rest(world: World, seconds: float = 2.0) -> bool:
    """Whether nothing of the service changes for some seconds."""
    before = world.versions()
    time.sleep(seconds)
    return world.versions() == before


def children(world: World) -> dict[str, Manifest]:
    """What was made for the service, without what differs from one making to the next."""
    return {f"{one['kind']} {one['metadata']['name']}": _timeless(one) for one in world.owned(NAME)}


def _timeless(manifest: Manifest) -> Manifest:
    metadata = manifest["metadata"]
    spec = {key: value for key, value in manifest.get("spec", {}).items() if not key.startswith("clusterIP")}
    return {
        "labels": metadata["labels"],
        "owners": [(owner["kind"], owner["name"]) for owner in metadata["ownerReferences"]],
        "spec": spec,
        "data": manifest.get("data"),
        "revision": manifest.get("revision"),
    }
