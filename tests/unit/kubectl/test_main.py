"""The plugin as it is typed, without a cluster."""

from pathlib import Path

import pytest

from serinus.kubectl.main import main

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: nobody, user: nobody}}]
clusters: [{name: nobody, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
"""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    return path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "digits", "--context", "nowhere"], "nowhere"),
        (["promote", "digits", "--kubeconfig", "/nonexistent/config"], "/nonexistent/config"),
    ],
    ids=["unknown_context", "no_kubeconfig"],
)
def test_a_kubeconfig_that_cannot_be_used_is_one_line(
    arguments: list[str],
    says: str,
    kubeconfig: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the kubeconfig cannot be used: ")
    assert says in line


def test_a_cluster_that_is_not_there_is_told(kubeconfig: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "digits", "--kubeconfig", str(kubeconfig)]) == 1
    assert capsys.readouterr().err.startswith("error: the API server cannot be reached: ")


@pytest.mark.parametrize("verb", ["status", "promote", "abort", "retry", "pause", "resume", "history"])
def test_each_command_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"kubectl serinus {verb}" in text
    assert "--context" in text


def test_watching_is_not_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["status", "digits", "-w", "-o", "json"])
    assert "not allowed with" in capsys.readouterr().err
