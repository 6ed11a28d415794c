"""Files that were made to hurt the server: each ends the load with a sentence of its own, and nothing else happens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serinus_server.failure import FatalError, Reason
from serinus_server.model_files import ModelFile, find_model_files
from serinus_server.probe import examine
from tests.unit.server import models
from tests.unit.server.hostile_models import CORPUS, endless, folded, functions, hole, laughs
from tests.unit.server.serving import serving

RUNNING = {"a constant of 4 terabytes", "a loop without an end"}
"""What no loader notices, as it only shows when it is run."""


@pytest.mark.parametrize("name", CORPUS)
def test_hostile_onnx_files(tmp_path: Path, name: str) -> None:
    write, sentence = CORPUS[name]
    folder = tmp_path / "model"
    folder.mkdir()
    path = write(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FatalError) as caught:
        examine(find_model_files(path, {}), warm_up=True, running_seconds=2)
    assert caught.value.reason is (Reason.WARM_UP_FAILED if name in RUNNING else Reason.MODEL_LOAD_FAILED)
    assert sentence in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_hostile_file_ends_the_server_in_order(tmp_path: Path) -> None:
    write, sentence = CORPUS["weights at an address in memory"]
    with serving(write(tmp_path), wait=False) as server:
        assert server.exit_code() == 21
        assert server.termination_log.read_text() == f"ModelLoadFailed: model.onnx {sentence}"


def test_a_stage_may_be_hostile_as_well(tmp_path: Path) -> None:
    write, sentence = CORPUS["functions ten times over"]
    write(tmp_path).rename(tmp_path / "second.onnx")
    models.save(models.mlp(), tmp_path, "first.onnx")
    stages = find_model_files(tmp_path, {"first": "first.onnx", "second": "second.onnx"})
    with pytest.raises(FatalError, match=f"stage 'second': second.onnx's {sentence}"):
        examine(stages, warm_up=True)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_model_that_is_no_file_is_not_opened(tmp_path: Path, make: object) -> None:
    assert callable(make)
    path = tmp_path / "model.onnx"
    make(path)
    with pytest.raises(FatalError, match=r"model\.onnx is no file") as caught:
        find_model_files(tmp_path, {})
    assert caught.value.reason is Reason.MODEL_NOT_FOUND
    if not path.is_dir():
        with pytest.raises(FatalError, match=r"model\.onnx is no file"):
            find_model_files(path, {})


EXAMINE = """
import resource, sys
from pathlib import Path
from serinus_server.model_files import find_model_files
from serinus_server.probe import examine
limit, megabytes = sys.argv[1], int(sys.argv[3])
resource.setrlimit(getattr(resource, limit), (megabytes << 20, megabytes << 20))
examine(find_model_files(Path(sys.argv[2]), {}), warm_up=True)
"""


def under_a_limit(path: Path, limit: str, megabytes: int) -> str:
    """How the examination ends where a limit holds that this process cannot raise."""
    command = [sys.executable, "-c", EXAMINE, limit, str(path), str(megabytes)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip().rpartition("\n")[2]


def test_memory_is_limited_while_loading_and_running(tmp_path: Path) -> None:
    assert under_a_limit(models.save(models.mlp(), tmp_path), "RLIMIT_DATA", 600) == ""
    ending = under_a_limit(hole(1 << 30)(tmp_path), "RLIMIT_DATA", 600)
    assert ending == "serinus_server.failure.FatalError: model.onnx does not fit into memory"
    ending = under_a_limit(folded(1 << 28)(tmp_path), "RLIMIT_DATA", 600)  # a gigabyte
    assert "Failed to allocate memory for requested buffer of size 1073741824" in ending


def test_a_loader_that_takes_for_ever_is_stopped(tmp_path: Path) -> None:
    path = functions(laughs(5))(tmp_path)
    with pytest.raises(FatalError, match=r"loading model\.onnx took more than 1 s of processor time") as caught:
        examine([ModelFile(path.parent, path.name)], warm_up=False, loading_seconds=1)
    assert caught.value.reason is Reason.MODEL_LOAD_FAILED


def test_without_a_warm_up_nothing_runs(tmp_path: Path) -> None:
    path = endless(tmp_path)
    (examined,) = examine([ModelFile(path.parent, path.name)], warm_up=False)
    assert examined.without_rank == set()
