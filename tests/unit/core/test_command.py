"""Reading the command annotation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.core.command import Command, InvalidCommand, Verb, parse_command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("1:promote:0a1b2c3d4e", Command("1", Verb.PROMOTE, "0a1b2c3d4e")),
        ("2026-03-01T03.00_x:abort:0a", Command("2026-03-01T03.00_x", Verb.ABORT, "0a")),
        ("1:promote:0a\n", Command("1", Verb.PROMOTE, "0a")),
        ("2:pause:0a", Command("2", Verb.PAUSE, "0a")),
        ("3:resume:0a", Command("3", Verb.RESUME, "0a")),
        (f"{'a' * 64}:retry:0a", Command("a" * 64, Verb.RETRY, "0a")),
    ],
)
def test_commands(text: str, command: Command) -> None:
    assert parse_command(text) == command


@pytest.mark.parametrize(
    "text",
    [
        "promote",
        "1:promote",
        "1:promote:",
        ":promote:0a",
        "1:destroy:0a",
        "1:PROMOTE:0a",
        "1:promote:0a:more",
        "1:promote:NOTHEX",
        f"{'a' * 65}:promote:0a",
        "1 2:promote:0a",
    ],
)
def test_anything_else_is_told_of(text: str) -> None:
    unknown = parse_command(text)
    assert isinstance(unknown, InvalidCommand)
    assert unknown.id == text[:64]
    assert repr(text[:64]) in unknown.message
    assert all(verb in unknown.message for verb in Verb)


def test_an_empty_annotation_is_no_command() -> None:
    assert parse_command("") is None


@given(st.text(max_size=80))
def test_no_text_breaks_it(text: str) -> None:
    command = parse_command(text)
    if isinstance(command, Command):
        assert f"{command.id}:{command.verb}:{command.revision}" == text.rstrip("\n")
    else:
        assert command == (InvalidCommand(text[:64]) if text else None)
