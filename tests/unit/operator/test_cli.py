"""`serinus run` where it cannot run."""

import sys
from pathlib import Path

import pytest

from serinus import cli

CONFIG = "server: {image: 'registry.example/serinus-server:1'}\nprometheus: {url: 'http://prometheus:9090'}\n"

KUBECONFIGS = {
    "missing": None,
    "empty": "",
    "not YAML": "a: [",
    "a list": "- a",
    "without a context": "apiVersion: v1\nkind: Config\n",
    "with a context that is not there": "apiVersion: v1\nkind: Config\ncurrent-context: gone\ncontexts: []\n",
}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a pod."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT", raising=False)


def run(monkeypatch: pytest.MonkeyPatch, config: Path) -> int:
    monkeypatch.setattr(sys, "argv", ["serinus", "run", "--config", str(config)])
    return cli.main()


def test_a_configuration_that_cannot_be_used_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path / "missing.yaml") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("serinus: ")
    assert "missing.yaml" in line


@pytest.mark.parametrize("kubeconfig", KUBECONFIGS.values(), ids=KUBECONFIGS.keys())
def test_no_cluster_is_one_line_and_status_2(
    kubeconfig: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    path = tmp_path / "kubeconfig"
    if kubeconfig is not None:
        path.write_text(kubeconfig)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    assert run(monkeypatch, config) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("serinus: no cluster: ")


def test_a_command_is_required(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["serinus"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
