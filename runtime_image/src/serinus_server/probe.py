"""The first load of a model, in a process of its own: a file that crashes the loader crashes only that.

`python -m serinus_server.probe QUESTION` gets a JSON object and writes one JSON object a line on stdout:
`{"doing": "loading x.onnx"}` before each step, `{"files": [...]}` after a load that works, and
`{"failure": [reason, message]}` if something does not. Without a failure, what it did last crashed it.
"""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from serinus_server.cgroup import memory_limit
from serinus_server.child_process import end_with_parent
from serinus_server.failure import FatalError, Reason
from serinus_server.loading import SafeFile, look_at, open_file, put_together
from serinus_server.model import Runnable, Signature
from serinus_server.model_files import ModelFile
from serinus_server.warm_up import warm_up

_LOADING_SECONDS: Final = 900
_RUNNING_SECONDS: Final = 120


def examine(
    files: Sequence[ModelFile],
    *,
    warm_up: bool,
    loading_seconds: int = _LOADING_SECONDS,
    running_seconds: int = _RUNNING_SECONDS,
) -> list[SafeFile]:
    """Load (and run) a model, of one file or of several stages, in a process of its own.

    That process may take so many seconds of a processor for the one and then for the other.

    Raises FatalError(MODEL_LOAD_FAILED or WARM_UP_FAILED), also when that process crashes.
    """
    named = [[str(file.folder), file.name, file.stage] for file in files]
    seconds = {"loading": loading_seconds, "running": running_seconds}
    question = {"files": named, "warm_up": warm_up, "seconds": seconds}
    arguments = [sys.executable, "-m", "serinus_server.probe", json.dumps(question)]
    process = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)  # noqa: S603 - our own module
    said: dict[str, Any] = {}
    for line in process.stdout.splitlines():
        said |= json.loads(line)
    if "failure" in said:
        reason, message = said["failure"]
        raise FatalError(Reason[reason], message)
    if process.returncode != 0 or "files" not in said:
        reason = Reason.WARM_UP_FAILED if "files" in said else Reason.MODEL_LOAD_FAILED
        limit = running_seconds if "files" in said else loading_seconds
        raise FatalError(reason, f"{said.get('doing', 'starting the runtime')} {_ending(process.returncode, limit)}")
    return [
        SafeFile(file, frozenset(found["without_rank"]), frozenset(map(Path, found["external_files"])))
        for file, found in zip(files, said["files"], strict=True)
    ]


def _ending(returncode: int, limit: int) -> str:
    if returncode == -signal.SIGXCPU:
        return f"took more than {limit} s of processor time"
    if returncode == -signal.SIGKILL:
        return "was killed (SIGKILL), as it is when memory runs out"
    if returncode >= 0:
        return f"crashed the runtime (exit code {returncode})"
    try:
        return f"crashed the runtime ({signal.Signals(-returncode).name})"
    except ValueError:
        return f"crashed the runtime (signal {-returncode})"


def main() -> None:
    """Examine what the command line asks for."""
    question = json.loads(sys.argv[1])
    files = [ModelFile(Path(folder), name, stage) for folder, name, stage in question["files"]]
    end_with_parent()
    _limit_resources()
    _limit_processor_time(question["seconds"]["loading"])
    try:
        session, signature = _load(files)
        if question["warm_up"]:
            _tell({"doing": "running " + _names(files)})
            _limit_processor_time(question["seconds"]["running"])
            warm_up(session, signature)
    except FatalError as failure:
        _tell({"failure": [failure.reason.name, str(failure)]})
    except MemoryError:
        _tell({"failure": [Reason.MODEL_LOAD_FAILED.name, f"{_names(files)} does not fit into memory"]})


def _load(files: Sequence[ModelFile]) -> tuple[Runnable, Signature]:
    safe, parts = [], []
    for file in files:
        _tell({"doing": f"loading {file.path.name}"})
        with file.named_in_failures():
            safe.append(look_at(file))
            parts.append(open_file(safe[-1], intra_op_threads=1))
    whole = put_together(files, parts)
    found = [
        {"without_rank": sorted(each.without_rank), "external_files": sorted(map(str, each.external_files))}
        for each in safe
    ]
    _tell({"files": found})
    return whole


def _names(files: Sequence[ModelFile]) -> str:
    return ", ".join(file.path.name for file in files)


def _limit_processor_time(seconds: int) -> None:
    """From now on. The kernel ends the process with a signal of its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _limit_resources() -> None:
    """No core files, no writing, and no more memory than there is."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    memory = memory_limit() or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # On top of what the interpreter has mapped already, most of which it never touches.
    _limit(resource.RLIMIT_DATA, memory + _mapped_data_bytes())


def _limit(what: int, value: int) -> None:
    """Set a limit, unless there is a lower one already."""
    _, hard = resource.getrlimit(what)
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (least, least))


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
