"""What a pinned pod template lacks of the platform's present one: a running revision keeps the one it was made from."""

from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import JsonValue

_MOST_TOLD: Final = 3
"""Changes that a message names; the rest is counted."""

_LONGEST_VALUE: Final = 100
"""Characters of a value that a message repeats."""

_ABSENT: Final = object()


def differences(pinned: JsonValue, present: JsonValue) -> tuple[str, ...]:
    """Each place where the two differ, such as `spec.containers[server].image: a:1 -> a:2`."""
    return tuple(_differences("", pinned, present))


def summary(changes: tuple[str, ...]) -> str:
    """The changes in a clause, the first few by name."""
    told = "; ".join(changes[:_MOST_TOLD])
    more = len(changes) - _MOST_TOLD
    return f"{told}; and {more} more" if more > 0 else told


def _differences(path: str, old: object, new: object) -> Iterable[str]:
    if old == new:
        return
    parts_of_old, parts_of_new = _parts(old), _parts(new)
    if not parts_of_old or not parts_of_new:
        yield f"{path.removeprefix('.')}: {_told(old)} -> {_told(new)}"
        return
    for key in dict.fromkeys((*parts_of_old, *parts_of_new)):
        yield from _differences(f"{path}{key}", parts_of_old.get(key, _ABSENT), parts_of_new.get(key, _ABSENT))


def _parts(value: object) -> dict[str, object]:
    """The parts of a value by what to add to its path; none for one without parts."""
    if isinstance(value, Mapping):
        return {f".{key}": part for key, part in value.items()}
    if isinstance(value, list):
        return {f"[{_name(part, number)}]": part for number, part in enumerate(value)}
    return {}


def _name(part: object, number: int) -> str:
    return str(part["name"]) if isinstance(part, Mapping) and "name" in part else str(number)


def _told(value: object) -> str:
    if value is _ABSENT:
        return "nothing"
    if isinstance(value, Mapping | list):
        return "other settings" if value else "nothing"
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
