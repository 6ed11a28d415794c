"""Requests run together: when, which, and that each gets what it would have got alone."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from serinus_server.batching import Batching, measure
from serinus_server.executor import Executor
from serinus_server.job import Job
from serinus_server.metrics import Metrics
from serinus_server.model import Model, Tensor
from serinus_server.running import group, run
from serinus_server.warm_up import WarmUp, warm_up
from tests.unit.server import models
from tests.unit.server.in_process import load_model
from tests.unit.server.serving import serving, tensor

GENERATOR = np.random.default_rng(7)


def job(feeds: dict[str, Tensor], *outputs: str) -> Job:
    return Job(feeds, list(outputs), lambda _: None)


def floats(*shape: int) -> Tensor:
    return GENERATOR.random(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("make", "explanation"),
    [
        (models.wide_mlp, "up to "),
        (lambda: models.slow(10), "off: an input has no open first dimension"),
        (models.scalar, "off: an input has no open first dimension"),
        (models.any_rank, "off: an input has no open first dimension"),
        (models.centred, "off: an output does not keep the rows apart"),
        (models.summed, "off: an output does not keep the rows apart"),
        (models.chain, "off: a row takes "),
    ],
)
def test_batches_only_where_it_can_and_pays(
    tmp_path: Path, make: Callable[[], onnx.ModelProto], explanation: str
) -> None:
    model = load_model(models.save(make(), tmp_path))
    batching = measure(model.session, model.signature, warm_up(model.session, model.signature))
    assert batching.pays == explanation.startswith("up to")
    assert batching.explanation.startswith(explanation)


class Sleeping:
    """Stands for a session whose runs take so long, whatever they run."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.sizes: list[int] = []

    def run(self, _outputs: Sequence[str], feeds: Mapping[str, Tensor], _options: object = None) -> list[Tensor]:
        self.sizes.append(len(feeds["h0"]))
        time.sleep(self.seconds * len(feeds["h0"]))
        return list(feeds.values())


@pytest.mark.parametrize(
    ("row_seconds", "largest", "explanation"),
    [(0.07, 3, "too long to try"), (0.01, 8, "in a batch of 8")],
)
def test_no_larger_batch_is_tried_than_can_pay(
    tmp_path: Path, row_seconds: float, largest: int, explanation: str
) -> None:
    signature = load_model(models.save(models.chain(), tmp_path)).signature
    session = Sleeping(row_seconds)
    batching = measure(session, signature, WarmUp({"h0": floats(1, 4096)}, row_seconds))
    assert not batching.pays
    assert explanation in batching.explanation
    assert max(session.sizes) == largest  # three are run together to see whether rows are independent


X, WIDE = floats(1, 4), floats(1, 5)


@pytest.mark.parametrize(
    ("jobs", "sizes"),
    [
        ([({"x": X}, "y"), ({"x": floats(2, 4)}, "y"), ({"x": X}, "y")], [3]),
        ([({"x": X}, "y"), ({"x": WIDE}, "y"), ({"x": X}, "y"), ({"x": WIDE}, "y")], [2, 2]),
        ([({"x": X}, "y"), ({"x": X}, "z"), ({"x": X}, "y", "z")], [1, 1, 1]),
        ([({"x": floats(3, 4)}, "y"), ({"x": floats(3, 4)}, "y"), ({"x": floats(2, 4)}, "y")], [1, 2]),
        ([({"x": floats(9, 4)}, "y"), ({"x": X}, "y"), ({"x": X}, "y")], [1, 2]),
        ([({"x": floats(0, 4)}, "y"), ({"x": X}, "y"), ({"x": floats(0, 4)}, "y")], [1, 1, 1]),
        ([({"x": np.float32(1)}, "y"), ({"x": X}, "y")], [1, 1]),
        ([({"x": X, "optional": X}, "y"), ({"x": X}, "y")], [1, 1]),
    ],
)
def test_which_requests_go_together(jobs: Sequence[Any], sizes: list[int]) -> None:
    """Equal but for the rows, up to five of them, in the order they came."""
    given = [job(feeds, *outputs) for feeds, *outputs in jobs]
    groups = group(given, inputs=1, max_rows=5)
    assert [len(members) for members in groups] == sizes
    assert {id(each) for members in groups for each in members} == {id(each) for each in given}


def test_inputs_of_unequal_rows_run_alone() -> None:
    feeds = {"a": floats(2, 4), "b": floats(3, 4)}
    assert [len(members) for members in group([job(feeds, "y"), job(feeds, "y")], inputs=2, max_rows=9)] == [1, 1]


def test_batching_equals_unbatched(tmp_path: Path) -> None:
    model = load_model(models.save(models.wide_mlp(), tmp_path))
    jobs = [job({"x": floats(1 + number % 3, 784)}, "y") for number in range(40)]
    alone = [model.run(each.feeds or {}, ["y"])[0] for each in jobs]
    for members in group(jobs, inputs=1, max_rows=32):
        run(members, model, stoppable=True)
    for each, expected in zip(jobs, alone, strict=True):
        assert each.tensors[0].shape == expected.shape
        np.testing.assert_allclose(each.tensors[0], expected, rtol=1e-4, atol=1e-7)


def test_a_batch_that_fails_is_rerun_one_by_one(tmp_path: Path) -> None:
    model = load_model(models.save(models.lookup(), tmp_path))
    jobs = [job({"i": np.array([index])}, "y") for index in (1, 99, 3)]
    run(jobs, model, stoppable=True)
    assert [each.error is None for each in jobs] == [True, False, True]
    assert [each.tensors[0].tolist() for each in (jobs[0], jobs[2])] == [[1.0], [3.0]]
    assert "out of data bounds" in str(jobs[1].error)


def test_an_output_without_the_rows_is_not_cut_up(tmp_path: Path) -> None:
    model = load_model(models.save(models.summed(), tmp_path))
    jobs = [job({"x": np.full((1, 2), number, np.float32)}, "y") for number in (1, 2)]
    run(jobs, model, stoppable=True)
    assert [float(each.tensors[0]) for each in jobs] == [2.0, 4.0]


def test_cancelled_ones_are_skipped(tmp_path: Path) -> None:
    model = load_model(models.save(models.mlp(), tmp_path))
    jobs = [job({"x": X}, "y") for _ in range(3)]
    jobs[1].cancel()
    run(jobs, model, stoppable=True)
    assert [len(each.tensors) for each in jobs] == [1, 0, 1]
    for each in jobs:
        each.cancel()
    assert [each.stop.options.terminate for each in jobs if each.stop] == [True, True]


def executor(model: Model, run_seconds: float, threads: int = 1) -> tuple[Executor, Metrics]:
    metrics = Metrics("m", "", "1")
    warmed = WarmUp({"x": X}, run_seconds)
    return Executor(model, warmed, Batching(32, run_seconds / 4, ""), threads, metrics), metrics


def test_a_lone_request_runs_in_the_next_turn_of_the_loop(tmp_path: Path) -> None:
    async def check() -> None:
        running, metrics = executor(load_model(models.save(models.mlp(), tmp_path)), run_seconds=1e-5)
        told: list[Job] = []
        running.submit(Job({"x": X}, ["y"], told.append), 5)
        await asyncio.sleep(0)
        assert len(told) == 1
        for _ in range(5):
            running.submit(Job({"x": X}, ["y"], told.append), 5)
        await asyncio.sleep(0)
        assert len(told) == 6
        assert b'serinus_batch_size_sum{inferenceservice="m",revision="",version="1"} 6.0' in metrics.expose()
        assert b'serinus_batch_size_count{inferenceservice="m",revision="",version="1"} 2.0' in metrics.expose()

    asyncio.run(check())


def test_threads_take_what_waits(tmp_path: Path) -> None:
    """Those that came while a thread was busy run as one, and every one is answered."""

    async def check() -> None:
        running, _ = executor(load_model(models.save(models.mlp(), tmp_path)), run_seconds=1)
        results: list[Tensor] = []
        for _ in range(100):
            running.submit(Job({"x": X}, ["y"], lambda job: results.append(job.tensors[0])), 5)
        while not running.can_answer_within(0):
            await asyncio.sleep(0.01)
        assert len(results) == 100
        expected = load_model(tmp_path / "model.onnx").run({"x": X}, ["y"])[0]
        for result in results:
            np.testing.assert_allclose(result, expected, rtol=1e-5)

    asyncio.run(check())


def test_a_server_batches_under_load_and_answers_the_same(tmp_path: Path) -> None:
    model = models.save(models.wide_mlp(), tmp_path)
    rows = [floats(1, 784).round(3) for _ in range(8)]
    bodies = [{"inputs": [tensor("x", "FP32", [1, 784], row.ravel().tolist())]} for row in rows]
    expected = [load_model(model).run({"x": row}, ["y"])[0] for row in rows]
    with serving(model) as server:
        assert server.wait_for("ready")["batching"].startswith("up to ")

        def ask(number: int) -> tuple[int, Any]:
            return number % 8, server.infer(bodies[number % 8])

        with ThreadPoolExecutor(16) as clients:
            for number, (status, reply) in clients.map(ask, range(200)):
                assert status == 200
                data = np.array(reply["outputs"][0]["data"], np.float32).reshape(1, 10)
                np.testing.assert_allclose(data, expected[number], rtol=1e-4, atol=1e-6)
        assert server.metric("serinus_batch_size_sum") == 200
        assert server.metric("serinus_batch_size_count") <= 200
    with serving(model, "--batching", "off") as server:
        assert server.wait_for("ready")["batching"] == "off: by --batching"
        server.infer(bodies[0])
        assert server.metric("serinus_batch_size_bucket", le="1.0") == 1
