"""Processes that outlive the program that started them, found again by a file and never mistaken."""

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError

KILL_SECONDS = 10.0


@dataclass(frozen=True)
class Process:
    """A process by id, start time (clock ticks since boot) and a text its command line holds.

    Ids are used again by the system; an id with its start time is not.
    """

    pid: int
    started: int
    marker: str

    @classmethod
    def of(cls, pid: int, marker: str) -> "Process":
        """Return the running process `pid`; raises ClusterError when it is already gone."""
        started = _start_time(pid)
        if started is None:
            raise ClusterError(f"process {pid} ended at once")
        return cls(pid, started, marker)

    @classmethod
    def read(cls, file: Path) -> "Process | None":
        """Return the process that `file` tells of, running or not; None without such a file."""
        return cls(**json.loads(file.read_text())) if file.exists() else None

    def write(self, file: Path) -> None:
        """Write down which process this is."""
        file.write_text(json.dumps({"pid": self.pid, "started": self.started, "marker": self.marker}))

    def runs(self) -> bool:
        """Return whether this very process is still there."""
        if _start_time(self.pid) != self.started:
            return False
        try:
            return self.marker.encode() in Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False

    def kill(self) -> None:
        """Kill the process, if it is still there, and wait for its end."""
        deadline = time.monotonic() + KILL_SECONDS
        while self.runs():
            if time.monotonic() > deadline:
                raise ClusterError(f"process {self.pid} ({self.marker}) does not end when killed")
            os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.05)


def first_child(pid: int) -> int | None:
    """Return the id of a child of process `pid`, or None when it has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the name in parentheses, and may hold anything; start time is field 22.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])
