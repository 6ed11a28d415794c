"""A Python with KServe's client: its sixty dependencies stay out of ours, so it has an environment of its own.

`kserve_client.lock`, which `make lock` writes, has everything in it, by hash. It is installed once and kept in the
cache outside the checkout.
"""

import subprocess
import sys
from pathlib import Path

from tests.cluster import cache
from tests.cluster.cache import content_key, forget_unused, locked, mark_used

LOCK = Path(__file__).with_name("kserve_client.lock")


def kserve_python() -> Path:
    """The interpreter of the environment, which is made if it is not there yet."""
    environments = cache.directory() / "kserve"
    environments.mkdir(parents=True, exist_ok=True)
    environment = environments / content_key(LOCK.parent, [LOCK], sys.version)
    installed = environment / "installed"
    with locked("kserve"):
        if not installed.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
            pip = [str(environment / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
            subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)], check=True)
            installed.touch()
        mark_used(environment)
        forget_unused(environments)
    return environment / "bin/python"
