"""Which `traceparent` headers name a trace."""

import pytest

from serinus_server.trace_context import trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("traceparent", "expected"),
    [
        (f"00-{TRACE}-{PARENT}-01", TRACE),
        (f"00-{TRACE}-{PARENT}-00", TRACE),
        (f"00-{TRACE}-{PARENT}-ff", TRACE),
        (f"01-{TRACE}-{PARENT}-01", TRACE),
        (f"01-{TRACE}-{PARENT}-01-what-a-later-version-adds", TRACE),
        (f"00-{TRACE}-{PARENT}-01-nothing-follows-in-this-version", None),
        (f"01-{TRACE}-{PARENT}-01.not-a-field", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE[1:]}-{PARENT}-01", None),
        (f"00-{TRACE}0-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT[1:]}-01", None),
        (f"00-{TRACE}-{PARENT}-1", None),
        (f"00-{TRACE}-{PARENT}", None),
        (f"0-{TRACE}-{PARENT}-01", None),
        (f"00_{TRACE}_{PARENT}_01", None),
        (f" 00-{TRACE}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}-01\n", None),
        (f"00-{'g' * 32}-{PARENT}-01", None),
        ("", None),
    ],
)
def test_traceparent_strictly_parsed(traceparent: str, expected: str | None) -> None:
    assert trace_id(traceparent.encode()) == expected
