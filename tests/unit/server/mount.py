"""A folder as the kubelet mounts a ConfigMap or a Secret: a version each, and links that are swapped in one step."""

import itertools
from collections.abc import Mapping
from pathlib import Path


class Mount:
    """The folder at `path`, with the files of its first version."""

    def __init__(self, path: Path, files: Mapping[str, str | bytes]) -> None:
        self.path = path
        self._versions = itertools.count(1)
        path.mkdir()
        self.replace(files)

    def replace(self, files: Mapping[str, str | bytes]) -> None:
        """Another version of all files."""
        version = self.path / f"..version-{next(self._versions)}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content if isinstance(content, bytes) else content.encode())
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(Path("..data", name))
        link = self.path / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.path / "..data")
        for gone in {path.name for path in self.path.iterdir() if not path.name.startswith("..")} - files.keys():
            (self.path / gone).unlink()
