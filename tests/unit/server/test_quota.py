"""Quotas, with the clock as an argument."""

import subprocess
import sys

import pytest

from serinus_server.board import Board
from serinus_server.policy import UNLIMITED, Limits
from serinus_server.quota import MAX_CLIENTS, Quota, Shortage, Usage, tokens_at


@pytest.mark.parametrize(
    ("usage", "limits", "now", "tokens"),
    [
        (Usage(), Limits(2, 10), 5.0, 10),  # nobody has asked yet
        (Usage(0, 5.0), Limits(2, 10), 5.0, 0),
        (Usage(0, 5.0), Limits(2, 10), 5.25, 0.5),
        (Usage(0, 5.0), Limits(2, 10), 8.0, 6),
        (Usage(0, 5.0), Limits(2, 10), 100.0, 10),  # no more than the burst
        (Usage(8, 5.0), Limits(2, 3), 5.0, 3),  # the burst was lowered
        (Usage(4, 5.0), Limits(2, 10), 4.0, 4),  # a clock that goes back takes nothing away
        (Usage(0, 5.0), UNLIMITED, 5.0, float("inf")),
    ],
)
def test_tokens_come_back_at_the_rate(usage: Usage, limits: Limits, now: float, tokens: float) -> None:
    assert tokens_at(usage, limits, now) == tokens


def taken(quota: Quota, client: str | None, *times: float) -> list[str | float]:
    """What becomes of requests at such times: "ok", or the seconds to wait."""
    outcomes: list[str | float] = []
    for now in times:
        result = quota.take(client, now)
        outcomes.append(result.seconds if isinstance(result, Shortage) else "ok")
    return outcomes


def test_a_burst_then_the_rate() -> None:
    quota = Quota()
    quota.apply(Limits(4, 2), UNLIMITED)
    assert taken(quota, None, 0, 0, 0, 0.125, 0.25, 0.25, 9, 9, 9) == [
        *("ok", "ok", 0.25),
        *(0.125, "ok", 0.25),
        *("ok", "ok", 0.25),
    ]


def test_refused_requests_take_no_tokens() -> None:
    quota = Quota()
    quota.apply(Limits(1, 1), UNLIMITED)
    assert taken(quota, None, 0, *[0.5] * 100, 1) == ["ok", *[0.5] * 100, "ok"]


def test_concurrent_requests() -> None:
    quota = Quota()
    quota.apply(Limits(max_concurrent_requests=2), UNLIMITED)
    first = quota.take(None, 0)
    assert isinstance(first, Usage)
    assert taken(quota, None, 0, 0) == ["ok", 1.0]
    quota.give_back(first)
    assert taken(quota, None, 0, 0) == ["ok", 1.0]


def test_each_client_has_its_own() -> None:
    quota = Quota()
    quota.apply(Limits(100, 3), Limits(1, 1, 1))
    mine = quota.take("a", 0)
    assert isinstance(mine, Usage)
    refused = quota.take("a", 0)
    assert isinstance(refused, Shortage)
    assert (refused.reason, refused.message) == (
        "client_quota_concurrency",
        "client 'a' may have 1 requests in work at once",
    )
    quota.give_back(mine)
    refused = quota.take("a", 0)
    assert isinstance(refused, Shortage)
    assert (refused.reason, refused.message) == ("client_quota_rate", "client 'a' may make 1 requests per second")
    assert taken(quota, "b", 0) == ["ok"]
    assert taken(quota, "c", 0) == ["ok"]
    refused = quota.take("d", 0)
    assert isinstance(refused, Shortage)
    assert (refused.reason, refused.message) == ("quota_rate", "all clients together may make 100 requests per second")
    assert taken(quota, "d", 0.01) == ["ok"]  # what all had used up was not taken from this one


def test_limits_change_while_requests_are_in_work() -> None:
    quota = Quota()
    held = [quota.take("a", 0) for _ in range(3)]  # counted though nothing is limited
    quota.apply(Limits(max_concurrent_requests=3), UNLIMITED)
    assert taken(quota, "a", 0) == [1.0]
    for each in held:
        assert isinstance(each, Usage)
        quota.give_back(each)
    quota.apply(Limits(0.001, 1), Limits(0.001, 1))
    assert taken(quota, "a", 0, 0) == ["ok", 1000.0]
    quota.apply(Limits(4, 1), Limits(4, 1))
    assert taken(quota, "a", 0, 0.25) == [0.25, "ok"]
    quota.apply(UNLIMITED, UNLIMITED)
    assert taken(quota, "a", 0.25, 0.25) == ["ok", "ok"]


def test_the_number_of_remembered_clients_is_bounded() -> None:
    quota = Quota()
    quota.apply(UNLIMITED, Limits(0.001, 1))
    first = quota.take("first", 0)
    assert isinstance(first, Usage)
    for number in range(MAX_CLIENTS):
        assert taken(quota, f"client {number}", 0) == ["ok"]
    assert taken(quota, "client 0", 0) == [1000.0]  # remembered
    assert taken(quota, "first", 0) == ["ok"]  # forgotten
    quota.give_back(first)


def test_a_rate_after_none_begins_with_its_burst() -> None:
    for quota in (Quota(), together(2)[0]):
        quota.apply(Limits(0.001, 1), UNLIMITED)
        assert taken(quota, None, 1, 1) == ["ok", 1000.0]
        quota.apply(UNLIMITED, UNLIMITED)
        assert taken(quota, None, 1) == ["ok"]
        quota.apply(Limits(0.001, 2), UNLIMITED)
        assert taken(quota, None, 1, 1, 1) == ["ok", "ok", 1000.0]


# Several workers, which count in memory that they share.


def together(workers: int) -> list[Quota]:
    """The quotas of so many workers of one server."""
    first = Board(1, workers)
    boards = [first, *(Board(1, workers, number, first.descriptor) for number in range(1, workers))]
    assert all(board.usages is not None for board in boards)
    return [Quota(board.usages) for board in boards]


def test_a_worker_that_is_alone_shares_nothing() -> None:
    assert Board(1).usages is None


def test_what_one_takes_the_other_lacks() -> None:
    first, second = together(2)
    for quota in (first, second):
        quota.apply(Limits(1, 3), Limits(1, 2))
    assert taken(first, "a", 1, 1) == ["ok", "ok"]
    assert taken(second, "a", 1) == [1.0]
    assert taken(second, "b", 1) == ["ok"]
    assert taken(first, "b", 1) == [1.0], "all have taken 3"
    assert taken(first, "b", 2) == ["ok"]
    assert taken(second, "a", 2) == [1.0], "what came back is taken"


def test_what_is_in_work_counts_whichever_worker_has_it() -> None:
    first, second = together(2)
    held = [quota.take("a", 1) for quota in (first, second, second)]  # counted though nothing is limited
    for quota in (first, second):
        quota.apply(Limits(max_concurrent_requests=4), Limits(max_concurrent_requests=1))
    mine = first.take("a", 1)
    assert not isinstance(mine, Shortage)
    assert taken(second, "b", 1) == [1.0], "all together"
    for quota, usage in zip((first, second, second), held, strict=True):
        assert not isinstance(usage, Shortage)
        quota.give_back(usage)
    assert taken(second, "a", 1) == [1.0], "the client"
    first.give_back(mine)
    assert taken(second, "a", 1) == ["ok"]


def test_an_earlier_time_gives_no_tokens_twice() -> None:
    """A worker takes the time before its turn comes."""
    first, second = together(2)
    for quota in (first, second):
        quota.apply(Limits(1, 1), UNLIMITED)
    assert taken(first, None, 10) == ["ok"]
    assert taken(first, None, 11) == ["ok"]
    assert taken(second, None, 10.5) == [1.0]
    assert taken(second, None, 11.5) == [0.5]


def test_a_client_in_work_is_not_forgotten() -> None:
    quota, _ = together(2)
    quota.apply(UNLIMITED, Limits(0.001, 2, 1))
    mine = quota.take("mine", 1)
    assert not isinstance(mine, Shortage)
    for number in range(5 * MAX_CLIENTS):
        other = quota.take(f"client {number}", 2)
        assert not isinstance(other, Shortage)
        quota.give_back(other)
    assert taken(quota, "mine", 3) == [1.0]
    quota.give_back(mine)
    assert taken(quota, "mine", 3, 3) == ["ok", 1.0]


TAKER = """
import sys
from serinus_server.board import Board
from serinus_server.policy import UNLIMITED, Limits
from serinus_server.quota import Quota, Shortage
number, descriptor = map(int, sys.argv[1:])
quota = Quota(Board(1, 4, number, descriptor).usages)
quota.apply(Limits(1e-9, 5000), Limits(1e-9, 3000))
print(sum(not isinstance(quota.take("ab"[turn % 2], 1.0), Shortage) for turn in range(5000)))
"""


def test_workers_that_take_at_the_same_time_take_no_more_than_there_is() -> None:
    board = Board(1, 4)
    assert board.descriptor is not None
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER, str(number), str(board.descriptor)],
            stdout=subprocess.PIPE,
            pass_fds=(board.descriptor,),
        )
        for number in range(1, 4)
    ]
    assert sum(int(taker.communicate(timeout=60)[0]) for taker in takers) == 5000
