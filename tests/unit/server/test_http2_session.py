"""The server's side of HTTP/2 without sockets: what comes, what an application sees of it, and what goes."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus_server.http2 import frames
from serinus_server.http2.errors import ErrorCode
from serinus_server.http2.flow_control import DEFAULT_WINDOW, MAX_WINDOW
from serinus_server.http2.header_block import MAX_LIST_BYTES, Head, encoded
from serinus_server.http2.session import STREAM_WINDOW, Limits, Session
from serinus_server.http2.stream import Stream
from tests.unit.server.http2_client import (
    ANY_PARTS,
    GREETING,
    HEAD,
    Frame,
    block,
    data,
    fields_of,
    headers,
    taken_apart,
)

LIMITS = Limits(max_streams=10, max_unsent_bytes=100_000)
OK_HEAD = encoded([(b":status", b"200")])
OK_END = encoded([(b"grpc-status", b"0")])
FLOOD = 5_000


class Echo:
    """Answers each request with its body, once that has ended; keeps what it sees."""

    def __init__(self, limits: Limits = LIMITS, *, reply: bytes | None = None) -> None:
        self.session = Session(self, limits)
        self.seen: list[tuple[str, int]] = []
        self.bodies: dict[int, bytes] = {}
        self.heads: list[Head] = []
        self._reply = reply
        self.greeting = self.take()

    def opened(self, stream: Stream, head: Head) -> None:
        self.seen.append(("opened", stream.id))
        self.heads.append(head)
        self.bodies[stream.id] = b""
        if not stream.remote_open:
            self._answer(stream)

    def received(self, stream: Stream, data: bytes) -> None:
        self.bodies[stream.id] += data
        if not stream.remote_open:
            self._answer(stream)

    def gone(self, stream: Stream) -> None:
        self.seen.append(("gone", stream.id))

    def _answer(self, stream: Stream) -> None:
        self.seen.append(("answered", stream.id))
        body = self.bodies[stream.id] if self._reply is None else self._reply
        self.session.respond(stream, OK_HEAD, body, OK_END)

    def take(self) -> list[Frame]:
        output = b"".join(self.session.output)
        self.session.output.clear()
        return list(taken_apart(output))

    def hear(self, *parts: bytes, now: float = 0.0) -> list[Frame]:
        """Send it something; what it says to that."""
        self.session.receive(b"".join(parts), now)
        return self.take()


def greeted(limits: Limits = LIMITS, *, reply: bytes | None = None) -> Echo:
    echo = Echo(limits, reply=reply)
    assert echo.hear(GREETING) == [Frame(frames.SETTINGS, frames.ACK, 0, b"")]
    return echo


def kinds(found: list[Frame]) -> list[int]:
    return [frame.kind for frame in found]


def test_a_greeting_tells_the_limits() -> None:
    first, second = Echo().greeting
    told = dict(frames.parsed_settings(first.payload))
    assert told[frames.SETTINGS_MAX_CONCURRENT_STREAMS] == LIMITS.max_streams
    assert told[frames.SETTINGS_INITIAL_WINDOW_SIZE] == STREAM_WINDOW
    assert told[frames.SETTINGS_MAX_HEADER_LIST_SIZE] == MAX_LIST_BYTES
    assert (second.kind, second.stream_id) == (frames.WINDOW_UPDATE, 0)


def test_a_small_reply_is_three_frames_in_one_piece() -> None:
    echo = greeted()
    echo.session.receive(headers(1) + data(1, b"hello", ends=True), 0.0)
    assert len(echo.session.output) == 1
    head, body, trailers = echo.take()
    assert fields_of(head) == {b":status": b"200"}
    assert (body.payload, fields_of(trailers)) == (b"hello", {b"grpc-status": b"0"})
    assert trailers.flags == frames.END_HEADERS | frames.END_STREAM
    assert not echo.session.streams


@pytest.mark.parametrize("size", [1, 7, 100])
def test_however_bytes_arrive_the_requests_are_the_same(size: int) -> None:
    sent = GREETING + headers(1) + data(1, b"abc") + data(1, b"def", ends=True) + headers(3, ends=True)
    echo = Echo()
    replies = [reply for at in range(0, len(sent), size) for reply in echo.hear(sent[at : at + size])]
    assert echo.bodies == {1: b"abcdef", 3: b""}
    assert kinds(replies) == [frames.SETTINGS, *[frames.HEADERS, frames.DATA, frames.HEADERS] * 2]


def test_padding_and_priority_say_nothing() -> None:
    echo = greeted()
    flags = frames.END_HEADERS | frames.PADDED | frames.HAS_PRIORITY
    opening = frames.frame(frames.HEADERS, flags, 1, b"\3" + b"\0\0\0\0\7" + block() + b"\0\0\0")
    padded = frames.frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\2hi\0\0")
    assert echo.hear(opening, padded)[1].payload == b"hi"


def test_a_head_may_come_in_continuations_and_trailers_after_the_body() -> None:
    echo = greeted()
    whole = block()
    parts = [
        frames.frame(frames.HEADERS, 0, 1, whole[:5]),
        frames.frame(frames.CONTINUATION, 0, 1, whole[5:20]),
        frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, whole[20:]),
    ]
    replies = echo.hear(*parts, data(1, b"x"), headers(1, [("checksum", "1")], ends=True))
    assert kinds(replies) == [frames.HEADERS, frames.DATA, frames.HEADERS]
    assert echo.heads[0].path == b"/inference.GRPCInferenceService/ModelInfer"


def test_replies_wait_for_windows() -> None:
    echo = greeted(reply=b"r" * 100_000)
    sent = echo.hear(frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 1000}), headers(1, ends=True))
    assert [len(frame.payload) for frame in sent if frame.kind == frames.DATA] == [1000]
    assert echo.session.unsent_bytes == 99_000
    sent = echo.hear(frames.window_update(1, 99_000))
    assert sum(len(frame.payload) for frame in sent) == DEFAULT_WINDOW - 1000  # the connection's
    sent = echo.hear(frames.window_update(0, 100_000))
    assert sum(len(frame.payload) for frame in sent if frame.kind == frames.DATA) == 100_000 - DEFAULT_WINDOW
    assert (sent[-1].kind, sent[-1].flags & frames.END_STREAM) == (frames.HEADERS, frames.END_STREAM)
    assert echo.session.unsent_bytes == 0


def test_a_window_that_shrinks_below_zero_holds_everything_back() -> None:
    echo = greeted(reply=b"r" * 3000)
    echo.hear(frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 1000}), headers(1, ends=True))
    assert kinds(echo.hear(frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}))) == [frames.SETTINGS]
    assert echo.hear(frames.window_update(1, 1000)) == []
    assert len(echo.hear(frames.window_update(1, 1))[0].payload) == 1


def test_nothing_that_can_wait_is_sent_while_paused() -> None:
    echo = greeted()
    echo.session.paused = True
    assert kinds(echo.hear(headers(1), data(1, b"abc", ends=True))) == [frames.HEADERS]
    echo.session.paused = False
    echo.session.resume(1.0)
    assert kinds(echo.take()) == [frames.DATA, frames.HEADERS]


def test_frames_are_no_longer_than_the_client_takes() -> None:
    echo = greeted(reply=b"r" * 40_000)
    sizes = [len(frame.payload) for frame in echo.hear(headers(1, ends=True)) if frame.kind == frames.DATA]
    assert sizes == [16_384, 16_384, 7_232]
    echo.hear(frames.settings({frames.SETTINGS_MAX_FRAME_SIZE: 30_000}), frames.window_update(0, 100_000))
    sizes = [len(frame.payload) for frame in echo.hear(headers(3, ends=True)) if frame.kind == frames.DATA]
    assert sizes == [30_000, 10_000]


def test_a_ping_is_answered_and_a_goaway_obeyed() -> None:
    echo = greeted()
    assert echo.hear(frames.frame(frames.PING, 0, 0, b"12345678")) == [Frame(frames.PING, frames.ACK, 0, b"12345678")]
    (farewell,) = echo.hear(frames.goaway(0, ErrorCode.NO_ERROR))
    assert (farewell.kind, farewell.code) == (frames.GOAWAY, ErrorCode.NO_ERROR)
    assert echo.session.done


def test_leaving_answers_what_was_sent_before_the_client_knew() -> None:
    echo = greeted()
    echo.hear(headers(1))
    echo.session.leave()
    goaway, ping = echo.take()
    assert int.from_bytes(goaway.payload[:4], "big") == MAX_WINDOW
    assert kinds(echo.hear(headers(3, ends=True))) == [frames.HEADERS, frames.DATA, frames.HEADERS]
    (last,) = echo.hear(frames.frame(frames.PING, frames.ACK, 0, ping.payload))
    assert int.from_bytes(last.payload[:4], "big") == 3
    assert not echo.session.done
    assert echo.hear(headers(5), data(5, b"x", ends=True)) == []  # too late
    assert ("opened", 5) not in echo.seen
    echo.hear(data(1, b"", ends=True))
    assert echo.session.done


def test_a_reset_stream_is_gone_and_what_still_comes_of_others_is_nothing() -> None:
    echo = greeted()
    assert echo.hear(headers(1), frames.rst_stream(1, ErrorCode.CANCEL)) == []
    assert echo.seen == [("opened", 1), ("gone", 1)]
    echo.hear(headers(3))
    echo.session.reset(echo.session.streams[3], ErrorCode.CANCEL)
    assert kinds(echo.take()) == [frames.RST_STREAM]
    late = (data(3, b"x" * 500), frames.window_update(3, 5), frames.rst_stream(3, ErrorCode.CANCEL))
    assert echo.hear(*late) == []
    assert echo.hear(headers(5, ends=True))


def test_what_a_client_may_not_send_on_one_stream_ends_that_one() -> None:
    wrong: list[tuple[bytes, ErrorCode]] = [
        (headers(1, [*HEAD, ("Upper", "x")]), ErrorCode.PROTOCOL_ERROR),
        (headers(1, [*HEAD, ("connection", "close")]), ErrorCode.PROTOCOL_ERROR),
        (headers(1, [*HEAD, (":path", "/")]), ErrorCode.PROTOCOL_ERROR),
        (headers(1, HEAD[1:]), ErrorCode.PROTOCOL_ERROR),
        (headers(1, [*HEAD, ("te", "gzip")]), ErrorCode.PROTOCOL_ERROR),
        (headers(1, [*HEAD, ("x", "a\nb")]), ErrorCode.PROTOCOL_ERROR),
        (headers(1, [*HEAD, ("content-length", "-1")]), ErrorCode.PROTOCOL_ERROR),
        (headers(1, [*HEAD, ("content-length", "2")]) + data(1, b"x", ends=True), ErrorCode.PROTOCOL_ERROR),
        (headers(1) + headers(1, [("x", "y")]), ErrorCode.PROTOCOL_ERROR),
        (headers(1) + frames.window_update(1, 0), ErrorCode.PROTOCOL_ERROR),
        (headers(1) + frames.window_update(1, MAX_WINDOW), ErrorCode.FLOW_CONTROL_ERROR),
        (headers(1) + data(1, b"x" * 16_384) * 5, ErrorCode.FLOW_CONTROL_ERROR),
    ]
    for sent, code in wrong:
        echo = greeted()
        (reset,) = echo.hear(sent)
        assert (reset.kind, reset.stream_id, reset.code) == (frames.RST_STREAM, 1, code), sent
        assert echo.hear(headers(3, ends=True)), sent
        assert ("gone", 1) in echo.seen or ("opened", 1) not in echo.seen


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\0\0\0\xff\0\0\0\0\0" + headers(2), ErrorCode.PROTOCOL_ERROR),
        (headers(0), ErrorCode.PROTOCOL_ERROR),
        (headers(3, ends=True) + headers(1), ErrorCode.PROTOCOL_ERROR),
        (headers(1, ends=True) + headers(1), ErrorCode.STREAM_CLOSED),
        (headers(1, ends=True) + data(1, b"x"), ErrorCode.STREAM_CLOSED),
        (data(1, b"x"), ErrorCode.PROTOCOL_ERROR),
        (frames.rst_stream(1, ErrorCode.CANCEL), ErrorCode.PROTOCOL_ERROR),
        (frames.window_update(1, 1), ErrorCode.PROTOCOL_ERROR),
        (frames.window_update(0, MAX_WINDOW), ErrorCode.FLOW_CONTROL_ERROR),
        (frames.frame(frames.CONTINUATION, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 0, 1, b"") + data(1, b""), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.PUSH_PROMISE, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
        (frames.frame(frames.SETTINGS, 0, 0, b"\0"), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.PING, 0, 0, b""), ErrorCode.FRAME_SIZE_ERROR),
        (frames.head(16_385, frames.DATA, 0, 1), ErrorCode.FRAME_SIZE_ERROR),
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff"), ErrorCode.COMPRESSION_ERROR),
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x82\x3f\x10"), ErrorCode.COMPRESSION_ERROR),
    ],
)
def test_what_a_client_may_not_send_ends_the_connection(sent: bytes, code: ErrorCode) -> None:
    echo = greeted()
    last = echo.hear(headers(1) if b"\xff\0\0\0\0\0" in sent else b"", sent)[-1]
    assert (last.kind, last.code) == (frames.GOAWAY, code)
    assert echo.session.done
    assert not echo.session.streams


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\n\r\n", frames.PREFACE + frames.frame(frames.PING, 0, 0, b"8" * 8)]
)
def test_whoever_does_not_greet_is_turned_away(sent: bytes) -> None:
    echo = Echo()
    assert echo.hear(sent)[-1].code == ErrorCode.PROTOCOL_ERROR
    assert echo.session.done


def ping(_: int) -> bytes:
    return frames.frame(frames.PING, 0, 0, b"8" * 8)


@pytest.mark.parametrize(
    "flood",
    [
        ping,
        lambda _: frames.settings({}),
        lambda _: frames.frame(frames.SETTINGS, frames.ACK, 0),
        lambda _: frames.frame(frames.PRIORITY, 0, 1, b"\0\0\0\0\0"),
        lambda _: frames.window_update(0, 1),
        lambda _: frames.frame(0xFA, 0, 0),
        lambda _: data(1, b""),
        lambda number: frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: number % 2}),
        lambda _: data(1, b"x"),
        lambda number: headers(number * 2 + 3, HEAD[1:]),
        lambda number: headers(number * 2 + 3) + frames.rst_stream(number * 2 + 3, ErrorCode.CANCEL),
        lambda number: headers(number * 2 + 3) + frames.window_update(number * 2 + 3, 0),  # the server resets it
        lambda number: headers(number * 2 + 3),  # beyond the streams that may be open
    ],
)
def test_a_flood_of_what_costs_nothing_ends_the_connection(flood: Callable[[int], bytes]) -> None:
    echo = greeted()
    echo.hear(headers(1))
    said: list[Frame] = []
    for number in range(FLOOD):
        said += echo.hear(flood(number))
        if echo.session.done:
            break
    assert (said[-1].kind, said[-1].code) == (frames.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)
    assert not echo.session.streams


def test_continuations_end_with_the_largest_block() -> None:
    for piece in (b"", b"\0" * 16_000):
        echo = greeted()
        said = echo.hear(frames.frame(frames.HEADERS, 0, 1, b"\0"))
        for _ in range(FLOOD):
            said += echo.hear(frames.frame(frames.CONTINUATION, 0, 1, piece))
        assert [(frame.kind, frame.code) for frame in said] == [(frames.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)]


def test_a_small_block_that_means_a_large_list_is_not_unfolded() -> None:
    echo = greeted()
    large = b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000  # one entry of the dynamic table, which 16,000 indexes repeat
    bomb = b"\xbe" * 16_000
    sent = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, block() + large)
    last = echo.hear(sent, frames.frame(frames.HEADERS, frames.END_HEADERS, 3, bomb))[-1]
    assert (last.kind, last.code) == (frames.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)


def test_a_head_that_is_only_too_large_is_the_applications_to_refuse() -> None:
    echo = greeted()
    parts = block([*HEAD, *((f"x-{number}", "v" * 1000) for number in range(20))])
    sent = [frames.frame(frames.HEADERS, 0, 1, parts[:16_000])]
    sent.append(frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, parts[16_000:]))
    echo.hear(*sent)
    assert [head.too_large for head in echo.heads] == [True]
    assert not echo.session.done


def test_replies_that_are_not_taken_are_bounded() -> None:
    echo = greeted(reply=b"r" * 30_000)
    echo.hear(frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}))
    said = [reply for number in range(1, 19, 2) for reply in echo.hear(headers(number, ends=True))]
    assert echo.session.unsent_bytes == 4 * 30_000
    refused = [frame.code for frame in said if frame.kind == frames.RST_STREAM]
    assert refused == [ErrorCode.ENHANCE_YOUR_CALM] * 5


def test_a_reply_that_is_taken_byte_by_byte_ends_the_connection() -> None:
    echo = greeted(reply=b"r" * 100_000)
    echo.hear(frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}), headers(1, ends=True))
    said = [frame for _ in range(FLOOD) for frame in echo.hear(frames.window_update(1, 1))]
    assert said[-1].code == ErrorCode.ENHANCE_YOUR_CALM
    assert sum(len(frame.payload) for frame in said if frame.kind == frames.DATA) < FLOOD


def test_the_last_of_several_settings_counts_and_too_many_are_an_attack() -> None:
    echo = greeted(reply=b"r" * 5)
    twice = (
        frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 0})[9:]
        + frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 3})[9:]
    )
    sent = echo.hear(frames.frame(frames.SETTINGS, 0, 0, twice), headers(1, ends=True))
    assert [len(frame.payload) for frame in sent if frame.kind == frames.DATA] == [3]
    last = echo.hear(frames.frame(frames.SETTINGS, 0, 0, twice * 100))[-1]
    assert (last.kind, last.code) == (frames.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)


def test_a_useful_connection_may_ping_and_open_windows_as_clients_do() -> None:
    echo = greeted()
    for number in range(1, 40_000, 2):
        request = headers(number) + frames.window_update(number, 5) + frames.window_update(0, 5) + ping(0)
        echo.hear(request, data(number, b"x", ends=True), frames.window_update(0, 5))
    assert not echo.session.done
    assert echo.seen[-1] == ("answered", 39_999)


def test_connection_windows_are_opened_again_as_data_come() -> None:
    echo = greeted()
    total = 0
    for number in range(1, 2001, 2):
        updates = [
            frame
            for frame in echo.hear(headers(number), data(number, b"x" * 16_000, ends=True))
            if frame.kind == frames.WINDOW_UPDATE
        ]
        total += sum(int.from_bytes(frame.payload, "big") for frame in updates)
        echo.hear(frames.window_update(0, 16_000))
    assert 0 < total <= 1000 * 16_000
    assert not echo.session.done


@settings(max_examples=400, deadline=None)
@given(st.lists(ANY_PARTS, max_size=40), st.integers(0, 3))
def test_whatever_comes_each_request_ends_once_and_nothing_stays(parts: list[bytes], greeting: int) -> None:
    echo = Echo(reply=b"r" * 9_000)
    echo.hear(GREETING if greeting else b"")
    for part in parts:
        said = echo.hear(part)
        assert sum(len(frame.payload) for frame in said) < 200_000
        assert len(echo.session.streams) <= LIMITS.max_streams
    echo.session.close()
    assert (echo.session.streams, echo.session.unsent_bytes) == ({}, 0)
    opened = [number for what, number in echo.seen if what == "opened"]
    assert len(opened) == len(set(opened))
    gone = [number for what, number in echo.seen if what == "gone"]
    assert len(gone) == len(set(gone))
    answered = {number for what, number in echo.seen if what == "answered"}
    assert set(opened) == answered | set(gone)
