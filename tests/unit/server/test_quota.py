"""Quotas, with the clock as an argument."""

import pytest

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
