"""Why a container ended: a reason, an exit code, and one line for whoever looks at the pod."""

import contextlib
import os
import signal
from enum import Enum
from pathlib import Path
from typing import Final

TERMINATION_LOG_VARIABLE: Final = "SERINUS_TERMINATION_LOG"
_ACRONYMS: Final = frozenset({"API", "URI"})
_MAX_MESSAGE_BYTES: Final = 3500  # the kubelet keeps 4096 bytes of a termination message


class Reason(Enum):
    """The ways to fail. The value is the process's exit code, the wire form is `wire_name`."""

    INVALID_URI = 10
    NOT_FOUND = 11
    ACCESS_DENIED = 12
    UNREACHABLE = 13
    DIGEST_MISMATCH = 14
    TOO_LARGE = 15
    NO_SPACE = 16
    TRANSFER_FAILED = 17
    VOLUME_NOT_MOUNTED = 18
    MODEL_NOT_FOUND = 20
    MODEL_LOAD_FAILED = 21
    WARM_UP_FAILED = 22
    INVALID_POLICY = 23
    INVALID_API_KEYS = 24
    INVALID_CERTIFICATE = 25

    @property
    def wire_name(self) -> str:
        """CamelCase, as in a Kubernetes condition: `DIGEST_MISMATCH` is `DigestMismatch`."""
        return "".join(word if word in _ACRONYMS else word.capitalize() for word in self.name.split("_"))


class FatalError(Exception):
    """An expected end of the process, with a reason and a sentence for the operator of the service."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def line(self) -> str:
        """`<Reason>: <message>` on one line, short enough for a termination message."""
        text = " ".join(f"{self.reason.wire_name}: {self}".split())
        return text.encode()[:_MAX_MESSAGE_BYTES].decode(errors="ignore")

    @property
    def exit_code(self) -> int:
        """The exit status that stands for the reason."""
        return int(self.reason.value)


class WorkerEndedError(Exception):
    """A worker process ended that should not have; then its whole server ends, rather than to go on with a part."""

    def __init__(self, number: int, returncode: int) -> None:
        """Its `returncode` is the exit status, or the negative number of the signal that killed it."""
        if returncode < 0:
            how = f"was killed by signal {-returncode} ({signal.strsignal(-returncode)})"
            self.exit_code = 128 - returncode
        else:
            how = f"ended with exit code {returncode}"
            self.exit_code = returncode or 1
        super().__init__(f"WorkerEnded: worker {number} {how}")
        self.has_told = returncode in {reason.value for reason in Reason}
        """Whether the worker itself has left the reason in the log and in the termination message."""


def write_termination_message(line: str) -> None:
    """Leave why the process ends where the kubelet picks it up; outside a container there is nobody to tell."""
    path = Path(os.environ.get(TERMINATION_LOG_VARIABLE, "/dev/termination-log"))
    # Opened without creating: /dev/termination-log exists in a pod and must not appear elsewhere.
    flags = os.O_WRONLY | os.O_TRUNC
    if TERMINATION_LOG_VARIABLE in os.environ:
        flags |= os.O_CREAT
    with contextlib.suppress(OSError):
        descriptor = os.open(path, flags, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
