"""The base image where no registry need be reached: Debian's Python, by mmdebstrap."""

import os
import tempfile
from pathlib import Path

from tests.cluster import builders, cache, commands, host
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
    "var/lib/dpkg/*-old",
    "var/log/*",
    # Of the machine that makes the image.
    "etc/hostname",
    "etc/resolv.conf",
)
# Debian's bytecode knows its sources by their times, all of which the image has at one.
COMPILING = 'chroot "$1" python3 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3*'


def build(builder: builders.Buildah, architecture: str) -> str:
    """Return the tag of the base image for `architecture`, made unless the builder's store has it."""
    options = [*(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED)]
    cleaning = "; ".join(f'rm -rf "$1"/{pattern}' for pattern in REMOVED)
    key = cache.content_key(Path(), [], SUITE, *PACKAGES, *options, COMPILING, cleaning, architecture)
    tag = f"localhost/serinus-test-base:{key}"
    if builder.has(tag):
        return tag
    if architecture != host.architecture():
        host.require_packages(host.EMULATION_PACKAGES)
    with (
        step(f"making a base image of Debian packages for {architecture} (once; then it is cached)"),
        tempfile.TemporaryDirectory(dir=cache.directory()) as work,
    ):
        archive = Path(work) / "root.tar"
        commands.run(
            ["mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(PACKAGES)}", *options,
             f"--architectures={architecture}", f"--customize-hook={COMPILING}", f"--customize-hook={cleaning}",
             SUITE, archive],
            env={**os.environ, "TMPDIR": work, "SOURCE_DATE_EPOCH": builders.TIMESTAMP, "PYTHONHASHSEED": "0"},
        )  # fmt: skip
        builder.import_root(archive, tag, architecture)
    return tag
