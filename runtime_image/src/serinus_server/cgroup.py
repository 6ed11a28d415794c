"""What the container may use: processors and memory, from the control groups that hold this process.

Counting the host's cores instead makes onnxruntime start a thread per core of a large node inside a
small quota, where they throttle each other.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_V1_UNLIMITED_BYTES = 1 << 60  # v1 writes "no limit" as a huge number near 2**63


def available_cpus(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> int:
    """Whole processors this process may keep busy: the least of quota and affinity, at least 1."""
    quotas = [*_v2_quotas(mount, membership), *_v1_quotas(mount, membership)]
    return max(1, int(min([len(os.sched_getaffinity(0)), *quotas])))


def memory_limit(mount: Path = _MOUNT, membership: Path = _MEMBERSHIP) -> int | None:
    """The least memory limit in bytes that holds for this process, or None without one."""
    limits = [int(text) for text in _v2_values(mount, membership, "memory.max") if text != "max"]
    limits += [int(text) for text in _v1_values(mount, membership, "memory", "memory.limit_in_bytes")]
    return min((limit for limit in limits if limit < _V1_UNLIMITED_BYTES), default=None)


def _v2_quotas(mount: Path, membership: Path) -> Iterator[float]:
    for text in _v2_values(mount, membership, "cpu.max"):
        quota, period = text.split()
        if quota != "max":
            yield int(quota) / int(period)


def _v1_quotas(mount: Path, membership: Path) -> Iterator[float]:
    quotas = _v1_values(mount, membership, "cpu", "cpu.cfs_quota_us")
    periods = _v1_values(mount, membership, "cpu", "cpu.cfs_period_us")
    for quota, period in zip(quotas, periods, strict=False):
        if int(quota) > 0:
            yield int(quota) / int(period)


def _v2_values(mount: Path, membership: Path, name: str) -> Iterator[str]:
    """The file `name` of this process's group and of every group above it."""
    return _values(mount, _group(membership, ""), name)


def _v1_values(mount: Path, membership: Path, controller: str, name: str) -> Iterator[str]:
    for folder in (mount / controller, mount / f"{controller},cpuacct"):
        if folder.is_dir():
            yield from _values(folder, _group(membership, controller), name)
            return


def _values(root: Path, group: str, name: str) -> Iterator[str]:
    folder = root / group.lstrip("/")
    while True:
        # Inside a cgroup namespace the path may name groups that are not visible here.
        text = _read(folder / name)
        if text is not None:
            yield text
        if folder == root or root not in folder.parents:
            return
        folder = folder.parent


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _group(membership: Path, controller: str) -> str:
    """This process's path in the hierarchy of a v1 controller, or of v2 for the empty name."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return "/"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return "/"
