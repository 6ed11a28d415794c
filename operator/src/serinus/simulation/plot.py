"""A picture of a simulation: how soon its rollouts end, and how."""

from pathlib import Path
from typing import Final

from serinus.simulation.report import Report
from serinus.simulation.run import Outcome, outcome_of

SUFFIXES: Final = (".svg", ".png", ".pdf")

_COLOURS: Final = {Outcome.PROMOTED: "#2a7f3f", Outcome.ROLLED_BACK: "#b3261e", Outcome.PAUSED: "#8a6d00"}


class PlotError(Exception):
    """The picture cannot be drawn; the message says what to do."""


def check_plot(path: Path) -> None:
    """Raise PlotError, before any time is spent, for a file of no known kind and where matplotlib is missing."""
    if path.suffix not in SUFFIXES:
        raise PlotError(f"--plot {path}: the name must end in one of {', '.join(SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise PlotError("--plot needs matplotlib: pip install 'serinus[plot]'") from error


def plot(report: Report, path: Path) -> None:
    """Draw the share of rollouts that have ended in each way, over time. Raises OSError if the file cannot be written.

    The same report gives the same SVG file, byte for byte.
    """
    import matplotlib as mpl  # noqa: PLC0415 - an extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    endings = report.summary.endings
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    last = max(ending.after.total_seconds() for ending in endings) / 60
    for outcome in Outcome:
        minutes = sorted(one.after.total_seconds() / 60 for one in endings if outcome_of(one) is outcome)
        shares = [100 * number / len(endings) for number in range(len(minutes) + 1)]
        axes.step([0.0, *minutes, last], [*shares, shares[-1]], where="post", color=_COLOURS[outcome])
        axes.plot([], [], color=_COLOURS[outcome], label=f"{outcome.value}: {shares[-1]:.3g}%")
    canary, stable = report.scenario.canary, report.scenario.stable
    axes.set_title(
        f"{len(endings)} simulated rollouts, {report.scenario.requests_per_second:g} requests/s; errors "
        f"{canary.error_rate * 100:.3g}% beside {stable.error_rate * 100:.3g}%",
        fontsize="medium",
    )
    axes.set(xlabel="minutes since the rollout began", ylabel="rollouts ended, %", xlim=(0, None), ylim=(0, 102))
    axes.grid(alpha=0.3)
    axes.legend(loc="center right")
    with mpl.rc_context({"svg.hashsalt": "serinus"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
