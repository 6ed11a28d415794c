"""Replica arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.core.replicas import TOLERANCE_PERCENT, Pods, canary_replicas, pods_that_make, weight_of


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


@pytest.mark.parametrize(
    ("weight", "least", "most", "pods"),
    [
        # Met by the pods that there are.
        (20, 4, 4, (4, 1)),
        (50, 1, 1, (1, 1)),
        (33, 2, 9, (2, 1)),
        # Within a percentage point: 1 of 11 is 9.1%.
        (10, 10, 10, (10, 1)),
        (26, 3, 3, (3, 1)),
        # With more of them.
        (5, 1, 100, (16, 1)),
        (10, 1, 100, (9, 1)),
        (25, 1, 100, (3, 1)),
        (25, 4, 100, (6, 2)),
        (1, 1, 100, (49, 1)),
        # Not with so few.
        (5, 1, 15, None),
        (25, 4, 5, None),
        (27, 3, 3, None),
        (1, 1, 48, None),
        # Half is the most.
        (51, 4, 4, (4, 4)),
        (52, 4, 1000, None),
        (100, 4, 1000, None),
    ],
)
def test_pods_that_make(weight: int, least: int, most: int, pods: tuple[int, int] | None) -> None:
    assert pods_that_make(weight, least, most) == (None if pods is None else Pods(*pods))


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 60))
def test_the_fewest_pods_within_the_tolerance_are_taken(weight: int, least: int, more: int) -> None:
    def shares(stable: int) -> list[float]:
        return [100 * canary / (canary + stable) for canary in range(1, stable + 1)]

    making = [
        stable
        for stable in range(least, least + more + 1)
        if any(abs(share - weight) <= TOLERANCE_PERCENT + 1e-9 for share in shares(stable))
    ]
    pods = pods_that_make(weight, least, least + more)
    assert (pods.stable if pods else None) == next(iter(making), None)
    if pods is not None:
        assert abs(100 * pods.canary / sum(pods) - weight) <= TOLERANCE_PERCENT + 1e-9
