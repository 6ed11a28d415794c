"""What all peers have in common: the session, with one thread, and where to listen."""

import sys
from typing import Any, NamedTuple

import onnxruntime

HOST = "127.0.0.1"
NAME = "m"


class Arguments(NamedTuple):
    """The command line."""

    model: str
    http_port: int
    grpc_port: int


def arguments() -> Arguments:
    """What this process was started with."""
    model, http_port, grpc_port = sys.argv[1:4]
    return Arguments(model, int(http_port), int(grpc_port))


def open_session(model: str) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """The model on one thread, without spinning, as serinus-server opens it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
