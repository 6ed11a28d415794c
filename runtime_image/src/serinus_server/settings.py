"""What can be set about serving."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serinus_server.access_log import AccessLogMode

SERVICE_ACCOUNT_DIR: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has the token and the authorities for the API server."""


@dataclass(frozen=True)
class ServeSettings:
    """The options of `serinus-server serve`; durations in seconds, sizes in bytes.

    `pipeline` names the files of its stages in the folder `model_path`; empty, there is one model.
    Without a `grpc_port` there is no gRPC; 0 takes a free one. At the `monitoring_port`, if there is one, health and
    metrics are told without TLS, and nothing else is. The folders are mounts that may change; without
    one, what it would say does not hold. The limits on what is in flight are those of all `workers` together; None
    leaves their number to the server.
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
    workers: int | None
    warm_up: bool
    batching: bool
    access_log: AccessLogMode
    inferenceservice: str
    revision: str
    policy_dir: Path | None = None
    api_keys_dir: Path | None = None
    tls_dir: Path | None = None
    monitoring_port: int | None = None
    service_account_dir: Path = SERVICE_ACCOUNT_DIR
