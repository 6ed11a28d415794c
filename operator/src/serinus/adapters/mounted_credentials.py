"""Authentication by files of a mounted Secret, read at each request, so that a rotated one counts at once."""

from pathlib import Path

from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

from serinus.ports import MetricsUnavailableError


class MountedCredentials(AuthBase):
    """Sends the bearer token in `token`, or else `username` and `password`; `ca.crt` says whom to trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def authorities(self) -> Path | None:
        """The certificate authorities to trust instead of the usual ones; None where the Secret has none."""
        file = self._folder / "ca.crt"
        return file if file.is_file() else None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the credentials. Raises MetricsUnavailableError when the Secret has something else in it."""
        token, username, password = (self._read(key) for key in ("token", "username", "password"))
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
            return request
        if username is not None and password is not None:
            signed: PreparedRequest = HTTPBasicAuth(username.encode(), password.encode())(request)
            return signed
        if self.authorities is not None:
            return request
        raise MetricsUnavailableError(
            f"The Secret with the credentials for Prometheus, mounted at {self._folder}, holds neither token, nor "
            "username and password, nor ca.crt."
        )

    def _read(self, key: str) -> str | None:
        try:
            return (self._folder / key).read_text().strip()
        except FileNotFoundError:
            return None
