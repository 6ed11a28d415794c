"""How values and tensors are named in messages: short, and in the protocol's own terms."""

from typing import Final

from serinus_server.model import MAX_RANK, TensorSpec

_SHOWN_CHARACTERS: Final = 60


def shown(value: object) -> str:
    """A short form of what came."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, bool):
        return str(value).lower()
    return clipped(repr(value))


def clipped(text: str) -> str:
    """A text, cut off where it gets long."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def shown_shape(spec: TensorSpec) -> str:
    """A spec's shape: `[batch, 4]`, with -1 for an unnamed open dimension."""
    if spec.shape is None:
        return f"of at most {MAX_RANK} dimensions"
    return "[" + ", ".join("-1" if size is None else str(size) for size in spec.shape) + "]"


def expected(spec: TensorSpec) -> str:
    """What an input must be."""
    return f"{spec.datatype.name} tensor of shape {shown_shape(spec)}"
