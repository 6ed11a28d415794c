"""Calls that the end-to-end tests make to a service."""

import json
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from tests.e2e.manifests import SERVICE


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


def predict(url: str, body: str, headers: dict[str, str] | None = None) -> Reply:
    """One prediction over REST."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{url}/v2/models/{SERVICE}/infer", body.encode(), {"Content-Type": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return Reply(response.status, dict(response.headers), json.load(response))
    except urllib.error.HTTPError as error:
        return Reply(error.code, dict(error.headers), json.load(error))
