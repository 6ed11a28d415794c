"""Whose a Kubernetes token is: asks the API server for a TokenReview, and remembers the answer for a moment."""

import asyncio
import http.client
import os
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

GENUINE_SECONDS: Final = 60.0
"""For so long a token counts as genuine without asking again, even when it was revoked meanwhile."""

NOT_GENUINE_SECONDS: Final = 10.0
UNAVAILABLE_SECONDS: Final = 1.0
MAX_REMEMBERED: Final = 10_000
TIMEOUT_SECONDS: Final = 3.0
_REVIEWS_AT_ONCE: Final = 4
_MAX_REPLY_BYTES: Final = 1 << 20
_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"


@dataclass(frozen=True, slots=True)
class User:
    """Who a token stands for."""

    name: str
    groups: frozenset[str]


class ReviewUnavailableError(Exception):
    """The API server gave no verdict; the message says why."""


Outcome = User | ReviewUnavailableError | None
"""A user; None for a token that is not genuine."""


class TokenReviewer:
    """Asks and remembers. All methods belong to the event loop's thread."""

    def __init__(self, ask: Callable[[str, str], User | None], clock: Callable[[], float] = time.monotonic) -> None:
        """`ask` is given a token and an audience, blocks, and raises ReviewUnavailableError."""
        self._ask = ask
        self._clock = clock
        self._outcomes: OrderedDict[Hashable, tuple[Outcome, float]] = OrderedDict()
        self._running: dict[Hashable, asyncio.Task[Outcome]] = {}
        self._threads = ThreadPoolExecutor(_REVIEWS_AT_ONCE, "token-review")

    def known(self, token: bytes, audience: str) -> tuple[Outcome] | None:
        """What is remembered of the token, if anything is."""
        found = self._outcomes.get(_key(token, audience))
        if found is None or found[1] <= self._clock():
            return None
        return (found[0],)

    async def review(self, token: bytes, audience: str) -> Outcome:
        """Ask, once for however many wait for the same token."""
        key = _key(token, audience)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._outcome(token, audience))
            task.add_done_callback(lambda done: self._remember(key, done))
        return await asyncio.shield(task)

    async def _outcome(self, token: bytes, audience: str) -> Outcome:
        loop = asyncio.get_running_loop()
        try:
            text = token.decode("ascii")
            return await asyncio.wait_for(
                loop.run_in_executor(self._threads, self._ask, text, audience), TIMEOUT_SECONDS
            )
        except UnicodeDecodeError:
            return None
        except ReviewUnavailableError as error:
            return error.with_traceback(None)
        except TimeoutError:
            return ReviewUnavailableError(f"the API server did not answer within {TIMEOUT_SECONDS:g} s")

    def _remember(self, key: Hashable, task: "asyncio.Task[Outcome]") -> None:
        del self._running[key]
        if task.cancelled() or task.exception() is not None:
            return
        outcome = task.result()
        seconds = NOT_GENUINE_SECONDS if outcome is None else GENUINE_SECONDS
        if isinstance(outcome, ReviewUnavailableError):
            seconds = UNAVAILABLE_SECONDS
        self._outcomes[key] = outcome, self._clock() + seconds
        self._outcomes.move_to_end(key)
        if len(self._outcomes) > MAX_REMEMBERED:
            self._outcomes.popitem(last=False)


def _key(token: bytes, audience: str) -> Hashable:
    """Tokens themselves are not kept."""
    return sha256(token).digest(), audience


class KubernetesAPI:
    """The API server, as a pod finds it: by two variables, with the files of its service account.

    `service_account` is the folder of those files; they are read anew each time, as the kubelet replaces them.
    """

    def __init__(self, service_account: Path) -> None:
        self._service_account = service_account

    def user(self, token: str, audience: str) -> User | None:
        """Whose token it is; None if it is not genuine, or not meant for the audience.

        Raises ReviewUnavailableError.
        """
        spec = {"token": token, "audiences": [audience]}
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        try:
            status = self._post(_PATH, orjson.dumps(review))["status"]
            if not status.get("authenticated") or audience not in status.get("audiences", ()):
                return None
            user = status["user"]
            return User(user["username"], frozenset(user.get("groups", ())))
        except (KeyError, TypeError, AttributeError, orjson.JSONDecodeError) as error:
            raise ReviewUnavailableError("the API server's answer is not a TokenReview") from error
        except (OSError, http.client.HTTPException) as error:
            raise ReviewUnavailableError(f"the API server cannot be asked: {error}") from error

    def _post(self, path: str, body: bytes) -> Any:  # noqa: ANN401 - JSON
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        if host is None:
            raise ReviewUnavailableError("this process does not run in Kubernetes: KUBERNETES_SERVICE_HOST is not set")
        own_token = (self._service_account / "token").read_text().strip()
        authorities = ssl.create_default_context(cafile=str(self._service_account / "ca.crt"))
        connection = http.client.HTTPSConnection(host, int(port), timeout=TIMEOUT_SECONDS, context=authorities)
        headers = {"Authorization": f"Bearer {own_token}", "Content-Type": "application/json"}
        try:
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            content = reply.read(_MAX_REPLY_BYTES)
        finally:
            connection.close()
        if reply.status != http.HTTPStatus.CREATED:
            raise ReviewUnavailableError(f"the API server answered {reply.status}: {_message(content)}")
        return orjson.loads(content)


def _message(content: bytes) -> str:
    """What a failure of the API server says."""
    try:
        return str(orjson.loads(content)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
