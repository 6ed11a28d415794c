"""The rollout as it goes: a picture that is drawn again on a terminal, lines of what changes elsewhere."""

import shutil
import textwrap
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final, TextIO

from serinus.kubectl.cluster import Cluster, ClusterError
from serinus.kubectl.service import Service
from serinus.kubectl.view import progress_line, status_lines

_PERIOD_SECONDS: Final = 1.0

_HOME: Final = "\x1b[H"
_CLEAR: Final = "\x1b[2J"
_END_OF_LINE: Final = "\x1b[K"
_BELOW: Final = "\x1b[J"


def follow(cluster: Cluster, name: str, out: TextIO, pause: Callable[[float], None] = time.sleep) -> None:
    """Show the rollout until the user interrupts. Raises ClusterError only if the service cannot be read at first."""
    service = cluster.service(name)
    show = _on_terminal(out) if out.isatty() else _as_log(out)
    trouble = ""
    while True:
        show(service, trouble)
        pause(_PERIOD_SECONDS)
        try:
            service, trouble = cluster.service(name), ""
        except ClusterError as error:
            trouble = str(error)


def _on_terminal(out: TextIO) -> Callable[[Service, str], None]:
    out.write(_CLEAR)

    def show(service: Service, trouble: str) -> None:
        now = datetime.now(UTC)
        columns, rows = shutil.get_terminal_size()
        lines = [f"{now:%H:%M:%S} UTC  {trouble}".rstrip(), "", *status_lines(service, now)]
        fitting = wrapped(lines, columns)[: rows - 1]
        out.write(_HOME + "".join(f"{line}{_END_OF_LINE}\n" for line in fitting) + _BELOW)
        out.flush()

    return show


def _as_log(out: TextIO) -> Callable[[Service, str], None]:
    last = ""

    def show(service: Service, trouble: str) -> None:
        nonlocal last
        line = trouble or progress_line(service)
        if line != last:
            out.write(f"{datetime.now(UTC):%H:%M:%S}  {line}\n")
            out.flush()
            last = line

    return show


def wrapped(lines: Iterable[str], columns: int) -> list[str]:
    """The lines, none of them longer than `columns`; what goes on is set in like the beginning, and a little more."""
    result = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        result += textwrap.wrap(line, max(columns, 20), subsequent_indent=indent, drop_whitespace=False) or [""]
    return result
