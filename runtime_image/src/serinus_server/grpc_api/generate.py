"""Writes the messages' Python modules from the .proto files: `python -m serinus_server.grpc_api.generate`.

A developer's tool: it needs grpcio-tools, which the server does not.
"""

import sys
import tempfile
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent
_PROTOS: Final = ("open_inference_grpc", "health")
_SHARED_POOL: Final = "_descriptor_pool.Default()"
# Clients of the protocol bring their own copy of the same messages. In a process that has both, they would clash.
_OWN_POOL: Final = "_descriptor_pool.DescriptorPool()"


def generated() -> dict[str, str]:
    """File name -> content."""
    from grpc_tools import protoc  # noqa: PLC0415 - not there in the server's image

    with tempfile.TemporaryDirectory() as folder:
        protos = [f"{name}.proto" for name in _PROTOS]
        status = protoc.main(["protoc", f"-I{_FOLDER}", f"--python_out={folder}", f"--pyi_out={folder}", *protos])
        if status != 0:
            raise RuntimeError(f"protoc ended with {status}")
        files = {path.name: path.read_text() for path in sorted(Path(folder).iterdir())}
    for name in _PROTOS:
        module = f"{name}_pb2.py"
        if _SHARED_POOL not in files[module]:
            raise RuntimeError(f"protoc's {module} does not say {_SHARED_POOL} any more")
        files[module] = files[module].replace(_SHARED_POOL, _OWN_POOL)
    return files


def main() -> None:
    """Write the files, or with `--check` compare them."""
    for name, content in generated().items():
        path = _FOLDER / name
        if "--check" not in sys.argv[1:]:
            path.write_text(content)
        elif not path.is_file() or path.read_text() != content:
            sys.exit(f"{path} is not what its .proto file gives; run make generate")


if __name__ == "__main__":
    main()
