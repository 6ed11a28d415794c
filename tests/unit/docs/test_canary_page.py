"""The page of the canary tells of every reason that a rollout can give."""

import ast
import inspect
import re
from pathlib import Path

from serinus.api.status import Phase, Stage
from serinus.core import canary, command, observe

PAGE = (Path(__file__).parents[3] / "docs" / "canary.md").read_text()
CAMEL_CASE = re.compile(r"[A-Z][a-z]+([A-Z][A-Za-z]*)?|OOMKilled|InvalidURI")
EVENTS = {"CanaryStarted", "Deployed", "Promoting", "RolledBack", "RollingBack", "RolloutPaused", "RolloutResumed"}
EVENTS |= {"InvalidCommand", "StaleCommand", "StepStarted", "Normal", "Warning"}
POLICY = {"Manual", "Promote", "Rollback"}


def reasons() -> set[str]:
    """The words in CamelCase that the state machine and the reading of pods give as reasons."""
    words = {
        node.value
        for module in (canary, command, observe)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CAMEL_CASE.fullmatch(node.value)
    }
    kinds = {"Deployment", "Service", "Accepted", "ResolvedRefs", "True"}
    return words - EVENTS - POLICY - kinds


def test_every_reason_is_explained() -> None:
    assert {"HighErrorRate", "PausedByCommand", "OOMKilled", "RouteNotAccepted"} <= reasons()
    assert [reason for reason in sorted(reasons()) if f"`{reason}`" not in PAGE] == []


def test_every_phase_and_stage_is_explained() -> None:
    words = [*(phase.value for phase in Phase), *(stage.value for stage in Stage)]
    assert [word for word in words if f"`{word}`" not in PAGE] == []
