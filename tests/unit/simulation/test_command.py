"""`serinus simulate` as it is typed."""

import json
import sys
from pathlib import Path

import pytest

from serinus import cli

MANIFEST = """
apiVersion: serinus.dev/v1beta1
kind: InferenceService
metadata: {name: fraud}
spec:
  model: {uri: "s3://models/fraud/2/model.onnx", version: "2"}
  autoscaling: {minReplicas: 4}
  canary:
    steps: [{weightPercent: 20, duration: 2m}, {weightPercent: 50, duration: 3m}]
    analysis: {latency: [{percentile: 95, threshold: 100ms}], minRequests: 299, interval: 1m}
"""

RATES = ["--requests-per-second", "50", "--stable-error-rate", "0.2%", "--canary-error-rate", "0.2"]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "fraud.yaml"
    path.write_text(MANIFEST)
    return path


def simulate(monkeypatch: pytest.MonkeyPatch, manifest: Path, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["serinus", "simulate", "-f", str(manifest), "--seeds", "10", *arguments])
    return cli.main()


def test_the_table(manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(monkeypatch, manifest, *RATES) == 0
    text = capsys.readouterr().out
    assert text.startswith("Version 2 beside 4 pods of the stable one, 50 requests/s, shared out by Replicas\n")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "1 20% 20% 2m" in lines
    assert "errors 0.2% 20% 1%" in lines
    assert "slower than 100ms 0% 0% 5%" in lines
    assert "promoted 0% - -" in lines
    assert any(line.startswith("rolled back 100% ") and line.endswith("HighErrorRate 100%") for line in lines)
    assert any(line.startswith("Until then version 2 serves ") for line in lines)
    assert sum(line.startswith("Caught within this rollout in 90% of the cases: ") for line in lines) == 2
    assert not any(line.startswith("Note:") for line in lines)


def test_json(manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(monkeypatch, manifest, *RATES, "--gateway", "-o", "json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["trafficMode"] == "GatewayAPI"
    assert report["rollouts"] == 10
    assert {name: one["share"] for name, one in report["outcomes"].items()} == {
        "promoted": 0,
        "rolledBack": 1,
        "paused": 0,
    }
    assert 0 < report["canaryBadRequests"]["p50"] < report["canaryRequests"]["p50"]
    assert report["steps"][0] == {"weightPercent": 20, "seconds": 120, "share": 0.2}


PERCENTILES = (
    "[{percentile: 95, threshold: 100ms}]",
    "[{percentile: 50, threshold: 20ms}, {percentile: 99, threshold: 1s}]",
)


def test_slow_rates_of_several_percentiles(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write_text(MANIFEST.replace(*PERCENTILES))
    good = [*RATES[:-1], "0.2%", "--stable-slow-rate", "p50=30%"]
    assert simulate(monkeypatch, manifest, *good, "--canary-slow-rate", "P99=40%", "-o", "json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["outcomes"]["rolledBack"]["reasons"] == {"HighLatency": 1}
    smallest = report["smallestSlowRatesCaught"]
    assert 0.004 < smallest["P99"] < 0.02
    assert 0.3 < smallest["P50"] < 0.7
    assert simulate(monkeypatch, manifest, *good, "--canary-slow-rate", "P99=40%") == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "slower than 20ms 30% 40% 50%" in lines, "what is over the longer threshold is over the shorter"
    assert "slower than 1s 0% 40% 1%" in lines
    assert sum("slower than 1s or more" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("edit", "rates", "says"),
    [
        pytest.param(PERCENTILES, ["2%"], "judges P50 and P99: say whose slow rate it is, as in P50=0.02", id="whose"),
        pytest.param(PERCENTILES, ["P95=2%"], "nothing is held to: the policy judges P50 and P99", id="another_one"),
        pytest.param(PERCENTILES, ["P50=2%", "P99=3%"], "slow rate of P99, 0.03, is over that of P50", id="impossible"),
        pytest.param(
            ("[{percentile: 95, threshold: 100ms}]", "[]"), ["2%"], "the policy judges no latency", id="no_latency"
        ),
    ],
)
def test_slow_rates_that_mean_nothing_are_refused(
    edit: tuple[str, str],
    rates: list[str],
    says: str,
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest.write_text(MANIFEST.replace(*edit))
    given = [part for rate in rates for part in ("--canary-slow-rate", rate)]
    assert simulate(monkeypatch, manifest, *RATES, *given) == 2
    assert says in capsys.readouterr().err


def test_the_same_command_prints_and_draws_the_same(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed, drawn = [], []
    for name in ("one.svg", "two.svg"):
        assert simulate(monkeypatch, manifest, *RATES, "--plot", str(tmp_path / name)) == 0
        printed.append(capsys.readouterr().out)
        drawn.append((tmp_path / name).read_bytes())
    assert printed[0] == printed[1]
    assert drawn[0] == drawn[1]
    assert b"<svg" in drawn[0]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        pytest.param(
            ("100ms", "110ms"),
            "spec.canary.analysis.latency.0.threshold: Value error, 110ms is not one of the server's histogram bounds",
            id="threshold_between_buckets",
        ),
        pytest.param(('version: "2"', "version: latest"), "spec.model.version: ", id="version_that_moves"),
        pytest.param(("minReplicas", "minimum"), "spec.autoscaling.minimum: Extra inputs", id="unknown_field"),
        pytest.param(("kind: InferenceService", "kind: Service"), "holds 0 objects InferenceService", id="other_kind"),
        pytest.param(("spec:", "spec: ["), "while parsing", id="not_yaml"),
        pytest.param(
            ("canary:", "canary:\n    traffic: {mode: GatewayAPI}"),
            "spec.canary.traffic.mode: GatewayAPI needs a platform with a Gateway: --gateway",
            id="gateway_that_is_not_there",
        ),
        pytest.param(
            (
                "canary:\n    steps: [{weightPercent: 20",
                "canary:\n    traffic: {precision: Strict}\n    steps: [{weightPercent: 25",
            ),
            "spec.canary.traffic.precision: Strict allows only weights that whole pods make",
            id="weight_that_no_pods_make",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used_is_told_as_the_operator_would(
    edit: tuple[str, str],
    says: str,
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest.write_text(MANIFEST.replace(*edit))
    assert simulate(monkeypatch, manifest, *RATES) == 2
    error = capsys.readouterr().err
    assert error.startswith("serinus simulate: ")
    assert says in error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["--plot", "x.bmp"], "--plot x.bmp: the name must end in one of .svg, .png, .pdf", id="suffix"),
        pytest.param(["--scrape-interval", "soon"], "'soon' is not a duration", id="duration"),
        pytest.param(["--replicas", "0"], "0 pods of the stable version cannot serve", id="no_pods"),
        pytest.param(["--requests-per-second", "-1"], "-1 requests/s is not between 0", id="negative_traffic"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line_and_status_2(
    arguments: list[str],
    says: str,
    manifest: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert simulate(monkeypatch, manifest, *RATES, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--canary-error-rate", "150%"], ["--stable-slow-rate", "x"]])
def test_shares_and_numbers_are_checked(
    arguments: list[str], manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        simulate(monkeypatch, manifest, *RATES, *arguments)
    assert caught.value.code == 2
    assert f"argument {arguments[0]}: " in capsys.readouterr().err


def test_a_plot_without_matplotlib_says_what_to_install(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert simulate(monkeypatch, manifest, *RATES, "--plot", str(tmp_path / "plot.svg")) == 2
    assert "pip install 'serinus[plot]'" in capsys.readouterr().err
