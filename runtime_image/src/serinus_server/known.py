"""What was found out for earlier requests and holds for later ones that are like them."""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

_MOST: Final = 64
_LONGEST: Final = 4096
"""Bounds what all of them take; a longer one mostly lists the tensors of a request that is large altogether."""

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Known(Generic[_Key, _Value]):
    """Values that came last, by what they follow from."""

    def __init__(self) -> None:
        self._by_key: dict[_Key, _Value] = {}

    def find(self, key: _Key) -> _Value | None:
        """What follows from exactly this key, if it came before."""
        return self._by_key.get(key)

    def keep(self, key: _Key, value: _Value, length: int) -> None:
        """Remember a value that takes, or whose key takes, about `length` bytes."""
        if length <= _LONGEST:
            if len(self._by_key) >= _MOST:
                self._by_key.clear()
            self._by_key[key] = value
