"""What is remembered of Kubernetes tokens, for how long, and how often the API server is asked."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from serinus_server import token_review
from serinus_server.access import Access
from serinus_server.credentials import Credentials
from serinus_server.policy import AccessMode, AccessPolicy
from serinus_server.refusal import Refusal
from serinus_server.token_review import (
    GENUINE_SECONDS,
    NOT_GENUINE_SECONDS,
    UNAVAILABLE_SECONDS,
    ReviewUnavailableError,
    TokenReviewer,
    User,
)

WEB = User("system:serviceaccount:shop:web", frozenset({"system:serviceaccounts"}))
POLICY = AccessPolicy(AccessMode.KUBERNETES_TOKEN, "fraud.risk")


class World:
    """An API server that is asked, and a clock."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {"genuine": WEB}
        self.up = True
        self.asked: list[tuple[str, str]] = []
        self.now = 100.0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.reviewer = TokenReviewer(self.ask, lambda: self.now)
        self.access = Access(self.reviewer)
        self.access.policy = POLICY

    def ask(self, token: str, audience: str) -> User | None:
        self.asked.append((token, audience))
        assert self.may_answer.wait(10)
        if not self.up:
            raise ReviewUnavailableError("the API server cannot be asked: Connection refused")
        return self.users.get(token)

    async def outcome(self, token: str) -> str | int:
        """The client, or the status of the refusal."""
        verdict = self.access.check(Credentials(b"Bearer " + token.encode("latin-1")))
        if isinstance(verdict, asyncio.Task):
            verdict = await verdict
        assert verdict is not None
        return verdict.status.value if isinstance(verdict, Refusal) else verdict


def running(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    return lambda: asyncio.run(test(World()))


@running
async def test_a_genuine_token_is_remembered_for_a_minute(world: World) -> None:
    assert [await world.outcome("genuine") for _ in range(3)] == [WEB.name] * 3
    assert world.asked == [("genuine", "fraud.risk")]
    del world.users["genuine"]
    world.now += GENUINE_SECONDS - 0.1
    assert await world.outcome("genuine") == WEB.name
    world.now += 0.1
    assert await world.outcome("genuine") == 401
    assert len(world.asked) == 2


@running
async def test_a_token_that_is_not_genuine_is_remembered_for_less(world: World) -> None:
    assert [await world.outcome("new") for _ in range(3)] == [401] * 3
    assert len(world.asked) == 1
    world.users["new"] = WEB
    world.now += NOT_GENUINE_SECONDS
    assert await world.outcome("new") == WEB.name


@running
async def test_without_an_api_server_those_who_are_known_go_on(world: World) -> None:
    assert await world.outcome("genuine") == WEB.name
    world.up = False
    world.users["new"] = WEB
    assert [await world.outcome(token) for token in ("genuine", "new", "new")] == [WEB.name, 503, 503]
    assert len(world.asked) == 2
    world.up = True
    world.now += UNAVAILABLE_SECONDS
    assert await world.outcome("new") == WEB.name
    world.up = False
    world.now += GENUINE_SECONDS
    assert await world.outcome("genuine") == 503  # and not for longer


@running
async def test_those_who_wait_for_the_same_token_share_a_review(world: World) -> None:
    world.may_answer.clear()
    waiting = [asyncio.create_task(world.outcome("genuine")) for _ in range(10)]
    await asyncio.sleep(0.05)
    waiting[0].cancel()  # its client left
    await asyncio.sleep(0)
    world.may_answer.set()
    assert await asyncio.gather(*waiting[1:]) == [WEB.name] * 9
    assert len(world.asked) == 1


@running
async def test_only_so_many_wait(world: World) -> None:
    world.may_answer.clear()
    waiting = [asyncio.create_task(world.outcome(f"token {number}")) for number in range(70)]
    await asyncio.sleep(0.05)
    assert [task.result() for task in waiting if task.done()] == [503] * 6
    for task in waiting:
        task.cancel()
    await asyncio.sleep(0.05)
    world.may_answer.set()
    assert await world.outcome("genuine") == WEB.name  # those who left make room


@running
async def test_an_answer_that_does_not_come_is_not_waited_for(world: World) -> None:
    world.may_answer.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_review, "TIMEOUT_SECONDS", 0.05)
        verdict = world.access.check(Credentials(b"Bearer genuine"))
        assert isinstance(verdict, asyncio.Task)
        refused = await verdict
    assert isinstance(refused, Refusal)
    assert refused.message == "the token cannot be checked now: the API server did not answer within 0.05 s"
    world.may_answer.set()


@running
async def test_a_token_for_another_audience_is_another_token(world: World) -> None:
    assert await world.outcome("genuine") == WEB.name
    world.access.policy = AccessPolicy(AccessMode.KUBERNETES_TOKEN, "other")
    assert await world.outcome("genuine") == WEB.name
    assert world.asked == [("genuine", "fraud.risk"), ("genuine", "other")]


@running
async def test_whom_the_policy_allows_holds_at_once(world: World) -> None:
    assert await world.outcome("genuine") == WEB.name
    for allowed, outcome in ((frozenset({"other"}), 403), (frozenset({WEB.name}), WEB.name)):
        world.access.policy = AccessPolicy(AccessMode.KUBERNETES_TOKEN, "fraud.risk", allowed)
        assert await world.outcome("genuine") == outcome
    assert len(world.asked) == 1


@running
async def test_what_is_no_token_is_not_asked_about(world: World) -> None:
    assert await world.outcome("\xff") == 401
    assert await world.outcome("") == 401
    assert world.asked == []


@running
async def test_the_memory_of_tokens_is_bounded(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_review, "MAX_REMEMBERED", 10)
        for number in range(12):
            await world.outcome(f"token {number}")
    before = len(world.asked)
    await world.outcome("token 11")
    await world.outcome("token 2")
    assert len(world.asked) == before
    await world.outcome("token 1")
    assert len(world.asked) == before + 1
