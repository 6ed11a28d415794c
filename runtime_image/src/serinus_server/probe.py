"""The first load of a model, in a process of its own: a file that crashes the loader crashes only that.

`python -m serinus_server.probe FILE` writes one JSON object a line on stdout, and ends:
`{"loaded": {...}}` after a load that works, `{"failure": [reason, message]}` if something does not.
"""

import ctypes
import json
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from serinus_server.cgroup import memory_limit
from serinus_server.failure import FatalError, Reason

_CPU_SECONDS: Final = 900
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True)
class Examined:
    """What the probe found out about a model that is fit to serve."""

    inputs_without_rank: frozenset[str]
    external_files: frozenset[Path]


def examine(path: Path, *, warm_up: bool) -> Examined:
    """Load (and run) a model in a process of its own.

    Raises FatalError(MODEL_LOAD_FAILED or WARM_UP_FAILED), also when that process crashes.
    """
    arguments = [sys.executable, "-m", "serinus_server.probe", str(path), *(["--warm-up"] if warm_up else [])]
    process = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)  # noqa: S603 - our own module
    found: dict[str, Any] = {}
    for line in process.stdout.splitlines():
        found |= json.loads(line)
    if "failure" in found:
        reason, message = found["failure"]
        raise FatalError(Reason[reason], message)
    if process.returncode != 0 or "loaded" not in found:
        stage = Reason.WARM_UP_FAILED if "loaded" in found else Reason.MODEL_LOAD_FAILED
        doing = "running" if "loaded" in found else "loading"
        raise FatalError(stage, f"{doing} {path.name} crashed the runtime ({_ending(process.returncode)})")
    loaded = found["loaded"]
    files = frozenset(Path(file) for file in loaded["external_files"])
    return Examined(frozenset(loaded["inputs_without_rank"]), files)


def _ending(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def main() -> None:
    """Examine the file named on the command line."""
    from serinus_server.model import open_session, read_signature  # noqa: PLC0415 - the parent needs no runtime
    from serinus_server.onnx_file import read_outline, require_safe  # noqa: PLC0415
    from serinus_server.warm_up import warm_up  # noqa: PLC0415

    path = Path(sys.argv[1])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # do not outlive the server
    _limit_resources()
    try:
        outline = read_outline(path)
        external_files = require_safe(outline, path)
        session = open_session(path, intra_op_threads=1)
        signature = read_signature(session, outline.inputs_without_rank)
        files = [str(file) for file in external_files]
        _tell({"loaded": {"inputs_without_rank": sorted(outline.inputs_without_rank), "external_files": files}})
        if "--warm-up" in sys.argv[2:]:
            warm_up(session, signature)
    except FatalError as failure:
        _tell({"failure": [failure.reason.name, str(failure)]})
    except MemoryError:
        _tell({"failure": [Reason.MODEL_LOAD_FAILED.name, f"{path.name} does not fit into memory"]})


def _limit_resources() -> None:
    """No core files, no writing, no endless loop, and no more memory than the container has."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    limit = memory_limit()
    if limit is not None:
        # On top of what the interpreter has mapped already, most of which it never touches.
        limit += _mapped_data_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _mapped_data_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _tell(fact: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
