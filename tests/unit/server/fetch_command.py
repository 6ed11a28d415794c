"""`serinus-server fetch`, run within the process of a test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serinus_server.cli import main


def fetch_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """What runs the command into folder/models and returns its exit code and termination message."""
    message = folder / "termination-log"
    monkeypatch.setenv("SERINUS_TERMINATION_LOG", str(message))

    def run(uri: str, *options: str) -> tuple[int, str]:
        message.unlink(missing_ok=True)
        with pytest.raises(SystemExit) as caught:
            main(["fetch", uri, str(folder / "models"), *options])
        return int(str(caught.value.code)), message.read_text() if message.exists() else ""

    return run
