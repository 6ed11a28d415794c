"""When the operator says that a restart would do it good."""

from dataclasses import replace
from typing import Any

import pytest

from serinus.core.health import Vitals, ailments

WELL = Vitals(
    workers_alive=True,
    election_alive=True,
    waiting=0.0,
    since_progress=0.0,
    watch_ages={"pods": 200.0, "services": 0.0},
    since_answer=0.0,
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({}, (), id="all is well"),
        pytest.param({"workers_alive": False}, ("a worker has ended",), id="a worker has ended"),
        pytest.param({"election_alive": False}, ("the election has ended",), id="the election has ended"),
        pytest.param(
            {"waiting": 400.0, "since_progress": 301.0},
            ("keys wait, and no visit has ended for 301 s",),
            id="keys wait and nothing is done",
        ),
        pytest.param({"waiting": 400.0, "since_progress": 299.0}, (), id="much to do, and it is done"),
        pytest.param({"waiting": 299.0, "since_progress": 9999.0}, (), id="nothing to do until lately"),
        pytest.param({"since_progress": 9999.0}, (), id="nothing to do"),
        pytest.param(
            {"watch_ages": {"services": 901.0, "pods": 1000.4, "deployments": 900.0}},
            ("the watch of pods has been silent for 1000 s", "the watch of services has been silent for 901 s"),
            id="watches are silent while the API server answers",
        ),
        pytest.param({"watch_ages": {"pods": 1000.0}, "since_answer": 61.0}, (), id="the API server is down"),
        pytest.param({"watch_ages": {}, "since_answer": float("inf")}, (), id="nothing is watched yet"),
        pytest.param(
            {"workers_alive": False, "election_alive": False},
            ("a worker has ended", "the election has ended"),
            id="all that is wrong is said",
        ),
    ],
)
def test_what_a_restart_would_put_right(change: dict[str, Any], said: tuple[str, ...]) -> None:
    assert ailments(replace(WELL, **change)) == said
