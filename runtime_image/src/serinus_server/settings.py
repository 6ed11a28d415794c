"""What can be set about serving."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serinus_server.access_log import AccessLogMode


@dataclass(frozen=True)
class ServeSettings:
    """The options of `serinus-server serve`; durations in seconds, sizes in bytes.

    `pipeline` names the files of its stages in the folder `model_path`; empty, there is one model.
    Without a `grpc_port` there is no gRPC; 0 takes a free one.
    """

    model_path: Path
    pipeline: Mapping[str, str]
    model_name: str
    model_version: str
    host: str
    http_port: int
    grpc_port: int | None
    request_timeout: float
    max_body_size: int
    max_in_flight: int
    max_in_flight_bytes: int
    drain_delay: float
    keep_alive_timeout: float
    max_connection_age: float
    intra_op_threads: int
    warm_up: bool
    batching: bool
    access_log: AccessLogMode
    inferenceservice: str
    revision: str
