"""`python -m benchmarks.detection [--seeds N] [--write]`: compare the rules, print the tables or put them into docs."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.detection.rollouts import LOOKS, Traffic, Verdicts, judge
from benchmarks.detection.rules import LIMIT_PERCENT, RULES

PAGE: Final = Path(__file__).parents[2] / "docs" / "detection.md"
BEGIN: Final = "<!-- Written by `python -m benchmarks.detection --write`. -->"
END: Final = "<!-- The end of what is written. -->"


@dataclass(frozen=True)
class Section:
    """One table."""

    title: str
    rows: dict[str, Traffic]


SECTIONS: Final = (
    Section(
        "Good versions: as good as stable, and within the limit. Each rollback is a mistake",
        {
            f"{rate:.1%} beside {rate:.1%}, {requests} requests a look": Traffic(requests, requests, rate, rate)
            for requests in (50, 500)
            for rate in (0.001, 0.005, 0.01)
        },
    ),
    Section(
        "Versions some times as bad as a stable one of 0.5%",
        {
            f"{times:g} times, {requests} requests a look": Traffic(requests, requests, 0.005, 0.005 * times)
            for requests in (50, 500)
            for times in (1, 1.2, 2, 5)
        },
    ),
    Section(
        "Versions that are bad by far, beside a stable one of 0.5%",
        {
            "5%, 50 requests a look": Traffic(50, 50, 0.005, 0.05),
            "5%, 50 requests a look beside 950": Traffic(50, 950, 0.005, 0.05),
            "20%, 50 requests a look": Traffic(50, 50, 0.005, 0.2),
            "50%, 50 requests a look": Traffic(50, 50, 0.005, 0.5),
            "50%, 10 requests a look": Traffic(10, 90, 0.005, 0.5),
        },
    ),
    Section(
        "Both versions bad alike: it is the environment, and no version's fault",
        {f"{rate:.0%} beside {rate:.0%}, 50 requests a look": Traffic(50, 50, rate, rate) for rate in (0.05, 0.3)},
    ),
)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="benchmarks.detection", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="rollouts for each row (1000)")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    arguments = parser.parse_args()
    text = "\n".join(tables(arguments.seeds))
    if not arguments.write:
        print(text)
        return
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def tables(seeds: int) -> Iterable[str]:
    """The tables in Markdown, line by line."""
    yield f"{seeds} rollouts of {LOOKS} looks for each row, seeds 0 to {seeds - 1}; at most {LIMIT_PERCENT}% may fail."
    for section in SECTIONS:
        yield f"\n### {section.title}\n"
        yield "| truly failing | " + " | ".join(RULES) + " |"
        yield "|---|" + "---|" * len(RULES)
        for name, traffic in section.rows.items():
            cells = (cell(judge(traffic, rule, seeds)) for rule in RULES)
            yield f"| {name} | " + " | ".join(cells) + " |"


def cell(verdicts: Verdicts) -> str:
    """The share rolled back; and at the median after how many looks, requests, and bad requests."""
    share = f"{verdicts.rolled_back * 100:.3g}%"
    if verdicts.looks is None:
        return share
    return f"{share}, {verdicts.looks:.0f} looks, {verdicts.requests:.0f} / {verdicts.bad_requests:.0f}"


if __name__ == "__main__":
    main()
