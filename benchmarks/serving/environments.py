"""What is installed once, outside the checkout: an environment for each peer."""

import subprocess
import sys
from pathlib import Path

from tests.cluster import cache

PEERS = Path(__file__).parent / "peers"


def peer_python(name: str) -> Path:
    """The interpreter of a peer's environment, which holds exactly what its lock names."""
    lock = PEERS / f"{name}.txt"
    folder = _folder() / f"{name}-{cache.content_key(PEERS, [lock], sys.version)}"
    python = folder / "bin" / "python"
    done = folder / "installed"
    with cache.locked(f"peer-{name}"):
        if not done.exists():
            print(f"installing {name}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", lock], check=True)
            done.touch()
        cache.mark_used(folder)
    return python


def _folder() -> Path:
    folder = cache.directory() / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
