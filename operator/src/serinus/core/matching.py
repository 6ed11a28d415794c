"""Whether an object is as it is wanted, though the API server and others have added to it."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from pydantic import JsonValue

_QUANTITIES: Final = frozenset({"cpu", "memory", "sizeLimit"})

_QUANTITY: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?")
_DECIMAL_EXPONENTS: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY_PREFIXES: Final = "KMGTPE"

_MERGED_LISTS: Final = frozenset(
    {"containers", "env", "imagePullSecrets", "initContainers", "ownerReferences", "volumeMounts", "volumes"}
)
"""Lists that server-side apply merges by key. It takes nobody else's entries out, so they are let be."""


def matches(wanted: JsonValue, live: JsonValue, name: str = "") -> bool:
    """Whether all that `wanted` says is so in `live`; what else `live` has is somebody else's."""
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return not wanted and live is None
        return _selects_the_same(wanted, live, name) and all(
            matches(value, live.get(key), key) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return _list_matches(wanted, live, name)
    if name in _QUANTITIES and wanted is not None and live is not None:
        return wanted == live or _amount(str(wanted)) == _amount(str(live))
    return wanted == live


def not_kept(wanted: Mapping[str, Any]) -> str:
    """What is said of an object that, right after it was applied, is not as it is wanted."""
    told = f"{wanted['kind']} {wanted['metadata']['name']} is not kept as it is applied: "
    volumes = wanted.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", ())
    if any("image" in volume for volume in volumes):
        return (
            f"{told}the API server may leave out the image volume with the model, as older ones do. It takes "
            "Kubernetes 1.35, or the feature gate ImageVolume: ask the platform team, or have the model elsewhere."
        )
    return f"{told}an admission webhook of the cluster changes it. Ask those who run it to leave that field alone."


def _list_matches(wanted: list[JsonValue], live: JsonValue, name: str) -> bool:
    if not isinstance(live, list):
        return not wanted and live is None
    if name in _MERGED_LISTS:
        by_name = {entry["name"]: entry for entry in live if isinstance(entry, Mapping) and "name" in entry}
        return all(isinstance(entry, Mapping) and matches(entry, by_name.get(entry["name"])) for entry in wanted)
    return len(wanted) == len(live) and all(matches(one, other, name) for one, other in zip(wanted, live, strict=True))


def _selects_the_same(wanted: Mapping[str, JsonValue], live: Mapping[str, JsonValue], name: str) -> bool:
    """A selector with one key more means something else, and is applied as a whole."""
    return name not in ("selector", "matchLabels") or wanted.keys() == live.keys()


def _amount(quantity: str) -> Fraction | str:
    """A Kubernetes quantity in thousandths, rounded up as the API server does; the text itself if it is none."""
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        return quantity
    number, suffix, exponent = match.groups()
    scale = Fraction(10) ** int(exponent or _DECIMAL_EXPONENTS.get(suffix, 0))
    if suffix is not None and suffix.endswith("i"):
        scale = Fraction(1024) ** (_BINARY_PREFIXES.index(suffix[0]) + 1)
    return Fraction(math.ceil(Fraction(Decimal(number)) * scale * 1000))
