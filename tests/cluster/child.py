"""A program that runs beside the one that starts it, and ends with it."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_END_SECONDS: Final = 30.0
"""How long it may take to end by itself once it is told to."""


@contextmanager
def child(
    command: Sequence[str], log: Path, *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the context ends; what it says goes to the file `log`.

    Where the program that starts it is killed, it is killed, too, rather than run on unseen.
    """
    prefix = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with (
        log.open("w") as file,
        subprocess.Popen(
            [*prefix, *command], stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=cwd, env=environment
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
