"""Operator processes that are killed at random, again and again, get a service through its rollouts all the same."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.control_plane import ControlPlane
from tests.cluster.operator_process import SETTINGS, free_port
from tests.contract.operators import VERSION_2, command, eventually, is_at_rest, is_stable, phase
from tests.contract.world import World

KILLS: Final = 100
LONGEST_LIFE_SECONDS: Final = 0.5
VERSION_3: Final = {"spec.model.version": "3", "spec.model.uri": "s3://models/fraud/3/model.onnx"}
POLICY: Final = {
    "spec.canary": {
        "steps": [{"weightPercent": 50, "duration": "10s"}],
        "analysis": {"interval": "10s"},
        "deadline": "1h",
    }
}


class Users:
    """Those who deploy: version 1, then version 2, which they promote, then version 3, which they abort."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.over = threading.Event()
        self.fault: Exception | None = None
        self._thread = threading.Thread(target=self._watch, name="users", daemon=True)

    def __enter__(self) -> "Users":
        self.world.create(POLICY)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            while not self.over.wait(0.2):
                self.world.make_ready()
                self._go_on()
        except Exception as fault:
            self.fault = fault

    def _go_on(self) -> None:
        asked = self.world.service()["spec"]["model"]["version"]
        match phase(self.world), asked:
            case "Stable", "1":
                self.world.edit(VERSION_2)
            case (("Progressing" | "Paused"), "2"):
                command(self.world, "promote", "c2")
            case "Stable", "2" if is_stable(self.world, "2"):
                self.world.edit(VERSION_3)
            case (("Progressing" | "Paused"), "3"):
                command(self.world, "abort", "c3")


class Breeder:
    """Starts operator processes, and kills them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self) -> int:
        """A new operator; its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def breeder(server: ControlPlane, directory: Path, settings: dict[str, Any]) -> Iterator[Breeder]:
    """A process that forks operators."""
    config, log = directory / "config.yaml", directory / "operator.log"
    config.write_text(yaml.safe_dump(settings))
    prefix = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with subprocess.Popen(
        [*prefix, sys.executable, "-m", "tests.cluster.forking", str(config), str(free_port()), str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"KUBECONFIG": str(server.kubeconfig)},
    ) as process:
        try:
            yield Breeder(process)
        finally:
            process.kill()


def kill_9(pid: int) -> None:
    """Kill an operator, and wait until its port is free."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")


def test_operator_kill_9_at_random_100_times(server: ControlPlane, world: World, tmp_path: Path) -> None:
    """No operator lives for a second; the last one, which lives on, finds next to nothing to do."""
    chance = random.Random(9)  # noqa: S311 - the same lives each time
    settings = SETTINGS | {"watchNamespaces": [world.namespace]}
    with breeder(server, tmp_path, settings) as operators, Users(world) as users:
        for _ in range(KILLS):
            pid = operators.start()
            time.sleep(chance.uniform(0.0, LONGEST_LIFE_SECONDS))
            kill_9(pid)
        assert is_stable(world, "1") or is_stable(world, "2"), "nothing was done in a hundred lives"
        last = operators.start()
        try:
            eventually(lambda: phase(world) == "RolledBack", "version 3 is rolled back")
            eventually(lambda: is_at_rest(world), "it comes to rest")
        finally:
            kill_9(last)
        assert users.fault is None
    assert is_stable(world, "2")
    assert [one["metadata"]["labels"]["app.kubernetes.io/version"] for one in world.objects("Deployment")] == ["2"]
    assert len(world.objects("ControllerRevision")) == 2, "what was rolled back is not kept"
    assert len(world.objects("Service")) == len(world.objects("PodDisruptionBudget")) == 1
    owner = world.service()["metadata"]["uid"]
    assert {one["uid"] for child in world.owned() for one in child["metadata"]["ownerReferences"]} == {owner}
    assert world.condition("Ready")["status"] == "True"
