"""The operator's metrics: their names, and how many series there are of them."""

import re
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from serinus import telemetry
from serinus.api.status import AnalysisStatus, Phase, Rollout, Verdict
from serinus.core.revision import Revision
from serinus.core.state import State
from serinus.ports import Manifest
from serinus.telemetry import Readings, Snapshot

FRAUD: Manifest = {"namespace": "risk", "name": "fraud"}
STABLE, CANARY = Revision("aaa", "1"), Revision("bbb", "2")


def service(name: str, **status: Any) -> Manifest:  # noqa: ANN401 - parts of a status
    return {"metadata": {"namespace": "risk", "name": name}, "status": status}


def snapshot(*services: Manifest, oldest_key: float = 0.0, **watch_ages: float) -> dict[str, float]:
    """The series of a scrape."""
    registry = CollectorRegistry()
    Snapshot(lambda: Readings(oldest_key, watch_ages, services)).register(registry)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def series(metric: str, name: str = "fraud") -> dict[str, float]:
    """The values of a counter of an InferenceService, by its last label."""
    found = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            place = sample.labels.get("namespace"), sample.labels.get("name")
            if sample.name == metric and place == (FRAUD["namespace"], name):
                [label] = sample.labels.keys() - {"namespace", "name"}
                found[sample.labels[label]] = sample.value
    return found


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    telemetry.forget("risk", "fraud")
    telemetry.forget("risk", "other")


def test_the_queue_and_the_watches_are_read_when_asked_for() -> None:
    assert snapshot(oldest_key=12.5, pods=3.0, services=70.0) == {
        "serinus_operator_queue_oldest_key_seconds": 12.5,
        "serinus_operator_watch_age_seconds resource=pods": 3.0,
        "serinus_operator_watch_age_seconds resource=services": 70.0,
    }


def test_each_service_has_one_phase_and_a_canary_its_weights() -> None:
    found = snapshot(
        service("fraud", rollout={"phase": "Stable", "weight": {"desired": 0, "applied": 0}}),
        service(
            "spam",
            rollout={"phase": "Progressing", "weight": {"desired": 25, "applied": 33, "measured": 30}},
            canary={"revision": "bbb"},
        ),
        service("new"),
    )
    assert {key: value for key, value in found.items() if key.startswith("serinus_rollout")} == {
        "serinus_rollout_phase name=fraud namespace=risk phase=Stable": 1.0,
        "serinus_rollout_phase name=spam namespace=risk phase=Progressing": 1.0,
        "serinus_rollout_weight_ratio kind=applied name=spam namespace=risk": 0.33,
        "serinus_rollout_weight_ratio kind=desired name=spam namespace=risk": 0.25,
        "serinus_rollout_weight_ratio kind=measured name=spam namespace=risk": 0.3,
    }


def state(phase: Phase = Phase.PROGRESSING, ticks: int = 0, verdict: Verdict = Verdict.PASS, reason: str = "") -> State:
    analysis = AnalysisStatus(ticks=ticks, verdict=verdict)
    return State(STABLE, CANARY, Rollout(phase=phase, reason=reason), analysis)


@pytest.mark.parametrize(
    ("before", "after", "verdicts"),
    [
        pytest.param(state(ticks=1), state(ticks=2), {"Pass": 1.0}, id="a look"),
        pytest.param(state(ticks=1), state(ticks=2, verdict=Verdict.NO_DATA), {"NoData": 1.0}, id="an empty look"),
        pytest.param(state(ticks=2), state(ticks=2), {}, id="no look"),
        pytest.param(state(ticks=0), state(ticks=0), {}, id="none yet"),
        pytest.param(
            replace(state(ticks=9), canary=None), state(ticks=1), {"Pass": 1.0}, id="the first look of the next rollout"
        ),
        pytest.param(state(ticks=3), replace(state(ticks=3), canary=None, stable=CANARY), {}, id="promoted"),
        pytest.param(replace(state(), analysis=None), replace(state(), analysis=None), {}, id="no analysis"),
    ],
)
def test_looks_are_counted_by_verdict(before: State, after: State, verdicts: dict[str, float]) -> None:
    telemetry.count_rollout(FRAUD, before, after)
    assert series("serinus_rollout_verdicts_total") == verdicts


def test_roll_backs_are_counted_once_and_by_reason() -> None:
    rolling_back = state(Phase.ROLLING_BACK, reason="HighErrorRate")
    for before, after in (
        (state(), rolling_back),
        (rolling_back, rolling_back),
        (rolling_back, replace(rolling_back, rollout=Rollout(phase=Phase.ROLLED_BACK, reason="HighErrorRate"))),
        (state(), state(Phase.ROLLING_BACK, reason="OOMKilled")),
    ):
        telemetry.count_rollout(FRAUD, before, after)
    assert series("serinus_rollout_rollbacks_total") == {"HighErrorRate": 1.0, "OOMKilled": 1.0}


def test_the_series_of_a_service_go_with_it() -> None:
    for name in ("fraud", "other"):
        telemetry.count_rollout(FRAUD | {"name": name}, state(ticks=1), state(Phase.ROLLING_BACK, ticks=2, reason="X"))
    telemetry.forget("risk", "fraud")
    assert series("serinus_rollout_verdicts_total") == series("serinus_rollout_rollbacks_total") == {}
    assert series("serinus_rollout_rollbacks_total", "other") == {"X": 1.0}


def test_the_names_follow_the_conventions_of_prometheus() -> None:
    """What `promtool check metrics` looks at: a help text, base units, `_total` on counters and on nothing else."""
    registry = CollectorRegistry()
    Snapshot(lambda: Readings(0.0, {"pods": 1.0}, (service("fraud", rollout={"phase": "Stable"}),))).register(registry)
    families = [family for source in (REGISTRY, registry) for family in source.collect()]
    own = [family for family in families if family.name.startswith("serinus")]
    assert len(own) >= 16
    for family in own:
        assert re.fullmatch("[a-z][a-z0-9_]*", family.name)
        assert family.documentation.endswith(".")
        assert not re.search("_(total|count|sum|bucket|ms|milliseconds|minutes|percent)$", family.name)
        assert family.type in ("counter", "gauge", "histogram", "info")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
