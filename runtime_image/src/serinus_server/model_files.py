"""Which files are meant by a path: one model, or the stages of a pipeline."""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serinus_server.digest import combined_digest, file_digest
from serinus_server.failure import FatalError, Reason

_STAGE_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class ModelFile:
    """A file in the folder of a model; `name` is its path within. `stage` is None where it is the whole model."""

    folder: Path
    name: str
    stage: str | None = None

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.folder / self.name

    @contextmanager
    def named_in_failures(self) -> Iterator[None]:
        """Within the block, failures say of which stage they speak."""
        try:
            yield
        except FatalError as failure:
            if self.stage is None:
                raise
            raise FatalError(failure.reason, f"stage {self.stage!r}: {failure}") from failure


def parse_stages(text: str) -> dict[str, str]:
    """The stages of a pipeline, name -> file, in order, from `preprocess=pre.onnx,model=model.onnx`.

    Raises ValueError.
    """
    stages: dict[str, str] = {}
    for part in text.split(","):
        name, separator, file = part.partition("=")
        if not separator or not file:
            raise ValueError(f"{part!r} is not a stage such as preprocess=preprocess.onnx")
        if not _STAGE_NAME.fullmatch(name):
            raise ValueError(f"the name of stage {name!r} must be lower case letters, digits and -, at most 63")
        if name in stages:
            raise ValueError(f"two stages are named {name!r}")
        stages[name] = file
    return stages


def find_model_files(path: Path, stages: Mapping[str, str]) -> list[ModelFile]:
    """The files meant by a path: without stages one model, with them a file of the folder for each, in order.

    Raises FatalError(MODEL_NOT_FOUND), and FatalError(MODEL_LOAD_FAILED) for a stage outside the folder.
    """
    if not stages:
        found = find_model_file(path)
        return [ModelFile(found.parent, found.name)]
    if not path.is_dir():
        state = "is a file" if path.exists() else "does not exist"
        raise FatalError(Reason.MODEL_NOT_FOUND, f"a pipeline needs the folder of its stages, but {path} {state}")
    files = [ModelFile(path, name, stage) for stage, name in stages.items()]
    for file in files:
        with file.named_in_failures():
            _require_file_within(file)
    return files


def _require_file_within(file: ModelFile) -> None:
    if "\0" in file.name or ".." in Path(file.name).parts or not _is_within(file.path, file.folder):
        raise FatalError(Reason.MODEL_LOAD_FAILED, f"{file.name!r} is outside the model's folder")
    if not file.path.is_file():
        found = sorted(str(each.relative_to(file.folder)) for each in file.folder.rglob("*.onnx") if each.is_file())
        there = f"the .onnx files in it are {', '.join(found[:10])}" if found else "there is no .onnx file in it"
        raise FatalError(Reason.MODEL_NOT_FOUND, f"{file.name!r} is no file of {file.folder}; {there}")


def _is_within(path: Path, folder: Path) -> bool:
    """Whether a file is in a folder, once all links are followed."""
    return path.resolve().is_relative_to(folder.resolve())


def find_model_file(path: Path) -> Path:
    """The model file meant by a path: itself, or in a folder `model.onnx` or the only `*.onnx`.

    Raises FatalError(MODEL_NOT_FOUND).
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise FatalError(Reason.MODEL_NOT_FOUND, f"{path} {'is no file' if path.exists() else 'does not exist'}")
    usual = path / "model.onnx"
    if usual.is_file():
        return usual
    if usual.exists():
        raise FatalError(Reason.MODEL_NOT_FOUND, f"{usual} is no file")
    found = sorted(candidate for candidate in path.rglob("*.onnx") if candidate.is_file())
    if len(found) == 1:
        return found[0]
    if not found:
        raise FatalError(Reason.MODEL_NOT_FOUND, f"there is no .onnx file in {path}")
    names = ", ".join(str(candidate.relative_to(path)) for candidate in found[:5])
    raise FatalError(Reason.MODEL_NOT_FOUND, f"{path} holds {len(found)} models ({names}); name one model.onnx")


def files_digest(folder: Path, names: Collection[str], external_files: Collection[Path]) -> str:
    """SHA-256 of files of one folder, together with their external data if they have any."""
    digests = {Path(name).as_posix(): file_digest(folder / name) for name in names}
    resolved = folder.resolve()
    digests |= {file.relative_to(resolved).as_posix(): file_digest(file) for file in external_files}
    return combined_digest(digests)
