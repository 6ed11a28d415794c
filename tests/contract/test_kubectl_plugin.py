"""The kubectl plugin and the reconciler, on a real API server."""

import io
import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from serinus.api.status import Phase
from serinus.kubectl.cluster import Cluster, ClusterError
from serinus.kubectl.live import follow
from serinus.kubectl.main import main
from tests.cluster.control_plane import ControlPlane
from tests.contract.world import NAME, World, traffic

Plugin = Callable[..., int]

CANARY = {
    "steps": [{"weightPercent": 10, "duration": "1m"}, {"weightPercent": 50, "duration": "1m"}],
    "analysis": {"interval": "30s"},
    "deadline": "1h",
}


@pytest.fixture(autouse=True)
def connected(server: ControlPlane, world: World, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The plugin finds the test's cluster, and the operator is at work while it waits."""
    monkeypatch.setenv("PATH", str(server.directory / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    monkeypatch.setenv("HOME", str(server.directory))
    monkeypatch.setattr(time, "sleep", lambda _: world.settle())
    return Cluster.connect(None, None, world.namespace)


@pytest.fixture
def rollout(world: World) -> World:
    """Version 2 gets its first requests."""
    world.deploy({"spec.canary": CANARY, "spec.autoscaling.minReplicas": 4})
    world.edit({"spec.model.version": "2"})
    world.run_until(Phase.PROGRESSING)
    return world


@pytest.fixture
def plugin(world: World) -> Plugin:
    """The plugin as it is typed, for the test's service."""

    def run(verb: str, *options: str) -> int:
        return main([verb, NAME, "-n", world.namespace, *options])

    return run


def test_abort_and_retry(rollout: World, plugin: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
    assert plugin("abort") == 0
    assert "(Aborted)\nVersion 2 was rolled back, version 1 serves." in capsys.readouterr().out
    assert rollout.run_until(Phase.ROLLED_BACK).canary is None
    assert plugin("abort") == 1
    assert "has been rolled back already (Aborted). To try it again: " in capsys.readouterr().err
    assert plugin("retry") == 0
    canary = rollout.status().canary
    assert canary is not None
    assert canary.version == "2"


def test_pause_resume_and_promote(rollout: World, plugin: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
    assert plugin("pause") == 0
    assert "Paused (PausedByCommand)" in capsys.readouterr().out
    rollout.now += timedelta(hours=2)
    rollout.settle()
    assert rollout.status().rollout.phase is Phase.PAUSED
    assert plugin("resume", "--no-wait") == 0
    assert "asked to resume revision " in capsys.readouterr().out
    rollout.settle()
    assert rollout.status().rollout.phase is Phase.PROGRESSING
    assert plugin("promote") == 0
    stable = rollout.run_until(Phase.STABLE).stable
    assert stable is not None
    assert stable.version == "2"


def test_a_command_that_nobody_hears(
    rollout: World, plugin: Plugin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr("serinus.kubectl.main._WAIT_SECONDS", 0.05)
    assert plugin("abort") == 1
    assert "the operator has not heard the command within" in capsys.readouterr().err


def test_history(rollout: World, plugin: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
    rollout.metrics.canary = traffic(200, errors=100)
    rollout.run_until(Phase.ROLLED_BACK)
    rollout.metrics.canary = traffic(200)
    rollout.edit({"spec.model.version": "3"})
    rollout.run_until(Phase.PROGRESSING)
    assert plugin("history", "-o", "json") == 0
    past = json.loads(capsys.readouterr().out)
    assert [(one["number"], one["version"], one["state"], one["reason"]) for one in past] == [
        (1, "1", "stable", ""),
        (2, "3", "canary", ""),
        (None, "2", "failed", "HighErrorRate"),
    ]
    assert plugin("history") == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NUMBER", "VERSION", "REVISION", "AGE", "STATE"]
    assert rows[2].split()[0] == "-"
    assert rows[2].split()[-2:] == ["failed:", "HighErrorRate"]


def test_status(rollout: World, plugin: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
    rollout.now += timedelta(seconds=30)
    rollout.settle()
    assert plugin("status", "-o", "json") == 0
    status = json.loads(capsys.readouterr().out)
    assert status["status"]["rollout"]["phase"] == "Progressing"
    assert status["commands"] == ["promote", "abort", "pause"]
    (errors,) = status["logEValues"]
    assert errors["check"] == "errors"
    assert errors["absolute"] < 0 < errors["critical"]
    assert plugin("status") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{NAME} -n {rollout.namespace}: Progressing (Analyzing)\n")
    assert "1 of 2: 10% for 1m, Analyzing" in text
    assert "MetricsAvailable  True" in text


def test_what_is_not_there_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "nobody", "-n", world.namespace]) == 1
    assert capsys.readouterr().err == 'error: inferenceservices.serinus.dev "nobody" not found\n'


def test_history_of_what_is_not_there_is_told(plugin: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
    assert plugin("history") == 1
    assert "not found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--context", "nowhere"], 'context "nowhere" does not exist', id="unknown_context"),
        pytest.param(["--kubeconfig", "/nonexistent/config"], "/nonexistent/config", id="no_kubeconfig"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_one_line(
    plugin: Plugin, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plugin("promote", *options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert not line.startswith("error: error: ")
    assert says in line


def test_a_cluster_that_is_not_there_is_told(
    plugin: Plugin, server: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(server.kubeconfig.read_text().replace(server.url, "https://127.0.0.1:1"))
    assert plugin("status", "--kubeconfig", str(elsewhere)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "127.0.0.1:1" in line


def test_the_namespace_is_the_contexts_where_none_is_given(
    rollout: World, server: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = yaml.safe_load(server.kubeconfig.read_text())
    kubeconfig["contexts"][0]["context"]["namespace"] = rollout.namespace
    own = tmp_path / "kubeconfig"
    own.write_text(yaml.safe_dump(kubeconfig))
    assert main(["status", NAME, "--kubeconfig", str(own)]) == 0
    assert capsys.readouterr().out.startswith(f"{NAME} -n {rollout.namespace}: Progressing")


def test_a_log_of_what_changes_where_there_is_no_terminal(rollout: World, connected: Cluster) -> None:
    """One line for each change, and none for a look at what stands as it was."""
    out, waits = io.StringIO(), iter([1, 1, 30, 0])

    def wait(_: float) -> None:
        try:
            rollout.now += timedelta(seconds=next(waits))
        except StopIteration:
            raise KeyboardInterrupt from None
        rollout.settle()

    with pytest.raises(KeyboardInterrupt):
        follow(connected, NAME, out, wait)
    first, second = out.getvalue().splitlines()
    assert "Progressing (Analyzing)" in first
    assert "verdict NoData" in first
    assert "of 200 (" in second
    assert "\x1b" not in out.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("rollout")
def test_a_picture_that_is_drawn_again_on_a_terminal(connected: Cluster) -> None:
    out = Terminal()

    def wait(_: float) -> None:
        if out.getvalue().count("\x1b[H") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(connected, NAME, out, wait)
    pictures = out.getvalue().split("\x1b[H")[1:]
    assert all("Progressing (Analyzing)" in picture and "What you can do:" in picture for picture in pictures)


def test_watching_what_is_not_there_ends_at_once(connected: Cluster) -> None:
    with pytest.raises(ClusterError, match="not found"):
        follow(connected, "nobody", io.StringIO())
