"""Which embedded cluster of this machine has which slot, kept as a file in the cache."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from tests.cluster import cache
from tests.cluster.addressing import SLOTS, Slot, free_slot
from tests.cluster.errors import ClusterError

# Routes of this metric hold an ended cluster's traffic back; they do not make its slot taken.
BLACKHOLE_METRIC = 4000


def run_directory(name: str) -> Path:
    """Return the folder of the cluster `name`: all it writes while it runs."""
    return cache.directory() / "clusters" / name


def claim(name: str) -> Slot:
    """Return the slot of the cluster `name`, giving it a free one if it has none.

    Raises ClusterError when all are taken.
    """
    with cache.locked("slots"):
        # A name without a run directory has been taken down or lost its folder.
        slots = {known: index for known, index in _read().items() if run_directory(known).exists()}
        if name not in slots:
            slot = free_slot(set(slots.values()), routed_networks())
            if slot is None:
                raise ClusterError(
                    f"all {SLOTS} slots for test clusters are taken or their subnets (10.87.0.0/16, 10.88.0.0/16, "
                    "10.96.0.0/11, 10.128.0.0/11) are routed elsewhere: take other test clusters down"
                )
            slots[name] = slot.index
        run_directory(name).mkdir(parents=True, exist_ok=True)
        _write(slots)
        return Slot(slots[name])


def lookup(name: str) -> Slot | None:
    """Return the slot that the cluster `name` has, or None."""
    index = _read().get(name)
    return None if index is None else Slot(index)


def release(name: str) -> None:
    """Give the slot of the cluster `name` back."""
    with cache.locked("slots"):
        _write({known: index for known, index in _read().items() if known != name})


def routed_networks() -> list[IPv4Network]:
    """Return the IPv4 networks that the machine has routes to, except our own blackholes."""
    shown = subprocess.run(
        ["ip", "-json", "-4", "route", "show", "table", "all"], capture_output=True, text=True, check=True
    )
    return list(_networks(json.loads(shown.stdout or "[]")))


def _networks(routes: list[dict[str, Any]]) -> Iterator[IPv4Network]:
    for route in routes:
        ours = route.get("type") == "blackhole" and route.get("metric") == BLACKHOLE_METRIC
        if route["dst"] != "default" and not ours:
            yield IPv4Network(route["dst"], strict=False)


def _path() -> Path:
    return cache.directory() / "clusters" / "slots.json"


def _read() -> dict[str, int]:
    return dict(json.loads(_path().read_text())) if _path().exists() else {}


def _write(slots: Mapping[str, int]) -> None:
    _path().parent.mkdir(parents=True, exist_ok=True)
    partial = _path().with_suffix(".partial")
    partial.write_text(json.dumps(slots, indent=1, sort_keys=True) + "\n")
    partial.rename(_path())
