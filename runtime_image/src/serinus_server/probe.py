"""The first load of a model, in a process of its own: a file that crashes the loader crashes only that.

`python -m serinus_server.probe QUESTION` gets a JSON object and writes one JSON object a line on stdout:
`{"doing": "loading x.onnx"}` before each step, `{"files": [...]}` after a load that works, and
`{"failure": [reason, message]}` if something does not. Without a failure, what it did last crashed it.
"""

import ctypes
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from serinus_server.cgroup import memory_limit
from serinus_server.failure import FatalError, Reason
from serinus_server.loading import SafeFile, look_at, open_file, put_together
from serinus_server.model import Runnable, Signature
from serinus_server.model_files import ModelFile
from serinus_server.warm_up import warm_up

_CPU_SECONDS: Final = 900
_PR_SET_PDEATHSIG: Final = 1


def examine(files: Sequence[ModelFile], *, warm_up: bool) -> list[SafeFile]:
    """Load (and run) a model, of one file or of several stages, in a process of its own.

    Raises FatalError(MODEL_LOAD_FAILED or WARM_UP_FAILED), also when that process crashes.
    """
    named = [[str(file.folder), file.name, file.stage] for file in files]
    arguments = [sys.executable, "-m", "serinus_server.probe", json.dumps({"files": named, "warm_up": warm_up})]
    process = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)  # noqa: S603 - our own module
    said: dict[str, Any] = {}
    for line in process.stdout.splitlines():
        said |= json.loads(line)
    if "failure" in said:
        reason, message = said["failure"]
        raise FatalError(Reason[reason], message)
    if process.returncode != 0 or "files" not in said:
        stage = Reason.WARM_UP_FAILED if "files" in said else Reason.MODEL_LOAD_FAILED
        doing = said.get("doing", "starting the runtime")
        raise FatalError(stage, f"{doing} crashed the runtime ({_ending(process.returncode)})")
    return [
        SafeFile(file, frozenset(found["without_rank"]), frozenset(map(Path, found["external_files"])))
        for file, found in zip(files, said["files"], strict=True)
    ]


def _ending(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def main() -> None:
    """Examine what the command line asks for."""
    question = json.loads(sys.argv[1])
    files = [ModelFile(Path(folder), name, stage) for folder, name, stage in question["files"]]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # do not outlive the server
    _limit_resources()
    try:
        session, signature = _load(files)
        if question["warm_up"]:
            _tell({"doing": "running " + _names(files)})
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
