"""The command line: `serinus-server serve`, `inspect`, `fetch`, `verify` and `api-key`."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from serinus_server import __version__
from serinus_server.access_log import AccessLogMode
from serinus_server.api_keys import is_client_name, make_api_key, stored_form
from serinus_server.cgroup import memory_limit
from serinus_server.ending import run_to_end
from serinus_server.log import JsonLog
from serinus_server.model_files import parse_stages
from serinus_server.settings import SERVICE_ACCOUNT_DIR, ServeSettings

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
_SIZE_UNITS: Final = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_DURATION_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DEFAULT_VERSION: Final = "1"
_MODEL_HELP: Final = "model file, or a folder with model.onnx or a single .onnx file"
_PIPELINE_HELP: Final = "stages and their files in the folder MODEL, in order: pre=pre.onnx,model=model.onnx"
_DEFAULT_IN_FLIGHT_BYTES: Final = 256 << 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    log = JsonLog()
    sys.exit(run_to_end(lambda: options.command(options, log), log))


def _serve(options: argparse.Namespace, log: JsonLog) -> None:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the runtime is loaded
    from serinus_server.lifecycle import serve  # noqa: PLC0415 - `fetch` has no use for the runtime

    path = options.model or options.model_path
    name = options.model_name or path.resolve().stem
    in_flight_bytes = options.max_in_flight_bytes or max(
        options.max_body_size, (memory_limit() or _DEFAULT_IN_FLIGHT_BYTES * 4) // 4
    )
    serve(
        ServeSettings(
            model_path=path,
            pipeline=options.pipeline,
            model_name=name,
            model_version=options.model_version,
            host=options.host,
            http_port=options.http_port,
            grpc_port=options.grpc_port,
            request_timeout=options.request_timeout,
            max_body_size=options.max_body_size,
            max_in_flight=options.max_in_flight,
            max_in_flight_bytes=in_flight_bytes,
            drain_delay=options.drain_delay,
            keep_alive_timeout=options.keep_alive_timeout,
            max_connection_age=options.max_connection_age,
            intra_op_threads=options.intra_op_threads,
            workers=options.workers,
            warm_up=not options.skip_warm_up,
            batching=options.batching,
            access_log=options.access_log,
            inferenceservice=os.environ.get("SERINUS_INFERENCESERVICE") or name,
            revision=os.environ.get("SERINUS_REVISION", ""),
            policy_dir=options.policy_dir,
            api_keys_dir=options.api_keys_dir,
            tls_dir=options.tls_dir,
            monitoring_port=options.monitoring_port,
            service_account_dir=options.service_account_dir,
        ),
        log,
    )


def _inspect(options: argparse.Namespace, _log: JsonLog) -> None:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the runtime is loaded
    from serinus_server.inspection import inspect  # noqa: PLC0415 - `fetch` has no use for the runtime

    name = options.model.resolve().stem
    sys.stdout.write(inspect(options.model, options.pipeline, name, _DEFAULT_VERSION))


def _fetch(options: argparse.Namespace, log: JsonLog) -> None:
    from serinus_server.fetching.transfer import FetchRequest, fetch  # noqa: PLC0415 - `serve` has no use for it

    fetch(FetchRequest(options.uri, options.folder, options.sha256, options.max_size, options.allow_http), log)


def _verify(options: argparse.Namespace, log: JsonLog) -> None:
    from serinus_server.verification import VerifyRequest, verify  # noqa: PLC0415 - `serve` has no use for it

    path = options.path.strip("/")
    verify(VerifyRequest(options.volume, path, not path or options.path.endswith("/"), options.sha256), log)


def _api_key(options: argparse.Namespace, _log: JsonLog) -> None:
    client, secret = options.client, options.secret
    key = make_api_key()
    line = stored_form(key)
    sys.stdout.write(
        f"The key of {client}; it is shown only here:\n\n    {key}\n\n"
        f"In the Secret, under {client}, goes this line, beside that of a former key while both are valid:\n\n"
        f"    {line}\n\n"
        f"For the first client, or for another one:\n\n"
        f"    kubectl create secret generic {secret} --from-literal={client}={line}\n"
        f'    kubectl patch secret {secret} --type=merge -p \'{{"stringData":{{"{client}":"{line}"}}}}\'\n'
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="serinus-server", description="Serves ONNX models over the Open Inference Protocol."
    )
    parser.add_argument("--version", action="version", version=f"serinus-server {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_inspect(commands)
    _add_fetch(commands)
    _add_verify(commands)
    _add_api_key(commands)
    return parser


def _add_serve(commands: _Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="serve a model",
        description="Serve a model. Every option can also be set as SERINUS_<OPTION>, such as SERINUS_DRAIN_DELAY.",
    )
    serve.set_defaults(command=_serve)
    option = _OptionAdder(serve)
    model_path = os.environ.get("SERINUS_MODEL_PATH")
    model = serve.add_mutually_exclusive_group(required=not model_path)
    model.add_argument("model", metavar="MODEL", type=Path, nargs="?", help=_MODEL_HELP)
    model.add_argument("--model-path", metavar="MODEL", type=Path, default=model_path, help="the same as an option")
    option("--pipeline", _stages, "", _PIPELINE_HELP)
    option("--model-name", _name, None, "name in URLs, replies and metrics; otherwise the file's, without .onnx")
    option("--model-version", _name, _DEFAULT_VERSION, "version in URLs, replies and metrics")
    option("--host", str, "*", "address to listen on; * is every one")
    option("--http-port", _port, "8080", "port to listen on; 0 takes a free one and logs it")
    option("--grpc-port", _port_or_off, "off", "port for gRPC (9000 is usual), or off; 0 takes a free one and logs it")
    option("--monitoring-port", _port_or_off, "off", "port for health and metrics alone, without TLS, or off")
    option("--request-timeout", _positive_duration, "30s", "after this a request is answered with 504")
    option("--max-body-size", _positive_size, "16Mi", "a larger request body is answered with 413")
    option("--max-in-flight", _positive_int, "256", "requests in work at once; more are answered with 503")
    option("--max-in-flight-bytes", _size, "0", "bytes of bodies in work at once; 0: a quarter of the memory limit")
    option("--drain-delay", _duration, "5s", "how long to go on serving after SIGTERM, while clients turn away")
    option("--keep-alive-timeout", _positive_duration, "120s", "close a connection idle for so long")
    option("--max-connection-age", _positive_duration, "10s", "ask clients to reconnect after about so long")
    option("--intra-op-threads", _positive_int, "1", "threads within a run; runs in parallel share the processors")
    option("--workers", _positive_int_or_auto, "auto", "processes; auto is more than 1 for models of microseconds only")
    option("--batching", _auto_or_off, "auto", "run waiting requests together where the warm-up shows that it pays")
    option("--access-log", _access_log, "all", "which requests to log: all, errors or off")
    option("--policy-dir", Path, None, "folder with policy.json: quota and access; changes hold without a restart")
    option("--api-keys-dir", Path, None, "folder with a file of API key digests for each client; changes hold, too")
    option("--tls-dir", Path, None, "folder with tls.crt and tls.key, and with ca.crt if clients need certificates")
    option("--service-account-dir", Path, str(SERVICE_ACCOUNT_DIR), "folder with the token that asks for TokenReviews")
    serve.add_argument(
        "--skip-warm-up",
        action="store_true",
        default=os.environ.get("SERINUS_SKIP_WARM_UP", "").lower() in {"1", "true"},
        help="for a model that fails on every made-up input",
    )


def _add_inspect(commands: _Commands) -> None:
    inspect = commands.add_parser("inspect", help="show what a model takes and gives, and an example request")
    inspect.set_defaults(command=_inspect)
    inspect.add_argument("model", metavar="MODEL", type=Path, help=_MODEL_HELP)
    inspect.add_argument("--pipeline", type=_stages, default={}, help=_PIPELINE_HELP)


def _add_fetch(commands: _Commands) -> None:
    fetch = commands.add_parser("fetch", help="bring a model into a folder")
    fetch.set_defaults(command=_fetch)
    fetch.add_argument(
        "uri", metavar="URI", help="s3://bucket/key (or gs, az), s3://bucket/folder/ or https://host/path"
    )
    fetch.add_argument("folder", metavar="DIR", type=Path, help="folder to put it in")
    fetch.add_argument("--sha256", type=_sha256, metavar="HEX", help="digest that the model must have")
    fetch.add_argument("--max-size", type=_positive_size, default="10Gi", help="size in all at most (default 10Gi)")
    fetch.add_argument("--allow-http", action="store_true", help="allow http://, which is not encrypted")


def _add_verify(commands: _Commands) -> None:
    verify = commands.add_parser("verify", help="see that a mounted volume holds a model")
    verify.set_defaults(command=_verify)
    verify.add_argument("volume", metavar="DIR", type=Path, help="where the volume is mounted")
    verify.add_argument("path", metavar="PATH", help="the model in it: a file, or a folder if it ends in /")
    verify.add_argument("--sha256", type=_sha256, metavar="HEX", help="digest that the model must have")


def _add_api_key(commands: _Commands) -> None:
    api_key = commands.add_parser("api-key", help="make an API key")
    api_key.set_defaults(command=_api_key)
    api_key.add_argument("client", metavar="CLIENT", type=_client, help="whose key: the name of the file in the Secret")
    api_key.add_argument("--secret", metavar="NAME", default="api-keys", help="the Secret's name (default api-keys)")


class _OptionAdder:
    """Adds options whose default may come from the environment."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser

    def __call__(
        self,
        flag: str,
        type_: Callable[[str], Any],
        default: str | None,
        text: str,
    ) -> None:
        """Add one."""
        variable = "SERINUS_" + flag.removeprefix("--").replace("-", "_").upper()
        given = os.environ.get(variable, default)
        shown = f" (default {default})" if default else ""
        self._parser.add_argument(flag, type=type_, default=given, help=f"{text}{shown}")


def _stages(text: str) -> dict[str, str]:
    try:
        return parse_stages(text) if text else {}
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _duration(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 500ms, 5s or 1m")
    return float(match[1]) * _DURATION_UNITS[match[2]]


def _positive_duration(text: str) -> float:
    seconds = _duration(text)
    if seconds == 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return seconds


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+)(Ki|Mi|Gi|Ti|)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in bytes such as 1048576, 512Ki or 16Mi")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def _positive_size(text: str) -> int:
    size = _size(text)
    if size == 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return size


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _positive_int_or_auto(text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return _positive_int(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or auto") from error


def _access_log(text: str) -> AccessLogMode:
    try:
        return AccessLogMode(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is none of all, errors, off") from error


def _auto_or_off(text: str) -> bool:
    if text not in {"auto", "off"}:
        raise argparse.ArgumentTypeError(f"{text!r} is none of auto, off")
    return text == "auto"


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:  # noqa: PLR2004 - the largest port
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _port_or_off(text: str) -> int | None:
    return None if text == "off" else _port(text)


def _name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("must not be empty and not hold control characters")
    return text


def _client(text: str) -> str:
    if not is_client_name(text):
        raise argparse.ArgumentTypeError(f"{text!r} must be letters, digits, - _ or ., and not start with a .")
    return text


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a SHA-256: 64 hex digits")
    return text.lower()
