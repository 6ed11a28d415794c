"""Processors and memory from made-up control group trees."""

import os
from pathlib import Path

import pytest

from serinus_server.cgroup import available_cpus, memory_limit

CORES = len(os.sched_getaffinity(0))


def tree(folder: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    mount = folder / "cgroup"
    for name, text in files.items():
        path = mount / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    mount.mkdir(exist_ok=True)
    (folder / "self").write_text(membership)
    return mount, folder / "self"


V1 = "3:cpu,cpuacct:/pod/c\n2:memory:/pod/c\n"


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        ("0::/\n", {}, CORES),
        ("0::/\n", {"cpu.max": "max 100000"}, CORES),
        ("0::/\n", {"cpu.max": "100000 100000"}, 1),
        ("0::/\n", {"cpu.max": "10000 100000"}, 1),
        ("0::/\n", {"cpu.max": "199000 100000"}, 1),
        ("0::/\n", {"cpu.max": "6400000 100000"}, CORES),
        ("0::/pod/c\n", {"pod/c/cpu.max": "max 100000", "pod/cpu.max": "100000 100000"}, 1),
        ("0::/not/visible\n", {"cpu.max": "100000 100000"}, 1),
        (V1, {"cpu,cpuacct/pod/c/cpu.cfs_quota_us": "100000", "cpu,cpuacct/pod/c/cpu.cfs_period_us": "100000"}, 1),
        (V1, {"cpu/pod/c/cpu.cfs_quota_us": "-1", "cpu/pod/c/cpu.cfs_period_us": "100000"}, CORES),
    ],
)
def test_cpus_are_the_least_of_quota_and_affinity(
    tmp_path: Path, membership: str, files: dict[str, str], cpus: int
) -> None:
    assert available_cpus(*tree(tmp_path, membership, files)) == cpus


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"memory.max": "max"}, None),
        ("0::/pod/c\n", {"pod/c/memory.max": "max", "pod/memory.max": "268435456"}, 268435456),
        ("0::/pod/c\n", {"pod/c/memory.max": "1000", "pod/memory.max": "2000"}, 1000),
        (V1, {"memory/pod/c/memory.limit_in_bytes": "1000"}, 1000),
        (V1, {"memory/pod/c/memory.limit_in_bytes": "9223372036854771712"}, None),
    ],
)
def test_memory_limit(tmp_path: Path, membership: str, files: dict[str, str], limit: int | None) -> None:
    assert memory_limit(*tree(tmp_path, membership, files)) == limit


def test_no_proc_is_no_limit(tmp_path: Path) -> None:
    assert available_cpus(tmp_path, tmp_path / "missing") == CORES
    assert memory_limit(tmp_path, tmp_path / "missing") is None
