"""Running other programs, with their own words in the error when they fail."""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.errors import ClusterError

TAIL_LINES = 30


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> str:
    """Run `command` to its end and return what it printed.

    Raises ClusterError with the end of its standard error when it is missing or fails.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env=env,
            cwd=cwd,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"{command[0]} is not installed, or not on PATH") from error
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).splitlines()[-TAIL_LINES:])
        line = shlex.join(str(part) for part in command)
        raise ClusterError(f"{line}\nended with {done.returncode}:\n{tail}")
    return done.stdout
