"""Which model calls may name."""

from http import HTTPStatus

from serinus_server.refusal import Refusal


class Served:
    """The one model that is served, and its version."""

    def __init__(self, name: str, version: str) -> None:
        self._name = name
        self._version = version
        # A reply that succeeds names the version in its body; errors have no place for it there.
        self.version_field = (b"serinus-model-version", version.encode())

    def refusal(self, name: str, version: str) -> Refusal | None:
        """Why a call that names this model is not answered, or None. It need not name a version."""
        if name == self._name and version in {"", self._version}:
            return None
        asked = f"model {name[:200]!r}" + (f", version {version[:200]!r}" if version else "")
        served = f"model {self._name!r}, version {self._version!r}"
        return Refusal(HTTPStatus.NOT_FOUND, f"there is no {asked}; this server has {served}")
