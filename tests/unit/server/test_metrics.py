"""What Prometheus scrapes: names, labels, zeros from the start, and counts that add up."""

import json
from pathlib import Path

from serinus.api.buckets import BUCKET_BOUNDS_SECONDS as OPERATORS_BOUNDS
from serinus_server.buckets import BUCKET_BOUNDS_SECONDS
from serinus_server.metrics import EXPECTED_CODES, REJECTION_REASONS, STAGES, Metrics
from tests.unit.server import models
from tests.unit.server.serving import serving, tensor


def series(metrics: Metrics) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in metrics.expose().decode().splitlines() if line.startswith("serinus_")]
    return {name: float(value) for name, value in lines}


def test_every_series_is_there_at_zero() -> None:
    found = series(Metrics("svc", "abc", "7"))
    labels = 'inferenceservice="svc",revision="abc",version="7"'
    for code in EXPECTED_CODES:
        assert found[f'serinus_requests_total{{code="{code}",{labels}}}'] == 0
    for reason in REJECTION_REASONS:
        assert (
            found[
                f'serinus_rejected_requests_total{{inferenceservice="svc",reason="{reason}",revision="abc",version="7"}}'
            ]
            == 0
        )
    for stage in STAGES:
        assert (
            found[f'serinus_stage_seconds_count{{inferenceservice="svc",revision="abc",stage="{stage}",version="7"}}']
            == 0
        )
    buckets = [name for name in found if name.startswith("serinus_request_duration_seconds_bucket")]
    assert len(buckets) == len(BUCKET_BOUNDS_SECONDS) + 1
    assert found[f"serinus_request_duration_seconds_count{{{labels}}}"] == 0
    assert not any("_created" in name for name in found)


def test_buckets_are_cumulative_and_hold_their_upper_bound() -> None:
    metrics = Metrics("svc", "abc", "7")
    for seconds in (0.0, 0.0001, 0.00011, 0.1, 29.9, 31.0):
        metrics.answered(200, seconds)
    metrics.answered(504, 5.0)
    metrics.answered(418, 0.1)
    found = series(metrics)

    def bucket(bound: str) -> float:
        (value,) = (value for name, value in found.items() if "_seconds_bucket" in name and f'le="{bound}"' in name)
        return value

    assert [bucket(bound) for bound in ("0.0001", "0.00025", "0.075", "0.1", "20.0", "30.0", "+Inf")] == [
        2,
        3,
        3,
        4,
        4,
        5,
        6,
    ]
    assert [value for name, value in found.items() if 'code="418"' in name] == [1]


def test_batch_sizes_are_counted_by_run() -> None:
    metrics = Metrics("svc", "abc", "7")
    for size in (1, 1, 3, 32, 40):
        metrics.ran_together(size)
    found = series(metrics)
    labels = 'inferenceservice="svc",revision="abc",version="7"'
    buckets = {
        bound: found[f'serinus_batch_size_bucket{{inferenceservice="svc",le="{bound}",revision="abc",version="7"}}']
        for bound in ("1.0", "2.0", "4.0", "32.0", "+Inf")
    }
    assert buckets == {"1.0": 2, "2.0": 2, "4.0": 3, "32.0": 4, "+Inf": 5}
    assert (found[f"serinus_batch_size_count{{{labels}}}"], found[f"serinus_batch_size_sum{{{labels}}}"]) == (5, 77)


def test_bounds_ascend() -> None:
    assert list(BUCKET_BOUNDS_SECONDS) == sorted(set(BUCKET_BOUNDS_SECONDS))
    assert (BUCKET_BOUNDS_SECONDS[0], BUCKET_BOUNDS_SECONDS[-1]) == (0.0001, 30)


def test_the_operator_judges_on_the_same_bounds() -> None:
    assert BUCKET_BOUNDS_SECONDS == OPERATORS_BOUNDS


def test_a_server_counts_what_it_answers(tmp_path: Path) -> None:
    environment = {"SERINUS_INFERENCESERVICE": "svc", "SERINUS_REVISION": "0123456789"}
    with serving(models.save(models.mlp(), tmp_path), environment=environment) as server:
        good = {"inputs": [tensor("x", "FP32", [1, 4], [1, 2, 3, 4])]}
        for _ in range(20):
            assert server.infer(good)[0] == 200
        for _ in range(3):
            assert server.infer(b"{")[0] == 400
        server.get("/v2/health/ready")
        server.get("/v2/models/m")
        server.call("POST", "/v2/models/other/infer", good)
        ours = {"inferenceservice": "svc", "revision": "0123456789", "version": "1"}
        assert server.metric("serinus_requests_total", code="200", **ours) == 20
        assert server.metric("serinus_requests_total", code="400", **ours) == 3
        assert server.metric("serinus_request_duration_seconds_count", **ours) == 20
        assert server.metric("serinus_request_duration_seconds_bucket", le="+Inf", **ours) == 20
        assert 0 < server.metric("serinus_request_duration_seconds_sum", **ours) < 20
        assert server.metric("serinus_stage_seconds_count", stage="run", **ours) == 20
        assert server.metric("serinus_model_load_seconds", **ours) > 0
        digest = server.wait_for("ready")["digest"]
        assert server.metric("serinus_build_info", digest=digest, **ours) == 1
        _, text = server.get("/metrics")
        assert "process_resident_memory_bytes" in text
        assert json.dumps(good) not in text
