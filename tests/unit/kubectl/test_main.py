"""The plugin as it is typed, without a cluster."""

import pytest

from serinus.kubectl.main import main


def test_without_kubectl_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["status", "digits"]) == 1
    assert capsys.readouterr().err == "error: there is no kubectl on the PATH, which this is a plugin of\n"


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
