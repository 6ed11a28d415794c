"""Replica arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.core.replicas import canary_replicas, weight_of


@pytest.mark.parametrize(
    ("weight", "stable", "canary"),
    [
        # At least one, whatever the weight.
        (1, 1, 1),
        (5, 1, 1),
        (5, 4, 1),
        (5, 19, 1),
        # The closest share, a half rounded up.
        (20, 4, 1),
        (25, 9, 3),
        (25, 3, 1),
        (33, 10, 5),
        (20, 10, 3),
        (40, 1, 1),
        (40, 10, 7),
        (5, 100, 5),
        # At most as many as stable has.
        (50, 4, 4),
        (80, 4, 4),
        (100, 4, 4),
        (50, 0, 1),
        (5, 0, 1),
    ],
)
def test_canary_replicas(weight: int, stable: int, canary: int) -> None:
    assert canary_replicas(weight, stable) == canary


@given(st.integers(1, 49), st.integers(1, 1000))
def test_no_other_number_of_pods_comes_closer(weight: int, stable: int) -> None:
    pods = canary_replicas(weight, stable)
    exact = weight * stable / (100 - weight)
    assert pods == 1 or abs(pods - exact) <= 0.5 + 1e-9


@given(st.integers(1, 99), st.integers(0, 1000))
def test_more_weight_never_means_fewer_pods(weight: int, stable: int) -> None:
    assert 1 <= canary_replicas(weight, stable) <= canary_replicas(weight + 1, stable) <= max(1, stable)


@pytest.mark.parametrize(
    ("canary", "stable", "weight"), [(0, 0, 0), (0, 4, 0), (1, 4, 20), (4, 4, 50), (3, 0, 100), (1, 2, 33)]
)
def test_weight_of(canary: int, stable: int, weight: int) -> None:
    assert weight_of(canary, stable) == weight
