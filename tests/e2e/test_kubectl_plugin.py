"""`kubectl serinus` as it is typed, by a real kubectl, on a rollout of real pods under traffic."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serinus.api.status import Phase
from tests.cluster import Cluster
from tests.cluster.inference_service import InferenceServiceHandle
from tests.cluster.traffic import Exchange, flowing
from tests.e2e.expectations import (
    RATE,
    assert_nothing_lost,
    deploy,
    is_being_judged,
    wait_promoted,
    wait_rolled_back,
)
from tests.e2e.manifests import SERVICE, canary, digits

HELD_SECONDS = 15
"""Longer than the step that a pause holds."""


class Plugin:
    """kubectl with the plugin on the PATH, and the service of a test to name to it."""

    def __init__(self, service: InferenceServiceHandle) -> None:
        self._service = service

    def command(self, verb: str, *options: str) -> list[str]:
        return ["kubectl", "serinus", verb, self._service.name, "-n", self._service.namespace, *options]

    @property
    def environment(self) -> dict[str, str]:
        environment = {**os.environ, **self._service.cluster.environment}
        plugins = Path(sys.executable).parent
        return {**environment, "PATH": f"{environment['PATH']}{os.pathsep}{plugins}"}

    def __call__(self, verb: str, *options: str) -> str:
        """What it prints; it has to succeed."""
        done = subprocess.run(
            self.command(verb, *options), env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, verb: str) -> str:
        """What it says where it does nothing."""
        done = subprocess.run(self.command(verb), env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def status(self) -> dict[str, Any]:
        """The status for programs."""
        status: dict[str, Any] = json.loads(self("status", "-o", "json"))
        return status

    @contextmanager
    def watching(self, log: Path) -> Iterator[None]:
        """A watch, which writes a line for each change into `log`."""
        with (
            log.open("w") as out,
            subprocess.Popen(self.command("status", "-w"), env=self.environment, stdout=out) as process,
        ):
            try:
                yield
            finally:
                process.terminate()


def test_a_rollout_is_looked_at_and_decided_by_kubectl_serinus(
    cluster: Cluster, service: InferenceServiceHandle, exchanges: list[Exchange], tmp_path: Path
) -> None:
    plugin = Plugin(service)
    deploy(service, digits("1"))
    assert "nothing to promote" in plugin.refused("promote")
    with (
        flowing(cluster, service.namespace, SERVICE, exchanges, RATE) as traffic,
        plugin.watching(tmp_path / "watched"),
    ):
        service.apply(digits("2", canary=canary(33)))
        service.wait_until(is_being_judged, "version 2 is being judged", 60)
        _look_pause_and_resume(plugin)
        _abort_retry_and_promote(plugin, service)
        totals = traffic.stop()
    assert_nothing_lost(totals)
    past = json.loads(plugin("history", "-o", "json"))
    assert [(one["version"], one["state"]) for one in past] == [("1", ""), ("2", "stable")]
    heading, *rows = plugin("history").splitlines()
    assert heading.split() == ["NUMBER", "VERSION", "REVISION", "AGE", "STATE"]
    assert [row.split()[1] for row in rows] == ["1", "2"]
    watched = (tmp_path / "watched").read_text()
    for seen in ("Progressing (Analyzing)", "Paused (PausedByCommand)", "RolledBack (Aborted)", "Stable (Promoted)"):
        assert seen in watched


def _look_pause_and_resume(plugin: Plugin) -> None:
    text = plugin("status")
    assert text.splitlines()[0].endswith(": Progressing (Analyzing)")
    for part in ("1 of 1: 33% for 10s, Analyzing", "desired 33%, applied 33%", "kubectl serinus pause "):
        assert part in text
    assert "Paused (PausedByCommand)" in plugin("pause")
    time.sleep(HELD_SECONDS)
    paused = plugin.status()
    assert paused["status"]["rollout"]["phase"] == "Paused", "its step would have been over"
    assert paused["status"]["rollout"]["weight"]["desired"] == 33
    assert paused["commands"] == ["promote", "abort", "resume"]
    assert {one["check"] for one in paused["logEValues"]} == {"errors", "latency-p95"}
    assert "already. To go on: kubectl serinus resume " in plugin.refused("pause")
    assert ": Progressing (" in plugin("resume")


def _abort_retry_and_promote(plugin: Plugin, service: InferenceServiceHandle) -> None:
    assert "(Aborted)\nVersion 2 was rolled back, version 1 serves." in plugin("abort")
    assert wait_rolled_back(service, "2").canary is None
    assert "kubectl serinus retry " in plugin.refused("resume")
    plugin("retry")
    service.wait_until(lambda status: status.rollout.phase is Phase.PROGRESSING, "it is tried again", 60)
    assert "PromotedByCommand" in plugin("promote")
    wait_promoted(service, "2")
