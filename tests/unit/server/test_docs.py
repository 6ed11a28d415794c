"""docs/server.md names what there is: options, metrics and their labels' values, reasons to end."""

import re
from pathlib import Path

import pytest

from serinus_server.cli import main
from serinus_server.failure import Reason
from serinus_server.metrics import REJECTION_REASONS, STAGES, Metrics

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "server.md").read_text()


def test_every_option_is_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    options = set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    assert len(options) > 15
    assert options == set(re.findall(r"`(--[a-z-]+)`", PAGE.partition("## Policy")[0]))


def test_every_metric_is_on_the_page() -> None:
    metrics = Metrics("svc", "abc", "7", ["pre"])
    metrics.reloaded("policy")
    metrics.certificate_in_force(1.0)
    names = set(re.findall(r"^# TYPE (serinus_\w+)", metrics.expose().decode(), re.MULTILINE))
    assert len(names) > 10
    assert names == set(re.findall(r"^\| `(serinus_\w+)", PAGE, re.MULTILINE))


def test_every_rejection_and_every_stage_is_on_the_page() -> None:
    for reason in REJECTION_REASONS:
        assert f"`{reason}`" in PAGE
    assert ", ".join(STAGES) in PAGE


def test_every_end_is_in_the_readme() -> None:
    readme = (ROOT / "runtime_image" / "README.md").read_text()
    for reason in Reason:
        assert f"| {reason.value} | {reason.wire_name} " in readme
