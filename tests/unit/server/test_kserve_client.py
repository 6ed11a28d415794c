"""KServe's own clients, unchanged, over both transports, against a real server."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.server import models
from tests.unit.server.kserve_environment import kserve_python
from tests.unit.server.serving import serving

CALLS = Path(__file__).with_name("kserve_calls.py")
EVERY_TYPE = list(models.DTYPES)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Any:  # noqa: ANN401 - JSON
    """What the clients found."""
    python = kserve_python()
    types, small = (tmp_path_factory.mktemp(name) for name in ("types", "small"))
    with (
        serving(models.save(models.every_type(), types), "--grpc-port", "0") as server,
        serving(models.save(models.mlp(), small), "--grpc-port", "0") as another,
    ):
        ports = [server.port, *(each.wait_for("listening")["grpc_port"] for each in (server, another))]
        command = [str(python), str(CALLS), *map(str, ports)]
        calls = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert calls.returncode == 0, calls.stderr
    return json.loads(calls.stdout.splitlines()[-1])


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_kserve_client(said: Any, transport: str) -> None:  # noqa: ANN401
    found = said[transport]
    assert (found["live"], found["ready"], found["model"]) == (True, True, True)
    assert "input 'in_FP32': shape must be [FP32], not [1, 1]" in found["wrong"]


@pytest.mark.parametrize(("transport", "form"), [("rest", "json"), ("rest", "binary"), ("grpc", "raw")])
def test_every_type_comes_back(said: Any, transport: str, form: str) -> None:  # noqa: ANN401
    assert said[transport][form] == {"id": "7", "model": "m", "same": EVERY_TYPE}


def test_typed_contents(said: Any) -> None:  # noqa: ANN401
    # x W for the W of models.mlp(), through its softmax.
    logits = np.array([[1, 2, 3, 4]]) @ (np.arange(12).reshape(4, 3) / 10)
    assert np.allclose(said["contents"], np.exp(logits) / np.exp(logits).sum())


def test_a_model_that_is_not_there(said: Any) -> None:  # noqa: ANN401
    assert said["rest"]["no model"] is False
    assert "there is no model 'other'; this server has model 'm', version '1'" in said["grpc"]["no model"]
