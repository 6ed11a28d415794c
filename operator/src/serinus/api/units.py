"""The API's units in their text form: durations, percentages and decimals, which a spec writes as strings."""

import re
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

# Six digits a part: no duration that fits a field is too long for Go, for Python or for a sum with a date.
DURATION_PATTERN: Final = r"^([0-9]{1,6}(us|ms|s|m|h))+$"
PERCENTAGE_PATTERN: Final = r"^(100|[0-9]{1,2}(\.[0-9]{1,3})?)%$"
DECIMAL_PATTERN: Final = r"^[0-9]{1,3}(\.[0-9]{1,3})?$"
QUANTITY_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"

_DURATION_UNITS: Final = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
}

_QUANTITY_UNITS: Final[dict[str, Fraction]] = {
    "": Fraction(1),
    "m": Fraction(1, 1000),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
}


def parse_duration(text: str) -> timedelta:
    """Read a Go-style duration such as `250ms` or `1m30s`. Raises ValueError for anything else."""
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a duration: write one like 250ms, 30s, 5m or 1h30m")
    parts = re.findall(r"([0-9]+)(us|ms|s|m|h)", text)
    return sum((int(amount) * _DURATION_UNITS[unit] for amount, unit in parts), timedelta())


def format_duration(duration: timedelta) -> str:
    """Write a duration of at least a microsecond the way a spec would: `1h30m`, `250ms`."""
    microseconds = duration // timedelta(microseconds=1)
    text = ""
    for unit, length in reversed(_DURATION_UNITS.items()):
        amount, microseconds = divmod(microseconds, length // timedelta(microseconds=1))
        text += f"{amount}{unit}" if amount else ""
    return text or "0s"


def parse_percentage(text: str) -> float:
    """Read a percentage such as `0.5%` as a fraction between 0 and 1. Raises ValueError otherwise."""
    if not re.fullmatch(PERCENTAGE_PATTERN, text):
        raise ValueError(f"{text!r} is not a percentage: write one like 1% or 0.5%")
    return float(Decimal(text.removesuffix("%")) / 100)


def parse_quantity(text: str) -> Fraction:
    """Read a Kubernetes quantity such as `500m` or `1Gi` exactly. Raises ValueError otherwise."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)", text)
    if match is None or match.group(2) not in _QUANTITY_UNITS:
        raise ValueError(f"{text!r} is not a quantity: write one like 500m, 2 or 1Gi")
    return Fraction(match.group(1)) * _QUANTITY_UNITS[match.group(2)]
