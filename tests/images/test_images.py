"""The images as they are built: what runs in them, as whom, and that a second build makes the same again."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster import archives, builders, host, images
from tests.cluster.images import Image

ELF_MAGIC: Final = b"\x7fELF"
MACHINES: Final = {"amd64": 62, "arm64": 183}
"""`e_machine` of an ELF file, at offset 18."""
UNCHECKED_HASH: Final = 1
"""Flags of bytecode, at offset 4, that holds without a look at its source (PEP 552)."""
MEGABYTES: Final = {"serinus-server": 160, "serinus-operator": 115}
"""What an image adds to its base at most."""


@dataclass(frozen=True)
class Layers:
    """An image's settings, and the files of the layers that are not its base's."""

    config: dict[str, Any]
    files: list[tuple[tarfile.TarInfo, bytes]]

    def named(self, *suffixes: str) -> Iterator[tuple[str, bytes]]:
        """The regular files with one of these ends."""
        return ((file.name, content) for file, content in self.files if file.isreg() and file.name.endswith(suffixes))


def read(archive: Path) -> Layers:
    with tarfile.open(archive) as image:
        (manifest,) = json.loads(content(image, "manifest.json"))
        files = []
        for layer in manifest["Layers"][-2:]:
            with tarfile.open(fileobj=image.extractfile(layer)) as entries:
                files += [(entry, content(entries, entry) if entry.isreg() else b"") for entry in entries]
        return Layers(json.loads(content(image, manifest["Config"])), files)


def content(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def name_of(image: Image) -> str:
    return image.tag.rpartition("/")[2].partition(":")[0]


@pytest.fixture(scope="module", params=images.IMAGES, ids=name_of)
def image(request: pytest.FixtureRequest) -> Image:
    chosen: Image = request.param
    return chosen


@pytest.fixture(scope="module")
def archive(image: Image) -> Path:
    (built,) = images.build(images=[image])
    return built


@pytest.fixture(scope="module")
def layers(archive: Path) -> Layers:
    return read(archive)


def test_runs_as_nobody_who_owns_anything(layers: Layers) -> None:
    assert layers.config["config"]["User"] == "65532:65532"
    assert {(file.uid, file.gid) for file, _ in layers.files} == {(0, 0)}
    assert [file.name for file, _ in layers.files if not file.issym() and file.mode & 0o6022] == []


def test_holds_what_runs_and_no_more(image: Image, layers: Layers) -> None:
    folders = {"tests", "include", "pip", "uv", "setuptools", "hatchling", ".cache", "log", "tmp"}
    suffixes = (".pyi", ".pyx", ".pxd", ".a", ".log", "uv_cache.json", "direct_url.json")
    assert [file.name for file, _ in layers.files if folders & set(file.name.split("/"))] == []
    assert list(layers.named(*suffixes)) == []
    assert sum(file.size for file, _ in layers.files) < MEGABYTES[name_of(image)] * 1_000_000


def test_every_module_is_compiled_for_good(layers: Layers) -> None:
    """Neither a read-only root nor a time of a file makes Python compile at each start."""
    compiled = dict(layers.named(".pyc"))
    assert {int.from_bytes(content[4:8], "little") for content in compiled.values()} == {UNCHECKED_HASH}
    for source, _ in layers.named(".py"):
        folder, _, name = source.rpartition("/")
        assert f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-311.pyc" in compiled


@pytest.fixture
def dates_files() -> None:
    if builders.find().name == "docker":
        pytest.skip("docker dates files only with the exporter that runtime_image/README.md tells of")


@pytest.mark.usefixtures("dates_files")
def test_no_time_but_one(layers: Layers) -> None:
    assert {file.mtime for file, _ in layers.files} == {int(builders.TIMESTAMP)}
    assert layers.config["created"] == "2020-01-01T00:00:00Z"


@pytest.mark.usefixtures("dates_files")
def test_the_same_when_built_again_from_nothing(image: Image, archive: Path, tmp_path: Path) -> None:
    images.build_anew(tmp_path / "again.tar", image, host.architecture())
    assert archives.contents(tmp_path / "again.tar").digest == archives.contents(archive).digest


@pytest.mark.parametrize("architecture", MACHINES)
def test_compiled_files_are_of_the_architecture(image: Image, archive: Path, architecture: str, tmp_path: Path) -> None:
    """The other one's image has no base here, as nothing of one is needed to put an image together."""
    if architecture != host.architecture():
        archive = tmp_path / "image.tar"
        images.build_anew(archive, image, architecture, base="scratch")
    built = read(archive)
    elf = {name: content for name, content in built.named("") if content.startswith(ELF_MAGIC)}
    assert len(elf) > 10
    assert {int.from_bytes(content[18:20], "little") for content in elf.values()} == {MACHINES[architecture]}
    assert built.config["architecture"] == architecture
