"""All tests: those end to end, which wait most of the time, in two halves on a cluster each, and beside them the rest.

    python -m tests.whole

The rest has the lowest priority, so that it takes no processor from a cluster under traffic. How far each is shows all
the time, and its whole output when it is over. On a cluster that the user names, which is one, the halves run one after
the other.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.cluster import existing
from tests.cluster.progress import say
from tests.cluster.selection import NAME, cluster_name

END_TO_END: Final = "tests/e2e"
PLATFORM: Final = "tests/e2e/platform"
"""What these do to the platform, such as to end the operator, all services of a cluster feel."""

_PROGRESS: Final = re.compile(r"\[ *\d+%\]$")
"""What pytest ends a line with that says how far it is."""


@dataclass(frozen=True)
class Part:
    """Some of the tests, run by a pytest of their own."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    lowest_priority: bool = False

    def command(self) -> list[str]:
        """What runs it."""
        nice = ["nice", "-n", "19"] if self.lowest_priority and shutil.which("nice") else []
        return [*nice, sys.executable, "-m", "pytest", *self.arguments]


def parts(one_cluster: bool, cluster: str) -> list[Part]:
    """What runs side by side; on one cluster all end-to-end tests are one part."""
    rest = Part("the tests that need no cluster", [f"--ignore={END_TO_END}"], {}, lowest_priority=True)
    if one_cluster:
        return [Part(END_TO_END, [END_TO_END], {}), rest]
    return [
        Part(END_TO_END, [END_TO_END, f"--ignore={PLATFORM}"], {NAME: cluster}),
        Part(PLATFORM, [PLATFORM], {NAME: f"{cluster}-platform"}),
        rest,
    ]


def main() -> int:
    """Run them; 0 when all passed, else what a pytest ended with."""
    running = parts(existing.named(), cluster_name())
    statuses: dict[str, int] = {}
    threads = [threading.Thread(target=_run, args=(part, statuses)) for part in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for part in running:
        print(f"{part.name}: {_outcome(statuses[part.name])}")
    return overall(statuses.values())


def overall(statuses: Iterable[int]) -> int:
    """0 when all passed, else the first that is not 0; it is negative for a pytest that a signal ended."""
    return next((status for status in statuses if status), 0)


def _run(part: Part, statuses: dict[str, int]) -> None:
    begun = time.monotonic()
    lines = []
    environment = os.environ | dict(part.environment)
    with subprocess.Popen(
        part.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if _PROGRESS.search(line):
                say(f"{part.name}: {line.rstrip()}")
    statuses[part.name] = process.returncode
    say(f"{part.name}: {_outcome(process.returncode)} after {time.monotonic() - begun:.0f} s")
    print("".join(lines), flush=True)


def _outcome(status: int) -> str:
    return "passed" if status == 0 else f"failed (pytest's status {status})"


if __name__ == "__main__":
    sys.exit(main())
