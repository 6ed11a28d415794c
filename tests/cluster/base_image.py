"""The base image where no registry need be reached: Debian's Python, by mmdebstrap."""

import os
import tempfile
from pathlib import Path

from tests.cluster import builders, cache, commands
from tests.cluster.progress import step

SUITE = "bookworm"
# libstdc++ for ONNX Runtime; an image that has apt has it already.
PACKAGES = ("python3", "python3-venv", "ca-certificates", "libstdc++6")
# Never unpacked: nothing reads them in a container.
EXCLUDED = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/i18n/*",
    "/usr/lib/*/gconv/*",
)
# Only needed while packages are installed; as patterns below the root.
REMOVED = (
    "usr/bin/perl*",
    "usr/lib/*/libperl.so*",
    "usr/lib/*/perl/*",
    "usr/share/perl/*",
    "usr/share/perl5/*",
    "var/cache/*",
    "var/lib/apt/*",
    "var/log/*",
)


def build(builder: builders.Buildah) -> str:
    """Return the tag of the base image, made unless the builder's store has it."""
    options = [*(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED)]
    cleaning = "; ".join(f'rm -rf "$1"/{pattern}' for pattern in REMOVED)
    key = cache.content_key(Path(), [], SUITE, *PACKAGES, *options, cleaning)
    tag = f"localhost/serinus-test-base:{key}"
    if builder.has(tag):
        return tag
    with (
        step("making a base image of Debian packages (once; then it is cached)"),
        tempfile.TemporaryDirectory(dir=cache.directory()) as work,
    ):
        archive = Path(work) / "root.tar"
        commands.run(
            ["mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(PACKAGES)}", *options,
             f"--customize-hook={cleaning}", SUITE, archive],
            env={**os.environ, "TMPDIR": work},
        )  # fmt: skip
        builder.import_root(archive, tag)
    return tag
