"""Files that are made of the models: written, or compared with what is there."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[4]


def write_or_check(description: str | None, files: Mapping[Path, str]) -> int:
    """Write the files, or with --check on the command line say which of them is out of date; the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    check = parser.parse_args().check
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    if check and stale:
        names = ", ".join(str(path.relative_to(REPOSITORY)) for path in stale)
        print(f"out of date: {names}; run `make generate`", file=sys.stderr)  # noqa: T201
        return 1
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])
    return 0
