"""How long writes wait for each other."""

from hypothesis import given
from hypothesis import strategies as st

from serinus.core.token_bucket import TokenBucket


def test_a_burst_goes_at_once_and_then_one_at_a_time() -> None:
    bucket = TokenBucket(rate=10, burst=3, now=100.0)
    assert [round(bucket.take(100.0), 6) for _ in range(6)] == [0, 0, 0, 0.1, 0.2, 0.3]


def test_what_is_not_used_is_saved_up_to_the_burst() -> None:
    bucket = TokenBucket(rate=10, burst=3, now=0.0)
    for _ in range(3):
        bucket.take(0.0)
    assert bucket.take(0.1) == 0.0
    assert [round(bucket.take(9999.0), 6) for _ in range(4)] == [0, 0, 0, 0.1]


def test_the_server_is_left_alone_for_as_long_as_it_asks() -> None:
    bucket = TokenBucket(rate=10, burst=3, now=0.0)
    bucket.hold(0.0, 5.0)
    bucket.hold(1.0, 2.0)
    assert (bucket.held(1.0), bucket.take(1.0)) == (4.0, 4.0)
    assert (bucket.held(5.0), bucket.take(5.0)) == (0.0, 0.0)


@given(
    rate=st.floats(0.5, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 0.5), min_size=1, max_size=200),
)
def test_never_more_than_the_rate_and_one_burst(rate: float, burst: int, gaps: list[float]) -> None:
    bucket, now, sent = TokenBucket(rate, burst, now=0.0), 0.0, []
    for gap in gaps:
        now += gap
        sent.append(now + bucket.take(now))
    for first, start in enumerate(sent):
        for last in range(first, len(sent)):
            assert last - first + 1 <= burst + (sent[last] - start) * rate + 1e-6
