"""What the test cluster installs on the machine."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster import host
from tests.cluster.errors import ClusterError

APT_GET = """#!/bin/sh
# Like the real one, it fails while another holds its lock.
mkdir {folder}/lock || exit 100
echo "$*" >> {folder}/log
sleep 0.2
case "$*" in *install*) printf '#!/bin/sh\\n' > {folder}/a-program; chmod +x {folder}/a-program ;; esac
rmdir {folder}/lock
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A machine whose apt-get installs `a-program`; returns what it was asked for so far."""
    apt_get = tmp_path / "apt-get"
    apt_get.write_text(APT_GET.format(folder=tmp_path))
    apt_get.chmod(0o755)
    monkeypatch.setenv("SERINUS_CACHE", str(tmp_path / "cache"))
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setattr(host, "SEARCH_PATH", path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    log = tmp_path / "log"
    return lambda: log.read_text().splitlines() if log.exists() else []


def test_packages_are_installed_once_by_several_at_the_same_time(calls: Callable[[], list[str]]) -> None:
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(host.require_packages, {"a-program": "a-package"}) for _ in range(3)]:
            done.result()
    update, install = calls()
    assert update.split()[-1] == "update"
    assert install.split()[-1] == "a-package"


def test_nothing_is_asked_for_where_the_programs_are_there(calls: Callable[[], list[str]]) -> None:
    host.require_packages({"sh": "dash"})
    assert calls() == []


def test_without_root_the_command_is_told(calls: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="as root: apt-get install --no-install-recommends a-package"):
        host.require_packages({"a-program": "a-package"})
    assert calls() == []
