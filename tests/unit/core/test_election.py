"""Who may take a Lease, and until when its holder may write."""

import pytest

from serinus.core.election import (
    LEAD_SECONDS,
    LEASE_SECONDS,
    RETRY_SECONDS,
    LeaseRecord,
    Move,
    Sighting,
    leads,
    next_move,
    sight,
)

HELD_BY_A = LeaseRecord(holder="a", renewed="12:00:00")

MOVES = {
    "its_holder_renews_it": ("a", Sighting(HELD_BY_A, since=0), 1.0, Move.RENEW),
    "its_holder_renews_it_even_late": ("a", Sighting(HELD_BY_A, since=0), LEASE_SECONDS + 1, Move.RENEW),
    "another_waits": ("b", Sighting(HELD_BY_A, since=0), 1.0, Move.WAIT),
    "another_waits_until_it_has_run_out": ("b", Sighting(HELD_BY_A, since=0), LEASE_SECONDS - 0.1, Move.WAIT),
    "one_that_ran_out_is_taken": ("b", Sighting(HELD_BY_A, since=0), LEASE_SECONDS, Move.TAKE),
    "one_that_was_given_back_is_taken_at_once": ("b", Sighting(LeaseRecord("", "12:00:00"), since=0), 0.0, Move.TAKE),
}


@pytest.mark.parametrize("name", MOVES)
def test_move(name: str) -> None:
    candidate, sighting, now, move = MOVES[name]
    assert next_move(candidate, sighting, now) is move


def test_a_record_counts_from_when_it_was_first_seen() -> None:
    first = sight(None, HELD_BY_A, 10.0)
    assert sight(first, HELD_BY_A, 15.0) == Sighting(HELD_BY_A, since=10.0)
    renewed = LeaseRecord("a", "12:00:02")
    assert sight(first, renewed, 15.0) == Sighting(renewed, since=15.0)


def test_a_leader_writes_only_for_a_while_after_it_sent_its_renewal() -> None:
    assert not leads(None, 0.0)
    assert leads(100.0, 100.0 + LEAD_SECONDS - 0.1)
    assert not leads(100.0, 100.0 + LEAD_SECONDS)


def test_a_leader_has_stopped_before_another_may_begin() -> None:
    assert 2 * RETRY_SECONDS < LEAD_SECONDS < LEASE_SECONDS
