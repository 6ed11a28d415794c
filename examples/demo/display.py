"""What the demo shows: titles, what the operator says, a row of figures every few seconds, tables at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serinus.api.status import AnalysisStatus, InferenceServiceStatus, Phase, Verdict
from tests.cluster.traffic import Totals, VersionTally

_PLAIN_WIDTH = 150
_COLOURS = {
    Phase.STABLE: "green",
    Phase.PROMOTING: "green",
    Phase.ROLLING_BACK: "red",
    Phase.ROLLED_BACK: "red",
    Phase.PAUSED: "yellow",
}
_VERDICT_COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red"}


class Display:
    """Writes to standard output: in colour on a terminal, as plain lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, width=_PLAIN_WIDTH)

    def title(self, text: str, command: str) -> None:
        """Begin an act."""
        self._console.print()
        self._console.rule(f"[bold]{escape(text)}", align="left")
        self._console.print(f"[dim]$ {escape(command)}")

    def say(self, seconds: float, phase: Phase, message: str) -> None:
        """Repeat what the operator says."""
        colour = _COLOURS.get(phase, "cyan")
        self._console.print(f"{seconds:6.1f}s [{colour}]{phase.value}[/]: {escape(message)}", soft_wrap=True)

    def row(self, seconds: float, status: InferenceServiceStatus, totals: Totals) -> None:
        """One line of figures of a rollout; nothing while there is none."""
        if status.stable is None or status.canary is None:
            return
        weight = status.rollout.weight
        measured = "-" if weight.measured is None else f"{weight.measured}%"
        analysis = status.analysis or AnalysisStatus()
        colour = _VERDICT_COLOURS.get(analysis.verdict, "yellow")
        new, old = totals.of(status.canary.version), totals.of(status.stable.version)
        self._console.print(
            f"{seconds:6.1f}s weight {weight.desired:3d}% (measured {measured:>4})"
            f" | v{status.stable.version} {status.stable.ready_replicas} pods {_figures(old)}"
            f" | v{status.canary.version} {status.canary.ready_replicas} pods {_figures(new)}"
            f" | look {analysis.ticks}: [{colour}]{analysis.verdict.value}[/]",
            soft_wrap=True,
        )

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table of the results."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*map(escape, row))
        self._console.print()
        self._console.print(table)

    def text(self, text: str) -> None:
        """Plain text."""
        self._console.print(escape(text), soft_wrap=True)


def _figures(tally: VersionTally) -> str:
    """Replies, P95 of the last seconds, share of failures and accuracy of one version, as its clients see them."""
    p95 = "    -   " if tally.p95_ms is None else f"{tally.p95_ms:6.1f}ms"
    failed = f"{tally.failed / tally.replies:5.1%}" if tally.replies else "    -"
    return f"{tally.replies:5d} replies P95 {p95} failed {failed} right {percent(tally.accuracy)}"


def percent(share: float | None) -> str:
    """A share for a table."""
    return "    -" if share is None else f"{share:5.1%}"
